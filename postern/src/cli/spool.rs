//! `postern spool check [--repair]`.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use spool::edges::admin::{Finding, Reply, Request};

use super::House;
use crate::admin::{Session, confused};
use crate::failure::{Failure, code};

/// The store.
#[derive(Debug, Subcommand)]
pub enum Spool {
    /// Compare every letter, the journal and the slots with what was written; exit code 1 when something is wrong
    Check {
        /// Mend what can be mended
        #[arg(long)]
        repair: bool,
    },
}

impl Spool {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &mut House) -> Result<ExitCode, Failure> {
        let Self::Check { repair } = self;
        let mut session = house.session()?;
        let (letters, findings) = check(&mut session, repair, !house.shared.json)?;
        let answer = json!({
            "letters": letters,
            "findings": findings.iter().map(|found| json!({"place": found.place, "what": found.what, "mended": found.mended})).collect::<Vec<_>>(),
        });
        house.print(&answer, || words(letters, &findings, repair))?;
        let clean = findings.iter().all(|found| repair && found.mended);
        Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(code::FAILED) })
    }
}

/// Runs the check, telling how far it is.
fn check(session: &mut Session, repair: bool, tell: bool) -> Result<(u64, Vec<Finding>), Failure> {
    let mut reply = session.ask(Request::Check { repair })?;
    let mut findings = Vec::new();
    let tell = tell && rustix::termios::isatty(std::io::stderr());
    loop {
        match reply {
            Reply::Progress { done, of } if tell => {
                eprint!("\r{done} of {of} letters");
                let _ = std::io::stderr().flush();
            }
            Reply::Progress { .. } => {}
            Reply::Checked { some, more, letters } => {
                findings.extend(some);
                if !more {
                    if tell {
                        eprintln!();
                    }
                    return Ok((letters, findings));
                }
            }
            _ => return Err(confused()),
        }
        reply = session.more()?;
    }
}

fn words(letters: u64, findings: &[Finding], repair: bool) -> String {
    if findings.is_empty() {
        return format!("{letters} letters looked at; everything is as it was written.");
    }
    let line = |found: &Finding| {
        let state = match (found.mended, repair) {
            (true, true) => " (mended)",
            (true, false) => " (--repair can mend it)",
            (false, _) => "",
        };
        format!("{}: {}{state}", found.place, found.what)
    };
    let lines: Vec<_> = findings.iter().map(line).collect();
    format!("{letters} letters looked at; {} findings:\n{}", findings.len(), lines.join("\n"))
}
