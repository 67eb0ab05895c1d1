//! One connection to a far server: reads lines, feeds them to [`super::session`], performs its effects. What is decided is
//! decided there.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::lines::{Line, Lines};

use super::around::{Alone, Around};
use super::elsewhere::Ending;
use super::fate::{Fate, Status, Why};
use super::limits;
use super::pieces::Pieces;
use super::session::{Awaits, Effect, Event, Extensions, Letter, Rules, Session};
use super::text::Stuffing;
use crate::stream::Stream;
use answer::Answer;

mod answer;

/// A connected, ready session.
pub struct Link<S> {
    session: Session,
    lines: Lines<Stream<S, TlsStream<S>>>,
    unwritten: Vec<u8>,
    tls: Handshake,
    /// Nothing can be written any more.
    broken: Option<String>,
    /// The letter's bytes have begun to go out.
    begun: bool,
    /// They must not any more.
    called_back: bool,
    /// What comes after their end.
    answer: Answer,
}

impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("session", &self.session).finish_non_exhaustive()
    }
}

/// How TLS is spoken here: the rule for this host is in it.
#[derive(Clone)]
pub struct Handshake {
    /// See [`super::verifier::config`].
    pub config: Arc<ClientConfig>,
    /// The host's name: SNI, and what its certificate is compared with.
    pub host: String,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What came of the effects of one step.
#[derive(Default)]
struct Came {
    event: Option<Event<'static>>,
    fates: Option<Vec<Fate>>,
    unusable: Option<Why>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Greets, shakes hands, and gets ready for letters. `stream` is connected.
    ///
    /// # Errors
    /// Why this host is of no use now.
    pub async fn open(stream: S, rules: Rules, tls: Handshake) -> Result<Self, Why> {
        let mut link = Self {
            session: Session::new(rules),
            lines: Lines::new(Stream::Clear(stream)),
            unwritten: Vec::new(),
            tls,
            broken: None,
            begun: false,
            called_back: false,
            answer: Answer::default(),
        };
        match link.run(None, &mut Pieces::none(), limits::OPENING, &Alone).await.unusable {
            Some(why) => Err(why),
            None => Ok(link),
        }
    }

    /// What the far server can.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        self.session.extensions()
    }

    /// Our name there.
    #[must_use]
    pub fn hello(&self) -> &str {
        self.session.hello()
    }

