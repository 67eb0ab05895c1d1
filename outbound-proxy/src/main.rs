//! outbound-proxy: lets homes send from a clean address.
//!
//! READS: as the operator's commands, the command line and its own folder; as the service, what the library's page says.
//! HOLDS: the parent, its folder and the link's key in it, to hand out; the service, its listeners, that key, and one
//! folder for what it must know after a restart.
//! NEVER: the service runs under host uid 0, sees any other file, executes anything, or connects to any port but 25 of
//! public addresses (and 53 of its resolvers); the parent reads a byte from the network.
//! SPEAKS: RFC 5321 and 3207 as far as STARTTLS, by passing on what both sides say.

use std::process::ExitCode;

use clap::Parser;
use outbound_proxy::operator::Cli;
use outbound_proxy::{log_to_stderr, service};

/// What is given back is cleared: which far server a session was with is gone with it.
#[global_allocator]
static ALLOCATOR: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

fn main() -> ExitCode {
    log_to_stderr();
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("role") {
        return service::run();
    }
    match Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("outbound-proxy: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
