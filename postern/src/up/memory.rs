//! `up` holds the box key and the TLS keys: its memory must not reach a swap file.

use std::fs;

use rustix::mm::MlockAllFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Forbids core files (they would hold the keys), raises what may be locked as far as it goes, and locks. What the roles inherit is raised, too.
///
/// # Errors
/// The kernel's: only root can raise the limit.
pub fn lock() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    if setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_err() {
        let maximum = getrlimit(Resource::Memlock).maximum;
        setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum })?;
    }
    let locked = filter_sandbox::memory::lock_future();
    if locked.is_err() && may_lock_all() {
        // The limit does not bind `up` itself. It binds the roles, which the caller must hear of.
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        rustix::mm::mlockall(all)?;
    }
    locked
}

/// Whether this process has `CAP_IPC_LOCK`.
fn may_lock_all() -> bool {
    const IPC_LOCK: u64 = 1 << 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & IPC_LOCK != 0)
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
