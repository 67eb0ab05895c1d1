//! The keeper as one session holds it: requests, and the events of the open folder, which are heard while
//! anything else is waited for (a reply waits behind events that nobody takes).

use std::future::Future;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::pin;

use serde::de::DeserializeOwned;
use spool::edges::Down;
use spool::edges::facts;
use spool::edges::mailbox::{Event, Fact, Folder, Listed, Mailbox, Refusal, Reply, Request};
use spool::names::FolderId;
use tokio::sync::mpsc;

use crate::view::View;

/// Why a request brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// The keeper refused; the session goes on.
    Refused(Refusal),
    /// The keeper is gone, or this device was revoked: BYE.
    Down,
}

impl From<Down> for Unanswered {
    fn from(_: Down) -> Self {
        Self::Down
    }
}

/// A folder as the keeper opened it.
#[derive(Debug)]
pub struct Selected {
    /// As it was then.
    pub folder: Folder,
    /// UIDs from here on are \Recent for this session.
    pub recent_from: u32,
    /// Bit n of [`Fact::keywords`] is entry n.
    pub keywords: Vec<String>,
    /// Ascending by UID; `None`: those that were known.
    pub letters: Option<Vec<Fact>>,
}

/// One session's handle on the keeper.
#[derive(Debug)]
pub struct Keeper {
    mailbox: Mailbox,
    ears: Ears,
}

/// What hears events: the open folder, if there is one.
#[derive(Debug)]
pub struct Ears {
    events: mpsc::Receiver<Event>,
    view: Option<View>,
    /// What was heard of a folder that the keeper has opened and this session not yet.
    early: Vec<Event>,
}

impl Ears {
    fn absorb(&mut self, event: Event) {
        match (&mut self.view, event) {
            (view, Event::Opened) => {
                *view = None;
                self.early.clear();
            }
            (Some(view), event) => view.absorb(event),
            (None, event) => self.early.push(event),
        }
    }

    /// Takes what has come without waiting.
    fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.absorb(event);
        }
    }

    /// Waits for `future`, hearing events meanwhile. What is ready first counts first: events that came
    /// behind a reply are left for whoever acts on the reply.
    async fn during<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return output,
                Some(event) = self.events.recv() => self.absorb(event),
            }
        }
    }
}

impl Keeper {
    /// Takes the client end of a `Mailbox` socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(socket: OwnedFd) -> std::io::Result<Self> {
        let (mailbox, events) = Mailbox::new(socket.into())?;
        Ok(Self { mailbox, ears: Ears { events, view: None, early: Vec::new() } })
    }

    /// Asks; refusals are errors.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask(
        &mut self,
        request: Request,
        with: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), Unanswered> {
        match self.ears.during(self.mailbox.ask(request, with)).await? {
            (Reply::Refused(refusal), _) => Err(Unanswered::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    /// Asks for something done and nothing told.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn order(&mut self, request: Request) -> Result<(), Unanswered> {
        self.ask(request, &[]).await.map(drop)
    }

    /// Asks for a list, which comes in a memory file.
    ///
    /// # Errors
    /// [`Unanswered`]; a list that does not decode is a keeper of another version: `Down`.
    pub async fn list<T: DeserializeOwned>(&mut self, request: Request) -> Result<(Reply, T), Unanswered> {
        let (reply, with) = self.ask(request, &[]).await?;
        let file = with.into_iter().next().ok_or(Unanswered::Down)?;
        let list = crate::files::decode(file).map_err(|_| Unanswered::Down)?;
        Ok((reply, list))
    }

    /// Opens a folder: SELECT with `take_recent`, else EXAMINE. `known` as in [`Request::Open`].
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn select(
        &mut self,
        name: String,
        take_recent: bool,
        known: Option<(FolderId, u64)>,
    ) -> Result<Selected, Unanswered> {
        let (reply, with) = self.ask(Request::Open { name, take_recent, known }, &[]).await?;
        let Reply::Opened { folder, recent_from, keywords, letters } = reply else { return Err(Unanswered::Down) };
        let bytes = match letters {
            Listed::Known => return Ok(Selected { folder, recent_from, keywords, letters: None }),
            Listed::Here(bytes) => bytes,
            Listed::Along => {
                let file = with.into_iter().next().ok_or(Unanswered::Down)?;
                crate::files::bytes(file).map_err(|_| Unanswered::Down)?
            }
        };
        let letters = Some(facts::from_bytes(&bytes).ok_or(Unanswered::Down)?);
        Ok(Selected { folder, recent_from, keywords, letters })
    }

    /// Waits for `future`, hearing events meanwhile.
    pub async fn during<F: Future>(&mut self, future: F) -> F::Output {
        self.ears.during(future).await
    }

    /// The handle for requests, and the ears for whoever waits for their replies by himself.
    pub const fn parts(&mut self) -> (&Mailbox, &mut Ears) {
        (&self.mailbox, &mut self.ears)
    }

    /// Waits for news of the open folder, or for the end of the socket.
    ///
    /// # Errors
    /// [`Down`] once the socket is closed.
    pub async fn news(&mut self) -> Result<(), Down> {
        let event = tokio::select! {
            biased;
            event = self.ears.events.recv() => event.ok_or(Down)?,
            () = self.mailbox.closed() => return Err(Down),
        };
        self.ears.absorb(event);
        self.ears.drain();
        Ok(())
    }

    /// Returns once the socket is closed, whatever the session does meanwhile.
    pub fn end(&self) -> impl Future<Output = ()> + use<> {
        self.mailbox.end()
    }

    /// The open folder, with all it has heard of.
    pub fn view(&mut self) -> Option<&mut View> {
        self.ears.drain();
        self.ears.view.as_mut()
    }

    /// Gives back what only a busy session needs. Hears nothing: whoever waits next must not have missed it.
    pub fn shrink(&mut self) {
        if let Some(view) = &mut self.ears.view {
            view.shrink();
        }
    }

    /// Opens a folder on what the keeper has just answered; what was heard since counts for it.
    pub fn open(&mut self, mut view: View) {
        self.ears.drain();
        self.ears.early.drain(..).for_each(|event| view.absorb(event));
        self.ears.view = Some(view);
    }

    /// Forgets the open folder; the keeper has been told.
    pub fn forget(&mut self) {
        self.ears.drain();
        self.ears.view = None;
        self.ears.early.clear();
    }
}

impl Ears {
    /// As [`Keeper::during`], for who holds [`Keeper::parts`].
    pub async fn while_waiting<F: Future>(&mut self, future: F) -> F::Output {
        self.during(future).await
    }
}
