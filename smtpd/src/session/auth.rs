//! AUTH (RFC 4954): submission only, under TLS only. `wire::sasl` is the exchange; this is its SMTP form.

use spool::edges::Down;
use spool::names::SlotId;
use wire::base64;
use wire::sasl::{self, Failure, Mechanism, Sasl, Step};

use super::context::{Context, Owner};
use super::envelope::Hello;
use super::events::{Effect, LoginRefusal};
use super::states::{Exchange, ExpectLastResponse, ExpectMail, State};
use crate::reply::{Reply, bad_arguments, out_of_order};

pub(super) fn auth(context: &mut Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let hello = match state {
        _ if !context.is_submission() => return refuse(state, Reply::new(502, "5.5.1", "no logins on this port"), out),
        _ if context.login.is_some() => return refuse(state, out_of_order("logged in already"), out),
        State::ExpectMail(_) if context.tls.is_none() => {
            return refuse(state, Reply::new(538, "5.7.11", "logins are taken over TLS only: STARTTLS first"), out);
        }
        State::ExpectMail(ExpectMail { hello }) => hello,
        State::ExpectHello => return refuse(state, out_of_order("EHLO first"), out),
        // RFC 4954 §4: not during a mail transaction.
        _ => return refuse(state, out_of_order("not within a transaction"), out),
    };
    match begin(context, argument) {
        Ok((sasl, step)) => go_on(context, Exchange { hello, sasl: Box::new(sasl) }, step, out),
        Err(reply) => refuse(State::ExpectMail(ExpectMail { hello }), reply, out),
    }
}

fn begin(context: &Context, argument: &[u8]) -> Result<(Sasl, Step), Reply> {
    let text = std::str::from_utf8(argument).map_err(|_| bad_arguments("AUTH mechanism [initial response]"))?;
    let mut words = text.split_ascii_whitespace();
    let name = words.next().ok_or_else(|| bad_arguments("AUTH mechanism [initial response]"))?;
    let initial = words.next();
    if words.next().is_some() {
        return Err(bad_arguments("AUTH mechanism [initial response]"));
    }
    let binding = context.tls.as_ref().map(|tls| tls.binding.clone()).unwrap_or_default();
    let mechanism = Mechanism::named(name)
        .filter(|mechanism| context.rules.offer.on(&binding).any(|offered| offered == *mechanism))
        .ok_or_else(|| Reply::new(504, "5.5.4", "that mechanism is not offered"))?;
    let initial = initial.map(initial_response).transpose()?;
    Ok(Sasl::start(mechanism, initial.as_deref(), &binding))
}

// RFC 4954 §4: "=" is a response of no bytes.
fn initial_response(word: &str) -> Result<Vec<u8>, Reply> {
    if word == "=" { Ok(Vec::new()) } else { base64::decode(word.as_bytes()).ok_or_else(not_base64) }
}

pub(super) fn response(context: &mut Context, mut waiting: Exchange, line: &[u8], out: &mut Vec<Effect>) -> State {
    if line == b"*" {
        return over(waiting.hello, Reply::new(501, "5.0.0", "given up"), out);
    }
    let Some(response) = base64::decode(line) else { return over(waiting.hello, not_base64(), out) };
    let step = waiting.sasl.respond(&response);
    go_on(context, waiting, step, out)
}

pub(super) fn fields(
    context: &mut Context,
    mut waiting: Exchange,
    fields: Result<sasl::Fields, LoginRefusal>,
    out: &mut Vec<Effect>,
) -> State {
    match fields {
        Ok(fields) => {
            let step = waiting.sasl.fields(fields);
            go_on(context, waiting, step, out)
        }
        Err(LoginRefusal::TooMany) => {
            context.login_failures += 1;
            over(waiting.hello, Reply::new(454, "4.7.0", "too many failed logins, try again in an hour"), out)
        }
        Err(LoginRefusal::Unavailable) => over(waiting.hello, unavailable(), out),
    }
}

pub(super) fn admitted(
    context: &mut Context,
    waiting: Exchange,
    answer: Result<Option<Owner>, Down>,
    out: &mut Vec<Effect>,
) -> State {
    match answer {
        Err(Down) => over(waiting.hello, unavailable(), out),
        Ok(None) => failed(context, waiting, out),
        Ok(Some(owner)) => match waiting.sasl.admitted() {
            // RFC 4954 §4 has no data with success: SCRAM's last message goes as a challenge.
            Some(server_final) => {
                out.push(Effect::Reply(Reply::plain(334, base64::encode(&server_final))));
                State::ExpectLastResponse(ExpectLastResponse { hello: waiting.hello, owner })
            }
            None => welcome(context, waiting.hello, owner, out),
        },
    }
}

pub(super) fn last_response(
    context: &mut Context,
    waiting: ExpectLastResponse,
    line: &[u8],
    out: &mut Vec<Effect>,
) -> State {
    if !matches!(line, b"" | b"=") {
        return over(waiting.hello, Reply::new(501, "5.5.2", "an empty response was due"), out);
    }
    welcome(context, waiting.hello, waiting.owner, out)
}

/// A line that is no line ends an exchange; outside of one the state stays.
pub(super) fn give_up(state: State, out: &mut Vec<Effect>, say: impl FnOnce(&mut Vec<Effect>)) -> State {
    say(out);
    if state.takes_commands() { state } else { state.reset() }
}

fn go_on(context: &mut Context, waiting: Exchange, step: Step, out: &mut Vec<Effect>) -> State {
    match step {
        Step::Challenge(challenge) => {
            out.push(Effect::Reply(Reply::plain(334, base64::encode(&challenge))));
            State::ExpectResponse(waiting)
        }
        Step::NeedFields { name } => {
            out.push(Effect::FetchFields { name });
            State::ExpectFields(waiting)
        }
        Step::Prove(proof) => {
            // `wrap` opens nothing here: submission's salt differs from IMAP's.
            out.push(Effect::Prove { attempt: proof.attempt, device: SlotId(proof.device), check: proof.check });
            State::ExpectAdmission(waiting)
        }
        Step::Fail(Failure::Malformed) => {
            over(waiting.hello, Reply::new(501, "5.5.2", "not what the mechanism says"), out)
        }
        Step::Fail(Failure::Unavailable) => over(waiting.hello, unavailable(), out),
        Step::Fail(Failure::Refused) => failed(context, waiting, out),
    }
}

fn failed(context: &mut Context, waiting: Exchange, out: &mut Vec<Effect>) -> State {
    context.login_failures += 1;
    let name = waiting.sasl.name().unwrap_or_default().to_owned();
    let secret = waiting.sasl.shown_secret().map(|secret| zeroize::Zeroizing::new(secret.to_vec()));
    out.push(Effect::CountFailure { name, secret });
    over(waiting.hello, Reply::new(535, "5.7.8", "wrong name or password; use a device password"), out)
}

fn welcome(context: &mut Context, hello: Hello, owner: Owner, out: &mut Vec<Effect>) -> State {
    context.login = Some(owner);
    over(hello, Reply::new(235, "2.7.0", "welcome"), out)
}

fn over(hello: Hello, reply: Reply, out: &mut Vec<Effect>) -> State {
    refuse(State::ExpectMail(ExpectMail { hello }), reply, out)
}

fn refuse(state: State, reply: Reply, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(reply));
    state
}

fn unavailable() -> Reply {
    Reply::new(454, "4.7.0", "logins are not possible at the moment, try again")
}

fn not_base64() -> Reply {
    Reply::new(501, "5.5.2", "that is not base64")
}
