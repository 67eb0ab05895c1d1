//! What STATUS may ask for (RFC 3501 §6.3.10, RFC 8438, RFC 9208 §4.1.4).

use imap_codec::imap_types::status::StatusDataItemName;

use super::Fault;
use super::cursor::{Cursor, Parsed};
use crate::command::StatusItems;

/// `( ... )` of LIST's RETURN (STATUS ...) (RFC 5819 §2).
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
            _ => return Err(Fault::Syntax("An unknown STATUS item")),
        }
        Ok(())
    })?;
    Ok(items)
}

/// The same of the codec's names.
pub fn from_codec(names: &[StatusDataItemName]) -> Parsed<StatusItems> {
    let mut items = StatusItems::default();
    for name in names {
        match name {
            StatusDataItemName::Messages => items.messages = true,
            StatusDataItemName::Recent => items.recent = true,
            StatusDataItemName::UidNext => items.uid_next = true,
            StatusDataItemName::UidValidity => items.uid_validity = true,
            StatusDataItemName::Unseen => items.unseen = true,
            StatusDataItemName::Deleted => items.deleted = true,
            StatusDataItemName::Size => items.size = true,
            StatusDataItemName::DeletedStorage => return Err(Fault::Syntax("An unknown STATUS item")),
        }
    }
    if items == StatusItems::default() { Err(Fault::Syntax("STATUS asks for nothing")) } else { Ok(items) }
}
