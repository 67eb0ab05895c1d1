//! `postern doctor`: everything the box needs, one finding a line, each with what to do about it.

mod certificate;
mod clear;
mod disk;
mod dns;
mod letter;
mod memory;
mod outside;
mod ports;
mod proxies;
mod roles;
mod store;
mod tls;
mod walls;

use std::process::ExitCode;

use serde_json::json;
use spool::keys::DevicePassword;

use super::secret::Secrets;
use super::{Shared, output};
use crate::config::Config;
use crate::data::DataFolder;
use crate::failure::{Failure, code};
use crate::told::Told;

/// Looks at everything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  postern doctor\n  \
    postern doctor --mailbox anna      (asks for a device password, sends a message and looks for it)")]
pub struct Doctor {
    /// Send a real message to this mailbox and look for it there; asks for one of its device passwords
    #[arg(long, value_name = "NAME")]
    mailbox: Option<String>,
    /// Read the device password from standard input
    #[arg(long, requires = "mailbox")]
    unlock_stdin: bool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// It works, with less than there could be.
    Weak,
    Bad,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weak => "weak",
            Self::Bad => "bad",
        }
    }
}

/// One thing looked at.
#[derive(Debug)]
struct Finding {
    about: &'static str,
    state: State,
    words: String,
    /// What to do; empty when there is nothing to do.
    advice: String,
}

impl Finding {
    fn good(about: &'static str, words: impl Into<String>) -> Self {
        Self { about, state: State::Good, words: words.into(), advice: String::new() }
    }

    fn weak(about: &'static str, words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, state: State::Weak, words: words.into(), advice: advice.into() }
    }

    fn bad(about: &'static str, words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, state: State::Bad, words: words.into(), advice: advice.into() }
    }
}

/// What the findings are about.
struct Patient {
    config: Config,
    /// `None` before the first start.
    data: Option<DataFolder>,
    /// Process id of the running `up`.
    up: Option<u32>,
    /// What it says of itself.
    told: Option<Told>,
}

impl Doctor {
    /// Looks, tells, and fails when something is bad.
    ///
    /// # Errors
    /// In words for the admin, when it cannot even look.
    pub fn run(&self, shared: &Shared) -> Result<ExitCode, Failure> {
        let mut config = shared.config()?;
        let data = if shared.data.exists() { Some(DataFolder::open(&shared.data)?) } else { None };
        // The box may have been started with other options than the configuration's.
        let told = data.as_ref().and_then(Told::ask);
        if let Some(told) = &told {
            told.put_into(&mut config);
        }
        let up = data.as_ref().and_then(DataFolder::holder);
        let patient = Patient { config, data, up, told };
        let mut findings = walls::look(&patient.config);
        findings.push(memory::look(&patient));
        findings.extend(clear::look(&patient));
        findings.extend(disk::look(&patient));
        findings.extend(ports::look(&patient));
        findings.extend(dns::look(&patient.config));
        findings.extend(certificate::look(&patient));
        findings.extend(outside::look(&patient));
        findings.extend(roles::look(&patient));
        findings.extend(store::look(&patient));
        findings.extend(proxies::look(&patient));
        findings.extend(self.send(&patient)?);
        tell(shared.json, &findings)?;
        let bad = findings.iter().any(|finding| finding.state == State::Bad);
        Ok(if bad { ExitCode::from(code::FAILED) } else { ExitCode::SUCCESS })
    }

    fn send(&self, patient: &Patient) -> Result<Vec<Finding>, Failure> {
        let Some(mailbox) = &self.mailbox else { return Ok(letter::look(patient, None)) };
        let address = crate::names::address(mailbox, patient.config.default_domain())
            .map_err(|bad| Failure::new(format!("`{mailbox}` is no mail address: {bad}")))?;
        let typed = Secrets::new(false)?.device_password(&address, self.unlock_stdin)?;
        let secret = DevicePassword::parse(&typed).map_err(|bad| Failure::secret(format!("{address}: {bad}")))?;
        Ok(letter::look(patient, Some((&address, secret.as_str()))))
    }
}

fn tell(as_json: bool, findings: &[Finding]) -> Result<(), Failure> {
    let one = |finding: &Finding| json!({"about": finding.about, "state": finding.state.name(), "found": finding.words, "advice": finding.advice});
    let worst = |state| findings.iter().any(|finding| finding.state == state);
    let answer = json!({"good": !worst(State::Bad), "findings": findings.iter().map(one).collect::<Vec<_>>()});
    output::print(as_json, &answer, || {
        let line = |finding: &Finding| {
            let mark = match finding.state {
                State::Good => "  ok  ",
                State::Weak => " weak ",
                State::Bad => " BAD  ",
            };
            let advice =
                if finding.advice.is_empty() { String::new() } else { format!("\n        -> {}", finding.advice) };
            format!("[{mark}] {}: {}{advice}", finding.about, finding.words)
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}
