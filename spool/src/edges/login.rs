//! `Login`: what `submission` and `imapd login` hold. Fetch what a SASL exchange needs; hand in its
//! proof. The keeper knows from the edge which of the two asks; each has its own salts.

use std::os::fd::OwnedFd;

use filter_sandbox::edge::{Caller, Down, Edge};
use serde::{Deserialize, Serialize};

use crate::names::{MailboxId, SlotId};

/// From the login process to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// What SCRAM needs for this login name (a mail address). Unknown names get the same shape.
    Fields { name: String },
    /// `check` of the device that the proof matched, for the attempt numbered by `Fields`.
    /// One try an attempt.
    Prove { attempt: u64, device: SlotId, check: [u8; 32] },
}

/// One device's verifier (RFC 5802 §3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFields {
    /// Which slot.
    pub device: SlotId,
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; 32],
}

/// What a SASL exchange needs of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Names this exchange in `Prove`.
    pub attempt: u64,
    /// One a mailbox and purpose.
    pub salt: [u8; 16],
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// The mailbox's devices, at most [`super::limits::DEVICES`].
    pub devices: Vec<DeviceFields>,
}

/// What comes with the socket of an admitted login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The device that logged in.
    pub device: SlotId,
    /// IMAP only: the newest identity, wrapped; `wrap` of this device opens it
    /// (`spool::keys::Wrapped::open`). Never for submission.
    pub wrapped: Option<Vec<u8>>,
    /// IMAP only: earlier identities, newest first, each wrapped by its successor.
    pub earlier: Vec<(u32, Vec<u8>)>,
    /// IMAP only: the generation of `wrapped`.
    pub generation: u32,
}

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Fields`.
    Fields(Fields),
    /// To `Prove`: the new socket rides along ([`super::mailbox::Mailbox`] or [`super::queue::Queue`]).
    Admitted(Admitted),
    /// To `Prove`: wrong, revoked meanwhile, suspended, or the attempt is not open.
    Refused,
    /// To `Prove`: right, and the mailbox has as many sessions as it may have.
    Full,
}

/// There are none on this edge.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {}

/// Why a proof has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// The keeper is gone.
    Down,
    /// It is right, and the mailbox has as many sessions as it may have.
    Full,
}

impl From<Down> for Unanswered {
    fn from(Down: Down) -> Self {
        Self::Down
    }
}

/// The right to try logins.
#[derive(Debug)]
pub struct Login(Caller<Request, Reply, Event>);

impl Login {
    /// Takes the client end of the edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge) -> std::io::Result<Self> {
        Ok(Self(Caller::start(edge, tokio::sync::mpsc::channel(1).0)?))
    }

    /// Opens an attempt for a name.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone.
    pub async fn fields(&self, name: &str) -> Result<Fields, Down> {
        match self.0.call(Request::Fields { name: name.to_owned() }, &[]).await? {
            (Reply::Fields(fields), _) => Ok(fields),
            _ => Err(Down),
        }
    }

    /// Hands the proof in; `None` is a refusal.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn prove(
        &self,
        attempt: u64,
        device: SlotId,
        check: [u8; 32],
    ) -> Result<Option<(Admitted, OwnedFd)>, Unanswered> {
        match self.0.call(Request::Prove { attempt, device, check }, &[]).await? {
            (Reply::Admitted(admitted), mut with) if with.len() == 1 => Ok(with.pop().map(|fd| (admitted, fd))),
            (Reply::Refused, _) => Ok(None),
            (Reply::Full, _) => Err(Unanswered::Full),
            _ => Err(Unanswered::Down),
        }
    }

    /// Returns once the keeper is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
