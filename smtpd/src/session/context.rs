//! What outlives the states of one session.

use std::sync::Arc;

use wire::sasl::Offer;
use wire::tls::ChannelBinding;

use crate::reply::{Reply, closing};

/// Which of the two services speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Port 25: strangers bring mail for us.
    Mx,
    /// 465 and 587: our own people send.
    Submission,
}

/// What a session must keep to; one for a whole role.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which service.
    pub service: Service,
    /// Our name, as it stands in greetings and Received.
    pub host: String,
    /// The domain of `<postmaster>`.
    pub domain: String,
    /// Largest message in bytes.
    pub largest: u64,
    /// Who may go without TLS: `*`, or domains (lower-case) that match the client's EHLO name or the
    /// sender's domain, subdomains included.
    pub clear_text: Vec<String>,
    /// The mechanisms of a login.
    pub offer: Offer,
}

impl Rules {
    /// Whether mail may come without TLS from a client of that name, for that sender domain (lower-case).
    #[must_use]
    pub fn allows_clear_text(&self, client: &str, sender_domain: &str) -> bool {
        let client = client.to_lowercase();
        let under = |name: &str, domain: &str| {
            name == domain || name.strip_suffix(domain).is_some_and(|head| head.ends_with('.'))
        };
        self.clear_text.iter().any(|allowed| allowed == "*" || under(&client, allowed) || under(sender_domain, allowed))
    }
}

/// What the driver knows of a TLS connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Version and suite, for Received.
    pub description: String,
    /// For SCRAM-SHA-256-PLUS.
    pub binding: ChannelBinding,
}

/// A proven login. Only the driver makes one, after the keeper admitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The addresses it may send as: lower-case, without tags.
    pub addresses: Vec<String>,
}

impl Owner {
    /// Whether it may send as this address. Nothing that needs quotes is anybody's: `"you+<boss@bank.example>"@...` has
    /// a tag that a mail reader may show as another's address.
    #[must_use]
    pub fn owns(&self, address: &super::path::Address) -> bool {
        address.is_dot_atom() && self.addresses.contains(&address.canonical())
    }
}

#[derive(Debug)]
pub(super) struct Context {
    pub rules: Arc<Rules>,
    pub tls: Option<TlsFacts>,
    pub login: Option<Owner>,
    /// It came through a proxy, which can mistake one house for another.
    pub proxied: bool,
    pub commands: u32,
    pub errors: u32,
    pub login_failures: u32,
}

impl Context {
    pub const fn new(rules: Arc<Rules>, tls: Option<TlsFacts>) -> Self {
        Self { rules, tls, login: None, proxied: false, commands: 0, errors: 0, login_failures: 0 }
    }

    pub fn is_submission(&self) -> bool {
        self.rules.service == Service::Submission
    }

    /// The last words when the keeper's socket has closed. Of a login's own it is not told why: the login was revoked,
    /// its mailbox suspended, removed or given a new key, or the keeper is gone.
    pub fn keeper_gone(&self) -> Reply {
        match self.login {
            Some(_) => closing("4.7.0", format!("{} this login has ended; log in again", self.rules.host)),
            None => closing("4.3.0", format!("{} is restarting a part, try again", self.rules.host)),
        }
    }

    /// Whether it may be another house's mail that comes: a proxy has brought it, and nobody knows before RCPT. What is refused
    /// for good until then would bounce a letter that the right house takes.
    pub fn may_be_anothers(&self) -> bool {
        self.proxied && !self.is_submission()
    }

    pub fn may_log_in(&self) -> bool {
        matches!(self.rules.service, Service::Submission) && self.tls.is_some() && self.login.is_none()
    }
}
