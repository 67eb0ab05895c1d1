//! Whether mail and keys in memory can reach a swap file.

use std::fs;

use super::{Finding, Patient};
use crate::up::memory::plain_swap;

const ABOUT: &str = "memory";

/// Locked memory against swap.
pub fn look(patient: &Patient) -> Finding {
    let Some(swap) = plain_swap() else { return Finding::good(ABOUT, "no swap on a disk") };
    let advice =
        format!("run `swapoff {swap}`, encrypt the swap, or start the box as root or with LimitMEMLOCK=infinity");
    let Some(up) = patient.up else {
        return match rustix::process::getrlimit(rustix::process::Resource::Memlock).maximum {
            None => Finding::good(ABOUT, format!("{swap} is a swap, and memory can be locked")),
            Some(_) if rustix::process::geteuid().is_root() => {
                Finding::good(ABOUT, format!("{swap} is a swap, and memory can be locked"))
            }
            Some(bytes) => {
                Finding::bad(ABOUT, format!("{swap} is a swap, and at most {bytes} bytes can be locked"), advice)
            }
        };
    };
    let status = fs::read_to_string(format!("/proc/{up}/status")).unwrap_or_default();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).is_some_and(|size| size.trim() != "0 kB");
    match locked {
        true => Finding::good(ABOUT, format!("{swap} is a swap, and the box has locked its memory")),
        false => Finding::bad(ABOUT, format!("{swap} is a swap, and the box could not lock its memory"), advice),
    }
}
