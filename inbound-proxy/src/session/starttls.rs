//! STARTTLS (RFC 3207). Never 454: four of five mail servers then send in clear, in the same session (measured).

use super::{Effect, Phase, Session};
use crate::reply::Reply;

pub(super) fn starttls(session: &mut Session, argument: &[u8]) -> Vec<Effect> {
    if session.phase != Phase::Clear {
        return session.blame(Reply::OutOfOrder);
    }
    if !argument.is_empty() {
        return session.blame(Reply::NotUnderstood);
    }
    session.at_the_door = true;
    vec![Effect::Admit]
}

/// After the ClientHello it is too late to say that there is no place: a close would bring some of them back in clear.
pub(super) fn admitted(session: &mut Session, place: bool) -> Vec<Effect> {
    if !std::mem::take(&mut session.at_the_door) {
        return Vec::new();
    }
    if !place {
        return vec![Effect::Say(Reply::Unavailable)];
    }
    vec![Effect::Say(Reply::GoAhead), Effect::HandOver { ehlo: session.hello.take() }]
}
