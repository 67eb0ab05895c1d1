//! The three primitives everything here is derived with, each in one line of ring.

use ring::rand::SecureRandom;
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

use super::{KeyError, Secret};

/// HKDF-SHA-256 to 32 bytes. `info` names the purpose; no two purposes share one.
pub(crate) fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Secret {
    let mut out = Zeroizing::new([0; 32]);
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    // One block of SHA-256: neither step can fail.
    if let Ok(okm) = key.expand(&[info], hkdf::HKDF_SHA256) {
        let _ = okm.fill(out.as_mut());
    }
    out
}

/// HMAC-SHA-256.
pub(crate) fn mac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref());
    out
}

/// Whether both are the same, in a time that does not depend on where they differ.
pub(crate) fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Bytes of the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut out = [0; N];
    ring::rand::SystemRandom::new().fill(&mut out).map_err(|_| KeyError::NoRandomness)?;
    Ok(out)
}
