//! Giving up every capability, in every set, for good.

use std::io;

use caps::CapSet;

use crate::sys;

/// Of `linux/securebits.h`: root is nobody special, uid changes keep nothing, nothing can be made ambient; all locked.
const SECURE: libc::c_ulong = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80;
/// More than any kernel has; the kernel says where its own end.
const MOST: libc::c_ulong = 64;

/// Empties the bounding, ambient, inheritable, permitted and effective sets.
pub(crate) fn give_up() -> io::Result<()> {
    for capability in 0..MOST {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 => break,
            other => other?,
        }
    }
    sys::prctl(libc::PR_SET_SECUREBITS, SECURE)?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Permitted] {
        caps::clear(None, set).map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}
