//! Watches TLS records go by in one direction: their kinds and lengths, and that they are records at all. Keeps nothing
//! but the header under way. Not TLS is a reason to close: what cannot be measured is not carried.

use std::fmt;

use crate::limits;

/// RFC 8446 §5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 20: nothing, for old middleboxes.
    ChangeCipherSpec,
    /// 21.
    Alert,
    /// 22.
    Handshake,
    /// 23: in TLS 1.3 everything that is encrypted.
    Application,
}

/// A record whose header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its outer kind.
    pub kind: Kind,
    /// Octets behind the header.
    pub length: u64,
}

/// What has come is no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTls;

impl fmt::Display for NotTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("after STARTTLS came something that is not TLS")
    }
}

impl std::error::Error for NotTls {}

/// Octets before a record's body (RFC 8446 §5.1).
pub const HEADER: usize = 5;

/// One direction.
#[derive(Debug, Default)]
pub struct Records {
    header: [u8; HEADER],
    /// Octets of the header that have come.
    have: usize,
    /// Octets of the record's body still to come.
    left: usize,
    begun: bool,
}

impl Records {
    /// Looks at what comes next; each record is told once, when its header is whole.
    ///
    /// # Errors
    /// [`NotTls`]: then nothing of these bytes may be passed on.
    pub fn pass(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Record)) -> Result<(), NotTls> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let body = self.left.min(bytes.len());
                self.left -= body;
                bytes = &bytes[body..];
                continue;
            }
            let take = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            self.plausible()?;
            if self.have == HEADER {
                seen(self.record()?);
                self.have = 0;
            }
        }
        Ok(())
    }

    /// Whether a record is whole at this point, so that the stream may end here.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0
    }

    /// Judged as early as it can be, and the first record must be a handshake (or the alert that refuses one).
    fn plausible(&self) -> Result<(), NotTls> {
        let kind = (self.have == 0) || matches!(self.header[0], 20..=23);
        let first = self.begun || self.have == 0 || matches!(self.header[0], 21 | 22);
        let version = self.have < 2 || self.header[1] == 3;
        let minor = self.have < 3 || matches!(self.header[2], 1..=4);
        if kind && first && version && minor { Ok(()) } else { Err(NotTls) }
    }

    fn record(&mut self) -> Result<Record, NotTls> {
        let length = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        if length == 0 || length > limits::RECORD {
            return Err(NotTls);
        }
        self.begun = true;
        self.left = length;
        let kind = match self.header[0] {
            20 => Kind::ChangeCipherSpec,
            21 => Kind::Alert,
            22 => Kind::Handshake,
            _ => Kind::Application,
        };
        Ok(Record { kind, length: length as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pass(chunks: &[&[u8]]) -> Result<(Vec<Record>, bool), NotTls> {
        let (mut records, mut seen) = (Records::default(), Vec::new());
        for chunk in chunks {
            records.pass(chunk, |record| seen.push(record))?;
        }
        Ok((seen, records.at_boundary()))
    }

    fn wire(records: &[(u8, usize)]) -> Vec<u8> {
        let one = |(kind, length): &(u8, usize)| {
            let header = [*kind, 3, 3, (length >> 8) as u8, (length & 0xff) as u8];
            [&header[..], &vec![0x2e; *length]].concat()
        };
        records.iter().flat_map(one).collect()
    }

    #[test]
    fn what_is_no_tls() {
        for bytes in [
            &b"MAIL FROM:<a@b>\r\n"[..],
            b"250 ok\r\n",
            &[23, 3, 3, 0, 1],
            &[20, 3, 3, 0, 1],
            &[22, 2],
            &[22, 3, 0],
            &[22, 3, 5],
            &[22, 3, 3, 0, 0],
            &[22, 3, 3, 0x48, 1],
            &[24],
            &[0x80],
        ] {
            assert_eq!(pass(&[bytes]), Err(NotTls), "{bytes:02x?}");
        }
        assert_eq!(pass(&[b"M"]), Err(NotTls), "told at the first octet");
        let mut later = wire(&[(22, 10)]);
        later.extend_from_slice(b"MAIL");
        assert_eq!(pass(&[&later]), Err(NotTls));
        assert!(pass(&[&wire(&[(22, 0x4800)])]).is_ok(), "the longest");
    }

    proptest! {
        #[test]
        fn every_record_once_however_it_is_cut(rest in prop::collection::vec((20u8..24, 1usize..2_000), 0..20), step in 1usize..3_000) {
            let records: Vec<_> = std::iter::once((22, 100)).chain(rest).collect();
            let wire = wire(&records);
            let chunks: Vec<_> = wire.chunks(step).collect();
            let (seen, whole) = pass(&chunks).unwrap();
            prop_assert!(whole);
            prop_assert_eq!(seen.iter().map(|record| record.length as usize).collect::<Vec<_>>(), records.iter().map(|(_, length)| *length).collect::<Vec<_>>());
            if let Some((last, rest)) = wire.split_last() {
                let _ = last;
                prop_assert!(!pass(&[rest]).unwrap().1, "one octet short is no boundary");
            }
        }

        #[test]
        fn nothing_is_too_strange(bytes: Vec<u8>, step in 1usize..50) {
            let chunks: Vec<_> = bytes.chunks(step).collect();
            prop_assert_eq!(pass(&chunks).is_ok(), pass(&[&bytes]).is_ok());
        }
    }
}
