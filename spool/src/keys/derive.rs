//! Key derivation and randomness; the other primitives are in `wire::scram`.

use ring::hkdf;
use ring::rand::SecureRandom;
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

/// Bytes of the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut out = [0; N];
    ring::rand::SystemRandom::new().fill(&mut out).map_err(|_| KeyError::NoRandomness)?;
    Ok(out)
}
