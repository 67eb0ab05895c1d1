//! Summaries and headers in the keeper's cache: sealed by this owner, opened by this owner, checked again each time. The cache
//! may vanish, and what lies in it may be damaged or old: whatever does not open is as if it were not there.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use spool::edges::Down;
use spool::edges::mailbox::{Mailbox, Request};
use spool::keys::{Identities, KeyError};
use spool::names::LetterId;
use spool::summary_seal::SummarySeal;
use tracing::warn;
use zeroize::Zeroizing;

use crate::letters::Digest;
use crate::{files, letters, limits};

/// Stands for a header that is too long to be kept.
const NO_HEADER: u32 = u32::MAX;

/// What is sealed for the cache: the header's length, the header, the summary as it was sealed with the letter.
#[must_use]
pub fn encode(summary: &[u8], header: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let header = header.filter(|header| 4 + header.len() + summary.len() <= spool::limits::SUMMARY);
    let length = header.and_then(|header| u32::try_from(header.len()).ok()).unwrap_or(NO_HEADER);
    Zeroizing::new([&length.to_le_bytes()[..], header.unwrap_or_default(), summary].concat())
}

/// Takes apart and checks what came out of the cache.
fn decode(bytes: &[u8], size: u32) -> Option<Digest> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (header, summary) = match u32::from_le_bytes(*length) {
        NO_HEADER => (None, rest),
        length => {
            let (header, summary) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            let mut header = Zeroizing::new(header.to_vec());
            letters::without_nul(&mut header);
            (Some(header), summary)
        }
    };
    let summary = Box::new(letters::decode(summary, u64::from(size)).ok()?);
    let whole = header.as_ref().is_none_or(|header| header.len() == summary.root.header.len() as usize);
    whole.then_some(Digest { summary, header })
}

/// One command's dealings with the cache.
#[derive(Debug)]
pub struct Cache {
    seal: SummarySeal,
    /// Newly opened from letters, sealed, and not yet in the cache.
    fresh: Vec<(LetterId, Vec<u8>)>,
    bytes: usize,
    /// Whether somebody was told that values do not open.
    told: AtomicBool,
}

impl Cache {
    /// For one owner's summaries.
    ///
    /// # Errors
    /// None in practice.
    pub fn new(identities: &Identities) -> Result<Self, KeyError> {
        Ok(Self { seal: SummarySeal::new(identities)?, fresh: Vec::new(), bytes: 0, told: AtomicBool::new(false) })
    }

    /// Opens and checks a value of the cache.
    #[must_use]
    pub fn open(&self, letter: LetterId, size: u32, value: &[u8]) -> Option<Digest> {
        let digest = self.seal.open(letter, value).and_then(|opened| decode(&opened, size));
        if digest.is_none() && !self.told.swap(true, Ordering::Relaxed) {
            warn!(
                "what lies in the cache of summaries is damaged, or from before a rekey: it is read from the letters"
            );
        }
        digest
    }

    /// Takes what [`encode`] has made and the cache should have. What comes when too much waits is left out, and opened
    /// again the next time.
    pub fn add(&mut self, letter: LetterId, fresh: &[u8]) {
        if self.bytes >= limits::FRESH_MOST {
            return;
        }
        if let Ok(sealed) = self.seal.seal(letter, fresh) {
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

#[cfg(test)]
mod tests {
    use spool::keys::Identity;
    use spool::names::MailboxId;

    use super::*;

    #[test]
    fn what_waits_for_the_cache_fits_one_request() {
        let identities = Identities::first(MailboxId(1), Identity::generate().unwrap());
        let mut cache = Cache::new(&identities).unwrap();
        let longest = vec![7; spool::limits::SUMMARY];
        for number in 0..limits::SUMMARIES {
            cache.add(LetterId([u8::try_from(number).unwrap(); 16]), &longest);
        }
        let waiting = cache.take(1).unwrap();
        let bytes = postcard::to_stdvec(&waiting).unwrap().len();
        assert!((limits::FRESH_MOST..=spool::edges::limits::SUMMARIES_BYTES).contains(&bytes), "{bytes}");
        assert!(cache.take(1).is_none());
        cache.add(LetterId([1; 16]), b"short");
        assert_eq!(cache.take(1).unwrap().len(), 1, "taken, there is room again");
    }
}
