//! From final bytes to sealed letters in the keeper's pipes: one a mailbox, and one for all recipients elsewhere.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use filter_sandbox::report::Report;
use spool::edges::pipe::LetterPipe;
use spool::edges::queue::Posted;
use spool::edges::{Delivered, Into, NewLetter, Target};
use spool::keys::PublicKey;
use spool::letter::Addressed;
use spool::names::{LetterId, MailboxId, TransactionId};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::final_bytes::FinalBytes;
use crate::limits;
use crate::peers::Keeper;
use crate::session::{Outcome, Outgoing};

/// What is sealed.
#[derive(Debug)]
pub struct Letter {
    /// Its bytes.
    pub made: Arc<FinalBytes>,
    /// What is sealed in front of them.
    summary: Vec<u8>,
    /// Its folder.
    pub into: Into,
}

impl Letter {
    /// With what the stranger found in it.
    #[must_use]
    pub fn new(made: FinalBytes, report: &Report, into: Into) -> Option<Self> {
        let summary = postcard::to_stdvec(&report.summary).ok()?;
        Some(Self { made: Arc::new(made), summary, into })
    }
}

/// One letter a mailbox, and the one that leaves, each with the pipe through which it goes to the keeper.
#[derive(Debug)]
pub struct Letters {
    to: Vec<(MailboxId, u32)>,
    reads: Vec<OwnedFd>,
    addressed: JoinHandle<std::io::Result<Vec<Addressed<LetterPipe>>>>,
    /// Bytes that the smallest of the pipes holds.
    room: usize,
    _begun: Option<SemaphorePermit<'static>>,
}

/// Places for letters that are begun before their message is there: each holds a pipe and some hundred KiB.
static BEGUN: Semaphore = Semaphore::const_new(limits::BEGUN_EARLY);

impl Letters {
    /// Begins them while the message still comes, if they are few and there is a place: of a small letter the keys are
    /// most of the work, and its sender waits for the rest.
    #[must_use]
    pub fn begin(targets: &[Target], outgoing: Option<&Outgoing>) -> Option<Self> {
        let begun = BEGUN.try_acquire().ok().filter(|_| targets.len() <= limits::ADDRESSED_EARLY)?;
        Some(Self { _begun: Some(begun), ..Self::address(targets, outgoing)? })
    }

    /// Begins them now. `None` when there are no pipes, or the keeper gave a key that is none.
    #[must_use]
    pub fn address(targets: &[Target], outgoing: Option<&Outgoing>) -> Option<Self> {
        let (mut reads, mut envelopes, mut room) = (Vec::new(), Vec::new(), usize::MAX);
        let keys = targets.iter().map(|target| &target.public_key).chain(outgoing.map(|outgoing| &outgoing.public_key));
        for key in keys {
            let (Ok(key), Ok((read, pipe))) = (key.parse::<PublicKey>(), LetterPipe::new()) else {
                warn!("no pipe, or the keeper gave a key that is none");
                return None;
            };
            room = room.min(pipe.holds());
            reads.push(read);
            envelopes.push((key, pipe));
        }
        let to = targets.iter().map(|target| (target.mailbox, target.generation)).collect();
        let address = move || envelopes.into_iter().map(|(key, pipe)| Addressed::new(&key, pipe)).collect();
        Some(Self { to, reads, addressed: tokio::task::spawn_blocking(address), room, _begun: None })
    }

    /// Whether the whole letters fit into their pipes: then nobody waits for the keeper while sealing.
    fn fit(&self, letter: &Letter) -> bool {
        let length = letter.made.len() + letter.summary.len();
        self.reads.len() <= limits::ADDRESSED_EARLY && length <= limits::SEALED_AT_ONCE && self.room >= 4 * length
    }
}

/// What the keeper is told of a transaction.
#[derive(Debug)]
pub enum Kind {
    /// Letters for mailboxes.
    Here,
    /// The last of them leaves.
    Leaves(Posted),
    /// One that waited to leave: a mailbox that has had it gets no second.
    Waited(LetterId),
}

