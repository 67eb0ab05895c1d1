//! One session between a home and a far server: the clear part is checked and passed on, then TLS records are measured as
//! they go by.
//!
//! What the home sends waits while more of it is out, unread or unanswered, than its account reaches ([`Flight`]).
//!
//! What is slowed is the home alone. The far server's replies are passed on at once, whatever has been spent: a 250 that
//! waited would make a letter twice.
//!
//! A session is over when the far server says so. A home that goes before, or says what is no TLS, pays for the replies all the same.

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use filter_sandbox::standing::standing;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::books::Tab;
use super::pieces::Pieces;
use super::{lock, write_all};
use crate::clear::{Broken, Clear, Side, Step};
use crate::flight::Flight;
use crate::limits;
use crate::meter::{Meter, Units};
use crate::records::NotTls;

/// Why a session was ended by this side.
#[derive(Debug)]
pub enum Cut {
    /// The clear part was not what it must be.
    Broken(Broken),
    /// What came after STARTTLS was no TLS.
    NotTls,
    /// The far server has spoken last, and the home has been silent for too long since.
    Silent,
    /// The far server owes a reply, and nobody has spoken for longer than anybody waits for one.
    Unanswered,
    /// The proxy ends.
    Ending,
    /// A connection failed.
    Failed(io::Error),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::NotTls => NotTls.fmt(f),
            Self::Silent => f.write_str("the home was silent"),
            Self::Unanswered => f.write_str("the far server did not answer"),
            Self::Ending => f.write_str("the proxy ends"),
            Self::Failed(error) => write!(f, "{}", error.kind()),
        }
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// What there is to say of a session.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Units it cost, its minimum included.
    pub units: Units,
    /// Octets from the home.
    pub out: u64,
    /// Octets from the far server.
    pub back: u64,
}

/// A session.
#[derive(Debug)]
pub struct Session<'a> {
    home: &'a TcpStream,
    server: &'a TcpStream,
    tab: &'a Tab,
    pieces: &'a Pieces,
    meter: Mutex<Meter>,
    flight: Mutex<Flight>,
    /// The far server has spoken.
    answered: Notify,
    /// Who has spoken last, and when.
    last: Mutex<(Side, Instant)>,
    /// Letters can go.
    tls: AtomicBool,
    /// The home is gone; the far server has ended.
    gone: AtomicBool,
    over: AtomicBool,
    /// The home sends more than commands.
    bulk: AtomicBool,
    units: AtomicU64,
    out: AtomicU64,
    back: AtomicU64,
}

impl<'a> Session<'a> {
    /// Of two connections; its minimum is spent already.
    #[must_use]
    pub fn new(home: &'a TcpStream, server: &'a TcpStream, tab: &'a Tab, pieces: &'a Pieces) -> Self {
        Self {
            home,
            server,
            tab,
            pieces,
            meter: Mutex::default(),
            flight: Mutex::default(),
            answered: Notify::new(),
            last: Mutex::new((Side::Home, Instant::now())),
            tls: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            over: AtomicBool::new(false),
            bulk: AtomicBool::new(false),
            units: AtomicU64::new(limits::SESSION_UNITS),
            out: AtomicU64::new(0),
            back: AtomicU64::new(0),
        }
    }

    /// From the greeting to the end. Both connections are to be dropped after it.
    ///
    /// # Errors
    /// [`Cut`].
    pub async fn run(&self) -> Result<(), Cut> {
        if !self.clear().await? {
            return Ok(());
        }
        self.tls.store(true, Ordering::Relaxed);
        // How much it grants to begin with.
        self.look();
        let ended = self.relay().await;
        self.collect().await;
        ended
    }

    async fn relay(&self) -> Result<(), Cut> {
        let (mut out, mut back) = (pin!(self.out()), pin!(self.back()));
        tokio::select! {
            // What the far server has said costs before more follows.
            biased;
            ended = &mut back => { ended?; last(out, &self.out, relay_link::limits::HALF_OPEN).await }
            // It may wait for the reply to its last word, and says no other.
            ended = &mut out => { ended?; self.tab.leaves(); last(back, &self.back, limits::UNANSWERED).await }
        }
    }

