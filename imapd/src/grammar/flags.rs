//! Flags and keywords as clients write them (RFC 3501 §2.3.2).

use spool::edges::mailbox::flag;

use super::Fault;
use super::cursor::{Cursor, Parsed};
use crate::command::Flags;
use crate::limits;

/// `flag-list`, behind a `(`.
pub fn list(cursor: &mut Cursor<'_>) -> Parsed<Flags> {
    let mut flags = Flags::default();
    let mut count = 0;
    cursor.list(|cursor| {
        let system = cursor.eat(b'\\');
        count += 1;
        insert(&mut flags, system, cursor.atom()?, count)
    })?;
    Ok(flags)
}

/// Adds the `count`th flag of a list; `name` is without its `\`.
pub fn insert(flags: &mut Flags, system: bool, name: &str, count: usize) -> Parsed<()> {
    if count > limits::FLAGS {
        return Err(Fault::TooMuch("Too many flags"));
    }
    if system {
        flags.system |= bit(name)?;
    } else if name.len() > limits::KEYWORD {
        return Err(Fault::TooMuch("A keyword is too long"));
    } else if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        flags.keywords.push(name.to_owned());
    }
    Ok(())
}

fn bit(name: &str) -> Parsed<u8> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "seen" => flag::SEEN,
        "answered" => flag::ANSWERED,
        "flagged" => flag::FLAGGED,
        "deleted" => flag::DELETED,
        "draft" => flag::DRAFT,
        // Nobody may set it, but apps copy it from one letter to another.
        "recent" => 0,
        _ => return Err(Fault::Syntax("An unknown system flag")),
    })
}
