//! What the journal knows of an open folder's letters, kept once for all sessions of an owner.
//!
//! Each session hears the keeper's events on its own socket, so every event arrives once a session; all
//! changes here may therefore come twice and in any interleaving. UIDs only grow and modseqs only grow,
//! which is what makes taking them twice harmless.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use spool::edges::mailbox::{Fact, Folder};
use spool::names::FolderId;

use crate::limits;

/// One folder's letters.
#[derive(Debug, Default)]
pub struct FolderFacts {
    /// Ascending by UID.
    letters: Vec<Fact>,
    /// Bit n of [`Fact::keywords`] is entry n.
    keywords: Vec<String>,
    /// No letter at or below this UID is new.
    highest: u32,
    /// The folder's modseq that this is exactly the state of; `None` once a change has been heard of.
    as_of: Option<u64>,
    /// UIDs up to here are \\Recent for some session, or were.
    claimed: u32,
}

impl FolderFacts {
    /// Whether no session has had this letter as \\Recent.
    #[must_use]
    pub const fn is_unclaimed(&self, uid: u32) -> bool {
        uid > self.claimed
    }

    /// Takes all letters up to this one as \\Recent for one session; whether this one was there to be taken.
    pub fn claim(&mut self, uid: u32) -> bool {
        let unclaimed = self.is_unclaimed(uid);
        self.claimed = self.claimed.max(uid);
        unclaimed
    }

    /// Everything, ascending by UID.
    #[must_use]
    pub fn letters(&self) -> &[Fact] {
        &self.letters
    }

    /// One letter; `None` when it is gone.
    #[must_use]
    pub fn get(&self, uid: u32) -> Option<&Fact> {
        self.letters.binary_search_by_key(&uid, |fact| fact.uid).ok().map(|place| &self.letters[place])
    }

    /// The keyword table.
    #[must_use]
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// Replaces the keyword table by a longer one; it never shrinks while a folder is open.
    pub fn set_keywords(&mut self, keywords: Vec<String>) {
        if keywords.len() >= self.keywords.len() {
            self.keywords = keywords;
        }
    }

    /// Takes one new keyword; whether it was new.
    pub fn keyword(&mut self, bit: u8, name: String) -> bool {
        let bit = usize::from(bit);
        if bit >= spool::edges::limits::KEYWORDS || self.keywords.get(bit).is_some_and(|known| *known == name) {
            return false;
        }
        if self.keywords.len() <= bit {
            self.keywords.resize(bit + 1, String::new());
        }
        self.keywords[bit] = name;
        true
    }

    /// The folder's modseq that this is exactly the state of, if it is of one.
    #[must_use]
    pub const fn as_of(&self) -> Option<u64> {
        self.as_of
    }

    /// Takes a whole snapshot of the keeper's, which may be older or newer than what is here.
    pub fn merge(&mut self, folder: &Folder, snapshot: Vec<Fact>) {
        if self.letters.is_empty() && self.highest == 0 {
            self.letters = snapshot;
            self.highest = folder.uid_next.saturating_sub(1);
            self.as_of = Some(folder.modseq);
        } else {
            if self.letters != snapshot {
                self.mend(folder, &snapshot);
            }
            self.as_of = (self.letters == snapshot).then_some(folder.modseq);
        }
    }

    fn mend(&mut self, folder: &Folder, snapshot: &[Fact]) {
        // What the snapshot could have known and does not have is gone.
        self.letters.retain(|fact| {
            fact.uid >= folder.uid_next || snapshot.binary_search_by_key(&fact.uid, |known| known.uid).is_ok()
        });
        for fact in snapshot.iter().filter(|fact| fact.uid <= self.highest) {
            if let Ok(place) = self.letters.binary_search_by_key(&fact.uid, |known| known.uid)
                && self.letters[place].modseq < fact.modseq
            {
                self.letters[place] = *fact;
            }
        }
        self.add(snapshot);
        self.highest = self.highest.max(folder.uid_next.saturating_sub(1));
    }

    /// New letters at the end; those at or below the highest UID ever seen are known or already gone.
    pub fn add(&mut self, facts: &[Fact]) {
        for fact in facts {
            if fact.uid > self.highest {
                self.letters.push(*fact);
                (self.highest, self.as_of) = (fact.uid, None);
            }
        }
    }

    /// Flags now are: (uid, flags, keywords, modseq).
    pub fn change(&mut self, changes: &[(u32, u8, u64, u64)]) {
        for (uid, flags, keywords, modseq) in changes {
            if let Ok(place) = self.letters.binary_search_by_key(uid, |fact| fact.uid) {
                let fact = &mut self.letters[place];
                if fact.modseq < *modseq {
                    (fact.flags, fact.keywords, fact.modseq) = (*flags, *keywords, *modseq);
                    self.as_of = None;
                }
            }
        }
    }

    /// Letters that are gone.
    pub fn remove(&mut self, ranges: &[(u32, u32)]) {
        for (first, last) in ranges {
            let from = self.letters.partition_point(|fact| fact.uid < *first);
            let to = self.letters.partition_point(|fact| fact.uid <= *last);
            if from < to {
                self.letters.drain(from..to);
                self.as_of = None;
            }
        }
    }
}

