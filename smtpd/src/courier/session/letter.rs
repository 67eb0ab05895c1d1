//! A letter as it is handed to a session, and its transaction.

use super::super::fate::{Fate, Status, Why};
use super::super::limits;
use super::events::Effect;
use super::{Context, send};
use crate::session::path::Address;

/// RET (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The whole letter.
    Full,
    /// Its header only.
    Headers,
}

/// NOTIFY (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// RCPT TO.
    pub address: Address,
    /// What its sender asked for; all false is NEVER.
    pub notify: Option<Notify>,
    /// ORCPT, as `rfc822;xtext`.
    pub original: Option<String>,
}

/// Everything about a letter but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// MAIL FROM; `None` for `<>`.
    pub sender: Option<Address>,
    /// At least one.
    pub recipients: Vec<Recipient>,
    /// Its octets, as they are sent (before dots are doubled).
    pub size: u64,
    /// It has octets above 127 in a body.
    pub eight_bit: bool,
    /// It has them in a header or an address.
    pub international: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// RET.
    pub ret: Option<Return>,
    /// ENVID, as xtext.
    pub envelope_id: Option<String>,
}

/// A letter under way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub letter: Letter,
    /// Of each recipient, once it is known. Those asked about and still without one were accepted.
    pub fates: Vec<Option<Fate>>,
    /// Recipients in this transaction: the others were too many for the far server.
    pub asked: usize,
    /// Recipients answered for.
    pub answered: usize,
    /// MAIL was refused; what was sent ahead is still answered.
    pub refused: bool,
    /// Commands were sent ahead of their answers.
    pub ahead: bool,
    /// What was said after its end, and answers nothing.
    pub passed_over: usize,
}

impl Transaction {
    /// What comes after its end is no answer: that is waited for still. Not for ever.
    pub const fn passes_over(&mut self) -> bool {
        self.passed_over += 1;
        self.passed_over <= limits::BEFORE_ANSWER
    }

    /// Whether anybody gets the letter.
    pub fn has_accepted(&self) -> bool {
        self.fates[..self.asked].iter().any(Option::is_none)
    }

    /// Gives all whose fate is open this one.
    pub fn settle(&mut self, fate: &Fate) {
        self.fates.iter_mut().filter(|known| known.is_none()).for_each(|open| *open = Some(fate.clone()));
    }

    /// The same, and those who were too many for this transaction, too: what became of it says as much about them. It is
    /// their attempt, or one a letter would be all that ever counts, and the others would wait for as many times five days.
    pub fn settle_everybody(&mut self, fate: &Fate) {
        self.fates[self.asked..].fill(None);
        self.settle(fate);
    }

    /// Tells the fates.
    pub fn finish(self, out: &mut Vec<Effect>) {
        let unknown = || Fate::Deferred(Why::ours(Status::new(4, 3, 0), "internal error"));
        out.push(Effect::Fates(self.fates.into_iter().map(|fate| fate.unwrap_or_else(unknown)).collect()));
    }

    /// The connection broke.
    pub fn lost(mut self, _context: &Context, why: &Why, out: &mut Vec<Effect>) {
        self.settle_everybody(&Fate::Deferred(why.clone()));
        self.finish(out);
    }

    /// Asks about the next recipient.
    pub fn ask_next(&self, context: &Context, out: &mut Vec<Effect>) {
        if let Some(recipient) = self.letter.recipients[..self.asked].get(self.answered) {
            send(out, super::rcpt::command(context, recipient));
        }
    }
}
