//! The proxy's end of the link.

use std::io;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::frame::{self, Frames};
use crate::hello::{Answer, Hello, Refusal, Run, VERSION, Want};
use crate::homes::{Grant, Homes};
use crate::keys::PublicKey;
use crate::limits;
use crate::stream::{MARK, OPENING, Opening};
use crate::tls::Acceptor;

mod hall;

pub use hall::{Absent, Event, Hall, Heard};

/// Who dialled the link's port.
#[derive(Debug)]
pub enum Caller {
    /// Somebody who has proved a key.
    Control(Box<TlsStream<TcpStream>>, PublicKey),
    /// Somebody who wants to fetch a stream.
    Data(TcpStream, Opening),
}

/// Finds out which of the two it is, within [`limits::GREETING`] each.
///
/// # Errors
/// The peer's.
pub async fn receive(mut stream: TcpStream, acceptor: &Acceptor) -> io::Result<Caller> {
    let mut first = [0];
    let peeking = stream.peek(&mut first);
    if timeout(limits::GREETING, peeking).await.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first == [MARK] {
        let mut bytes = [0; OPENING];
        let reading = stream.read_exact(&mut bytes);
        timeout(limits::GREETING, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let opening = Opening::read(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        return Ok(Caller::Data(stream, opening));
    }
    // Of ten thousand connections one is a control connection: the others are not to be moved about with room for its
    // handshake.
    let (stream, key) = Box::pin(acceptor.accept(stream)).await?;
    Ok(Caller::Control(Box::new(stream), key))
}

/// A home that is known and wants to be served; it waits for its answer.
#[derive(Debug)]
pub struct Arrival<G> {
    /// The operator's name for it.
    pub name: String,
    /// What it may.
    pub grant: G,
    /// Which run of its box.
    pub run: Run,
    key: PublicKey,
    stream: Box<TlsStream<TcpStream>>,
    frames: Frames,
}

/// A home that is known and asks for something beside its link; it waits for its answer.
#[derive(Debug)]
pub struct Asking {
    /// The operator's name for it.
    pub home: String,
    /// For what.
    pub want: Want,
    stream: Box<TlsStream<TcpStream>>,
}

/// A home that is known.
#[derive(Debug)]
pub enum Guest<G> {
    /// It has come to stay.
    Home(Arrival<G>),
    /// It has a question.
    Asking(Asking),
}

/// Hears what a home wants. One that wants to pair is answered here, and one that is not known refused: then there
/// is nothing more to do.
///
/// # Errors
/// The peer's, or the disk's.
pub async fn greet<G: Grant>(
    mut stream: Box<TlsStream<TcpStream>>,
    key: PublicKey,
    homes: &Homes<G>,
    proxy: &str,
) -> io::Result<Option<Guest<G>>> {
    let mut frames = Frames::default();
    let hearing = frames.read::<Hello, _>(&mut stream);
    let hello = timeout(limits::GREETING, hearing).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let hello = hello.ok_or(io::ErrorKind::UnexpectedEof)?;
    let answer = match hello.want {
        _ if hello.version != VERSION => Answer::Refused(Refusal::Version(VERSION)),
        Want::Pair(secret) => match homes.pair(&secret, key, SystemTime::now()) {
            Ok((name, _)) => {
                tracing::info!(home = name, key = %key, "paired");
                Answer::Welcome { name, proxy: proxy.to_owned() }
            }
            Err(refusal) => Answer::Refused(refusal),
        },
        Want::Serve => match homes.find(&key)? {
            Some((name, grant)) => {
                return Ok(Some(Guest::Home(Arrival { name, grant, run: hello.run, key, stream, frames })));
            }
            None => Answer::Refused(Refusal::Unknown),
        },
        want @ (Want::Budget | Want::Presence | Want::Place(_)) => match homes.find(&key)? {
            Some((home, _)) => return Ok(Some(Guest::Asking(Asking { home, want, stream }))),
            None => Answer::Refused(Refusal::Unknown),
        },
    };
    finish(stream, &answer).await?;
    Ok(None)
}

impl Asking {
    /// Says it; `None`: this proxy has no answer to that.
    ///
    /// # Errors
    /// The peer's.
    pub async fn answer(self, answer: Option<Answer>) -> io::Result<()> {
        finish(self.stream, &answer.unwrap_or(Answer::Refused(Refusal::Busy))).await
    }
}

impl<G> Arrival<G> {
    /// Says no, and why.
    ///
    /// # Errors
    /// The peer's.
    pub async fn refuse(self, refusal: Refusal) -> io::Result<()> {
        finish(self.stream, &Answer::Refused(refusal)).await
    }
}

async fn finish(mut stream: Box<TlsStream<TcpStream>>, answer: &Answer) -> io::Result<()> {
    let saying = async {
        frame::write(&mut stream, answer).await?;
        stream.shutdown().await
    };
    timeout(limits::GREETING, saying).await.map_err(|_| io::ErrorKind::TimedOut)?
}
