//! The keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677), and the two that Postern derives from ClientKey:
//! `check`, which the keeper compares, and `wrap`, which opens a slot and which the keeper never sees.

use ring::{digest, hkdf, hmac, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// PBKDF2 rounds of a device password: RFC 7677's minimum. The password has at least 100 random bits, so
/// a slow hash would protect nothing and cost every login.
pub const ITERATIONS: u32 = 4_096;

/// 32 secret bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// PBKDF2-HMAC-SHA-256. `iterations` of zero count as one.
#[must_use]
pub fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Secret {
    let mut out = Zeroizing::new([0; 32]);
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, out.as_mut());
    out
}

/// HMAC(SaltedPassword, "Client Key").
#[must_use]
pub fn client_key(salted_password: &[u8; 32]) -> Secret {
    Zeroizing::new(mac(salted_password, b"Client Key"))
}

/// H(ClientKey): what the keeper stores.
#[must_use]
pub fn stored_key(client_key: &[u8; 32]) -> [u8; 32] {
    sha256(client_key)
}

/// HMAC(SaltedPassword, "Server Key").
#[must_use]
pub fn server_key(salted_password: &[u8; 32]) -> [u8; 32] {
    mac(salted_password, b"Server Key")
}

/// What proves to the keeper that the whole ClientKey is known; it stores this value's hash.
#[must_use]
pub fn check(client_key: &[u8; 32]) -> [u8; 32] {
    expand(client_key, b"postern check")
}

/// What opens the device's slot.
#[must_use]
pub fn wrap(client_key: &[u8; 32]) -> Secret {
    Zeroizing::new(expand(client_key, b"postern wrap"))
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// HMAC-SHA-256.
#[must_use]
pub fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref())
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
#[must_use]
pub fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    // black_box keeps the compiler from leaving the loop early.
    std::hint::black_box(left.iter().zip(right).fold(0, |differing, (a, b)| differing | (a ^ b))) == 0
}

fn expand(key: &[u8; 32], info: &[u8]) -> [u8; 32] {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"postern slot v1").extract(key);
    let mut out = [0; 32];
    // 32 bytes are one block of SHA-256: neither step can fail.
    if let Ok(okm) = prk.expand(&[info], hkdf::HKDF_SHA256) {
        let _ = okm.fill(&mut out);
    }
    out
}

fn fixed(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7677 §3: user "user", password "pencil".
    #[test]
    fn the_rfcs_example() {
        let salt = crate::base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt, 4_096);
        let auth = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let client = client_key(&salted);
        let signature = mac(&stored_key(&client), auth);
        let proof: Vec<u8> = client.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(crate::base64::encode(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let server = mac(&server_key(&salted), auth);
        assert_eq!(crate::base64::encode(&server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn check_and_wrap_differ() {
        assert_ne!(check(&[7; 32]), *wrap(&[7; 32]));
        assert_ne!(wrap(&[7; 32]), wrap(&[8; 32]));
    }
}
