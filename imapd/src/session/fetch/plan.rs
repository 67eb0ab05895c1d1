//! What a FETCH needs, seen from its items.

use std::sync::Arc;

use crate::command::{Item, SectionItem};
use crate::letters::Wanted;

/// One FETCH's items and what they cost.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of the answer, UID among them where it must be.
    pub items: Vec<Item>,
    /// What of the letters; `None` when the journal's facts are enough.
    pub wanted: Option<Arc<Wanted>>,
    /// Whether \Seen is to be set.
    pub reads: bool,
    /// Whether FLAGS are among the items.
    pub flags: bool,
}

impl Plan {
    pub(super) fn new(mut items: Vec<Item>, uid: bool) -> Self {
        // RFC 3501 §6.4.8: UID FETCH answers always carry the UID.
        if uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let summary = items.iter().any(|item| matches!(item, Item::Envelope | Item::Body | Item::BodyStructure));
        let sections: Vec<SectionItem> = items.iter().filter_map(section).cloned().collect();
        let reads = sections.iter().any(|item| !item.peek);
        let flags = items.contains(&Item::Flags);
        let wanted = Wanted { summary, sections, whole: false };
        let wanted = (wanted.summary || !wanted.sections.is_empty()).then(|| Arc::new(wanted));
        Self { items, wanted, reads, flags }
    }
}

fn section(item: &Item) -> Option<&SectionItem> {
    match item {
        Item::Section(section) => Some(section),
        _ => None,
    }
}
