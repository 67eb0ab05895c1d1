//! The calling end of an edge: numbered requests, of which several may wait at once.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot, watch};

use super::{AsyncEdge, Edge, MAX_PENDING};

/// What a client of an edge sends: a request with the number its reply will carry.
#[derive(Debug, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Chosen by the client, unique among its waiting calls.
    pub number: u32,
    /// The request.
    pub body: T,
}

/// What the serving side of an edge sends.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<R, E> {
    /// The reply to the request of that number.
    Reply(u32, R),
    /// News nobody asked for.
    Event(E),
}

type Waiting<R> = HashMap<u32, oneshot::Sender<(R, Vec<OwnedFd>)>>;

/// The client end of an edge on which several calls may wait at once.
pub struct Caller<Q, R, E> {
    edge: Arc<AsyncEdge>,
    waiting: Arc<Mutex<Waiting<R>>>,
    next: AtomicU32,
    closed: watch::Receiver<bool>,
    reader: tokio::task::JoinHandle<()>,
    types: PhantomData<fn(Q) -> E>,
}

/// The serving process died or broke the protocol; the session must end (421, BYE) or try again on a new edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process of this server has stopped; it is being restarted")
    }
}

impl std::error::Error for Down {}

impl<Q, R, E> Caller<Q, R, E>
where
    Q: Serialize,
    R: DeserializeOwned + Send + 'static,
    E: DeserializeOwned + Send + 'static,
{
    /// Starts reading replies in a task of the current runtime. Events are sent on; with a full or
    /// dropped receiver they wait or are thrown away.
    ///
    /// # Errors
    /// The kernel's, on taking the descriptor over.
    pub fn start(edge: Edge, events: mpsc::Sender<E>) -> io::Result<Self> {
        let edge = Arc::new(AsyncEdge::new(edge)?);
        let waiting: Arc<Mutex<Waiting<R>>> = Arc::default();
        let (tell_closed, closed) = watch::channel(false);
        let reader = tokio::spawn({
            let (edge, waiting) = (edge.clone(), waiting.clone());
            async move {
                while let Ok((answer, with)) = edge.recv::<Answer<R, E>>().await {
                    match answer {
                        Answer::Reply(number, reply) => {
                            let waiter = lock(&waiting).remove(&number);
                            if let Some(waiter) = waiter {
                                let _ = waiter.send((reply, with));
                            }
                        }
                        Answer::Event(event) => {
                            let _ = events.send(event).await;
                        }
                    }
                }
                let _ = tell_closed.send(true);
                lock(&waiting).clear();
            }
        });
        Ok(Self { edge, waiting, next: AtomicU32::new(1), closed, reader, types: PhantomData })
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// [`Down`] when the other side is gone, breaks the protocol, or too many calls wait.
    pub async fn call(&self, request: Q, with: &[BorrowedFd<'_>]) -> Result<(R, Vec<OwnedFd>), Down> {
        self.begin(request, with).await?.reply().await
    }

    /// Sends a request, whose reply can be waited for later.
    ///
    /// # Errors
    /// As [`Caller::call`].
    pub async fn begin(&self, request: Q, with: &[BorrowedFd<'_>]) -> Result<Call<R>, Down> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if *self.closed.borrow() || waiting.len() >= MAX_PENDING {
                return Err(Down);
            }
            waiting.insert(number, answer);
        }
        let call = Call { answered, _entry: Entry { number, waiting: Arc::clone(&self.waiting) } };
        self.edge.send(&Numbered { number, body: request }, with).await.map_err(|_| Down)?;
        Ok(call)
    }

    /// Returns once the other side is gone.
    pub async fn closed(&self) {
        self.end().await;
    }

    /// The same, for whoever does not keep this borrowed meanwhile.
    pub fn end(&self) -> impl Future<Output = ()> + use<Q, R, E> {
        let mut closed = self.closed.clone();
        async move {
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }
}

impl<Q, R, E> Drop for Caller<Q, R, E> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl<Q, R, E> fmt::Debug for Caller<Q, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("edge", &self.edge).finish_non_exhaustive()
    }
}

/// A request on its way. Dropping it gives up waiting.
#[derive(Debug)]
pub struct Call<R> {
    answered: oneshot::Receiver<(R, Vec<OwnedFd>)>,
    _entry: Entry<R>,
}

impl<R> Call<R> {
    /// Waits for the reply. It never comes once the [`Caller`] has been dropped.
    ///
    /// # Errors
    /// As [`Caller::call`].
    pub async fn reply(self) -> Result<(R, Vec<OwnedFd>), Down> {
        self.answered.await.map_err(|_| Down)
    }
}

/// A place among those who wait.
#[derive(Debug)]
struct Entry<R> {
    number: u32,
    waiting: Arc<Mutex<Waiting<R>>>,
}

impl<R> Drop for Entry<R> {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
