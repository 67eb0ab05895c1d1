//! SEARCH (RFC 3501 §6.4.4) with RETURN (RFC 4731 §3.1): nesting to 32 where imap-codec stops at 8, texts as UTF-8.

use super::cursor::{Cursor, Parsed};
use super::{Fault, date};
use crate::command::{Command, Returns};
use crate::limits;
use crate::search::{Key, Place};
use crate::sequence::SequenceSet;
use spool::edges::mailbox::flag;

/// Behind the verb.
pub fn search(mut cursor: Cursor<'_>, uid: bool) -> Parsed<Command> {
    cursor.space()?;
    let mut returns = None;
    if cursor.eat_word("RETURN") {
        cursor.space()?;
        returns = Some(returned(&mut cursor)?);
        cursor.space()?;
    }
    if cursor.eat_word("CHARSET") {
        cursor.space()?;
        charset(&mut cursor)?;
        cursor.space()?;
    }
    let mut program = Program { keys: 0, text: 0 };
    let mut keys = vec![program.key(&mut cursor, 1)?];
    while cursor.eat(b' ') && cursor.peek().is_some() {
        keys.push(program.key(&mut cursor, 1)?);
    }
    cursor.end()?;
    Ok(Command::Search { uid, returns, key: all(keys) })
}

fn returned(cursor: &mut Cursor<'_>) -> Parsed<Returns> {
    let mut returns = Returns::default();
    cursor.list(|cursor| {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            _ => return Err(Fault::Syntax("RETURN takes MIN, MAX, ALL and COUNT")),
        }
        Ok(())
    })?;
    // RFC 4731 §3.1: nothing asked is ALL.
    returns.all |= returns == Returns::default();
    Ok(returns)
}

fn charset(cursor: &mut Cursor<'_>) -> Parsed<()> {
    let charset = cursor.astring()?.to_ascii_uppercase();
    if matches!(charset.as_slice(), b"US-ASCII" | b"UTF-8" | b"ASCII" | b"UTF8") {
        Ok(())
    } else {
        Err(Fault::BadCharset)
    }
}

fn all(mut keys: Vec<Key>) -> Key {
    match keys.len() {
        1 => keys.pop().unwrap_or(Key::All),
        _ => Key::And(keys),
    }
}

/// What a SEARCH has used of its bounds.
struct Program {
    keys: usize,
    text: usize,
}

impl Program {
    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Key> {
        self.keys += 1;
        if self.keys > limits::SEARCH_KEYS || depth > limits::SEARCH_DEPTH {
            return Err(Fault::TooMuch("The search is too complicated"));
        }
        match cursor.peek() {
            Some(b'(') => self.group(cursor, depth),
            Some(b'0'..=b'9' | b'*') => set(cursor).map(Key::Sequence),
            _ => {
                let name = cursor.atom()?.to_ascii_uppercase();
                self.named(cursor, &name, depth)
            }
        }
    }

    fn group(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Key> {
        let mut keys = Vec::new();
        cursor.list(|cursor| {
            keys.push(self.key(cursor, depth + 1)?);
            Ok(())
        })?;
        if keys.is_empty() { Err(Fault::Syntax("Empty parentheses in a search")) } else { Ok(all(keys)) }
    }

    fn named(&mut self, cursor: &mut Cursor<'_>, name: &str, depth: usize) -> Parsed<Key> {
        if let Some(key) = plain(name) {
            return Ok(key);
        }
        cursor.space()?;
        Ok(match name {
            "KEYWORD" => Key::Keyword(cursor.atom()?.to_owned(), true),
            "UNKEYWORD" => Key::Keyword(cursor.atom()?.to_owned(), false),
            "BEFORE" => Key::Before(date::date(cursor)?),
            "ON" => Key::On(date::date(cursor)?),
            "SINCE" => Key::Since(date::date(cursor)?),
            "SENTBEFORE" => Key::SentBefore(date::date(cursor)?),
            "SENTON" => Key::SentOn(date::date(cursor)?),
            "SENTSINCE" => Key::SentSince(date::date(cursor)?),
            "LARGER" => Key::Larger(cursor.number()?),
            "SMALLER" => Key::Smaller(cursor.number()?),
            "UID" => Key::Uid(set(cursor)?),
            "SUBJECT" => self.text_key(cursor, Place::Subject)?,
            "FROM" => self.text_key(cursor, Place::From)?,
            "TO" => self.text_key(cursor, Place::To)?,
            "CC" => self.text_key(cursor, Place::Cc)?,
            "BCC" => self.text_key(cursor, Place::Bcc)?,
            "BODY" => self.text_key(cursor, Place::Body)?,
            "TEXT" => self.text_key(cursor, Place::Text)?,
            "HEADER" => {
                let field = self.text(cursor)?;
                cursor.space()?;
                self.text_key(cursor, Place::Header(field))?
            }
            "NOT" => Key::Not(Box::new(self.key(cursor, depth + 1)?)),
            "OR" => {
                let left = self.key(cursor, depth + 1)?;
                cursor.space()?;
                Key::Or(vec![left, self.key(cursor, depth + 1)?])
            }
            _ => return Err(Fault::Syntax("An unknown search key")),
        })
    }

    fn text_key(&mut self, cursor: &mut Cursor<'_>, place: Place) -> Parsed<Key> {
        Ok(Key::Contains(place, self.text(cursor)?))
    }

    // Without CHARSET, too: 8-bit text that is UTF-8 can mean nothing else.
    fn text(&mut self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        let text = cursor.astring()?.into_owned();
        self.text += text.len();
        if self.text > limits::SEARCH_TEXT {
            return Err(Fault::TooMuch("The search's texts are too long"));
        }
        String::from_utf8(text).map_err(|_| Fault::Syntax("A search text is not UTF-8"))
    }
}

fn plain(name: &str) -> Option<Key> {
    Some(match name {
        "ALL" => Key::All,
        "ANSWERED" => Key::Flag(flag::ANSWERED, true),
        "UNANSWERED" => Key::Flag(flag::ANSWERED, false),
        "DELETED" => Key::Flag(flag::DELETED, true),
        "UNDELETED" => Key::Flag(flag::DELETED, false),
        "DRAFT" => Key::Flag(flag::DRAFT, true),
        "UNDRAFT" => Key::Flag(flag::DRAFT, false),
        "FLAGGED" => Key::Flag(flag::FLAGGED, true),
        "UNFLAGGED" => Key::Flag(flag::FLAGGED, false),
        "SEEN" => Key::Flag(flag::SEEN, true),
        "UNSEEN" => Key::Flag(flag::SEEN, false),
        "RECENT" => Key::Recent(true),
        "OLD" => Key::Recent(false),
        "NEW" => Key::And(vec![Key::Recent(true), Key::Flag(flag::SEEN, false)]),
        _ => return None,
    })
}

fn set(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let text = cursor.run(|b| matches!(b, b'0'..=b'9' | b'*' | b':' | b','));
    SequenceSet::parse(text).ok_or(Fault::Syntax("A set of letters is broken"))
}
