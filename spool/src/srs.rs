//! Rewriting the sender of mail that an alias passes on to another house (SRS): the far server then finds our SPF
//! record, and a bounce finds its way back through us.
//!
//! ```text
//! anna@far.test  ─►  SRS0=hash=day=far.test=anna@home.test
//! SRS0=h=d=far.test=anna@first.test  ─►  SRS1=hash=first.test==h=d=far.test=anna@home.test
//! ```

use ring::hmac;

/// Days a rewritten sender takes bounces.
const WAY_BACK: u32 = 30;
/// Octets of a local part (RFC 5321 §4.5.3.1.1).
const LOCAL_PART: usize = 64;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters of the hash: 40 bits, each of which costs a forger a mail.
const HASH: usize = 8;
/// The day counts in two letters, so it comes again after so many days.
const DAYS: u32 = 1_024;

/// Rewrites, and finds back.
pub struct Rewriter {
    key: hmac::Key,
    domain: String,
}

impl std::fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewriter").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// Why an address leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWayBack {
    /// It is an address like any other.
    NotRewritten,
    /// It was not made here, or has been changed.
    Forged,
    /// It was, too long ago.
    Expired,
}

impl Rewriter {
    /// With a key that only we know, for a domain of ours.
    #[must_use]
    pub fn new(key: &[u8; 32], domain: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), domain: domain.to_owned() }
    }

    /// The sender under which a letter goes on; `None` when it would be too long for RFC 5321 §4.5.3.1.1.
    #[must_use]
    pub fn forward(&self, local: &str, domain: &str, day: u32) -> Option<String> {
        // A local part that needs quotes would need them again, in the middle.
        let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        if !local.chars().all(plain) {
            return None;
        }
        let made = match parts(local) {
            // Passed on before: only the last two stand in it, so that it does not grow with every house.
            Some(("SRS0", rest)) => self.again(domain, rest),
            Some((_, rest)) => {
                let (_, rest) = rest.split_once('=')?;
                let (first, rest) = rest.split_once("==")?;
                self.again(first, rest)
            }
            None => {
                let day = letters(day % DAYS, 2);
                let hash = self.hash(&[&day, domain, local]);
                format!("SRS0={hash}={day}={domain}={local}")
            }
        };
        (made.len() <= LOCAL_PART).then(|| format!("{made}@{}", self.domain))
    }

    fn again(&self, first: &str, rest: &str) -> String {
        let hash = self.hash(&[first, rest]);
        format!("SRS1={hash}={first}=={rest}")
    }

    /// Where a bounce to such a local part goes.
    ///
    /// # Errors
    /// [`NoWayBack`].
    pub fn back(&self, local: &str, day: u32) -> Result<String, NoWayBack> {
        let (kind, rest) = parts(local).ok_or(NoWayBack::NotRewritten)?;
        let (hash, rest) = rest.split_once('=').ok_or(NoWayBack::Forged)?;
        if kind == "SRS1" {
            let (first, rest) = rest.split_once("==").ok_or(NoWayBack::Forged)?;
            self.check(hash, &[first, rest])?;
            return Ok(format!("SRS0={rest}@{first}"));
        }
        let (made, rest) = rest.split_once('=').ok_or(NoWayBack::Forged)?;
        let (domain, local) = rest.split_once('=').ok_or(NoWayBack::Forged)?;
        self.check(hash, &[made, domain, local])?;
        let made = number(made).ok_or(NoWayBack::Forged)?;
        let age = (day % DAYS + DAYS - made) % DAYS;
        if age > WAY_BACK { Err(NoWayBack::Expired) } else { Ok(format!("{local}@{domain}")) }
    }

    fn check(&self, hash: &str, parts: &[&str]) -> Result<(), NoWayBack> {
        // Servers on the way may have changed the case.
        let (expected, given) = (self.hash(parts), hash.to_ascii_uppercase());
        // In one time, wherever they differ.
        let differ = expected.bytes().zip(given.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
        if differ == 0 && expected.len() == given.len() { Ok(()) } else { Err(NoWayBack::Forged) }
    }

    fn hash(&self, parts: &[&str]) -> String {
        let tag = hmac::sign(&self.key, parts.join("\0").to_lowercase().as_bytes());
        tag.as_ref()[..HASH].iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
    }
}

