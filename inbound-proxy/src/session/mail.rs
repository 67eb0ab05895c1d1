//! MAIL (RFC 5321 §4.1.1.2). In clear 451, so that nothing bounces and no mail crosses the network to be read. Under
//! TLS it is heard whatever it says: the recipient is what matters, and 451 here would teach nothing.

use super::{Effect, Phase, Session};
use crate::reply::Reply;

pub(super) fn mail(session: &Session) -> Vec<Effect> {
    vec![Effect::Say(match session.phase {
        Phase::Clear => Reply::TlsFirst,
        Phase::Learning => Reply::SenderHeard,
        Phase::Away => Reply::HomeAway,
    })]
}
