//! STATUS, and what it may ask for (RFC 3501 §6.3.10, RFC 7889 §4, RFC 8438, RFC 9208 §4.1.4).

use super::cursor::{Cursor, Parsed};
use super::{Fault, name};
use crate::command::{Command, StatusItems};

/// Behind the verb.
pub fn status(mut cursor: Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let name = name::decode(&cursor.astring()?)?;
    cursor.space()?;
    let items = items(&mut cursor)?;
    cursor.end()?;
    if items == StatusItems::default() {
        return Err(Fault::Syntax("STATUS asks for nothing"));
    }
    Ok(Command::Status { name, items })
}

/// `( ... )`, also of LIST's RETURN (STATUS ...) (RFC 5819 §2).
pub fn items(cursor: &mut Cursor<'_>) -> Parsed<StatusItems> {
    let mut items = StatusItems::default();
    cursor.list(|cursor| {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MESSAGES" => items.messages = true,
            "RECENT" => items.recent = true,
            "UIDNEXT" => items.uid_next = true,
            "UIDVALIDITY" => items.uid_validity = true,
            "UNSEEN" => items.unseen = true,
            "DELETED" => items.deleted = true,
            "SIZE" => items.size = true,
            "APPENDLIMIT" => items.append_limit = true,
            _ => return Err(Fault::Syntax("An unknown STATUS item")),
        }
        Ok(())
    })?;
    Ok(items)
}
