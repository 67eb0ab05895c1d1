//! How often a stranger may try to log in. Failures count per (address, account), so that nobody can
//! lock an owner out by guessing; an address with a good login in the last week is slowed, never
//! refused; the same wrong password again (a phone with a revoked one) counts once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::LOGIN_PAIRS;
use crate::scram::mac;

/// Failures that cost nothing but a second: people mistype.
const FREE: u32 = 4;
/// Failures after which an unknown address is refused for that account.
const REFUSED: u32 = 20;
/// Longest wait before an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After so long without a failure all is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);
/// How long a good login vouches for its address.
const VOUCH: Duration = Duration::from_secs(7 * 86_400);
/// Wrong passwords remembered per pair.
const PRINTS: usize = 8;

/// What to do with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Try it after this time (often none).
    After(Duration),
    /// Say "try again later" without trying.
    Refuse,
}

#[derive(Debug)]
struct Pair {
    failures: u32,
    last: Instant,
    prints: Vec<u64>,
}

/// The memory of one process's login attempts, bounded; lost with the process.
#[derive(Debug)]
pub struct Logins {
    key: [u8; 32],
    pairs: HashMap<(IpAddr, u64), Pair>,
    vouched: HashMap<IpAddr, Instant>,
}

impl Default for Logins {
    fn default() -> Self {
        let mut key = [0; 32];
        // Without randomness the prints would only be guessable by this process itself.
        let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key);
        Self { key, pairs: HashMap::new(), vouched: HashMap::new() }
    }
}

impl Logins {
    /// Whether and when an attempt may be made.
    #[must_use]
    pub fn before(&self, address: IpAddr, account: &str, now: Instant) -> Answer {
        let failures =
            self.pairs.get(&self.pair(address, account)).filter(|pair| now.duration_since(pair.last) < FORGET);
        let failures = failures.map_or(0, |pair| pair.failures);
        if failures >= REFUSED && !self.vouches(address, now) {
            return Answer::Refuse;
        }
        match failures {
            0 => Answer::After(Duration::ZERO),
            1..=FREE => Answer::After(Duration::from_secs(1)),
            more => Answer::After(Duration::from_secs(1 << (more - FREE).min(5)).min(LONGEST_WAIT)),
        }
    }

    /// Counts a failure. `secret` is the password tried, when the mechanism shows it; only its keyed print is kept.
    pub fn failed(&mut self, address: IpAddr, account: &str, secret: Option<&[u8]>, now: Instant) {
        let at = self.pair(address, account);
        let print = secret.map(|secret| self.print(secret));
        self.make_room(now);
        let pair = self.pairs.entry(at).or_insert(Pair { failures: 0, last: now, prints: Vec::new() });
        if now.duration_since(pair.last) >= FORGET {
            pair.failures = 0;
            pair.prints.clear();
        }
        pair.last = now;
        match print {
            Some(print) if pair.prints.contains(&print) => return,
            Some(print) if pair.prints.len() < PRINTS => pair.prints.push(print),
            _ => {}
        }
        pair.failures = pair.failures.saturating_add(1);
    }

    /// Forgets the pair's failures; the address is vouched for.
    pub fn succeeded(&mut self, address: IpAddr, account: &str, now: Instant) {
        self.pairs.remove(&self.pair(address, account));
        if self.vouched.len() >= LOGIN_PAIRS {
            self.vouched.retain(|_, since| now.duration_since(*since) < VOUCH);
        }
        if self.vouched.len() < LOGIN_PAIRS {
            self.vouched.insert(network(address), now);
        }
    }

    fn vouches(&self, address: IpAddr, now: Instant) -> bool {
        self.vouched.get(&network(address)).is_some_and(|since| now.duration_since(*since) < VOUCH)
    }

    fn pair(&self, address: IpAddr, account: &str) -> (IpAddr, u64) {
        (network(address), self.print(spelled(account).as_bytes()))
    }

    fn print(&self, text: &[u8]) -> u64 {
        let digest = mac(&self.key, text);
        u64::from_le_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
    }

    fn make_room(&mut self, now: Instant) {
        if self.pairs.len() < LOGIN_PAIRS {
            return;
        }
        self.pairs.retain(|_, pair| now.duration_since(pair.last) < FORGET);
        // Still full: somebody tries from everywhere. The oldest goes, so memory stays bounded.
        if self.pairs.len() >= LOGIN_PAIRS
            && let Some(oldest) = self.pairs.iter().min_by_key(|(_, pair)| pair.last).map(|(at, _)| *at)
        {
            self.pairs.remove(&oldest);
        }
    }
}

