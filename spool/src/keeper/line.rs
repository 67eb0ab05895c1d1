//! One connection: requests come in one after another, answers leave in order, each only when the last
//! entry it knows of is durable. What breaks the protocol ends the connection. When the disk fails, what
//! was asked before is answered with a failure, and then the connection ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filter_sandbox::edge::{Answer, AsyncEdge, EdgeError, Numbered};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::commit::Durable;

use super::failing::Failing;

/// Answers that may wait for a peer to take them; who lets more pile up is dropped.
const WAITING: usize = 50_000;

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
}

#[derive(Debug)]
struct Item<R, E> {
    after: u64,
    answer: Answer<R, E>,
    along: Along,
}

impl<R: Failing, E> Item<R, E> {
    /// What is said instead when nobody knows what is on disk; nothing of news that may not be true.
    fn failed(self) -> Option<Self> {
        match self.answer {
            _ if self.after == 0 => Some(self),
            Answer::Reply(number, reply) => {
                let answer = Answer::Reply(number, reply.failed());
                Some(Self { after: 0, answer, along: Along::Nothing })
            }
            Answer::Event(_) => None,
        }
    }
}

/// The answering side of one connection; cheap to clone.
#[derive(Debug)]
pub struct Line<R, E> {
    queue: mpsc::UnboundedSender<Item<R, E>>,
    waiting: Arc<AtomicUsize>,
    edge: Arc<AsyncEdge>,
}

impl<R, E> Clone for Line<R, E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), waiting: self.waiting.clone(), edge: self.edge.clone() }
    }
}

impl<R, E> Line<R, E> {
    /// Answers a request, once entry `after` is durable.
    pub fn reply(&self, number: u32, after: u64, reply: R) {
        self.reply_with(number, after, reply, Along::Nothing);
    }

    /// As [`Self::reply`], with something.
    pub fn reply_with(&self, number: u32, after: u64, reply: R, along: Along) {
        self.put(Item { after, answer: Answer::Reply(number, reply), along });
    }

    /// Tells news, once entry `after` is durable.
    pub fn event(&self, after: u64, event: E) {
        self.put(Item { after, answer: Answer::Event(event), along: Along::Nothing });
    }

    fn put(&self, item: Item<R, E>) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) > WAITING {
            tracing::warn!("a peer does not take its answers; dropped");
            self.end();
            return;
        }
        // Fails only when the connection has ended.
        let _ = self.queue.send(item);
    }

    /// Ends the connection at once: the peer reads the end of its socket.
    pub fn end(&self) {
        hang_up(&self.edge);
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
    type Reply: Failing + Serialize + Send + Sync + 'static;
    /// What is told unasked.
    type Event: Serialize + Send + Sync + 'static;
    /// Requests that may be under way at once.
    const AT_ONCE: usize;

    /// Answers, now or (holding `busy`) later.
    ///
    /// # Errors
    /// [`Breach`]: the peer is dropped.
    fn request(
        &mut self,
        number: u32,
        request: Self::Request,
        with: Vec<OwnedFd>,
        line: &Line<Self::Reply, Self::Event>,
        busy: OwnedSemaphorePermit,
    ) -> Result<(), Breach>;
}

/// Serves one connection until its peer ends it or is dropped.
pub async fn serve<S: Service>(
    edge: Arc<AsyncEdge>,
    durable: watch::Receiver<Durable>,
    name: &'static str,
    service: S,
) {
    let (queue, items) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let line = Line { queue, waiting: waiting.clone(), edge: edge.clone() };
    let writer = tokio::spawn(write(edge.clone(), items, waiting, durable.clone()));
    tokio::select! {
        () = read(edge, service, line, name) => {}
        () = failed(durable) => {}
    }
    // The service is gone, and with it every copy of the line but those of work under way.
    let _ = writer.await;
}

async fn failed(mut durable: watch::Receiver<Durable>) {
    if durable.wait_for(|now| *now == Durable::Failed).await.is_err() {
        // The keeper is gone, and with it the edge.
        std::future::pending().await
    }
}

async fn read<S: Service>(edge: Arc<AsyncEdge>, mut service: S, line: Line<S::Reply, S::Event>, name: &'static str) {
    let places = Arc::new(Semaphore::new(S::AT_ONCE));
    loop {
        let Ok(busy) = places.clone().acquire_owned().await else { return };
        let outcome = match edge.recv::<Numbered<S::Request>>().await {
            Ok((Numbered { number, body }, with)) => service.request(number, body, with, &line, busy),
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

async fn write<R: Failing + Serialize, E: Serialize>(
    edge: Arc<AsyncEdge>,
    mut items: mpsc::UnboundedReceiver<Item<R, E>>,
    waiting: Arc<AtomicUsize>,
    mut durable: watch::Receiver<Durable>,
) {
    while let Some(item) = items.recv().await {
        waiting.fetch_sub(1, Ordering::Relaxed);
        let reached = durable.wait_for(|now| match now {
            Durable::UpTo(durable) => *durable >= item.after,
            Durable::Failed => true,
        });
        let item = match reached.await.as_deref() {
            Ok(Durable::UpTo(_)) => item,
            Ok(Durable::Failed) => match item.failed() {
                Some(item) => item,
                None => continue,
            },
            Err(_) => break,
        };
        let along = match item.along {
            Along::Nothing => Vec::new(),
            Along::Descriptors(descriptors) => descriptors,
            Along::Bytes(bytes) => match super::memory_file::of(&bytes) {
                Ok(file) => vec![file],
                Err(error) => {
                    tracing::error!(%error, "no memory file");
                    break;
                }
            },
        };
        let with: Vec<_> = along.iter().map(std::os::fd::AsFd::as_fd).collect();
        if edge.send(&item.answer, &with).await.is_err() {
            break;
        }
    }
    hang_up(&edge);
}
