//! Whether mail and keys in memory can reach a swap file.

use std::fs;

use super::{Finding, Patient};
use crate::up::memory::{plain_swap, raise_limit};

const ABOUT: &str = "memory";

/// Locked memory against swap.
pub fn look(patient: &Patient) -> Finding {
    let Some(swap) = plain_swap() else { return Finding::good(ABOUT, "no swap on a disk") };
    let advice =
        format!("run `swapoff {swap}`, encrypt the swap, or start the box as root or with LimitMEMLOCK=infinity");
    let Some(up) = patient.up else {
        return match raise_limit() {
            Ok(()) => Finding::good(ABOUT, format!("{swap} is a swap, and memory can be locked")),
            Err(_) => Finding::bad(ABOUT, format!("{swap} is a swap, and memory cannot be locked"), advice),
        };
    };
    match unlimited(up) {
        true => Finding::good(ABOUT, format!("{swap} is a swap, and the box has locked its memory")),
        false => Finding::bad(ABOUT, format!("{swap} is a swap, and the box could not lock its memory"), advice),
    }
}

/// Whether the roles could lock themselves: they do exactly when the limit that they inherit from `up` is none. (What `up`
/// itself has locked says nothing: CAP_IPC_LOCK is not passed on.)
fn unlimited(up: u32) -> bool {
    let limits = fs::read_to_string(format!("/proc/{up}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    line.is_some_and(|line| line.trim_start().starts_with("unlimited"))
}
