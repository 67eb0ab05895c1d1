//! What the courier's tests have in common.

use spool::edges::outbox::{Outgoing, OutgoingRecipient};
use spool::names::MailboxId;

/// A small letter, waiting.
pub fn outgoing(sender: Option<&str>, recipients: impl Iterator<Item = OutgoingRecipient>) -> Outgoing {
    Outgoing {
        mailbox: MailboxId(1),
        sender: sender.map(String::from),
        queued: 0,
        size: 1,
        generation: 1,
        digest: [0; 32],
        eight_bit: false,
        international: false,
        require_tls: false,
        full: None,
        envelope_id: None,
        recipients: recipients.collect(),
        held: false,
        passed_on: false,
    }
}
