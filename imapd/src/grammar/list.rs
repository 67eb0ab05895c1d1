//! LIST, plain and extended (RFC 3501 §6.3.8, RFC 5258, RFC 6154 §5.2, RFC 5819).

use super::cursor::{Cursor, Parsed};
use super::{Fault, name, status};
use crate::command::{Command, List};
use crate::limits;

/// Behind the verb.
pub fn list(mut cursor: Cursor<'_>) -> Parsed<Command> {
    let mut list = List::default();
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        cursor.list(|cursor| selection(cursor, &mut list))?;
        if list.recursive_match && !list.subscribed && !list.special_use {
            // RFC 5258 §3.1: it needs something to match.
            return Err(Fault::Syntax("RECURSIVEMATCH needs another selection option"));
        }
        cursor.space()?;
    }
    list.reference = name::pattern(&cursor.astring()?)?;
    cursor.space()?;
    patterns(&mut cursor, &mut list)?;
    if cursor.eat(b' ') && cursor.eat_word("RETURN") {
        list.extended = true;
        cursor.space()?;
        cursor.list(|cursor| returned(cursor, &mut list))?;
    }
    cursor.end()?;
    Ok(Command::List(list))
}

fn selection(cursor: &mut Cursor<'_>, list: &mut List) -> Parsed<()> {
    match cursor.atom()?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => list.subscribed = true,
        "REMOTE" => list.remote = true,
        "RECURSIVEMATCH" => list.recursive_match = true,
        "SPECIAL-USE" => list.special_use = true,
        _ => return Err(Fault::Syntax("An unknown selection option")),
    }
    Ok(())
}

fn patterns(cursor: &mut Cursor<'_>, list: &mut List) -> Parsed<()> {
    if cursor.peek() != Some(b'(') {
        list.patterns.push(name::pattern(&cursor.pattern()?)?);
        return Ok(());
    }
    list.extended = true;
    cursor.list(|cursor| {
        if list.patterns.len() == limits::PATTERNS {
            return Err(Fault::TooMuch("Too many patterns"));
        }
        list.patterns.push(name::pattern(&cursor.pattern()?)?);
        if list.patterns.iter().map(String::len).sum::<usize>() > limits::PATTERN_TEXT {
            return Err(Fault::TooMuch("The patterns are too long"));
        }
        Ok(())
    })?;
    if list.patterns.is_empty() { Err(Fault::Syntax("LIST wants a pattern")) } else { Ok(()) }
}

fn returned(cursor: &mut Cursor<'_>, list: &mut List) -> Parsed<()> {
    match cursor.atom()?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => list.return_subscribed = true,
        "CHILDREN" => list.return_children = true,
        "SPECIAL-USE" => list.return_special_use = true,
        "STATUS" => {
            cursor.space()?;
            list.return_status = Some(status::items(cursor)?);
        }
        _ => return Err(Fault::Syntax("An unknown return option")),
    }
    Ok(())
}
