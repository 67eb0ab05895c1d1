//! Sizes as people write them: `50 MB`, `512 KiB`, `10GB`, or plain bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Places behind the point.
const PLACES: usize = 3;

/// Unit, in the order tried: the longer names first.
const UNITS: [(&str, u64); 14] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("t", 1_000_000_000_000),
    ("b", 1),
    ("", 1),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let (digits, unit) = lower.split_at(lower.find(|c: char| !number(c)).unwrap_or(lower.len()));
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, factor)| *factor);
        factor
            .and_then(|factor| times(digits, factor))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size; write for example `50 MB`, `10 GB` or a number of bytes"))
    }
}

/// `1.5` times a unit: rounded down.
fn times(digits: &str, factor: u64) -> Option<u64> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    if part.len() > PLACES {
        return None;
    }
    let part = part.parse::<u64>().ok()?.checked_mul(factor)? / 10_u64.pow(u32::try_from(part.len()).ok()?);
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: [(&str, u64); 4] =
            [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
        for (name, factor) in SHOWN {
            if self.0 >= factor {
                let tenths = self.0 / (factor / 10);
                return match tenths % 10 {
                    0 => write!(f, "{} {name}", tenths / 10),
                    tenth => write!(f, "{}.{tenth} {name}", tenths / 10),
                };
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"50 MB\"")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
                u64::try_from(number).map(Bytes).map_err(|_| E::custom("a size is not negative"))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Bytes, E> {
                Ok(Bytes(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("50 MB", 50_000_000),
            ("10GB", 10_000_000_000),
            ("64 KiB", 65_536),
            ("0", 0),
            ("1k", 1000),
            ("1.5 GB", 1_500_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for bad in ["", "MB", "-1", "5 parsecs", "99999999999 TB", "1.5.5 GB", "1. GB", ".5 GB", "1.2345 GB", "."] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_rounded_down() {
        assert_eq!(Bytes(10_000_000_000).to_string(), "10 GB");
        assert_eq!(Bytes(1_999_999).to_string(), "1.9 MB");
        assert_eq!(Bytes(12).to_string(), "12 bytes");
    }
}
