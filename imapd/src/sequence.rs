//! Sequence sets and UID sets (RFC 3501 §9 `sequence-set`), and what they pick out of a session's view.

use crate::limits;

/// `*` in a [`SequenceSet`]: no number of a letter is 0.
pub const STAR: u32 = 0;

/// A set as written: pairs in any order, either end may be [`STAR`]; at most [`limits::RANGES`] pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(Vec<(u32, u32)>);

/// A sequence number beyond the last letter: the client's mistake (RFC 3501 §9, `seq-number`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeyondEnd;

/// What a set picked: ranges of positions in the view, from 0, both ends inclusive, ascending, apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked(Vec<(u32, u32)>);

impl SequenceSet {
    /// From pairs; [`STAR`] stands for `*`.
    #[must_use]
    pub fn new(pairs: Vec<(u32, u32)>) -> Option<Self> {
        (!pairs.is_empty() && pairs.len() <= limits::RANGES).then_some(Self(pairs))
    }

    /// From text, e.g. `2,4:7,9,12:*`. `None` when it is not of that form or has too many pairs.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut pairs = Vec::new();
        for part in text.split(|&b| b == b',') {
            if pairs.len() == limits::RANGES {
                return None;
            }
            let colon = part.iter().position(|&b| b == b':');
            pairs.push(match colon {
                None => number(part).map(|n| (n, n))?,
                Some(at) => (number(part.get(..at)?)?, number(part.get(at + 1..)?)?),
            });
        }
        Self::new(pairs)
    }

    /// The pairs as written.
    #[must_use]
    pub fn pairs(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// As text again.
    #[must_use]
    pub fn to_text(&self) -> String {
        let one = |n: u32| if n == STAR { "*".to_owned() } else { n.to_string() };
        let parts = self.0.iter().map(|&(a, b)| if a == b { one(a) } else { format!("{}:{}", one(a), one(b)) });
        parts.collect::<Vec<_>>().join(",")
    }

    /// Reads the set as sequence numbers of a view with `exists` letters. Apps send `1:*` and `7:*` without looking:
    /// with `*` a range ends at the last letter, and picks nothing of an empty view.
    ///
    /// # Errors
    /// [`BeyondEnd`] for a number above `exists` in a pair without `*`.
    pub fn positions(&self, exists: u32) -> Result<Picked, BeyondEnd> {
        let mut ranges = Vec::with_capacity(self.0.len());
        for &(a, b) in &self.0 {
            let (low, high) = order(a, b, exists);
            let open = a == STAR || b == STAR;
            if high > exists && !open {
                return Err(BeyondEnd);
            }
            if exists > 0 {
                ranges.push((low.min(exists) - 1, high.min(exists) - 1));
            }
        }
        Ok(Picked::merge(ranges))
    }

    /// Reads the set as UIDs of a view (ascending); UIDs that are not there are passed over, and `*` is the highest
    /// that is there, so `999:*` picks the last letter (RFC 3501 §6.4.8).
    #[must_use]
    pub fn uids(&self, view: &[u32]) -> Picked {
        let last = view.last().copied().unwrap_or(0);
        let mut ranges = Vec::with_capacity(self.0.len());
        for &(a, b) in &self.0 {
            let (low, high) = order(a, b, last);
            let from = view.partition_point(|&uid| uid < low);
            let to = view.partition_point(|&uid| uid <= high);
            if from < to {
                ranges.push((position(from), position(to) - 1));
            }
        }
        Picked::merge(ranges)
    }

    /// As ascending ranges apart from each other, `*` being `last`: for asking about many numbers.
    #[must_use]
    pub fn resolved(&self, last: u32) -> Vec<(u32, u32)> {
        Picked::merge(self.0.iter().map(|&(a, b)| order(a, b, last)).collect()).0
    }

    /// Whether it holds this number, `*` being `last`.
    #[must_use]
    pub fn contains(&self, n: u32, last: u32) -> bool {
        self.0.iter().any(|&(a, b)| {
            let (low, high) = order(a, b, last);
            low <= n && n <= high
        })
    }
}

impl Picked {
    /// Everything in a view of this many letters.
    #[must_use]
    pub fn all(exists: u32) -> Self {
        Self(if exists == 0 { Vec::new() } else { vec![(0, exists - 1)] })
    }

    /// From ascending positions.
    #[must_use]
    pub fn from_positions(positions: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for at in positions {
            match ranges.last_mut() {
                Some(range) if range.1.checked_add(1) == Some(at) => range.1 = at,
                _ => ranges.push((at, at)),
            }
        }
        Self(ranges)
    }

    fn merge(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Whether nothing was picked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were picked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|&(low, high)| (high - low) as usize + 1).sum()
    }

    /// The positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flat_map(|&(low, high)| low as usize..=high as usize)
    }

    /// As UIDs for the keeper: one range a run of the view. A range may span UIDs that are gone; letters the view
    /// does not show yet have higher UIDs than its last and are never inside.
    #[must_use]
    pub fn uid_set(&self, view: &[u32]) -> Vec<(u32, u32)> {
        let uid = |at: u32| view.get(at as usize).copied();
        self.0.iter().filter_map(|&(low, high)| Some((uid(low)?, uid(high)?))).collect()
    }
}

