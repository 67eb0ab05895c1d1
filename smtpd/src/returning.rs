//! A letter that was here before, for an alias that both has somebody here and passes mail on: the other house sends back what it
//! gets, and each time one more copy would lie here, until there are too many Received fields. So our own field has a mark for
//! each of these aliases, which tells nobody but this house what it stands for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
pub struct Marks {
    key: hmac::Key,
    /// How often each letter was taken that somebody has resent, the one that came first in front.
    resent: Mutex<VecDeque<(Origin, usize)>>,
}

/// When a letter was here first, for that alias: all copies of it name the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// What of a letter was here before.
#[derive(Debug, Default)]
pub struct Returning {
    /// Aliases that do not get it again.
    pub refused: usize,
    /// Where it is taken, since somebody has resent it.
    pub resent: Vec<Origin>,
}

enum Was {
    New,
    Resent(Origin),
    Here,
}

impl Marks {
    /// With that key.
    #[must_use]
    pub fn new(key: &MarksKey) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key.0), resent: Mutex::default() }
    }

    /// For the Received field of that letter, which gets the name `otherwise` where it has none, in no order that tells anything. Whatever leaves has some, most often marks of
    /// nothing: their number would tell whether an alias, named in Bcc maybe, had it as well.
    #[must_use]
    pub fn of(&self, envelope: &Envelope, message: &[u8], otherwise: &str) -> Vec<String> {
        if envelope.leaving().is_none() {
            return Vec::new();
        }
        let (id, name) = (envelope.id(), message_id(message));
        let name = if name.is_empty() { otherwise } else { &name };
        let shared = envelope.recipients.iter().filter(|one| is_shared(one));
        let mut addresses: Vec<String> = shared.filter_map(|one| normal_address(&one.address.to_string())).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let nobody = (addresses.len()..addresses.len().max(1).next_multiple_of(limits::MARKS)).map(|n| n.to_string());
        let mut marks: Vec<String> = addresses.into_iter().chain(nobody).map(|of| self.mark(&id, name, &of)).collect();
        marks.sort_unstable();
        marks
    }

    /// Takes those aliases out of the envelope for which the letter was here.
    pub fn without_returning(&self, envelope: &mut Envelope, message: &[u8]) -> Returning {
        let mut returning = Returning::default();
        if !envelope.recipients.iter().any(is_shared) {
            return returning;
        }
        let (hops, name) = (hops(message), message_id(message));
        envelope.recipients.retain(|one| {
            let was = if is_shared(one) { self.was(&hops, &name, &one.address.to_string()) } else { Was::New };
            returning.refused += usize::from(matches!(was, Was::Here));
            match was {
                Was::Here => return false,
                Was::Resent(origin) => returning.resent.push(origin),
                Was::New => {}
            }
            true
        });
        returning
    }

    /// They were not taken after all.
    pub fn give_back(&self, resent: &[Origin]) {
        let mut counted = self.counted();
        for origin in resent {
            if let Some((_, times)) = counted.iter_mut().find(|(one, _)| one == origin) {
                *times = times.saturating_sub(1);
            }
        }
    }

    /// Counts one more, unless there were too many: of all that come at the same moment, too.
    fn is_one_more(&self, origin: &Origin) -> bool {
        let mut counted = self.counted();
        if let Some((_, times)) = counted.iter_mut().find(|(one, _)| one == origin) {
            let has_room = *times < limits::RESENT_IN_ALL;
            *times += usize::from(has_room);
            return has_room;
        }
        if counted.len() >= limits::RESENT_LETTERS {
            counted.pop_front();
        }
        counted.push_back((origin.clone(), 1));
        true
    }

    fn counted(&self) -> MutexGuard<'_, VecDeque<(Origin, usize)>> {
        self.resent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With our name for the letter in it: marks of two letters do not show that they went the same way. And with its own: in
    /// another letter, a copied mark is none.
    fn mark(&self, id: &str, name: &str, address: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}\0{address}\0{name}").as_bytes());
        tag.as_ref().iter().take(limits::MARK).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it was here for that address since somebody last resent it by hand, or too often.
    fn was(&self, hops: &[Hop], name: &str, address: &str) -> Was {
        let Some(address) = normal_address(address) else { return Was::New };
        let marked = hops.iter().filter_map(|hop| Some((hop, self.marked(&hop.received, name, &address)?)));
        let marked: Vec<_> = marked.collect();
        let (Some((newest, _)), Some((_, first))) = (marked.first(), marked.last()) else { return Was::New };
        let origin = Origin(self.mark(first, "", &address));
        let may_be = newest.is_before_resent && marked.len() <= limits::RESENT;
        if may_be && self.is_one_more(&origin) { Was::Resent(origin) } else { Was::Here }
    }

    /// Our name for the letter in that field, if the address has a mark there.
    fn marked<'a>(&self, received: &'a str, name: &str, address: &str) -> Option<&'a str> {
        let (_, rest) = received.split_once(" id ")?;
        let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric());
        let id = words.next()?;
        // Where it had no name, it may have got one since.
        let marks = ["", name].map(|name| self.mark(id, name, address));
        words.any(|word| marks.iter().any(|mark| word == mark)).then_some(id)
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

