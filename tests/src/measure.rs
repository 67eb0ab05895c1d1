//! What benches read of other processes, and how they print: ratios of one run, never a verdict.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::programs::descendants;

/// Processor time in seconds of `pid` and everything below it, with what its ended children used.
#[must_use]
pub fn cpu(pid: u32) -> f64 {
    let ticks: u64 = tree(pid).iter().filter_map(|pid| ticks(*pid)).sum();
    #[allow(clippy::cast_precision_loss, reason = "a bench's figure")]
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    seconds
}

/// The same by role: what the command lines of its processes end in.
#[must_use]
pub fn cpu_by_role(pid: u32) -> BTreeMap<String, f64> {
    by_role(pid, |pid| {
        #[allow(clippy::cast_precision_loss, reason = "a bench's figure")]
        let seconds = ticks(pid).unwrap_or(0) as f64 / rustix::param::clock_ticks_per_second() as f64;
        seconds
    })
}

/// Seconds that this machine's processors were busy since its start, whoever with.
#[must_use]
pub fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // proc(5): user, nice, system, idle, iowait, irq, softirq.
    let busy: u64 = fields
        .enumerate()
        .filter(|(at, _)| matches!(at, 0..=2 | 5..=7))
        .filter_map(|(_, ticks)| ticks.parse::<u64>().ok())
        .sum();
    #[allow(clippy::cast_precision_loss, reason = "a bench's figure")]
    let seconds = busy as f64 / rustix::param::clock_ticks_per_second() as f64;
    seconds
}

fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 2..];
    // proc(5): utime, stime, cutime, cstime are fields 14 to 17; after_name begins with field 3.
    Some(after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// Proportional memory in KiB of `pid` and everything below it.
#[must_use]
pub fn pss(pid: u32) -> u64 {
    pss_by_role(pid).values().sum()
}

/// The same by role.
#[must_use]
pub fn pss_by_role(pid: u32) -> BTreeMap<String, u64> {
    by_role(pid, |pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
        total.unwrap_or(0)
    })
}

fn by_role<T: std::ops::AddAssign + Default>(pid: u32, of: impl Fn(u32) -> T) -> BTreeMap<String, T> {
    let mut roles = BTreeMap::new();
    for pid in tree(pid) {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let name = words.split_terminator('\0').next_back().unwrap_or_default().to_owned();
        *roles.entry(name).or_default() += of(pid);
    }
    roles
}

fn tree(pid: u32) -> Vec<u32> {
    let mut all = descendants(pid);
    all.push(pid);
    all
}

/// The median time in which this disk keeps one more file of 20 KB: written, synced, renamed, its folder synced.
///
/// # Panics
/// No room or no right to write there.
#[must_use]
pub fn durable_files(folder: &Path) -> Duration {
    let bytes = [b'x'; 20_000];
    let (beside, place) = (folder.join("floor.new"), folder.join("floor"));
    let times = (0..100).map(|_| {
        let began = Instant::now();
        let mut file = File::create(&beside).expect("a file for the floor");
        file.write_all(&bytes).and_then(|()| file.sync_all()).expect("it is written");
        std::fs::rename(&beside, &place).and_then(|()| File::open(folder)?.sync_all()).expect("it is named");
        began.elapsed()
    });
    let floor = median(times.collect());
    let _ = std::fs::remove_file(&place);
    floor
}

/// The middle of some durations.
#[must_use]
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One row: what, ours, theirs, ours as a multiple of theirs, and the goal.
pub fn row(what: &str, ours: f64, theirs: f64, unit: &str, goal: &str) {
    println!("{what:<52} {ours:>10.2} {theirs:>10.2} {unit:<6} {:>6.2}x   goal {goal}", ours / theirs);
}
