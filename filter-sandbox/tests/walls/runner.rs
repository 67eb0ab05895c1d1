//! Runs the cases, as root and, started again, as an unprivileged user.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::{filtering, hostile, large_blocks, lesser_kernels, role_attacks, scanning, worker_attacks};

/// One test.
pub struct Case {
    pub name: &'static str,
    pub run: fn(),
}

const UNPRIVILEGED: u32 = 65_534;

fn cases() -> Vec<Case> {
    let all = [
        filtering::cases(),
        hostile::cases(),
        scanning::cases(),
        worker_attacks::cases(),
        role_attacks::cases(),
        lesser_kernels::cases(),
        large_blocks::cases(),
    ];
    all.into_iter().flatten().collect()
}

pub fn run(args: &[&str]) -> ExitCode {
    let filter = args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or("");
    let mut failed = one_pass(filter);
    if rustix::process::geteuid().is_root() && !args.contains(&"--once") {
        let again = Command::new("setpriv")
            .args([&format!("--reuid={UNPRIVILEGED}"), &format!("--regid={UNPRIVILEGED}"), "--clear-groups"])
            .arg(format!("/proc/{}/exe", std::process::id()))
            .arg(filter)
            .status();
        failed += usize::from(!again.expect("setpriv is part of util-linux").success());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one_pass(filter: &str) -> usize {
    let who = rustix::process::geteuid().as_raw();
    let mut failed = 0;
    let mut passed = 0;
    for case in cases().into_iter().filter(|case| case.name.contains(filter)) {
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(case.run);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("uid {who}: {} ... {word} ({:.0?})", case.name, start.elapsed());
        if outcome.is_ok() { passed += 1 } else { failed += 1 }
    }
    println!("uid {who}: {passed} passed, {failed} failed");
    failed
}
