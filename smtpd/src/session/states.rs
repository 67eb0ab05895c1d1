//! The states: one struct each, named after what is awaited.

use spool::names::TransactionId;
use wire::sasl::Sasl;

use super::context::Owner;
use super::envelope::{Envelope, Hello, MailParameters, Notify};
use super::events::Effect;
use super::path::{Address, Sender};
use crate::reply::Reply;

/// EHLO was said; MAIL (or AUTH) may come.
#[derive(Debug)]
pub(super) struct ExpectMail {
    pub hello: Hello,
}

/// MAIL was of its form; is there room?
#[derive(Debug)]
pub(super) struct ExpectBegun {
    pub hello: Hello,
    pub sender: Sender,
    pub parameters: MailParameters,
}

/// MAIL was accepted; RCPT, DATA or BDAT may come.
#[derive(Debug)]
pub(super) struct ExpectRecipient {
    pub envelope: Envelope,
}

/// The keeper is asked about one recipient.
#[derive(Debug)]
pub(super) struct ExpectAnswer {
    pub envelope: Envelope,
    pub address: Address,
    pub notify: Notify,
}

/// 354 was said.
#[derive(Debug)]
pub(super) struct ExpectText {
    pub envelope: Envelope,
}

/// A chunk is on its way.
#[derive(Debug)]
pub(super) struct ExpectChunk {
    pub envelope: Envelope,
    pub octets: u64,
    pub last: bool,
}

/// Chunks have come, the last has not: nothing but BDAT (or giving up) may follow.
#[derive(Debug)]
pub(super) struct ExpectMoreChunks {
    pub envelope: Envelope,
}

/// A chunk that is refused goes by; then this is said and that goes on.
#[derive(Debug)]
pub(super) struct ExpectDiscarded {
    pub reply: Reply,
    pub then: State,
}

/// The driver delivers.
#[derive(Debug)]
pub(super) struct ExpectDelivered {
    pub hello: Hello,
    pub id: String,
    pub transaction: TransactionId,
}

/// An AUTH exchange: a line of it may come, or the keeper's answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub hello: Hello,
    pub sasl: Box<Sasl>,
}

/// SCRAM's last message was sent as a challenge; an empty response ends the exchange.
#[derive(Debug)]
pub(super) struct ExpectLastResponse {
    pub hello: Hello,
    pub owner: Owner,
}

/// The envelope of all.
#[derive(Debug)]
pub(super) enum State {
    ExpectHello,
    ExpectTls,
    ExpectMail(ExpectMail),
    ExpectBegun(ExpectBegun),
    ExpectRecipient(ExpectRecipient),
    ExpectAnswer(ExpectAnswer),
    ExpectText(ExpectText),
    ExpectChunk(ExpectChunk),
    ExpectMoreChunks(ExpectMoreChunks),
    ExpectDiscarded(Box<ExpectDiscarded>),
    ExpectDelivered(ExpectDelivered),
    ExpectResponse(Exchange),
    ExpectFields(Exchange),
    ExpectAdmission(Exchange),
    ExpectLastResponse(ExpectLastResponse),
    Closed,
}

impl State {
    pub const fn takes_commands(&self) -> bool {
        matches!(self, Self::ExpectHello | Self::ExpectMail(_) | Self::ExpectRecipient(_) | Self::ExpectMoreChunks(_))
    }

    pub const fn takes_lines(&self) -> bool {
        self.takes_commands() || matches!(self, Self::ExpectResponse(_) | Self::ExpectLastResponse(_))
    }

    /// Gives up the transaction, if one is under way. Not while the driver delivers it: then it decides.
    pub fn abandon(&self, out: &mut Vec<Effect>) {
        let envelope = match self {
            Self::ExpectRecipient(ExpectRecipient { envelope })
            | Self::ExpectAnswer(ExpectAnswer { envelope, .. })
            | Self::ExpectText(ExpectText { envelope })
            | Self::ExpectChunk(ExpectChunk { envelope, .. })
            | Self::ExpectMoreChunks(ExpectMoreChunks { envelope }) => envelope,
            Self::ExpectDiscarded(waiting) => return waiting.then.abandon(out),
            _ => return,
        };
        out.push(Effect::Abandon(envelope.transaction));
    }

    /// Who said hello, if it was said.
    pub fn into_hello(self) -> Option<Hello> {
        match self {
            Self::ExpectMail(ExpectMail { hello })
            | Self::ExpectBegun(ExpectBegun { hello, .. })
            | Self::ExpectDelivered(ExpectDelivered { hello, .. })
            | Self::ExpectResponse(Exchange { hello, .. })
            | Self::ExpectFields(Exchange { hello, .. })
            | Self::ExpectAdmission(Exchange { hello, .. })
            | Self::ExpectLastResponse(ExpectLastResponse { hello, .. }) => Some(hello),
            Self::ExpectRecipient(ExpectRecipient { envelope })
            | Self::ExpectAnswer(ExpectAnswer { envelope, .. })
            | Self::ExpectText(ExpectText { envelope })
            | Self::ExpectChunk(ExpectChunk { envelope, .. })
            | Self::ExpectMoreChunks(ExpectMoreChunks { envelope }) => Some(envelope.hello),
            Self::ExpectDiscarded(waiting) => waiting.then.into_hello(),
            Self::ExpectHello | Self::ExpectTls | Self::Closed => None,
        }
    }

    /// Back to where no transaction is under way.
    pub fn reset(self) -> Self {
        self.into_hello().map_or(Self::ExpectHello, |hello| Self::ExpectMail(ExpectMail { hello }))
    }
}
