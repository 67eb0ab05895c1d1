//! MTA-STS (RFC 8461): a domain says over HTTPS which hosts take its mail, and that they must prove it. Records and
//! policies are hostile text; what is kept is bounded.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use wire::dns::normal;

use super::limits;

/// What a sender does with a host that does not fit (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It gets nothing.
    Enforce,
    /// It gets the mail.
    Testing,
    /// The domain gives its policy up.
    None,
}

/// A policy (§3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What to do.
    pub mode: Mode,
    /// `mail.far.test`, `*.far.test`; lower-case.
    pub patterns: Vec<String>,
    /// Seconds it may be kept.
    pub max_age: u64,
}

/// Why a policy is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPolicy(pub &'static str);

impl Policy {
    /// Reads the file. Unknown keys are passed over, of the others only `mx` may come again: the first counts.
    ///
    /// # Errors
    /// [`BadPolicy`].
    pub fn parse(file: &[u8]) -> Result<Self, BadPolicy> {
        if file.len() > limits::STS_POLICY {
            return Err(BadPolicy("too long"));
        }
        let text = std::str::from_utf8(file).map_err(|_| BadPolicy("not text"))?;
        let (mut version, mut mode, mut max_age, mut patterns) = (None, None, None, Vec::new());
        // §3.2: lines end in LF or CRLF.
        for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or(BadPolicy("a line without a key"))?;
            let value = value.trim();
            match key.trim_end() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if patterns.len() < limits::STS_PATTERNS => patterns.push(pattern(value)?),
                "mx" => return Err(BadPolicy("too many hosts")),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(BadPolicy("not version STSv1"));
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(BadPolicy("no mode")),
        };
        if patterns.is_empty() && mode != Mode::None {
            return Err(BadPolicy("no hosts"));
        }
        let max_age = max_age.filter(|age| age.len() <= 10).and_then(|age| age.parse::<u64>().ok());
        let max_age = max_age.ok_or(BadPolicy("no max_age"))?.min(limits::STS_MAX_AGE);
        Ok(Self { mode, patterns, max_age })
    }

    /// Whether a host (an MX as in DNS) is one of those (§4.1): `*` stands for exactly one label.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let host = normal(host);
        self.patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == parent),
            None => *pattern == host,
        })
    }
}

fn pattern(value: &str) -> Result<String, BadPolicy> {
    let name = value.strip_prefix("*.").unwrap_or(value);
    let formed = crate::session::path::is_domain(name) && !name.starts_with('[') && !name.contains('*');
    if formed { Ok(normal(value)) } else { Err(BadPolicy("a host that is no name")) }
}

/// The id in the TXT records of `_mta-sts.<domain>` (§3.1); `None` when there is no policy: no such record, or more
/// than one.
#[must_use]
pub fn id(records: &[String]) -> Option<String> {
    let ours = |record: &&String| {
        let version = record.split(';').next().unwrap_or_default();
        version.split_once('=').is_some_and(|(key, value)| key.trim() == "v" && value.trim() == "STSv1")
    };
    let mut found = records.iter().filter(ours);
    let (record, None) = (found.next()?, found.next()) else { return None };
    let id = record.split(';').skip(1).filter_map(|field| field.split_once('=')).find(|(key, _)| key.trim() == "id");
    let id = id?.1.trim();
    let formed = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    formed.then(|| id.to_owned())
}

/// Where a policy lies (§3.3): HTTPS, no redirects, `text/plain`, a certificate for this host.
#[must_use]
pub fn host_and_path(domain: &str) -> (String, &'static str) {
    (format!("mta-sts.{}", normal(domain)), "/.well-known/mta-sts.txt")
}

/// What DNS says about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// There is one with this id.
    Id(String),
    /// There is none.
    None,
    /// Nobody knows.
    Failed,
}

