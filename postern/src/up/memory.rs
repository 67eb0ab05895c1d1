//! `up` holds the box key and the TLS keys: its memory must not reach a swap file.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use rustix::mm::MlockAllFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Forbids core files (they would hold the keys), raises what may be locked as far as it goes, and locks. What the roles inherit is raised, too.
///
/// # Errors
/// The kernel's: only root can raise the limit.
pub fn lock() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    if raise_limit().is_err() {
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

/// Lets this process and what it starts lock as much as they like.
///
/// # Errors
/// The kernel's, without `CAP_SYS_RESOURCE`: root in some containers has none.
pub fn raise_limit() -> std::io::Result<()> {
    Ok(setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?)
}

/// Whether this process has `CAP_IPC_LOCK`.
fn may_lock_all() -> bool {
    const IPC_LOCK: u64 = 1 << 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & IPC_LOCK != 0)
}

/// A swap that could keep what is in memory on a disk in clear: its name. Swap in compressed memory (zram) is none, and
/// an encrypted one neither.
#[must_use]
pub fn plain_swap() -> Option<String> {
    let swaps = fs::read_to_string("/proc/swaps").ok()?;
    let names = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    names.map(str::to_owned).find(|name| !name.contains("/zram") && !is_encrypted(name))
}

/// Whether that device is encrypted by the kernel (dm-crypt), or lies on nothing but such (LVM on it).
fn is_encrypted(name: &str) -> bool {
    let device = fs::canonicalize(name).unwrap_or_else(|_| name.into());
    device.file_name().is_some_and(|device| is_crypt(Path::new("/sys/block"), device, 0))
}

fn is_crypt(blocks: &Path, device: &OsStr, depth: u8) -> bool {
    /// Devices on devices; more than anybody stacks.
    const DEEPEST: u8 = 8;
    let block = blocks.join(device);
    let Ok(uuid) = fs::read_to_string(block.join("dm/uuid")) else { return false };
    let mut below = fs::read_dir(block.join("slaves")).into_iter().flatten().flatten().peekable();
    uuid.starts_with("CRYPT-")
        || (depth < DEEPEST
            && below.peek().is_some()
            && below.all(|slave| is_crypt(blocks, &slave.file_name(), depth + 1)))
}

/// What to say when memory cannot be locked and a swap is on.
#[must_use]
pub fn warning(swap: &str, error: &std::io::Error) -> String {
    format!(
        "WARNING: memory cannot be locked ({error}) and {swap} is a swap on a disk: mail and keys may be written to it \
         in clear. Run `swapoff -a`, encrypt the swap, or allow it: start as root, or give the service LimitMEMLOCK=infinity"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LVM makes devices of the same kind as dm-crypt, and encrypts nothing.
    #[test]
    fn only_what_is_encrypted_counts_as_encrypted() {
        let blocks = std::env::temp_dir().join(format!("postern-blocks-{}", std::process::id()));
        let device = |name: &str, uuid: &str, on: &[&str]| {
            fs::create_dir_all(blocks.join(name).join("dm")).unwrap();
            fs::write(blocks.join(name).join("dm/uuid"), uuid).unwrap();
            on.iter().for_each(|slave| fs::create_dir_all(blocks.join(name).join("slaves").join(slave)).unwrap());
        };
        fs::create_dir_all(blocks.join("sda1")).unwrap();
        device("dm-0", "CRYPT-LUKS2-0-sda1_crypt\n", &["sda1"]);
        device("dm-1", "LVM-0\n", &["dm-0"]);
        device("dm-2", "LVM-1\n", &["sda1"]);
        device("dm-3", "LVM-2\n", &["dm-0", "sda1"]);
        device("dm-4", "LVM-3\n", &[]);
        let encrypted =
            ["sda1", "dm-0", "dm-1", "dm-2", "dm-3", "dm-4"].map(|name| is_crypt(&blocks, name.as_ref(), 0));
        fs::remove_dir_all(&blocks).unwrap();
        assert_eq!(encrypted, [false, true, true, false, false, false]);
    }
}
