//! MAIL (RFC 5321 §4.1.1.2). In clear 451, so that nothing bounces and no mail crosses the network to be read. Under
//! TLS it is heard whatever it says: the recipient is what matters, and 451 here would teach nothing.

use super::{Effect, Phase, Session};
use crate::limits;
use crate::reply::Reply;

pub(super) fn mail(session: &mut Session) -> Vec<Effect> {
    session.mails += 1;
    // OpenSMTPD keeps a session in which it was deferred, and tries again in it for as long as that lasts (measured):
    // only a new connection can reach the home that is back, or has become known.
    let most = match session.phase {
        Phase::Clear => u32::MAX,
        Phase::Learning => limits::MAILS_LEARNING,
        Phase::Away => limits::MAILS_AWAY,
    };
    if session.mails > most {
        return vec![Effect::Say(Reply::Unavailable)];
    }
    vec![Effect::Say(match session.phase {
        Phase::Clear => Reply::TlsFirst,
        Phase::Learning => Reply::SenderHeard,
        Phase::Away => Reply::HomeAway,
    })]
}
