//! DATA (RFC 5321 §4.1.1.4), BDAT (RFC 3030): never. No recipient was accepted, so none may follow; a sender that
//! says it all the same may send its text next, every line of which would look like a command. So this ends the session.

use super::Effect;
use crate::reply::Reply;

pub(super) fn data() -> Vec<Effect> {
    vec![Effect::Say(Reply::NoData)]
}
