//! EXAMINE (RFC 3501 §6.3.2): SELECT that changes nothing.

use super::{Done, Session};

pub(super) async fn run(session: &mut Session, name: String) -> Done {
    super::select::run(session, name, true).await
}
