//! Answers: JSON for programs, plain lines for people.

use std::io::{self, Write};
use std::os::fd::AsFd;

use serde_json::Value;
use spool::edges::admin::Request;

use crate::admin::Session;
use crate::failure::{Doing, Failure};
use crate::up::harmless_lines;

/// Prints one JSON value on one line, or the words.
///
/// # Errors
/// When standard output cannot be written: what was to be said (perhaps a password) has reached nobody.
pub fn print(as_json: bool, json: &Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
    let text = if as_json { json.to_string() } else { harmless_lines(&words()) };
    let line = format!("{}\n", text.trim_end());
    let write = if text.is_empty() { Ok(()) } else { unbuffered(line.as_bytes()) };
    clear_stack();
    write.doing(|| "cannot write to standard output".to_owned())
}

/// Past the library's buffer, which is there for as long as the process: `up` prints a password and the words once.
fn unbuffered(line: &[u8]) -> io::Result<()> {
    let out = io::stdout().lock();
    std::fs::File::from(out.as_fd().try_clone_to_owned()?).write_all(line)
}

/// Overwrites what deeper calls have left on the stack: the allocator clears only what it gave.
#[inline(never)]
fn clear_stack() {
    std::hint::black_box(&mut [0u8; 64 * 1024]);
}

/// Whether a secret that is printed now reaches anybody: a person at a terminal, or with `--json` a program. (Where standard
/// output was closed at the start, it is the null device now.)
#[must_use]
pub fn somebody_reads(as_json: bool) -> bool {
    let out = io::stdout();
    let null = rustix::fs::fstat(&out).is_ok_and(|stat| stat.st_rdev == rustix::fs::makedev(1, 3));
    rustix::termios::isatty(&out) || (as_json && !null)
}

/// Takes back what was made when its secrets could not be printed: nobody has seen them, and nobody can.
#[must_use]
pub fn take_back(session: &mut Session, unseen: &Failure, made: &str, undo: Request, mend: &str) -> Failure {
    let words = &unseen.words;
    match session.done(undo) {
        Ok(()) => Failure::new(format!("{words}: nobody has seen the secrets, so {made} was taken back")),
        Err(failure) => Failure::new(format!(
            "{words}: {made} was made, and nobody has seen its secrets: {mend} ({})",
            failure.words
        )),
    }
}

/// Rows with their columns lined up, two blanks between.
#[must_use]
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|n| row[n].as_str())));
    std::iter::once(line(head)).chain(body).collect::<Vec<_>>().join("\n")
}

/// A day, as people write it everywhere: 2026-11-21.
#[must_use]
pub fn day(seconds: i64) -> String {
    let civil = wire::date::civil(seconds);
    format!("{:04}-{:02}-{:02}", civil.year, civil.month, civil.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_795_219_200), "2026-11-21");
        assert_eq!(day(-86_400), "1969-12-31");
    }

    #[test]
    fn columns() {
        let rows = [["anna".to_owned(), "1 kB".to_owned()], ["b".to_owned(), "2".to_owned()]];
        assert_eq!(table(["NAME", "USED"], &rows), "NAME  USED\nanna  1 kB\nb     2");
    }
}
