//! Connections that came through an inbound proxy: the `link` role hands them to the role that serves them.
//!
//! What a role gets is one end of a pair of local sockets, whose other end `link` relays: not the connection with the
//! proxy itself, which is of the host's network and could be made to connect elsewhere. The bytes are the sender's own,
//! from its ClientHello on; who it is, is what the proxy says.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use filter_sandbox::edge::{AsyncEdge, Edge};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// From `link`; the stream rides along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// `link`'s number for it: a [`Report`] carries it.
    pub number: u64,
    /// Which proxy, as the admin knows it.
    pub proxy: String,
    /// Who called there.
    pub client: SocketAddr,
    /// What it called itself in clear.
    pub ehlo: Option<String>,
    /// Whom it asked for (SNI).
    pub sni: Option<String>,
}

/// To `link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It is served: its stream may be fetched.
    Served(u64),
    /// There is no place for it, or nobody to serve it: its sender is to come again.
    Declined(u64),
    /// The sender of that stream had mail for a domain that is not ours: the proxy sent it to the wrong home.
    WrongHome {
        /// Which stream.
        number: u64,
        /// The domain.
        domain: String,
    },
}

/// The end of who serves.
#[derive(Debug, Clone)]
pub struct Door(Arc<AsyncEdge>);

impl Door {
    /// Takes an end of the edge over.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: OwnedFd) -> io::Result<Self> {
        AsyncEdge::new(Edge::from(edge)).map(|edge| Self(Arc::new(edge)))
    }

    /// The next connection; `None` when `link` has ended. One that came without its stream is passed over.
    pub async fn next(&self) -> Option<(Handed, UnixStream)> {
        loop {
            let (handed, mut with) = self.0.recv::<Handed>().await.ok()?;
            let stream = with.pop().and_then(|fd| stream(fd).ok());
            if let Some(stream) = stream {
                return Some((handed, stream));
            }
        }
    }

    /// Answers a connection that was handed over: until then its sender can still be told to come again.
    pub async fn answer(&self, number: u64, is_served: bool) {
        self.report(&if is_served { Report::Served(number) } else { Report::Declined(number) }).await;
    }

    /// Says something of a stream. Nobody waits for it: it is lost when `link` is gone.
    pub async fn report(&self, report: &Report) {
        let _ = self.0.send(report, &[]).await;
    }
}

fn stream(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The end of `link`.
#[derive(Debug)]
pub struct Hand(AsyncEdge);

impl Hand {
    /// Takes an end of the edge over.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: OwnedFd) -> io::Result<Self> {
        AsyncEdge::new(Edge::from(edge)).map(Self)
    }

    /// Hands one over. Its other end is for the caller to relay, once who serves has answered ([`Door::answer`]).
    ///
    /// # Errors
    /// The edge's: who serves is gone.
    pub async fn over(&self, handed: &Handed) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.0.send(handed, &[theirs.as_fd()]).await.map_err(io::Error::other)?;
        Ok(ours)
    }

    /// What is said of streams; `None` when who serves is gone.
    pub async fn report(&self) -> Option<Report> {
        self.0.recv::<Report>().await.ok().map(|(report, _)| report)
    }
}

/// A connection of a client, however it came.
#[derive(Debug)]
pub enum Arrived {
    /// At a listener of ours.
    Here(TcpStream),
    /// Through a proxy.
    Handed(UnixStream),
}

impl Arrived {
    /// Sends small pieces at once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Here(stream) => stream.set_nodelay(true),
            Self::Handed(_) => Ok(()),
        }
    }
}

impl AsyncRead for Arrived {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Handed(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if read.is_pending() {
            // Who waits here is TLS, most of the time, and offers the buffer in which it has deciphered what came before:
            // a password, a letter. The session may stay open for an hour.
            buffer.initialize_unfilled().fill(0);
        }
        read
    }
}

impl AsyncWrite for Arrived {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Handed(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Handed(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_flush(context),
            Self::Handed(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Handed(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