/// The letter's own name; empty where it has none.
fn message_id(message: &[u8]) -> String {
    let field = header::fields(message).find(|field| field.is("Message-ID"));
    field.map(|field| field.unfolded().trim().to_owned()).unwrap_or_default()
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
        let marks = marks().of(envelope, original.as_bytes(), "");
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

    /// One who is not here.
    fn outside(address: &str) -> Accepted {
        Accepted { targets: Vec::new(), ..shared(address) }
    }

    #[test]
    fn how_many_there_are_tells_nothing() {
        let count = |recipients: Vec<Accepted>| {
            marks().of(&Envelope { recipients, ..envelope(1, &[]) }, FIRST.as_bytes(), "").len()
        };
        let plain = || vec![outside("a@far.test")];
        let here = Accepted { outgoing: None, ..shared("you@home.test") };
        assert_eq!(count(vec![here]), 0, "it does not leave");
        assert_eq!(count(plain()), limits::MARKS);
        let several = |number: usize| (0..number).map(|n| shared(&format!("us{n}@home.test"))).collect::<Vec<_>>();
        assert_eq!([1, 4, 5].map(|n| count(plain().into_iter().chain(several(n)).collect())), [4, 4, 8]);
    }

    #[test]
    fn a_copied_mark_is_none_in_another_letter() {
        let us = ["us@home.test"];
        let letter = passed("Message-ID: <a@far.test>\r\nSubject: x\r\n\r\ntext\r\n", &envelope(1, &us));
        assert_eq!(taken(&letter, &us), [""; 0]);
        assert_eq!(taken(&letter.replace("<a@", "<b@"), &us), us);
        let nameless = passed(FIRST, &envelope(1, &us));
        assert_eq!(taken(&nameless.replace("Subject:", "Message-ID: <a@far.test>\r\nSubject:"), &us), [""; 0]);
    }

    /// One's own letter, written without a name: whoever has it knows the name that it got, and no other letter has that.
    #[test]
    fn a_letter_that_gets_its_name_here_has_it_in_its_marks() {
        let us = ["us@home.test"];
        let (sent, plain) = (envelope(1, &us), marks());
        let [named, unnamed] = ["<1@home.test>", ""].map(|otherwise| plain.of(&sent, FIRST.as_bytes(), otherwise));
        let letter = |marks: &[String], name: &str| {
            let field = format!(
                "Received: by mx.home.test with ESMTPSA id {}\r\n\t(marks {});\r\n",
                sent.id(),
                marks.join(" ")
            );
            format!("{field}Message-ID: {name}\r\n{FIRST}")
        };
        assert_eq!(taken(&letter(&named, "<1@home.test>"), &us), [""; 0]);
        assert_eq!(taken(&letter(&named, "<2@far.test>"), &us), us, "in another letter it is none");
        assert_eq!(taken(&letter(&unnamed, "<2@far.test>"), &us), [""; 0]);
    }

    #[test]
    fn all_that_come_at_the_same_moment_are_counted() {
        let (us, marks) = (["us@home.test"], marks());
        let letter = format!("Resent-From: ben@far.test\r\n{}", passed(FIRST, &envelope(1, &us)));
        let here = (0..20u8).filter(|number| {
            let mut envelope = envelope(number + 2, &us);
            marks.without_returning(&mut envelope, letter.as_bytes());
            !envelope.recipients.is_empty()
        });
        assert_eq!(here.count(), limits::RESENT_IN_ALL, "none of them lies here yet");
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

    #[test]
    fn several_who_resend_it_by_themselves_bring_no_more_than_so_many() {
        let (us, marks) = (["us@home.test"], marks());
        let resend = |letter: &str| format!("Resent-From: ben@far.test\r\n{letter}");
        let (mut on_their_way, mut here, mut number) = (vec![passed(FIRST, &envelope(1, &us))], 0, 1);
        while let Some(letter) = on_their_way.pop() {
            for _ in 0..4 {
                number += 1;
                let (letter, mut envelope) = (resend(&letter), envelope(number, &us));
                let returning = marks.without_returning(&mut envelope, letter.as_bytes());
                if envelope.recipients.is_empty() {
                    continue;
                }
                // One of which it is not known whether it was taken: its sender comes again.
                marks.give_back(&returning.resent);
                assert!(returning.resent.iter().all(|origin| marks.is_one_more(origin)));
                here += 1;
                on_their_way.push(passed(&letter, &envelope));
            }
        }
        assert_eq!(here, limits::RESENT_IN_ALL);
        let other = resend(&passed(FIRST, &envelope(200, &us)));
        let mut its = envelope(201, &us);
        let origin = marks.without_returning(&mut its, other.as_bytes()).resent;
        assert_eq!((its.recipients.len(), origin.len()), (1, 1), "each letter by itself");
        for number in 0..limits::RESENT_LETTERS + 5 {
            assert!(marks.is_one_more(&Origin(number.to_string())));
        }
        assert_eq!(marks.counted().len(), limits::RESENT_LETTERS);
    }
}
