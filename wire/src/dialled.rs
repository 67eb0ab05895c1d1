//! Connections through an outbound proxy: the courier asks the `link` role for one with port 25 of a host, and gets its
//! descriptor.

use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use filter_sandbox::edge::{Answer, AsyncEdge, Caller, Edge, Numbered};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// From the courier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// A host name, or an address.
    pub host: String,
}

/// To the courier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialled {
    /// The stream rides along.
    Connected {
        /// Which of the host's addresses it is.
        address: IpAddr,
        /// What the address that the far server sees is called: the name to greet with.
        hello: String,
    },
    /// There is none now, in words for the log and the queue.
    Failed(String),
    /// There is none before so many seconds are over: what the house may send is spent.
    NotBefore(u32, String),
    /// There is none until another has ended: the house has as many as it may have.
    Full(String),
}

/// A connection through a proxy.
#[derive(Debug)]
pub struct Through {
    /// Its bytes.
    pub stream: tokio::net::TcpStream,
    /// Which of the host's addresses it is.
    pub address: IpAddr,
    /// The name to greet with.
    pub hello: String,
}

/// There is no connection before some seconds are over, as the `io::Error` of [`Dialler::dial`] carries it.
#[derive(Debug)]
pub struct NotBefore {
    /// How many.
    pub seconds: u32,
    words: String,
}

impl NotBefore {
    /// Of an error that carries it.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<u32> {
        error.get_ref()?.downcast_ref::<Self>().map(|this| this.seconds)
    }
}

impl fmt::Display for NotBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for NotBefore {}

/// Nobody says anything unasked here.
type Nothing = ();

/// The end of who asks.
#[derive(Debug)]
pub struct Dialler(Mutex<Arc<Caller<Dial, Dialled, Nothing>>>);

impl Dialler {
    /// Takes an end of the edge over.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: OwnedFd) -> io::Result<Self> {
        Ok(Self(Mutex::new(caller(edge)?)))
    }

    /// `link` was started again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace(&self, edge: OwnedFd) -> io::Result<()> {
        let new = caller(edge)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// A connection with that host.
    ///
    /// # Errors
    /// In words: why there is none. [`NotBefore`] says when there may be one; `ResourceBusy`: as soon as another has ended.
    pub async fn dial(&self, host: &str) -> io::Result<Through> {
        let caller = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, mut with) = caller.call(Dial { host: host.to_owned() }, &[]).await.map_err(io::Error::other)?;
        match (answer, with.pop()) {
            // It goes into a command, and a proxy says it: a line end in it would be a second command, under TLS.
            (Dialled::Connected { hello, .. }, _) if !is_host(&hello) => {
                Err(io::Error::other("the outbound proxy has no name to greet with"))
            }
            (Dialled::Connected { address, hello }, Some(fd)) => {
                let stream = TcpStream::from(fd);
                stream.set_nonblocking(true)?;
                Ok(Through { stream: tokio::net::TcpStream::from_std(stream)?, address, hello })
            }
            (Dialled::Connected { .. }, None) => Err(io::Error::other("the connection was lost on its way here")),
            (Dialled::Failed(words), _) => Err(io::Error::other(words)),
            (Dialled::Full(words), _) => Err(io::Error::new(io::ErrorKind::ResourceBusy, words)),
            (Dialled::NotBefore(seconds, words), _) => Err(io::Error::other(NotBefore { seconds, words })),
        }
    }
}

/// A host name, or at least nothing else that means something.
fn is_host(name: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=255).contains(&name.len()) && name.bytes().all(harmless)
}

fn caller(edge: OwnedFd) -> io::Result<Arc<Caller<Dial, Dialled, Nothing>>> {
    Caller::start(Edge::from(edge), mpsc::channel(1).0).map(Arc::new)
}

/// The end of who connects.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<AsyncEdge>);

/// One question.
#[derive(Debug)]
pub struct Asked {
    exchange: Exchange,
    number: u32,
    /// What for.
    pub dial: Dial,
}

