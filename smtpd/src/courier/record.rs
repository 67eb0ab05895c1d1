//! What became of a letter is written down, however long the disk takes nothing.

use spool::edges::Down;
use spool::edges::outbox::{Outbox, State};
use tokio::time::sleep;
use tracing::warn;

use super::limits;

/// Whether a lease ends with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It does.
    Now,
    /// More is said of it later.
    Not,
}

/// Reports until the disk takes it: what is not written down would be sent again, and again. Meanwhile what `hold` gives
/// is held.
///
/// # Errors
/// [`Down`].
pub async fn record<H>(
    outbox: &Outbox,
    (lease, ends): (u64, Ends),
    states: Vec<(u16, State)>,
    hold: impl Fn() -> H,
) -> Result<(), Down> {
    let (mut wait, mut held) = (limits::RECORD_RETRY, None);
    loop {
        let recorded = match ends {
            Ends::Now => outbox.report(lease, states.clone()).await?,
            Ends::Not => outbox.note(lease, states.clone()).await?,
        };
        if recorded {
            return Ok(());
        }
        held.get_or_insert_with(&hold);
        warn!(lease, "the disk takes no record of what was sent; until it does, nothing more is sent");
        tokio::select! {
            () = outbox.closed() => return Err(Down),
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(limits::RECORD_RETRY_MOST);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use filter_sandbox::edge::{Answer, AsyncEdge, Edge, Numbered};
    use spool::edges::outbox::{Event, Reply, Request};

    use super::*;

    const DONE: State = State::Done { delivered: true };

    #[tokio::test]
    async fn again_until_it_is_written_down() {
        let (ours, theirs) = Edge::pair().unwrap();
        let outbox = Outbox::new(ours, tokio::sync::mpsc::channel(1).0).unwrap();
        let held = Arc::new(());
        let seen = held.clone();
        let keeper = tokio::spawn(async move {
            let edge = AsyncEdge::new(theirs).unwrap();
            let mut holders = Vec::new();
            for full in [true, true, false] {
                let (asked, _) = edge.recv::<Numbered<Request>>().await.unwrap();
                assert!(
                    matches!(&asked.body, Request::Report { lease: 7, states, ends: true } if *states == [(3, DONE)])
                );
                holders.push(Arc::strong_count(&seen) - 2);
                let reply = if full { Reply::NotRecorded } else { Reply::Recorded };
                edge.send(&Answer::<Reply, Event>::Reply(asked.number, reply), &[]).await.unwrap();
            }
            holders
        });
        record(&outbox, (7, Ends::Now), vec![(3, DONE)], || held.clone()).await.unwrap();
        assert_eq!(keeper.await.unwrap(), [0, 1, 1], "held from the first refusal on");
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn a_keeper_that_is_gone_ends_it() {
        let (ours, theirs) = Edge::pair().unwrap();
        let outbox = Outbox::new(ours, tokio::sync::mpsc::channel(1).0).unwrap();
        tokio::spawn(async move {
            let edge = AsyncEdge::new(theirs).unwrap();
            let (asked, _) = edge.recv::<Numbered<Request>>().await.unwrap();
            edge.send(&Answer::<Reply, Event>::Reply(asked.number, Reply::NotRecorded), &[]).await.unwrap();
        });
        assert!(record(&outbox, (7, Ends::Not), vec![(3, DONE)], || ()).await.is_err());
    }
}
