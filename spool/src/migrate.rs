//! Brings an older spool forward while the keeper serves it.
//!
//! One [`Step`] leads from a format to the next, in pieces. A piece is short, works on the live spool like any other
//! request, and may be done twice: a kill between two pieces, or in one, costs only that the step begins again at the next
//! start. A step's end is written down ([`Format`]) once nothing is left in its format; new things have been written in the
//! newest format since before the first step. Commands without a running box raise the format and migrate nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::format::Format;
use crate::journal::files;
use crate::keeper::house::House;

/// Between two pieces: mail comes first.
const PAUSE: Duration = Duration::from_millis(20);
/// Before a piece that failed is tried again.
const AGAIN: Duration = Duration::from_secs(600);

/// How a piece went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// There is more to do.
    More,
    /// Nothing is left in the old format.
    Last,
}

/// From one format to the next.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The format it leads on from.
    pub from: u32,
    /// Does a piece.
    pub piece: fn(&House) -> io::Result<Piece>,
}

/// All there are, in order.
pub const STEPS: &[Step] = &[Step { from: 1, piece: marked_batches }];

/// Format 1 may have a journal whose batches are not marked: it is compacted, so that a start reads none any more.
fn marked_batches(house: &House) -> io::Result<Piece> {
    let dir = house.root.join("journal");
    if files::some_without_marks(&dir)? {
        house.committer.checkpoint(false)?;
    }
    Ok(Piece::Last)
}

/// Before anything is written in the newest format: from now on older programs refuse.
///
/// # Errors
/// The disk's.
pub fn begin(disk: &Disk, root: &std::path::Path, format: Format) -> io::Result<()> {
    if format.newest >= Format::NEWEST.newest {
        return Ok(());
    }
    let raised = Format { oldest: format.oldest, ..Format::NEWEST };
    match raised.write(disk, root) {
        Err(error)
            if error.kind() == io::ErrorKind::StorageFull && files::give_up_reserve(disk, &root.join("journal"))? =>
        {
            raised.write(disk, root)
        }
        other => other,
    }
}

/// Takes the steps that are left, in the background; ends when there are none.
pub async fn run(house: Arc<House>, mut format: Format, steps: &'static [Step]) {
    while let Some(step) = steps.iter().find(|step| step.from == format.oldest && step.from < format.newest) {
        tracing::info!(from = step.from, "bringing the mail store to its next format; mail goes on meanwhile");
        if let Err(error) = take(&house, *step).await {
            tracing::error!(%error, "the mail store stays in its old format for now; it is tried again");
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let next = Format { oldest: step.from + 1, ..format };
        let (house, written) = (house.clone(), next);
        match blocking(move || written.write(&house.disk, &house.root)).await {
            Ok(()) => format = next,
            Err(error) => {
                tracing::error!(%error, "that the mail store is in its next format cannot be written down");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn take(house: &Arc<House>, step: Step) -> io::Result<()> {
    loop {
        let house = house.clone();
        if blocking(move || (step.piece)(&house)).await? == Piece::Last {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.map_err(io::Error::other)?
}