    /// Whatever the home did, what it has sent is paid for: by the far server's replies, which it hears no more, or by what may be
    /// unanswered when no reply can be expected any longer. Until then that counts as out.
    async fn collect(&self) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        self.gone.store(true, Ordering::Relaxed);
        self.tab.leaves();
        let _ = rustix::net::shutdown(self.home, rustix::net::Shutdown::Both);
        // It learns that nothing more comes when it has answered everything.
        let _ = shut(self.server);
        if timeout(limits::UNANSWERED, self.back()).await.is_err() {
            self.look();
            self.charge(lock(&self.flight).owed().div_ceil(limits::COMMAND));
        }
    }

    /// Whether nobody waits for a reply by which a letter would go twice: there can be none yet, or nobody any more who hears it, or
    /// the far server has spoken, and what it says comes no further.
    #[must_use]
    pub fn can_be_cut(&self) -> bool {
        let is = |it: &AtomicBool| it.load(Ordering::Relaxed);
        let (side, since) = *lock(&self.last);
        let answered = side == Side::Server && since.elapsed() >= limits::DRAIN_SILENT;
        !is(&self.tls) || is(&self.gone) || is(&self.over) || answered || !lock(&self.meter).may_owe()
    }

    /// What it was.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Facts { units: read(&self.units), out: read(&self.out), back: read(&self.back) }
    }

    /// The part before TLS; whether TLS follows.
    async fn clear(&self) -> Result<bool, Cut> {
        let (mut clear, mut bell) = (Clear::default(), pin!(sleep(limits::SILENT)));
        loop {
            let side = self.first_to_speak(bell.as_mut(), clear.owes()).await?;
            let (from, to) = match side {
                Side::Home => (self.home, self.server),
                Side::Server => (self.server, self.home),
            };
            let mut piece = self.pieces.lend();
            let count = match from.try_read(piece.bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                other => other?,
            };
            if count == 0 {
                return Ok(false);
            }
            self.spoke(side, count);
            let step = clear.came(side, &piece.bytes()[..count]).map_err(Cut::Broken)?;
            let (Step::Pass(bytes) | Step::TlsBegins(bytes) | Step::Ends(bytes)) = &step;
            if side == Side::Home {
                self.tab.owe(lock(&self.flight).sent(bytes.len() as u64));
            }
            write_all(to, bytes).await?;
            match step {
                Step::Pass(_) => {}
                Step::TlsBegins(_) => return Ok(true),
                Step::Ends(_) => return Ok(false),
            }
        }
    }

    async fn first_to_speak(&self, bell: Pin<&mut Sleep>, owes: bool) -> Result<Side, Cut> {
        tokio::select! {
            ready = self.home_speaks(bell, || owes) => ready.map(|()| Side::Home),
            ready = self.server.readable() => Ok(ready.map(|()| Side::Server)?),
        }
    }

    /// Waits for the home: not for ever. `bell` rings when that is to be looked at, and stays as it is from one wait to the next: to
    /// set a timer for each of a million waits costs more than the meter. `owes`: whether the far server may owe a reply then.
    async fn home_speaks(&self, mut bell: Pin<&mut Sleep>, owes: impl Fn() -> bool) -> Result<(), Cut> {
        loop {
            tokio::select! {
                biased;
                ready = self.home.readable() => return Ok(ready?),
                () = &mut bell => {
                    let ((side, since), now) = (*lock(&self.last), Instant::now());
                    let (patience, cut) = match side {
                        Side::Server if !owes() => (limits::SILENT, Cut::Silent),
                        _ => (limits::UNANSWERED, Cut::Unanswered),
                    };
                    if since + patience <= now {
                        return Err(cut);
                    }
                    // The handshake may be over by then.
                    bell.as_mut().reset((since + patience).min(now + limits::SILENT));
                }
            }
        }
    }

    fn spoke(&self, side: Side, count: usize) {
        let moved = match side {
            Side::Home => &self.out,
            Side::Server => &self.back,
        };
        *lock(&self.last) = (side, Instant::now());
        moved.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The home's octets: slowed, measured, passed on.
    async fn out(&self) -> Result<(), Cut> {
        let mut bell = pin!(sleep(limits::SILENT));
        loop {
            self.slowed().await?;
            let room = self.room().await;
            match self.move_on(Side::Home, room).await? {
                Some(0) => return shut(self.server),
                Some(_) => {}
                None => {
                    self.settle();
                    tokio::select! {
                        spoke = self.home_speaks(bell.as_mut(), || lock(&self.meter).may_owe()) => spoke?,
                        never = self.settles() => match never {},
                    }
                }
            }
        }
    }

    /// The far server's: measured, passed on at once.
    async fn back(&self) -> Result<(), Cut> {
        loop {
            self.server.readable().await?;
            let count = self.move_on(Side::Server, usize::MAX).await?;
            if count == Some(0) {
                return shut(self.home);
            }
        }
    }

    /// The far server says no more, or nothing that can be a reply. What it has not answered by then it has not taken.
    fn ends(&self, side: Side) {
        if side == Side::Server {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    /// Moves what is there, so much at the most; `None` when nothing is, 0 at the end.
    async fn move_on(&self, side: Side, most: usize) -> Result<Option<usize>, Cut> {
        let (from, to) = match side {
            Side::Home => (self.home, self.server),
            Side::Server => (self.server, self.home),
        };
        let bulk = side == Side::Home && self.bulk.load(Ordering::Relaxed);
        let mut piece = if bulk { self.pieces.lend_large() } else { self.pieces.lend() };
        let room = piece.bytes().len().min(most);
        let count = match from.try_read(&mut piece.bytes()[..room]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other.inspect_err(|_| self.ends(side))?,
        };
        if side == Side::Home {
            self.bulk.store(count >= limits::BULK, Ordering::Relaxed);
        }
        let bytes = &piece.bytes()[..count];
        if count == 0 {
            self.ends(side);
        } else {
            match side {
                Side::Home => self.sent(bytes),
                Side::Server => self.heard(bytes).inspect_err(|_| self.ends(side)),
            }
            .map_err(|NotTls| Cut::NotTls)?;
            self.spoke(side, count);
            if !self.gone.load(Ordering::Relaxed) {
                write_all(to, bytes).await?;
            }
            // Bulk never waits for itself: the others have their turn.
            consume_budget().await;
        }
        Ok(Some(count))
    }

    fn sent(&self, bytes: &[u8]) -> Result<(), NotTls> {
        let (bodies, longest) = {
            let mut meter = lock(&self.meter);
            (meter.home(bytes)?, meter.longest())
        };
        let mut flight = lock(&self.flight);
        flight.record(longest);
        self.tab.owe(flight.sent(bytes.len() as u64));
        self.tab.charge(0, bodies);
        Ok(())
    }

    fn heard(&self, bytes: &[u8]) -> Result<(), NotTls> {
        let (due, said) = {
            let mut meter = lock(&self.meter);
            let before = meter.heard();
            (meter.server(bytes)?, meter.heard() - before)
        };
        self.charge(due);
        if said > 0 {
            lock(&self.flight).heard(said);
            self.settle();
            self.answered.notify_one();
        }
        Ok(())
    }

    fn charge(&self, units: Units) {
        self.tab.charge(units, 0);
        self.units.fetch_add(units, Ordering::Relaxed);
    }

    /// Asks the far side's TCP how far it is.
    fn look(&self) {
        if let Some(standing) = standing(self.server) {
            lock(&self.flight).stands(&standing, std::time::Instant::now());
        }
    }

    /// What this session needs no more is the others'.
    fn settle(&self) {
        self.look();
        self.tab.release(lock(&self.flight).surplus());
    }

    /// The same, for as long as the far server has something to read and the home says nothing.
    async fn settles(&self) -> std::convert::Infallible {
        let mut wait = limits::SETTLED;
        while lock(&self.flight).is_unread() {
            sleep(wait).await;
            self.settle();
            wait = (wait * 2).min(limits::LOOK_AT_LEAST_EVERY);
        }
        std::future::pending().await
    }

    /// Waits until something of the home's may be passed on, and how much.
    async fn room(&self) -> usize {
        // Who has plenty needs not ask.
        let plenty = lock(&self.flight).room(std::time::Instant::now(), |octets| self.tab.reserve(octets));
        if plenty >= limits::LARGE_PIECE as u64 {
            return limits::LARGE_PIECE;
        }
        loop {
            // Its replies come with the word that it has read: they have their turn first.
            yield_now().await;
            self.look();
            let (room, wait) = {
                let (mut flight, now) = (lock(&self.flight), std::time::Instant::now());
                (flight.room(now, |octets| self.tab.reserve(octets)), flight.wait(now))
            };
            if room > 0 {
                return usize::try_from(room).unwrap_or(usize::MAX);
            }
            tokio::select! {
                () = self.answered.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Waits until the home may go on. What it has sent waits in the kernel, and then in its own. One that has gone hears no reply
    /// any more, and what it left behind is not sent.
    async fn slowed(&self) -> Result<(), Cut> {
        loop {
            let pace = self.tab.pace();
            if pace.is_zero() {
                return Ok(());
            }
            if self.has_gone().await {
                return Err(Cut::Failed(io::ErrorKind::ConnectionAborted.into()));
            }
            sleep(pace.min(limits::SLOWED)).await;
        }
    }

    async fn has_gone(&self) -> bool {
        let ready = timeout(Duration::ZERO, self.home.ready(Interest::READABLE)).await;
        matches!(ready, Ok(Ok(ready)) if ready.is_read_closed()) || matches!(ready, Ok(Err(_)))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.tab.release(lock(&self.flight).reserved());
    }
}

/// The end of one direction is passed on as such. A peer that has closed already needs not be told.
fn shut(to: &TcpStream) -> Result<(), Cut> {
    match rustix::net::shutdown(to, rustix::net::Shutdown::Write) {
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(error) => Err(Cut::Failed(error.into())),
    }
}

/// The direction that is left may go on for as long as something comes.
async fn last(
    mut direction: impl Future<Output = Result<(), Cut>> + Unpin,
    moved: &AtomicU64,
    patience: Duration,
) -> Result<(), Cut> {
    loop {
        let before = moved.load(Ordering::Relaxed);
        match timeout(patience, &mut direction).await {
            Ok(ended) => return ended,
            Err(_) if moved.load(Ordering::Relaxed) == before => {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            Err(_) => {}
        }
    }
}
