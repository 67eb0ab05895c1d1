//! Where a command ends: lines and literals, fed in any pieces, bounded before anything is parsed.
//!
//! A line that ends in `{n}` or `{n+}` announces n bytes that belong to the command (RFC 3501 §4.3, RFC 7888).
//! APPEND's message is the one literal that is never gathered: its head is yielded, then its bytes as they come.

use zeroize::{Zeroize, Zeroizing};

use super::append::{self, Announced};
use super::cursor::Cursor;
use super::fault::{Fault, Refused};
use crate::command::AppendHead;
use crate::limits;

/// What to do next. Outside tests its `Debug` shows no bytes: they may be a password.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Step {
    /// Feed more bytes.
    Incomplete,
    /// The client waits: write `+ ` and a line end, then step again.
    Continue,
    /// A whole command for [`super::parse`]: no line end, literals in place. Wiped when dropped: it may hold a password.
    Command(Zeroizing<Vec<u8>>),
    /// APPEND has begun. If it is `sync`, the client waits for `+ ` now. [`Step::Chunk`]s follow until all of its
    /// bytes have come, then one [`Step::AppendEnd`]; unless [`Framer::refuse_append`] is called.
    Append(AppendHead),
    /// Bytes of the message being appended, at least one.
    Chunk(Vec<u8>),
    /// The message is complete. If it was not `well_formed`, something followed it on its line: BAD, and drop it.
    AppendEnd { well_formed: bool },
    /// A command that cannot be taken; it was skipped. Answer it, and when its fault closes, end.
    Refused(Refused),
}

/// Finds commands in bytes. Holds at most what was fed and not yet stepped over, one line and its literals.
pub struct Framer {
    input: Zeroizing<Vec<u8>>,
    /// How much of `input` is used up.
    at: usize,
    /// How much behind `at` is known to hold no line end: nothing is looked at twice.
    searched: usize,
    command: Zeroizing<Vec<u8>>,
    /// Bytes of literals in `command`.
    literals: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between literals of a command, or before one.
    Line,
    /// A literal of the command, so many bytes still to come.
    Literal(usize),
    /// APPEND's head went out; its message, so many bytes still to come. Not `begun` until the driver steps on.
    Message { left: u64, begun: bool },
    /// Behind APPEND's message. Nothing but a line end belongs here.
    Tail { well_formed: bool },
    /// Bytes of a literal nobody wants, then the rest of that line.
    Skip(u64, Skipped),
}

