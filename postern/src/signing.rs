//! The DKIM keys: one sealed file in the data folder. `up` makes what is missing and hands the courier what signs; the
//! admin's commands show the public halves and change keys.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use filter_sandbox::edge::EdgeError;
use filter_sandbox::launch::{Launch, Running};
use filter_sandbox::role::Role;
use serde::{Deserialize, Serialize};
use smtpd::courier::{dkim, key_maker};
use wire::control::SigningKey;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::box_key::BoxKey;
use crate::data::DataFolder;
use crate::failure::Failure;
use crate::sealed::{Form, Sealed};

/// How far a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Made; it signs once DNS has it.
    Next,
    /// It signs.
    Signs,
    /// It signed until then; DNS keeps it for a while.
    Signed(i64),
    /// It signs from then on, or as soon as `postern dns check` has found its record: it came when others' records may
    /// have been in DNS already.
    SignsFrom(i64),
}

/// Seconds within which a running house has taken up what a command has changed: it looks every two.
pub const TAKEN_UP: u64 = 5;
/// Seconds that a late key waits for its record: whoever asks `postern dns` for what is missing has them.
pub const LATE: i64 = 86_400;

impl Stage {
    /// Whether it signs.
    #[must_use]
    pub const fn signs(self, now: i64) -> bool {
        match self {
            Self::Signs => true,
            // What lies further ahead was put there by a clock that was wrong.
            Self::SignsFrom(at) => at <= now || at > now.saturating_add(LATE),
            Self::Next | Self::Signed(_) => false,
        }
    }
}

/// One key.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    /// Whose.
    #[zeroize(skip)]
    pub domain: String,
    /// Its name in DNS.
    #[zeroize(skip)]
    pub selector: String,
    /// RSA; else Ed25519.
    pub rsa: bool,
    der: Vec<u8>,
    /// How far it has come.
    #[zeroize(skip)]
    pub stage: Stage,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("selector", &self.selector).field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Key {
    /// Whether its record has done its work: nothing that it signed is still on its way.
    #[must_use]
    pub const fn is_past(&self, now: i64) -> bool {
        matches!(self.stage, Stage::Signed(at) if dkim::may_go(at, now))
    }

    /// What stands in DNS under its selector.
    ///
    /// # Errors
    /// The key is damaged.
    pub fn record(&self) -> Result<String, Failure> {
        let kind = if self.rsa { dkim::Kind::Rsa } else { dkim::Kind::Ed25519 };
        dkim::record(kind, &self.der).map_err(|bad| Failure::new(format!("the DKIM key {}: {}", self.selector, bad.0)))
    }
}

/// The sealed file.
pub type Keys = Sealed<Vec<Key>>;

const FORM: Form = Form {
    file: "dkim.keys",
    lock: "dkim.lock",
    context: "postern dkim",
    what: "the DKIM keys",
    advice: "put it back from your backup, or remove it for new keys",
};

/// That of a data folder.
///
/// # Errors
/// The box key gives no secret.
pub fn keys(data: &DataFolder, key: &BoxKey) -> Result<Keys, Failure> {
    Ok(Sealed::of(data, FORM, key.dkim_key()?))
}

/// What the courier signs with.
#[must_use]
pub fn signing(keys: &[Key], now: i64) -> Vec<SigningKey> {
    let signs = keys.iter().filter(|key| key.stage.signs(now));
    signs
        .map(|key| SigningKey {
            domain: key.domain.clone(),
            selector: key.selector.clone(),
            rsa: key.rsa,
            der: key.der.clone(),
        })
        .collect()
}

/// Makes an Ed25519 key for each domain that has none that signs: a moment's work, so that nothing leaves unsigned.
///
/// # Errors
/// No randomness.
pub fn complete(keys: &mut Vec<Key>, domains: &[String], now: i64) -> Result<(), Failure> {
    for domain in domains {
        if !keys.iter().any(|key| key.domain == *domain && !key.rsa && key.stage == Stage::Signs) {
            let key = new_ed25519(keys, domain, Stage::Signs, now)?;
            keys.push(key);
        }
    }
    Ok(())
}

fn new_ed25519(keys: &[Key], domain: &str, stage: Stage, now: i64) -> Result<Key, Failure> {
    let taken: Vec<String> = keys.iter().filter(|key| key.domain == domain).map(|key| key.selector.clone()).collect();
    let der = dkim::new_ed25519().map_err(|bad| Failure::new(format!("no DKIM key could be made: {}", bad.0)))?;
    let selector = dkim::selectors(now, &taken).1;
    Ok(Key { domain: domain.to_owned(), selector, rsa: false, der: der.to_vec(), stage })
}

