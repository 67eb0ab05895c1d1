//! A disk that takes no writes: what is there is served to whoever reads, whoever writes hears why not, and once the disk
//! takes writes again the keeper ends, so that the next one opens the spool to serve all.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::journal::limits;
use crate::journal::open::OpenError;
use crate::journal::sure::{Left, Sure};

use super::house::House;
use super::{Keeper, Manner, Start, StartError, quietly};

/// Between two looks whether the disk takes writes: whoever waits to write is told to come again in minutes.
const LOOK: Duration = Duration::from_secs(5);
/// A file that a start removes where we did not.
const PROBE: &str = "probe.new";

/// Whether it was the disk that refused, and not what it holds: then what it holds may still be read.
pub fn may_be_read(error: &StartError) -> bool {
    let (StartError::Io(error) | StartError::Journal(OpenError::Io(error))) = error else { return false };
    is_disks(error)
}

fn is_disks(error: &io::Error) -> bool {
    let broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    broken || error.kind() == io::ErrorKind::ReadOnlyFilesystem || is_full(error)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Opens it to be read.
///
/// # Errors
/// `why` it cannot be opened to serve, where it cannot be read either.
pub fn open(root: &Path, disk: Disk, start: &Start, why: StartError) -> Result<Keeper, StartError> {
    let mut start = start.clone();
    start.manner = Manner::Read;
    match quietly(|| Keeper::open_to_look(root, disk, &start)) {
        Ok(keeper) => {
            tracing::error!(
                error = %why,
                "the disk takes no writes: mail can be read, and senders are told to come again until it does. `postern doctor` says what to do"
            );
            Ok(keeper)
        }
        Err(error) => {
            tracing::error!(%error, "the spool cannot be read either");
            Err(why)
        }
    }
}

/// What the keeper before knew to be on the disk.
pub fn sure(start: &Start) -> Option<Sure> {
    start.left.as_ref()?.read()
}

/// Leaves word for the next keeper.
pub fn leave(left: Option<&Left>, sure: Option<Sure>) {
    if let Some(Err(error)) = left.map(|left| left.write(sure)) {
        tracing::error!(%error, "the next keeper cannot be told how far the journal is");
    }
}

/// Returns once a disk that took no writes takes them again; not under a command, whose keeper serves nobody else.
pub async fn writable(house: Arc<House>, offline: bool) {
    if offline || house.manner != Manner::Read {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let house = house.clone();
        let tried = tokio::task::spawn_blocking(move || takes_writes(&house.disk, &house.root.join("journal"))).await;
        if matches!(tried, Ok(Ok(()))) {
            tracing::warn!("the disk takes writes again: the keeper ends and begins anew");
            return;
        }
    }
}

/// Returns once it is known that the disk takes no writes any more: then this keeper ends, and the next one serves who reads.
/// One that is full takes those that make room.
pub async fn unwritable(house: Arc<House>) {
    if house.manner.only_reads() {
        return std::future::pending().await;
    }
    loop {
        house.doubts.notified().await;
        let tried = tokio::task::spawn_blocking({
            let house = house.clone();
            move || takes_writes(&house.disk, &house.root.join("journal"))
        });
        match tried.await {
            Ok(Err(error)) if is_disks(&error) && !is_full(&error) => {
                tracing::error!(%error, "the disk takes no writes; the keeper ends and begins anew");
                return house.committer.give_up();
            }
            _ => {}
        }
    }
}

/// Writes as much as a start does, durable.
fn takes_writes(disk: &Disk, journal: &Path) -> io::Result<()> {
    let path = journal.join(PROBE);
    let tried = disk.remove(&path).and_then(|()| disk.create_new(&path)).and_then(|file| {
        file.write_at(&vec![0; limits::AHEAD as usize], 0)?;
        file.sync_all()
    });
    disk.remove(&path)?;
    tried?;
    disk.sync_folder(journal)
}