impl Exchange {
    /// Takes an end of the edge over.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: OwnedFd) -> io::Result<Self> {
        AsyncEdge::new(Edge::from(edge)).map(|edge| Self(Arc::new(edge)))
    }

    /// The next question; `None` when the courier has ended.
    pub async fn next(&self) -> Option<Asked> {
        let (Numbered { number, body: dial }, _) = self.0.recv::<Numbered<Dial>>().await.ok()?;
        Some(Asked { exchange: self.clone(), number, dial })
    }
}

impl Asked {
    /// Here it is. Who asked may be gone: then it is dropped.
    pub async fn connected(self, stream: &impl AsFd, address: IpAddr, hello: String) {
        self.answer(Dialled::Connected { address, hello }, Some(stream)).await;
    }

    /// There is none.
    pub async fn failed(self, words: String) {
        self.answer(Dialled::Failed(words), None::<&OwnedFd>).await;
    }

    /// There is none before so many seconds are over.
    pub async fn not_before(self, seconds: u32, words: String) {
        self.answer(Dialled::NotBefore(seconds, words), None::<&OwnedFd>).await;
    }

    /// There is none until another has ended.
    pub async fn full(self, words: String) {
        self.answer(Dialled::Full(words), None::<&OwnedFd>).await;
    }

    async fn answer(&self, dialled: Dialled, stream: Option<&impl AsFd>) {
        let with: Vec<_> = stream.into_iter().map(AsFd::as_fd).collect();
        let reply = Answer::<Dialled, Nothing>::Reply(self.number, dialled);
        let _ = self.exchange.0.send(&reply, &with).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn edge() -> (Dialler, Exchange) {
        let (one, other) = Edge::pair().unwrap();
        (Dialler::new(one.into()).unwrap(), Exchange::new(other.into()).unwrap())
    }

    #[tokio::test]
    async fn a_budget_that_is_spent_says_until_when() {
        for (seconds, words) in [(Some(600), "spent"), (None, "away")] {
            let (dialler, exchange) = edge();
            tokio::spawn(async move {
                let asked = exchange.next().await.unwrap();
                match seconds {
                    Some(seconds) => asked.not_before(seconds, words.to_owned()).await,
                    None => asked.failed(words.to_owned()).await,
                }
            });
            let error = dialler.dial("mx.far.test").await.unwrap_err();
            assert_eq!((NotBefore::of(&error), error.to_string().as_str()), (seconds, words));
        }
    }

    #[tokio::test]
    async fn a_name_that_would_be_a_command_is_none() {
        for bad in ["", "clean.test\r\nMAIL FROM:<you@home.test>", "clean test", "[192.0.2.1]", &"a".repeat(256)] {
            let (dialler, exchange) = edge();
            let hello = bad.to_owned();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let there = listener.local_addr().unwrap();
            tokio::spawn(async move {
                let asked = exchange.next().await.unwrap();
                asked.connected(&tokio::net::TcpStream::connect(there).await.unwrap(), there.ip(), hello).await;
            });
            assert!(dialler.dial("mx.far.test").await.is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_and_why_there_is_none() {
        let (dialler, exchange) = edge();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let asked = exchange.next().await.unwrap();
            assert_eq!(asked.dial.host, "mx.far.test");
            let stream = tokio::net::TcpStream::connect(there).await.unwrap();
            asked.connected(&stream, [192, 0, 2, 7].into(), "clean.test".into()).await;
            exchange.next().await.unwrap().failed("spent".into()).await;
        });
        let Through { mut stream, address, hello } = dialler.dial("mx.far.test").await.unwrap();
        assert_eq!((hello.as_str(), address), ("clean.test", [192, 0, 2, 7].into()));
        let (mut accepted, _) = listener.accept().await.unwrap();
        accepted.write_all(b"220").await.unwrap();
        let mut three = [0; 3];
        stream.read_exact(&mut three).await.unwrap();
        assert_eq!(dialler.dial("mx.far.test").await.unwrap_err().to_string(), "spent");
        assert!(dialler.dial("mx.far.test").await.is_err(), "who connects is gone");
        let (_, exchange) = {
            let (one, other) = Edge::pair().unwrap();
            dialler.replace(one.into()).unwrap();
            ((), Exchange::new(other.into()).unwrap())
        };
        tokio::spawn(async move { exchange.next().await.unwrap().failed("started again".into()).await });
        assert_eq!(dialler.dial("mx.far.test").await.unwrap_err().to_string(), "started again");
    }
}
