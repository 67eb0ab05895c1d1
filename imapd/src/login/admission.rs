//! The instant of a login: the identities are opened, put into a memory file for the owner's process, and forgotten.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use filter_sandbox::edge::AsyncEdge;
use filter_sandbox::memory::{self, Locked};
use spool::edges::login::Admitted;
use spool::slots::open_admitted;
use wire::scram::Secret;

use crate::handover::Handover;

/// A login whose identities are open, as a sealed memory file.
#[derive(Debug)]
pub(super) struct Opened {
    admitted: Admitted,
    socket: OwnedFd,
    identities: OwnedFd,
    kept: Locked,
    length: u32,
}

/// A login in its owner's hands.
#[derive(Debug)]
pub(super) struct HandedOver {
    /// To the owner's process.
    pub stream: UnixStream,
    /// The memory file with the identities, out of swap until the owner has read it.
    pub kept: Locked,
}

/// Opens the newest identity with the device's `wrap`, and its predecessors one after another.
///
/// # Errors
/// `InvalidData` when the slot does not open, which `check` had promised: our fault, or a damaged slots file.
pub(super) fn open(admitted: Admitted, socket: OwnedFd, wrap: &Secret) -> io::Result<Opened> {
    let identities = open_admitted(&admitted, wrap).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    let bytes = identities.to_bytes();
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let (identities, kept) = memory::secret_file_of(&bytes)?;
    Ok(Opened { admitted, socket, identities, kept, length })
}

impl Opened {
    /// Who it is.
    pub(super) const fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Hands the login to its owner's process.
    ///
    /// # Errors
    /// The owner zygote is gone, or no descriptor is left.
    pub(super) async fn hand_over(self, owners: &AsyncEdge, session: u32) -> io::Result<HandedOver> {
        let (ours, theirs) = UnixStream::pair()?;
        let handover = Handover::new(self.admitted.mailbox, self.admitted.device, session, self.length);
        let with = [self.socket.as_fd(), theirs.as_fd(), self.identities.as_fd()];
        owners.send(&handover, &with).await.map_err(io::Error::other)?;
        ours.set_nonblocking(true)?;
        Ok(HandedOver { stream: ours, kept: self.kept })
    }
}
