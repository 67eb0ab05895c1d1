//! Other people's programs.

use std::process::{Command, Output};

/// Runs a Python 3 script with arguments; `smtplib`, `imaplib` and `ssl` come with it.
#[must_use]
pub fn python(script: &str, arguments: &[&str]) -> Output {
    Command::new("python3").arg("-c").arg(script).args(arguments).output().unwrap()
}

/// The same, expected to succeed; its standard output.
pub fn python_ok(script: &str, arguments: &[&str]) -> String {
    let output = python(script, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The same with Debian's own Python and the modules that `tests/run` installs for it: dkimpy, pyspf, authheaders.
pub fn debian_python_ok(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("/usr/bin/python3").arg("-c").arg(script).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// All processes below `pid`, nearest first.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let children: Vec<u32> = tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        found.extend(children);
        at += 1;
    }
    found.remove(0);
    found
}
