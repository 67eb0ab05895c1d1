//! `postern spool check [--repair]`.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use spool::edges::admin::{Fate, Finding, Reply, Request};

use super::House;
use crate::admin::{Session, confused};
use crate::failure::{Failure, code};
use crate::up::heard;

/// The store.
#[derive(Debug, Subcommand)]
pub enum Spool {
    /// Compare every letter, the journal and the slots with what was written; exit code 1 when something is wrong
    Check {
        /// Mend what can be mended, set aside what cannot, and acknowledge what was found before
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
        let mut session = house.session_to_check(repair)?;
        let (letters, findings) = check(&mut session, repair, !house.shared.json)?;
        let answer = json!({
            "letters": letters,
            "findings": findings.iter().map(|found| json!({"place": found.place, "what": found.what, "mended": found.fate == Fate::Mended, "state": state(found).0, "path": aside(found)})).collect::<Vec<_>>(),
        });
        house.print(&answer, || words(letters, &findings, repair))?;
        let clean = findings.iter().all(|found| repair && found.settled());
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
                findings.extend(some.into_iter().map(as_heard));
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

/// The keeper's words, harmless.
fn as_heard(found: Finding) -> Finding {
    let fate = match found.fate {
        Fate::SetAside(path) => Fate::SetAside(heard(&path)),
        fate => fate,
    };
    Finding { place: heard(&found.place), what: heard(&found.what), fate }
}

fn words(letters: u64, findings: &[Finding], repair: bool) -> String {
    if findings.is_empty() {
        return format!("{letters} letters looked at; everything is as it was written.");
    }
    let line = |found: &Finding| {
        let after = match (&found.fate, repair) {
            (Fate::Open, false) => String::new(),
            (Fate::Known | Fate::Usual, false) => " (dealt with; told until `postern spool check --repair`)".to_owned(),
            _ => format!(" ({})", state(found).1),
        };
        format!("{}: {}{after}", found.place, found.what)
    };
    let lines: Vec<_> = findings.iter().map(line).collect();
    format!("{letters} letters looked at; {} findings:\n{}", findings.len(), lines.join("\n"))
}

/// What was done, for a program and in words.
fn state(found: &Finding) -> (&'static str, String) {
    match &found.fate {
        Fate::Open => ("open", "NOT mended".to_owned()),
        Fate::Mended => ("mended", "mended".to_owned()),
        Fate::SetAside(path) => {
            ("set-aside", format!("no longer in its folder; set aside for 30 days in spool/{path}"))
        }
        Fate::Gone => ("gone", "the letter is lost; no longer in its folder".to_owned()),
        Fate::Known | Fate::Usual => ("known", "dealt with before, and now acknowledged".to_owned()),
    }
}

fn aside(found: &Finding) -> Option<String> {
    match &found.fate {
        Fate::SetAside(path) => Some(format!("spool/{path}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_keeper_finds_is_one_harmless_line() {
        let found = |fate| Finding { place: "letters/\x1b[2J".to_owned(), what: "x\n0 letters: well".to_owned(), fate };
        let heard = [found(Fate::Open), found(Fate::SetAside("a\x07\nb".to_owned()))].map(as_heard);
        let words = words(1, &heard, true);
        assert_eq!(words.lines().count(), 3, "{words}");
        assert!(!words.chars().any(|c| c.is_control() && c != '\n'), "{words}");
    }
}
