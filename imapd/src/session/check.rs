//! CHECK (RFC 3501 §6.4.1): every change is on the disk before it is answered, so it is NOOP.

use super::{Done, Session};

pub(super) async fn run(session: &mut Session) -> Done {
    session.view()?;
    super::noop::run(session).await
}
