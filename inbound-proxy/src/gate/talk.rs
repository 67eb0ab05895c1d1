//! Drives one [`Session`]: reads lines, writes replies. What is said is decided there.

use std::collections::VecDeque;
use std::io;

use relay_link::inbound::ClientName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use wire::lines::{Line, Lines};

use crate::limits;
use crate::session::{Domain, Effect, Event, Phase, Session};

/// A session and its connection.
#[derive(Debug)]
pub(super) struct Talk<'a, S> {
    lines: Lines<S>,
    session: Session,
    name: &'a str,
    effects: VecDeque<Effect>,
    unwritten: Vec<u8>,
}

/// How far it went.
#[derive(Debug)]
pub(super) enum Step {
    /// Everything is said.
    Over,
    /// TLS begins with the next byte.
    HandOver(Option<ClientName>),
    /// The sender has mail for this domain; it is answered at the next step.
    Learn(Domain),
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    /// A session, nothing said yet.
    pub(super) fn new(stream: S, phase: Phase, name: &'a str) -> Self {
        let (session, effects) = Session::new(phase);
        Self { lines: Lines::new(stream), session, name, effects: effects.into(), unwritten: Vec::new() }
    }

    /// Talks until the caller has something to do.
    ///
    /// # Errors
    /// The peer's.
    pub(super) async fn step(&mut self) -> io::Result<Step> {
        loop {
            while let Some(effect) = self.effects.pop_front() {
                match effect {
                    Effect::Say(reply) => reply.write(self.name, &mut self.unwritten),
                    Effect::Learn(domain) => return Ok(Step::Learn(domain)),
                    Effect::HandOver { ehlo } => {
                        // RFC 3207 §4.2: what came ahead of TLS could be anybody's.
                        self.lines.discard();
                        self.flush().await?;
                        return Ok(Step::HandOver(ehlo));
                    }
                    Effect::Close => {
                        self.flush().await?;
                        let _ = timeout(limits::HANDSHAKE, self.lines.stream_mut().shutdown()).await;
                        return Ok(Step::Over);
                    }
                }
            }
            self.flush().await?;
            let next = timeout(self.session.patience(), self.lines.next(limits::COMMAND_LINE)).await;
            let effects = match next {
                Err(_) => self.session.handle(Event::Silence),
                Ok(line) => match line? {
                    Line::Whole(line) => self.session.handle(Event::Line(&line)),
                    Line::TooLong | Line::BareLineEnd => self.session.handle(Event::BadLine),
                    Line::End => return Ok(Step::Over),
                },
            };
            self.effects = effects.into();
        }
    }

    /// The connection; what was sent ahead has been thrown away.
    pub(super) fn into_stream(self) -> S {
        self.lines.into_parts().0
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.unwritten);
        let writing = async {
            self.lines.stream_mut().write_all(&bytes).await?;
            self.lines.stream_mut().flush().await
        };
        timeout(limits::HANDSHAKE, writing).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}
