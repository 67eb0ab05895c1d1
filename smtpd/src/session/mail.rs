//! MAIL (RFC 5321 §4.1.1.2): begins a transaction.

use super::command::after_keyword;
use super::context::Context;
use super::envelope::{Envelope, MailParameters, Return};
use super::events::{Begin, Effect, Spent};
use super::parameters::{self, Parameter};
use super::path::{self, BadPath, Sender};
use super::states::{ExpectBegun, ExpectMail, ExpectRecipient, State};
use crate::reply::{Reply, bad_arguments, out_of_order};
use spool::names::TransactionId;

pub(super) fn mail(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let State::ExpectMail(ready) = state else {
        let nested = !matches!(state, State::ExpectHello);
        out.push(Effect::Reply(out_of_order(if nested {
            "one transaction at a time: RSET first"
        } else {
            "EHLO first"
        })));
        return state;
    };
    match accept(context, &ready, argument) {
        Ok((sender, parameters)) => {
            let begin = Begin { sender: sender.clone(), hello: ready.hello.clone(), size: parameters.size };
            out.push(Effect::Begin(begin));
            State::ExpectBegun(ExpectBegun { hello: ready.hello, sender, parameters })
        }
        Err(reply) => {
            out.push(Effect::Reply(reply));
            State::ExpectMail(ready)
        }
    }
}

pub(super) fn begun(waiting: ExpectBegun, outcome: Result<TransactionId, Spent>, out: &mut Vec<Effect>) -> State {
    let ExpectBegun { hello, sender, parameters } = waiting;
    match outcome {
        Ok(transaction) => {
            out.push(Effect::Reply(Reply::new(250, "2.1.0", "sender ok")));
            let envelope = Envelope { transaction, hello, sender, parameters, recipients: Vec::new() };
            State::ExpectRecipient(ExpectRecipient { envelope })
        }
        Err(Spent) => {
            out.push(Effect::Reply(Reply::new(452, "4.3.1", "too much mail at once, try again soon")));
            State::ExpectMail(ExpectMail { hello })
        }
    }
}

fn accept(context: &Context, ready: &ExpectMail, argument: &[u8]) -> Result<(Sender, MailParameters), Reply> {
    // RFC 4954 §6: before anything that could tell a stranger something.
    if context.is_submission() && context.login.is_none() {
        let first = if context.tls.is_none() { "STARTTLS, then AUTH, first" } else { "AUTH first" };
        return Err(Reply::new(530, "5.7.0", first));
    }
    let syntax = || bad_arguments("MAIL FROM:<address> [parameters]");
    let argument = after_keyword(argument, "FROM").ok_or_else(syntax)?;
    let (inner, rest) = path::bracketed(argument).map_err(|_| syntax())?;
    let sender = path::sender(inner).map_err(|bad| match bad {
        BadPath::Syntax => syntax(),
        BadPath::Address | BadPath::NotUtf8 => Reply::new(501, "5.1.7", "that is no mail address"),
    })?;
    let given = parameters::split(rest).ok_or_else(|| bad_arguments("parameters of MAIL not understood"))?;
    let parameters = given.iter().try_fold(MailParameters::default(), |read, one| parameter(context, read, one))?;
    if !inner.is_ascii() && !parameters.international {
        // RFC 6531 §3.5.
        return Err(Reply::new(550, "5.6.7", "an address beyond ASCII needs SMTPUTF8"));
    }
    allowed(context, ready, &sender, &parameters)?;
    Ok((sender, parameters))
}

fn parameter(context: &Context, mut read: MailParameters, given: &Parameter<'_>) -> Result<MailParameters, Reply> {
    let bad = |what: &'static str| Err(bad_arguments(what));
    match (given.keyword.as_str(), given.value) {
        ("SIZE", Some(value)) => match parameters::size(value) {
            Some(size) => read.size = Some(size),
            None => return bad("SIZE takes a number"),
        },
        ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME") => {}
        ("BODY", _) => return bad("BODY is 7BIT or 8BITMIME"),
        ("SMTPUTF8", None) => read.international = true,
        // RFC 8689 §4.1: only where it is announced, which is over TLS.
        ("REQUIRETLS", None) if context.tls.is_some() => read.require_tls = true,
        // RFC 4954 §5: we relay for nobody, so who was authenticated elsewhere is of no use.
        ("AUTH", Some(value)) if context.is_submission() && parameters::is_xtext(value, 500) => {}
        ("RET", Some(value)) if context.is_submission() => match value.to_ascii_uppercase().as_str() {
            "FULL" => read.ret = Some(Return::Full),
            "HDRS" => read.ret = Some(Return::Headers),
            _ => return bad("RET is FULL or HDRS"),
        },
        ("ENVID", Some(value)) if context.is_submission() && parameters::is_xtext(value, 100) => {
            read.envelope_id = Some(value.to_owned());
        }
        // RFC 3461 §4.4: one hundred is the most.
        ("ENVID", _) if context.is_submission() => return bad("ENVID is at most 100 characters of xtext"),
        // RFC 5321 §4.1.1.11.
        _ => return Err(Reply::new(555, "5.5.4", format!("parameter {} is not offered here", given.keyword))),
    }
    Ok(read)
}

/// What SIZE says is more than is taken here (RFC 1870 §6.1).
pub(super) fn is_too_large(context: &Context, parameters: &MailParameters) -> bool {
    parameters.size.is_some_and(|size| size > context.rules.largest)
}

pub(super) fn too_large(context: &Context) -> Reply {
    Reply::new(552, "5.3.4", format!("larger than the {} bytes taken here", context.rules.largest))
}

fn allowed(context: &Context, ready: &ExpectMail, sender: &Sender, parameters: &MailParameters) -> Result<(), Reply> {
    if context.tls.is_none() && !context.rules.allows_clear_text(&ready.hello.name, &sender.domain()) {
        // RFC 3207 §4 would have a public server take it; ours never takes mail in clear from the net. Temporary,
        // so that the sender tries again with TLS and nothing bounces.
        return Err(Reply::new(451, "4.7.0", "mail is taken over TLS only: STARTTLS first"));
    }
    if !context.may_be_anothers() && is_too_large(context, parameters) {
        return Err(too_large(context));
    }
    let Some(address) = &sender.0 else { return Ok(()) };
    match &context.login {
        Some(owner) if !owner.owns(address) => Err(Reply::new(553, "5.7.1", "this login does not own that address")),
        _ => Ok(()),
    }
}