/// What to do about a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// This holds; `None`: nothing does.
    Use(Option<Policy>),
    /// Fetch it, then [`Policies::fetched`].
    Fetch,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    policy: Option<Policy>,
    id: String,
    fetched: i64,
    until: i64,
    /// When a fetch last failed.
    failed: i64,
}

/// The policies of late. The keeper keeps them too, and gives them back: a cache that is lost can be exploited (§10.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policies {
    kept: HashMap<String, Kept>,
}

impl Policies {
    /// What holds for a domain now that DNS has said this.
    #[must_use]
    pub fn ask(&self, domain: &str, record: &Record, now: i64) -> Ask {
        let kept = self.kept.get(&normal(domain));
        // A clock that was set back takes no policy away.
        let valid = kept.filter(|kept| now < kept.until).and_then(|kept| kept.policy.clone());
        // §5.1: who takes the record out of DNS takes the policy out only once it has expired.
        let Record::Id(id) = record else { return Ask::Use(valid) };
        let fresh = kept.is_some_and(|kept| kept.id == *id && (0..limits::STS_REFRESH).contains(&(now - kept.fetched)));
        let tried = kept.is_some_and(|kept| (0..limits::STS_RETRY).contains(&(now - kept.failed)));
        if tried || (fresh && valid.is_some()) { Ask::Use(valid) } else { Ask::Fetch }
    }

    /// A fetch has ended; what holds now.
    pub fn fetched(&mut self, domain: &str, id: &str, outcome: Result<Policy, BadPolicy>, now: i64) -> Option<Policy> {
        self.make_room(now);
        let domain = normal(domain);
        match outcome {
            Ok(policy) => {
                let until = now.saturating_add(policy.max_age.cast_signed());
                let kept =
                    Kept { policy: Some(policy.clone()), id: id.to_owned(), fetched: now, until, failed: i64::MIN / 2 };
                self.kept.insert(domain, kept);
                Some(policy)
            }
            // §3.3: the old one holds as long as it does.
            Err(_) => {
                let none = Kept { policy: None, id: String::new(), fetched: now, until: now, failed: now };
                let kept = self.kept.entry(domain).or_insert(none);
                kept.failed = now;
                kept.policy.clone().filter(|_| now < kept.until)
            }
        }
    }

    /// Domains whose policies have held for half of their time: to be asked for again, whether anybody writes there or
    /// not. Else who waits until they have expired, and then spoils DNS, takes them away (§10.2).
    #[must_use]
    pub fn aging(&self, now: i64) -> Vec<String> {
        let is_aging = |kept: &Kept| {
            let half = kept.until.saturating_sub(kept.fetched) / 2;
            kept.policy.is_some() && now < kept.until && now.saturating_sub(kept.fetched) >= half
        };
        self.kept.iter().filter(|(_, kept)| is_aging(kept)).map(|(domain, _)| domain.clone()).collect()
    }

    /// A domain's policy as bytes to be kept, and until when it holds.
    #[must_use]
    pub fn to_keep(&self, domain: &str) -> Option<(i64, Vec<u8>)> {
        let kept = self.kept.get(&normal(domain))?;
        kept.policy.as_ref()?;
        Some((kept.until, postcard::to_stdvec(kept).ok()?))
    }

    /// One that was kept; what is newer stays.
    pub fn take_back(&mut self, domain: &str, bytes: &[u8], now: i64) {
        if let Ok(kept) = postcard::from_bytes::<Kept>(bytes)
            && now < kept.until
            && !self.kept.contains_key(&normal(domain))
        {
            self.make_room(now);
            self.kept.insert(normal(domain), kept);
        }
    }

