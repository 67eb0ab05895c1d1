//! The pairing code: what an operator gives a family, on paper or over the telephone.
//!
//! ```text
//! clean.example:7025/g0v1-8hwk-...-m4qd      where : which port / fourteen groups of four
//! ```
//!
//! The groups are 35 bytes: the kind of proxy (1), the minute it expires (4), the fingerprint of the proxy's key (16),
//! the one-time secret (10), and the beginning of a digest over all of it, the address included (4), so that a slip
//! of the pen is told at once and not by a time-out.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use zeroize::Zeroizing;

use crate::base32;
use crate::keys::{Fingerprint, OneTimeSecret};
use crate::limits;

/// Which of the pair it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mail comes in through it.
    Inbound,
    /// Mail goes out through it.
    Outbound,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Inbound => 1,
            Self::Outbound => 2,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Inbound),
            2 => Some(Self::Outbound),
            _ => None,
        }
    }
}

/// Where a proxy is dialled: a name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl Place {
    /// `None` for a host that is neither a name nor an address, or port 0.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
        let formed = !host.is_empty() && host.len() <= limits::NAME && host.bytes().all(harmless);
        let colons = !host.contains(':') || host.parse::<std::net::Ipv6Addr>().is_ok();
        (formed && colons && port != 0).then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    /// The host, as name resolution wants it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Place {
    type Err = BadCode;

    fn from_str(text: &str) -> Result<Self, BadCode> {
        let (host, port) = text.rsplit_once(':').ok_or(BadCode::Place)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(BadCode::Place)?,
            None if host.contains(':') => return Err(BadCode::Place),
            None => host,
        };
        port.parse().ok().and_then(|port| Self::new(host, port)).ok_or(BadCode::Place)
    }
}

/// A code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingCode {
    /// What it pairs with.
    pub kind: Kind,
    /// Where that is.
    pub place: Place,
    /// Whom it must turn out to be.
    pub proxy: Fingerprint,
    /// Said once.
    pub secret: OneTimeSecret,
    /// Minutes since 1970 from which on it is worth nothing.
    pub expires: u32,
}

/// Why a text is no code: for the person who typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCode {
    /// No slash.
    Form,
    /// What stands before the slash.
    Place,
    /// What stands behind it.
    Groups,
    /// The digest is another.
    Mistyped,
    /// Of a later version.
    Unknown,
}

impl fmt::Display for BadCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "a pairing code looks like clean.example:7025/g0v1-8hwk-... (one slash, fourteen groups of four)"
            }
            Self::Place => "what stands before the slash must be a host and a port, as in clean.example:7025",
            Self::Groups => "behind the slash there must be fourteen groups of four letters or digits",
            Self::Mistyped => "the code is mistyped: some letter or digit of it is another",
            Self::Unknown => "the code is of a newer version than this program",
        })
    }
}

impl std::error::Error for BadCode {}

const PAYLOAD: usize = 31;
const CHECK: usize = 4;

impl PairingCode {
    /// Whether it is too late, by this side's clock.
    #[must_use]
    pub fn is_expired(&self, unix_seconds: u64) -> bool {
        unix_seconds / 60 >= u64::from(self.expires)
    }

    fn payload(&self) -> Zeroizing<[u8; PAYLOAD]> {
        let mut bytes = Zeroizing::new([0; PAYLOAD]);
        bytes[0] = self.kind.byte();
        bytes[1..5].copy_from_slice(&self.expires.to_be_bytes());
        bytes[5..21].copy_from_slice(&self.proxy.0);
        bytes[21..].copy_from_slice(&self.secret.0);
        bytes
    }
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.payload();
        let mut whole = Zeroizing::new([0; PAYLOAD + CHECK]);
        whole[..PAYLOAD].copy_from_slice(&payload[..]);
        whole[PAYLOAD..].copy_from_slice(&check(&self.place, &payload));
        write!(f, "{}/{}", self.place, base32::grouped(&base32::encode(&whole[..]), 4))
    }
}

impl FromStr for PairingCode {
    type Err = BadCode;

    fn from_str(text: &str) -> Result<Self, BadCode> {
        let (place, groups) = text.trim().split_once('/').ok_or(BadCode::Form)?;
        let place: Place = place.parse()?;
        let whole: [u8; PAYLOAD + CHECK] = base32::decode(groups).ok_or(BadCode::Groups)?;
        let (payload, given) = whole.split_first_chunk::<PAYLOAD>().ok_or(BadCode::Groups)?;
        if given != check(&place, payload) {
            return Err(BadCode::Mistyped);
        }
        read(place, payload).ok_or(BadCode::Unknown)
    }
}

fn read(place: Place, payload: &[u8; PAYLOAD]) -> Option<PairingCode> {
    let (kind, rest) = payload.split_first()?;
    let (expires, rest) = rest.split_first_chunk::<4>()?;
    let (proxy, secret) = rest.split_first_chunk::<16>()?;
    Some(PairingCode {
        kind: Kind::of(*kind)?,
        place,
        proxy: Fingerprint(*proxy),
        secret: OneTimeSecret(secret.try_into().ok()?),
        expires: u32::from_be_bytes(*expires),
    })
}

fn check(place: &Place, payload: &[u8; PAYLOAD]) -> [u8; CHECK] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"postern pairing code");
    context.update(place.to_string().as_bytes());
    context.update(payload);
    let mut out = [0; CHECK];
    out.copy_from_slice(&context.finish().as_ref()[..CHECK]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(host: &str) -> PairingCode {
        PairingCode {
            kind: Kind::Outbound,
            place: Place::new(host, 7025).unwrap(),
            proxy: Fingerprint([3; 16]),
            secret: OneTimeSecret([9; 10]),
            expires: 29_900_000,
        }
    }

    #[test]
    fn it_is_read_back_however_it_is_typed() {
        for host in ["clean.example", "192.0.2.1", "2001:db8::1"] {
            let code = sample(host);
            let text = code.to_string();
            assert_eq!(text.parse(), Ok(code.clone()), "{text}");
            assert_eq!(format!("  {} ", text.to_uppercase()).parse(), Ok(code.clone()));
            let (place, groups) = text.split_once('/').unwrap();
            assert_eq!(format!("{place}/{}", groups.replace('-', " ")).parse(), Ok(code));
            assert_eq!(groups.split('-').count(), 14);
        }
    }

    #[test]
    fn every_single_slip_is_told() {
        let text = sample("clean.example").to_string();
        for (at, original) in text.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()) {
            for slip in "0189adxz".chars().filter(|slip| *slip != original) {
                let mut wrong = text.clone();
                wrong.replace_range(at..=at, &slip.to_string());
                assert!(wrong.parse::<PairingCode>().is_err(), "{wrong}");
            }
        }
        for bad in
            ["", "clean.example:7025", "clean.example/0000", "a b:1/0000", ":1/0", "x:0/0", "[::1:5/0", "::1:5/0"]
        {
            assert!(bad.parse::<PairingCode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_expires_at_its_minute() {
        let code = sample("clean.example");
        assert!(!code.is_expired(29_900_000 * 60 - 1));
        assert!(code.is_expired(29_900_000 * 60));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".{0,120}") {
            let _ = text.parse::<PairingCode>();
        }
    }
}