    /// Whether it takes another letter.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.session.awaits() == Awaits::Letter
    }

    /// How the last letter has left the connection.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self.session.awaits() {
            Awaits::Nothing if self.begun => Ending::OverText,
            Awaits::Nothing => Ending::Unbegun,
            _ => Ending::Kept,
        }
    }

    /// Whether the connection was lost before any byte of the last letter went out: over another it may go well.
    #[must_use]
    pub fn is_lost_unbegun(&self) -> bool {
        self.ending() == Ending::Unbegun
    }

    /// Whether bytes of the last letter's text went out.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the last letter was kept back before any byte of it went out: its fates say nothing.
    #[must_use]
    pub const fn is_called_back(&self) -> bool {
        self.called_back
    }

    /// Sends a letter whose bytes are these, one after another; a fate for each recipient.
    pub async fn send(&mut self, letter: Letter, mut bytes: Pieces<'_>, around: &impl Around) -> Vec<Fate> {
        (self.begun, self.answer) = (false, Answer::default());
        let count = letter.recipients.len();
        let slowest = letter.size / limits::SLOWEST;
        let lost = || Fate::Deferred(Why::ours(Status::new(4, 4, 2), "the connection was closed"));
        // A line that answers nothing, or the end: whatever came next would be taken for an answer to this letter.
        if self.has_spoken().await {
            self.session = Session::closed();
            return vec![lost(); count];
        }
        let patience = limits::TRANSACTION + Duration::from_secs(slowest);
        let came = self.run(Some(Event::Letter(letter)), &mut bytes, patience, around).await;
        if self.answer.is_odd() {
            self.session = Session::closed();
        }
        came.fates.unwrap_or_else(|| vec![lost(); count])
    }

    /// Whether something has come that nothing has asked for, the end included. Does not wait.
    async fn has_spoken(&mut self) -> bool {
        if !self.lines.buffered().is_empty() {
            return true;
        }
        tokio::select! {
            biased;
            _ = self.lines.fill() => true,
            () = std::future::ready(()) => false,
        }
    }

    /// Holds no more memory than it must while nothing is sent.
    pub fn shrink(&mut self) {
        if self.unwritten.is_empty() {
            self.unwritten = Vec::new();
        }
        self.lines.shrink();
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if self.is_ready() {
            self.run(Some(Event::NoMore), &mut Pieces::none(), limits::QUIT, &Alone).await;
        }
        let _ = timeout(limits::QUIT, self.lines.stream_mut().shutdown()).await;
    }

    /// Steps until the session wants a letter or nothing. All of it but the wait for the letter's outcome has so much
    /// time: what follows the end of a letter may have been a delivery, and deserves the patience the RFC names.
    async fn run<A: Around>(
        &mut self,
        first: Option<Event<'static>>,
        bytes: &mut Pieces<'_>,
        patience: Duration,
        around: &A,
    ) -> Came {
        let mut came = Came::default();
        let mut event = first;
        let end = Instant::now() + patience;
        let mut until = end;
        loop {
            let line;
            let read = match (&event, self.session.awaits()) {
                (Some(_), _) => None,
                (None, Awaits::Reply(patience)) => {
                    // A reply has its time as a whole, not each of its lines.
                    if !self.session.is_in_reply() {
                        until = Self::until(patience, end);
                    }
                    Some(self.line(until, patience == limits::END_OF_DATA, around).await)
                }
                (None, Awaits::Outcome) if self.broken.is_some() => Some(self.last_words().await),
                (None, Awaits::Outcome | Awaits::Letter | Awaits::Nothing) => return came,
            };
            let next = match (event.take(), read) {
                (Some(event), _) => event,
                (None, Some(Ok(Line::Whole(bytes)))) => {
                    line = bytes;
                    Event::Line(&line)
                }
                (None, Some(Ok(Line::TooLong | Line::BareLineEnd))) => Event::BadLine,
                (None, Some(Ok(Line::End)) | None) => Event::Lost("closed".to_owned()),
                (None, Some(Err(error))) if error.kind() == io::ErrorKind::TimedOut => Event::Silent,
                (None, Some(Err(error))) => Event::Lost(in_words(&error)),
            };
            // A step that panicked would leave a session that has said all it had to say; none does.
            let placeholder = Session::closed();
            let (session, effects) = std::mem::replace(&mut self.session, placeholder).handle(next);
            self.session = session;
            for effect in effects {
                self.perform(effect, (&mut *bytes, end, around), &mut came).await;
            }
            event = came.event.take();
        }
    }

    /// Until when a reply is awaited, in a step that has until `end`.
    fn until(patience: Duration, end: Instant) -> Instant {
        let until = Instant::now() + patience;
        if patience == limits::END_OF_DATA { until } else { until.min(end) }
    }

    async fn line<A: Around>(&mut self, until: Instant, is_outcome: bool, around: &A) -> io::Result<Line> {
        self.flush(until, around).await?;
        if !is_outcome {
            let line = async {
                timeout_at(until, self.lines.next(limits::REPLY_LINE)).await.map_err(|_| io::ErrorKind::TimedOut)?
            };
            return in_time(line, around).await;
        }
        let line = timeout_at(until, self.answer.line(&mut self.lines));
        let in_time = tokio::select! {
            line = line => line,
            never = around.stands_aside() => match never {},
        };
        in_time.unwrap_or_else(|_| {
            self.answer.begun(&mut self.lines).map(Line::Whole).ok_or_else(|| io::ErrorKind::TimedOut.into())
        })
    }

    async fn last_words(&mut self) -> io::Result<Line> {
        let lost = || io::Error::other(self.broken.clone().unwrap_or_default());
        match timeout(limits::QUIT, self.lines.next(limits::REPLY_LINE)).await {
            Ok(Ok(Line::End)) | Err(_) => Err(lost()),
            Ok(line) => line,
        }
    }

    async fn flush<A: Around>(&mut self, until: Instant, around: &A) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let stream = self.lines.stream_mut();
        let write = async {
            // Each step has its time: a line that is slow with what goes out over it is no far server that hangs.
            for step in self.unwritten.chunks(limits::STEP) {
                in_time(stream.write_all(step), around).await?;
            }
            in_time(stream.flush(), around).await
        };
        let written = timeout_at(until, write).await.map_err(|_| io::ErrorKind::TimedOut)?;
        self.unwritten.clear();
        written
    }

    async fn perform<A: Around>(
        &mut self,
        effect: Effect,
        (bytes, end, around): (&mut Pieces<'_>, Instant, &A),
        came: &mut Came,
    ) {
        let begins = matches!(effect, Effect::WriteText | Effect::WriteBytes);
        if begins && !around.may_begin().await {
            self.called_back = true;
            came.event = Some(Event::Lost("the letter is kept back".to_owned()));
            return;
        }
        match effect {
            Effect::Send(command) => self.unwritten.extend_from_slice(&command),
            Effect::StartTls => came.event = Some(self.start_tls().await),
            Effect::WriteText => came.event = self.written(bytes, (end, around), true).await,
            Effect::WriteBytes => came.event = self.written(bytes, (end, around), false).await,
            Effect::Fates(fates) => came.fates = Some(fates),
            Effect::Unusable(why) => came.unusable = Some(why),
            Effect::Ready | Effect::Close => {}
        }
    }

    /// What came ahead in clear is thrown away (RFC 3207 §4.2).
    async fn start_tls(&mut self) -> Event<'static> {
        let until = Instant::now() + limits::HANDSHAKE;
        if let Err(error) = self.flush(until, &Alone).await {
            return Event::Lost(error.kind().to_string());
        }
        self.lines.discard();
        let Stream::Clear(clear) = std::mem::replace(self.lines.stream_mut(), Stream::Gone) else {
            return Event::Lost("no stream".to_owned());
        };
        let host = &self.tls.host;
        let failed = |words: String| Event::TlsFailed(Why::ours(Status::new(4, 7, 5), words));
        let Ok(name) = ServerName::try_from(host.clone()) else {
            return failed(format!("{host} is no name a certificate could have"));
        };
        let shaking = TlsConnector::from(self.tls.config.clone()).connect(name, clear);
        match timeout_at(until, shaking).await {
            Ok(Ok(stream)) => {
                *self.lines.stream_mut() = Stream::Tls(Box::new(stream));
                Event::TlsStarted
            }
            Ok(Err(error)) => failed(format!("no encrypted connection to {host}: {}", in_words(&error))),
            Err(_) => failed(format!("{host} did not finish the TLS handshake in time")),
        }
    }

    /// A far server that refuses in the middle and closes has often said why: [`Self::run`] reads that.
    /// One that says yes before it has all of the letter must not have the rest: its next yes would be taken for it.
    async fn written<A: Around>(
        &mut self,
        bytes: &mut Pieces<'_>,
        time: (Instant, &A),
        text: bool,
    ) -> Option<Event<'static>> {
        self.begun = true;
        let outcome = if text { self.write_text(bytes, time).await } else { self.write_bytes(bytes, time).await };
        self.broken = outcome.err().map(|error| error.to_string());
        if self.broken.is_some() {
            self.unwritten.clear();
        }
        self.broken.is_none().then_some(Event::Written)
    }

    async fn write_text<A: Around>(&mut self, bytes: &mut Pieces<'_>, time: (Instant, &A)) -> io::Result<()> {
        let mut stuffing = Stuffing::default();
        let bare = |_| io::Error::new(io::ErrorKind::InvalidData, "a bare CR or LF");
        while let Some(piece) = bytes.piece()? {
            stuffing.piece(&piece, &mut self.unwritten).map_err(bare)?;
            self.block(time).await?;
        }
        self.still_silent().await?;
        stuffing.end(&mut self.unwritten).map_err(bare)
    }

    async fn write_bytes<A: Around>(&mut self, bytes: &mut Pieces<'_>, time: (Instant, &A)) -> io::Result<()> {
        while let Some(piece) = bytes.piece()? {
            self.unwritten.extend_from_slice(&piece);
            if bytes.is_at_end() {
                self.still_silent().await?;
            }
            self.block(time).await?;
        }
        Ok(())
    }

    async fn block<A: Around>(&mut self, (end, around): (Instant, &A)) -> io::Result<()> {
        self.flush(end.min(Instant::now() + limits::DATA_BLOCK), around).await
    }

    async fn still_silent(&mut self) -> io::Result<()> {
        if self.has_spoken().await { Err(io::Error::other("spoke before the letter's end")) } else { Ok(()) }
    }
}

/// While others wait, a far server has less time: nothing of a letter's end is out yet, so nothing is sent twice.
async fn in_time<T>(work: impl Future<Output = io::Result<T>>, around: &impl Around) -> io::Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        () = around.has_had_its_time() => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What a person understands of it.
fn in_words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "it closed without a word".to_owned();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => format!("its certificate {}", of_certificate(why)),
        Some(rustls::Error::General(words)) => words.clone(),
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "it speaks only versions of TLS that are no longer safe".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("it refused ({alert:?})"),
        Some(rustls::Error::InvalidMessage(_)) => "what it sent is not TLS".to_owned(),
        None if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => error.to_string(),
    }
}

fn of_certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is that of another name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".to_owned(),
        CertificateError::UnknownIssuer => "comes from no authority that is known here".to_owned(),
        other => format!("is not to be trusted ({other})"),
    }
}

#[cfg(test)]
mod tests;
