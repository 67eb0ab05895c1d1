//! What every home has spent: accounts in memory, each with its file, and a tab for each session.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_link::homes::{Home, Homes};
use relay_link::outbound::{Budget, Refusal};
use tracing::{error, warn};

use super::lock;
use crate::account::Account;
use crate::grant::{Allowance, HomeGrant};
use crate::ledger::Ledger;
use crate::limits;
use crate::meter::Units;

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a home may, being as old as it is.
#[must_use]
pub fn allowance(home: &Home<HomeGrant>, now: u64) -> Allowance {
    let since = home.paired.as_ref().map_or(now, |paired| paired.since);
    home.grant.allowance.at_age(Duration::from_secs(now.saturating_sub(since)))
}

/// The file of a home. One that is revoked and invited again finds what it had spent.
#[must_use]
pub fn file(folder: &Path, home: &str) -> PathBuf {
    folder.join(home)
}

/// How what was written is made to survive the power: a seam, for tests whose disk is slow or full.
pub type Sync = fn(&File) -> io::Result<()>;

/// All accounts.
#[derive(Debug)]
pub struct Books {
    folder: PathBuf,
    sync: Sync,
    open: Mutex<HashMap<String, Arc<Book>>>,
}

#[derive(Debug)]
struct Book {
    kept: Mutex<Kept>,
    running: AtomicU32,
    /// Sessions whose home has gone from them, and that hold no place of its.
    left: AtomicU32,
    /// When this minute of questions began, and how many there were in it.
    asked: Mutex<(u64, u32)>,
    /// Octets that its sessions have out, or may have, that may be commands and are not answered.
    out: AtomicU64,
    /// Whether the home's octets may have to wait.
    dry: AtomicBool,
    /// The home is known no more: what it sends waits until its sessions have ended.
    revoked: AtomicBool,
    sync: Sync,
    synced: tokio::sync::Mutex<Synced>,
}

/// What became of what was written, by its number.
#[derive(Debug, Default)]
struct Synced {
    /// Up to this one it survives the power.
    safe: u64,
    /// Up to this one it may not have, and the kernel says so only once.
    lost: u64,
}

#[derive(Debug)]
struct Kept {
    ledger: Ledger,
    account: Account,
    /// Units that the file says are spent and that are not yet: of recipients, and of bodies.
    ahead: (Units, Units),
}

impl Kept {
    /// As it is.
    fn write(&mut self) -> io::Result<()> {
        self.ahead = (0, 0);
        self.ledger.write(&self.account)
    }

    /// What is spent bit by bit is written down some units ahead, so that bulk costs few writes; `kill -9` in between
    /// errs against the home.
    fn write_ahead(&mut self, allowance: &Allowance, units: Units, bodies: Units) -> io::Result<()> {
        if let (Some(units), Some(bodies)) = (self.ahead.0.checked_sub(units), self.ahead.1.checked_sub(bodies)) {
            self.ahead = (units, bodies);
            return Ok(());
        }
        let mut ahead = self.account.clone();
        ahead.charge(allowance, limits::WRITTEN_AHEAD, now());
        ahead.carry(allowance, limits::WRITTEN_AHEAD, now());
        self.ahead = (limits::WRITTEN_AHEAD, limits::WRITTEN_AHEAD);
        self.ledger.write(&ahead)
    }
}

impl Books {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::on(folder, File::sync_data)
    }

    /// The same, on a disk that is synced in this way.
    ///
    /// # Errors
    /// The kernel's.
    pub fn on(folder: &Path, sync: Sync) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_path_buf(), sync, open: Mutex::default() })
    }

    /// A home's, for one session.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: it is not known (any more), or its file cannot be used.
    pub fn tab(&self, homes: &Homes<HomeGrant>, home: &str) -> Result<Tab, Refusal> {
        let now = now();
        let busy = |error: io::Error| {
            error!(home, %error, "its account cannot be used");
            Refusal::Busy
        };
        let all = homes.all().map_err(busy)?;
        let allowance = allowance(all.get(home).ok_or(Refusal::Busy)?, now);
        let mut open = lock(&self.open);
        if open.len() >= limits::OPEN_BOOKS {
            open.retain(|_, book| Arc::strong_count(book) > 1);
        }
        if let Some(book) = open.get(home) {
            return Ok(Tab::new(book.clone(), allowance));
        }
        let damaged = || {
            warn!(home, "its account is damaged: it begins with nothing");
            Account::empty(now)
        };
        let opened = Ledger::open(&file(&self.folder, home), || Account::new(&allowance, now), damaged);
        let (ledger, account) = opened.map_err(busy)?;
        let kept = Mutex::new(Kept { ledger, account, ahead: (0, 0) });
        let book = Arc::new(Book {
            kept,
            running: AtomicU32::new(0),
            left: AtomicU32::new(0),
            asked: Mutex::default(),
            out: AtomicU64::new(0),
            dry: AtomicBool::new(true),
            revoked: AtomicBool::new(false),
            sync: self.sync,
            synced: tokio::sync::Mutex::default(),
        });
        open.insert(home.to_owned(), book.clone());
        Ok(Tab::new(book, allowance))
    }
}

