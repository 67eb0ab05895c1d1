//! What all edges of the keeper share.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::SecureRandom;
use tokio::sync::Semaphore;

use crate::commit::Committer;
use crate::disk::Disk;
use crate::edges::admin::{Fate, Finding};
use crate::names::MailboxId;
use crate::slots::SlotsFile;
use crate::store;

use super::hub::Hub;
use super::reserve::Reserved;

/// Letters that share a shard before the next begins.
const PER_SHARD: u64 = 1_000;
/// Folders remembered as made; beyond that they are only asked for again.
const KNOWN_FOLDERS: usize = 20_000;

/// Threads that may be taking letters in at once, for each who sends: none can hold up the others.
#[derive(Debug)]
pub struct Hands {
    /// `mx`.
    pub deposit: Arc<Semaphore>,
    /// Submission.
    pub queue: Arc<Semaphore>,
    /// APPEND.
    pub append: Arc<Semaphore>,
}

/// The keeper's state.
#[derive(Debug)]
pub struct House {
    /// `spool/`.
    pub root: PathBuf,
    /// The disk.
    pub disk: Disk,
    /// The journal's writing side, with index and hub.
    pub committer: Arc<Committer<Hub>>,
    /// Every mailbox's slots file.
    slots: Mutex<HashMap<MailboxId, Arc<SlotsFile>>>,
    /// Domains of the configuration, lower-case.
    pub domains: Vec<String>,
    /// What `up` has to say to admin commands.
    pub told: String,
    /// Bytes a new mailbox may hold.
    pub default_quota: u64,
    /// What letters that leave are sealed to.
    pub outgoing: Option<super::start::Outgoing>,
    /// How often the admin has said "now" to what waits to leave.
    pub hurried: AtomicU64,
    /// What is on its way at this moment.
    pub under_way: super::under_way::UnderWay,
    /// Which destinations rest, and why.
    pub rests: super::rests::Rests,
    /// What each mailbox is sending, and whose owners know that it is too much.
    pub allowance: Mutex<crate::allowance::Allowance>,
    /// What is on its way in that is passed on.
    pub passing: Mutex<crate::index::passed_on::PassedOn>,
    /// For the fields of names nobody has.
    pub fake_secret: zeroize::Zeroizing<[u8; 32]>,
    /// Room reserved.
    pub reserved: Arc<Reserved>,
    /// Threads.
    pub hands: Hands,
    /// What each mailbox's sessions may hold.
    pub shares: super::share::Shares,
    /// Open caches.
    pub caches: super::seat::Caches,
    /// Admin commands go one after another.
    pub admin: Arc<tokio::sync::Mutex<()>>,
    /// When the one whose turn it is last showed that it gets on.
    at_work: Mutex<Instant>,
    /// How it goes about what it finds.
    pub manner: super::Manner,
    /// Whether the start found entries lost from the middle of the journal.
    pub damaged: bool,
    /// A letter could not be written, and not for want of room: does the disk take any writes?
    pub doubts: tokio::sync::Notify,
    /// Whether a mailbox lies in the spool that the journal does not know: `recover` has not given it back yet.
    misses_some: AtomicBool,
    /// What starts have found and nobody has looked at with `spool check --repair` since.
    findings: Mutex<Vec<Finding>>,
    random: ring::rand::SystemRandom,
    first_shard: u8,
    taken: AtomicU64,
    folders: Mutex<HashSet<(MailboxId, u8)>>,
}

