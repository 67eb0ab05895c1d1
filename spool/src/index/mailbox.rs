//! One mailbox: its profile, folders, keyword table, subscriptions.

use std::collections::{BTreeSet, HashMap};

use crate::edges::limits;
use crate::edges::mailbox::SpecialUse;
use crate::journal::record::{FolderHead, Letter, Profile};
use crate::names::{FolderId, LetterId};

use super::Folder;

/// The folders of a new mailbox, and what they are for; the inbox is the first.
pub const FIRST_FOLDERS: [(&str, Option<SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
    ("Archive", Some(SpecialUse::Archive)),
];

/// The folder made after damage or `recover` for letters whose folder is not known.
pub const RECOVERED: &str = "Recovered";

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    pub(crate) profile: Profile,
    pub(crate) folders: Vec<Folder>,
    pub(crate) keywords: Vec<String>,
    pub(crate) subscriptions: BTreeSet<String>,
    pub(crate) modseq: u64,
    pub(crate) next_folder: u32,
    pub(crate) last_validity: u32,
    /// Letters that more than one folder holds, and how often they are held.
    shared: HashMap<LetterId, u32>,
    used: u64,
    /// It already knows every entry up to this one (from a checkpoint).
    pub(crate) as_of: u64,
}

impl Mailbox {
    /// An empty one, without folders.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            folders: Vec::new(),
            keywords: Vec::new(),
            subscriptions: BTreeSet::new(),
            modseq: 1,
            next_folder: 1,
            last_validity: 0,
            shared: HashMap::new(),
            used: 0,
            as_of: 0,
        }
    }

    /// Its own facts.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Bytes that its letters take of the quota; a letter in two folders counts twice.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Letters in all folders.
    #[must_use]
    pub fn letters(&self) -> u32 {
        u32::try_from(self.folders.iter().map(|folder| folder.letters().len()).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Whether so many letters more may come. What an entry of before brings comes all the same.
    #[must_use]
    pub fn takes(&self, more: u32) -> bool {
        let most = match filter_sandbox::memory::of_machine() {
            1..1_000_000_000 => limits::MAILBOX_LETTERS_SMALL,
            _ => limits::MAILBOX_LETTERS,
        };
        self.letters().checked_add(more).is_some_and(|letters| letters as usize <= most)
    }

    /// The folders, in the order they were made.
    #[must_use]
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// The keyword table.
    #[must_use]
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// Names subscribed to.
    #[must_use]
    pub const fn subscriptions(&self) -> &BTreeSet<String> {
        &self.subscriptions
    }

    /// By id.
    #[must_use]
    pub fn folder(&self, id: FolderId) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.head.id == id)
    }

    pub(crate) fn folder_mut(&mut self, id: FolderId) -> Option<&mut Folder> {
        self.folders.iter_mut().find(|folder| folder.head.id == id)
    }

    /// By (normal) name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.head.name == name)
    }

    /// By special use.
    #[must_use]
    pub fn used_for(&self, special: SpecialUse) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.head.special_use == Some(special))
    }

    /// The next entry's place in the count of changes.
    pub(crate) const fn step(&mut self) -> u64 {
        self.modseq = self.modseq.saturating_add(1);
        self.modseq
    }

    /// The greatest UIDVALIDITY of its folders, those that are gone included.
    #[must_use]
    pub const fn last_validity(&self) -> u32 {
        self.last_validity
    }

    pub(crate) fn create(&mut self, id: FolderId, name: String, uid_validity: u32, special_use: Option<SpecialUse>) {
        let modseq = self.step();
        self.next_folder = self.next_folder.max(id.0.saturating_add(1));
        self.last_validity = self.last_validity.max(uid_validity);
        let head = FolderHead { id, name, uid_validity, uid_next: 1, special_use, recent_from: 1, modseq };
        self.folders.push(Folder::new(head));
    }

    /// One more folder holds it.
    pub(crate) fn share(&mut self, letter: &Letter) {
        let count = self.shared.entry(letter.letter).or_insert(1);
        *count = count.saturating_add(1);
    }

    /// One folder fewer holds it; whether that was the last.
    pub(crate) fn unshare(&mut self, letter: &Letter) -> bool {
        let Some(count) = self.shared.get_mut(&letter.letter) else { return true };
        *count -= 1;
        if *count <= 1 {
            self.shared.remove(&letter.letter);
        }
        false
    }

    pub(crate) fn charge(&mut self, letter: &Letter) {
        self.used = self.used.saturating_add(letter.charge());
    }

    pub(crate) fn refund(&mut self, letter: &Letter) {
        self.used = self.used.saturating_sub(letter.charge());
    }

    /// After a checkpoint was read: which letters are in more than one folder, and what all weigh.
    pub(crate) fn recount(&mut self) {
        self.used = 0;
        self.shared.clear();
        let mut seen: Vec<LetterId> = Vec::new();
        for letter in self.folders.iter().flat_map(|folder| folder.letters()) {
            self.used = self.used.saturating_add(letter.charge());
            seen.push(letter.letter);
        }
        seen.sort_unstable();
        for same in seen.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
            self.shared.insert(same[0], u32::try_from(same.len()).unwrap_or(u32::MAX));
        }
    }
}
