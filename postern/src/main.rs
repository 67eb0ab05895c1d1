//! postern: the one binary of the box.
//!
//! READS: the command line, the configuration, answers of the keeper. `up` and the admin's commands read nothing
//! that a stranger wrote; a role reads what its own crate's page says, after it has locked itself.
//! HOLDS: as `up`, the box key and the TLS keys, in locked memory, to hand out; as an admin command, for its short life,
//! one mailbox's identity when its owner's secret was given; as a role, what `edges.rs` says and nothing else.
//! NEVER: a role never starts with more than four descriptors, never under host uid 0, and confines itself before it
//! reads a byte; `up` never sees mail.
//! SPEAKS: no protocol; the roles do (RFC 5321, 6409, 3501 and others).

use std::process::ExitCode;

use filter_sandbox::role::Role;

/// A worker takes all memory from one arena once it is locked; everybody else uses the system's allocator.
#[global_allocator]
static ALLOCATOR: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        // Before anything else is set up: what a zygote has in memory, every worker has.
        Some("role") => role(words.next().as_deref().unwrap_or_default()),
        _ => postern::cli::run(),
    }
}

/// Runs as one role, as `up` has started it; each confines itself first.
fn role(name: &str) -> ExitCode {
    let Ok(role) = name.parse() else {
        eprintln!("postern: there is no role named `{name}`");
        return ExitCode::FAILURE;
    };
    postern::log_to_stderr(role);
    match role {
        Role::Keeper => spool::keeper::run(),
        Role::Mx => smtpd::mx::run(),
        Role::Submission => smtpd::submission::run(),
        Role::Login => imapd::login::run(),
        Role::OwnerZygote => imapd::owner::run(),
        Role::Courier => smtpd::courier::role::run(),
        Role::KeyMaker => smtpd::courier::key_maker::run(),
        Role::Link => relay_link::link::run(),
        Role::Resolver => wire::resolver::run(),
        Role::MxZygote | Role::SubmissionZygote | Role::ImapZygote | Role::CourierZygote | Role::ScannerZygote => {
            filter_sandbox::zygote::run(role)
        }
        Role::InboundProxy | Role::OutboundProxy => {
            eprintln!("postern: `{name}` is another program");
            ExitCode::FAILURE
        }
        Role::Owner | Role::Worker | Role::Scanner => {
            eprintln!("postern: `{name}` is made by its zygote, never started");
            ExitCode::FAILURE
        }
    }
}