/// Why something is skipped, and so what to say at its end.
#[derive(Debug, Clone)]
enum Skipped {
    Refused(Refused),
    /// The driver has answered already.
    Answered,
    Tail,
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framer").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(not(test))]
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "Incomplete",
            Self::Continue => "Continue",
            Self::Command(_) => "Command",
            Self::Append(_) => "Append",
            Self::Chunk(_) => "Chunk",
            Self::AppendEnd { .. } => "AppendEnd",
            Self::Refused(_) => "Refused",
        })
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// At the start of a command.
    #[must_use]
    pub fn new() -> Self {
        let empty = || Zeroizing::new(Vec::new());
        Self { input: empty(), at: 0, searched: 0, command: empty(), literals: 0, state: State::Line }
    }

    /// Takes bytes as they came. Step until [`Step::Incomplete`] before feeding again: that bounds the memory.
    pub fn feed(&mut self, bytes: &[u8]) {
        let left = self.input.len() - self.at;
        if left + bytes.len() <= self.input.capacity() {
            self.input.copy_within(self.at.., 0);
            self.input[left..].zeroize();
            self.input.truncate(left);
        } else {
            // Growing in place would leave a copy behind unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity((left + bytes.len()).next_power_of_two()));
            larger.extend_from_slice(self.rest());
            self.input = larger;
        }
        self.at = 0;
        self.input.extend_from_slice(bytes);
    }

    /// What was fed and not stepped over, for whoever goes on after this framer.
    #[must_use]
    pub fn into_rest(self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.rest().to_vec())
    }

    /// Whether a command has begun and is not complete, or bytes wait: then silence is no idle client's.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.rest().is_empty() || !self.command.is_empty() || !matches!(self.state, State::Line)
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        loop {
            let step = match self.state {
                State::Line => self.line_step(),
                State::Literal(left) => self.literal_step(left),
                State::Message { left, .. } => self.message_step(left),
                State::Tail { well_formed } => self.tail_step(well_formed),
                State::Skip(left, _) => self.skip_step(left),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// A plain line without its end: SASL answers, DONE. No literals are looked for. `None` when it has not all come.
    ///
    /// # Errors
    /// [`Fault::LineTooLong`].
    pub fn line(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let Some((end, next)) = self.find_line()? else { return Ok(None) };
        let line = Zeroizing::new(self.input.get(self.at..end).unwrap_or_default().to_vec());
        self.pass(next);
        Ok(Some(line))
    }

    /// The message of [`Step::Append`] is not wanted, the tagged answer is the driver's. A client that still waits for
    /// its `+ ` does not send it then; otherwise, also after the first step on, what is left of it is skipped.
    pub fn refuse_append(&mut self, head: &AppendHead) {
        if let State::Message { left, begun } = self.state {
            let waits = head.sync && !begun;
            self.state = if waits { State::Line } else { State::Skip(left, Skipped::Answered) };
        }
    }

    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    // Marks input as used up to `next`, and wipes it.
    fn pass(&mut self, next: usize) {
        if let Some(used) = self.input.get_mut(self.at..next) {
            used.zeroize();
        }
        self.at = next;
        self.searched = 0;
    }

    // Where the line ends, without and with its line end. A lone LF is taken for one: people type at servers.
    fn find_line(&mut self) -> Result<Option<(usize, usize)>, Fault> {
        let room = (limits::LINE + self.literals).saturating_sub(self.command.len());
        let rest = self.input.get(self.at..).unwrap_or_default();
        let new = rest.get(self.searched..).unwrap_or_default();
        match new.iter().position(|&b| b == b'\n').map(|lf| self.searched + lf) {
            None if rest.len() <= room => {
                self.searched = rest.len();
                Ok(None)
            }
            None => Err(Fault::LineTooLong),
            Some(lf) if lf > room => Err(Fault::LineTooLong),
            Some(lf) => {
                let cr = lf.checked_sub(1).is_some_and(|at| rest.get(at) == Some(&b'\r'));
                Ok(Some((self.at + lf - usize::from(cr), self.at + lf + 1)))
            }
        }
    }

    fn line_step(&mut self) -> Option<Step> {
        let (end, next) = match self.find_line() {
            Err(fault) => return Some(self.refuse(fault)),
            Ok(None) => return Some(Step::Incomplete),
            Ok(Some(line)) => line,
        };
        let line = self.input.get(self.at..end).unwrap_or_default();
        let announced = append::announced(line);
        extend_wiping(&mut self.command, line);
        self.pass(next);
        match announced {
            None if self.command.is_empty() => None,
            None => {
                self.literals = 0;
                Some(Step::Command(std::mem::take(&mut self.command)))
            }
            Some(literal) => self.announced(literal),
        }
    }

    fn announced(&mut self, literal: Announced) -> Option<Step> {
        match append::head(&self.command, &literal) {
            Ok(Some(head)) => {
                self.command.clear();
                self.literals = 0;
                self.state = State::Message { left: u64::from(head.size), begun: false };
                return Some(Step::Append(head));
            }
            Ok(None) => {}
            Err(fault) => return self.skip(literal, fault),
        }
        let size = usize::try_from(literal.size).unwrap_or(usize::MAX);
        if self.literals.saturating_add(size) > limits::LITERALS {
            return self.skip(literal, Fault::TooMuch("The command's literals are too long"));
        }
        self.literals += size + 2;
        extend_wiping(&mut self.command, b"\r\n");
        self.state = State::Literal(size);
        literal.sync.then_some(Step::Continue)
    }

    // A literal is not wanted: a client that waits is told at once, one that does not is read past.
    fn skip(&mut self, literal: Announced, fault: Fault) -> Option<Step> {
        let refused = self.refusal(fault);
        let message = append::is_append(&self.command);
        self.command = Zeroizing::default();
        if literal.sync {
            return Some(Step::Refused(refused));
        }
        if literal.size > limits::SKIPPED && !(message && literal.size <= u64::from(u32::MAX)) {
            return Some(Step::Refused(Refused { fault: Fault::LiteralTooLong, ..refused }));
        }
        self.state = State::Skip(literal.size, Skipped::Refused(refused));
        None
    }

    fn refuse(&mut self, fault: Fault) -> Step {
        Step::Refused(self.refusal(fault))
    }

    fn refusal(&mut self, fault: Fault) -> Refused {
        let begun = if self.command.is_empty() { self.rest() } else { &self.command };
        let tag = Cursor::new(begun).tag().ok().map(str::to_owned);
        self.literals = 0;
        Refused { tag, fault }
    }

    fn literal_step(&mut self, left: usize) -> Option<Step> {
        let rest = self.rest();
        let take = rest.len().min(left);
        let piece = self.input.get(self.at..self.at + take).unwrap_or_default();
        extend_wiping(&mut self.command, piece);
        self.pass(self.at + take);
        if take < left {
            self.state = State::Literal(left - take);
            return Some(Step::Incomplete);
        }
        self.state = State::Line;
        None
    }

    fn message_step(&mut self, left: u64) -> Option<Step> {
        if left == 0 {
            self.state = State::Tail { well_formed: true };
            return None;
        }
        self.state = State::Message { left, begun: true };
        let rest = self.rest();
        if rest.is_empty() {
            return Some(Step::Incomplete);
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let chunk = rest.get(..take).unwrap_or_default().to_vec();
        self.at += take;
        self.state = State::Message { left: left - take as u64, begun: true };
        Some(Step::Chunk(chunk))
    }

    fn tail_step(&mut self, well_formed: bool) -> Option<Step> {
        let (end, next) = match self.find_line() {
            Err(fault) => return Some(self.refuse(fault)),
            Ok(None) => return Some(Step::Incomplete),
            Ok(Some(line)) => line,
        };
        let line = self.input.get(self.at..end).unwrap_or_default();
        let announced = append::announced(line);
        let well_formed = well_formed && line.is_empty();
        self.pass(next);
        if let Some(literal) = announced.filter(|literal| !literal.sync) {
            // MULTIAPPEND, which we do not offer.
            self.state = State::Skip(literal.size, Skipped::Tail);
            return None;
        }
        self.state = State::Line;
        Some(Step::AppendEnd { well_formed })
    }

    fn skip_step(&mut self, left: u64) -> Option<Step> {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.rest().len());
        self.pass(self.at + take);
        let left = left - take as u64;
        let State::Skip(_, why) = &self.state else { return None };
        let why = why.clone();
        if left > 0 {
            self.state = State::Skip(left, why);
            return Some(Step::Incomplete);
        }
        if matches!(why, Skipped::Tail) {
            self.state = State::Tail { well_formed: false };
            return None;
        }
        self.state = State::Skip(0, why.clone());
        self.literals = 0;
        let (end, next) = match self.find_line() {
            Err(fault) => return Some(self.refuse(fault)),
            Ok(None) => return Some(Step::Incomplete),
            Ok(Some(line)) => line,
        };
        let announced = append::announced(self.input.get(self.at..end).unwrap_or_default());
        self.pass(next);
        if let Some(literal) = announced.filter(|literal| !literal.sync) {
            self.state = State::Skip(literal.size, why);
            return None;
        }
        self.state = State::Line;
        match why {
            Skipped::Refused(refused) => Some(Step::Refused(refused)),
            Skipped::Answered | Skipped::Tail => None,
        }
    }
}

// Growing a Vec in place would leave what it held behind unwiped.
fn extend_wiping(to: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if to.capacity() - to.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((to.len() + bytes.len()).next_power_of_two()));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