impl House {
    /// Puts the parts together.
    ///
    /// # Errors
    /// No random bytes.
    pub fn new(
        root: PathBuf,
        disk: Disk,
        committer: Arc<Committer<Hub>>,
        start: &super::Start,
        (findings, damaged): (Vec<Finding>, bool),
    ) -> io::Result<Self> {
        let random = ring::rand::SystemRandom::new();
        let mut first = [0];
        random.fill(&mut first).map_err(|_| io::Error::other("no random bytes"))?;
        let fake = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &start.index_key), b"postern fakes");
        let mut fake_secret = zeroize::Zeroizing::new([0; 32]);
        fake_secret.copy_from_slice(fake.as_ref());
        Ok(Self {
            root,
            disk,
            committer,
            slots: Mutex::default(),
            domains: start.domains.iter().map(|domain| domain.to_lowercase()).collect(),
            told: start.told.clone(),
            default_quota: start.default_quota,
            outgoing: start.outgoing.clone(),
            hurried: AtomicU64::new(0),
            under_way: super::under_way::UnderWay::default(),
            rests: super::rests::Rests::default(),
            allowance: Mutex::new(crate::allowance::Allowance::new(start.allowance)),
            passing: Mutex::default(),
            fake_secret,
            reserved: Arc::default(),
            hands: Hands {
                deposit: Arc::new(Semaphore::new(16)),
                queue: Arc::new(Semaphore::new(8)),
                append: Arc::new(Semaphore::new(8)),
            },
            shares: super::share::Shares::default(),
            caches: super::seat::Caches::default(),
            admin: Arc::default(),
            at_work: Mutex::new(Instant::now()),
            manner: start.manner,
            damaged,
            doubts: tokio::sync::Notify::new(),
            misses_some: AtomicBool::new(false),
            // The cut-off end of an unfinished commit: logged, and nobody's concern.
            findings: Mutex::new(findings.into_iter().filter(|finding| finding.fate != Fate::Usual).collect()),
            random,
            first_shard: first[0],
            taken: AtomicU64::new(0),
            folders: Mutex::default(),
        })
    }

    /// Whose an address is that nobody here has, may be known only after `recover`: until then its mail has to wait.
    pub fn misses_some(&self) -> bool {
        self.misses_some.load(Ordering::Relaxed)
    }

    /// Looks whether a mailbox is missing, at a start and after each that was given back.
    pub fn look_for_missing(&self) {
        self.misses_some.store(!crate::recover::unknown(self).is_empty(), Ordering::Relaxed);
    }

    /// Remembers something for the next `spool check`.
    pub fn tell(&self, place: String, what: String, fate: Fate) {
        lock(&self.findings).push(Finding { place, what, fate });
    }

    /// What is remembered.
    pub fn found(&self) -> Vec<Finding> {
        lock(&self.findings).clone()
    }

    /// The damage to the journal is behind us; what it was is still to be told.
    pub fn journal_settled(&self) {
        let mut findings = lock(&self.findings);
        let open = findings.iter_mut().filter(|found| found.place.starts_with("journal") && !found.settled());
        open.for_each(|found| found.fate = Fate::Known);
    }

    /// Keeps what is remembered for later starts.
    pub fn keep_found(&self) {
        let findings = lock(&self.findings);
        if !findings.is_empty()
            && let Err(error) = crate::found::write(&self.disk, &self.root, &findings)
        {
            tracing::error!(%error, "what was found wrong cannot be kept for `spool check`: only this log tells it");
        }
    }

    /// Somebody has been told.
    ///
    /// # Errors
    /// The disk's; then it will be told again.
    pub fn acknowledged(&self) -> io::Result<()> {
        let mut findings = lock(&self.findings);
        if !findings.is_empty() {
            crate::found::write(&self.disk, &self.root, &[])?;
            findings.clear();
        }
        Ok(())
    }

    /// The admin command whose turn it is gets on: a letter further, a folder further.
    pub fn gets_on(&self) {
        *lock(&self.at_work) = Instant::now();
    }

    /// How long it has shown nothing of that.
    #[must_use]
    pub fn stands_still(&self) -> Duration {
        lock(&self.at_work).elapsed()
    }

    /// The slots file of a mailbox.
    #[must_use]
    pub fn slots(&self, mailbox: MailboxId) -> Option<Arc<SlotsFile>> {
        lock(&self.slots).get(&mailbox).cloned()
    }

    /// Whether the mailbox has an identity of the generation the letter is sealed to: what was told of one before the
    /// last rekey may still come.
    #[must_use]
    pub fn knows_generation(&self, letter: &crate::edges::NewLetter) -> bool {
        self.slots(letter.mailbox).is_none_or(|slots| (1..=slots.generation()).contains(&letter.generation))
    }

    /// Whether it is sealed to the identity that its mailbox seals to now; of one that is gone nothing is known.
    pub fn is_newest_generation(&self, letter: &crate::edges::NewLetter) -> bool {
        self.slots(letter.mailbox).is_none_or(|slots| slots.generation() == letter.generation)
    }

    /// The slots file as it now is on disk; `None` when the mailbox is gone.
    pub fn set_slots(&self, mailbox: MailboxId, slots: Option<SlotsFile>) {
        let mut all = lock(&self.slots);
        match slots {
            Some(slots) => all.insert(mailbox, Arc::new(slots)),
            None => all.remove(&mailbox),
        };
    }

    /// The shard of letters taken now.
    #[must_use]
    pub fn shard(&self) -> u8 {
        let steps = self.taken.fetch_add(1, Ordering::Relaxed) / PER_SHARD;
        self.first_shard.wrapping_add((steps % 256) as u8)
    }

    /// Makes a mailbox's shard folder, durable, if it is not there.
    ///
    /// # Errors
    /// The disk's.
    pub fn make_shard(&self, mailbox: MailboxId, shard: u8) -> io::Result<()> {
        if lock(&self.folders).contains(&(mailbox, shard)) {
            return Ok(());
        }
        self.disk.make_folder(&store::letters_path(&self.root, mailbox))?;
        self.disk.make_folder(&store::shard_path(&self.root, mailbox, shard))?;
        let mut folders = lock(&self.folders);
        if folders.len() >= KNOWN_FOLDERS {
            folders.clear();
        }
        folders.insert((mailbox, shard));
        Ok(())
    }

    /// The mailbox's folders are gone from disk.
    pub fn forget_folders(&self, mailbox: MailboxId) {
        lock(&self.folders).retain(|(known, _)| *known != mailbox);
    }

    /// 32 hex digits.
    ///
    /// # Errors
    /// No random bytes.
    pub fn random_name(&self) -> io::Result<String> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
        Ok(crate::names::LetterId(bytes).to_string())
    }

    /// A random number.
    #[must_use]
    pub fn random_number(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
