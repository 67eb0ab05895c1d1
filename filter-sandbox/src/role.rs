//! The roles: every kind of process of the box and of its proxies, by name.

use std::{fmt, str::FromStr};

use crate::walls::{self, Walls};

/// First host uid of the roles' range; used when the box is started as root.
pub const FIRST_UID: u32 = 60_600;
/// One past the last host uid of the range.
pub const END_UID: u32 = 60_640;

/// One kind of process. What each may do is its [`Walls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Owns the spool, cannot open mail.
    Keeper,
    /// Port 25.
    Mx,
    /// Makes the workers of `mx`.
    MxZygote,
    /// Ports 465 and 587.
    Submission,
    /// Makes the workers of `submission`.
    SubmissionZygote,
    /// Port 993 up to the login.
    Login,
    /// Makes one owner process for each logged-in mailbox.
    OwnerZygote,
    /// One logged-in mailbox. Cloned by [`Role::OwnerZygote`], never started by `up`.
    Owner,
    /// Makes the workers of the owners.
    ImapZygote,
    /// Sends what leaves.
    Courier,
    /// Makes the workers of `courier`.
    CourierZygote,
    /// Finds the primes of one RSA key, and ends. Started by `up` when a key is wanted.
    KeyMaker,
    /// Keeps the connections with the proxies, hands on what comes through them.
    Link,
    /// Takes connections for many homes at a clean address, on a rented machine.
    InboundProxy,
    /// Lets homes connect out from a clean address, on a rented machine.
    OutboundProxy,
    /// Asks the DNS for `mx`.
    Resolver,
    /// Makes the external scanner's processes.
    ScannerZygote,
    /// One message. Cloned by a zygote, never started by `up`.
    Worker,
    /// One message for the external scanner. Cloned by [`Role::ScannerZygote`].
    Scanner,
}

impl Role {
    /// Every role, in the order of their host uids.
    pub const ALL: [Self; 19] = [
        Self::Keeper,
        Self::Mx,
        Self::MxZygote,
        Self::Submission,
        Self::SubmissionZygote,
        Self::Login,
        Self::OwnerZygote,
        Self::Owner,
        Self::ImapZygote,
        Self::Courier,
        Self::CourierZygote,
        Self::KeyMaker,
        Self::Link,
        Self::InboundProxy,
        Self::OutboundProxy,
        Self::Resolver,
        Self::ScannerZygote,
        Self::Worker,
        Self::Scanner,
    ];

    /// The name used on command lines and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keeper => "keeper",
            Self::Mx => "mx",
            Self::MxZygote => "mx-zygote",
            Self::Submission => "submission",
            Self::SubmissionZygote => "submission-zygote",
            Self::Login => "imapd-login",
            Self::OwnerZygote => "imapd-owner",
            Self::Owner => "owner",
            Self::ImapZygote => "imapd-zygote",
            Self::Courier => "courier",
            Self::CourierZygote => "courier-zygote",
            Self::KeyMaker => "key-maker",
            Self::Link => "link",
            Self::InboundProxy => "inbound-proxy",
            Self::OutboundProxy => "outbound-proxy",
            Self::Resolver => "resolver",
            Self::ScannerZygote => "scanner-zygote",
            Self::Worker => "worker",
            Self::Scanner => "scanner",
        }
    }

    /// The host uid and gid it runs under when the box was started as root: its own, never 0.
    /// A process that is cloned has its zygote's.
    #[must_use]
    pub const fn host_uid(self) -> u32 {
        match self {
            Self::Owner => Self::OwnerZygote.host_uid(),
            Self::Scanner => Self::ScannerZygote.host_uid(),
            other => FIRST_UID + other as u32,
        }
    }

    /// What it may and may not do.
    #[must_use]
    pub const fn walls(self) -> &'static Walls {
        walls::of(self)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no role of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRole;

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no role of that name")
    }
}

impl std::error::Error for UnknownRole {}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert!((FIRST_UID..END_UID).contains(&role.host_uid()));
        }
        assert_eq!("up".parse::<Role>(), Err(UnknownRole));
    }
}
