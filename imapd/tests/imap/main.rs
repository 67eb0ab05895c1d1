//! IMAP against the real processes: a confined keeper on a spool of its own, the login, the owner zygote and the
//! filter's zygote, spoken to over TLS. This program is its own children: `launch` runs it again as
//! `postern role NAME`, exactly as `up` runs the box's binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must stop")]

mod client;
mod finding;
mod house;
mod story;
mod transcript;

use std::process::ExitCode;

use filter_sandbox::Role;

#[global_allocator]
static ARENA: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).without_time().init();
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["postern", "role", name, ..] => match name.parse() {
            Ok(Role::Keeper) => spool::keeper::run(),
            Ok(Role::Login) => imapd::login::run(),
            Ok(Role::OwnerZygote) => imapd::owner::run(),
            Ok(role @ Role::ImapZygote) => filter_sandbox::zygote::run(role),
            _ => ExitCode::FAILURE,
        },
        [_, rest @ ..] => run(rest),
        [] => ExitCode::FAILURE,
    }
}

/// Every transcript, then every story; those whose name holds the first word given.
fn run(words: &[&str]) -> ExitCode {
    let wanted = words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("");
    let house = house::House::start();
    let mut failed = 0;
    for (name, text) in transcript::all().into_iter().filter(|(name, _)| name.contains(wanted)) {
        failed += usize::from(!case(&name, || transcript::play(&house, &name, &text)));
    }
    for (name, story) in story::ALL.iter().chain(finding::ALL).filter(|(name, _)| name.contains(wanted)) {
        failed += usize::from(!case(name, || story(&house)));
    }
    house.end();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one; panics say what they have to say without a backtrace.
fn case(name: &str, run: impl FnOnce()) -> bool {
    let start = std::time::Instant::now();
    let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok();
    println!("{name} ... {} ({:.0?})", if passed { "ok" } else { "FAILED" }, start.elapsed());
    passed
}