/// Seals each letter into its pipe while the keeper reads.
pub async fn store(
    keeper: &Keeper,
    transaction: TransactionId,
    letters: Option<Letters>,
    letter: &Letter,
    kind: Kind,
) -> Outcome {
    let Some(letters) = letters else { return Outcome::Failed };
    let at_once = letters.fit(letter);
    let Letters { to, reads, addressed, .. } = letters;
    let (made, into, summary, leaves) =
        (letter.made.clone(), letter.into, letter.summary.clone(), matches!(kind, Kind::Leaves(_)));
    let size = u32::try_from(made.len()).unwrap_or(u32::MAX);
    let letters: Vec<NewLetter> =
        to.into_iter().map(|(mailbox, generation)| NewLetter { mailbox, generation, size, into }).collect();
    let Ok(Ok(addressed)) = addressed.await else { return Outcome::Failed };
    let seal = move || seal_all(addressed, &summary, &made, leaves);
    // Writing blocks when a pipe is full, and sealing a large letter takes time: not on the sessions' threads.
    let writer = if at_once { Writer::Done(seal()) } else { Writer::Writes(tokio::task::spawn_blocking(seal)) };
    let borrowed: Vec<_> = reads.iter().map(AsFd::as_fd).collect();
    let asked = async {
        match kind {
            Kind::Leaves(posted) => keeper.post(transaction, letters, posted, &borrowed).await,
            Kind::Here => keeper.deliver(transaction, letters, &borrowed).await,
            Kind::Waited(letter) => keeper.arrive(transaction, letter, letters, &borrowed).await,
        }
    };
    let answer = asked.await;
    // Ours closed, a writer whose keeper is gone ends.
    drop(borrowed);
    drop(reads);
    let written = match writer {
        Writer::Done(written) => Ok(written),
        Writer::Writes(writer) => writer.await,
    };
    if let Ok(Err(error)) = written {
        warn!(%error, "a letter could not be written to the keeper");
    }
    match answer {
        Ok(Delivered::Durable | Delivered::Already) => Outcome::Delivered,
        Ok(Delivered::Full) => Outcome::Full,
        Ok(Delivered::MailboxFull) => Outcome::MailboxFull,
        Ok(Delivered::Waiting) => Outcome::Waiting,
        Ok(Delivered::Spent { tell }) => Outcome::Spent { tell },
        Ok(Delivered::Failed) => Outcome::Failed,
        Err(_) => Outcome::KeeperGone,
    }
}

/// Who fills the pipes.
enum Writer {
    Done(std::io::Result<()>),
    Writes(JoinHandle<std::io::Result<()>>),
}

/// One after another, as the keeper reads them. At the first error the rest is dropped without its end, and the
/// keeper keeps nothing.
fn seal_all(
    mut letters: Vec<Addressed<LetterPipe>>,
    summary: &[u8],
    made: &FinalBytes,
    leaves: bool,
) -> std::io::Result<()> {
    let last = if leaves { letters.pop() } else { None };
    let slices = made.slices();
    letters.into_iter().try_for_each(|letter| letter.seal(summary, slices.iter().copied())?.finish())?;
    // Nobody lists what leaves: it needs no summary.
    last.map_or(Ok(()), |letter| letter.seal(&[], made.leaving())?.finish())
}

#[cfg(test)]
mod tests {
    use spool::keys::Identity;

    use super::*;

    #[tokio::test]
    async fn as_many_are_begun_early_as_there_are_places() {
        let public_key = Identity::generate().unwrap().public().to_string();
        let target = |mailbox| Target { mailbox: MailboxId(mailbox), generation: 1, public_key: public_key.clone() };
        let begin = |targets: &[Target]| Letters::begin(targets, None);
        assert!(begin(&[target(1), target(2), target(3)]).is_none(), "many mailboxes");
        let held: Vec<_> = (0..limits::BEGUN_EARLY).map(|_| begin(&[target(1)]).unwrap()).collect();
        assert!(begin(&[target(1)]).is_none(), "a stranger that keeps its message back holds no more than these");
        assert!(Letters::address(&[target(1)], None).is_some());
        drop(held);
        assert!(begin(&[target(1), target(2)]).is_some());
    }
}
