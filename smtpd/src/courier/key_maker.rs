//! `postern role key-maker`: finds the two primes of one RSA-2048 key, hands the key to who started it, and ends.
//!
//! Hostile input: none. Holds: the key, for as long as it takes. Can never: reach a disk or a network; it reads nothing
//! and answers nobody, so that how long it takes says nothing to anybody.
//! Speaks: FIPS 186-5 §A.1.3 (probable primes), RFC 8017 §A.1.2.

use std::process::ExitCode;

use filter_sandbox::Role;
use num_bigint::BigUint;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::RsaKeyPair;
use serde::{Deserialize, Serialize};
use tracing::error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bits of a key: what everybody verifies and nobody breaks (RFC 8301 §3.2), and what fits into a TXT record.
pub const BITS: usize = 2_048;
/// The public exponent.
const EXPONENT: u32 = 65_537;
/// Rounds of Miller and Rabin with random bases: FIPS 186-5 table B.1 asks for 5 for primes of this size.
const ROUNDS: usize = 40;
/// Small primes are tried first.
const SMALL: u32 = 4_000;

/// The start packet.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// Bits of the key.
    pub bits: usize,
}

/// The answer.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Made {
    /// PKCS#1.
    pub der: Vec<u8>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made(..)")
    }
}

/// The role, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    let story = || -> Result<(), Box<dyn std::error::Error>> {
        let confined = filter_sandbox::confine(Role::KeyMaker)?;
        let (Start { bits }, _) = wire::control::start(&confined.control)?;
        let der = make(bits, &SystemRandom::new()).ok_or("no randomness")?;
        confined.control.send(&Made { der: der.to_vec() }, &[])?;
        Ok(())
    };
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "no key was made");
            ExitCode::FAILURE
        }
    }
}

/// A key, PKCS#1, that `ring` accepts: it looks at the primes, the modulus and the exponents.
fn make(bits: usize, random: &SystemRandom) -> Option<Zeroizing<Vec<u8>>> {
    let small = small_primes();
    loop {
        let (p, q) = (prime(bits / 2, random, &small)?, prime(bits / 2, random, &small)?);
        // The larger first, as RFC 8017 and `ring` have it.
        let (p, q) = if p > q { (p, q) } else { (q, p) };
        if let Some(der) = key(&p, &q).filter(|der| RsaKeyPair::from_der(der).is_ok()) {
            return Some(der);
        }
    }
}

/// A prime with its two highest bits set, so that the product of two has all its bits, and which fits the exponent.
fn prime(bits: usize, random: &SystemRandom, small: &[u32]) -> Option<BigUint> {
    loop {
        let mut bytes = Zeroizing::new(vec![0; bits / 8]);
        random.fill(&mut bytes).ok()?;
        *bytes.first_mut()? |= 0xc0;
        *bytes.last_mut()? |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        let divided = small.iter().any(|prime| &candidate % prime == BigUint::ZERO);
        if !divided && &candidate % EXPONENT != BigUint::from(1u32) && is_prime(&candidate, random)? {
            return Some(candidate);
        }
    }
}

fn small_primes() -> Vec<u32> {
    (3..SMALL).step_by(2).filter(|n| (3..).step_by(2).take_while(|d| d * d <= *n).all(|d| n % d != 0)).collect()
}

/// Miller and Rabin (FIPS 186-5 §B.3.1); `None`: no randomness.
fn is_prime(candidate: &BigUint, random: &SystemRandom) -> Option<bool> {
    let one = BigUint::from(1u32);
    let less = candidate - &one;
    let twos = less.trailing_zeros().unwrap_or(0);
    let odd = &less >> twos;
    for _ in 0..ROUNDS {
        let mut bytes = vec![0; BITS / 16];
        random.fill(&mut bytes).ok()?;
        let base = BigUint::from_bytes_be(&bytes) % candidate;
        if base <= one || base == less {
            continue;
        }
        let mut power = base.modpow(&odd, candidate);
        let mut witness = power != one && power != less;
        for _ in 1..twos {
            if !witness {
                break;
            }
            power = &power * &power % candidate;
            witness = power != less;
        }
        if witness {
            return Some(false);
        }
    }
    Some(true)
}

/// RFC 8017 §A.1.2: version, n, e, d, p, q, d mod (p-1), d mod (q-1), q^-1 mod p.
fn key(p: &BigUint, q: &BigUint) -> Option<Zeroizing<Vec<u8>>> {
    let (one, e) = (BigUint::from(1u32), BigUint::from(EXPONENT));
    let (less_p, less_q) = (p - &one, q - &one);
    let d = e.modinv(&(&less_p * &less_q / gcd(&less_p, &less_q)))?;
    let numbers = [BigUint::ZERO, p * q, e, d.clone(), p.clone(), q.clone(), &d % &less_p, &d % &less_q, q.modinv(p)?];
    let content = Zeroizing::new(numbers.iter().flat_map(integer).collect::<Vec<u8>>());
    Some(Zeroizing::new(super::dkim::der(0x30, &content)))
}

fn gcd(a: &BigUint, b: &BigUint) -> BigUint {
    let (mut a, mut b) = (a.clone(), b.clone());
    while b != BigUint::ZERO {
        (a, b) = (b.clone(), a % b);
    }
    a
}

/// DER's INTEGER: never negative, so a zero byte in front where the highest bit is set.
fn integer(number: &BigUint) -> Vec<u8> {
    let mut bytes = number.to_bytes_be();
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    super::dkim::der(0x02, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_others() {
        let random = SystemRandom::new();
        let is = |text: &str| is_prime(&text.parse().unwrap(), &random).unwrap();
        // 2^127 - 1, and 2^89 - 1 times it; Carmichael numbers fool a plain Fermat test.
        assert!(is("170141183460469231731687303715884105727"));
        assert!(!is("105312291668557186697918027683670432318895095400549111254310977536"));
        assert!(!is("105312291668557186697918027513529248857825363712845395370205251"));
        for carmichael in ["561", "41041", "825265", "321197185"] {
            assert!(!is(carmichael), "{carmichael}");
        }
        assert_eq!(small_primes()[..5], [3, 5, 7, 11, 13]);
        assert_eq!(integer(&BigUint::from(0x80u32)), [2, 2, 0, 0x80]);
        assert_eq!(integer(&BigUint::ZERO), [2, 1, 0]);
    }

    #[test]
    fn a_key_that_signs() {
        let der = make(BITS, &SystemRandom::new()).unwrap();
        let signers =
            super::super::dkim::Signers::new("home.test", &[("p1r", super::super::dkim::Kind::Rsa, &der)]).unwrap();
        assert!(signers.sign(b"From: a@home.test\r\n\r\nhi\r\n").unwrap().contains("a=rsa-sha256"));
        assert!(super::super::dkim::record(super::super::dkim::Kind::Rsa, &der).unwrap().len() > 350);
    }
}
