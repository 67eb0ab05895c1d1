//! EHLO (RFC 5321 §4.1.1.1): says what we can do.

use std::borrow::Cow;

use super::context::Context;
use super::envelope::Hello;
use super::events::Effect;
use super::states::{ExpectMail, State};
use crate::limits;
use crate::reply::{Reply, bad_arguments};

pub(super) fn ehlo(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let Some(name) = client_name(argument) else { return refuse(state, out) };
    state.abandon(out);
    let mut lines: Vec<Cow<'static, str>> = vec![format!("{} greets you", context.rules.host).into()];
    lines.extend(extensions(context));
    out.push(Effect::Reply(Reply { code: 250, status: "", lines }));
    State::ExpectMail(ExpectMail { hello: Hello { name, extended: true } })
}

fn extensions(context: &Context) -> Vec<Cow<'static, str>> {
    let mut lines: Vec<Cow<'static, str>> = vec![
        "PIPELINING".into(),
        size(context),
        "8BITMIME".into(),
        "SMTPUTF8".into(),
        "ENHANCEDSTATUSCODES".into(),
        "CHUNKING".into(),
        format!("LIMITS RCPTMAX={}", limits::RECIPIENTS).into(),
    ];
    match &context.tls {
        None => lines.push("STARTTLS".into()),
        Some(tls) => {
            lines.push("REQUIRETLS".into());
            if context.may_log_in() {
                let names: Vec<&str> = context.rules.offer.on(&tls.binding).map(|offered| offered.name()).collect();
                lines.push(format!("AUTH {}", names.join(" ")).into());
            }
        }
    }
    // Not on 25: there it would make us write to strangers.
    if context.is_submission() {
        lines.push("DSN".into());
    }
    lines
}

/// RFC 1870 §3: without a number it promises nothing. A sender gives up a letter that is larger than the number without
/// saying whom it is for, and it may be for a house that takes it.
fn size(context: &Context) -> Cow<'static, str> {
    if context.may_be_anothers() { "SIZE".into() } else { format!("SIZE {}", context.rules.largest).into() }
}

pub(super) fn refuse(state: State, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(bad_arguments("give the name or address of your host")));
    state
}

/// The client's name, if it is of a form that can stand in a header. RFC 5321 §4.1.4 forbids refusing mail
/// because a name does not prove true, so any name will do.
pub(super) fn client_name(argument: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(argument.trim_ascii()).ok()?;
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let formed = !name.is_empty() && name.len() <= limits::DOMAIN && name.chars().all(harmless);
    formed.then(|| name.to_owned())
}
