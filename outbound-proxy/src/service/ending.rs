//! The end that its operator asks for: no new sessions, and none is cut between the end of a letter and the far server's word for it,
//! which would make a second letter.

use tokio::time::{sleep, timeout};
use wire::control::Controls;

use super::Service;
use super::session::Session;
use crate::limits;

impl Service {
    /// Returns once the parent is gone, or has told it to end, and that is done; it says nothing else.
    pub(super) async fn told(&self, controls: &Controls) {
        if controls.next().await.is_some() {
            tokio::select! {
                () = self.drained() => {}
                // Its patience is over.
                _ = controls.next() => {}
            }
        }
    }

    /// Lets sessions end, for as long as that may take.
    async fn drained(&self) {
        self.ending.send_replace(true);
        let all = u32::try_from(limits::SESSIONS).unwrap_or(u32::MAX);
        // Who asks for a session meanwhile finds no room.
        let _ = timeout(limits::DRAIN, self.sessions.acquire_many(all)).await;
    }

    /// Returns once that was asked for.
    pub(super) async fn ending(&self) {
        let mut ending = self.ending.subscribe();
        if ending.wait_for(|ending| *ending).await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns once a session is to be cut, and can be.
    pub(super) async fn cuts(&self, session: &Session<'_>) {
        self.ending().await;
        while !session.can_be_cut() {
            sleep(limits::DRAIN_LOOK).await;
        }
    }
}
