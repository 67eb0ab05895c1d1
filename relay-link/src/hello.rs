//! The first words on a control connection: what the home wants, and the proxy's answer.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::inbound::ClientName;
use crate::keys::OneTimeSecret;
use crate::limits::NAME;
use crate::outbound::Budget;

/// Version of everything said on control connections. It is also in the ALPN name, so that two versions part in the
/// handshake; here it is for the message that says which.
pub const VERSION: u16 = 1;

/// One run of one box: drawn at random when its link starts. A second box with the same key (a restored backup, a
/// copied card) has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run(pub [u8; 16]);

/// What a home says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u16,
    /// Which run of which box.
    pub run: Run,
    /// What it wants.
    pub want: Want,
}

/// What a home wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// To be known from now on by the key it has shown. The connection ends after the answer.
    Pair(OneTimeSecret),
    /// To be served: it is known.
    Serve,
    /// To hear what it may still send; beside its link, which goes on. The connection ends after the answer.
    Budget,
    /// To hear whether its link is up; in the same way.
    Presence,
    /// To hear where the world is to find it by this host name; in the same way.
    Place(ClientName),
}

/// The proxy's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// As it wanted. The name is the one the operator gave.
    Welcome {
        /// What the operator calls this home.
        name: String,
        /// What the proxy calls itself: what its address's PTR record says, and the EHLO name of mail through it.
        proxy: String,
    },
    /// Not so.
    Refused(Refusal),
    /// What it may still send.
    Budget(Budget),
    /// For how many seconds its link has been up, if it is.
    Present(Option<u64>),
    /// Where that host name is to lead: at most [`PLACES`](crate::limits::PLACES) of the proxy's addresses. None of them: the proxy
    /// does not know just now. No answer: that name is not this home's.
    Place(Option<Vec<IpAddr>>),
}

/// Why a home is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another version of the link.
    Version(u16),
    /// No home has this key: never paired, or revoked.
    Unknown,
    /// The code is unknown, was used by another box, or is too old.
    Code,
    /// Another box serves under this name just now.
    Taken {
        /// The name.
        name: String,
        /// For how many seconds.
        since: u64,
    },
    /// The proxy is full, or its disk is.
    Busy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(theirs) => {
                write!(
                    f,
                    "the proxy speaks version {theirs} of the link, this box {VERSION}: bring the older up to date"
                )
            }
            Self::Unknown => f.write_str(
                "the proxy does not know this box: ask its operator for a new code, then run `postern pair CODE`",
            ),
            Self::Code => {
                f.write_str("the code is too old, was used already, or is of another proxy: ask for a new one")
            }
            // The proxy's word, for a log and a terminal.
            Self::Taken { name, since } => write!(
                f,
                "another box has been connected as {name} for {since} seconds: is a copy of this one running? \
                 Stop it, or ask the operator to revoke {name} and pair anew",
                name = name.chars().filter(char::is_ascii_graphic).take(NAME).collect::<String>()
            ),
            Self::Busy => f.write_str("the proxy cannot take this box on just now"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_moves_no_cursor() {
        let name = "mail.alice.example\u{1b}[2J\r\nall is well".repeat(100);
        let said = Refusal::Taken { name, since: 5 }.to_string();
        assert!(said.starts_with("another box has been connected as mail.alice.example[2Jalliswell"), "{said}");
        assert!(!said.contains(char::is_control) && said.len() < 1_000, "{said}");
    }
}
