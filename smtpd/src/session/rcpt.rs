//! RCPT (RFC 5321 §4.1.1.3): the keeper says who it is.

use spool::edges::{Down, Recipient, Size, Target, limits as edge};

use super::close;
use super::command::after_keyword;
use super::context::Context;
use super::envelope::{Accepted, Envelope, Notify, Outgoing};
use super::events::Effect;
use super::mail;
use super::parameters::{self, Parameter};
use super::path::{self, Address, BadPath};
use super::states::{ExpectAnswer, ExpectRecipient, State};
use crate::limits;
use crate::reply::{Reply, bad_arguments, out_of_order};

pub(super) fn rcpt(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let State::ExpectRecipient(ExpectRecipient { envelope }) = state else {
        out.push(Effect::Reply(out_of_order(match state {
            State::ExpectMoreChunks(_) => "the message of this transaction has begun: go on with BDAT, or RSET",
            _ => "MAIL first",
        })));
        return state;
    };
    match accept(context, &envelope, argument) {
        Ok((address, notify)) => {
            let (transaction, size) = (envelope.transaction, size(context, &envelope));
            out.push(Effect::CheckRecipient { transaction, address: address.clone(), size });
            State::ExpectAnswer(ExpectAnswer { envelope, address, notify })
        }
        Err(reply) => {
            out.push(Effect::Reply(reply));
            State::ExpectRecipient(ExpectRecipient { envelope })
        }
    }
}

fn size(context: &Context, envelope: &Envelope) -> Size {
    // RFC 1870 §6: SIZE=0 says nothing either.
    envelope.parameters.size.filter(|said| *said > 0).map_or(Size::AtMost(context.rules.largest), Size::Said)
}

pub(super) fn answered(
    context: &Context,
    waiting: ExpectAnswer,
    answer: Result<Recipient, Down>,
    out: &mut Vec<Effect>,
) -> State {
    let ExpectAnswer { mut envelope, address, notify } = waiting;
    let Ok(answer) = answer else {
        let last = context.keeper_gone();
        return close(State::ExpectRecipient(ExpectRecipient { envelope }), last, out);
    };
    let reply = match answer {
        // Through a proxy it could not be said at MAIL.
        ref ours if is_here(ours) && mail::is_too_large(context, &envelope.parameters) => mail::too_large(context),
        Recipient::Known(targets) if fits(&envelope, &targets) => {
            envelope.recipients.push(Accepted { address, targets, outgoing: None, notify });
            Reply::new(250, "2.1.5", "recipient ok")
        }
        Recipient::Remote { .. } if address.is_literal() => {
            Reply::new(550, "5.1.2", "that is an address, not a domain: mail is sent to domains only")
        }
        Recipient::Remote { generation, public_key } if context.is_submission() => {
            let outgoing = Some(Outgoing { generation, public_key });
            envelope.recipients.push(Accepted { address, targets: Vec::new(), outgoing, notify });
            Reply::new(250, "2.1.5", "recipient ok, elsewhere")
        }
        Recipient::Known(_) => too_many(),
        // RFC 5321 §4.1.2 knows such addresses; it is told for what it is, wherever its domain is.
        Recipient::Unknown if context.is_submission() && address.has_blanks() => {
            Reply::new(553, "5.1.3", "no mail goes from here to an address with a blank in it")
        }
        Recipient::Unknown => Reply::new(550, "5.1.1", "nobody here has that address"),
        // The way back to a sender whose letter an alias passed on: for what tells him that it failed, and nothing else.
        Recipient::Remote { generation, public_key } if envelope.sender.0.is_none() => {
            let outgoing = Some(Outgoing { generation, public_key });
            envelope.recipients.push(Accepted { address, targets: Vec::new(), outgoing, notify });
            Reply::new(250, "2.1.5", "recipient ok, passed on")
        }
        Recipient::Forwarded { targets, generation, public_key } if fits(&envelope, &targets) => {
            let outgoing = Some(Outgoing { generation, public_key });
            envelope.recipients.push(Accepted { address, targets, outgoing, notify });
            Reply::new(250, "2.1.5", "recipient ok, passed on")
        }
        Recipient::Forwarded { .. } => too_many(),
        Recipient::NotLocal if context.is_submission() => {
            Reply::new(550, "5.7.1", "this server sends no mail to other servers; only addresses here work")
        }
        // A proxy has taken this house for another: the sender is to come again, and nothing may bounce.
        Recipient::NotLocal if context.proxied => {
            out.push(Effect::WrongHome { domain: address.domain().to_owned() });
            Reply::new(451, "4.7.1", "that domain's mail is taken elsewhere: try again")
        }
        Recipient::Remote { .. } => Reply::new(550, "5.1.1", "that address takes bounces only"),
        Recipient::NotLocal => Reply::new(550, "5.7.1", "that domain's mail is not taken here"),
        Recipient::Separately => {
            Reply::new(452, "4.5.3", "too much for one message at once; send to the rest on their own")
        }
        Recipient::OverQuota => Reply::new(452, "4.2.2", "that mailbox is full"),
        Recipient::Waiting => {
            Reply::new(452, "4.3.1", "too much waits here that is passed on from that address, try again later")
        }
        Recipient::OnlyReads => Reply::new(452, "4.3.1", "the disk here takes no writes, try again later"),
        Recipient::NotNow => Reply::new(451, "4.3.0", "not at the moment, try again later"),
    };
    out.push(Effect::Reply(reply));
    State::ExpectRecipient(ExpectRecipient { envelope })
}

