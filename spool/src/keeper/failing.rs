//! What each edge answers when the disk has failed between a request and its answer: whether the request
//! was done is not known, so whoever asked must ask again, later. Never a silence, never "done".

use crate::edges::{Delivered, Recipient, admin, deposit, login, mailbox, notices, outbox, queue};

/// A reply that has a counterpart for a disk that failed.
pub trait Failing {
    /// The counterpart.
    #[must_use]
    fn failed(self) -> Self;
}

impl Failing for Recipient {
    fn failed(self) -> Self {
        Self::NotNow
    }
}

impl Failing for deposit::Reply {
    fn failed(self) -> Self {
        match self {
            Self::Recipient(recipient) => Self::Recipient(recipient.failed()),
            Self::Delivered(_) => Self::Delivered(Delivered::Failed),
            Self::Abandoned => self,
        }
    }
}

impl Failing for notices::Reply {
    fn failed(self) -> Self {
        match self {
            Self::Listener(recipient) => Self::Listener(recipient.failed()),
            Self::Here(recipient, others) => Self::Here(recipient.failed(), others),
            Self::Delivered(_) => Self::Delivered(Delivered::Failed),
            Self::Abandoned => self,
        }
    }
}

impl Failing for queue::Reply {
    fn failed(self) -> Self {
        match self {
            Self::Recipient(recipient) => Self::Recipient(recipient.failed()),
            Self::Delivered(_) => Self::Delivered(Delivered::Failed),
            // Nothing was asked to be done.
            Self::Addresses(_) | Self::Abandoned | Self::Noted => self,
        }
    }
}

impl Failing for login::Reply {
    fn failed(self) -> Self {
        Self::Refused
    }
}

impl Failing for mailbox::Reply {
    fn failed(self) -> Self {
        Self::Refused(mailbox::Refusal::Unavailable)
    }
}

impl Failing for outbox::Reply {
    fn failed(self) -> Self {
        match self {
            Self::Leased(_) => Self::Leased(None),
            Self::Begun(_) => Self::Begun(false),
            Self::Recorded | Self::NotRecorded => Self::NotRecorded,
            Self::Over | Self::Aside | Self::Awake | Self::Resting | Self::Policies(_) | Self::PolicyKept => self,
        }
    }
}

impl Failing for admin::Reply {
    fn failed(self) -> Self {
        match self {
            Self::Refused(_) => self,
            _ => Self::Refused("the disk failed; look again whether this was done".to_owned()),
        }
    }
}
