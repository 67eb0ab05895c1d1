//! Whether every role of the table is alive.

use std::fs;

use super::{Finding, Patient};
use crate::edges::rows;

const ABOUT: &str = "roles";

/// The children of the running `up`.
pub fn look(patient: &Patient) -> Option<Finding> {
    let up = patient.up?;
    let alive: Vec<String> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent(*pid) == Some(up))
        .filter_map(role)
        .collect();
    let scanner = patient.config.scanner.is_some();
    let missing: Vec<_> =
        rows(scanner).map(|row| row.role.name()).filter(|name| !alive.iter().any(|role| role == name)).collect();
    Some(match missing.is_empty() {
        true => Finding::good(ABOUT, format!("all {} are alive", rows(scanner).count())),
        false => Finding::bad(
            ABOUT,
            format!("not alive: {}", missing.join(", ")),
            "each is started again by itself within 30 s; the log of `postern up` says why it ended",
        ),
    })
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn role(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.find(|word| word == "role")?;
    words.next()
}
