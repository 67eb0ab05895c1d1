//! What one session sees of its open folder: the sequence numbers it has been told of, and the news it has
//! not been told yet.
//!
//! Facts (flags, sizes, letters) are shared by all sessions of the owner that have the folder open; each
//! session keeps only its own list of UIDs, because sequence numbers are a promise made to one client:
//! they change only when that client is told (RFC 3501 §7.4.1).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use spool::edges::mailbox::{Event, Fact, Folder, flag};

use crate::facts::FolderFacts;
use crate::sequence::holds;

/// One thing to tell the client, in the order of telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// `* n EXPUNGE`; the numbers after it have moved already.
    Expunge(u32),
    /// `* n EXISTS`
    Exists(u32),
    /// `* n RECENT`
    Recent(u32),
    /// The folder's flags grew: `* FLAGS (...)` and PERMANENTFLAGS.
    Keywords,
    /// `* n FETCH (UID u FLAGS (...))`
    Flags {
        /// Sequence number.
        number: u32,
        /// UID.
        uid: u32,
    },
}

/// Whether sequence numbers may change now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    /// No command is running, or one that allows it.
    Tell,
    /// FETCH, STORE or SEARCH is running (RFC 3501 §7.4.1): they wait.
    HoldBack,
}

/// A session's open folder.
#[derive(Debug)]
pub struct View {
    facts: Rc<RefCell<FolderFacts>>,
    /// Told to the client, ascending: place n is sequence number n + 1.
    uids: Vec<u32>,
    read_only: bool,
    /// UIDs that are \\Recent for this session, both ends inclusive, ascending.
    recent: Vec<(u32, u32)>,
    /// The highest modseq whose change this session has heard of.
    modseq: u64,
    added: Vec<u32>,
    expunged: BTreeSet<u32>,
    flagged: BTreeSet<u32>,
    keywords: bool,
    gone: bool,
}

impl View {
    /// Opens on the keeper's answer: `snapshot` is the folder's letters at that moment, ascending by UID; `None`: the
    /// facts are of that moment.
    #[must_use]
    pub fn open(
        facts: Rc<RefCell<FolderFacts>>,
        folder: &Folder,
        snapshot: Option<Vec<Fact>>,
        recent_from: u32,
        read_only: bool,
    ) -> Self {
        let uids_of = |facts: &[Fact]| facts.iter().map(|fact| fact.uid).collect();
        let uids = snapshot.as_deref().map_or_else(|| uids_of(facts.borrow().letters()), uids_of);
        if let Some(snapshot) = snapshot {
            facts.borrow_mut().merge(folder, snapshot);
        }
        let last = folder.uid_next.saturating_sub(1);
        if !read_only {
            facts.borrow_mut().claim(last);
        }
        Self {
            facts,
            uids,
            read_only,
            recent: if recent_from <= last { vec![(recent_from, last)] } else { Vec::new() },
            modseq: folder.modseq,
            added: Vec::new(),
            expunged: BTreeSet::new(),
            flagged: BTreeSet::new(),
            keywords: false,
            gone: false,
        }
    }

    /// EXAMINE, not SELECT.
    #[must_use]
    pub const fn read_only(&self) -> bool {
        self.read_only
    }

    /// The folder was deleted or renamed away.
    #[must_use]
    pub const fn gone(&self) -> bool {
        self.gone
    }

