//! A message on its way in: into memory, under the budget, at no less than the minimum rate.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::authentication::Early;
use crate::budget::Taken;
use crate::connection::Connection;
use crate::data::{Fault, LineEnds, Reader};
use crate::limits;
use crate::sealing::Letters;
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
    /// What will be sealed, begun already.
    pub letters: Option<Letters>,
    largest: u64,
    /// What SIZE said.
    announced: u64,
    ends: LineEnds,
    outcome: BodyOutcome,
    /// Begins with the first byte, and goes on between chunks.
    pace: Option<Pace>,
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
    /// Of a transaction that begins. `taken` is nothing yet.
    #[must_use]
    pub fn new(taken: Taken, largest: u64, announced: Option<u64>, early: Option<Early>) -> Self {
        Self {
            bytes: Vec::new(),
            taken,
            early,
            letters: None,
            largest,
            announced: announced.unwrap_or(largest),
            ends: LineEnds::default(),
            outcome: BodyOutcome::Whole,
            pace: None,
        }
    }

    /// How long the peer may be silent: as long as any, until bytes of its message are held.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.pace.as_ref().map_or(limits::IDLE, |pace| pace.patience(Instant::now()))
    }

    async fn fill(&mut self, connection: &mut Connection, end: Instant) -> Result<(), Stopped> {
        let held = self.taken.bytes();
        self.pace.get_or_insert_with(|| Pace::new(Instant::now())).fill(connection, held, end).await
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
        let mut reader = Reader::default();
        while !reader.ended() {
            self.fill(connection, end).await?;
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
        let mut left = octets;
        while left > 0 {
            self.fill(connection, end).await?;
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
            let stepped = needed.next_multiple_of(limits::BUDGET_STEP).min(self.announced.max(needed));
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
        self.letters = None;
        self.taken.give_back();
        self.outcome = why;
    }
}

/// Reads so many bytes and throws them away.
///
/// # Errors
/// [`Stopped`].
pub async fn discard(connection: &mut Connection, octets: u64, end: Instant) -> Result<(), Stopped> {
    let (mut left, mut pace) = (octets, Pace::new(Instant::now()));
    while left > 0 {
        pace.fill(connection, 0, end).await?;
        let offered = connection.lines.buffered().len().min(usize::try_from(left).unwrap_or(usize::MAX));
        connection.lines.consume(offered);
        left -= offered as u64;
    }
    Ok(())
}

/// How fast a peer sends: what comes buys it time, at a rate that grows with what it holds of the budget.
#[derive(Debug)]
struct Pace {
    until: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { until: now + limits::RATE_GRACE }
    }

    fn patience(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now).min(limits::IDLE)
    }

    fn credit(&mut self, now: Instant, bytes: usize, held: u64) {
        let rate = limits::MINIMUM_RATE.max(held / limits::HOLD.as_secs());
        let bought = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate);
        self.until = (self.until + bought).min(now + limits::RATE_CREDIT);
    }

    /// Reads more, unless something is there already.
    async fn fill(&mut self, connection: &mut Connection, held: u64, end: Instant) -> Result<(), Stopped> {
        if !connection.lines.buffered().is_empty() {
            return Ok(());
        }
        connection.flush().await.map_err(Stopped::Lost)?;
        let now = Instant::now();
        let patience = self.patience(now).min(end.saturating_duration_since(now));
        let read = timeout(patience, connection.lines.fill()).await.map_err(|_| Stopped::TooSlow)?;
        match read.map_err(Stopped::Lost)? {
            0 => Err(Stopped::Lost(io::ErrorKind::UnexpectedEof.into())),
            more => {
                self.credit(Instant::now(), more, held);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Seconds until a peer that sends so fast, and then keeps what it sent, is cut off.
    fn lasts(bytes_a_second: u64, most: u64) -> u64 {
        let began = Instant::now();
        let (mut pace, mut held) = (Pace::new(began), 0);
        for second in 1..=3_600 {
            let now = began + Duration::from_secs(second);
            if pace.patience(now).is_zero() {
                return second;
            }
            held += bytes_a_second;
            pace.credit(now, usize::try_from(bytes_a_second).unwrap(), held.min(most));
        }
        3_600
    }

    #[test]
    fn the_silent_are_cut_off_after_the_grace() {
        assert_eq!(lasts(0, 0), limits::RATE_GRACE.as_secs());
        let began = Instant::now();
        let mut pace = Pace::new(began);
        pace.credit(began, usize::MAX, 0);
        assert_eq!(pace.patience(began), limits::RATE_CREDIT, "however much came before");
    }

    #[test]
    fn the_minimum_rate_holds() {
        assert!(lasts(limits::MINIMUM_RATE / 2, MIB) < 100);
        assert_eq!(lasts(limits::MINIMUM_RATE, 200 * 1024), 3_600);
    }

    #[test]
    fn who_holds_much_must_send_fast() {
        // 1 KB/s is enough for a small letter, and far from enough to sit on 35 MB.
        assert_eq!(lasts(1_024, 512 * 1024), 3_600);
        let began = Instant::now();
        let mut pace = Pace::new(began);
        for second in 0..120 {
            pace.credit(began + Duration::from_secs(second), 1_024, 35 * MIB);
        }
        assert!(pace.patience(began + Duration::from_secs(120)).is_zero());
        // A slow line brings a large message home.
        assert!(lasts(128 * 1024, 50 * MIB) > 50 * 8);
    }
}
