//! `Notices`: what `courier` holds beside its `Outbox`. Put a sealed letter into the mailbox of who sent one that waits to
//! leave, or of whom it is for, where that is an address of ours by now, and into no other: no address is ever named.

use std::os::fd::BorrowedFd;

use filter_sandbox::edge::{Caller, Down, Edge};
use serde::{Deserialize, Serialize};

use super::{Delivered, Moment, NewLetter, Recipient, Size};
use crate::names::{LetterId, TransactionId};

/// From `courier` to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Who hears of a letter that waits, and is there room for a notice of that size? It is who sent it; of what an alias
    /// passes on, the postmaster; of a letter without a sender, nobody.
    Listener { transaction: TransactionId, letter: LetterId, size: Size },
    /// The mailboxes of that recipient of a letter that waits, by number: its domain was another house's when it was
    /// written, and is ours now. As [`super::deposit::Request::Recipient`].
    Here { transaction: TransactionId, letter: LetterId, recipient: u16, size: Size },
    /// One pipe a letter rides along, in the same order. The sender waits for [`super::limits::DELIVERY`] from `begun` on.
    Deliver { transaction: TransactionId, begun: Moment, letters: Vec<NewLetter> },
    /// The same, of a letter that waited: a mailbox that has had it gets no second.
    Arrive { transaction: TransactionId, begun: Moment, letter: LetterId, letters: Vec<NewLetter> },
    /// Reserved room is given back.
    Abandon { transaction: TransactionId },
}

/// Those elsewhere to whom an address leads that is ours now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Others {
    /// There are none.
    Nobody,
    /// They are among the letter's recipients from now on, if they were not before.
    Wait,
    /// They cannot be, at this moment.
    NoRoom,
    /// With them, one letter would have more recipients than it may.
    TooMany,
}

/// From the keeper to `courier`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Listener`; `Unknown` is nobody.
    Listener(Recipient),
    /// To `Here`; `NotLocal` is an address that is not ours, or nobody's that waits. Of its mailboxes, those that have not
    /// had the letter: where that is none, all have.
    Here(Recipient, Others),
    /// To `Deliver` and `Arrive`.
    Delivered(Delivered),
    /// To `Abandon`.
    Abandoned,
}

/// There are none on this edge.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {}

/// The right to tell senders here what became of their letters.
#[derive(Debug)]
pub struct Notices(Caller<Request, Reply, Event>);

impl Notices {
    /// Takes the client end of the edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge) -> std::io::Result<Self> {
        Ok(Self(Caller::start(edge, tokio::sync::mpsc::channel(1).0)?))
    }

    /// Who hears of a letter.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone.
    pub async fn listener(&self, transaction: TransactionId, letter: LetterId, size: Size) -> Result<Recipient, Down> {
        match self.0.call(Request::Listener { transaction, letter, size }, &[]).await? {
            (Reply::Listener(recipient), _) => Ok(recipient),
            _ => Err(Down),
        }
    }

    /// Where a letter goes for whom it is, now that the domain is ours.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone: whether others wait for it now is unknown.
    pub async fn here(
        &self,
        transaction: TransactionId,
        (letter, recipient): (LetterId, u16),
        size: Size,
    ) -> Result<(Recipient, Others), Down> {
        match self.0.call(Request::Here { transaction, letter, recipient, size }, &[]).await? {
            (Reply::Here(recipient, others), _) => Ok((recipient, others)),
            _ => Err(Down),
        }
    }

    /// As [`super::deposit::Deposit::deliver`].
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone: the outcome is unknown.
    pub async fn deliver(
        &self,
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        self.hand_in(Request::Deliver { transaction, begun: Moment::now(), letters }, pipes).await
    }

    /// The same, of a letter that waited: [`Delivered::Already`], where all have had it.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub async fn arrive(
        &self,
        transaction: TransactionId,
        letter: LetterId,
        letters: Vec<NewLetter>,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        self.hand_in(Request::Arrive { transaction, begun: Moment::now(), letter, letters }, pipes).await
    }

    async fn hand_in(&self, request: Request, pipes: &[BorrowedFd<'_>]) -> Result<Delivered, Down> {
        super::in_time(async {
            match self.0.call(request, pipes).await? {
                (Reply::Delivered(outcome), _) => Ok(outcome),
                _ => Err(Down),
            }
        })
        .await
    }

    /// Gives reserved room back.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone (and with it the reservation).
    pub async fn abandon(&self, transaction: TransactionId) -> Result<(), Down> {
        self.0.call(Request::Abandon { transaction }, &[]).await.map(drop)
    }

    /// Returns once the keeper is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
