//! `Deposit`: what `mx` holds. Find a recipient; put sealed letters. Nothing can be read back.

use std::os::fd::BorrowedFd;

use filter_sandbox::edge::{Caller, Down, Edge};
use serde::{Deserialize, Serialize};

use super::queue::Posted;
use super::{Delivered, Moment, NewLetter, Recipient, Size};
use crate::names::TransactionId;

/// From `mx` to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// RCPT: who is this, and is there room for a message of that size? Room is reserved until the transaction ends.
    Recipient { transaction: TransactionId, address: String, size: Size },
    /// End of data: one pipe a letter rides along, in the same order. One record, one answer.
    /// The sender waits for [`super::limits::DELIVERY`] from `begun` on.
    Deliver { transaction: TransactionId, begun: Moment, letters: Vec<NewLetter> },
    /// The same, and in the same transaction a letter that is passed on: all its recipients are aliases that do so, or
    /// ways back to a sender; its pipe is the last.
    PassOn { transaction: TransactionId, begun: Moment, letters: Vec<NewLetter>, posted: Box<Posted> },
    /// RSET, or the client is gone: reserved room is given back.
    Abandon { transaction: TransactionId },
}

/// From the keeper to `mx`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Recipient`.
    Recipient(Recipient),
    /// To `Deliver` and `PassOn`.
    Delivered(Delivered),
    /// To `Abandon`.
    Abandoned,
}

/// There are none on this edge.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {}

/// The right to put letters into mailboxes.
#[derive(Debug)]
pub struct Deposit(Caller<Request, Reply, Event>);

impl Deposit {
    /// Takes the client end of the edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge) -> std::io::Result<Self> {
        Ok(Self(Caller::start(edge, tokio::sync::mpsc::channel(1).0)?))
    }

    /// Asks for one recipient of a transaction, reserving room for `size`.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone: 421.
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

    /// Delivers; `pipes` are the read ends, one a letter. Write the age files into the other ends, one
    /// after another and concurrently with this call, and close each. After [`super::limits::DELIVERY`] it has failed.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone: the outcome is unknown, the client must be told 451 or cut off.
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

    /// As [`Self::deliver`], and in the same transaction a letter that is passed on; its pipe is the last.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn pass_on(
        &self,
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        posted: Posted,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        let request = Request::PassOn { transaction, begun: Moment::now(), letters, posted: Box::new(posted) };
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

    /// Returns once the keeper is gone: sessions end with 421.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
