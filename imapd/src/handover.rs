//! How a login becomes a session: what `login` sends the owner zygote, and what the zygote and its owners
//! say to each other. The identity travels in a memory file, never in a packet.

use serde::{Deserialize, Serialize};
use spool::names::{MailboxId, SlotId};

/// One login, always the same number of bytes. Three descriptors ride along, in this order: the `Mailbox`
/// socket, the stream to the client (plain bytes, a relay's end), the memory file with the identities (`spool::keys::Identities::to_bytes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    mailbox: [u8; 8],
    device: [u8; 4],
    session: [u8; 4],
    identities: [u8; 4],
}

/// Descriptors that ride along with a [`Handover`].
pub const DESCRIPTORS: usize = 3;

impl Handover {
    /// Who logged in, the login's number for logs, and the bytes of the memory file.
    #[must_use]
    pub const fn new(mailbox: MailboxId, device: SlotId, session: u32, identities: u32) -> Self {
        Self {
            mailbox: mailbox.0.to_be_bytes(),
            device: device.0.to_be_bytes(),
            session: session.to_be_bytes(),
            identities: identities.to_be_bytes(),
        }
    }

    /// Whose owner process it goes to.
    #[must_use]
    pub const fn mailbox(&self) -> MailboxId {
        MailboxId(u64::from_be_bytes(self.mailbox))
    }

    /// The device that logged in.
    #[must_use]
    pub const fn device(&self) -> SlotId {
        SlotId(u32::from_be_bytes(self.device))
    }

    /// The login's number in the logs.
    #[must_use]
    pub const fn session(&self) -> u32 {
        u32::from_be_bytes(self.session)
    }

    /// Bytes of the memory file.
    #[must_use]
    pub const fn identities(&self) -> u32 {
        u32::from_be_bytes(self.identities)
    }
}

/// From the owner zygote to one owner.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToOwner {
    /// A login of this mailbox; the descriptors of [`Handover`] ride along.
    Session(Handover),
    /// A new edge to the filter zygote rides along: the old one has been restarted.
    Zygote,
    /// Sessions end with BYE as soon as no command of theirs runs.
    Drain,
}

/// From an owner to the zygote.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromOwner {
    /// No session is left of the `taken` that ever came. The zygote closes the edge, and so ends the owner,
    /// unless it has sent another meanwhile.
    Unused {
        /// Sessions received since the owner began.
        taken: u64,
    },
}
