//! Everything imap-codec parses, turned into our [`Command`].

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::core::{AString, IString, NString};
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::{ListMailbox, Mailbox};
use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet as CodecSet};
use spool::edges::mailbox::Change;

use super::cursor::Parsed;
use super::{Fault, fetch, flags, name};
use crate::command::{Command, Flags};
use crate::limits;
use crate::sequence::{STAR, SequenceSet};

/// A whole command, tag and all; `verb` is its verb in upper case.
pub fn command(whole: &[u8], verb: &str) -> Parsed<Command> {
    // Some apps leave spaces at a line's end; behind a literal they may be the literal's own.
    let trimmed = if whole.contains(&b'\n') { whole } else { whole.trim_ascii_end() };
    let line = [trimmed, b"\r\n"].concat();
    match CommandCodec::default().decode(&line) {
        Ok(([], command)) => convert(command.body),
        _ => Err(complaint(verb)),
    }
}

fn complaint(verb: &str) -> Fault {
    const VERBS: &[&str] = &[
        "CAPABILITY",
        "NOOP",
        "LOGOUT",
        "STARTTLS",
        "ID",
        "ENABLE",
        "SELECT",
        "EXAMINE",
        "DELETE",
        "RENAME",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "LSUB",
        "NAMESPACE",
        "IDLE",
        "GETQUOTA",
        "GETQUOTAROOT",
        "SETQUOTA",
        "CHECK",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
        "FETCH",
        "STORE",
        "COPY",
        "MOVE",
        "UID",
    ];
    if VERBS.contains(&verb) { Fault::Syntax("The arguments are not what this command takes") } else { Fault::Unknown }
}

fn convert(body: CommandBody<'_>) -> Parsed<Command> {
    Ok(match body {
        CommandBody::Capability => Command::Capability,
        CommandBody::Noop => Command::Noop,
        CommandBody::Logout => Command::Logout,
        CommandBody::StartTLS => Command::StartTls,
        CommandBody::Id { parameters } => Command::Id(id(parameters.unwrap_or_default())?),
        CommandBody::Enable { capabilities } => {
            let names: Vec<_> =
                capabilities.as_ref().iter().map(|name| name.to_string().to_ascii_uppercase()).collect();
            Command::Enable(few(names, limits::ENABLE, "Too many capabilities")?)
        }
        CommandBody::Select { mailbox } => Command::Select(folder(&mailbox)?),
        CommandBody::Examine { mailbox } => Command::Examine(folder(&mailbox)?),
        CommandBody::Delete { mailbox } => Command::Delete(folder(&mailbox)?),
        CommandBody::Rename { from, to } => Command::Rename { from: folder(&from)?, to: folder(&to)? },
        CommandBody::Subscribe { mailbox } => Command::Subscribe(folder(&mailbox)?),
        CommandBody::Unsubscribe { mailbox } => Command::Unsubscribe(folder(&mailbox)?),
        CommandBody::Lsub { reference, mailbox_wildcard } => {
            Command::Lsub { reference: name::pattern(wire(&reference))?, pattern: pattern(&mailbox_wildcard)? }
        }
        CommandBody::Namespace => Command::Namespace,
        CommandBody::Idle => Command::Idle,
        CommandBody::GetQuota { root } => Command::GetQuota(text(root.as_ref())?),
        CommandBody::GetQuotaRoot { mailbox } => Command::GetQuotaRoot(folder(&mailbox)?),
        CommandBody::SetQuota { .. } => Command::SetQuota,
        CommandBody::Check => Command::Check,
        CommandBody::Close => Command::Close,
        CommandBody::Unselect => Command::Unselect,
        CommandBody::Expunge => Command::Expunge,
        selected => return convert_selected(selected),
    })
}

