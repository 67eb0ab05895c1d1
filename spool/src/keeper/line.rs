//! One connection: requests come in one after another, answers leave in order, each only when the last
//! entry it knows of is durable. When the disk fails, what was asked before is answered with a failure, and then the
//! connection ends. What breaks the protocol ends it too, and so does not taking answers: each
//! request keeps its place among those under way until its answer has left, what waits has a bound in bytes, and a
//! packet that nobody takes a bound in time.

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use filter_sandbox::edge::{Answer, AsyncEdge, EdgeError, Numbered, Packet};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::commit::Progress;

use super::failing::Failing;

/// Bytes of answers and news that may wait for a peer (news of 200,000 letters); who lets more pile up is dropped.
const WAITING: usize = 16 * 1024 * 1024;
/// How long a peer may leave one packet before it is dropped.
const TAKES: Duration = Duration::from_secs(60);
/// Memory of packets a peer has not read, above which it gets no more descriptors: those in flight count for
/// the whole keeper (`unix(7)`, ETOOMANYREFS), and none may use them up.
const UNREAD: usize = 2 * 1024;
/// Between two looks whether a peer has read.
const LOOK: Duration = Duration::from_millis(2);

/// A request that the table of its edge does not allow now, or beyond a bound: the peer is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach(pub &'static str);

/// What rides along with an answer.
#[derive(Debug, Default)]
pub enum Along {
    /// Nothing.
    #[default]
    Nothing,
    /// Bytes, as a memory file.
    Bytes(Vec<u8>),
    /// Descriptors.
    Descriptors(Vec<OwnedFd>),
    /// Descriptors that are only opened when their turn has come, in a thread, with what is said of them.
    Opened(Opening),
}

/// Gives an answer and its descriptors.
type Open = Box<dyn FnOnce() -> (Result<Packet, EdgeError>, Vec<OwnedFd>) + Send + Sync>;

/// Opens what an answer brings, for as many answers at once as the semaphore has places.
pub struct Opening {
    /// The answer takes the place of the one it came with.
    open: Open,
    among: Arc<Semaphore>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

impl Along {
    const fn weight(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.capacity(),
            Self::Nothing | Self::Descriptors(_) | Self::Opened(_) => 0,
        }
    }
}

#[derive(Debug)]
struct Item {
    after: u64,
    packet: Packet,
    /// What is said instead when nobody knows what is on disk.
    instead: Option<Packet>,
    along: Along,
    /// Given back once the item has left.
    _place: Option<OwnedSemaphorePermit>,
}

impl Item {
    const fn weight(&self) -> usize {
        size_of::<Self>() + self.packet.weight() + self.along.weight()
    }

    /// What is said once the disk has failed; nothing of news that may not be true.
    fn failed(self) -> Option<Self> {
        if self.after == 0 {
            return Some(self);
        }
        let packet = self.instead?;
        Some(Self { after: 0, packet, instead: None, along: Along::Nothing, _place: self._place })
    }
}

/// The answering side of one connection; cheap to clone.
#[derive(Debug)]
pub struct Line<R, E> {
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
    /// Whether this peer was dropped for what it leaves lying: then nothing more waits for it.
    dropped: Arc<AtomicBool>,
    edge: Arc<AsyncEdge>,
    says: PhantomData<fn(R, E)>,
}

impl<R, E> Clone for Line<R, E> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            waiting: self.waiting.clone(),
            dropped: self.dropped.clone(),
            edge: self.edge.clone(),
            says: PhantomData,
        }
    }
}

impl<R: Failing + Serialize, E: Serialize> Line<R, E> {
    /// Tells news, once entry `after` is durable.
    pub fn event(&self, after: u64, event: E) {
        match Packet::of(&Answer::<R, E>::Event(event)) {
            Ok(packet) => self.put(Item { after, packet, instead: None, along: Along::Nothing, _place: None }),
            Err(error) => self.unsayable(&error),
        }
    }