/// `SRS0` or `SRS1`, and what follows.
fn parts(local: &str) -> Option<(&'static str, &str)> {
    let (head, rest) = (local.get(..4)?, local.get(5..)?);
    // Other makers divide with - or + here.
    matches!(local.as_bytes().get(4), Some(b'=' | b'-' | b'+')).then_some(())?;
    ["SRS0", "SRS1"].into_iter().find(|kind| head.eq_ignore_ascii_case(kind)).map(|kind| (kind, rest))
}

fn letters(mut number: u32, count: usize) -> String {
    let mut out = vec![0; count];
    for place in out.iter_mut().rev() {
        *place = ALPHABET[(number % 32) as usize];
        number /= 32;
    }
    out.into_iter().map(char::from).collect()
}

fn number(text: &str) -> Option<u32> {
    let digit = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte.to_ascii_uppercase());
    let digits = (text.len() == 2).then(|| text.bytes().map(digit))?;
    digits.into_iter().try_fold(0, |number, digit| Some(number * 32 + u32::try_from(digit?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn home() -> Rewriter {
        Rewriter::new(&[7; 32], "home.test")
    }

    fn local(address: &str) -> &str {
        address.rsplit_once('@').unwrap().0
    }

    #[test]
    fn there_and_back() {
        let made = home().forward("anna", "far.test", 20_000).unwrap();
        assert!(made.starts_with("SRS0=") && made.ends_with("=far.test=anna@home.test"), "{made}");
        assert_eq!(home().back(local(&made), 20_000).as_deref(), Ok("anna@far.test"));
        assert_eq!(home().back(&local(&made).to_lowercase(), 20_030).as_deref(), Ok("anna@far.test"));
        assert_eq!(home().back(local(&made), 20_031), Err(NoWayBack::Expired));
    }

    #[test]
    fn only_what_was_made_here() {
        let made = home().forward("anna", "far.test", 0).unwrap();
        assert_eq!(Rewriter::new(&[8; 32], "home.test").back(local(&made), 0), Err(NoWayBack::Forged));
        let other = local(&made).replace("anna", "ben");
        assert_eq!(home().back(&other, 0), Err(NoWayBack::Forged));
        assert_eq!(home().back("anna", 0), Err(NoWayBack::NotRewritten));
        for forged in ["SRS0=", "SRS0=A=B", "SRS0=AAAAAAAA=AA=far.test=anna", "SRS1=x", "SRS1=x=far.test"] {
            assert_eq!(home().back(forged, 0), Err(NoWayBack::Forged), "{forged}");
        }
    }

    #[test]
    fn through_three_houses_it_grows_no_more() {
        let first = home().forward("anna", "far.test", 1).unwrap();
        let second = Rewriter::new(&[1; 32], "second.test").forward(local(&first), "home.test", 1).unwrap();
        let third_house = Rewriter::new(&[2; 32], "third.test");
        let third = third_house.forward(local(&second), "second.test", 1).unwrap();
        assert!(third.len() <= second.len() && third.starts_with("SRS1="), "{third}");
        // Back in one step to the house that can read it.
        assert_eq!(third_house.back(local(&third), 1).unwrap(), first);
        assert_eq!(home().back(local(&first), 1).unwrap(), "anna@far.test");
    }

    #[test]
    fn what_is_not_rewritten() {
        // `SRS0=`, hash, `=`, day, `=`, domain, `=`: 26 octets here.
        assert_eq!(local(&home().forward(&"a".repeat(38), "far.test", 1).unwrap()).len(), 64);
        assert_eq!(home().forward(&"a".repeat(39), "far.test", 1), None);
        assert_eq!(home().forward(&"a".repeat(200), "far.test", 1), None);
        assert_eq!(home().forward("an na", "far.test", 1), None);
    }

    proptest! {
        #[test]
        fn any_sender_comes_back(local_part in "[a-z0-9.+=_-]{1,28}", domain in "[a-z0-9-]{1,13}\\.test", day in 0u32..100_000) {
            prop_assume!(parts(&local_part).is_none());
            let made = home().forward(&local_part, &domain, day).unwrap();
            prop_assert_eq!(home().back(local(&made), day + 3).unwrap(), format!("{local_part}@{domain}"));
        }

        #[test]
        fn any_local_part(local in "(SRS[01][=+-])?[ -~]{0,60}") {
            let _ = home().back(&local, 5);
            let _ = home().forward(&local, "far.test", 5);
        }
    }
}