impl Books {
    /// Notes whose home has been revoked since. A disk that cannot be read revokes nobody.
    pub fn note_revoked(&self, homes: &Homes<HomeGrant>) {
        let Ok(all) = homes.all() else { return };
        for (home, book) in lock(&self.open).iter() {
            let known = all.get(home).is_some_and(|home| home.paired.is_some());
            book.revoked.store(!known, Ordering::Relaxed);
        }
    }
}

impl Book {
    /// Waits until what was written under this number survives the power: in a thread of its own, since a disk can take long.
    /// Who comes meanwhile shares the next sync.
    async fn is_safe(&self, number: u64) -> io::Result<()> {
        let mut synced = self.synced.lock().await;
        // Whatever is written has in it what was written before.
        if number <= synced.safe {
            return Ok(());
        }
        if number <= synced.lost {
            return Err(io::Error::other("the disk has lost it"));
        }
        let (file, newest) = {
            let kept = lock(&self.kept);
            (kept.ledger.file(), kept.ledger.number())
        };
        let sync = self.sync;
        let done = tokio::task::spawn_blocking(move || sync(&file)).await.map_err(io::Error::other).flatten();
        match &done {
            Ok(()) => synced.safe = newest,
            // What was written meanwhile may have been lost with it.
            Err(_) => synced.lost = lock(&self.kept).ledger.number(),
        }
        done
    }
}

/// One session's hold of its home's account.
#[derive(Debug)]
pub struct Tab {
    book: Arc<Book>,
    allowance: Allowance,
    /// Sessions there were when this one was asked for.
    others: u32,
    /// Whether it was begun, and what the home has sent in it.
    begun: AtomicBool,
    carried: AtomicU64,
    /// Whether the home has gone from it, and it holds no place.
    has_left: AtomicBool,
}

impl Drop for Tab {
    fn drop(&mut self) {
        let counted = if self.has_left.load(Ordering::Relaxed) { &self.book.left } else { &self.book.running };
        counted.fetch_sub(1, Ordering::Relaxed);
        let mut kept = lock(&self.book.kept);
        let empty = self.begun.load(Ordering::Relaxed) && self.carried.load(Ordering::Relaxed) < limits::LETTER;
        if empty {
            kept.account.was_empty(&self.allowance, now());
        }
        if (empty || kept.ahead != (0, 0))
            && let Err(error) = kept.write()
        {
            error!(%error, "what is spent cannot be written down");
        }
    }
}

impl Tab {
    fn new(book: Arc<Book>, allowance: Allowance) -> Self {
        let others = book.running.fetch_add(1, Ordering::Relaxed);
        let (begun, carried, has_left) = (AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(false));
        Self { book, allowance, others, begun, carried, has_left }
    }

    /// The home has gone from it: only replies are awaited, and its place is for another. A home has as many of those as of others;
    /// beyond that each keeps its place, so that far servers that never answer cannot hold any number of connections.
    pub fn leaves(&self) {
        let one_more = |left: u32| (left < self.allowance.concurrent).then_some(left + 1);
        if !self.has_left.load(Ordering::Relaxed)
            && self.book.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
        {
            self.has_left.store(true, Ordering::Relaxed);
            self.book.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The home has sent so many octets in it.
    pub fn carried(&self, octets: u64) {
        self.carried.fetch_add(octets, Ordering::Relaxed);
    }

    /// Whether there is room for it beside the home's other sessions.
    ///
    /// # Errors
    /// [`Refusal::Concurrent`].
    pub const fn room(&self) -> Result<(), Refusal> {
        if self.others < self.allowance.concurrent { Ok(()) } else { Err(Refusal::Concurrent) }
    }

    /// It asks for a host, which is to be looked up.
    ///
    /// # Errors
    /// [`Refusal::LookUps`]: too often within a minute.
    pub fn asks(&self) -> Result<(), Refusal> {
        const MINUTE: u64 = 60;
        let (mut asked, now) = (lock(&self.book.asked), now());
        // A clock that is set back begins anew, too.
        if now.abs_diff(asked.0) >= MINUTE {
            *asked = (now, 0);
        }
        if asked.1 >= limits::LOOKUPS {
            return Err(Refusal::LookUps(u32::try_from(MINUTE - now.abs_diff(asked.0)).unwrap_or(1)));
        }
        asked.1 += 1;
        Ok(())
    }

    /// The session begins with one of these networks of a host: how many new ones that has cost.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn open_one(&self, networks: &[[u8; 7]]) -> Result<usize, Refusal> {
        let network = self.first_open(networks).ok_or(Refusal::NotPublic)?;
        let is_new = !lock(&self.book.kept).account.knows(network, now());
        self.open(network).await?;
        Ok(usize::from(is_new))
    }

    /// The session begins, and its minimum is spent, on the disk too, before anybody is connected with.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn open(&self, network: [u8; 7]) -> Result<(), Refusal> {
        let written = self.begin(network)?;
        let safe = match written {
            Ok(number) => self.book.is_safe(number).await,
            Err(error) => Err(error),
        };
        safe.map_err(|error| {
            error!(%error, "nothing can be written down, so nothing is sent");
            Refusal::Busy
        })
    }

