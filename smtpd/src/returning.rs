//! A letter that was here before, for an alias that both has somebody here and passes mail on: the other house sends back what it
//! gets, and each time one more copy would lie here, until there are too many Received fields. So our own field has a mark for
//! each of these aliases, which tells nobody but this house what it stands for.

use ring::hmac;
use serde::{Deserialize, Serialize};
use spool::index::normal_address;

use crate::header::{self, Field};
use crate::limits;
use crate::session::{Accepted, Envelope};

/// What the marks are made with.
#[derive(Clone, Serialize, Deserialize)]
pub struct MarksKey(pub [u8; 32]);

impl std::fmt::Debug for MarksKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarksKey")
    }
}

/// Makes marks, and knows its own.
#[derive(Debug)]
pub struct Marks(hmac::Key);

impl Marks {
    /// With that key.
    #[must_use]
    pub fn new(key: &MarksKey) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key.0))
    }

    /// For the Received field of that letter, in no order that tells anything.
    #[must_use]
    pub fn of(&self, envelope: &Envelope) -> Vec<String> {
        let shared = envelope.recipients.iter().filter(|one| is_shared(one));
        let addresses = shared.filter_map(|one| normal_address(&one.address.to_string()));
        let mut marks: Vec<String> = addresses.map(|address| self.mark(&envelope.id(), &address)).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// Takes those aliases out of the envelope for which the letter was here; how many.
    pub fn without_returning(&self, envelope: &mut Envelope, message: &[u8]) -> usize {
        if !envelope.recipients.iter().any(is_shared) {
            return 0;
        }
        let (before, hops) = (envelope.recipients.len(), hops(message));
        envelope.recipients.retain(|one| !(is_shared(one) && self.is_back(&hops, &one.address.to_string())));
        before - envelope.recipients.len()
    }

    /// With the letter's name in it: marks of two letters do not show that they went the same way.
    fn mark(&self, id: &str, address: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}\0{address}").as_bytes());
        tag.as_ref().iter().take(limits::MARK).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it was here for that address since somebody last resent it by hand. Who copies a mark loses his own letter only.
    fn is_back(&self, hops: &[Hop], address: &str) -> bool {
        let Some(address) = normal_address(address) else { return false };
        let mut marked = hops.iter().filter(|hop| self.is_marked(&hop.received, &address)).peekable();
        marked.peek().is_some_and(|newest| !newest.is_before_resent) || marked.count() > limits::RESENT
    }

    fn is_marked(&self, received: &str, address: &str) -> bool {
        let Some((_, rest)) = received.split_once(" id ") else { return false };
        let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric());
        let Some(id) = words.next() else { return false };
        let mark = self.mark(id, address);
        words.any(|word| word == mark)
    }
}

/// A Received field.
struct Hop {
    received: String,
    /// Somebody has resent it by hand since (RFC 5322 §3.6.6: those fields stand above what the letter had before).
    is_before_resent: bool,
}

/// The newest first. A message with more is refused.
fn hops(message: &[u8]) -> Vec<Hop> {
    let (mut hops, mut is_before_resent) = (Vec::new(), false);
    for field in header::fields(message) {
        is_before_resent |= begins_resent(&field);
        if field.is("Received") && hops.len() <= limits::HOPS {
            hops.push(Hop { received: field.unfolded(), is_before_resent });
        }
    }
    hops
}

const fn is_shared(one: &Accepted) -> bool {
    one.outgoing.is_some() && !one.targets.is_empty()
}

fn begins_resent(field: &Field<'_>) -> bool {
    field.name.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"resent-"))
}

#[cfg(test)]
mod tests {
    use spool::edges::Target;
    use spool::names::{MailboxId, TransactionId};

    use super::*;
    use crate::final_bytes::{self, Trace};
    use crate::session::path::{Address, Sender};
    use crate::session::{Hello, MailParameters, Notify, Outgoing, Service};

