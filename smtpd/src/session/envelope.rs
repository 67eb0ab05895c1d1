//! What one transaction has gathered.

use spool::edges::Target;
use spool::names::TransactionId;

use super::path::{Address, Sender};

/// What the client called itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The argument, of a form that cannot break a header.
    pub name: String,
    /// EHLO, not HELO.
    pub extended: bool,
}

/// RET of MAIL (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header only.
    Headers,
}

/// The parameters of MAIL that outlive it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE.
    pub size: Option<u64>,
    /// SMTPUTF8.
    pub international: bool,
    /// REQUIRETLS. Mail for a mailbox here goes no further, so that it came over TLS is enough.
    pub require_tls: bool,
    /// RET.
    pub ret: Option<Return>,
    /// ENVID, as xtext.
    pub envelope_id: Option<String>,
}

/// NOTIFY and ORCPT of RCPT (RFC 3461 §4.1, 4.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notify {
    /// NOTIFY, when it came: success, failure, delay; all false is NEVER.
    pub of: Option<(bool, bool, bool)>,
    /// ORCPT as written: `rfc822;xtext`.
    pub original: Option<String>,
}

impl Notify {
    /// SUCCESS was asked for.
    #[must_use]
    pub fn success(&self) -> bool {
        self.of.is_some_and(|(success, ..)| success)
    }
}

/// What letters that leave are sealed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Which outgoing identity.
    pub generation: u32,
    /// Its public half.
    pub public_key: String,
}

/// A recipient that the keeper knows; the proof that RCPT was checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// As the client wrote it.
    pub address: Address,
    /// Where its copies go.
    pub targets: Vec<Target>,
    /// It is elsewhere: to what its copy is sealed.
    pub outgoing: Option<Outgoing>,
    /// What the sender wants to hear.
    pub notify: Notify,
}

/// One transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its name, for the keeper, the Received field and the 250.
    pub transaction: TransactionId,
    /// The client.
    pub hello: Hello,
    /// MAIL FROM.
    pub sender: Sender,
    /// Its parameters.
    pub parameters: MailParameters,
    /// RCPT TO, accepted ones only.
    pub recipients: Vec<Accepted>,
}

impl Envelope {
    /// The mailboxes to deliver to, each once, however many of its addresses were named.
    #[must_use]
    pub fn targets(&self) -> Vec<&Target> {
        let mut targets: Vec<&Target> = Vec::new();
        for target in self.recipients.iter().flat_map(|recipient| &recipient.targets) {
            if !targets.iter().any(|known| known.mailbox == target.mailbox) {
                targets.push(target);
            }
        }
        targets
    }

    /// The recipients elsewhere, and to what their one letter is sealed.
    #[must_use]
    pub fn leaving(&self) -> Option<(&Outgoing, Vec<&Accepted>)> {
        let leaving: Vec<&Accepted> = self.recipients.iter().filter(|one| one.outgoing.is_some()).collect();
        let outgoing = leaving.first().and_then(|one| one.outgoing.as_ref())?;
        Some((outgoing, leaving))
    }

    /// Its name in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        self.transaction.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