    /// What is known of the folder.
    #[must_use]
    pub fn facts(&self) -> std::cell::Ref<'_, FolderFacts> {
        self.facts.borrow()
    }

    /// The same, to keep while the view hears of changes.
    #[must_use]
    pub fn shared(&self) -> Rc<RefCell<FolderFacts>> {
        self.facts.clone()
    }

    /// Ranges of UIDs that are \\Recent for this session, both ends inclusive, ascending.
    #[must_use]
    pub fn recent_ranges(&self) -> &[(u32, u32)] {
        &self.recent
    }

    /// Letters, as the client counts them.
    #[must_use]
    pub fn exists(&self) -> u32 {
        count(self.uids.len())
    }

    /// Letters that are \Recent for this session.
    #[must_use]
    pub fn recent(&self) -> u32 {
        let place = |uid: u32| self.uids.partition_point(|known| *known < uid);
        count(self.recent.iter().map(|(first, last)| place(last.saturating_add(1)) - place(*first)).sum())
    }

    /// Whether a letter is \Recent for this session.
    #[must_use]
    pub fn is_recent(&self, uid: u32) -> bool {
        holds(&self.recent, uid)
    }

    /// UIDs in the order of their sequence numbers.
    #[must_use]
    pub fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// The sequence number of a UID the client knows.
    #[must_use]
    pub fn number(&self, uid: u32) -> Option<u32> {
        self.uids.binary_search(&uid).ok().map(|place| count(place) + 1)
    }

    /// The first letter without \Seen, by this session's own numbers: others may have heard of later changes.
    #[must_use]
    pub fn first_unseen(&self) -> Option<u32> {
        let facts = self.facts.borrow();
        facts.letters().iter().filter(|fact| fact.flags & flag::SEEN == 0).find_map(|fact| self.number(fact.uid))
    }

    /// The highest modseq this session has heard of.
    #[must_use]
    pub const fn modseq(&self) -> u64 {
        self.modseq
    }

    /// Takes one event of the keeper's. Nothing is told yet.
    pub fn absorb(&mut self, event: Event) {
        match event {
            Event::Added(facts) => self.add(&facts),
            Event::Flags(changes) => {
                self.facts.borrow_mut().change(&changes);
                for (uid, _, _, modseq) in changes {
                    self.modseq = self.modseq.max(modseq);
                    self.flagged.insert(uid);
                }
            }
            Event::Expunged(ranges) => self.expunge(&ranges),
            Event::Keyword(bit, name) => {
                self.keywords |= self.facts.borrow_mut().keyword(bit, name);
                // Another session of this owner may have taken it into the shared table before.
                self.keywords = true;
            }
            // Of a view's own folder; who opens it has heard it.
            Event::Opened => {}
            Event::FolderGone => {
                self.gone = true;
                self.expunge(&[(1, u32::MAX)]);
            }
        }
    }

    fn add(&mut self, facts: &[Fact]) {
        self.facts.borrow_mut().add(facts);
        for fact in facts {
            self.modseq = self.modseq.max(fact.modseq);
            self.added.push(fact.uid);
            self.arrived(fact.uid);
        }
    }

    /// RFC 3501 §2.3.2: a letter is \Recent for the first session that hears of it, unless that one only looks.
    fn arrived(&mut self, uid: u32) {
        let facts = &self.facts;
        let first = if self.read_only { facts.borrow().is_unclaimed(uid) } else { facts.borrow_mut().claim(uid) };
        match self.recent.last_mut() {
            Some((_, last)) if first && last.checked_add(1) == Some(uid) => *last = uid,
            _ if first => self.recent.push((uid, uid)),
            _ => {}
        }
    }

    fn expunge(&mut self, ranges: &[(u32, u32)]) {
        self.facts.borrow_mut().remove(ranges);
        // What the client has not been told of need not be told away.
        self.added.retain(|uid| !within(ranges, *uid));
        for (first, last) in ranges {
            let from = self.uids.partition_point(|uid| uid < first);
            let to = self.uids.partition_point(|uid| uid <= last);
            self.expunged.extend(&self.uids[from..to]);
        }
    }

    /// Its flags will be told with the next news, whether they changed or not.
    pub fn mention(&mut self, uid: u32) {
        self.flagged.insert(uid);
    }

    /// Whether a change of its flags has been heard of and not yet told.
    #[must_use]
    pub fn is_pending(&self, uid: u32) -> bool {
        self.flagged.contains(&uid)
    }

    /// A change of flags that this client asked for with .SILENT need not be told back.
    pub fn silence(&mut self, uid: u32) {
        self.flagged.remove(&uid);
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn has_news(&self, expunges: Expunges) -> bool {
        !self.added.is_empty()
            || !self.flagged.is_empty()
            || self.keywords
            || (expunges == Expunges::Tell && !self.expunged.is_empty())
    }

    /// What to tell now; from here on the client knows it.
    pub fn news(&mut self, expunges: Expunges) -> Vec<News> {
        let mut news = Vec::new();
        if expunges == Expunges::Tell {
            self.tell_expunges(&mut news);
        }
        if !self.added.is_empty() {
            self.uids.append(&mut self.added);
            news.push(News::Exists(self.exists()));
            news.push(News::Recent(self.recent()));
        }
        if std::mem::take(&mut self.keywords) {
            news.push(News::Keywords);
        }
        for uid in std::mem::take(&mut self.flagged) {
            // A letter that is gone has no flags to tell; its EXPUNGE follows when it may.
            if let Some(number) = self.number(uid)
                && self.facts.borrow().get(uid).is_some()
            {
                news.push(News::Flags { number, uid });
            }
        }
        news
    }

    /// From the last to the first, so that each number is right at its turn and a client's list shrinks from its end.
    fn tell_expunges(&mut self, news: &mut Vec<News>) {
        let expunged = std::mem::take(&mut self.expunged);
        if expunged.is_empty() {
            return;
        }
        for uid in expunged.iter().rev() {
            if let Some(number) = self.number(*uid) {
                news.push(News::Expunge(number));
            }
        }
        self.uids.retain(|uid| !expunged.contains(uid));
    }

    /// Gives back memory that only a busy session needs.
    pub fn shrink(&mut self) {
        self.uids.shrink_to_fit();
        self.added.shrink_to_fit();
    }
}

/// Whether ranges (both ends inclusive) hold a UID.
fn within(ranges: &[(u32, u32)], uid: u32) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&uid))
}

/// The edge bounds a folder far below `u32`.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
