//! One folder: its head, its counts, and its letters by UID.

use crate::edges::mailbox::{self as edge, Change, Fact, UidSet, flag};
use crate::journal::record::{FolderHead, Letter};
use crate::names::FolderId;

use super::uids;

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub(crate) head: FolderHead,
    letters: Vec<Letter>,
    unseen: u32,
    deleted: u32,
    bytes: u64,
}

impl Folder {
    /// An empty one.
    #[must_use]
    pub const fn new(head: FolderHead) -> Self {
        Self { head, letters: Vec::new(), unseen: 0, deleted: 0, bytes: 0 }
    }

    /// Its letters, ascending by UID.
    #[must_use]
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// The letter of a UID.
    #[must_use]
    pub fn letter(&self, uid: u32) -> Option<&Letter> {
        self.letters.binary_search_by_key(&uid, |letter| letter.uid).ok().and_then(|at| self.letters.get(at))
    }

    /// Its name for good.
    #[must_use]
    pub const fn id(&self) -> FolderId {
        self.head.id
    }

    /// UIDs from here on nobody has been told of as \\Recent.
    #[must_use]
    pub const fn recent_from(&self) -> u32 {
        self.head.recent_from
    }

    /// As the edge shows it.
    #[must_use]
    pub fn shown(&self) -> edge::Folder {
        self.shown_to_next(0)
    }

    /// The same to one who comes after sessions that were told of all letters before this UID.
    #[must_use]
    pub fn shown_to_next(&self, told: u32) -> edge::Folder {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let recent_from = self.head.recent_from.max(told);
        let old = self.letters.partition_point(|letter| letter.uid < recent_from);
        edge::Folder {
            id: self.head.id,
            name: self.head.name.clone(),
            uid_validity: self.head.uid_validity,
            uid_next: self.head.uid_next,
            special_use: self.head.special_use,
            messages: count(self.letters.len()),
            unseen: self.unseen,
            recent: count(self.letters.len() - old),
            deleted: self.deleted,
            bytes: self.bytes,
            modseq: self.head.modseq,
        }
    }

    /// Adds a letter at the end; a UID that is not higher than all before is replaced by the next one
    /// (only after damage can that be).
    pub(crate) fn add(&mut self, mut letter: Letter, modseq: u64) -> Letter {
        letter.uid = letter.uid.max(self.head.uid_next);
        letter.modseq = modseq;
        self.head.uid_next = letter.uid.saturating_add(1);
        self.head.modseq = modseq;
        self.restore(letter);
        letter
    }

    /// Puts a letter back as a checkpoint has it.
    pub(crate) fn restore(&mut self, letter: Letter) {
        if self.letters.len() == self.letters.capacity() {
            // An eighth more, not twice as much: 100,000 letters must fit a small board.
            self.letters.reserve_exact((self.letters.len() / 8).max(4));
        }
        self.count(&letter, true);
        self.letters.push(letter);
    }

    /// Changes flags; `changed` gets every letter whose flags are now different.
    pub(crate) fn flag(
        &mut self,
        set: &UidSet,
        change: (Change, u8, u64),
        modseq: u64,
        mut changed: impl FnMut(&Letter),
    ) {
        for (first, last) in set {
            let from = self.letters.partition_point(|letter| letter.uid < *first);
            let to = self.letters.partition_point(|letter| letter.uid <= *last);
            for at in from..to {
                let Some(mut letter) = self.letters.get(at).copied() else { continue };
                let before = (letter.flags, letter.keywords);
                (letter.flags, letter.keywords) = changed_flags(before, change);
                if before == (letter.flags, letter.keywords) {
                    continue;
                }
                letter.modseq = modseq;
                self.head.modseq = modseq;
                self.count(&self.letters[at].clone(), false);
                self.count(&letter, true);
                changed(&letter);
                self.letters[at] = letter;
            }
        }
    }

    /// Takes letters out.
    pub(crate) fn take(&mut self, gone: impl Fn(&Letter) -> bool, modseq: u64) -> Vec<Letter> {
        let mut taken = Vec::new();
        self.letters.retain(|letter| {
            let goes = gone(letter);
            if goes {
                taken.push(*letter);
            }
            !goes
        });
        for letter in &taken {
            self.count(letter, false);
        }
        if !taken.is_empty() {
            self.head.modseq = modseq;
        }
        if self.letters.capacity() > 64 && self.letters.len() < self.letters.capacity() / 2 {
            self.letters.shrink_to_fit();
        }
        taken
    }

    /// The letters of a set, ascending.
    pub(crate) fn select(&self, set: &UidSet) -> impl Iterator<Item = &Letter> {
        set.iter().flat_map(|(first, last)| {
            let from = self.letters.partition_point(|letter| letter.uid < *first);
            let to = self.letters.partition_point(|letter| letter.uid <= *last);
            self.letters[from..to.max(from)].iter()
        })
    }

    /// UIDs of those letters of `set` (all, when `None`) that `keep` wants.
    pub(crate) fn uids(&self, set: Option<&UidSet>, keep: impl Fn(&Letter) -> bool) -> UidSet {
        let mut found = UidSet::new();
        let all = vec![(1, u32::MAX)];
        for letter in self.select(set.unwrap_or(&all)).filter(|letter| keep(letter)) {
            uids::push(&mut found, letter.uid);
        }
        found
    }

    fn count(&mut self, letter: &Letter, comes: bool) {
        let step = |count: &mut u32, applies: bool| {
            if applies {
                *count = if comes { count.saturating_add(1) } else { count.saturating_sub(1) };
            }
        };
        step(&mut self.unseen, letter.flags & flag::SEEN == 0);
        step(&mut self.deleted, letter.flags & flag::DELETED != 0);
        let size = u64::from(letter.size);
        self.bytes = if comes { self.bytes.saturating_add(size) } else { self.bytes.saturating_sub(size) };
    }
}

/// A letter as the edge shows it.
#[must_use]
pub const fn fact(letter: &Letter) -> Fact {
    Fact {
        uid: letter.uid,
        letter: letter.letter,
        flags: letter.flags,
        keywords: letter.keywords,
        modseq: letter.modseq,
        arrived: letter.arrived,
        size: letter.size,
    }
}

const fn changed_flags((flags, keywords): (u8, u64), (change, with, words): (Change, u8, u64)) -> (u8, u64) {
    match change {
        Change::Add => (flags | with, keywords | words),
        Change::Remove => (flags & !with, keywords & !words),
        Change::Replace => (with, words),
    }
}
