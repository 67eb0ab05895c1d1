//! Drives one [`Session`]: reads lines, writes replies. What is said is decided there.

use std::collections::VecDeque;
use std::io;

use relay_link::inbound::ClientName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use wire::lines::{Line, Lines};

use super::ending::Ending;
use crate::limits;
use crate::session::{Domain, Effect, Event, Phase, Session};

/// A session and its connection.
#[derive(Debug)]
pub(super) struct Talk<'a, S> {
    lines: Lines<S>,
    session: Session,
    phase: Phase,
    name: &'a str,
    ending: &'a Ending,
    effects: VecDeque<Effect>,
    unwritten: Vec<u8>,
    /// When it last went on.
    since: Instant,
    /// When it has taken too long in all.
    until: Instant,
}

/// How far it went.
#[derive(Debug)]
pub(super) enum Step {
    /// Everything is said.
    Over,
    /// TLS begins with the next byte.
    HandOver(Option<ClientName>),
    /// It would begin with TLS: [`Talk::admitted`] says whether there is a place for it.
    Admit,
    /// The sender has mail for this domain; it is answered at the next step.
    Learn(Domain),
    /// The sender has mail for somebody else, too, and nobody asks for whom.
    Unclear,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    /// A session, nothing said yet.
    pub(super) fn new(stream: S, phase: Phase, name: &'a str, ending: &'a Ending) -> Self {
        let (session, effects) = Session::new(phase);
        let since = Instant::now();
        let until = since + session.time();
        let (lines, effects) = (Lines::new(stream), effects.into());
        Self { lines, session, phase, name, ending, effects, unwritten: Vec::new(), since, until }
    }

    /// The answer to [`Step::Admit`].
    pub(super) fn admitted(&mut self, place: bool) {
        self.effects = self.session.handle(Event::Admitted(place)).into();
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
                    Effect::Admit => return Ok(Step::Admit),
                    Effect::Learn(domain) => return Ok(Step::Learn(domain)),
                    Effect::Unclear => return Ok(Step::Unclear),
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
            let patience = self.until.min(self.since + self.session.patience());
            let next = tokio::select! {
                biased;
                next = timeout_at(patience, self.lines.next(limits::COMMAND_LINE)) => Some(next),
                () = self.ending.no_longer_hears(self.phase) => None,
            };
            let effects = match next {
                None => self.session.handle(Event::Ending),
                Some(Err(_)) => self.session.handle(Event::Silence),
                Some(Ok(line)) => match line? {
                    Line::Whole(line) => self.session.handle(Event::Line(&line)),
                    Line::TooLong | Line::BareLineEnd => self.session.handle(Event::BadLine),
                    Line::End => return Ok(Step::Over),
                },
            };
            if self.session.went_on() {
                self.since = Instant::now();
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::time::sleep;

    /// Places under TLS are few: who only passes the time there is silent.
    #[tokio::test]
    async fn noop_is_silence_under_tls() {
        for phase in [Phase::Clear, Phase::Learning, Phase::Away] {
            let (ending, (client, server)) = (Ending::default(), tokio::io::duplex(64 * 1024));
            let mut talk = Talk::new(server, phase, "clean.example", &ending);
            talk.since -= talk.session.patience() - Duration::from_millis(500);
            let (mut said, mut says) = tokio::io::split(client);
            let talking = tokio::spawn(async move {
                for line in ["NOOP\r\n", "RSET\r\n", "HELP\r\n"].iter().cycle() {
                    if says.write_all(line.as_bytes()).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            });
            let ended = timeout(Duration::from_secs(if phase == Phase::Clear { 1 } else { 60 }), talk.step()).await;
            drop(talk);
            talking.abort();
            let mut text = String::new();
            said.read_to_string(&mut text).await.unwrap();
            let told = text.ends_with("421 4.4.2 clean.example this takes too long\r\n");
            assert_eq!((ended.is_ok(), told), (phase != Phase::Clear, phase != Phase::Clear), "{phase:?}: {text}");
        }
    }

    /// A peer that says something now and then is never silent; its time is over nevertheless.
    #[tokio::test]
    async fn a_session_has_its_time_in_all() {
        for phase in [Phase::Clear, Phase::Learning, Phase::Away] {
            let (ending, (client, server)) = (Ending::default(), tokio::io::duplex(64 * 1024));
            let mut talk = Talk::new(server, phase, "clean.example", &ending);
            let most = talk.until.saturating_duration_since(Instant::now());
            assert!(most <= limits::CLEAR_TIME && most > Duration::from_secs(60), "{most:?}");
            talk.until = Instant::now() + Duration::from_millis(300);
            let (mut said, mut says) = tokio::io::split(client);
            let talking = tokio::spawn(async move {
                while says.write_all(b"NOOP\r\n").await.is_ok() {
                    sleep(Duration::from_millis(50)).await;
                }
            });
            assert!(matches!(talk.step().await.unwrap(), Step::Over));
            drop(talk);
            talking.abort();
            let mut text = String::new();
            said.read_to_string(&mut text).await.unwrap();
            assert!(text.ends_with("421 4.4.2 clean.example this takes too long\r\n"), "{text}");
            assert!(text.matches("250 2.0.0").count() < 200, "it ended by its time: {text}");
        }
    }
}
