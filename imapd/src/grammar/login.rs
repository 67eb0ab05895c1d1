//! LOGIN and AUTHENTICATE: parsed here so that the only copies of a secret are wiped ones.

use zeroize::Zeroizing;

use super::Fault;
use super::cursor::{Cursor, Parsed};
use crate::command::Command;

/// RFC 3501 §6.2.3, behind the verb.
pub fn login(mut cursor: Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let name = cursor.astring()?.into_owned();
    cursor.space()?;
    let password = Zeroizing::new(cursor.astring()?.into_owned());
    cursor.end()?;
    Ok(Command::Login { name, password })
}

/// RFC 3501 §6.2.2 with RFC 4959, behind the verb.
pub fn authenticate(mut cursor: Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let mechanism = cursor.atom()?.to_ascii_uppercase();
    let mut initial = None;
    if cursor.eat(b' ') && cursor.peek().is_some() {
        let text = cursor.run(|b| b != b' ');
        let decoded =
            if text == b"=" { Some(Zeroizing::default()) } else { wire::base64::decode(text).map(Zeroizing::new) };
        initial = Some(decoded.ok_or(Fault::Syntax("The initial response is not base64"))?);
    }
    cursor.end()?;
    Ok(Command::Authenticate { mechanism, initial })
}