    fn reply(&self, (number, after): (u32, u64), reply: R, along: Along, place: Option<OwnedSemaphorePermit>) {
        let answer = Answer::<R, E>::Reply(number, reply);
        let packet = Packet::of(&answer);
        let instead = match answer {
            Answer::Reply(number, reply) if after > 0 => {
                Packet::of(&Answer::<R, E>::Reply(number, reply.failed())).ok()
            }
            _ => None,
        };
        match packet {
            Ok(packet) => self.put(Item { after, packet, instead, along, _place: place }),
            Err(error) => self.unsayable(&error),
        }
    }
}

impl<R, E> Line<R, E> {
    fn put(&self, item: Item) {
        if self.dropped.load(Ordering::Relaxed) {
            return;
        }
        // One that is heavy alone may go: only who lets things pile up is at fault.
        if self.waiting.fetch_add(item.weight(), Ordering::Relaxed) > WAITING {
            if !self.dropped.swap(true, Ordering::Relaxed) {
                tracing::warn!("a peer does not take its answers; dropped");
            }
            return self.end();
        }
        // Fails only when the connection has ended.
        let _ = self.queue.send(item);
    }

    fn unsayable(&self, error: &EdgeError) {
        tracing::error!(%error, "an answer that cannot be sent; the connection ends");
        self.end();
    }

    /// Ends the connection at once: the peer reads the end of its socket.
    pub fn end(&self) {
        hang_up(&self.edge);
    }
}

/// One request that waits for its answer, with its place among those under way.
#[derive(Debug)]
pub struct Asked<R, E> {
    number: u32,
    line: Line<R, E>,
    place: OwnedSemaphorePermit,
    /// Given back as soon as it is answered.
    holds: Option<OwnedSemaphorePermit>,
}

impl<R: Failing + Serialize, E: Serialize> Asked<R, E> {
    /// The same, with a part of something that is given back once it is answered.
    #[must_use]
    pub fn holding(self, part: OwnedSemaphorePermit) -> Self {
        Self { holds: Some(part), ..self }
    }

    /// Answers, once entry `after` is durable.
    pub fn reply(self, after: u64, reply: R) {
        self.reply_with(after, reply, Along::Nothing);
    }

    /// As [`Self::reply`], with something.
    pub fn reply_with(self, after: u64, reply: R, along: Along) {
        drop(self.holds);
        self.line.reply((self.number, after), reply, along, Some(self.place));
    }

    /// One packet of a long answer; in a thread, where it waits while the peer is behind.
    pub fn part(&self, after: u64, reply: R) {
        while self.line.waiting.load(Ordering::Relaxed) > WAITING / 2 && !self.line.queue.is_closed() {
            std::thread::sleep(LOOK);
        }
        self.line.reply((self.number, after), reply, Along::Nothing, None);
    }

    /// Answers with descriptors that are opened when it is this answer's turn, `instead` if that cannot be.
    pub fn reply_opened(
        self,
        among: Arc<Semaphore>,
        instead: R,
        open: impl FnOnce() -> (R, Vec<OwnedFd>) + Send + Sync + 'static,
    ) {
        let number = self.number;
        let open = Box::new(move || {
            let (reply, with) = open();
            (Packet::of(&Answer::<R, E>::Reply(number, reply)), with)
        });
        self.reply_with(0, instead, Along::Opened(Opening { open, among }));
    }

    /// The connection.
    #[must_use]
    pub const fn line(&self) -> &Line<R, E> {
        &self.line
    }
}

/// Ends a connection at once.
pub fn hang_up(edge: &AsyncEdge) {
    let _ = rustix::net::shutdown(edge, rustix::net::Shutdown::Both);
}

/// One edge's table: what may be asked, now.
pub trait Service: Send {
    /// What is asked.
    type Request: DeserializeOwned + Send;
    /// What is answered.
    type Reply: Failing + Serialize + Send + 'static;
    /// What is told unasked.
    type Event: Serialize + Send + 'static;
    /// Requests that may be under way at once, those whose answers wait for the peer included.
    const AT_ONCE: usize;

    /// Answers, now or later.
    ///
    /// # Errors
    /// [`Breach`]: the peer is dropped.
    fn request(
        &mut self,
        request: Self::Request,
        with: Vec<OwnedFd>,
        asked: Asked<Self::Reply, Self::Event>,
    ) -> Result<(), Breach>;

