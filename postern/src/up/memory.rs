//! `up` holds the box key and the TLS keys: its memory must not reach a swap file.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises what may be locked as far as it goes, and locks. What the roles inherit is raised, too.
///
/// # Errors
/// The kernel's: only root can raise the limit.
pub fn lock() -> std::io::Result<()> {
    if setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_err() {
        let maximum = getrlimit(Resource::Memlock).maximum;
        setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum })?;
    }
    filter_sandbox::memory::lock_future()
}

/// A swap that could keep what is in memory on a disk: its name. Swap in compressed memory (zram) is none.
#[must_use]
pub fn plain_swap() -> Option<String> {
    let swaps = fs::read_to_string("/proc/swaps").ok()?;
    let names = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    names.map(str::to_owned).find(|name| !name.contains("/zram") && !name.contains("/dm-"))
}

/// What to say when memory cannot be locked and a swap is on.
#[must_use]
pub fn warning(swap: &str, error: &std::io::Error) -> String {
    format!(
        "WARNING: memory cannot be locked ({error}) and {swap} is a swap on a disk: mail and keys may be written to it \
         in clear. Run `swapoff -a`, encrypt the swap, or allow it: start as root, or give the service LimitMEMLOCK=infinity"
    )
}