    /// An alias with somebody here, which passes mail on, too.
    fn shared(address: &str) -> Accepted {
        Accepted {
            address: Address::parse(address.as_bytes()).unwrap(),
            targets: vec![Target { mailbox: MailboxId(1), generation: 1, public_key: String::new() }],
            outgoing: Some(Outgoing { generation: 1, public_key: String::new() }),
            notify: Notify::default(),
        }
    }

    fn envelope(number: u8, to: &[&str]) -> Envelope {
        Envelope {
            transaction: TransactionId([number; 16]),
            hello: Hello { name: "client.example".into(), extended: true },
            sender: Sender(None),
            parameters: MailParameters::default(),
            recipients: to.iter().map(|to| shared(to)).collect(),
        }
    }

    fn marks() -> Marks {
        Marks::new(&MarksKey([7; 32]))
    }

    /// As it leaves this house, which got it in that transaction.
    fn passed(original: &str, envelope: &Envelope) -> String {
        let marks = marks().of(envelope);
        let trace = Trace {
            host: "mx.home.test",
            service: Service::Mx,
            client: std::net::IpAddr::from([192, 0, 2, 1]),
            client_name: None,
            tls: Some("TLS1.3 with TLS13_AES_128_GCM_SHA256"),
            now: 0,
            marks: &marks,
        };
        let made = final_bytes::from_stranger(original.as_bytes().to_vec(), envelope, &trace, "");
        String::from_utf8(made.leaving().concat()).unwrap()
    }

    /// For which of these it is taken.
    fn taken(letter: &str, to: &[&str]) -> Vec<String> {
        let mut envelope = envelope(9, to);
        marks().without_returning(&mut envelope, letter.as_bytes());
        envelope.recipients.iter().map(|one| one.address.to_string()).collect()
    }

    const FIRST: &str = "Subject: x\r\n\r\ntext\r\n";

    #[test]
    fn what_came_for_several_aliases_at_once_is_known_for_each() {
        let many: Vec<String> = (0..20).map(|number| format!("alias{number}@home.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let letter = passed(FIRST, &envelope(1, &many));
        assert!(!letter.contains("alias") && letter.lines().all(|line| line.len() <= 78), "{letter}");
        assert_eq!(
            taken(&letter, &["Alias3+tag@HOME.test", "other@home.test", "alias19@home.test"]),
            ["other@home.test"]
        );
        let single = passed(FIRST, &envelope(1, &["us@home.test"]));
        assert_eq!(taken(&single, &["us@home.test"]), [""; 0]);
    }

    #[test]
    fn only_our_own_mark_of_that_letter_in_its_header_counts() {
        let us = ["us@home.test"];
        let letter = passed(FIRST, &envelope(1, &us));
        let other = passed(FIRST, &envelope(2, &us));
        let mark = |letter: &str| letter.split("(marks ").nth(1).unwrap().split(')').next().unwrap().to_owned();
        assert_ne!(mark(&letter), mark(&other));
        assert_eq!(taken(&letter.replace(&mark(&letter), &mark(&other)), &us), us);
        assert_eq!(taken(&format!("Subject: x\r\n\r\n{letter}"), &us), us, "in its text");
        let mut not_shared = envelope(3, &us);
        not_shared.recipients[0].outgoing = None;
        assert_eq!(taken(&passed(FIRST, &not_shared), &us), us);
    }

    #[test]
    fn who_resends_it_by_hand_is_no_loop() {
        let us = ["us@home.test"];
        let resend = |letter: &str| format!("resent-from: ben@far.test\r\nResent-To: us@home.test\r\n{letter}");
        let mut letter = passed(FIRST, &envelope(1, &us));
        for number in 0..limits::RESENT {
            assert_eq!(taken(&letter, &us), [""; 0]);
            assert_eq!(taken(&format!("Received: by far.test id x; date\r\n{}", resend(&letter)), &us), us, "{number}");
            letter = passed(&resend(&letter), &envelope(u8::try_from(number).unwrap() + 2, &us));
        }
        assert_eq!(taken(&resend(&letter), &us), [""; 0], "a house that writes these fields by itself");
    }
}