/// The Ed25519 keys beside which an RSA key is still wanted: domain, its selector, its stage.
#[must_use]
pub fn wanted(keys: &[Key]) -> Vec<(String, String, Stage)> {
    let there: BTreeSet<(&str, &str)> =
        keys.iter().filter(|key| key.rsa).map(|key| (key.domain.as_str(), key.selector.as_str())).collect();
    let lone = keys.iter().filter(|key| !key.rsa && !matches!(key.stage, Stage::Signed(_)));
    let wanted = lone.map(|key| (key.domain.clone(), beside(&key.selector), key.stage));
    wanted.filter(|(domain, selector, _)| !there.contains(&(domain.as_str(), selector.as_str()))).collect()
}

/// Puts an RSA key in that a [`Maker`] has made. One that is `late` begins to sign only then.
pub fn put(keys: &mut Vec<Key>, wanted: (String, String, Stage), der: Vec<u8>, late: Option<i64>) {
    if self::wanted(keys).contains(&wanted) {
        let (domain, selector, stage) = wanted;
        let stage = late.filter(|_| stage == Stage::Signs).map_or(stage, Stage::SignsFrom);
        keys.push(Key { domain, selector, rsa: true, der, stage });
    }
}

/// Those whose records DNS has need wait no longer.
pub fn found(keys: &mut [Key], is_found: impl Fn(&Key) -> bool) {
    let late = keys.iter_mut().filter(|key| matches!(key.stage, Stage::SignsFrom(_)));
    late.filter(|key| is_found(key)).for_each(|key| key.stage = Stage::Signs);
}

/// Those whose time has come sign like the others.
pub fn settle(keys: &mut [Key], now: i64) {
    keys.iter_mut().filter(|key| key.stage.signs(now)).for_each(|key| key.stage = Stage::Signs);
}

/// The domains of which no new keys wait.
#[must_use]
pub fn to_rotate(keys: &[Key], domains: &[String]) -> Vec<String> {
    let waits = |domain: &String| keys.iter().any(|key| key.domain == *domain && key.stage == Stage::Next);
    domains.iter().filter(|domain| !waits(domain)).cloned().collect()
}

/// Begins a change of keys: the new ones sign once DNS has them. Both kinds at once, with the RSA keys that were made for
/// it: nobody else then thinks that one is still to be made.
///
/// # Errors
/// No randomness.
pub fn begin_rotation(keys: &mut Vec<Key>, made: Vec<(String, Vec<u8>)>, now: i64) -> Result<(), Failure> {
    for (domain, der) in made {
        if to_rotate(keys, std::slice::from_ref(&domain)).is_empty() {
            continue;
        }
        let key = new_ed25519(keys, &domain, Stage::Next, now)?;
        let selector = beside(&key.selector);
        keys.extend([key, Key { domain, selector, rsa: true, der, stage: Stage::Next }]);
    }
    Ok(())
}

/// The RSA key's selector beside that of an Ed25519 key.
fn beside(selector: &str) -> String {
    selector.replacen('e', "r", 1)
}

/// Ends it: the new ones sign, the old ones stay in DNS for a while, and what was there long enough goes.
pub fn end_rotation(keys: &mut Vec<Key>, now: i64) {
    let changed: BTreeSet<String> =
        keys.iter().filter(|key| key.stage == Stage::Next).map(|key| key.domain.clone()).collect();
    for key in keys.iter_mut().filter(|key| changed.contains(&key.domain)) {
        key.stage = match key.stage {
            Stage::Next => Stage::Signs,
            Stage::Signs | Stage::SignsFrom(_) => Stage::Signed(now),
            signed @ Stage::Signed(_) => signed,
        };
    }
    prune(keys, now);
}

/// Takes out what was there long enough.
pub fn prune(keys: &mut Vec<Key>, now: i64) {
    keys.retain(|key| !key.is_past(now));
}

/// The process that finds an RSA key's primes: confined, without network or disk, ends when it is done.
#[derive(Debug)]
pub struct Maker {
    running: Running,
    /// For what.
    pub wanted: (String, String, Stage),
}