/// Attempts here, and apart from them those through proxies. A proxy says who calls, and may lie: nobody is slowed, refused or
/// vouched for at home for that.
#[derive(Debug, Default)]
pub struct Apart {
    here: Mutex<Logins>,
    handed: Mutex<Logins>,
}

impl Apart {
    /// Looks into those of one kind; `handed`: it came through a proxy.
    pub fn with<T>(&self, handed: bool, act: impl FnOnce(&mut Logins) -> T) -> T {
        let logins = if handed { &self.handed } else { &self.here };
        act(&mut logins.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The part of an address that one party controls: an IPv6 subscriber has a /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// What one tenant may have at the most: an IPv6 /48, an IPv4 /24.
#[must_use]
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => std::net::Ipv4Addr::from_bits(v4.to_bits() >> 8 << 8).into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

/// One spelling of all that log in to the same mailbox, as the keeper reads a name: in lower case, without a `+tag`, the domain as DNS
/// has it. Else each tag were an account of its own to guess at.
fn spelled(account: &str) -> String {
    let Some((local, domain)) = account.rsplit_once('@') else { return account.to_lowercase() };
    let local = local.split_once('+').map(|(before, _)| before).filter(|before| !before.is_empty()).unwrap_or(local);
    let domain = crate::dns::in_ascii(domain).unwrap_or_else(|| domain.to_owned());
    format!("{local}@{domain}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_an_account_are_one() {
        for spelling in ["you@m\u{fc}ller.test", "YOU+1@M\u{dc}LLER.test", "you+x+y@xn--mller-kva.test"] {
            assert_eq!(spelled(spelling), "you@xn--mller-kva.test");
        }
        assert_eq!((spelled("You"), spelled("+a@B.test")), ("you".to_owned(), "+a@b.test".to_owned()));
    }

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_guesser_is_slowed_then_refused_and_forgotten_after_an_hour() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        for round in 0..REFUSED {
            assert_ne!(logins.before(HOME, "a@x", now), Answer::Refuse, "{round}");
            logins.failed(HOME, "A@x", None, now);
        }
        assert_eq!(logins.before(HOME, "a@x", now), Answer::Refuse);
        assert_eq!(logins.before(HOME, "b@x", now), Answer::After(Duration::ZERO));
        assert_eq!(logins.before(HOME, "a@x", now + FORGET), Answer::After(Duration::ZERO));
    }

    #[test]
    fn an_address_with_a_good_login_is_only_delayed() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        logins.succeeded(HOME, "a@x", now);
        for _ in 0..100 {
            logins.failed(HOME, "a@x", None, now);
        }
        assert_eq!(logins.before(HOME, "a@x", now), Answer::After(LONGEST_WAIT));
    }

    #[test]
    fn the_same_stale_secret_counts_once() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        for _ in 0..100 {
            logins.failed(HOME, "a@x", Some(b"old"), now);
        }
        assert_eq!(logins.before(HOME, "a@x", now), Answer::After(Duration::from_secs(1)));
    }

    /// It says that the family's own telephone guesses passwords, or has had good ones.
    #[test]
    fn a_proxy_that_lies_slows_nobody_at_home_and_vouches_for_nobody() {
        let (apart, now) = (Apart::default(), Instant::now());
        let answers = |apart: &Apart| [false, true].map(|handed| apart.with(handed, |it| it.before(HOME, "a@x", now)));
        let guess = |handed| (0..REFUSED).for_each(|_| apart.with(handed, |it| it.failed(HOME, "a@x", None, now)));
        guess(true);
        assert_eq!(answers(&apart), [Answer::After(Duration::ZERO), Answer::Refuse]);
        guess(false);
        assert_eq!(answers(&apart), [Answer::Refuse; 2]);
        apart.with(true, |it| it.succeeded(HOME, "b@x", now));
        assert_eq!(answers(&apart), [Answer::Refuse, Answer::After(LONGEST_WAIT)]);
    }

    #[test]
    fn a_subscribers_ipv6_addresses_are_one() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), HOME);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        for n in 0..(LOGIN_PAIRS as u32 + 50) {
            logins.failed(IpAddr::V4(n.into()), "a@x", None, now);
        }
        assert!(logins.pairs.len() <= LOGIN_PAIRS);
    }
}