    /// Answers that it was not done: this process had too few descriptors left to take what came along.
    ///
    /// # Errors
    /// [`Breach`]: nothing may come along with that request.
    fn without(&mut self, request: Self::Request, asked: Asked<Self::Reply, Self::Event>) -> Result<(), Breach>;
}

/// Serves one connection until its peer ends it or is dropped.
pub async fn serve<S: Service>(edge: Arc<AsyncEdge>, mut progress: Progress, name: &'static str, service: S) {
    let (queue, items) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let line = Line { queue, waiting: waiting.clone(), dropped: Arc::default(), edge: edge.clone(), says: PhantomData };
    let writer = tokio::spawn(write(edge.clone(), items, waiting, progress.clone()));
    tokio::select! {
        () = read(edge, service, line, name) => {}
        () = progress.failed() => {}
    }
    // The writer alone watches on, until all is answered.
    drop(progress);
    // The service is gone, and with it every copy of the line but those of work under way.
    let _ = writer.await;
}

async fn read<S: Service>(edge: Arc<AsyncEdge>, mut service: S, line: Line<S::Reply, S::Event>, name: &'static str) {
    let places = Arc::new(Semaphore::new(S::AT_ONCE));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let outcome = match edge.recv_some::<Numbered<S::Request>>().await {
            Ok((Numbered { number, body }, with)) => {
                let asked = Asked { number, line: line.clone(), place, holds: None };
                match with {
                    Some(with) => service.request(body, with, asked),
                    None => {
                        tracing::error!(edge = name, "no descriptor is free here; what was asked was not done");
                        service.without(body, asked)
                    }
                }
            }
            Err(EdgeError::Malformed(what)) => Err(Breach(what)),
            Err(_) => return,
        };
        if let Err(Breach(what)) = outcome {
            tracing::warn!(edge = name, what, "peer dropped: it broke the protocol");
            line.end();
            return;
        }
    }
}

async fn write(
    edge: Arc<AsyncEdge>,
    mut items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
    mut progress: Progress,
) {
    while let Some(item) = items.recv().await {
        let weight = item.weight();
        let item = match progress.reached(item.after).await {
            Some(true) => item,
            Some(false) => match item.failed() {
                Some(item) => item,
                None => continue,
            },
            None => break,
        };
        match timeout(TAKES, send(&edge, item)).await {
            Ok(Ok(())) => {}
            Ok(Err(EdgeError::Closed)) => break,
            Ok(Err(error)) => {
                tracing::error!(%error, "an answer could not be sent");
                break;
            }
            Err(_) => {
                tracing::warn!("a peer does not take its answers; dropped");
                break;
            }
        }
        waiting.fetch_sub(weight, Ordering::Relaxed);
    }
    hang_up(&edge);
}

async fn send(edge: &Arc<AsyncEdge>, item: Item) -> Result<(), EdgeError> {
    if !matches!(item.along, Along::Nothing) {
        while edge.unread() > UNREAD {
            tokio::time::sleep(LOOK).await;
        }
    }
    let along = match item.along {
        Along::Nothing => Vec::new(),
        Along::Descriptors(descriptors) => descriptors,
        Along::Bytes(bytes) => vec![super::memory_file::of(&bytes).map_err(EdgeError::Io)?],
        Along::Opened(opening) => return send_opened(edge, item.packet, opening).await,
    };
    let with: Vec<_> = along.iter().map(AsFd::as_fd).collect();
    edge.send_packet(&item.packet, &with).await
}

/// The place among the answers at once is held until the peer has taken what was sent: descriptors in flight count.
async fn send_opened(edge: &Arc<AsyncEdge>, instead: Packet, opening: Opening) -> Result<(), EdgeError> {
    let Ok(place) = opening.among.acquire_owned().await else { return Err(EdgeError::Closed) };
    let opened = tokio::task::spawn_blocking(opening.open).await;
    let (packet, with) = opened.unwrap_or_else(|_| (Ok(instead), Vec::new()));
    let borrowed: Vec<_> = with.iter().map(AsFd::as_fd).collect();
    edge.send_packet(&packet?, &borrowed).await?;
    let edge = edge.clone();
    tokio::spawn(async move {
        while edge.unread() > 0 {
            tokio::time::sleep(LOOK).await;
        }
        drop(place);
    });
    Ok(())
}
