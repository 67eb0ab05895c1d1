//! Summaries in the keeper's cache: sealed by this owner, opened by this owner, checked again each time. The cache
//! may vanish, and what lies in it may be damaged or old: whatever does not open is as if it were not there.

use std::os::fd::AsFd;

use filter_sandbox::report::Summary;
use spool::edges::Down;
use spool::edges::mailbox::{Mailbox, Request};
use spool::keys::{Identities, KeyError};
use spool::names::LetterId;
use spool::summary_seal::SummarySeal;
use tracing::warn;

use crate::{files, letters, limits};

/// One command's dealings with the cache.
#[derive(Debug)]
pub struct Cache {
    seal: SummarySeal,
    /// Newly opened from letters, sealed, and not yet in the cache.
    fresh: Vec<(LetterId, Vec<u8>)>,
    bytes: usize,
}

impl Cache {
    /// For one owner's summaries.
    ///
    /// # Errors
    /// None in practice.
    pub fn new(identities: &Identities) -> Result<Self, KeyError> {
        Ok(Self { seal: SummarySeal::new(identities)?, fresh: Vec::new(), bytes: 0 })
    }

    /// Opens and checks a value of the cache.
    #[must_use]
    pub fn open(&self, letter: LetterId, size: u32, value: &[u8]) -> Option<Box<Summary>> {
        let raw = self.seal.open(letter, value)?;
        letters::decode(&raw, u64::from(size)).map(Box::new).ok()
    }

    /// Takes a summary that should be in the cache.
    pub fn add(&mut self, letter: LetterId, raw: &[u8]) {
        if let Ok(sealed) = self.seal.seal(letter, raw) {
            self.bytes += sealed.len();
            self.fresh.push((letter, sealed));
        }
    }

    /// All that is fresh, when there is `enough` of it or too many bytes to keep.
    pub fn take(&mut self, enough: usize) -> Option<Vec<(LetterId, Vec<u8>)>> {
        let due = !self.fresh.is_empty() && (self.fresh.len() >= enough || self.bytes >= limits::FRESH);
        due.then(|| {
            self.bytes = 0;
            std::mem::take(&mut self.fresh)
        })
    }
}

/// Puts summaries into the cache. Best effort: a list is told whether or not it is remembered.
///
/// # Errors
/// [`Down`].
pub async fn put(keeper: &Mailbox, letters: &Vec<(LetterId, Vec<u8>)>) -> Result<(), Down> {
    match files::encode(letters) {
        Ok(file) => keeper.ask(Request::PutSummaries, &[file.as_fd()]).await.map(drop),
        Err(why) => {
            warn!(%why, "summaries were not put into the cache");
            Ok(())
        }
    }
}
