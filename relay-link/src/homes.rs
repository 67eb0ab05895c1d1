//! The homes a proxy knows: one file each, by the name the operator gave.
//!
//! | file `NAME.toml` has | the home is |
//! | --- | --- |
//! | `[invitation]` only | invited: who brings the secret in time becomes this home |
//! | `[paired]` and `[invitation]` | paired; the same box may bring the secret again, should the answer have been lost |
//! | `[paired]` only | paired, with no code about |
//! | neither | revoked, or its box not yet come: what it was granted is nobody else's meanwhile |
//! | no file | unknown |
//!
//! Each step is one rename or unlink, under a lock that the operator's commands take too; a proxy notices within
//! seconds what they changed. The secret itself is in no file.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::durable;
use crate::hello::Refusal;
use crate::keys::{OneTimeSecret, PublicKey, SecretDigest};
use crate::limits;

/// What the operator grants a home.
pub trait Grant: Serialize + DeserializeOwned + Clone {
    /// In words, what both would have though only one can.
    fn clashes_with(&self, other: &Self) -> Option<String>;
}

/// One home, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home<G> {
    /// What it may.
    pub grant: G,
    /// A code that is about.
    pub invitation: Option<Invitation>,
    /// The box that has come.
    pub paired: Option<Paired>,
}

/// A code that was given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// Of its secret.
    pub digest: SecretDigest,
    /// Seconds since 1970.
    pub expires: u64,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paired {
    /// By which it is known.
    pub key: PublicKey,
    /// Seconds since 1970.
    pub since: u64,
}

/// Why nobody is invited: for the operator.
#[derive(Debug)]
pub enum InviteError {
    /// Not a name.
    Name,
    /// That home is paired already.
    Taken(String),
    /// Another home has what this one would.
    Clash { with: String, what: String },
    /// [`limits::HOMES`].
    Full,
    /// The disk, or the system's randomness.
    Io(io::Error),
}

impl fmt::Display for InviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("a home's name is letters, digits, dots and hyphens, as in mail.alice.example"),
            Self::Taken(name) => write!(f, "{name} is paired with a box already; revoke it first if that box is gone"),
            Self::Clash { with, what } => write!(f, "{what} is given to {with} already"),
            Self::Full => write!(f, "there are {} homes already", limits::HOMES),
            Self::Io(error) => write!(f, "the folder of homes: {error}"),
        }
    }
}

impl std::error::Error for InviteError {}

impl From<io::Error> for InviteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type All<G> = Arc<BTreeMap<String, Home<G>>>;

/// All homes as they were read, and whose each key is: every connected home is looked for every few seconds.
#[derive(Debug)]
struct Known<G> {
    homes: All<G>,
    keys: Arc<HashMap<PublicKey, String>>,
    /// No file was passed over.
    whole: bool,
}

impl<G> Clone for Known<G> {
    fn clone(&self) -> Self {
        Self { homes: self.homes.clone(), keys: self.keys.clone(), whole: self.whole }
    }
}

impl<G> Known<G> {
    fn new((homes, whole): (BTreeMap<String, Home<G>>, bool)) -> Self {
        let keys = homes.iter().filter_map(|(name, home)| Some((home.paired.as_ref()?.key, name.clone()))).collect();
        Self { homes: Arc::new(homes), keys: Arc::new(keys), whole }
    }
}

#[derive(Debug)]
struct Read<G> {
    /// The folder's time of change when it was read.
    changed: SystemTime,
    known: Known<G>,
}

/// A change within the same tick of the kernel's clock as the one before does not show in the folder's time; ticks are
/// ten milliseconds at most.
const TICK: Duration = Duration::from_millis(100);

/// The folder.
#[derive(Debug)]
pub struct Homes<G> {
    folder: PathBuf,
    read: Mutex<Option<Read<G>>>,
}

const ENDING: &str = "toml";
const LOCK: &str = "lock";

