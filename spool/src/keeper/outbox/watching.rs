//! Tells the courier when something may be due, once after each time it was told that nothing is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::edges::outbox::{Event, Reply};
use crate::keeper::house::{House, now};
use crate::keeper::line::Line;

/// Longest sleep between looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_secs(30);

/// Ends with its courier.
#[derive(Debug)]
pub struct Watching {
    hungry: Arc<AtomicBool>,
    wake: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watching {
    /// For the courier at that edge.
    #[must_use]
    pub fn begin(house: &Arc<House>, line: &Line<Reply, Event>) -> Self {
        let (hungry, (wake, woken)) = (Arc::new(AtomicBool::new(false)), watch::channel(()));
        let task = tokio::spawn(watch_out(house.clone(), hungry.clone(), woken, line.clone()));
        Self { hungry, wake, task }
    }

    /// From now on the courier waits for news.
    pub fn tell_once(&self) {
        self.hungry.store(true, Ordering::Relaxed);
        self.wake.send_replace(());
    }
}

async fn watch_out(
    house: Arc<House>,
    hungry: Arc<AtomicBool>,
    mut woken: watch::Receiver<()>,
    line: Line<Reply, Event>,
) {
    let mut changes = house.committer.lock().hub.outgoing_changes();
    let mut hurried = house.hurried.load(Ordering::Relaxed);
    loop {
        // What changed before it asked, it was told of by the answer.
        let asked = woken.changed().await;
        if asked.is_err() {
            return;
        }
        let at = now();
        let due = house.committer.lock().index.waiting().due_after(at);
        let wait = due.map_or(LOOK, |due| Duration::from_secs(due.saturating_sub(at).max(1).unsigned_abs()).min(LOOK));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
        if hungry.swap(false, Ordering::Relaxed) {
            let after = *changes.borrow_and_update();
            let now = house.hurried.load(Ordering::Relaxed);
            let event = if std::mem::replace(&mut hurried, now) == now { Event::Due } else { Event::Hurry };
            line.event(after, event);
        }
    }
}
