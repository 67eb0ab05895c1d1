//! Room for letters in memory. Nobody far away decides how long it is held: a large letter is read as a whole only to be
//! signed, before its first byte leaves, and then leaves from its file ([`super::pieces`]). Only where a letter must be
//! converted does its new form stay until a far server has it: such letters have room of their own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::limits;

/// Room for letters, in KiB.
#[derive(Debug)]
pub struct Memory {
    signing: Share,
    converting: Share,
    hands: Semaphore,
}

#[derive(Debug)]
struct Share {
    room: Arc<Semaphore>,
    all: u32,
}

/// What is held while a letter is in memory: nothing for a small one.
pub type Room = Option<OwnedSemaphorePermit>;

impl Share {
    fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1024, Semaphore::MAX_PERMITS as u32 >> 1);
        Self { room: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits for it. What is larger than all gets all.
    async fn take(&self, bytes: u64) -> Room {
        let wanted = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.all);
        self.room.clone().acquire_many_owned(wanted).await.ok()
    }
}

impl Memory {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { signing: Share::new(bytes / 2), converting: Share::new(bytes / 2), hands: Semaphore::new(limits::HANDS) }
    }

    /// To open and sign one: more at a time than there are processors bring nothing, and each takes a thread with memory
    /// of its own.
    pub async fn hand(&self) -> Option<SemaphorePermit<'_>> {
        self.hands.acquire().await.ok()
    }

    /// To read a letter of that size.
    pub async fn to_sign(&self, size: u32) -> Room {
        if is_small(size) { None } else { self.signing.take(size.into()).await }
    }

    /// To read it and make another of it: quoted-printable is up to three times as long.
    pub async fn to_convert(&self, size: u32) -> Room {
        if is_small(size) { None } else { self.converting.take(4 * u64::from(size)).await }
    }
}

/// Whether a letter stays in memory until it is sent: the number of connections bounds those.
#[must_use]
pub const fn is_small(size: u32) -> bool {
    size <= limits::SMALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_letter_that_is_held_delays_no_other() {
        let memory = Memory::new(8 << 20);
        let large = memory.to_convert(50 << 20).await;
        assert!(large.is_some());
        let soon = Duration::from_secs(20);
        assert!(timeout(soon, memory.to_sign(50 << 20)).await.unwrap().is_some());
        assert!(timeout(soon, memory.to_convert(limits::SMALL)).await.unwrap().is_none());
        let other = memory.to_convert(limits::SMALL + 1);
        assert!(timeout(Duration::from_millis(10), other).await.is_err(), "all is taken");
        drop(large);
        assert!(timeout(soon, memory.to_convert(limits::SMALL + 1)).await.unwrap().is_some());
    }
}
