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
    vec![Effect::Say(Reply::GoAhead), Effect::HandOver { ehlo: session.hello.take() }]
}
