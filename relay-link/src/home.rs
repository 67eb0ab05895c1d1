//! The home's end of the link: pairs once, then dials for as long as it lives.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;
use wire::control::PairedProxy;

use crate::backoff::{Backoff, Trouble};
use crate::code::{PairingCode, Place};
use crate::control::{self, Ended, Script};
use crate::dns::Dns;
use crate::frame::{self, Frames};
use crate::hello::{Answer, Hello, Refusal, Run, VERSION, Want};
use crate::inbound::ClientName;
use crate::keys::{self, LinkKey, Pin, PublicKey};
use crate::outbound::Budget;
use crate::way::{Way, moved};
use crate::{limits, liveness, stream, tls};

/// Between two lines of the log that say the same.
const SAID: Duration = Duration::from_secs(60);

/// Why the proxy does not serve this home.
#[derive(Debug)]
pub enum DialError {
    /// It cannot be reached, or is not who it must be.
    Io(io::Error),
    /// It said no.
    Refused(Refusal),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the proxy cannot be reached: {}", words(error)),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// For who pays for neither machine and reads no `errno`.
fn words(error: &io::Error) -> String {
    // Of TLS that ended so, the library says where to read about it.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "it closed without a word".to_owned();
    }
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "its machine answers, but nothing listens there: is the proxy running?",
        io::ErrorKind::TimedOut => "nothing answers: is its machine off, or a firewall in between?",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "is this house connected to the Internet?"
        }
        io::ErrorKind::ConnectionReset => "the connection was cut at once",
        io::ErrorKind::InvalidData => "what answers there is not the proxy that this house was paired with",
        _ => return error.to_string(),
    };
    // Whoever said more than the kernel does said it better.
    if error.kind() != io::ErrorKind::InvalidData && error.get_ref().is_some() {
        return error.to_string();
    }
    format!("{why} ({error})")
}

impl std::error::Error for DialError {}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A proxy this home is paired with.
#[derive(Debug)]
pub struct Proxy {
    /// Where it is.
    pub place: Place,
    /// Who it is.
    pub key: PublicKey,
    /// Whom it knows this home as.
    pub own: LinkKey,
    /// Finds its address.
    pub dns: Arc<Dns>,
    /// Where it was when the link last came up: streams are fetched there, so that none waits for the DNS.
    pub found: Mutex<Option<SocketAddr>>,
}

/// What the proxy said on being greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// What its operator calls this home.
    pub name: String,
    /// What it calls itself: the EHLO name of mail that leaves through it.
    pub proxy: String,
}

/// Uses a code up: from now on the proxy knows `own`, and the answer is what to keep.
///
/// # Errors
/// [`DialError`]; after an [`DialError::Io`] the same code and key may be tried again.
pub async fn pair(code: &PairingCode, own: LinkKey, dns: Arc<Dns>) -> Result<(Proxy, Welcome), DialError> {
    let want = Want::Pair(code.secret.clone());
    let connection = connect(&code.place, &dns).await?;
    let dialled = dial(connection, &own, Pin::Fingerprint(code.proxy), Run([0; 16]), want).await?;
    Ok((Proxy::new(code.place.clone(), dialled.key, own, dns), dialled.welcome))
}

