//! EHLO and HELO (RFC 5321 §4.1.1.1). The name is the sender's own, never that of the home it wants (measured: nine
//! mail servers, six client programs). Any name will do; one that is none is not remembered.

use relay_link::inbound::ClientName;

use super::{Effect, Phase, Session};
use crate::reply::Reply;

pub(super) fn ehlo(session: &mut Session, argument: &[u8]) -> Vec<Effect> {
    session.hello = name(argument);
    vec![Effect::Say(match session.phase {
        Phase::Clear => Reply::HelloInClear,
        Phase::Learning | Phase::Away => Reply::HelloUnderTls,
    })]
}

pub(super) fn helo(session: &mut Session, argument: &[u8]) -> Vec<Effect> {
    session.hello = name(argument);
    vec![Effect::Say(Reply::PlainHello)]
}

fn name(argument: &[u8]) -> Option<ClientName> {
    std::str::from_utf8(argument).ok().and_then(ClientName::new)
}
