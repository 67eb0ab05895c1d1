//! A letter that was here before, for an alias that both has somebody here and passes mail on: the other house sends back what it
//! gets, and each time one more copy would lie here, until there are too many Received fields.

use spool::index::normal_address;

use crate::header;
use crate::session::{Accepted, Envelope};

/// Takes those aliases out of the envelope; how many.
pub fn without_returning(envelope: &mut Envelope, message: &[u8], host: &str) -> usize {
    let before = envelope.recipients.len();
    envelope.recipients.retain(|one| !(is_shared(one) && was_here(message, host, &one.address.to_string())));
    before - envelope.recipients.len()
}

const fn is_shared(one: &Accepted) -> bool {
    one.outgoing.is_some() && !one.targets.is_empty()
}

/// Whether a Received field of ours says that it came for that address. Who makes one up loses his own letter only.
fn was_here(message: &[u8], host: &str, address: &str) -> bool {
    let by_us = format!("by {host} (Postern) with ");
    let Some(address) = normal_address(address) else { return false };
    header::fields(message).filter(|field| field.is("Received")).any(|field| {
        let text = field.unfolded();
        let to = text.rsplit_once("for <").and_then(|(_, rest)| rest.split_once('>')).map(|(to, _)| to);
        text.contains(&by_us) && to.and_then(normal_address).as_deref() == Some(&address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_mark_for_that_address_counts() {
        let ours = "Received: from x (unknown [192.0.2.1])\r\n\tby mx.home.test (Postern) with ESMTPS\r\n\t(TLSv1.3) id 7\r\n\tfor <Us+tag@home.test>;\r\n\tdate\r\n";
        let letter = |fields: &str| {
            format!("Received: by mx.far.test id 1\r\n\tfor <us@home.test>; date\r\n{fields}\r\n{ours}").into_bytes()
        };
        assert!(was_here(&letter(ours), "mx.home.test", "us@HOME.test"));
        assert!(!was_here(&letter(ours), "mx.home.test", "them@home.test"));
        assert!(!was_here(&letter(ours), "mail.home.test", "us@home.test"));
        assert!(!was_here(&letter(""), "mx.home.test", "us@home.test"), "not in its text");
        let nobody = ours.replace("\r\n\tfor <Us+tag@home.test>", "");
        assert!(!was_here(&letter(&nobody), "mx.home.test", "us@home.test"));
    }
}
