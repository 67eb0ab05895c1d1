//! Making a mailbox's slots, adding ways in, dropping them, and the rekey.

use wire::scram::ITERATIONS;

use super::login::verifiers;
use super::tags::TagKey;
use super::{Facts, Slot, SlotsError, SlotsFile, Way};
use crate::keys::{
    ChosenPassword, Context, Cost, DevicePassword, Identities, Identity, Kind, Link, PublicKey, Words, Wrapped, random,
};
use crate::limits;
use crate::names::{MailboxId, SlotId};

/// What the admin says of a new mailbox.
#[derive(Debug, Clone, Copy)]
pub struct NewMailbox<'a> {
    /// Its own address.
    pub address: &'a str,
    /// Who it is.
    pub display_name: &'a str,
    /// Bytes; `None` for the default.
    pub quota: Option<u64>,
    /// Name of its first device.
    pub device: &'a str,
}

/// A new mailbox with its secrets, to be shown once.
#[derive(Debug)]
pub struct Made {
    /// The finished file.
    pub slots: SlotsFile,
    /// The first device's slot.
    pub device: SlotId,
    /// For its mail app.
    pub device_password: DevicePassword,
    /// For paper.
    pub words: Words,
    /// The opened mailbox.
    pub identities: Identities,
}

impl SlotsFile {
    /// Makes an identity and a file with two slots: a first device and the recovery words.
    ///
    /// # Errors
    /// [`SlotsError`].
    pub fn new_mailbox(mailbox: MailboxId, new: &NewMailbox<'_>, now: i64) -> Result<Made, SlotsError> {
        let identities = Identities::first(mailbox, Identity::generate()?);
        let mut slots = Self {
            mailbox,
            revision: 1,
            saved: 0,
            next: 1,
            generation: 1,
            public: identities.newest().public().clone(),
            iterations: ITERATIONS,
            salts: [random()?, random()?],
            earlier: Vec::new(),
            tag: [0; 32],
            slots: Vec::new(),
            sealed: Vec::new(),
        };
        let (device, device_password) = slots.add_device(&identities, now)?;
        let words = slots.replace_words(&identities, now)?;
        slots.set_facts(&Facts {
            addresses: vec![new.address.to_owned()],
            display_name: new.display_name.to_owned(),
            quota: new.quota,
            devices: vec![(device, new.device.to_owned())],
        })?;
        Ok(Made { slots, device, device_password, words, identities })
    }

    /// Adds a device and makes its password. Its name belongs into the facts.
    ///
    /// # Errors
    /// [`SlotsError::TooMany`] over [`limits::DEVICES`].
    pub fn add_device(&mut self, identities: &Identities, now: i64) -> Result<(SlotId, DevicePassword), SlotsError> {
        if self.slots.iter().filter(|slot| slot.kind() == Kind::Device).count() >= limits::DEVICES {
            return Err(SlotsError::TooMany(super::DEVICES));
        }
        let password = DevicePassword::generate()?;
        let (verifiers, wrap) = verifiers(&password, &self.salts, self.iterations);
        let key = Identity::from_bytes(&wrap)?;
        let id = self.add(identities, key.public(), Way::Device(Box::new(verifiers)), now)?;
        Ok((id, password))
    }

    /// Makes new recovery words; old ones open nothing from now on.
    ///
    /// # Errors
    /// [`SlotsError`].
    pub fn replace_words(&mut self, identities: &Identities, now: i64) -> Result<Words, SlotsError> {
        let words = Words::generate()?;
        let key = Identity::from_bytes(&words.slot_key(self.mailbox))?;
        let id = self.add(identities, key.public(), Way::Words, now)?;
        self.slots.retain(|slot| slot.kind() != Kind::Words || slot.id == id);
        Ok(words)
    }

