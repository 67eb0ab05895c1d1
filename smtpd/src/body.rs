//! A message on its way in: into memory, under the budget, at no less than the minimum rate.

use std::io;

use tokio::time::{Instant, timeout};

use crate::authentication::Early;
use crate::budget::Taken;
use crate::connection::Connection;
use crate::data::{Fault, LineEnds, Reader};
use crate::limits;
use crate::session::BodyOutcome;

/// The message of one transaction.
#[derive(Debug)]
pub struct Body {
    /// What has come.
    pub bytes: Vec<u8>,
    /// The room it takes; held until its fate is told.
    pub taken: Taken,
    /// What is verified meanwhile (`mx` only).
    pub early: Option<Early>,
    largest: u64,
    ends: LineEnds,
    outcome: BodyOutcome,
}

/// Why reading stopped before the end.
#[derive(Debug)]
pub enum Stopped {
    /// Silent, slow, or the session's time is over.
    TooSlow,
    /// The connection is gone.
    Lost(io::Error),
}

impl Body {
    /// With the room of MAIL.
    #[must_use]
    pub fn new(taken: Taken, largest: u64, early: Option<Early>) -> Self {
        Self { bytes: Vec::new(), taken, early, largest, ends: LineEnds::default(), outcome: BodyOutcome::Whole }
    }

    /// What can be said of what has come.
    #[must_use]
    pub const fn outcome(&self) -> BodyOutcome {
        self.outcome
    }

    /// Reads dot-stuffed text to its end (DATA).
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn text(&mut self, connection: &mut Connection, end: Instant) -> Result<(), Stopped> {
        let (mut reader, mut pace) = (Reader::default(), Pace::new(end));
        while !reader.ended() {
            pace.fill(connection).await?;
            let input = connection.lines.buffered();
            let offered = input.len();
            self.make_room(offered);
            if self.outcome == BodyOutcome::Whole {
                let took = reader.feed(input, &mut self.bytes);
                connection.lines.consume(took);
            } else {
                let took = reader.feed(input, &mut Vec::new());
                connection.lines.consume(took);
            }
        }
        self.conclude(reader.fault());
        Ok(())
    }

    /// Reads a counted chunk (BDAT).
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn chunk(
        &mut self,
        connection: &mut Connection,
        octets: u64,
        last: bool,
        end: Instant,
    ) -> Result<(), Stopped> {
        let (mut left, mut pace) = (octets, Pace::new(end));
        while left > 0 {
            pace.fill(connection).await?;
            let input = connection.lines.buffered();
            let offered = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.make_room(offered);
            if self.outcome == BodyOutcome::Whole {
                self.ends.feed(&input[..offered]);
                self.bytes.extend_from_slice(&input[..offered]);
            }
            connection.lines.consume(offered);
            left -= offered as u64;
        }
        self.conclude(if last { self.ends.fault() } else { None });
        Ok(())
    }

    /// Makes sure that so many more bytes may be kept; else what there is, is let go, and the rest only read.
    fn make_room(&mut self, more: usize) {
        let needed = (self.bytes.len() + more) as u64;
        if self.outcome != BodyOutcome::Whole {
            return;
        }
        // What is read ahead may belong to the next command: only what is over for certain is too large.
        if self.bytes.len() as u64 > self.largest {
            self.refuse(BodyOutcome::TooLarge);
        } else if needed > self.taken.bytes() {
            let stepped = needed.next_multiple_of(limits::BUDGET_STEP);
            if !self.taken.grow_to(stepped) && !self.taken.grow_to(needed) {
                self.refuse(BodyOutcome::NoRoom);
            }
        }
    }

    fn conclude(&mut self, fault: Option<Fault>) {
        if self.outcome != BodyOutcome::Whole {
            return;
        }
        if self.bytes.len() as u64 > self.largest {
            self.refuse(BodyOutcome::TooLarge);
        } else if let Some(fault) = fault {
            self.refuse(BodyOutcome::Faulty(fault));
        }
    }

    fn refuse(&mut self, why: BodyOutcome) {
        self.bytes = Vec::new();
        self.outcome = why;
    }
}

/// Reads so many bytes and throws them away.
///
/// # Errors
/// [`Stopped`].
pub async fn discard(connection: &mut Connection, octets: u64, end: Instant) -> Result<(), Stopped> {
    let (mut left, mut pace) = (octets, Pace::new(end));
    while left > 0 {
        pace.fill(connection).await?;
        let offered = connection.lines.buffered().len().min(usize::try_from(left).unwrap_or(usize::MAX));
        connection.lines.consume(offered);
        left -= offered as u64;
    }
    Ok(())
}

/// How fast a peer sends.
struct Pace {
    began: Instant,
    bytes: u64,
    end: Instant,
}

impl Pace {
    fn new(end: Instant) -> Self {
        Self { began: Instant::now(), bytes: 0, end }
    }

    /// Reads more, unless something is there already.
    async fn fill(&mut self, connection: &mut Connection) -> Result<(), Stopped> {
        if !connection.lines.buffered().is_empty() {
            return Ok(());
        }
        connection.flush().await.map_err(Stopped::Lost)?;
        let patience = limits::IDLE.min(self.end.saturating_duration_since(Instant::now()));
        let read = timeout(patience, connection.lines.fill()).await.map_err(|_| Stopped::TooSlow)?;
        match read.map_err(Stopped::Lost)? {
            0 => return Err(Stopped::Lost(io::ErrorKind::UnexpectedEof.into())),
            more => self.bytes += more as u64,
        }
        let elapsed = self.began.elapsed();
        let due = elapsed.as_secs().saturating_mul(limits::MINIMUM_RATE);
        if elapsed > limits::RATE_GRACE && self.bytes < due { Err(Stopped::TooSlow) } else { Ok(()) }
    }
}
