//! The owner's end of the relay: commands in, replies out. Plain bytes; TLS is `login`'s.
//!
//! Replies gather in one buffer and go out in one write when nothing is left to do; the waiting client of an
//! idle session holds no buffer at all.

use std::cell::RefCell;
use std::io::{self, IoSlice};

use tokio::net::UnixStream;

use crate::grammar::{Framer, Step};
use crate::limits;

/// One client's stream.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    framer: Framer,
    /// Replies not yet written.
    pub out: Vec<u8>,
    /// Bytes still owed to an announced literal: until they are out, nothing else may be said.
    owed: u64,
    /// Commands, reads and writes so far.
    turns: u32,
}

impl Client {
    /// Takes a connected stream.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream, framer: Framer::new(), out: Vec::new(), owed: 0, turns: 0 })
    }

    /// The next step of what has been read.
    pub fn step(&mut self) -> Step {
        self.framer.step()
    }

    /// The framer, for plain lines and refused literals.
    pub const fn framer(&mut self) -> &mut Framer {
        &mut self.framer
    }

    /// Reads more; `false` at the client's end. Safe to drop and call again.
    ///
    /// # Errors
    /// The stream's.
    pub async fn read(&mut self) -> io::Result<bool> {
        self.take_turns().await;
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::CHUNK]);
        }
        loop {
            self.stream.readable().await?;
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = self.stream.try_read(buffer);
                if let Ok(count) = read {
                    self.framer.feed(&buffer[..count]);
                    buffer[..count].fill(0);
                }
                read
            });
            match read {
                Ok(count) => return Ok(count > 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets the owner's other sessions, and the end of this one, have their turn: one thread serves them all, and a client
    /// that always has more to say and takes all that it is told would never wait.
    pub async fn take_turns(&mut self) {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(limits::TURNS) {
            tokio::task::yield_now().await;
        }
    }

    /// Appends to the replies.
    pub fn say(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Whether so much has gathered that it should go out before more is made.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.out.len() >= limits::REPLY
    }

    /// Writes everything out.
    ///
    /// # Errors
    /// The stream's; `TimedOut` when the client has taken nothing for [`limits::STALLED`].
    pub async fn flush(&mut self) -> io::Result<()> {
        self.flush_with(&[]).await
    }

    /// Writes everything out and `more` behind it, which is not copied.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn flush_with(&mut self, more: &[u8]) -> io::Result<()> {
        self.take_turns().await;
        let (mut first, mut second) = (self.out.as_slice(), more);
        while !first.is_empty() || !second.is_empty() {
            match self.stream.try_write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let of_first = written.min(first.len());
                    first = &first[of_first..];
                    second = &second[written - of_first..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::timeout(limits::STALLED, self.stream.writable()).await??;
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Sends bytes now, or with the next flush when they are few.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.out.len() + bytes.len() <= limits::REPLY {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush_with(bytes).await
    }

    /// Announces a literal's bytes: until [`Self::pay`] has seen them all, the stream cannot end in words.
    pub const fn owe(&mut self, bytes: u64) {
        self.owed += bytes;
    }

    /// So many bytes of a literal went out, or into the buffer.
    pub const fn pay(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_sub(bytes);
    }

    /// Whether a BYE would be read as part of a letter.
    #[must_use]
    pub const fn is_inside_literal(&self) -> bool {
        self.owed > 0
    }

    /// Gives back the buffers of a busy session.
    pub fn shrink(&mut self) {
        if self.out.is_empty() && self.out.capacity() > limits::IDLE_BUFFER {
            self.out = Vec::new();
        }
        if !self.framer.is_inside() {
            self.framer = Framer::new();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A client that never has to wait: what it is told fits into the socket.
    #[test]
    fn who_never_waits_lets_others_have_their_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let mut client = Client::new(ours).unwrap();
            let turns = Rc::new(Cell::new(0));
            let counts = turns.clone();
            tokio::task::spawn_local(async move {
                loop {
                    counts.set(counts.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            for _ in 0..4 * limits::TURNS {
                client.say("+ Waiting\r\n");
                client.flush().await.unwrap();
            }
            assert!(turns.get() >= 3, "{} turns", turns.get());
        });
    }
}