    /// Sets the password for the web page, in place of an earlier one.
    ///
    /// # Errors
    /// [`SlotsError`].
    pub fn set_chosen_password(
        &mut self,
        identities: &Identities,
        password: &ChosenPassword,
        now: i64,
    ) -> Result<SlotId, SlotsError> {
        let cost = Cost::new()?;
        let key = Identity::from_bytes(&*password.slot_key(&cost)?)?;
        let id = self.add(identities, key.public(), Way::Chosen(cost), now)?;
        self.slots.retain(|slot| slot.kind() != Kind::Chosen || slot.id == id);
        Ok(id)
    }

    /// Lets the household's key open this mailbox, in place of an earlier one. Needs only its public half.
    ///
    /// # Errors
    /// [`SlotsError`].
    pub fn enable_household_key(
        &mut self,
        identities: &Identities,
        key: &PublicKey,
        now: i64,
    ) -> Result<SlotId, SlotsError> {
        let id = self.add(identities, key, Way::Household, now)?;
        self.slots.retain(|slot| slot.kind() != Kind::Household || slot.id == id);
        Ok(id)
    }

    /// Drops a slot; needs no secret.
    ///
    /// # Errors
    /// [`SlotsError::NoSuchSlot`]; [`SlotsError::LastSlot`].
    pub fn drop_slot(&mut self, id: SlotId) -> Result<(), SlotsError> {
        let place = self.slots.iter().position(|slot| slot.id == id).ok_or(SlotsError::NoSuchSlot)?;
        if self.slots.len() == 1 {
            return Err(SlotsError::LastSlot);
        }
        self.slots.remove(place);
        self.changed();
        Ok(())
    }

    /// Makes a new identity, wraps the old one by it, and wraps it for every slot that somebody made who could open the
    /// mailbox; the others (strangers) are dropped and returned. Drop a lost device's slot *before* this.
    ///
    /// # Errors
    /// [`SlotsError::TooMany`] over [`limits::GENERATIONS`].
    pub fn rekey(&mut self, identities: &mut Identities) -> Result<Vec<SlotId>, SlotsError> {
        let facts = self.facts(identities)?;
        if self.generation >= limits::GENERATIONS {
            return Err(SlotsError::TooMany("rekeys"));
        }
        let mut new = self.clone();
        let old_tags = TagKey::of(identities.newest());
        let (known, strangers): (Vec<_>, Vec<_>) =
            new.slots.drain(..).partition(|slot| old_tags.slot_holds(self, slot));

        let identity = Identity::generate()?;
        new.earlier.insert(0, Link::seal(identities.newest(), &identity, self.mailbox, self.generation)?);
        new.generation += 1;
        new.public = identity.public().clone();
        let tags = TagKey::of(&identity);
        for mut slot in known {
            slot.wrapped = Wrapped::seal(&identity, &slot.key, &new.place(&slot))?;
            slot.tag = tags.slot(&new, &slot);
            new.slots.push(slot);
        }
        new.tag = tags.front(&new);
        new.set_facts(&facts)?;
        *self = new;
        identities.succeed(identity);
        Ok(strangers.iter().map(Slot::id).collect())
    }

    fn add(&mut self, identities: &Identities, key: &PublicKey, way: Way, now: i64) -> Result<SlotId, SlotsError> {
        self.must_be_open(identities)?;
        if self.slots.len() >= limits::SLOTS {
            return Err(SlotsError::TooMany("slots"));
        }
        let id = SlotId(self.next);
        let next = self.next.checked_add(1).ok_or(SlotsError::TooMany("slots"))?;
        // The wrapping names its place, so the place comes first; nothing of `self` changes before the last fallible step.
        let place = Context { mailbox: self.mailbox, slot: id, kind: way.kind(), generation: self.generation };
        let wrapped = Wrapped::seal(identities.newest(), key, &place)?;
        let mut slot = Slot { id, added: now, key: key.clone(), wrapped, way, tag: [0; 32] };
        let tags = TagKey::of(identities.newest());
        slot.tag = tags.slot(self, &slot);
        self.next = next;
        self.slots.push(slot);
        self.tag = tags.front(self);
        self.changed();
        Ok(id)
    }
}
