//! A folder's letters as SELECT gets them: records of one length, because decoding them piece by piece was most of the
//! time that SELECT of a large folder took.

use super::mailbox::Fact;
use crate::names::LetterId;

/// Bytes of one record: UID, name, flags, keywords, modseq, arrival, size; numbers little-endian.
const RECORD: usize = 4 + 16 + 1 + 8 + 8 + 8 + 4;

/// The records of these letters.
#[must_use]
pub fn to_bytes(facts: impl ExactSizeIterator<Item = Fact>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(facts.len() * RECORD);
    facts.for_each(|fact| put(&mut bytes, &fact));
    bytes
}

/// The letters of these records; `None` when they are not whole.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Fact>> {
    let (records, rest) = bytes.as_chunks();
    rest.is_empty().then(|| records.iter().map(fact).collect())
}

fn put(bytes: &mut Vec<u8>, fact: &Fact) {
    bytes.extend_from_slice(&fact.uid.to_le_bytes());
    bytes.extend_from_slice(&fact.letter.0);
    bytes.push(fact.flags);
    bytes.extend_from_slice(&fact.keywords.to_le_bytes());
    bytes.extend_from_slice(&fact.modseq.to_le_bytes());
    bytes.extend_from_slice(&fact.arrived.to_le_bytes());
    bytes.extend_from_slice(&fact.size.to_le_bytes());
}

fn fact(record: &[u8; RECORD]) -> Fact {
    Fact {
        uid: u32::from_le_bytes(piece::<0, 4>(record)),
        letter: LetterId(piece::<4, 16>(record)),
        flags: record[20],
        keywords: u64::from_le_bytes(piece::<21, 8>(record)),
        modseq: u64::from_le_bytes(piece::<29, 8>(record)),
        arrived: i64::from_le_bytes(piece::<37, 8>(record)),
        size: u32::from_le_bytes(piece::<45, 4>(record)),
    }
}

fn piece<const AT: usize, const LENGTH: usize>(record: &[u8; RECORD]) -> [u8; LENGTH] {
    const { assert!(AT + LENGTH <= RECORD, "a piece lies within its record") };
    std::array::from_fn(|place| record[AT + place])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (uid, letter, flags) in any::<(u32, [u8; 16], u8)>(),
            (keywords, modseq, arrived, size) in any::<(u64, u64, i64, u32)>(),
            times in 0..4_usize,
        ) {
            let facts = vec![Fact { uid, letter: LetterId(letter), flags, keywords, modseq, arrived, size }; times];
            let bytes = to_bytes(facts.iter().copied());
            prop_assert_eq!(bytes.len(), times * RECORD);
            prop_assert_eq!(from_bytes(&bytes), Some(facts));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(from_bytes(&bytes).map(|facts| facts.len() * RECORD), (bytes.len() % RECORD == 0).then_some(bytes.len()));
        }
    }
}
