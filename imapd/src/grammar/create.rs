//! CREATE with special uses (RFC 6154 §3).

use spool::edges::mailbox::SpecialUse;

use super::cursor::{Cursor, Parsed};
use super::{Fault, name};
use crate::command::Command;

/// Behind the verb.
pub fn create(mut cursor: Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let mut name = name::decode(&cursor.astring()?)?;
    // RFC 3501 §6.3.3: a client says with a trailing delimiter that it means to put folders below it.
    name.truncate(name.trim_end_matches('/').len());
    let (mut uses, mut unknown_use) = (Vec::new(), false);
    if cursor.eat(b' ') && cursor.peek() == Some(b'(') {
        cursor.list(|cursor| {
            if !cursor.eat_word("USE") {
                return Err(Fault::Syntax("CREATE takes only USE"));
            }
            cursor.space()?;
            cursor.list(|cursor| {
                match special_use(cursor)? {
                    Some(known) if !uses.contains(&known) => uses.push(known),
                    Some(_) => {}
                    None => unknown_use = true,
                }
                Ok(())
            })
        })?;
    }
    cursor.end()?;
    Ok(Command::Create { name, uses, unknown_use })
}

// RFC 6154 §2. \All and \Flagged are views we do not have.
fn special_use(cursor: &mut Cursor<'_>) -> Parsed<Option<SpecialUse>> {
    if !cursor.eat(b'\\') {
        return Err(Fault::Syntax("A special use begins with \\"));
    }
    Ok(match cursor.atom()?.to_ascii_lowercase().as_str() {
        "drafts" => Some(SpecialUse::Drafts),
        "sent" => Some(SpecialUse::Sent),
        "junk" => Some(SpecialUse::Junk),
        "trash" => Some(SpecialUse::Trash),
        "archive" => Some(SpecialUse::Archive),
        _ => None,
    })
}
