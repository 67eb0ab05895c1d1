//! What the fuzz targets call: one function for every kind of hostile bytes this crate reads. They panic when a
//! promise does not hold.

use crate::sasl::{Fields, Mechanism, Sasl, Step};
use crate::tls::ChannelBinding;
use crate::{base64, date, resolver};

/// The responses of a SASL exchange, one a line: nobody is admitted who proved nothing.
pub fn sasl(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let mechanism = [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus]
        [usize::from(*which) % 4];
    let binding = ChannelBinding { exporter: Some([1; 32]), end_point: Some(vec![2; 32]) };
    let mut responses = rest.split(|byte| *byte == b'\n');
    let (mut sasl, mut step) = Sasl::start(mechanism, responses.next(), &binding);
    for response in responses {
        step = match step {
            Step::NeedFields { .. } => {
                sasl.fields(Fields { attempt: 1, salt: [3; 16], iterations: 1, devices: Vec::new() })
            }
            _ => sasl.respond(response),
        };
    }
    assert!(!matches!(step, Step::Prove(_)), "a device was proved that there is not");
}

/// Base64 and dates: what is read is written the same.
pub fn texts(bytes: &[u8]) {
    if let Some(decoded) = base64::decode(bytes) {
        assert_eq!(base64::decode(base64::encode(&decoded).as_bytes()), Some(decoded), "base64 changes on its way");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = date::parse_imap_day(text);
    if let Some(at) = date::parse_imap(text).filter(|at| (-62_135_596_800..253_402_300_800).contains(at)) {
        assert_eq!(date::parse_imap(&date::imap(at)), Some(at), "a date changes on its way");
    }
}

/// A DNS question, and behind it an answer.
pub fn dns(bytes: &[u8]) {
    resolver::exercise(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn they_run() {
        super::sasl(b"\x00\0you@home.test\0secret\nx");
        super::texts(b"17-Jul-1996 02:44:25 -0700");
        super::dns(&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::sasl(&bytes);
            super::texts(&bytes);
            super::dns(&bytes);
        }
    }
}
