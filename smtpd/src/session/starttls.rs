//! STARTTLS (RFC 3207). After it the session begins anew: nothing that was said in clear counts.

use super::context::{Context, TlsFacts};
use super::events::Effect;
use super::states::State;
use crate::reply::{Reply, bad_arguments, out_of_order};

pub(super) fn starttls(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let refusal = match state {
        _ if context.tls.is_some() => out_of_order("TLS is on already"),
        _ if !argument.trim_ascii().is_empty() => bad_arguments("STARTTLS takes no argument"),
        State::ExpectHello | State::ExpectMail(_) => {
            out.push(Effect::Reply(Reply::new(220, "2.0.0", "go ahead")));
            out.push(Effect::StartTls);
            return State::ExpectTls;
        }
        _ => out_of_order("not within a transaction: RSET first"),
    };
    out.push(Effect::Reply(refusal));
    state
}

/// RFC 3207 §4.2: what the client said before is forgotten, its EHLO included.
pub(super) fn started(context: &mut Context, facts: TlsFacts) -> State {
    context.tls = Some(facts);
    State::ExpectHello
}
