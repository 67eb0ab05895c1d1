//! What a leased letter is sent under to one far server: MAIL and RCPT, as far as that server can take them.

use spool::edges::outbox::{Leased, OutgoingRecipient};

use super::fate::{Fate, Status, Why};
use super::outcome;
use super::session::{Extensions, Letter, Recipient, Return};
use crate::session::path::Address;

/// A letter for a session.
#[derive(Debug)]
pub struct Addressed {
    /// It.
    pub letter: Letter,
    /// The numbers of its recipients, in their order. None: there is nobody to send it to.
    pub numbers: Vec<u16>,
    /// Those who cannot be named to that server.
    pub refused: Vec<(u16, Fate)>,
}

/// The letter from that sender, of that size and with 8-bit bodies or not, for that server. One address that it does not take is no
/// reason to refuse the others.
///
/// # Errors
/// Its sender cannot be named.
pub fn addressed(
    leased: &Leased,
    sender: Option<&str>,
    (size, eight_bit): (u64, bool),
    far: &Extensions,
) -> Result<Addressed, Why> {
    let outgoing = &leased.outgoing;
    let sender = sender.map(address).transpose()?;
    let (mut recipients, mut numbers, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for number in leased.recipients.iter().copied() {
        let Some(one) = outgoing.recipients.get(usize::from(number)) else { continue };
        match recipient(one, leased, far) {
            Ok(recipient) => {
                recipients.push(recipient);
                numbers.push(number);
            }
            Err(why) => refused.push((number, Fate::Failed(why))),
        }
    }
    let international = outgoing.international || recipients.iter().any(|one| one.address.is_international());
    let letter = Letter {
        sender,
        recipients,
        size,
        eight_bit,
        international,
        require_tls: outgoing.require_tls,
        ret: outgoing.full.map(|full| if full { Return::Full } else { Return::Headers }),
        envelope_id: outgoing.envelope_id.clone(),
    };
    Ok(Addressed { letter, numbers, refused })
}

fn address(text: &str) -> Result<Address, Why> {
    Address::parse(text.as_bytes()).map_err(|_| Why::ours(Status::new(5, 1, 3), "that is no mail address"))
}

fn recipient(one: &OutgoingRecipient, leased: &Leased, far: &Extensions) -> Result<Recipient, Why> {
    let address = address(&one.address)?;
    // A local part has no form in ASCII, as domains have.
    if address.is_international() && !far.international {
        // RFC 5248: X.6.7.
        let words = format!("the mail server of {} takes no addresses beyond ASCII (SMTPUTF8)", leased.destination);
        return Err(Why::ours(Status::new(5, 6, 7), words));
    }
    Ok(Recipient { address, notify: outcome::notify(one), original: one.original.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::samples;
    use spool::edges::outbox::State;
    use spool::names::LetterId;

    fn leased(to: &[&str]) -> Leased {
        let recipients = to.iter().map(|address| OutgoingRecipient {
            address: (*address).to_owned(),
            original: None,
            notify: None,
            state: State::new(0),
        });
        Leased {
            lease: 1,
            letter: LetterId([1; 16]),
            destination: "far.test".into(),
            recipients: (0..u16::try_from(to.len()).unwrap()).collect(),
            outgoing: samples::outgoing(Some("anna@home.test"), recipients),
            is_ours: false,
            more: false,
        }
    }

    type Numbered = Vec<(u16, String)>;

    fn to(recipients: &[&str], international: bool) -> (Numbered, bool, Numbered) {
        let far = Extensions { international, ..Extensions::default() };
        let made = addressed(&leased(recipients), Some("anna@home.test"), (1, false), &far).unwrap();
        let names = made.letter.recipients.iter().map(|one| one.address.to_string());
        let refused = made.refused.iter().map(|(number, fate)| (*number, fate.why().status.to_string()));
        (made.numbers.iter().copied().zip(names).collect(), made.letter.international, refused.collect())
    }

    #[test]
    fn one_recipient_beyond_ascii_costs_no_other_anything() {
        let all = ["ben@far.test", "jörg@far.test", "ben@grün.test", "no address"];
        let (sent, international, refused) = to(&all, false);
        let names = [(0, "ben@far.test".to_owned()), (2, "ben@xn--grn-ioa.test".to_owned())];
        assert_eq!((sent.as_slice(), international), (&names[..], false));
        assert_eq!(refused, [(1, "5.6.7".to_owned()), (3, "5.1.3".to_owned())]);
        let (sent, international, refused) = to(&all, true);
        assert_eq!((sent.len(), international, refused.len()), (3, true, 1));
        assert_eq!(sent[2].1, "ben@xn--grn-ioa.test", "every server knows that form");
        assert!(!to(&["ben@far.test"], true).1, "nor is it asked for where it is not needed");
    }
}