/// The folders that sessions of this owner have open, and some that they had open last: a client that goes back and
/// forth between folders need not wait for all their letters each time.
#[derive(Debug, Default)]
pub struct OpenFolders {
    open: HashMap<FolderId, Weak<RefCell<FolderFacts>>>,
    /// By the name asked for, the last one last.
    last: VecDeque<(String, FolderId, Rc<RefCell<FolderFacts>>)>,
}

impl OpenFolders {
    /// The shared facts of a folder, fresh when no other session has it open; they are kept for the next who asks for
    /// this name.
    pub fn open(&mut self, name: String, folder: FolderId) -> Rc<RefCell<FolderFacts>> {
        let facts = self.open.get(&folder).and_then(Weak::upgrade).unwrap_or_default();
        self.last.retain(|(known, id, _)| *known != name && *id != folder);
        self.open.retain(|_, facts| facts.strong_count() > 0);
        self.open.insert(folder, Rc::downgrade(&facts));
        self.last.push_back((name, folder, facts.clone()));
        facts
    }

    /// The folder that had this name, and its facts when they are exactly those of some moment.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<(FolderId, u64)> {
        let (_, folder, facts) = self.last.iter().find(|(known, ..)| known == name)?;
        Some((*folder, facts.borrow().as_of()?))
    }

    /// Forgets what was open longest ago, as far as the bounds want it.
    pub fn shrink(&mut self) {
        let mut letters = 0;
        let mut kept = 0;
        for (_, _, facts) in self.last.iter().rev() {
            letters += facts.borrow().letters().len();
            if kept == limits::LAST_FOLDERS || letters > limits::LAST_LETTERS {
                break;
            }
            kept += 1;
        }
        self.last.drain(..self.last.len() - kept);
    }
}

#[cfg(test)]
mod tests {
    use spool::names::LetterId;

    use super::*;

    fn fact(uid: u32, modseq: u64) -> Fact {
        Fact { uid, letter: LetterId([1; 16]), flags: 0, keywords: 0, modseq, arrived: 0, size: 1 }
    }

    fn folder(uid_next: u32, modseq: u64) -> Folder {
        Folder {
            id: FolderId(7),
            name: "INBOX".to_owned(),
            uid_validity: 1,
            uid_next,
            special_use: None,
            messages: uid_next - 1,
            unseen: 0,
            recent: 0,
            deleted: 0,
            bytes: 0,
            modseq,
        }
    }

    fn opened(folders: &mut OpenFolders, name: &str, id: u32, letters: u32) -> Rc<RefCell<FolderFacts>> {
        let facts = folders.open(name.to_owned(), FolderId(id));
        let all = (1..=letters).map(|uid| fact(uid, 1)).collect();
        facts.borrow_mut().merge(&folder(letters + 1, 5), all);
        folders.shrink();
        facts
    }

    #[test]
    fn a_folder_is_known_until_a_change_is_heard_of() {
        let mut folders = OpenFolders::default();
        let facts = opened(&mut folders, "INBOX", 7, 3);
        assert_eq!(folders.known("INBOX"), Some((FolderId(7), 5)));
        facts.borrow_mut().change(&[(2, 1, 0, 1)]);
        facts.borrow_mut().remove(&[(4, 9)]);
        assert_eq!(folders.known("INBOX"), Some((FolderId(7), 5)), "nothing that is news");
        let changes: [fn(&mut FolderFacts); 3] =
            [|f| f.change(&[(2, 1, 0, 6)]), |f| f.remove(&[(3, 3)]), |f| f.add(&[fact(4, 8)])];
        for change in changes {
            facts.borrow_mut().as_of = Some(5);
            change(&mut facts.borrow_mut());
            assert_eq!(folders.known("INBOX"), None);
        }
        let now = facts.borrow().letters().to_vec();
        facts.borrow_mut().merge(&folder(5, 8), now);
        assert_eq!(folders.known("INBOX"), Some((FolderId(7), 8)));
        facts.borrow_mut().merge(&folder(4, 6), vec![fact(1, 1), fact(2, 6)]);
        assert_eq!(folders.known("INBOX"), None, "an older snapshot than what has been heard of");
    }

    #[test]
    fn what_was_open_last_is_kept_within_bounds() {
        let mut folders = OpenFolders::default();
        for id in 0..9 {
            drop(opened(&mut folders, &id.to_string(), id, 2));
        }
        assert_eq!(folders.last.len(), limits::LAST_FOLDERS);
        assert!(folders.known("4").is_none() && folders.known("5").is_some());
        drop(opened(&mut folders, "renamed", 5, 2));
        assert!(folders.known("5").is_none() && folders.known("renamed").is_some());
        drop(opened(&mut folders, "huge", 10, u32::try_from(limits::LAST_LETTERS).unwrap() + 1));
        assert!(folders.last.is_empty());
        drop(opened(&mut folders, "small", 11, 0));
        assert_eq!(folders.open.len(), 1, "what nobody has is forgotten");
    }
}
