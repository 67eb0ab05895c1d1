//! What an external scanner (an interpreter reading its own rules) needs: more than a worker, which is why the
//! profile is labelled weaker and is off by default.

use super::{Call, allow};

/// The scanner's list, on top of [`super::BASE`].
pub(crate) const SCANNER: &[Call] = &[allow(libc::SYS_execve, "the scanner, from its listed tree only")];
