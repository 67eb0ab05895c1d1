//! What the journal knows of an open folder's letters, kept once for all sessions of an owner.
//!
//! Each session hears the keeper's events on its own socket, so every event arrives once a session; all
//! changes here may therefore come twice and in any interleaving. UIDs only grow and modseqs only grow,
//! which is what makes taking them twice harmless.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use spool::edges::mailbox::{Fact, Folder};
use spool::names::FolderId;

/// One folder's letters.
#[derive(Debug, Default)]
pub struct FolderFacts {
    /// Ascending by UID.
    letters: Vec<Fact>,
    /// Bit n of [`Fact::keywords`] is entry n.
    keywords: Vec<String>,
    /// No letter at or below this UID is new.
    highest: u32,
}

impl FolderFacts {
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

    /// Takes a whole snapshot of the keeper's, which may be older or newer than what is here.
    pub fn merge(&mut self, folder: &Folder, snapshot: Vec<Fact>) {
        if self.letters.is_empty() && self.highest == 0 {
            self.letters = snapshot;
            self.highest = folder.uid_next.saturating_sub(1);
            return;
        }
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
        self.add(&snapshot);
        self.highest = self.highest.max(folder.uid_next.saturating_sub(1));
    }

    /// New letters at the end; those at or below the highest UID ever seen are known or already gone.
    pub fn add(&mut self, facts: &[Fact]) {
        for fact in facts {
            if fact.uid > self.highest {
                self.letters.push(*fact);
                self.highest = fact.uid;
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
                }
            }
        }
    }

    /// Letters that are gone.
    pub fn remove(&mut self, ranges: &[(u32, u32)]) {
        for (first, last) in ranges {
            let from = self.letters.partition_point(|fact| fact.uid < *first);
            let to = self.letters.partition_point(|fact| fact.uid <= *last);
            self.letters.drain(from..to);
        }
    }
}

/// The folders that sessions of this owner have open.
#[derive(Debug, Default)]
pub struct OpenFolders(HashMap<FolderId, Weak<RefCell<FolderFacts>>>);

impl OpenFolders {
    /// The shared facts of a folder, fresh when no other session has it open.
    pub fn get(&mut self, folder: FolderId) -> Rc<RefCell<FolderFacts>> {
        self.0.retain(|_, facts| facts.strong_count() > 0);
        if let Some(facts) = self.0.get(&folder).and_then(Weak::upgrade) {
            return facts;
        }
        let facts = Rc::default();
        self.0.insert(folder, Rc::downgrade(&facts));
        facts
    }
}