    fn make_room(&mut self, now: i64) {
        if self.kept.len() >= limits::STS_POLICIES {
            self.kept.retain(|_, kept| now < kept.until);
        }
        // All of them hold: the one that will soonest not is the least loss.
        if self.kept.len() >= limits::STS_POLICIES
            && let Some(first) = self.kept.iter().min_by_key(|(_, kept)| kept.until).map(|(domain, _)| domain.clone())
        {
            self.kept.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.Far.test\r\nmx: *.far.example\nx: y\nmax_age: 1000\r\n";

    fn policy() -> Policy {
        Policy::parse(FILE.as_bytes()).unwrap()
    }

    #[test]
    fn what_has_held_for_half_of_its_time_is_asked_for_again() {
        let mut policies = Policies::default();
        policies.fetched("far.test", "1", Ok(policy()), 0);
        policies.fetched("none.test", "1", Err(BadPolicy("none")), 0);
        let aging = |now| policies.aging(now);
        assert_eq!(
            (aging(499), aging(500), aging(999), aging(1_000)),
            (vec![], vec!["far.test".to_owned()], vec!["far.test".to_owned()], vec![])
        );
    }

    #[test]
    fn what_is_kept_comes_back_and_expires() {
        let mut before = Policies::default();
        before.fetched("Far.test", "1", Ok(policy()), 100);
        before.fetched("none.test", "1", Err(BadPolicy("not fetched")), 100);
        let (until, bytes) = before.to_keep("far.test").unwrap();
        assert_eq!((until, before.to_keep("none.test"), before.to_keep("other.test")), (1_100, None, None));
        let mut after = Policies::default();
        after.take_back("far.test", &bytes, 1_100);
        after.take_back("bad.test", b"\xff", 100);
        assert_eq!(after, Policies::default(), "neither what has expired nor what is none");
        after.take_back("far.test", &bytes, 200);
        // DNS says that there is none: who could make it say so could have our mail.
        assert_eq!(after.ask("far.test", &Record::None, 300), Ask::Use(Some(policy())));
        assert_eq!(after.ask("far.test", &Record::Id("2".into()), 300), Ask::Fetch);
        let newer = Policy { max_age: 5_000, ..policy() };
        after.fetched("far.test", "2", Ok(newer.clone()), 300);
        after.take_back("far.test", &bytes, 301);
        assert_eq!(after.ask("far.test", &Record::None, 301), Ask::Use(Some(newer)));
    }

    #[test]
    fn a_policy_and_its_hosts() {
        let policy = policy();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 1_000));
        for (host, allowed) in [
            ("mail.far.test", true),
            ("MAIL.FAR.TEST.", true),
            ("mx.mail.far.test", false),
            ("a.far.example", true),
            ("a.b.far.example", false),
            ("far.example", false),
            (".far.example", false),
            ("xfar.example", false),
        ] {
            assert_eq!(policy.allows(host), allowed, "{host}");
        }
    }

