//! The letters of one command, in order, fetched and opened ahead of the session that tells them.
//!
//! [`Feeder`] asks the keeper (for cached summaries where they are enough, for descriptors otherwise) and sends one
//! [`Letter`] for each asked for. It runs beside its reader in the session's own task; the opening is on threads.

use std::cell::RefCell;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use spool::edges::Down;
use spool::edges::limits::OPEN_LETTERS;
use spool::edges::mailbox::{Mailbox, Reply, Request};
use spool::keys::Identities;
use spool::letter::Expect;
use spool::names::{LetterId, MailboxId};
use tokio::sync::mpsc;

use crate::letters::{Digest, Job, Openers, Piece, Wanted};
use crate::session::Ended;
use crate::summaries::{self, Cache};
use crate::{files, limits};

/// One letter, at its turn.
#[derive(Debug)]
pub enum Letter {
    /// What the cache has of it is enough.
    Cached(Digest),
    /// It is being opened.
    Opening(mpsc::Receiver<Piece>),
    /// The keeper has no such file, or a damaged one.
    Missing,
}

/// One letter to fetch: its file and the bytes of its message.
pub type Named = (LetterId, u32);

/// Everything the feeding side needs.
#[derive(Debug)]
pub struct Feeder<'a> {
    /// Whose letters.
    pub mailbox: MailboxId,
    /// To ask for them.
    pub keeper: &'a Mailbox,
    /// To open them.
    pub identities: Arc<Identities>,
    /// What is wanted of each.
    pub wanted: Arc<Wanted>,
    /// Summaries that are known, and those that were not and should be.
    pub cache: &'a RefCell<Cache>,
}

/// Runs a feeder beside `telling`, which reads what it sends, and ends with `telling`.
///
/// # Errors
/// Those of `telling`; [`Ended::KeeperGone`] when the feeder can go no further.
pub async fn beside<T>(
    feeder: &Feeder<'_>,
    letters: &[Named],
    to: mpsc::Sender<Letter>,
    telling: impl Future<Output = Result<T, Ended>>,
) -> Result<T, Ended> {
    let feeding = async {
        let mut openers = Openers::default();
        feeder.feed(letters, &mut openers, to).await.map_err(|Down| Ended::KeeperGone)?;
        // What it has sent is still being opened and told.
        std::future::pending::<Result<Infallible, Ended>>().await
    };
    let told = tokio::select! {
        biased;
        told = telling => told?,
        failed = feeding => match failed {
            Ok(never) => match never {},
            Err(ended) => return Err(ended),
        },
    };
    feeder.put_fresh(1).await.map_err(|Down| Ended::KeeperGone)?;
    Ok(told)
}

impl Feeder<'_> {
    /// Sends one [`Letter`] for each name, in order; ends early when nobody reads any more.
    ///
    /// # Errors
    /// [`Down`].
    async fn feed(&self, letters: &[Named], openers: &mut Openers, to: mpsc::Sender<Letter>) -> Result<(), Down> {
        if self.wanted.is_light() {
            return self.feed_cached(letters, openers, &to).await;
        }
        for batch in letters.chunks(OPEN_LETTERS) {
            let files = self.files(batch).await?;
            for (named, file) in batch.iter().zip(files) {
                if self.send(*named, file, openers, &to).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Asks for the next summaries while those before are being told.
    async fn feed_cached(
        &self,
        letters: &[Named],
        openers: &mut Openers,
        to: &mpsc::Sender<Letter>,
    ) -> Result<(), Down> {
        let mut rest = letters;
        let mut found = self.summaries(rest).await?;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(found.len().min(rest.len()));
            rest = after;
            let (sent, next) = tokio::join!(self.mixed(batch, found, openers, to), self.summaries(rest));
            sent?;
            found = next?;
            self.put_fresh(limits::SUMMARIES).await?;
        }
        Ok(())
    }

    /// Puts what was newly opened into the cache, once there are `enough`.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn put_fresh(&self, enough: usize) -> Result<(), Down> {
        let letters = self.cache.borrow_mut().take(enough);
        match letters {
            Some(letters) => summaries::put(self.keeper, &letters).await,
            None => Ok(()),
        }
    }

    /// What the cache has of the first of these letters, of as many as one answer carries; of at least one.
    async fn summaries(&self, letters: &[Named]) -> Result<Vec<Option<Digest>>, Down> {
        let batch = letters.get(..limits::SUMMARIES).unwrap_or(letters);
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let letters = batch.iter().map(|(letter, _)| *letter).collect();
        let (_, with) = self.keeper.ask(Request::Summaries { letters }, &[]).await?;
        // A cache that answers nothing sensible is one that has nothing.
        let file = with.into_iter().next();
        let bytes = file.and_then(|file| files::bytes(file).ok()).unwrap_or_default();
        let sealed: Vec<Option<&[u8]>> = postcard::from_bytes(&bytes).unwrap_or_default();
        let batch = if sealed.is_empty() { batch } else { batch.get(..sealed.len()).unwrap_or(batch) };
        let open = |(at, (letter, size)): (usize, &Named)| {
            let sealed = (*sealed.get(at)?)?;
            self.cache.borrow().open(*letter, *size, sealed).filter(|digest| self.wanted.is_met_by(digest))
        };
        Ok(batch.iter().enumerate().map(open).collect())
    }

    /// Cached ones as they are; the others are opened, all that follow each other at once.
    async fn mixed(
        &self,
        batch: &[Named],
        found: Vec<Option<Digest>>,
        openers: &mut Openers,
        to: &mpsc::Sender<Letter>,
    ) -> Result<(), Down> {
        let missing: Vec<Named> =
            batch.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(named, _)| *named).collect();
        let mut runs = missing.chunks(OPEN_LETTERS);
        let mut files = Vec::new().into_iter();
        for (named, found) in batch.iter().zip(found) {
            let sent = match found {
                Some(digest) => to.send(Letter::Cached(digest)).await.map_err(drop),
                None => {
                    if files.len() == 0 {
                        files = self.files(runs.next().unwrap_or_default()).await?.into_iter();
                    }
                    self.send(*named, files.next().flatten(), openers, to).await
                }
            };
            if sent.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn files(&self, batch: &[Named]) -> Result<Vec<Option<OwnedFd>>, Down> {
        let letters = batch.iter().map(|(letter, _)| *letter).collect();
        match self.keeper.ask(Request::Letters { letters }, &[]).await? {
            (Reply::Letters(there), with) => {
                let mut with = with.into_iter();
                let mut files: Vec<_> = there.into_iter().map(|there| if there { with.next() } else { None }).collect();
                files.resize_with(batch.len(), || None);
                Ok(files)
            }
            // The disk failed.
            (Reply::Refused(_), _) => Ok(batch.iter().map(|_| None).collect()),
            _ => Err(Down),
        }
    }

    async fn send(
        &self,
        (letter, size): Named,
        file: Option<OwnedFd>,
        openers: &mut Openers,
        to: &mpsc::Sender<Letter>,
    ) -> Result<(), ()> {
        let Some(file) = file else { return to.send(Letter::Missing).await.map_err(drop) };
        // A place in the queue first: it bounds how many are opened ahead.
        let place = to.reserve().await.map_err(drop)?;
        let (pieces, letter_pieces) = mpsc::channel(limits::CHUNKS_AHEAD);
        let expect = Expect { mailbox: self.mailbox, letter, size: Some(size) };
        let job = Job { file: file.into(), expect, wanted: self.wanted.clone(), to: pieces };
        openers.give(job, &self.identities, limits::OPENERS);
        place.send(Letter::Opening(letter_pieces));
        Ok(())
    }
}
