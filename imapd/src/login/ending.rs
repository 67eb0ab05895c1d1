//! Where a session's replies stand, so that its clients are told when their owner's process has died.
//!
//! Owners say `* BYE` themselves. One that was killed cannot; `login` may say it in its place, but only between two
//! lines: within a literal the words would become part of a letter.

/// The longest that a literal's announcement may be: `{4294967295}`.
const ANNOUNCED: usize = 12;

/// Follows one owner's replies.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Bytes of a literal that are still to come.
    literal: u64,
    /// How the present line ends so far.
    tail: Vec<u8>,
    /// How it begins.
    head: Vec<u8>,
    /// One line was a BYE; after LOGOUT another follows.
    bye: bool,
}

/// RFC 3501 §7.1.5.
const BYE: &[u8] = b"* BYE";

impl Ending {
    /// Follows more of what is said.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.literal).unwrap_or(usize::MAX).min(bytes.len());
            self.literal -= skipped as u64;
            bytes = &bytes[skipped..];
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            self.line(line);
            if end.is_some() {
                self.line_end();
            }
            bytes = rest;
        }
    }

    fn line(&mut self, piece: &[u8]) {
        let missing = BYE.len().saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..missing.min(piece.len())]);
        // The announcement with its CRLF.
        let kept = ANNOUNCED + 2;
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(kept)..]);
        self.tail.drain(..self.tail.len().saturating_sub(kept));
    }

    fn line_end(&mut self) {
        match announced(&self.tail) {
            // The line goes on behind it.
            Some(bytes) => self.literal = bytes,
            None => {
                self.bye |= self.head == BYE;
                self.head.clear();
            }
        }
        self.tail.clear();
    }

    /// Whether the replies ended between two lines, and none was a BYE.
    pub(super) const fn lacks_bye(&self) -> bool {
        self.literal == 0 && self.head.is_empty() && self.tail.is_empty() && !self.bye
    }
}

/// The literal that a line announces at its end (RFC 3501 §4.3).
fn announced(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"}\r\n")?;
    let begin = digits.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&digits[begin + 1..]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(pieces: &[&[u8]]) -> Ending {
        let mut ending = Ending::default();
        pieces.iter().for_each(|piece| ending.hear(piece));
        ending
    }

    #[test]
    fn only_between_lines_and_only_once() {
        assert!(heard(&[]).lacks_bye());
        assert!(heard(&[b"* 1 EXISTS\r\na OK Done\r\n"]).lacks_bye());
        assert!(!heard(&[b"* 1 EXI"]).lacks_bye());
        assert!(!heard(&[b"* BYE Until next time\r\n"]).lacks_bye());
        assert!(!heard(&[b"* BYE Until next time\r\na OK Logged out\r\n"]).lacks_bye());
        assert!(heard(&[b"* OK BYE\r\na OK Done\r\n"]).lacks_bye());
    }

    #[test]
    fn never_within_a_letter() {
        let fetch: &[u8] = b"* 1 FETCH (BODY[] {16}\r\n";
        assert!(!heard(&[fetch]).lacks_bye());
        assert!(!heard(&[fetch, b"Subject: x\r\n"]).lacks_bye());
        assert!(!heard(&[fetch, b"a: {3}\r\n\r\n* BYE"]).lacks_bye());
        assert!(!heard(&[fetch, b"Subject: x\r\n\r\nab"]).lacks_bye(), "the line goes on");
        assert!(heard(&[fetch, b"Subject: x\r\n\r\nab", b")\r\n"]).lacks_bye());
        assert!(!heard(&[b"* 1 FETCH (BODY[] {0}\r\n"]).lacks_bye());
        assert!(heard(&[b"* 1 FETCH (BODY[] {0}\r\n)\r\n"]).lacks_bye());
    }

    proptest! {
        #[test]
        fn the_cuts_do_not_matter(
            sizes in prop::collection::vec(0..40_usize, 0..6),
            cuts in prop::collection::vec(0..400_usize, 0..9),
            end in 0..400_usize,
        ) {
            let mut all = Vec::new();
            for size in sizes {
                all.extend(format!("* 1 FETCH (BODY[] {{{size}}}\r\n").bytes());
                all.extend(b"* BYE\r\n{9}\r\n".iter().cycle().take(size));
                all.extend(b" UID 7)\r\n");
            }
            all.truncate(end);
            let mut cut = heard(&[]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(all.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for to in cuts.into_iter().chain([all.len()]) {
                cut.hear(&all[from..to]);
                from = to;
            }
            prop_assert_eq!(cut.lacks_bye(), heard(&[&all]).lacks_bye());
        }
    }
}
