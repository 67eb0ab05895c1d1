//! inbound-proxy: the gate of a clean address.
//!
//! READS: as the operator's commands, the command line and its own folder; as the gate, what the library's page says.
//! HOLDS: the parent, its folder and the private keys in it, to hand out; the gate, its listeners, those keys, and one
//! folder for what it must know after a restart.
//! NEVER: the gate runs under host uid 0, sees any other file, or executes anything; the parent reads a byte from the
//! network; either answers 354 to DATA or 250 to the end of data.
//! SPEAKS: RFC 5321 up to STARTTLS, and under TLS up to RCPT.

use std::process::ExitCode;

use clap::Parser;
use inbound_proxy::operator::Cli;
use inbound_proxy::{gate, log_to_stderr};

/// What is given back is cleared: the envelope that a session which learns has read is gone with it.
#[global_allocator]
static ALLOCATOR: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

fn main() -> ExitCode {
    log_to_stderr();
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("role") {
        return gate::run();
    }
    match Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("inbound-proxy: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
