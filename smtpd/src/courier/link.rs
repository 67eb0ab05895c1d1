//! One connection to a far server: reads lines, feeds them to [`super::session`], performs its effects. What is decided is
//! decided there.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::lines::{Line, Lines};

use super::fate::{Fate, Status, Why};
use super::limits;
use super::session::{Awaits, Effect, Event, Extensions, Letter, Rules, Session};
use super::text::Stuffing;

/// Bytes of a letter written at once.
const PIECE: usize = 64 * 1024;

/// A connected, ready session.
pub struct Link<S> {
    session: Session,
    lines: Lines<Stream<S>>,
    unwritten: Vec<u8>,
    tls: Handshake,
    /// Nothing can be written any more.
    broken: Option<String>,
    /// The letter's bytes have begun to go out.
    begun: bool,
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
        };
        match link.run(None, &[], limits::OPENING).await.unusable {
            Some(why) => Err(why),
            None => Ok(link),
        }
    }

    /// What the far server can.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        self.session.extensions()
    }

    /// Whether it takes another letter.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.session.awaits() == Awaits::Letter
    }

    /// Whether the connection was lost before any byte of the last letter went out: over another it may go well.
    #[must_use]
    pub fn is_lost_unbegun(&self) -> bool {
        self.session.awaits() == Awaits::Nothing && !self.begun
    }

    /// Sends a letter whose bytes are these, one after another; a fate for each recipient.
    pub async fn send(&mut self, letter: Letter, bytes: &[&[u8]]) -> Vec<Fate> {
        self.begun = false;
        let count = letter.recipients.len();
        let slowest = letter.size / limits::SLOWEST;
        let lost = || Fate::Deferred(Why::ours(Status::new(4, 4, 2), "the connection was closed"));
        // A line that answers nothing, or the end: whatever came next would be taken for an answer to this letter.
        if self.has_spoken().await {
            self.session = Session::closed();
            return vec![lost(); count];
        }
        let patience = limits::TRANSACTION + Duration::from_secs(slowest);
        let came = self.run(Some(Event::Letter(letter)), bytes, patience).await;
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

    /// Says goodbye.
    pub async fn close(mut self) {
        if self.is_ready() {
            self.run(Some(Event::NoMore), &[], limits::QUIT).await;
        }
        let _ = timeout(limits::QUIT, self.lines.stream_mut().shutdown()).await;
    }

    /// Steps until the session wants a letter or nothing. All of it but the wait for the letter's outcome has so much
    /// time: what follows the end of a letter may have been a delivery, and deserves the patience the RFC names.
    async fn run(&mut self, first: Option<Event<'static>>, bytes: &[&[u8]], patience: Duration) -> Came {
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
                    Some(self.line(until).await)
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
                (None, Some(Err(error))) => Event::Lost(error.to_string()),
            };
            // A step that panicked would leave a session that has said all it had to say; none does.
            let placeholder = Session::closed();
            let (session, effects) = std::mem::replace(&mut self.session, placeholder).handle(next);
            self.session = session;
            for effect in effects {
                self.perform(effect, (bytes, end), &mut came).await;
            }
            event = came.event.take();
        }
    }

    /// Until when a reply is awaited, in a step that has until `end`.
    fn until(patience: Duration, end: Instant) -> Instant {
        let until = Instant::now() + patience;
        if patience == limits::END_OF_DATA { until } else { until.min(end) }
    }

    async fn line(&mut self, until: Instant) -> io::Result<Line> {
        self.flush(until).await?;
        timeout_at(until, self.lines.next(limits::REPLY_LINE)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn last_words(&mut self) -> io::Result<Line> {
        let lost = || io::Error::other(self.broken.clone().unwrap_or_default());
        match timeout(limits::QUIT, self.lines.next(limits::REPLY_LINE)).await {
            Ok(Ok(Line::End)) | Err(_) => Err(lost()),
            Ok(line) => line,
        }
    }

    async fn flush(&mut self, until: Instant) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let stream = self.lines.stream_mut();
        let write = async {
            stream.write_all(&self.unwritten).await?;
            stream.flush().await
        };
        let written = timeout_at(until, write).await.map_err(|_| io::ErrorKind::TimedOut)?;
        self.unwritten.clear();
        written
    }

    async fn perform(&mut self, effect: Effect, (bytes, end): (&[&[u8]], Instant), came: &mut Came) {
        match effect {
            Effect::Send(command) => self.unwritten.extend_from_slice(&command),
            Effect::StartTls => came.event = Some(self.start_tls().await),
            Effect::WriteText => came.event = self.written(bytes, end, true).await,
            Effect::WriteBytes => came.event = self.written(bytes, end, false).await,
            Effect::Fates(fates) => came.fates = Some(fates),
            Effect::Unusable(why) => came.unusable = Some(why),
            Effect::Ready | Effect::Close => {}
        }
    }

    /// What came ahead in clear is thrown away (RFC 3207 §4.2).
    async fn start_tls(&mut self) -> Event<'static> {
        let until = Instant::now() + wire::limits::HANDSHAKE;
        if let Err(error) = self.flush(until).await {
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
            Ok(Err(error)) => failed(format!("no encrypted connection to {host}: {error}")),
            Err(_) => failed(format!("{host} did not finish the TLS handshake in time")),
        }
    }

    /// A far server that refuses in the middle and closes has often said why: [`Self::run`] reads that.
    /// One that says yes before it has all of the letter must not have the rest: its next yes would be taken for it.
    async fn written(&mut self, bytes: &[&[u8]], end: Instant, text: bool) -> Option<Event<'static>> {
        self.begun = true;
        let outcome = if text { self.write_text(bytes, end).await } else { self.write_bytes(bytes, end).await };
        self.broken = outcome.err().map(|error| error.to_string());
        if self.broken.is_some() {
            self.unwritten.clear();
        }
        self.broken.is_none().then_some(Event::Written)
    }

    async fn write_text(&mut self, bytes: &[&[u8]], end: Instant) -> io::Result<()> {
        let mut stuffing = Stuffing::default();
        let bare = |_| io::Error::new(io::ErrorKind::InvalidData, "a bare CR or LF");
        for piece in bytes.iter().flat_map(|slice| slice.chunks(PIECE)) {
            stuffing.piece(piece, &mut self.unwritten).map_err(bare)?;
            self.flush(end.min(Instant::now() + limits::DATA_BLOCK)).await?;
        }
        self.still_silent().await?;
        stuffing.end(&mut self.unwritten).map_err(bare)
    }

    async fn write_bytes(&mut self, bytes: &[&[u8]], end: Instant) -> io::Result<()> {
        let mut left: usize = bytes.iter().map(|slice| slice.len()).sum();
        for piece in bytes.iter().flat_map(|slice| slice.chunks(PIECE)) {
            self.unwritten.extend_from_slice(piece);
            left -= piece.len();
            if left == 0 {
                self.still_silent().await?;
            }
            self.flush(end.min(Instant::now() + limits::DATA_BLOCK)).await?;
        }
        Ok(())
    }

    async fn still_silent(&mut self) -> io::Result<()> {
        if self.has_spoken().await { Err(io::Error::other("spoke before the letter's end")) } else { Ok(()) }
    }
}

