//! What a home and an outbound proxy say to each other on their control connection.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::stream::Ticket;

/// A host name to be resolved by the proxy; the port is always 25.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Host(String);

impl Host {
    /// `None` for what is neither a host name of at least two labels nor an IP address. Lower case.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if name.parse::<IpAddr>().is_ok() {
            return Some(Self(name.to_ascii_lowercase()));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let labels = name.split('.').count() >= 2 && name.split('.').all(is_label);
        // A name whose last label is a number is an address in disguise (0x7f.1, 2130706433 ...).
        let last = name.rsplit('.').next().is_some_and(|last| last.bytes().any(|byte| byte.is_ascii_alphabetic()));
        let hex = name.rsplit('.').next().is_some_and(|last| last.starts_with("0x") || last.starts_with("0X"));
        (name.len() <= limits::HOST && labels && last && !hex).then(|| Self(name.to_ascii_lowercase()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.bytes().all(harmless) && !label.starts_with('-') && !label.ends_with('-')
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).ok_or_else(|| serde::de::Error::custom("this is no host"))
    }
}

/// From a home to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHome {
    /// Connect me with port 25 of this host.
    Connect {
        /// The home's number for it; the answer carries it.
        request: u32,
        /// Which host.
        host: Host,
    },
    /// How much may I still send?
    AskBudget,
}

/// From a proxy to a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHome {
    /// Fetch the stream: the far server is at its other end.
    Connected {
        /// As asked.
        request: u32,
        /// To fetch it with.
        ticket: Ticket,
        /// Which of the host's addresses it is.
        address: IpAddr,
    },
    /// Not so.
    Refused {
        /// As asked.
        request: u32,
        /// Why not.
        why: Refusal,
    },
    /// What was asked for.
    Budget(Budget),
}

/// Why a connection is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The bucket is empty; ask again in so many seconds.
    Spent(u32),
    /// Too many sessions today, or within a minute; ask again in so many seconds.
    Sessions(u32),
    /// Too many different networks within an hour; ask again in so many seconds.
    Networks(u32),
    /// Too many sessions at once.
    Concurrent,
    /// The name has only addresses that are not public: no stranger may be sent there.
    NotPublic,
    /// There is no such host.
    NoSuchHost,
    /// The DNS did not answer.
    Unresolved,
    /// Nobody answers at port 25 of any of its addresses.
    Unreachable,
    /// The proxy cannot write down what would be spent, or is full.
    Busy,
    /// Too many hosts looked up within a minute; ask again in so many seconds.
    LookUps(u32),
}

impl Refusal {
    /// Whether trying again later is of use.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        !matches!(self, Self::NotPublic | Self::NoSuchHost)
    }

    /// When, if that is known.
    #[must_use]
    pub const fn seconds(&self) -> Option<u32> {
        match self {
            Self::Spent(seconds) | Self::Sessions(seconds) | Self::Networks(seconds) | Self::LookUps(seconds) => {
                Some(*seconds)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spent(seconds) => {
                write!(f, "the outbound proxy's budget is spent; there is more in {seconds} seconds")
            }
            Self::Sessions(seconds) => write!(f, "too many sessions; the next in {seconds} seconds"),
            Self::Networks(seconds) => {
                write!(f, "too many different networks this hour; the next in {seconds} seconds")
            }
            Self::Concurrent => f.write_str("too many sessions through the outbound proxy at once"),
            Self::NotPublic => f.write_str("the host has no public address, or one of the proxy's own machine"),
            Self::NoSuchHost => f.write_str("there is no such host"),
            Self::Unresolved => f.write_str("the outbound proxy could not resolve the host"),
            Self::Unreachable => f.write_str("port 25 of the host does not answer the outbound proxy"),
            Self::Busy => f.write_str("the outbound proxy cannot serve anybody just now"),
            Self::LookUps(seconds) => write!(f, "too many hosts looked up; the next in {seconds} seconds"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What a home has and has spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Units left now.
    pub left: u64,
    /// Units the bucket holds.
    pub bucket: u64,
    /// Units that come back in an hour.
    pub hourly: u64,
    /// Units spent today, and how many a day has.
    pub today: (u64, u64),
    /// Sessions today, and how many a day has.
    pub sessions: (u32, u32),
    /// Networks within the last hour, and how many an hour has.
    pub networks: (u32, u32),
    /// MiB of letters today, and how many a day has.
    pub megabytes: (u64, u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["mx.example", "MX.Example.", "a_b.example", "192.0.2.1", "2001:db8::1", "xn--4ca.example"] {
            assert!(Host::new(good).is_some(), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            ".",
            "localhost",
            "a..b",
            "-a.example",
            "a-.example",
            "a.example:25",
            "a b.example",
            "127.1",
            "0x7f.1",
            "2130706433",
            "a.0x7f",
            "a.1",
            "[::1]",
            "a.example/25",
            "a.example\r\n",
            &long,
        ] {
            assert_eq!(Host::new(bad), None, "{bad}");
        }
        assert_eq!(Host::new("MX.Example.").unwrap().as_str(), "mx.example");
    }
}
