//! Folder names: modified UTF-7 on the wire, UTF-8 within, the inbox in one spelling.

use super::cursor::Parsed;
use super::{Fault, utf7};
use crate::limits;

/// A folder's name as the rest of the house spells it.
///
/// # Errors
/// [`Fault::BadName`].
pub fn decode(wire: &[u8]) -> Parsed<String> {
    let name = utf7::decode(wire).ok_or(Fault::BadName)?;
    if name.len() > limits::FOLDER_NAME || name.chars().any(char::is_control) {
        return Err(Fault::BadName);
    }
    Ok(inbox(name))
}

/// A pattern of LIST or LSUB. What is no modified UTF-7 is kept as it stands: it matches nothing, and that is the answer.
pub fn pattern(wire: &[u8]) -> Parsed<String> {
    let pattern = utf7::decode(wire).unwrap_or_else(|| String::from_utf8_lossy(wire).into_owned());
    if pattern.len() > limits::FOLDER_NAME { Err(Fault::BadName) } else { Ok(pattern) }
}

// RFC 3501 §5.1: INBOX in any case. The same for what lies below it, or there would be two trees of one name.
fn inbox(mut name: String) -> String {
    let is = name.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("INBOX"));
    if is && matches!(name.as_bytes().get(5), None | Some(b'/')) {
        name.replace_range(..5, "INBOX");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_has_one_spelling() {
        assert_eq!(decode(b"inbox").as_deref(), Ok("INBOX"));
        assert_eq!(decode(b"Inbox/a").as_deref(), Ok("INBOX/a"));
        assert_eq!(decode(b"inboxes").as_deref(), Ok("inboxes"));
        assert_eq!(decode(b"Entw&APw-rfe").as_deref(), Ok("Entwürfe"));
    }

    #[test]
    fn refuses_what_is_no_name() {
        for bad in [&b"A&B"[..], b"a\x07b", b"&AAA-", b"\xff"] {
            assert_eq!(decode(bad), Err(Fault::BadName), "{bad:?}");
        }
        assert_eq!(decode(&vec![b'a'; limits::FOLDER_NAME + 1]), Err(Fault::BadName));
        assert_eq!(pattern(b"A&B*").as_deref(), Ok("A&B*"));
    }
}
