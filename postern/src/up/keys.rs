//! The DKIM keys while the box runs: what is missing is made beside, and the courier hears of every change.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::roles::Roles;
use super::say;
use crate::failure::Failure;
use crate::signing::{self, Key, Keys, Maker, Stage};

/// Between two looks for keys that are past.
const THROUGH: Duration = Duration::from_secs(3_600);
/// An RSA key that comes so much later than the Ed25519 key beside it is late: that one's record may be in DNS already.
const TOGETHER: Duration = Duration::from_secs(600);
/// After a key maker that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// The file and who makes what is missing in it.
#[derive(Debug)]
pub struct SigningKeys {
    keys: Keys,
    domains: Vec<String>,
    seen: Option<SystemTime>,
    /// RSA keys still to be made, as the file was when it was seen.
    wanted: Vec<(String, String, Stage)>,
    /// When the file is looked through again, changed or not: some key may be past.
    look_through: Instant,
    maker: Option<Maker>,
    /// Ed25519 keys that this process has made, and when.
    fresh: Vec<(String, Instant)>,
    not_before: Instant,
    /// What was last said of trouble: once, not each time.
    said: String,
}

impl SigningKeys {
    /// Makes an Ed25519 key for each domain that has none. Keys that cannot be read keep nobody's mail from coming:
    /// until they can, what leaves is unsigned.
    #[must_use]
    pub fn open(keys: Keys, domains: &[String]) -> Self {
        let now = Instant::now();
        let mut all = Self {
            keys,
            domains: domains.to_vec(),
            seen: None,
            wanted: Vec::new(),
            look_through: now,
            maker: None,
            fresh: Vec::new(),
            not_before: now,
            said: String::new(),
        };
        if let Err(failure) = all.complete() {
            all.complain(&failure);
        }
        all
    }

    /// What signs now: nothing, when the keys cannot be read.
    #[must_use]
    pub fn signing(&mut self) -> Vec<wire::control::SigningKey> {
        let written = self.keys.written();
        match self.keys.read() {
            Ok(all) => {
                self.seen = written;
                self.wanted = signing::wanted(&all);
                signing::signing(&all, wire::date::now())
            }
            Err(failure) => {
                self.complain(&failure);
                Vec::new()
            }
        }
    }

    /// Looks what has changed, and at the key maker.
    pub fn look(&mut self, roles: &mut Roles) {
        if Instant::now() < self.not_before {
            return;
        }
        match self.try_look(roles) {
            Ok(()) => self.said.clear(),
            Err(failure) => self.complain(&failure),
        }
    }

    fn complain(&mut self, failure: &Failure) {
        let words = format!("DKIM keys: {failure}; until then mail leaves without a signature of theirs");
        if words != self.said {
            say(&words);
        }
        self.said = words;
        self.not_before = Instant::now() + AGAIN;
        // What is still wanted is looked up again then.
        self.seen = None;
    }

    /// Makes what is missing, takes out what is past.
    fn complete(&mut self) -> Result<(), Failure> {
        let now = wire::date::now();
        let mut all = self.keys.read()?;
        let before = all.len();
        signing::complete(&mut all, &self.domains, now)?;
        let due = |key: &Key| key.is_past(now) || (key.stage != Stage::Signs && key.stage.signs(now));
        if all.len() > before || all.iter().any(due) {
            let fresh = self.keys.change(|all| {
                signing::prune(all, now);
                signing::settle(all, now);
                let before = all.len();
                signing::complete(all, &self.domains, now)?;
                Ok(all[before..].iter().map(|key| (key.domain.clone(), Instant::now())).collect::<Vec<_>>())
            })?;
            self.fresh.extend(fresh);
        }
        Ok(())
    }

    /// From when on an RSA key signs that has come now: at once, unless its fellow's record may be in DNS without its own.
    fn late(&mut self, domain: &str) -> Option<i64> {
        self.fresh.retain(|(_, since)| since.elapsed() < TOGETHER);
        let is_late = !self.fresh.iter().any(|(fresh, _)| fresh == domain);
        is_late.then(|| wire::date::now().saturating_add(signing::LATE))
    }

    fn try_look(&mut self, roles: &mut Roles) -> Result<(), Failure> {
        self.take_made()?;
        if self.keys.written() != self.seen || Instant::now() >= self.look_through {
            self.complete()?;
            self.look_through = Instant::now() + THROUGH;
        }
        let written = self.keys.written();
        if written != self.seen {
            let all = self.keys.read()?;
            roles.sign(signing::signing(&all, wire::date::now()));
            self.wanted = signing::wanted(&all);
            self.seen = written;
        }
        if self.maker.is_none() && !self.wanted.is_empty() {
            // Minutes of a small board's work.
            self.keys.can_change()?;
            let failed = |error| Failure::new(format!("no key maker could be started: {error}"));
            self.maker = Some(Maker::start(self.wanted.remove(0)).map_err(failed)?);
        }
        Ok(())
    }

    fn take_made(&mut self) -> Result<(), Failure> {
        let Some(made) = self.maker.as_ref().and_then(Maker::look) else { return Ok(()) };
        let Some(maker) = self.maker.take() else { return Ok(()) };
        let wanted = maker.wanted.clone();
        maker.reap();
        let der = made.map_err(|error| Failure::new(format!("the key maker: {error}")))?;
        let late = self.late(&wanted.0);
        let words = match (wanted.2, late) {
            (Stage::Next, _) => "it signs once `postern dkim rotate` finds its record",
            (_, None) => "it signs from now on",
            (_, Some(_)) => "it signs once `postern dns check` finds its record, or in a day",
        };
        let said = format!("an RSA key for {} is made: {words}", wanted.0);
        self.keys.change(|all| {
            signing::put(all, wanted, der, late);
            Ok(())
        })?;
        say(&said);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::box_key::BoxKey;
    use crate::data::DataFolder;

    #[test]
    fn an_rsa_key_is_late_when_its_fellow_is_old() {
        let path = std::env::temp_dir().join(format!("postern-late-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let data = DataFolder::open_or_make(&path).unwrap();
        let key = BoxKey::find(&data, None).unwrap();
        let open = || SigningKeys::open(signing::keys(&data, &key).unwrap(), &["home.test".to_owned()]);
        let mut first = open();
        assert_eq!(first.late("home.test"), None);
        assert!(first.late("other.test").is_some());
        assert!(open().late("home.test").is_some(), "after a restart");
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn damaged_keys_keep_no_house_from_starting() {
        let path = std::env::temp_dir().join(format!("postern-keys-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let data = DataFolder::open_or_make(&path).unwrap();
        let key = BoxKey::find(&data, None).unwrap();
        let keys = || signing::keys(&data, &key).unwrap();
        let domains = vec!["home.test".to_owned()];
        assert_eq!(SigningKeys::open(keys(), &domains).signing().len(), 1);
        let good = std::fs::read(data.entry("dkim.keys")).unwrap();
        std::fs::write(data.entry("dkim.keys"), &good[1..]).unwrap();
        let mut damaged = SigningKeys::open(keys(), &domains);
        assert!(damaged.signing().is_empty() && damaged.said.contains("damaged"), "{}", damaged.said);
        assert_eq!(std::fs::read(data.entry("dkim.keys")).unwrap(), good[1..], "nor is anything written over it");
        std::fs::write(data.entry("dkim.keys"), &good).unwrap();
        assert_eq!(damaged.signing().len(), 1, "put back, they sign");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