impl Maker {
    /// Starts one. The calling thread must live as long as it does.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(wanted: (String, String, Stage)) -> std::io::Result<Self> {
        let exe = File::open("/proc/self/exe")?;
        let stderr: OwnedFd = File::options().write(true).open("/dev/null")?.into();
        let uid = rustix::process::geteuid().is_root().then(|| Role::KeyMaker.host_uid());
        let launch =
            Launch { role: Role::KeyMaker, exe: exe.as_fd(), args: &[], uid, directory: None, stderr: stderr.as_fd() };
        let running = launch.start()?;
        running.control.send(&key_maker::Start { bits: key_maker::BITS }, &[]).map_err(std::io::Error::other)?;
        Ok(Self { running, wanted })
    }

    /// Waits for the key.
    ///
    /// # Errors
    /// It ended without one.
    pub fn wait(self) -> Result<Vec<u8>, EdgeError> {
        let made = self.running.control.recv::<key_maker::Made>();
        self.reap();
        made.map(|(made, _)| made.der.clone())
    }

    /// The key, when it is made; `None`: not yet.
    #[must_use]
    pub fn look(&self) -> Option<Result<Vec<u8>, EdgeError>> {
        let mut fds = [rustix::event::PollFd::new(&self.running.control, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(1..) => Some(self.running.control.recv::<key_maker::Made>().map(|(made, _)| made.der.clone())),
            _ => None,
        }
    }

    /// Ends it.
    pub fn reap(self) {
        let _ = rustix::process::pidfd_send_signal(&self.running.pidfd, rustix::process::Signal::KILL);
        let exited = rustix::process::WaitIdOptions::EXITED;
        let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(self.running.pidfd.as_fd()), exited);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DOMAINS: fn() -> Vec<String> = || vec!["home.test".to_owned(), "other.test".to_owned()];

    fn keys(name: &str) -> (DataFolder, Keys) {
        let path = std::env::temp_dir().join(format!("postern-dkim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let data = DataFolder::open_or_make(&path).unwrap();
        let key = BoxKey::find(&data, None).unwrap();
        let keys = super::keys(&data, &key).unwrap();
        (data, keys)
    }

    #[test]
    fn what_is_missing_is_made_once_and_sealed() {
        let (data, keys) = keys("once");
        assert!(keys.read().unwrap().is_empty());
        for _ in 0..2 {
            keys.change(|all| complete(all, &DOMAINS(), 0)).unwrap();
        }
        let all = keys.read().unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|key| key.selector == "p19700101e" && key.record().unwrap().contains("k=ed25519")));
        assert_eq!(signing(&all, 0).len(), 2);
        let sealed = fs::read(data.entry("dkim.keys")).unwrap();
        assert!(!sealed.windows(9).any(|bytes| bytes == b"home.test"));
        fs::write(data.entry("dkim.keys"), &sealed[1..]).unwrap();
        assert!(keys.read().unwrap_err().words.contains("damaged"));
        assert!(keys.change(|_| Ok(())).is_err(), "what cannot be read is not overwritten");
        fs::remove_dir_all(data.path()).unwrap();
    }

    #[test]
    fn new_keys_sign_only_once_dns_may_have_them_and_old_ones_stay_a_while() {
        let mut all = Vec::new();
        complete(&mut all, &DOMAINS(), 0).unwrap();
        for wanted in wanted(&all) {
            put(&mut all, wanted, vec![1], None);
        }
        assert!(wanted(&all).is_empty() && all.len() == 4);
        let names = |all: &[Key]| signing(all, 90_000).iter().map(|key| key.selector.clone()).collect::<BTreeSet<_>>();
        let first = names(&all);
        for _ in 0..2 {
            let made = to_rotate(&all, &DOMAINS()).into_iter().map(|domain| (domain, vec![2])).collect();
            begin_rotation(&mut all, made, 86_400).unwrap();
            assert!(wanted(&all).is_empty(), "no second key maker starts");
        }
        begin_rotation(&mut all, vec![("home.test".to_owned(), vec![3])], 86_400).unwrap();
        assert_eq!((all.len(), names(&all)), (8, first.clone()), "nothing signs with them yet");
        end_rotation(&mut all, 90_000);
        assert_eq!(all.len(), 8);
        assert!(names(&all).is_disjoint(&first));
        // Without new ones there is nothing to change, but what is old enough goes.
        end_rotation(&mut all, 90_000 + dkim::KEPT);
        assert_eq!(all.len(), 4);
        assert_eq!(signing(&all, 90_000 + dkim::KEPT).len(), 4);
    }

    #[test]
    fn an_rsa_key_that_comes_late_waits_for_its_record() {
        let mut all = Vec::new();
        complete(&mut all, &DOMAINS(), 0).unwrap();
        for wanted in wanted(&all) {
            put(&mut all, wanted, vec![1], Some(LATE));
        }
        assert!(wanted(&all).is_empty());
        let signs = |all: &[Key], now| signing(all, now).iter().filter(|key| key.rsa).count();
        assert_eq!([signs(&all, 0), signs(&all, LATE - 1), signs(&all, LATE)], [0, 0, 2]);
        assert_eq!(signs(&all, -1), 2, "a clock that was ahead holds nothing up");
        settle(&mut all, LATE - 1);
        found(&mut all, |key| key.rsa && key.domain == "home.test");
        assert_eq!(signs(&all, 0), 1, "whose record is found");
        settle(&mut all, LATE);
        assert_eq!(signs(&all, 0), 2);
        // Of a change of keys each waits for its own sign.
        begin_rotation(&mut all, vec![("home.test".to_owned(), vec![2])], 0).unwrap();
        found(&mut all, |_| true);
        settle(&mut all, i64::MAX);
        assert_eq!(all.iter().filter(|key| key.stage == Stage::Next).count(), 2);
    }
}
