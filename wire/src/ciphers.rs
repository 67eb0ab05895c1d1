//! Which ciphers TLS is spoken with, and in which order: ChaCha20-Poly1305 first where the processor has no AES.
//!
//! A Raspberry Pi (also a Pi 4: its cores were built without that part of ARMv8) does AES in software, several times
//! slower than ChaCha20; and ring uses no AES hardware in 32-bit ARM programs.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

/// What every TLS configuration of the project is made with.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ordered(has_aes()))
}

/// A client in a phone asks for ChaCha20 by itself when it has no AES; where this side has none, its own order counts.
pub fn choose(config: &mut ServerConfig) {
    config.ignore_client_order = !has_aes();
}

fn ordered(has_aes: bool) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !has_aes {
        // TLS 1.3's stay before TLS 1.2's.
        provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_chacha(suite)));
    }
    provider
}

fn is_chacha(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Whether ring does AES-GCM in hardware here.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_aes_chacha_comes_first_in_each_version() {
        let suites = ordered(false).cipher_suites;
        assert_eq!(suites.len(), ring::default_provider().cipher_suites.len());
        let first = |tls13: bool| suites.iter().find(|suite| suite.tls13().is_some() == tls13).unwrap();
        assert!(is_chacha(first(true)) && is_chacha(first(false)));
        let firsts = suites.iter().take_while(|suite| suite.tls13().is_some()).count();
        assert!(suites[firsts..].iter().all(|suite| suite.tls13().is_none()), "TLS 1.3 comes first");
    }

    #[test]
    fn with_aes_the_order_is_rings() {
        assert_eq!(ordered(true).cipher_suites, ring::default_provider().cipher_suites);
    }

    #[cfg(target_arch = "arm")]
    #[test]
    fn a_32_bit_arm_has_none() {
        assert!(!has_aes());
        assert!(is_chacha(&provider().cipher_suites[0]));
    }
}