/// Ascending numbers as compact ranges.
#[must_use]
pub fn compact(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    Picked::from_positions(numbers).0
}

/// A set of UIDs as text, e.g. `3:5,9`, appended (RFC 4315 `uid-set`).
pub fn write_set(out: &mut Vec<u8>, ranges: &[(u32, u32)]) {
    for (at, &(low, high)) in ranges.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        crate::render::number(out, u64::from(low));
        if high != low {
            out.push(b':');
            crate::render::number(out, u64::from(high));
        }
    }
}

/// Whether ascending ranges hold this number.
#[must_use]
pub fn holds(ranges: &[(u32, u32)], n: u32) -> bool {
    let at = ranges.partition_point(|range| range.1 < n);
    ranges.get(at).is_some_and(|range| range.0 <= n)
}

fn order(a: u32, b: u32, last: u32) -> (u32, u32) {
    let a = if a == STAR { last } else { a };
    let b = if b == STAR { last } else { b };
    (a.min(b), a.max(b))
}

// A view never has more than u32::MAX letters: UIDs are u32 and distinct.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn number(text: &[u8]) -> Option<u32> {
    match text {
        b"*" => Some(STAR),
        [b'1'..=b'9', rest @ ..] if rest.len() < 10 && rest.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn reads_what_the_rfc_writes() {
        assert_eq!(set("2,4:7,9,12:*").pairs(), &[(2, 2), (4, 7), (9, 9), (12, STAR)]);
        for bad in ["", "0", "1:", ":1", "1:2:3", "1,,2", "a", "-1", "4294967296", "01", "1 ", "**", "99999999999"] {
            assert_eq!(SequenceSet::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    // RFC 3501 §9: "2,4:7,9,12:* of 15 letters is 2,4,5,6,7,9,12,13,14,15"; "*:4,5:7 of 10 is 10,9,...,4".
    #[test]
    fn picks_by_number() {
        let numbers =
            |text, exists| -> Vec<usize> { set(text).positions(exists).unwrap().iter().map(|n| n + 1).collect() };
        assert_eq!(numbers("2,4:7,9,12:*", 15), [2, 4, 5, 6, 7, 9, 12, 13, 14, 15]);
        assert_eq!(numbers("*:4,5:7", 10), [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(numbers("1:*", 0), [0usize; 0]);
        assert_eq!(numbers("*", 0), [0usize; 0]);
        assert_eq!(set("16").positions(15), Err(BeyondEnd));
        assert_eq!(numbers("16:*", 15), [15]);
        assert_eq!(set("3:16").positions(15), Err(BeyondEnd));
        assert_eq!(set("1").positions(0), Err(BeyondEnd));
    }

    #[test]
    fn picks_by_uid() {
        let view = [3, 5, 8, 100];
        let uids = |text| -> Vec<u32> { set(text).uids(&view).iter().map(|at| view[at]).collect() };
        assert_eq!(uids("1:*"), [3, 5, 8, 100]);
        assert_eq!(uids("999:*"), [100]);
        assert_eq!(uids("*:4"), [5, 8, 100]);
        assert_eq!(uids("4,6,9:99"), [0u32; 0]);
        assert_eq!(uids("8:5,5:8"), [5, 8]);
        assert_eq!(set("1:*").uids(&[]), Picked::default());
        assert_eq!(set("5:8,100").uids(&view).uid_set(&view), [(5, 100)]);
    }

    #[test]
    fn writes_compactly() {
        let mut out = Vec::new();
        write_set(&mut out, &compact([1, 2, 3, 7, 9, 10]));
        assert_eq!(out, b"1:3,7,9:10");
    }

    proptest! {
        #[test]
        fn text_round_trip(pairs in prop::collection::vec((any::<u32>(), any::<u32>()), 1..50)) {
            let set = SequenceSet::new(pairs).unwrap();
            prop_assert_eq!(SequenceSet::parse(set.to_text().as_bytes()), Some(set));
        }

        #[test]
        fn bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = SequenceSet::parse(&text);
        }

        #[test]
        fn picks_what_it_contains(
            pairs in prop::collection::vec((0u32..40, 0u32..40), 1..6),
            uids in prop::collection::btree_set(1u32..40, 0..30),
        ) {
            let set = SequenceSet::new(pairs).unwrap();
            let view: Vec<u32> = uids.into_iter().collect();
            let last = view.last().copied().unwrap_or(0);
            let picked: Vec<u32> = set.uids(&view).iter().map(|at| view[at]).collect();
            let expected: Vec<u32> = view.iter().copied().filter(|&uid| set.contains(uid, last)).collect();
            let ranges = set.resolved(last);
            prop_assert!((0..50).all(|n| holds(&ranges, n) == set.contains(n, last)));
            prop_assert_eq!(picked, expected);
        }
    }
}
