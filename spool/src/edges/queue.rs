//! `Queue`: what a submission session holds after its login, and only through it. Bound by the keeper
//! to one mailbox and one device.

use std::os::fd::BorrowedFd;

use filter_sandbox::edge::{Caller, Down, Edge};
use serde::{Deserialize, Serialize};

use super::{Delivered, Moment, NewLetter, Recipient, Size};
use crate::names::TransactionId;

/// A recipient elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedTo {
    /// RCPT TO.
    pub address: String,
    /// ORCPT as it came.
    pub original: Option<String>,
    /// NOTIFY: (success, failure, delay); all false is NEVER.
    pub notify: Option<(bool, bool, bool)>,
}

/// A letter that is to leave, but for its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// MAIL FROM: one of the login's addresses, or `None` for `<>`.
    pub sender: Option<String>,
    /// Bytes of the message before sealing.
    pub size: u32,
    /// The outgoing identity it is sealed to.
    pub generation: u32,
    /// Octets above 127 in a body.
    pub eight_bit: bool,
    /// The same in a header or an address.
    pub international: bool,
    /// REQUIRETLS.
    pub require_tls: bool,
    /// RET: whether the whole letter comes back.
    pub full: Option<bool>,
    /// ENVID as it came.
    pub envelope_id: Option<String>,
    /// At least one, none of them ours.
    pub recipients: Vec<PostedTo>,
}

/// From `submission` to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Which addresses may stand in MAIL FROM and From.
    Addresses,
    /// RCPT. Elsewhere is `Remote`, or `NotLocal` where nothing leaves.
    Recipient { transaction: TransactionId, address: String, size: Size },
    /// One transaction; one pipe a letter rides along.
    /// The sender waits for [`super::limits::DELIVERY`] from `begun` on.
    Deliver { transaction: TransactionId, begun: Moment, letters: Vec<NewLetter> },
    /// Reserved room is given back.
    Abandon { transaction: TransactionId },
    /// As `Deliver`, and in the same transaction a letter that is to leave; its pipe is the last.
    Post { transaction: TransactionId, begun: Moment, letters: Vec<NewLetter>, posted: Box<Posted> },
    /// The owner has the warning that [`Delivered::Spent`] asks for.
    Told,
}

/// From the keeper to `submission`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Lower-case, the mailbox's own address first.
    Addresses(Vec<String>),
    /// To `Recipient`.
    Recipient(Recipient),
    /// To `Deliver` and `Post`.
    Delivered(Delivered),
    /// To `Abandon`.
    Abandoned,
    /// To `Told`.
    Noted,
}

/// There are none; the socket's end is the news (device revoked, mailbox suspended, keeper gone).
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {}

/// The right to send as one mailbox.
#[derive(Debug)]
pub struct Queue(Caller<Request, Reply, Event>);

impl Queue {
    /// Takes the client end of the edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge) -> std::io::Result<Self> {
        Ok(Self(Caller::start(edge, tokio::sync::mpsc::channel(1).0)?))
    }

    /// The addresses this login owns: its own, its aliases; compare after lower-casing and removing a `+tag`.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone or the device was revoked: 421.
    pub async fn addresses(&self) -> Result<Vec<String>, Down> {
        match self.0.call(Request::Addresses, &[]).await? {
            (Reply::Addresses(addresses), _) => Ok(addresses),
            _ => Err(Down),
        }
    }

    /// As [`super::deposit::Deposit::recipient`].
    ///
    /// # Errors
    /// [`Down`].
    pub async fn recipient(
        &self,
        transaction: TransactionId,
        address: &str,
        size: impl std::convert::Into<Size>,
    ) -> Result<Recipient, Down> {
        let request = Request::Recipient { transaction, address: address.to_owned(), size: size.into() };
        match self.0.call(request, &[]).await? {
            (Reply::Recipient(recipient), _) => Ok(recipient),
            _ => Err(Down),
        }
    }

    /// As [`super::deposit::Deposit::deliver`].
    ///
    /// # Errors
    /// [`Down`].
    pub async fn deliver(
        &self,
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        let request = Request::Deliver { transaction, begun: Moment::now(), letters };
        super::in_time(async {
            match self.0.call(request, pipes).await? {
                (Reply::Delivered(outcome), _) => Ok(outcome),
                _ => Err(Down),
            }
        })
        .await
    }

    /// As [`Self::deliver`], and in the same transaction a letter for recipients elsewhere, sealed to the outgoing
    /// identity; its pipe is the last. There may be none for recipients here.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn post(
        &self,
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        posted: Posted,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        let request = Request::Post { transaction, begun: Moment::now(), letters, posted: Box::new(posted) };
        super::in_time(async {
            match self.0.call(request, pipes).await? {
                (Reply::Delivered(outcome), _) => Ok(outcome),
                _ => Err(Down),
            }
        })
        .await
    }

    /// As [`super::deposit::Deposit::abandon`].
    ///
    /// # Errors
    /// [`Down`].
    pub async fn abandon(&self, transaction: TransactionId) -> Result<(), Down> {
        self.0.call(Request::Abandon { transaction }, &[]).await.map(drop)
    }

    /// The owner has been warned that its day's allowance is spent.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn told(&self) -> Result<(), Down> {
        self.0.call(Request::Told, &[]).await.map(drop)
    }

    /// Returns once the socket is closed: the session ends with 421.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
