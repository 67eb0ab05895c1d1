//! A control connection after its first words: messages both ways, and pings. The same at both ends.

use std::fmt;
use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use crate::frame::{self, Frames};
use crate::limits;
use crate::liveness::{Liveness, Patience, Tend};

/// What goes over the wire.
#[derive(Debug, Serialize, Deserialize)]
enum Packet<M> {
    Ping,
    Pong,
    Message(M),
}

/// Why a control connection is over.
#[derive(Debug)]
pub enum Ended {
    /// The peer closed it.
    Closed,
    /// The peer has been silent for too long.
    Silent,
    /// This side has nothing more to say: every [`Speaker`] is gone.
    Done,
    /// It failed, or the peer broke the protocol.
    Failed(io::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end closed the connection"),
            Self::Silent => f.write_str("the other end has gone silent"),
            Self::Done => f.write_str("ended by this side"),
            // As a process ends that is killed, or a machine that is switched off: TLS has no word for it that people know.
            Self::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the other end closed without a word")
            }
            Self::Failed(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

/// Says things over a control connection that [`run`] keeps. Clones share it; it ends with the last.
#[derive(Debug)]
pub struct Speaker<M> {
    messages: mpsc::Sender<M>,
    prods: mpsc::Sender<oneshot::Sender<()>>,
}

impl<M> Clone for Speaker<M> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), prods: self.prods.clone() }
    }
}

/// The connection is gone, or its peer does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard;

impl<M> Speaker<M> {
    /// Says it, without waiting.
    ///
    /// # Errors
    /// [`Unheard`], also when [`limits::QUEUE`] messages wait already.
    pub fn say(&self, message: M) -> Result<(), Unheard> {
        self.messages.try_send(message).map_err(|_| Unheard)
    }

    /// Asks for a sign of life, and whether one comes within [`limits::SEAT_ANSWER`].
    pub async fn is_alive(&self) -> bool {
        let (sign, seen) = oneshot::channel();
        self.prods.try_send(sign).is_ok() && matches!(timeout(limits::SEAT_ANSWER, seen).await, Ok(Ok(())))
    }

    /// Returns once the connection is over.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }
}

/// The other half of a [`Speaker`], for [`run`].
#[derive(Debug)]
pub struct Script<M> {
    messages: mpsc::Receiver<M>,
    prods: mpsc::Receiver<oneshot::Sender<()>>,
}

/// A speaker and what it says.
#[must_use]
pub fn speaker<M>() -> (Speaker<M>, Script<M>) {
    let (messages, to_say) = mpsc::channel(limits::QUEUE);
    let (prods, to_prod) = mpsc::channel(8);
    (Speaker { messages, prods }, Script { messages: to_say, prods: to_prod })
}

/// Keeps the connection: says what the speaker says, hands on what is heard, answers pings, and notices when nobody
/// is there any more. Returns when it is over.
pub async fn run<S, In, Out>(
    stream: &mut S,
    frames: &mut Frames,
    patience: Patience,
    script: &mut Script<Out>,
    heard: &mpsc::Sender<In>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    In: DeserializeOwned,
    Out: Serialize,
{
    let mut keeper = Keeper { stream, liveness: Liveness::new(patience, Instant::now()), signs: Vec::new() };
    match keeper.keep(frames, script, heard).await {
        Ok(ended) => ended,
        Err(error) => Ended::Failed(error),
    }
}

struct Keeper<'a, S> {
    stream: &'a mut S,
    liveness: Liveness,
    /// Who waits for a sign of life.
    signs: Vec<oneshot::Sender<()>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Keeper<'_, S> {
    async fn keep<In: DeserializeOwned, Out: Serialize>(
        &mut self,
        frames: &mut Frames,
        script: &mut Script<Out>,
        heard: &mpsc::Sender<In>,
    ) -> io::Result<Ended> {
        loop {
            let wake = match self.liveness.tend(Instant::now()) {
                Tend::Dead => return Ok(Ended::Silent),
                Tend::Ping => {
                    self.write::<Out>(&Packet::Ping).await?;
                    continue;
                }
                Tend::Wait(until) => until,
            };
            tokio::select! {
                packet = frames.read::<Packet<In>, _>(self.stream) => match packet? {
                    None => return Ok(Ended::Closed),
                    Some(packet) => self.hear::<In, Out>(packet, heard).await?,
                },
                message = script.messages.recv() => match message {
                    None => return Ok(Ended::Done),
                    Some(message) => self.say(message, script).await?,
                },
                Some(sign) = script.prods.recv() => {
                    self.signs.push(sign);
                    self.write::<Out>(&Packet::Ping).await?;
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// A message, and what waits behind it, in one piece.
    async fn say<Out: Serialize>(&mut self, message: Out, script: &mut Script<Out>) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::encode(&Packet::Message(message), &mut bytes)?;
        while bytes.len() < limits::MESSAGE
            && let Ok(next) = script.messages.try_recv()
        {
            frame::encode(&Packet::Message(next), &mut bytes)?;
        }
        self.send(&bytes).await
    }

    async fn hear<In, Out: Serialize>(&mut self, packet: Packet<In>, heard: &mpsc::Sender<In>) -> io::Result<()> {
        self.liveness.heard(Instant::now());
        for sign in self.signs.drain(..) {
            let _ = sign.send(());
        }
        match packet {
            Packet::Ping => self.write::<Out>(&Packet::Pong).await,
            Packet::Pong => Ok(()),
            Packet::Message(message) => {
                let handing = timeout(limits::GREETING, heard.send(message)).await;
                handing.map_err(|_| io::ErrorKind::TimedOut)?.map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    async fn write<Out: Serialize>(&mut self, packet: &Packet<Out>) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::encode(packet, &mut bytes)?;
        self.send(&bytes).await
    }

    /// A peer that reads nothing for so long is as good as dead.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(limits::GREETING, sending).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}
