//! Opening a mailbox with one typed secret of any kind.

use wire::scram;

use super::tags::TagKey;
use super::{Purpose, Slot, SlotsError, SlotsFile, Way};
use crate::keys::{ChosenPassword, Context, DevicePassword, HouseholdKey, Identities, Identity, KeyError, Kind, Words};
use crate::limits;
use crate::names::SlotId;

/// An opened mailbox.
#[derive(Debug)]
pub struct Unlocked {
    /// All its identities.
    pub identities: Identities,
    /// The slot that opened.
    pub slot: SlotId,
    /// Its kind; uses of words and household key belong into the audit log.
    pub kind: Kind,
    /// Slots nobody made who could open the mailbox: somebody has written into the file. Tell the owner.
    pub strangers: Vec<SlotId>,
}

impl SlotsFile {
    /// Tries a typed secret on every slot of the kind it looks like: a device password, twelve words, a household
    /// key (`AGE-SECRET-KEY-...`), else a chosen password.
    ///
    /// # Errors
    /// [`SlotsError::OpensNothing`]; [`SlotsError::Mistyped`] when it looks like one of the box's own secrets with a slip in
    /// it; [`SlotsError::Damaged`] when a slot opens and what it should open does not.
    pub fn unlock(&self, typed: &str) -> Result<Unlocked, SlotsError> {
        if typed.len() > limits::SECRET {
            return Err(SlotsError::OpensNothing);
        }
        let mut slip = None;
        for attempt in [try_household, try_device, try_words, try_chosen] {
            match attempt(self, typed) {
                Ok(Some((slot, key))) => return self.open(slot, &key),
                Ok(None) => {}
                Err(SlotsError::Key(KeyError::Mistyped(how))) => slip = slip.or(Some(how)),
                Err(error) => return Err(error),
            }
        }
        Err(slip.map_or(SlotsError::OpensNothing, SlotsError::Mistyped))
    }

    fn open(&self, slot: &Slot, key: &Identity) -> Result<Unlocked, SlotsError> {
        let identity = slot.wrapped.open_with(key, &self.place(slot)).map_err(|_| SlotsError::Damaged("a slot"))?;
        if identity.public() != &self.public {
            return Err(SlotsError::Damaged("the public key is not that of the identity"));
        }
        let tags = TagKey::of(&identity);
        if !tags.front_holds(self) {
            return Err(SlotsError::Damaged("changed by somebody who could not open it"));
        }
        let strangers = self.slots.iter().filter(|slot| !tags.slot_holds(self, slot)).map(Slot::id).collect();
        let earlier = self.earlier_numbered().map(|(generation, link)| (generation, link.as_bytes().as_slice()));
        let identities = Identities::from_chain(self.mailbox, self.generation, identity, earlier)
            .map_err(|_| SlotsError::Damaged("an earlier identity"))?;
        Ok(Unlocked { identities, slot: slot.id, kind: slot.kind(), strangers })
    }

    pub(super) const fn place(&self, slot: &Slot) -> Context {
        Context { mailbox: self.mailbox, slot: slot.id, kind: slot.kind(), generation: self.generation }
    }

    /// Slots are found by their public key: no trial decryption.
    fn find(&self, kind: Kind, key: Identity) -> Option<(&Slot, Identity)> {
        let slot = self.slots.iter().find(|slot| slot.kind() == kind && slot.key == *key.public());
        slot.map(|slot| (slot, key))
    }
}

type Found<'a> = Result<Option<(&'a Slot, Identity)>, SlotsError>;

fn try_household<'a>(file: &'a SlotsFile, typed: &str) -> Found<'a> {
    if !HouseholdKey::looks_like(typed) {
        return Ok(None);
    }
    Ok(file.find(Kind::Household, HouseholdKey::parse(typed)?.into_slot_key()))
}

fn try_device<'a>(file: &'a SlotsFile, typed: &str) -> Found<'a> {
    let password = match DevicePassword::parse(typed) {
        Ok(password) => password,
        // Five groups of letters mean to be one; anything else may be another kind of secret.
        Err(slip) if typed.trim().split(['-', ' ']).filter(|group| !group.is_empty()).count() == 5 => {
            return Err(slip.into());
        }
        Err(_) => return Ok(None),
    };
    let salt = &file.salts[Purpose::Imap as usize];
    let salted = scram::salted_password(password.as_str().as_bytes(), salt, file.iterations);
    let key = Identity::from_bytes(&scram::wrap(&scram::client_key(&salted)))?;
    Ok(file.find(Kind::Device, key))
}

fn try_words<'a>(file: &'a SlotsFile, typed: &str) -> Found<'a> {
    let words = match Words::parse(typed) {
        Ok(words) => words,
        Err(slip) if typed.split_whitespace().count() == Words::COUNT => return Err(slip.into()),
        Err(_) => return Ok(None),
    };
    Ok(file.find(Kind::Words, Identity::from_bytes(&words.slot_key(file.mailbox))?))
}

fn try_chosen<'a>(file: &'a SlotsFile, typed: &str) -> Found<'a> {
    let Ok(password) = ChosenPassword::new(typed) else { return Ok(None) };
    for slot in &file.slots {
        if let Way::Chosen(cost) = &slot.way {
            let key = Identity::from_bytes(&*password.slot_key(cost)?)?;
            if slot.key == *key.public() {
                return Ok(Some((slot, key)));
            }
        }
    }
    Ok(None)
}
