//! The answer to a whole letter, read as leniently as it can be: whoever took an oddly written yes for none would send the letter
//! again, and again. Before the end of its text nobody is lenient: there a line end of one's own is how smuggling works.

use std::io;

use tokio::io::AsyncRead;
use wire::lines::{Line, Lines};

use crate::courier::limits;

/// How the answer is written, as far as it has come.
#[derive(Debug, Default)]
pub struct Answer {
    /// Not as it should be: nobody knows how to read what follows it.
    is_odd: bool,
    /// Of a line that was too long, the rest is to be thrown away.
    skips: bool,
    /// Empty lines in front of it.
    blank: usize,
}

impl Answer {
    /// Whether it was not written as it should be.
    #[must_use]
    pub const fn is_odd(&self) -> bool {
        self.is_odd
    }

    /// Its next line; one without an end when nothing comes after it. Safe to drop and call again.
    ///
    /// # Errors
    /// The stream's, where no line had begun.
    pub async fn line<S: AsyncRead + Unpin>(&mut self, lines: &mut Lines<S>) -> io::Result<Line> {
        loop {
            if let Some(line) = self.next(lines) {
                return Ok(Line::Whole(line));
            }
            match lines.fill().await {
                Ok(0) => return Ok(self.begun(lines).map_or(Line::End, Line::Whole)),
                Ok(_) => {}
                Err(error) => return self.begun(lines).map(Line::Whole).ok_or(error),
            }
        }
    }

    /// What has come of a line, when nothing more comes.
    pub fn begun<S>(&mut self, lines: &mut Lines<S>) -> Option<Vec<u8>> {
        let line = without_returns(lines.buffered()).to_vec();
        lines.discard();
        self.is_odd = true;
        (!self.skips && !line.is_empty()).then_some(line)
    }

    /// One that is there.
    fn next<S>(&mut self, lines: &mut Lines<S>) -> Option<Vec<u8>> {
        loop {
            let pending = lines.buffered();
            let end = pending.iter().position(|byte| *byte == b'\n');
            if self.skips {
                lines.consume(end.map_or(pending.len(), |end| end + 1));
                self.skips = end.is_none();
                end?;
                continue;
            }
            let whole = end.filter(|end| *end < limits::REPLY_LINE);
            let line = match whole {
                Some(end) => &pending[..end],
                None if pending.len() >= limits::REPLY_LINE => &pending[..limits::REPLY_LINE],
                None => return None,
            };
            let plain = without_returns(line).to_vec();
            self.skips = whole.is_none();
            self.is_odd |= self.skips || line.len() != plain.len() + 1 || plain.contains(&b'\r');
            lines.consume(line.len() + usize::from(whole.is_some()));
            if !plain.is_empty() || self.blank == limits::BEFORE_ANSWER {
                return Some(plain);
            }
            (self.is_odd, self.blank) = (true, self.blank + 1);
        }
    }
}

fn without_returns(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    /// The lines of what comes in these pieces before the end.
    fn read(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let sending = async move {
                for piece in pieces {
                    theirs.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let reading = async {
                let (mut lines, mut answer, mut all) = (Lines::new(ours), Answer::default(), Vec::new());
                while let Line::Whole(line) = answer.line(&mut lines).await.unwrap() {
                    all.push(line);
                }
                all
            };
            tokio::join!(sending, reading).1
        })
    }

    #[test]
    fn however_it_is_written() {
        let long = [b"250 ".as_slice(), &[b'x'; 3_000], b"\r\n250 more\r\n"].concat();
        let kept = long[..limits::REPLY_LINE].to_vec();
        let more = b"250 more".to_vec();
        for (bytes, expected) in [
            (b"250 taken\r\n".as_slice(), vec![b"250 taken".to_vec()]),
            (b"250 taken\n", vec![b"250 taken".to_vec()]),
            (b"250 taken\r\r\n", vec![b"250 taken".to_vec()]),
            (b"250 taken", vec![b"250 taken".to_vec()]),
            (b"250 taken\r", vec![b"250 taken".to_vec()]),
            (b"\r\n\n250 taken\r\n", vec![b"250 taken".to_vec()]),
            (b"250-a\n250 b\r\n", vec![b"250-a".to_vec(), b"250 b".to_vec()]),
            (b"250 ta\rken\r\n", vec![b"250 ta\rken".to_vec()]),
            (b"", vec![]),
            (&long, vec![kept, more]),
        ] {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(read(&[bytes]), expected, "{shown:?}");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&single), expected, "{shown:?}");
        }
    }

    #[test]
    fn only_what_is_written_as_it_should_be_is_not_odd() {
        for (bytes, odd) in [
            (b"250-a\r\n250 b\r\n".as_slice(), false),
            (b"250 b\n", true),
            (b"\r\n250 b\r\n", true),
            (b"250 b\r\r\n", true),
            (b"250\rb\r\n", true),
            (&[[b'2'; 3_000].as_slice(), b"\r\n"].concat(), true),
        ] {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let was_odd = runtime.block_on(async {
                let (ours, mut theirs) = tokio::io::duplex(10_000);
                theirs.write_all(bytes).await.unwrap();
                let (mut lines, mut answer) = (Lines::new(ours), Answer::default());
                while !matches!(answer.line(&mut lines).await, Ok(Line::Whole(line)) if !line.starts_with(b"250-")) {}
                answer.is_odd()
            });
            assert_eq!(was_odd, odd, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn bounded_and_the_same_however_it_comes(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'2')], 0..3_000), cut in 1usize..50) {
            let lines = read(&[&bytes]);
            prop_assert!(lines.iter().all(|line| line.len() <= limits::REPLY_LINE));
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(read(&pieces), lines);
        }
    }
}