// The verbs that name letters.
fn convert_selected(body: CommandBody<'_>) -> Parsed<Command> {
    Ok(match body {
        CommandBody::ExpungeUid { sequence_set } => Command::UidExpunge(set(&sequence_set)?),
        CommandBody::Fetch { sequence_set, macro_or_item_names, uid } => {
            Command::Fetch { uid, set: set(&sequence_set)?, items: fetch::items(macro_or_item_names)? }
        }
        CommandBody::Store { sequence_set, kind, response, flags, uid } => Command::Store {
            uid,
            set: set(&sequence_set)?,
            change: match kind {
                StoreType::Add => Change::Add,
                StoreType::Remove => Change::Remove,
                StoreType::Replace => Change::Replace,
            },
            silent: response == StoreResponse::Silent,
            flags: store_flags(&flags)?,
        },
        CommandBody::Copy { sequence_set, mailbox, uid } => {
            Command::Copy { uid, set: set(&sequence_set)?, to: folder(&mailbox)? }
        }
        CommandBody::Move { sequence_set, mailbox, uid } => {
            Command::Move { uid, set: set(&sequence_set)?, to: folder(&mailbox)? }
        }
        // SORT, THREAD, COMPRESS: not offered.
        _ => return Err(Fault::Unknown),
    })
}

fn few<T>(list: Vec<T>, bound: usize, fault: &'static str) -> Parsed<Vec<T>> {
    if list.len() > bound { Err(Fault::TooMuch(fault)) } else { Ok(list) }
}

fn id(pairs: Vec<(IString<'_>, NString<'_>)>) -> Parsed<Vec<(String, Option<String>)>> {
    let pairs = few(pairs, limits::ID_PAIRS, "Too many ID pairs")?;
    let text = |bytes: &[u8]| {
        let lossy = String::from_utf8_lossy(bytes).into_owned();
        if lossy.len() > limits::ID_VALUE { Err(Fault::TooMuch("An ID value is too long")) } else { Ok(lossy) }
    };
    let pair = |(field, value): (IString<'_>, NString<'_>)| {
        Ok((text(field.as_ref())?, value.into_option().map(|value| text(&value)).transpose()?))
    };
    pairs.into_iter().map(pair).collect()
}

fn wire<'a>(mailbox: &'a Mailbox<'_>) -> &'a [u8] {
    match mailbox {
        Mailbox::Inbox => b"INBOX",
        Mailbox::Other(name) => name.as_ref(),
    }
}

fn folder(mailbox: &Mailbox<'_>) -> Parsed<String> {
    name::decode(wire(mailbox))
}

fn pattern(pattern: &ListMailbox<'_>) -> Parsed<String> {
    name::pattern(match pattern {
        ListMailbox::Token(token) => token.as_ref(),
        ListMailbox::String(string) => string.as_ref(),
    })
}

/// UTF-8, or the client's mistake.
pub(super) fn text(bytes: &[u8]) -> Parsed<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Syntax("A string is not UTF-8"))
}

/// A field name of HEADER.FIELDS.
pub(super) fn field_name(name: &AString<'_>) -> Parsed<String> {
    let name = text(name.as_ref())?;
    if name.len() > limits::FIELD_NAME || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(Fault::Syntax("This is no name of a header field"));
    }
    Ok(name)
}

fn store_flags(given: &[Flag<'_>]) -> Parsed<Flags> {
    let mut all = Flags::default();
    for (count, flag) in given.iter().enumerate() {
        let written = flag.to_string();
        let system = written.strip_prefix('\\');
        flags::insert(&mut all, system.is_some(), system.unwrap_or(&written), count + 1)?;
    }
    Ok(all)
}

fn set(set: &CodecSet) -> Parsed<SequenceSet> {
    let number = |n: &SeqOrUid| match n {
        SeqOrUid::Value(n) => n.get(),
        SeqOrUid::Asterisk => STAR,
    };
    let pairs = set.0.as_ref().iter().map(|sequence| match sequence {
        Sequence::Single(n) => (number(n), number(n)),
        Sequence::Range(a, b) => (number(a), number(b)),
    });
    SequenceSet::new(pairs.collect()).ok_or(Fault::TooMuch("Too many ranges in one set"))
}
