//! The handles these processes hold: one type a privilege. `mx` has a `Deposit`; a submission session has the
//! `Login`, and once somebody proved who they are, that one's `Queue`; `courier` has the `Notices`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use filter_sandbox::edge::Edge;
use spool::edges::deposit::Deposit;
use spool::edges::login::{Fields, Login};
use spool::edges::notices::{Notices, Others};
use spool::edges::queue::{Posted, Queue};
use spool::edges::{Delivered, Down, NewLetter, Recipient, Size};
use spool::names::{LetterId, MailboxId, SlotId, TransactionId};

/// What a session may ask of the keeper. Bound to the keeper that ran when the session began: when that one is
/// gone, so is the session.
#[derive(Debug, Clone)]
pub enum Keeper {
    /// `mx`: anybody's letters in, nothing out.
    Stranger(Arc<Deposit>),
    /// `submission`, before a login.
    Login(Arc<Login>),
    /// `submission`, after one.
    Owner(Arc<Login>, Arc<Queue>),
    /// `courier`: letters to those who sent what waits, and to those of ours for whom it is.
    Courier(Arc<Notices>),
}

impl Keeper {
    /// Takes a new end of `mx`'s edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn stranger(edge: OwnedFd) -> std::io::Result<Self> {
        Deposit::new(edge.into()).map(|deposit| Self::Stranger(Arc::new(deposit)))
    }

    /// Takes a new end of `courier`'s edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn courier(edge: OwnedFd) -> std::io::Result<Self> {
        Notices::new(edge.into()).map(|notices| Self::Courier(Arc::new(notices)))
    }

    /// Who hears of a letter that waits; only a courier may ask.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn listener(&self, transaction: TransactionId, letter: LetterId, size: Size) -> Result<Recipient, Down> {
        match self {
            Self::Courier(notices) => notices.listener(transaction, letter, size).await,
            _ => Err(Down),
        }
    }

    /// Where a letter that waits goes for whom it is, now that the domain is ours; only a courier may ask.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn here(
        &self,
        transaction: TransactionId,
        waits: (LetterId, u16),
        size: Size,
    ) -> Result<(Recipient, Others), Down> {
        match self {
            Self::Courier(notices) => notices.here(transaction, waits, size).await,
            _ => Err(Down),
        }
    }

    /// Takes a new end of `submission`'s edge.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn login(edge: OwnedFd) -> std::io::Result<Self> {
        Login::new(edge.into()).map(|login| Self::Login(Arc::new(login)))
    }

    /// RCPT.
    ///
    /// # Errors
    /// [`Down`], also before a login (which the session does not let happen).
    pub async fn recipient(&self, transaction: TransactionId, address: &str, size: Size) -> Result<Recipient, Down> {
        match self {
            Self::Stranger(deposit) => deposit.recipient(transaction, address, size).await,
            Self::Owner(_, queue) => queue.recipient(transaction, address, size).await,
            Self::Login(_) | Self::Courier(_) => Err(Down),
        }
    }

    /// One transaction's letters; one pipe each.
    ///
    /// # Errors
    /// [`Down`]: the outcome is not known.
    pub async fn deliver(
        &self,
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        match self {
            Self::Stranger(deposit) => deposit.deliver(transaction, letters, pipes).await,
            Self::Owner(_, queue) => queue.deliver(transaction, letters, pipes).await,
            Self::Courier(notices) => notices.deliver(transaction, letters, pipes).await,
            Self::Login(_) => Err(Down),
        }
    }

    /// The same, of a letter that waited; only a courier may.
    ///
    /// # Errors
    /// [`Down`]: the outcome is not known.
    pub async fn arrive(
        &self,
        transaction: TransactionId,
        letter: LetterId,
        letters: Vec<NewLetter>,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        match self {
            Self::Courier(notices) => notices.arrive(transaction, letter, letters, pipes).await,
            _ => Err(Down),
        }
    }

    /// The same, with a letter for recipients elsewhere (`mx`: that aliases pass on); its pipe is the last.
    ///
    /// # Errors
    /// [`Down`], also before a login.
    pub async fn post(
        &self,
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        posted: Posted,
        pipes: &[BorrowedFd<'_>],
    ) -> Result<Delivered, Down> {
        match self {
            Self::Owner(_, queue) => queue.post(transaction, letters, posted, pipes).await,
            Self::Stranger(deposit) => deposit.pass_on(transaction, letters, posted, pipes).await,
            Self::Login(_) | Self::Courier(_) => Err(Down),
        }
    }

    /// Gives reserved room back; when the keeper is gone, so is the reservation.
    pub async fn abandon(&self, transaction: TransactionId) {
        let _ = match self {
            Self::Stranger(deposit) => deposit.abandon(transaction).await,
            Self::Owner(_, queue) => queue.abandon(transaction).await,
            Self::Courier(notices) => notices.abandon(transaction).await,
            Self::Login(_) => Ok(()),
        };
    }

    /// The owner has been warned that its day's allowance is spent.
    pub async fn told(&self) {
        if let Self::Owner(_, queue) = self {
            // A keeper that is gone asks again.
            let _ = queue.told().await;
        }
    }

    /// What SCRAM needs of a name.
    ///
    /// # Errors
    /// [`Down`], also for `mx`, which has no right to ask.
    pub async fn fields(&self, name: &str) -> Result<Fields, Down> {
        match self {
            Self::Login(login) | Self::Owner(login, _) => login.fields(name).await,
            Self::Stranger(_) | Self::Courier(_) => Err(Down),
        }
    }

    /// Hands a proof in. Admitted, this is the owner's from now on, and the addresses it owns come back.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn prove(
        &mut self,
        attempt: u64,
        device: SlotId,
        check: [u8; 32],
    ) -> Result<Option<(MailboxId, Vec<String>)>, Down> {
        let Self::Login(login) = self else { return Err(Down) };
        let Ok(proved) = login.prove(attempt, device, check).await else { return Err(Down) };
        let Some((admitted, socket)) = proved else { return Ok(None) };
        let queue = Queue::new(Edge::from(socket)).map_err(|_| Down)?;
        let addresses = queue.addresses().await?;
        *self = Self::Owner(login.clone(), Arc::new(queue));
        Ok(Some((admitted.mailbox, addresses)))
    }

    /// Returns once it is: the keeper has ended, or the device was revoked.
    pub async fn closed(&self) {
        match self {
            Self::Stranger(deposit) => deposit.closed().await,
            Self::Courier(notices) => notices.closed().await,
            Self::Login(login) => login.closed().await,
            Self::Owner(login, queue) => tokio::select! {
                () = login.closed() => {}
                () = queue.closed() => {}
            },
        }
    }
}