    /// Under which number it is written down.
    fn begin(&self, network: [u8; 7]) -> Result<io::Result<u64>, Refusal> {
        let mut kept = lock(&self.book.kept);
        kept.account.open(&self.allowance, self.others, network, now())?;
        self.begun.store(true, Ordering::Relaxed);
        self.book.dry.store(true, Ordering::Relaxed);
        Ok(kept.write().map(|()| kept.ledger.number()))
    }

    /// The first of a host's networks that the home may visit; where there is none, the first.
    #[must_use]
    pub fn first_open(&self, networks: &[[u8; 7]]) -> Option<[u8; 7]> {
        let (kept, now) = (lock(&self.book.kept), now());
        let open = networks.iter().find(|network| kept.account.may_visit(&self.allowance, **network, now));
        open.or(networks.first()).copied()
    }

    /// It goes on with another address of its host: whether its network is a new one, as it `may_be`.
    ///
    /// # Errors
    /// [`Refusal::Networks`].
    pub fn visit(&self, network: [u8; 7], may_be_new: bool) -> Result<bool, Refusal> {
        let (mut kept, now) = (lock(&self.book.kept), now());
        let is_new = !kept.account.knows(network, now);
        if is_new && !may_be_new {
            return Err(Refusal::Networks(1));
        }
        kept.account.visit(&self.allowance, network, now).map(|()| is_new)
    }

    /// Takes what has come due, for recipients and for bodies, and writes it down. A disk that takes nothing more stops new
    /// sessions, not this one.
    pub fn charge(&self, units: Units, bodies: Units) {
        if units == 0 && bodies == 0 {
            return;
        }
        let (mut kept, now) = (lock(&self.book.kept), now());
        kept.account.charge(&self.allowance, units, now);
        kept.account.carry(&self.allowance, bodies, now);
        self.book.dry.store(!kept.account.pace(&self.allowance, now).is_zero(), Ordering::Relaxed);
        if let Err(error) = kept.write_ahead(&self.allowance, units, bodies) {
            error!(%error, "what is spent cannot be written down");
        }
    }

    /// Lets one session have so many octets more out, unanswered, or as many as all of the home's may still.
    #[must_use]
    pub fn reserve(&self, octets: u64) -> u64 {
        let kept = lock(&self.book.kept);
        let free = kept.account.reach(&self.allowance, now()).saturating_sub(self.book.out.load(Ordering::Relaxed));
        let some = free.min(octets);
        // Under the lock: two sessions are not to have the same.
        self.book.out.fetch_add(some, Ordering::Relaxed);
        some
    }

    /// A session has so many more out, whether or not there was room.
    pub fn owe(&self, octets: u64) {
        self.book.out.fetch_add(octets, Ordering::Relaxed);
    }

    /// So many are not out any more.
    pub fn release(&self, octets: u64) {
        self.book.out.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Whether the home is known no more.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.book.revoked.load(Ordering::Relaxed)
    }

    /// How long the home's octets must wait now.
    #[must_use]
    pub fn pace(&self) -> Duration {
        if self.book.revoked.load(Ordering::Relaxed) {
            return limits::SLOWED;
        }
        if !self.book.dry.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let kept = lock(&self.book.kept);
        let pace = kept.account.pace(&self.allowance, now());
        // Only a charge can change that, and it says so under the same lock.
        self.book.dry.store(!pace.is_zero(), Ordering::Relaxed);
        pace
    }

    /// For the home.
    #[must_use]
    pub fn budget(&self) -> Budget {
        lock(&self.book.kept).account.budget(&self.allowance, now())
    }
}
