//! How much may wait of what aliases pass on for strangers, and of what finds its way back to them: nobody's quota bounds
//! it, and the disk is to have room for the letters that stay.

use std::sync::{MutexGuard, PoisonError};

use crate::edges::outbox::{Outgoing, OutgoingRecipient, limits};
use crate::edges::{Delivered, Size};
use crate::index::Index;
use crate::index::passed_on::{Amount, Load, PassedOn};

use super::house::House;
use super::posting::{self, Leaving};

/// What there is for a letter that is yet to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough, whatever comes.
    Ample,
    /// Perhaps enough.
    Tight,
    /// Too little.
    None,
}

/// The room for a message to that address.
pub fn room(house: &House, address: &str, size: Size) -> Room {
    let free = free(house);
    let core = house.committer.lock();
    let fits = |bytes| has_room(house, &core.index, free, &posting::load_of(house, &core.index, address, bytes));
    match (fits(size.needed()), fits(size.ample())) {
        (_, true) => Room::Ample,
        (true, false) => Room::Tight,
        (false, false) => {
            told_full(&core.index);
            Room::None
        }
    }
}

/// Whether a letter that waits may wait for these, too.
pub fn has_room_for(
    house: &House,
    index: &Index,
    free: u64,
    (outgoing, new): (&Outgoing, &[OutgoingRecipient]),
) -> bool {
    let to = new.iter().map(|one| one.address.as_str());
    let has = !outgoing.passed_on
        || has_room(house, index, free, &Load::new(outgoing.size.into(), outgoing.sender.is_some(), to));
    if !has {
        told_full(index);
    }
    has
}

/// A letter that counts until this goes.
#[derive(Debug)]
pub struct Passing<'a>(&'a House, Load);

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(&self.1);
    }
}

/// Counts a letter that is passed on, if there is room for it; nothing, where a login has sent it.
///
/// # Errors
/// What to answer.
pub fn begin<'a>(house: &'a House, leaving: &Leaving) -> Result<Option<Passing<'a>>, Delivered> {
    let Some(load) = leaving.load() else { return Ok(None) };
    let free = free(house);
    // Held until it is counted: of two that come at once, the second sees the first.
    let core = house.committer.lock();
    if !has_room(house, &core.index, free, &load) {
        told_full(&core.index);
        return Err(Delivered::Waiting);
    }
    lock(house).add(&load);
    Ok(Some(Passing(house, load)))
}

fn has_room(house: &House, index: &Index, free: u64, load: &Load) -> bool {
    let waiting = index.waiting().passed_on();
    waiting.has_room(&lock(house), load, most(free, waiting.all().bytes))
}

/// All that may wait, where so much waits already and so much of the disk is free beside it.
fn most(free: u64, waiting: u64) -> Amount {
    let bytes = limits::PASSED_ON_BYTES.min(free.saturating_add(waiting) / limits::PASSED_ON_PART);
    Amount { bytes, recipients: limits::PASSED_ON_RECIPIENTS }
}

/// Bytes of the disk.
pub fn free(house: &House) -> u64 {
    house.disk.free(&house.root).unwrap_or_else(|error| {
        tracing::error!(%error, "how much of the disk is free cannot be asked: nothing more is passed on");
        0
    })
}

fn told_full(index: &Index) {
    let Amount { bytes, recipients } = index.waiting().passed_on().all();
    tracing::warn!(bytes, recipients, "too much waits to be passed on: see `postern queue list`");
}

fn lock(house: &House) -> MutexGuard<'_, PassedOn> {
    house.passing.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_three_quarters_for_letters_that_stay() {
        let bytes = |free, waiting| most(free, waiting).bytes;
        assert_eq!(bytes(u64::MAX, 0), limits::PASSED_ON_BYTES);
        assert_eq!((bytes(160_000_000, 0), bytes(120_000_000, 40_000_000)), (40_000_000, 40_000_000));
        assert_eq!(bytes(0, 40_000_000), 10_000_000, "what stays has taken the rest: nothing comes until that is less");
    }
}
