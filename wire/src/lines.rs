//! Bounded reading of CRLF lines. SMTP and IMAP commands end in CRLF only: a bare CR or LF inside a
//! line is reported, never taken for a line end (that difference is how smuggling works).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What one attempt to read a line gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its CRLF.
    Whole(Vec<u8>),
    /// Longer than allowed; it has been read to its end and thrown away.
    TooLong,
    /// It holds a CR or LF that is not part of CRLF; read to its end and thrown away.
    BareLineEnd,
    /// The peer has finished sending; a begun line is thrown away.
    End,
}

/// A stream with its input buffer.
#[derive(Debug)]
pub struct Lines<S> {
    stream: S,
    buffer: Vec<u8>,
    start: usize,
}

/// Bytes asked of the stream at a time.
const READ: usize = 16 * 1024;

impl<S> Lines<S> {
    /// Wraps a stream; nothing is allocated until the first read.
    pub const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), start: 0 }
    }

    /// What has been read and not yet consumed.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Takes bytes off the front of [`Self::buffered`]; at most what is there. They are cleared: a session may stay open
    /// for an hour after a password or a letter.
    pub fn consume(&mut self, bytes: usize) {
        let from = self.start;
        self.start = (self.start + bytes).min(self.buffer.len());
        self.buffer[from..self.start].fill(0);
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Throws away whatever was sent ahead and says how much it was: before TLS begins nothing that came
    /// in clear may survive (RFC 3207 §4.2).
    pub fn discard(&mut self) -> usize {
        let pending = self.buffered().len();
        self.consume(pending);
        pending
    }

    /// Gives memory back; for connections that will be idle.
    pub fn shrink(&mut self) {
        if self.buffered().is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// The stream, to write to.
    pub const fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream and what had been read ahead.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        self.move_up();
        (self.stream, self.buffer)
    }

    /// To the buffer's front, and nothing stays behind.
    fn move_up(&mut self) {
        let pending = self.buffered().len();
        self.buffer.copy_within(self.start.., 0);
        self.buffer[pending..].fill(0);
        self.buffer.truncate(pending);
        self.start = 0;
    }
}

impl<S: AsyncRead + Unpin> Lines<S> {
    /// Reads more into the buffer; 0 means the peer has finished. Safe to drop and call again.
    ///
    /// # Errors
    /// The stream's.
    pub async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.move_up();
        }
        self.buffer.reserve(READ);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// The next line of at most `limit` bytes, CRLF included. Safe to drop and call again only before
    /// anything of an over-long line was thrown away; callers end the session when they time out.
    ///
    /// # Errors
    /// The stream's.
    pub async fn next(&mut self, limit: usize) -> io::Result<Line> {
        let mut searched = 0;
        loop {
            let pending = self.buffered();
            if let Some(end) = find_crlf(pending, searched) {
                let line = classify(&pending[..end], limit);
                self.consume(end + 2);
                return Ok(line);
            }
            if pending.len() > limit {
                return self.skip().await;
            }
            // The last byte may be the CR of a CRLF still to come.
            searched = pending.len().saturating_sub(1);
            if self.fill().await? == 0 {
                self.discard();
                return Ok(Line::End);
            }
        }
    }

    async fn skip(&mut self) -> io::Result<Line> {
        loop {
            if let Some(end) = find_crlf(self.buffered(), 0) {
                self.consume(end + 2);
                return Ok(Line::TooLong);
            }
            let keep_cr = usize::from(self.buffered().last() == Some(&b'\r'));
            self.consume(self.buffered().len() - keep_cr);
            if self.fill().await? == 0 {
                return Ok(Line::End);
            }
        }
    }
}

fn classify(line: &[u8], limit: usize) -> Line {
    if line.len() + 2 > limit {
        return Line::TooLong;
    }
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Line::BareLineEnd;
    }
    Line::Whole(line.to_vec())
}

fn find_crlf(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(2).position(|pair| pair == b"\r\n").map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(chunks: &[Vec<u8>], limit: usize) -> Vec<Line> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut theirs, ours) = tokio::io::duplex(64);
            let chunks = chunks.to_vec();
            let sending = async move {
                for chunk in chunks {
                    tokio::io::AsyncWriteExt::write_all(&mut theirs, &chunk).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let reading = async move {
                let mut lines = Lines::new(ours);
                let mut out = Vec::new();
                loop {
                    let line = lines.next(limit).await.unwrap();
                    let end = line == Line::End;
                    out.push(line);
                    if end {
                        return out;
                    }
                }
            };
            tokio::join!(sending, reading).1
        })
    }

    #[test]
    fn what_was_consumed_is_gone_from_the_buffer() {
        let mut lines = Lines { stream: (), buffer: b"AUTH secret\r\nNOOP\r\n".to_vec(), start: 0 };
        let before = lines.buffer.len();
        lines.consume(13);
        assert!(lines.buffer[..13].iter().all(|byte| *byte == 0) && lines.buffered() == b"NOOP\r\n");
        lines.move_up();
        assert_eq!(lines.buffer, b"NOOP\r\n");
        lines.buffer.resize(before, 1);
        assert_eq!(lines.buffered().len(), before);
    }

    #[test]
    fn what_ends_a_line() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for (input, expected) in [
            ("a\r\nb\r\n", vec![whole("a"), whole("b"), Line::End]),
            ("a\nb\r\n", vec![Line::BareLineEnd, Line::End]),
            ("a\rb\r\n", vec![Line::BareLineEnd, Line::End]),
            ("a\r\r\n", vec![Line::BareLineEnd, Line::End]),
            ("\r\n", vec![whole(""), Line::End]),
            ("12345678\r\n", vec![whole("12345678"), Line::End]),
            ("123456789\r\nx\r\n", vec![Line::TooLong, whole("x"), Line::End]),
            ("begun", vec![Line::End]),
            ("a\r", vec![Line::End]),
        ] {
            assert_eq!(read_all(&[input.as_bytes().to_vec()], 10), expected, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..200), cuts in prop::collection::vec(1usize..20, 0..20)) {
            let mut chunks = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(head.to_vec());
                rest = tail;
            }
            chunks.push(rest.to_vec());
            prop_assert_eq!(read_all(&chunks, 12), read_all(&[bytes], 12));
        }
    }
}