/// Connects with the first of its addresses that answers, within [`limits::FETCH`] in all.
async fn connect(place: &Place, dns: &Dns) -> io::Result<TcpStream> {
    let connecting = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("DNS knows no address of {}", place.host()));
        let addresses = dns.addresses(place.host()).await?;
        // One that is silent leaves the others their time.
        let each = limits::FETCH / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        for address in addresses {
            match timeout(each, TcpStream::connect((address, place.port()))).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    };
    timeout(limits::FETCH, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

struct Dialled {
    stream: TlsStream<TcpStream>,
    frames: Frames,
    key: PublicKey,
    welcome: Welcome,
}

async fn to(address: SocketAddr) -> io::Result<TcpStream> {
    timeout(limits::FETCH, TcpStream::connect(address)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn dial(connection: TcpStream, own: &LinkKey, pin: Pin, run: Run, want: Want) -> Result<Dialled, DialError> {
    match greet(connection, own, pin, Hello { version: VERSION, run, want }).await? {
        (stream, frames, key, Answer::Welcome { name, proxy }) => {
            Ok(Dialled { stream, frames, key, welcome: Welcome { name, proxy } })
        }
        (.., Answer::Refused(refusal)) => Err(DialError::Refused(refusal)),
        _ => Err(unasked()),
    }
}

/// The proxy answered what nobody asked.
fn unasked() -> DialError {
    io::Error::other("it answers what was not asked: bring the older of both up to date").into()
}

type Greeted = (TlsStream<TcpStream>, Frames, PublicKey, Answer);

async fn greet(connection: TcpStream, own: &LinkKey, pin: Pin, hello: Hello) -> io::Result<Greeted> {
    let talk = async {
        connection.set_nodelay(true)?;
        let (mut stream, key) = tls::connect(connection, own, pin).await?;
        frame::write(&mut stream, &hello).await?;
        let mut frames = Frames::default();
        let answer = frames.read::<Answer, _>(&mut stream).await?;
        io::Result::Ok((stream, frames, key, answer.ok_or(io::ErrorKind::UnexpectedEof)?))
    };
    // Twice: the handshake, and the words after it, among which a copy of this box may be asked for a sign of life.
    timeout(limits::GREETING * 2, talk).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// How the link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It dials, for the first time or again; why the last time failed or ended.
    Dialling(String),
    /// It is connected.
    Connected(Welcome),
}

impl Proxy {
    /// As a pairing is kept; `None` when it cannot be read.
    #[must_use]
    pub fn paired(kept: &PairedProxy, dns: Arc<Dns>) -> Option<Self> {
        let place = Place::new(&kept.host, kept.port)?;
        let (key, own) = (kept.key.parse().ok()?, LinkKey::from_pkcs8(&kept.own).ok()?);
        Some(Self::new(place, key, own, dns))
    }

    /// One that has not been dialled yet.
    #[must_use]
    pub const fn new(place: Place, key: PublicKey, own: LinkKey, dns: Arc<Dns>) -> Self {
        Self { place, key, own, dns, found: Mutex::new(None) }
    }

    /// Dials, and dials again, until the speaker of `script` is gone. What the proxy says goes to `heard`, how the
    /// link is to `state`.
    pub async fn keep<In, Out>(&self, mut script: Script<Out>, heard: mpsc::Sender<In>, state: watch::Sender<State>)
    where
        In: DeserializeOwned,
        Out: Serialize,
    {
        let (mut backoff, mut said) = (Backoff::default(), Said::default());
        let run = Run(keys::random().unwrap_or_default());
        loop {
            let (mut way, began) = (Way::now(self.found()), Instant::now());
            let over = match self.dial(run).await {
                Ok(dialled) => {
                    let over = self.serve(dialled, &mut script, &heard, &state).await;
                    backoff.ended(began.elapsed());
                    (way, said) = (Way::now(self.found()), Said::default());
                    over
                }
                Err(error) => Over::Failed(error),
            };
            let random = || u32::from_be_bytes(keys::random().unwrap_or_default());
            let (why, wait) = match over {
                Over::Ended(Ended::Done) => return,
                Over::Ended(ended) => (ended.to_string(), backoff.next(Trouble::Away, random())),
                Over::Moved => ("this box has another address, or is back".to_owned(), backoff.afresh(random())),
                Over::Failed((trouble, error)) => (error.to_string(), backoff.next(trouble, random())),
            };
            if said.is_news(&why) {
                tracing::info!(proxy = %self.place, why, seconds = wait.as_secs_f32(), "the link is down; dialling again");
            }
            let _ = state.send(State::Dialling(why));
            tokio::select! {
                () = sleep(wait) => {}
                () = way.another(self.found()) => sleep(backoff.afresh(random())).await,
            }
        }
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        match (connect(&self.place, &self.dns).await, self.found()) {
            (Ok(connection), _) => Ok(connection),
            // A DNS that is silent for a while must not keep the house apart from a proxy that is where it was.
            (Err(_), Some(address)) => to(address).await,
            (Err(error), None) => Err(error),
        }
    }

    async fn dial(&self, run: Run) -> Result<Dialled, (Trouble, DialError)> {
        let connection = self.reach().await.map_err(|error| (Trouble::Away, error.into()))?;
        let address = connection.peer_addr().map_err(|error| (Trouble::Away, error.into()))?;
        let dialled = dial(connection, &self.own, Pin::Key(self.key), run, Want::Serve).await;
        let dialled = dialled.map_err(|error| match error {
            DialError::Refused(_) => (Trouble::Refused, error),
            DialError::Io(_) => (Trouble::Broken, error),
        })?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        Ok(dialled)
    }

    fn found(&self) -> Option<SocketAddr> {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve<In: DeserializeOwned, Out: Serialize>(
        &self,
        mut dialled: Dialled,
        script: &mut Script<Out>,
        heard: &mpsc::Sender<In>,
        state: &watch::Sender<State>,
    ) -> Over {
        tracing::info!(proxy = %self.place, name = dialled.welcome.name, "the link is up");
        let _ = state.send(State::Connected(dialled.welcome));
        let tcp = dialled.stream.get_ref().0;
        let ends = tcp.local_addr().and_then(|local| Ok((local.ip(), tcp.peer_addr()?)));
        tokio::select! {
            ended = control::run(&mut dialled.stream, &mut dialled.frames, liveness::HOME, script, heard) => {
                Over::Ended(ended)
            }
            () = moved(ends) => Over::Moved,
        }
    }

    /// What this home may still send, asked beside its link.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn budget(&self) -> Result<Budget, DialError> {
        match self.ask(Want::Budget).await? {
            Answer::Budget(budget) => Ok(budget),
            _ => Err(unasked()),
        }
    }

    /// For how many seconds this home's link has been up, if it is, asked beside it.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn presence(&self) -> Result<Option<u64>, DialError> {
        match self.ask(Want::Presence).await? {
            Answer::Present(seconds) => Ok(seconds),
            _ => Err(unasked()),
        }
    }

    /// Where the world is to find this home by that host name, asked beside its link: nowhere, if the proxy does not know just
    /// now; `None`, if it is none of the home's names.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn place(&self, host: &ClientName) -> Result<Option<Vec<IpAddr>>, DialError> {
        match self.ask(Want::Place(host.clone())).await? {
            Answer::Place(place) => Ok(place.map(|all| all.into_iter().take(limits::PLACES).collect())),
            _ => Err(unasked()),
        }
    }

    async fn ask(&self, want: Want) -> Result<Answer, DialError> {
        let connection = connect(&self.place, &self.dns).await?;
        let hello = Hello { version: VERSION, run: Run([0; 16]), want };
        match greet(connection, &self.own, Pin::Key(self.key), hello).await? {
            (.., Answer::Refused(refusal)) => Err(DialError::Refused(refusal)),
            (.., answer) => Ok(answer),
        }
    }

    /// Fetches a stream.
    ///
    /// # Errors
    /// As [`stream::fetch`].
    pub async fn fetch(&self, ticket: &stream::Ticket) -> io::Result<TcpStream> {
        let connection = match self.found() {
            Some(address) => to(address).await?,
            None => connect(&self.place, &self.dns).await?,
        };
        stream::fetch(connection, ticket).await
    }
}

enum Over {
    Ended(Ended),
    Moved,
    Failed((Trouble, DialError)),
}

/// What was said last, and when: a proxy that is away for days is dialled some ten times a minute.
#[derive(Default)]
struct Said(Option<(String, Instant)>);

impl Said {
    fn is_news(&mut self, why: &str) -> bool {
        let known = self.0.as_ref().is_some_and(|(last, at)| last == why && at.elapsed() < SAID);
        if !known {
            self.0 = Some((why.to_owned(), Instant::now()));
        }
        !known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_family_reads() {
        let library = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest";
        let cut = DialError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, library));
        assert_eq!(cut.to_string(), "the proxy cannot be reached: it closed without a word");
        let ended = Ended::Failed(io::Error::new(io::ErrorKind::UnexpectedEof, library));
        assert_eq!(ended.to_string(), "the other end closed without a word");
    }

    #[test]
    fn the_same_is_said_once_a_minute() {
        let mut said = Said::default();
        assert_eq!(
            [said.is_news("a"), said.is_news("a"), said.is_news("b"), said.is_news("a")],
            [true, false, true, true]
        );
        said.0 = Some(("a".to_owned(), Instant::now().checked_sub(SAID).unwrap()));
        assert!(said.is_news("a"));
    }
}
