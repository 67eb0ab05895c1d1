//! From bytes to commands. [`Framer`] finds where a command ends, [`parse`] says what it is.
//!
//! imap-codec parses whatever it can (`codec`); own small parsers make the same [`Command`] of what it cannot:
//! extended LIST, SEARCH (RETURN, deep nesting, UTF-8), CREATE USE, APPEND without its message, and LOGIN and
//! AUTHENTICATE, so that no copy of a password is left behind.

mod append;
mod codec;
mod create;
mod cursor;
pub mod date;
mod fault;
mod fetch;
mod flags;
mod framer;
mod list;
mod login;
mod name;
mod search;
mod status;
pub mod utf7;

pub use fault::{Fault, Refused};
pub use framer::{Framer, Step};

use crate::command::{Command, Tagged};
use cursor::{Cursor, Parsed};

/// Reads one whole command as [`Framer`] yields it: no line end, literals in place.
///
/// # Errors
/// [`Refused`], with the tag where there was one.
pub fn parse(bytes: &[u8]) -> Result<Tagged, Refused> {
    let mut cursor = Cursor::new(bytes);
    let tag = cursor.tag().map_err(|fault| Refused { tag: None, fault })?.to_owned();
    match body(bytes, cursor) {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(fault) => Err(Refused { tag: Some(tag), fault }),
    }
}

fn body(whole: &[u8], mut cursor: Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let verb = cursor.word().to_ascii_uppercase();
    match verb.as_str() {
        "LOGIN" => login::login(cursor),
        "AUTHENTICATE" => login::authenticate(cursor),
        "LIST" => list::list(cursor),
        "SEARCH" => search::search(cursor, false),
        "CREATE" => create::create(cursor),
        "STATUS" => status::status(cursor),
        "APPEND" => Err(Fault::Syntax("APPEND wants a message as a literal")),
        "UID" if cursor.clone().uid_search() => {
            cursor.space()?;
            cursor.word();
            search::search(cursor, true)
        }
        _ => codec::command(whole, &verb),
    }
}

impl Cursor<'_> {
    // Whether what follows UID is SEARCH; consumes, so ask a clone.
    fn uid_search(mut self) -> bool {
        self.space().is_ok() && self.word().eq_ignore_ascii_case("SEARCH")
    }
}

/// For fuzzing: frames and parses everything in `bytes`, as a connection would.
pub fn exercise(bytes: &[u8]) {
    let mut framer = Framer::new();
    framer.feed(bytes);
    loop {
        match framer.step() {
            Step::Incomplete => break,
            Step::Command(command) => drop(parse(&command)),
            Step::Refused(refused) if refused.fault.closes() => break,
            Step::Continue | Step::Append(_) | Step::Chunk(_) | Step::AppendEnd { .. } | Step::Refused(_) => {}
        }
    }
}