/// Either kind of stream.
enum Stream<S> {
    Clear(S),
    Tls(Box<TlsStream<S>>),
    /// Between the two, and after a failed handshake.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::session::{Recipient, Tls};
    use crate::courier::tls_rule::Rule;
    use crate::courier::verifier;
    use crate::session::path::Address;
    use rustls::RootCertStore;
    use tokio::io::{AsyncReadExt, DuplexStream};

    fn handshake() -> Handshake {
        let config = verifier::config(Rule::Encrypted, "far.test", Arc::new(RootCertStore::empty())).unwrap();
        Handshake { config: Arc::new(config), host: "mx.far.test".into() }
    }

    fn rules(tls: Tls) -> Rules {
        Rules { hello: "mx.home.test".into(), far: "mx.far.test".into(), tls }
    }

    fn letter(size: u64) -> Letter {
        let address = |text: &str| Address::parse(text.as_bytes()).unwrap();
        Letter {
            sender: Some(address("anna@home.test")),
            recipients: vec![Recipient { address: address("ben@far.test"), notify: None, original: None }],
            size,
            eight_bit: false,
            international: false,
            require_tls: false,
            ret: None,
            envelope_id: None,
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// A far server that answers each line it waits for; what it read of letters.
    async fn far<T: AsyncRead + AsyncWrite + Unpin>(stream: T, talk: &[(&str, &str)]) -> Vec<u8> {
        let mut lines = Lines::new(stream);
        let mut text = Vec::new();
        for (expected, answer) in talk {
            if let Some(count) = expected.strip_prefix("bytes ") {
                let count: usize = count.parse().unwrap();
                while lines.buffered().len() < count {
                    assert_ne!(lines.fill().await.unwrap(), 0);
                }
                text.extend_from_slice(&lines.buffered()[..count]);
                lines.consume(count);
            } else {
                while !expected.is_empty() {
                    let Line::Whole(line) = lines.next(1_000_000).await.unwrap() else { return text };
                    if *expected == "text" {
                        text.extend_from_slice(&line);
                        text.extend_from_slice(b"\n");
                        if line == b"." {
                            break;
                        }
                    } else {
                        assert!(String::from_utf8_lossy(&line).starts_with(expected), "{expected}: {line:?}");
                        break;
                    }
                }
            }
            lines.stream_mut().write_all(answer.as_bytes()).await.unwrap();
        }
        text
    }

    fn pair() -> (DuplexStream, DuplexStream) {
        tokio::io::duplex(100_000)
    }

    #[test]
    fn a_letter_in_clear_where_that_is_allowed() {
        run(async {
            let (ours, theirs) = pair();
            let talk = [
                ("", "220 hi\r\n"),
                ("EHLO mx.home.test", "250 mx.far.test\r\n"),
                ("MAIL FROM:<anna@home.test>", "250 ok\r\n"),
                ("RCPT TO:<ben@far.test>", "250 ok\r\n"),
                ("DATA", "354 go\r\n"),
                ("text", "250 2.0.0 taken\r\n"),
                ("QUIT", "221 bye\r\n"),
            ];
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::IfOffered), handshake()).await.unwrap();
                let fates = link.send(letter(10), &[b"A: b\r\n", b"\r\n.c\r\n"]).await;
                assert!(matches!(&fates[..], [Fate::Delivered(why)] if why.words == "taken"), "{fates:?}");
                assert!(link.is_ready());
                link.close().await;
            };
            let (text, ()) = tokio::join!(far(theirs, &talk), sending);
            assert_eq!(text, b"A: b\n\n..c\n.\n");
        });
    }

    #[test]
    fn a_letter_over_tls_in_one_chunk() {
        run(async {
            let made = rcgen::generate_simple_self_signed(vec!["mx.far.test".into()]).unwrap();
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder =
                rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let server =
                builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
            let (ours, mut theirs) = pair();
            let big = vec![b'x'; 300_000];
            let serving = async {
                theirs.write_all(b"220 hi\r\n").await.unwrap();
                // What a man in the middle would add behind the answer to STARTTLS must be forgotten.
                for answer in ["250-mx\r\n250 STARTTLS\r\n", "220 go\r\n250 injected\r\n"] {
                    let mut byte = [0];
                    while byte != *b"\n" {
                        theirs.read_exact(&mut byte).await.unwrap();
                    }
                    theirs.write_all(answer.as_bytes()).await.unwrap();
                }
                let stream = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(theirs).await.unwrap();
                let talk = [
                    ("EHLO", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
                    ("MAIL", "250 ok\r\n"),
                    ("RCPT", "250 ok\r\n"),
                    ("BDAT 300000 LAST", ""),
                    ("bytes 300000", "250 taken\r\n"),
                    ("QUIT", "221 bye\r\n"),
                ];
                far(stream, &talk).await
            };
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Required), handshake()).await.unwrap();
                assert!(link.extensions().chunking);
                let fates = link.send(letter(300_000), &[&big]).await;
                assert!(matches!(&fates[..], [Fate::Delivered(_)]), "{fates:?}");
                link.close().await;
            };
            let (text, ()) = tokio::join!(serving, sending);
            assert_eq!(text, big);
        });
    }

    #[test]
    fn a_server_that_goes_away_or_has_no_tls() {
        run(async {
            let (ours, theirs) = pair();
            let opening = Link::open(ours, rules(Tls::Required), handshake());
            let talk = [("", "220 hi\r\n"), ("EHLO", "250 mx\r\n")];
            let (_, opened) = tokio::join!(far(theirs, &talk), opening);
            assert_eq!(opened.unwrap_err().status, Status::new(4, 7, 4));
            let (ours, theirs) = pair();
            let talk = [("", "220 hi\r\n"), ("EHLO", "250 mx\r\n"), ("MAIL", "250 ok\r\n"), ("RCPT", "")];
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                let fates = link.send(letter(10), &[b"x"]).await;
                assert!(matches!(&fates[..], [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{fates:?}");
                assert!(!link.is_ready());
                link.close().await;
            };
            tokio::join!(far(theirs, &talk), sending);
        });
    }

    #[test]
    fn a_refusal_in_the_middle_of_the_letter_is_heard() {
        run(async {
            let (ours, theirs) = tokio::io::duplex(1_000);
            let talk = [
                ("", "220 hi\r\n"),
                ("EHLO", "250-mx\r\n250 CHUNKING\r\n"),
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("BDAT", "552-5.3.4 far\r\n552 5.3.4 too large\r\n"),
            ];
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                let fates = link.send(letter(500_000), &[&[b'x'; 500_000]]).await;
                assert!(matches!(&fates[..], [Fate::Failed(why)] if why.words == "far too large"), "{fates:?}");
                link.close().await;
            };
            tokio::join!(far(theirs, &talk), sending);
        });
    }

    #[test]
    fn a_yes_too_many_is_not_the_letters() {
        for last in [("DATA", "354 go\r\n"), ("BDAT", "")] {
            run(async {
                let (ours, theirs) = pair();
                let chunking = last.0 == "BDAT";
                let talk = [
                    ("", "220 hi\r\n"),
                    ("EHLO", if chunking { "250-mx\r\n250 CHUNKING\r\n" } else { "250 mx\r\n" }),
                    ("MAIL", "250 ok\r\n"),
                    ("RCPT", if chunking { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n" }),
                    (last.0, if chunking { "" } else { "354 go\r\n250 ok\r\n" }),
                ];
                let sending = async {
                    let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                    let fates = link.send(letter(3), &[b"x\r\n"]).await;
                    assert!(matches!(&fates[..], [Fate::Deferred(_)]), "{fates:?}");
                    assert!(!link.is_ready());
                };
                // With BDAT nothing is written at all, so that its far side ends with the stream.
                let serving = async { if chunking { far(theirs, &talk[..4]).await } else { far(theirs, &talk).await } };
                tokio::join!(serving, sending);
            });
        }
    }

    #[test]
    fn who_speaks_unasked_between_two_letters_gets_no_more() {
        run(async {
            let (ours, theirs) = pair();
            let talk = [
                ("", "220 hi\r\n"),
                ("EHLO", "250 mx\r\n"),
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("DATA", "354 go\r\n"),
                ("text", "250 taken\r\n250 and more\r\n"),
            ];
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                assert!(matches!(&link.send(letter(3), &[b"x\r\n"]).await[..], [Fate::Delivered(_)]));
                assert!(!link.is_lost_unbegun());
                let fates = link.send(letter(3), &[b"x\r\n"]).await;
                assert!(matches!(&fates[..], [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{fates:?}");
                assert!(link.is_lost_unbegun());
            };
            tokio::join!(far(theirs, &talk), sending);
        });
    }

    /// A server that says one thing again and again, each time just in time.
    async fn drip(mut stream: DuplexStream, first: Vec<&str>, again: &str) {
        for answer in first {
            stream.write_all(answer.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while stream.write_all(again.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[test]
    fn patience_is_for_a_reply_and_for_a_letter_as_a_whole() {
        let short = Duration::from_millis(300);
        run(async {
            let (ours, theirs) = pair();
            tokio::spawn(drip(theirs, vec!["220 hi\r\n", "250 mx\r\n"], "250 ok\r\n"));
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            let mut letter = letter(3);
            letter.recipients = vec![letter.recipients[0].clone(); 100];
            let begun = Instant::now();
            let came = link.run(Some(Event::Letter(letter)), &[b"x\r\n"], short).await;
            let fates = came.fates.unwrap();
            assert!(fates.iter().all(|fate| matches!(fate, Fate::Deferred(_))) && fates.len() == 100);
            assert!((short..short * 8).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        });
        run(async {
            let (ours, theirs) = pair();
            let talk = vec!["220 hi\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
            tokio::spawn(drip(theirs, talk, "250-more\r\n"));
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            // The answer to a whole letter: as long as the RFC says, but not for each of its lines.
            let until = Link::<DuplexStream>::until(limits::END_OF_DATA, Instant::now() + short);
            assert!(until > Instant::now() + limits::END_OF_DATA - short);
            assert!(Link::<DuplexStream>::until(limits::COMMAND, Instant::now() + short) < Instant::now() + short);
            let fates = link.send(letter(3), &[b"x\r\n"]).await;
            assert!(matches!(&fates[..], [Fate::Deferred(_)]), "a reply without end: {fates:?}");
        });
    }

    #[test]
    fn a_handshake_that_is_none() {
        run(async {
            let (ours, theirs) = pair();
            let talk = [
                ("", "220 hi\r\n"),
                ("EHLO", "250-mx\r\n250 STARTTLS\r\n"),
                ("STARTTLS", "220 go\r\n"),
                ("", "rubbish rubbish rubbish\r\n"),
            ];
            let opening = Link::open(ours, rules(Tls::Required), handshake());
            let (_, opened) = tokio::join!(far(theirs, &talk), opening);
            assert_eq!(opened.unwrap_err().status, Status::new(4, 7, 5));
        });
    }
}