    #[test]
    fn policies_that_are_none() {
        for bad in [
            "",
            "version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmax_age: 1",
            "version: STSv1\nmode: strict\nmx: a.test\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmx: a.test",
            "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1",
            "version: STSv1\nmode: enforce\nmx: a.*.test\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmx: [192.0.2.1]\nmax_age: 1",
            "<html>",
        ] {
            assert!(Policy::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let gives_up = Policy::parse(b"version: STSv1\nmode: none\nmax_age: 99999999999").map_err(|bad| bad.0);
        assert_eq!(gives_up, Err("no max_age"));
        let long = Policy::parse(b"version: STSv1\nmode: none\nmax_age: 9999999999").unwrap();
        assert_eq!((long.mode, long.max_age), (Mode::None, limits::STS_MAX_AGE));
    }

    #[test]
    fn ids() {
        let id_of = |records: &[&str]| id(&records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>());
        assert_eq!(id_of(&["v=STSv1; id=20260101T0;"]).as_deref(), Some("20260101T0"));
        assert_eq!(id_of(&["v=spf1 -all", "v=STSv1;id=a"]).as_deref(), Some("a"));
        for none in
            [&["v=STSv1; id=a", "v=STSv1; id=b"][..], &["v=STSv1"], &["v=STSv1; id=a b"], &["id=a; v=STSv1"], &[]]
        {
            assert_eq!(id_of(none), None, "{none:?}");
        }
    }

    #[test]
    fn keeping_and_asking_again() {
        let mut policies = Policies::default();
        let id = |id: &str| Record::Id(id.to_owned());
        assert_eq!(policies.ask("far.test", &Record::None, 0), Ask::Use(None));
        assert_eq!(policies.ask("far.test", &id("1"), 0), Ask::Fetch);
        assert_eq!(policies.fetched("Far.test", "1", Ok(policy()), 0), Some(policy()));
        assert_eq!(policies.ask("far.test", &id("1"), 10), Ask::Use(Some(policy())));
        // A record that vanishes or cannot be had changes nothing while the policy holds.
        assert_eq!(policies.ask("far.test", &Record::None, 999), Ask::Use(Some(policy())));
        assert_eq!(policies.ask("far.test", &Record::Failed, 999), Ask::Use(Some(policy())));
        assert_eq!(policies.ask("far.test", &Record::Failed, 1_000), Ask::Use(None));
        // Another id: fetched; when that fails the old one holds, and it is not asked again at once.
        assert_eq!(policies.ask("far.test", &id("2"), 20), Ask::Fetch);
        assert_eq!(policies.fetched("far.test", "2", Err(BadPolicy("x")), 20), Some(policy()));
        assert_eq!(policies.ask("far.test", &id("2"), 21), Ask::Use(Some(policy())));
        assert_eq!(policies.ask("far.test", &id("2"), 20 + limits::STS_RETRY), Ask::Fetch);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_no_policy_away() {
        let mut policies = Policies::default();
        policies.fetched("far.test", "1", Ok(policy()), 10_000);
        assert_eq!(policies.ask("far.test", &Record::None, 500), Ask::Use(Some(policy())));
        assert_eq!(policies.ask("far.test", &Record::Id("1".into()), 500), Ask::Fetch, "as old as anything");
        assert_eq!(policies.fetched("far.test", "1", Err(BadPolicy("x")), 500), Some(policy()));
        assert_eq!(policies.ask("far.test", &Record::Id("1".into()), 501), Ask::Use(Some(policy())));
    }

    #[test]
    fn a_long_one_is_refreshed_daily() {
        let mut policies = Policies::default();
        let long = Policy { max_age: 10_000_000, ..policy() };
        policies.fetched("far.test", "1", Ok(long.clone()), 0);
        assert_eq!(policies.ask("far.test", &Record::Id("1".into()), limits::STS_REFRESH - 1), Ask::Use(Some(long)));
        assert_eq!(policies.ask("far.test", &Record::Id("1".into()), limits::STS_REFRESH), Ask::Fetch);
    }

    #[test]
    fn a_fetch_that_fails_from_the_start() {
        let mut policies = Policies::default();
        assert_eq!(policies.fetched("far.test", "1", Err(BadPolicy("x")), 0), None);
        assert_eq!(policies.ask("far.test", &Record::Id("1".into()), 1), Ask::Use(None));
    }

    #[test]
    fn not_more_than_so_many() {
        let mut policies = Policies::default();
        for n in 0..limits::STS_POLICIES + 50 {
            policies.fetched(&format!("{n}.test"), "1", Ok(policy()), 0);
        }
        assert_eq!(policies.kept.len(), limits::STS_POLICIES);
    }

    proptest! {
        #[test]
        fn any_file(file in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "(version: STSv1\n)?(mode: (enforce|none)\n)?(mx: [a-z.*]{0,9}\n){0,3}(max_age: [0-9]{1,12}\n)?".prop_map(String::into_bytes),
        ]) {
            if let Ok(policy) = Policy::parse(&file) {
                prop_assert!(policy.max_age <= limits::STS_MAX_AGE);
                prop_assert!(policy.mode == Mode::None || !policy.patterns.is_empty());
                prop_assert!(!policy.allows("") && !policy.allows("."));
            }
        }

        #[test]
        fn any_record(record in "(v=STSv1)?[;= a-z0-9]{0,40}") {
            let _ = id(&[record]);
        }
    }
}
