//! Tags that only somebody who can open the mailbox can make.

use wire::scram::{mac, same};

use super::{Slot, SlotsFile};
use crate::keys::{Identity, Secret, derive};

/// The key of all tags, from the newest identity.
pub(super) struct TagKey(Secret);

impl TagKey {
    pub(super) fn of(identity: &Identity) -> Self {
        Self(derive(identity.to_bytes(), b"", b"postern slots tag v1"))
    }

    pub(super) fn front(&self, file: &SlotsFile) -> [u8; 32] {
        mac(self.0.as_ref(), &file.tagged_front())
    }

    /// The place (mailbox, generation) is part of the text, so that a slot cannot be carried to another file.
    pub(super) fn slot(&self, file: &SlotsFile, slot: &Slot) -> [u8; 32] {
        let mut text = b"slot".to_vec();
        text.extend_from_slice(&file.mailbox.0.to_le_bytes());
        text.extend_from_slice(&file.generation.to_le_bytes());
        text.extend_from_slice(&slot.untagged());
        mac(self.0.as_ref(), &text)
    }

    pub(super) fn front_holds(&self, file: &SlotsFile) -> bool {
        same(&self.front(file), &file.tag)
    }

    pub(super) fn slot_holds(&self, file: &SlotsFile, slot: &Slot) -> bool {
        same(&self.slot(file, slot), &slot.tag)
    }
}