/// Whether a letter to it would be taken here, if nothing else were in the way.
const fn is_here(answer: &Recipient) -> bool {
    matches!(
        answer,
        Recipient::Known(_)
            | Recipient::Forwarded { .. }
            | Recipient::Separately
            | Recipient::OverQuota
            | Recipient::Waiting
    )
}

fn accept(context: &Context, envelope: &Envelope, argument: &[u8]) -> Result<(Address, Notify), Reply> {
    let syntax = || bad_arguments("RCPT TO:<address> [parameters]");
    let argument = after_keyword(argument, "TO").ok_or_else(syntax)?;
    let (inner, rest) = path::bracketed(argument).map_err(|_| syntax())?;
    let address = path::recipient(inner, &context.rules.domain).map_err(|bad| match bad {
        BadPath::Syntax => syntax(),
        BadPath::Address | BadPath::NotUtf8 => Reply::new(501, "5.1.3", "that is no mail address"),
    })?;
    let given = parameters::split(rest).ok_or_else(|| bad_arguments("parameters of RCPT not understood"))?;
    let notify = given.iter().try_fold(Notify::default(), |read, one| parameter(context, read, one))?;
    if !inner.is_ascii() && !envelope.parameters.international {
        return Err(Reply::new(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8"));
    }
    let known: usize = envelope.recipients.iter().map(|one| bytes(&one.address, &one.notify)).sum();
    if envelope.recipients.len() >= limits::RECIPIENTS || known + bytes(&address, &notify) > limits::RECIPIENT_BYTES {
        return Err(too_many());
    }
    Ok((address, notify))
}

fn parameter(context: &Context, mut read: Notify, given: &Parameter<'_>) -> Result<Notify, Reply> {
    match (given.keyword.as_str(), given.value) {
        ("NOTIFY", Some(value)) if context.is_submission() => read.of = Some(wants(value)?),
        ("ORCPT", Some(value)) if context.is_submission() => {
            let formed = value.split_once(';').is_some_and(|(kind, rest)| {
                !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_graphic()) && parameters::is_xtext(rest, 500)
            });
            // RFC 3461 §4.2: 500 octets, the type among them.
            if !formed || value.len() > limits::ORCPT {
                return Err(bad_arguments("ORCPT is type;address"));
            }
            read.original = Some(value.to_owned());
        }
        _ => return Err(Reply::new(555, "5.5.4", format!("parameter {} is not offered here", given.keyword))),
    }
    Ok(read)
}

// RFC 3461 §4.1: NEVER alone, or a list of the others.
fn wants(value: &str) -> Result<(bool, bool, bool), Reply> {
    let value = value.to_ascii_uppercase();
    let words: Vec<&str> = value.split(',').collect();
    let formed = words == ["NEVER"] || words.iter().all(|word| matches!(*word, "SUCCESS" | "FAILURE" | "DELAY"));
    if !formed {
        return Err(bad_arguments("NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY"));
    }
    let has = |word| words.contains(&word);
    Ok((has("SUCCESS"), has("FAILURE"), has("DELAY")))
}

fn bytes(address: &Address, notify: &Notify) -> usize {
    address.to_string().len() + notify.original.as_ref().map_or(0, String::len)
}

// All letters of a transaction travel in one packet to the keeper.
fn fits(envelope: &Envelope, targets: &[Target]) -> bool {
    let known = envelope.targets();
    let fresh = targets.iter().filter(|target| !known.iter().any(|old| old.mailbox == target.mailbox)).count();
    known.len() + fresh <= edge::LETTERS
}

// RFC 5321 §4.5.3.1.10.
fn too_many() -> Reply {
    Reply::new(452, "4.5.3", "too many recipients; send to the rest next")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_of_the_longest_addresses_fit_a_packet() {
        let labels = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let address = Address::parse(format!("{}@{labels}", "l".repeat(64)).as_bytes()).unwrap();
        let mut notify = Notify::default();
        assert!(limits::RECIPIENTS * bytes(&address, &notify) <= limits::RECIPIENT_BYTES);
        notify.original = Some("x".repeat(limits::ORCPT));
        let most = limits::RECIPIENT_BYTES / bytes(&address, &notify);
        assert!((1..limits::RECIPIENTS).contains(&most), "with the longest ORCPTs fewer: {most}");
    }
}