impl<G: Grant> Homes<G> {
    /// Opens the folder, or makes it (0700).
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_path_buf(), read: Mutex::new(None) })
    }

    /// Invites: the secret goes into a code, and nowhere else. A code given out before for the same home is void.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn invite(&self, name: &str, grant: G, now: SystemTime, valid: Duration) -> Result<Invited, InviteError> {
        if !is_name(name) {
            return Err(InviteError::Name);
        }
        let _lock = self.lock()?;
        let all = self.all()?;
        if all.len() >= limits::HOMES && !all.contains_key(name) {
            return Err(InviteError::Full);
        }
        if all.get(name).is_some_and(|home| home.paired.is_some()) {
            return Err(InviteError::Taken(name.to_owned()));
        }
        for (with, home) in all.iter().filter(|(other, _)| *other != name) {
            if let Some(what) = grant.clashes_with(&home.grant) {
                return Err(InviteError::Clash { with: with.clone(), what });
            }
        }
        let secret = OneTimeSecret::generate().map_err(io::Error::other)?;
        // Whole minutes, since the code has no more.
        let expires = (unix(now) + valid.as_secs()) / 60 * 60;
        let invitation = Some(Invitation { digest: secret.digest(), expires });
        self.write(name, &Home { grant, invitation, paired: None })?;
        Ok(Invited { secret, expires })
    }

    /// A box has brought a secret and proved a key: it becomes the home, once.
    ///
    /// # Errors
    /// [`Refusal::Code`], or [`Refusal::Busy`] when the disk fails.
    pub fn pair(&self, secret: &OneTimeSecret, key: PublicKey, now: SystemTime) -> Result<(String, G), Refusal> {
        self.try_pair(secret, key, now).unwrap_or_else(|error| {
            tracing::error!(%error, "pairing: the folder of homes");
            Err(Refusal::Busy)
        })
    }

    fn try_pair(
        &self,
        secret: &OneTimeSecret,
        key: PublicKey,
        now: SystemTime,
    ) -> io::Result<Result<(String, G), Refusal>> {
        let _lock = self.lock()?;
        let all = self.all()?;
        let (digest, now) = (secret.digest(), unix(now));
        let invited =
            |home: &Home<G>| home.invitation.as_ref().is_some_and(|it| it.digest == digest && now < it.expires);
        let Some((name, home)) = all.iter().find(|(_, home)| invited(home)) else { return Ok(Err(Refusal::Code)) };
        let known = all.iter().find(|(_, home)| home.paired.as_ref().is_some_and(|paired| paired.key == key));
        match (known, &home.paired) {
            // The answer was lost on its way.
            (Some((known, _)), _) if known == name => return Ok(Ok((name.clone(), home.grant.clone()))),
            // A key stands for one home, and a code works once.
            (Some(_), _) | (None, Some(_)) => return Ok(Err(Refusal::Code)),
            (None, None) => {}
        }
        let paired = Home { paired: Some(Paired { key, since: now }), ..home.clone() };
        self.write(name, &paired)?;
        Ok(Ok((name.clone(), paired.grant)))
    }

    /// Whose key it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(&self, key: &PublicKey) -> io::Result<Option<(String, G)>> {
        let known = self.known()?;
        let found = known.keys.get(key).and_then(|name| Some((name.clone(), known.homes.get(name)?.grant.clone())));
        Ok(found)
    }

    /// Whether a home has this key.
    ///
    /// # Errors
    /// The kernel's.
    pub fn knows(&self, key: &PublicKey) -> io::Result<bool> {
        Ok(self.known()?.keys.contains_key(key))
    }

    /// Takes a home's box and code away, and leaves what was granted with its name: who asks for that waits, and gets no other
    /// home. Whether there was one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn close(&self, name: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        let all = self.all()?;
        let Some(home) = all.get(name) else { return Ok(false) };
        self.write(name, &Home { grant: home.grant.clone(), invitation: None, paired: None })?;
        Ok(true)
    }

    /// Forgets a home, or an invitation, and what was granted; whether there was one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn revoke(&self, name: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        let known = self.all()?.contains_key(name);
        if known {
            durable::remove(&self.path(name))?;
            self.forget();
        }
        Ok(known)
    }

    /// Whether every home could be read: when not, there are more of them than [`Homes::all`] says.
    ///
    /// # Errors
    /// The kernel's.
    pub fn are_all_read(&self) -> io::Result<bool> {
        Ok(self.known()?.whole)
    }

    /// All of them. Read again only when the folder has changed.
    ///
    /// # Errors
    /// The kernel's. A file that cannot be read is passed over, with a line in the log: one damaged home must not
    /// shut the others out.
    pub fn all(&self) -> io::Result<All<G>> {
        Ok(self.known()?.homes)
    }

    fn known(&self) -> io::Result<Known<G>> {
        let changed = fs::metadata(&self.folder)?.modified()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref().filter(|read| read.changed == changed) {
            return Ok(read.known.clone());
        }
        let known = Known::new(read_folder(&self.folder)?);
        // What was read so soon is read again. (A clock that was set back since is no reason to read it for ever.)
        let distance = SystemTime::now().duration_since(changed).unwrap_or_else(|ahead| ahead.duration());
        let settled = distance > TICK;
        *read = settled.then(|| Read { changed, known: known.clone() });
        Ok(known)
    }

    fn write(&self, name: &str, home: &Home<G>) -> io::Result<()> {
        let text = toml::to_string(home).map_err(io::Error::other)?;
        durable::replace(&self.path(name), text.as_bytes())?;
        self.forget();
        Ok(())
    }

    fn forget(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_added_extension(ENDING)
    }

    /// Held until dropped.
    fn lock(&self) -> io::Result<File> {
        let file = File::options().write(true).create(true).truncate(false).open(self.folder.join(LOCK))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    }
}

