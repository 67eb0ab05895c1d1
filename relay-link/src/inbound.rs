//! What an inbound proxy and a home say to each other on their control connection.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::stream::Ticket;

/// What the client came for: which port it dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Service {
    /// 25; the clear phase is over, what flows begins with a ClientHello.
    Mail,
    /// 465.
    Submission,
    /// 993.
    Imap,
    /// 443.
    Web,
}

/// A name as a client gave it: at most [`limits::NAME`] printable ASCII bytes. Anything else is no name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ClientName(String);

impl ClientName {
    /// `None` when it is none.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let formed = !name.is_empty() && name.len() <= limits::NAME && name.bytes().all(|byte| byte.is_ascii_graphic());
        formed.then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ClientName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).ok_or_else(|| serde::de::Error::custom("this is no name"))
    }
}

/// Somebody is calling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// To fetch it with.
    pub ticket: Ticket,
    /// What for.
    pub service: Service,
    /// Who: for SPF, bans and logs.
    pub client: SocketAddr,
    /// The address it dialled.
    pub dialled: SocketAddr,
    /// What it called itself in clear.
    pub ehlo: Option<ClientName>,
    /// Whom it asked for.
    pub sni: Option<ClientName>,
}

/// From a proxy to a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHome {
    /// Fetch this stream.
    Call(Call),
}

/// From a home to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHome {
    /// It will not fetch the stream: that service is not open here.
    Declined(u64),
    /// The sender of this stream had mail for a domain that is not served here: it was sent to the wrong home.
    WrongHome {
        /// Which stream.
        number: u64,
        /// The domain; worth only as much as what it saves is: one more deferral.
        domain: Option<ClientName>,
    },
}