/// What goes into a code.
#[derive(Debug)]
pub struct Invited {
    /// Said once.
    pub secret: OneTimeSecret,
    /// Seconds since 1970, a whole minute.
    pub expires: u64,
}

/// Also the stem of a file's name: no slash, no leading dot, lower case.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    (1..=200).contains(&name.len()) && name.bytes().all(harmless) && !name.starts_with('.') && name != LOCK
}

/// The homes, and whether that is all of them.
fn read_folder<G: Grant>(folder: &Path) -> io::Result<(BTreeMap<String, Home<G>>, bool)> {
    let (mut homes, mut whole) = (BTreeMap::new(), true);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|name| is_name(name));
        let (Some(name), Some(ENDING)) = (name, path.extension().and_then(|ending| ending.to_str())) else { continue };
        match read_home(&path) {
            Ok(Some(home)) => drop(homes.insert(name.to_owned(), home)),
            Ok(None) => {}
            Err(error) => {
                whole = false;
                tracing::error!(home = name, %error, "its file cannot be used");
            }
        }
        if homes.len() > limits::HOMES {
            whole = false;
            break;
        }
    }
    Ok((homes, whole))
}

fn read_home<G: Grant>(path: &Path) -> io::Result<Option<Home<G>>> {
    let Some(bytes) = durable::read(path, limits::HOME_FILE)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    toml::from_str(&text).map(Some).map_err(io::Error::other)
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::tests::Scratch;
    use crate::keys::LinkKey;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Names(Vec<String>);

    impl Grant for Names {
        fn clashes_with(&self, other: &Self) -> Option<String> {
            self.0.iter().find(|name| other.0.contains(name)).cloned()
        }
    }

    fn names(name: &str) -> Names {
        Names(vec![name.to_owned()])
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn key() -> PublicKey {
        LinkKey::generate().unwrap().public()
    }

    #[test]
    fn a_code_works_once_in_time_and_again_for_the_same_box() {
        let scratch = Scratch::new("once");
        let homes = Homes::open(&scratch.0.join("homes")).unwrap();
        let now = SystemTime::now();
        let invited = homes.invite("alice", names("mail.alice.example"), now, DAY).unwrap();
        let (box_of_alice, thief) = (key(), key());
        let late = UNIX_EPOCH + Duration::from_secs(invited.expires);
        assert_eq!(homes.pair(&OneTimeSecret([0; 10]), thief, now), Err(Refusal::Code), "any other secret");
        assert_eq!(homes.pair(&invited.secret, thief, late), Err(Refusal::Code), "too late");
        let expected = ("alice".to_owned(), names("mail.alice.example"));
        assert_eq!(homes.pair(&invited.secret, box_of_alice, now), Ok(expected.clone()));
        assert_eq!(homes.pair(&invited.secret, thief, now), Err(Refusal::Code), "used");
        assert_eq!(homes.pair(&invited.secret, box_of_alice, now), Ok(expected.clone()), "the answer was lost");
        assert_eq!(homes.find(&box_of_alice).unwrap(), Some(expected));
        assert_eq!(homes.find(&thief).unwrap(), None);
        assert!(matches!(homes.invite("alice", names("x.example"), now, DAY), Err(InviteError::Taken(_))));
    }

    /// As if two processes did it: each opens the folder for itself.
    #[test]
    fn of_many_at_once_one_is_paired() {
        let scratch = Scratch::new("at-once");
        let folder = scratch.0.join("homes");
        let now = SystemTime::now();
        let invited = Homes::open(&folder).unwrap().invite("alice", names("a.example"), now, DAY).unwrap();
        let paired = std::thread::scope(|scope| {
            let pair = || {
                let homes = Homes::<Names>::open(&folder).unwrap();
                let key = key();
                homes.pair(&invited.secret, key, now).is_ok().then_some(key)
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(pair)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(paired.len(), 1, "a code works once");
        let homes = Homes::<Names>::open(&folder).unwrap();
        assert_eq!(homes.find(&paired[0]).unwrap().unwrap().0, "alice");
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&homes.path("alice"))), (0o700, 0o600), "its owner's alone");
        let text = fs::read_to_string(homes.path("alice")).unwrap();
        assert!(!text.contains(&crate::base32::encode(&invited.secret.0)), "the secret is in no file: {text}");
    }

    #[test]
    fn a_second_code_makes_the_first_void() {
        let scratch = Scratch::new("second");
        let homes = Homes::open(&scratch.0).unwrap();
        let now = SystemTime::now();
        let first = homes.invite("alice", names("a.example"), now, DAY).unwrap();
        let second = homes.invite("alice", names("a.example"), now, DAY).unwrap();
        assert_eq!(homes.pair(&first.secret, key(), now), Err(Refusal::Code));
        assert!(homes.pair(&second.secret, key(), now).is_ok());
    }

    #[test]
    fn what_one_has_no_other_gets() {
        let scratch = Scratch::new("clash");
        let homes = Homes::open(&scratch.0).unwrap();
        let now = SystemTime::now();
        homes.invite("alice", names("a.example"), now, DAY).unwrap();
        assert!(matches!(homes.invite("bob", names("a.example"), now, DAY), Err(InviteError::Clash { .. })));
        homes.invite("alice", names("other.example"), now, DAY).unwrap();
        let bob = homes.invite("bob", names("a.example"), now, DAY).unwrap();
        let bobs = key();
        homes.pair(&bob.secret, bobs, now).unwrap();
        let carol = homes.invite("carol", names("c.example"), now, DAY).unwrap();
        assert_eq!(homes.pair(&carol.secret, bobs, now), Err(Refusal::Code), "a key stands for one home");
        for bad in ["", "../x", ".x", "a/b", "A", "a b", "lock", &"a".repeat(201)] {
            assert!(matches!(homes.invite(bad, names("z.example"), now, DAY), Err(InviteError::Name)), "{bad}");
        }
    }

    #[test]
    fn revoked_by_another_process_and_read_anew() {
        let scratch = Scratch::new("revoke");
        let (proxy, command) = (Homes::<Names>::open(&scratch.0).unwrap(), Homes::<Names>::open(&scratch.0).unwrap());
        let now = SystemTime::now();
        let invited = command.invite("alice", names("a.example"), now, DAY).unwrap();
        let alices = key();
        proxy.pair(&invited.secret, alices, now).unwrap();
        fs::write(scratch.0.join("broken.toml"), "nonsense").unwrap();
        assert!(proxy.find(&alices).unwrap().is_some(), "a damaged file shuts nobody else out");
        assert!(!proxy.are_all_read().unwrap(), "and is not taken for none");
        assert!(command.revoke("alice").unwrap());
        assert!(!command.revoke("alice").unwrap());
        assert_eq!(proxy.find(&alices).unwrap(), None);
    }

    /// The clock was wrong when somebody was invited, and is set back.
    #[test]
    fn a_folder_of_the_future_is_read_once() {
        let scratch = Scratch::new("future");
        let homes = Homes::<Names>::open(&scratch.0).unwrap();
        let now = SystemTime::now();
        drop(homes.invite("alice", names("a.example"), now, DAY).unwrap());
        let folder = fs::File::open(&scratch.0).unwrap();
        folder.set_modified(now + Duration::from_secs(7_200)).unwrap();
        let read = homes.all().unwrap();
        assert!(Arc::ptr_eq(&read, &homes.all().unwrap()), "not for each look");
        drop(homes.invite("bob", names("b.example"), now, DAY).unwrap());
        assert_eq!(homes.all().unwrap().len(), 2, "what changes is seen");
    }

    #[test]
    fn a_home_that_is_closed_keeps_what_it_was_granted() {
        let scratch = Scratch::new("close");
        let homes = Homes::open(&scratch.0).unwrap();
        let now = SystemTime::now();
        let invited = homes.invite("alice", names("a.example"), now, DAY).unwrap();
        let alices = key();
        homes.pair(&invited.secret, alices, now).unwrap();
        assert!(homes.close("alice").unwrap());
        assert_eq!(homes.find(&alices).unwrap(), None);
        assert_eq!(homes.pair(&invited.secret, key(), now), Err(Refusal::Code), "its code is void");
        assert_eq!(homes.all().unwrap().get("alice").map(|home| home.grant.clone()), Some(names("a.example")));
        let another = homes.invite("mallory", names("a.example"), now, DAY);
        assert!(matches!(another, Err(InviteError::Clash { .. })), "its names are not free");
        assert!(homes.invite("alice", names("a.example"), now, DAY).is_ok(), "it can be invited again");
        assert!(!homes.close("bob").unwrap());
    }

    #[test]
    fn no_file_holds_the_secret() {
        let scratch = Scratch::new("secret");
        let homes = Homes::open(&scratch.0).unwrap();
        let invited = homes.invite("alice", names("a.example"), SystemTime::now(), DAY).unwrap();
        let text = fs::read_to_string(scratch.0.join("alice.toml")).unwrap();
        assert!(!text.contains(&crate::base32::encode(&invited.secret.0)), "{text}");
    }
}
