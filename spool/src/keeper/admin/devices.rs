//! Slots: `device add`, `device revoke`, `rekey`, and keeping the sealed facts in them true.
//!
//! A change goes to the slots file first and to the journal then, with everything that belongs to it in one entry. So
//! a slots file that is newer than the journal is the whole trace of a change that did not come to its end, and
//! [`reconcile`] puts the two together again.

use crate::audit::{self, AuditError, Entry, Line, What};
use crate::edges::admin::Reply;
use crate::journal::record::Record;
use crate::keeper::house::{House, now};
use crate::keys::Kind;
use crate::names::{MailboxId, SlotId};
use crate::slots::{self, Facts, SlotsError, SlotsFile};

use super::{Outcome, commit, folder, owner};

/// A mailbox's changed slots, and the names of its devices.
pub(super) struct Changed {
    id: MailboxId,
    slots: SlotsFile,
    devices: Vec<(SlotId, String)>,
}

pub(super) fn slots(house: &House, address: &str) -> Outcome {
    let id = owner(house, address)?;
    let slots = present(house, id)?;
    slots.encode().map(Reply::Slots).map_err(|error| error.to_string())
}

/// The owner's (with one of their secrets) finished change.
pub(super) fn replace(
    house: &House,
    address: &str,
    bytes: &[u8],
    devices: Vec<(SlotId, String)>,
    line: &str,
) -> Outcome {
    let id = owner(house, address)?;
    let before = present(house, id)?;
    let after = SlotsFile::decode(bytes).map_err(|error| error.to_string())?;
    if after.mailbox() != id {
        return Err("these are another mailbox's slots".to_owned());
    }
    if after.revision() != before.revision() + 1 {
        return Ok(Reply::Outdated);
    }
    must_be_whole(&after, &devices)?;
    // The line first: a change without its line must not be; a line without its change can.
    match audit::append(&house.disk, &folder(house, id), id, line) {
        Ok(_) => {}
        Err(AuditError::Outdated) => return Ok(Reply::Outdated),
        Err(error) => return Err(error.to_string()),
    }
    store(house, vec![Changed { id, slots: after, devices }], Vec::new())?;
    Ok(Reply::Done)
}

/// Every name belongs to a device's slot, and every device has one.
pub(super) fn must_be_whole(slots: &SlotsFile, names: &[(SlotId, String)]) -> Result<(), String> {
    let mut devices: Vec<_> = device_slots(slots).collect();
    let mut named: Vec<_> = names.iter().map(|(slot, _)| *slot).collect();
    devices.sort_unstable();
    named.sort_unstable();
    if let Some(nameless) = devices.iter().find(|slot| !named.contains(slot)) {
        return Err(format!("nobody named \"{}\"; revoke it first", unnamed(*nameless)));
    }
    if devices != named {
        return Err("names and devices do not fit".to_owned());
    }
    let long = names.iter().any(|(_, name)| name.is_empty() || name.len() > crate::limits::DEVICE_NAME);
    if long { Err("a device's name is empty or too long".to_owned()) } else { Ok(()) }
}

/// `device revoke`: needs no secret, and ends the device's sessions.
pub(super) fn revoke(house: &House, address: &str, name: &str) -> Outcome {
    let id = owner(house, address)?;
    let known = listed(house, id);
    let (slot, name) =
        known.into_iter().find(|(_, known)| known == name).ok_or_else(|| format!("there is no device {name}"))?;
    let mut slots = (*present(house, id)?).clone();
    match slots.drop_slot(slot) {
        Ok(()) => {
            let entry = Entry { at: now(), what: What::DeviceDropped, slot: Some(slot), text: name };
            append_line(house, id, &slots, &entry)?;
        }
        // Dropped by a try that did not come to its end; its line was written before.
        Err(SlotsError::NoSuchSlot) => {}
        Err(error) => return Err(error.to_string()),
    }
    store(house, vec![sealed(house, id, slots, |_| {})?], Vec::new())?;
    Ok(Reply::Done)
}

/// The devices there are: those with a name first, then those the journal knows nothing of, which cannot log in.
pub(super) fn listed(house: &House, id: MailboxId) -> Vec<(SlotId, String)> {
    let mut names = device_names(house, id);
    if let Some(slots) = house.slots(id) {
        let nameless: Vec<_> =
            device_slots(&slots).filter(|slot| !names.iter().any(|(known, _)| known == slot)).collect();
        names.extend(nameless.into_iter().map(|slot| (slot, unnamed(slot))));
    }
    names
}

fn unnamed(slot: SlotId) -> String {
    format!("unknown device {}", slot.0)
}

fn device_slots(slots: &SlotsFile) -> impl Iterator<Item = SlotId> {
    slots.slots().iter().filter(|slot| slot.kind() == Kind::Device).map(slots::Slot::id)
}

/// A mailbox's slots with its facts sealed anew after `change`, so that `recover` finds them.
pub(super) fn resealed(house: &House, id: MailboxId, change: impl FnOnce(&mut Facts)) -> Result<Changed, String> {
    sealed(house, id, (*present(house, id)?).clone(), change)
}

fn sealed(
    house: &House,
    id: MailboxId,
    mut slots: SlotsFile,
    change: impl FnOnce(&mut Facts),
) -> Result<Changed, String> {
    let mut devices = device_names(house, id);
    devices.retain(|(slot, _)| slots.slot(*slot).is_some());
    let mut facts = facts(house, id, devices.clone())?;
    change(&mut facts);
    slots.set_facts(&facts).map_err(|error| error.to_string())?;
    Ok(Changed { id, slots, devices })
}

/// Writes slots files, and then one entry that tells of them and of `with`.
pub(super) fn store(house: &House, changes: Vec<Changed>, with: Vec<Record>) -> Result<(), String> {
    let alone = with.is_empty();
    let mut entry = with;
    for Changed { id, slots, devices } in changes {
        let revision = slots.revision();
        let written = write(house, id, slots);
        entry.push(Record::Slots { mailbox: id, revision, devices, at: now(), audit: last_audit(house, id) });
        if let Err(why) = written {
            // Half-way on the disk it counts already, and the journal must know what counts.
            if alone && house.slots(id).is_some_and(|slots| slots.revision() == revision) {
                commit(house, entry, true)?;
            }
            return Err(why);
        }
    }
    Ok(commit(house, entry, true)?)
}

/// Writes a slots file, and ends the sessions that it ends: those of devices that are gone, and after a rekey all,
/// since they could not open what comes now. After an error the disk says what counts.
fn write(house: &House, id: MailboxId, mut slots: SlotsFile) -> Result<(), String> {
    let before = present(house, id)?;
    let written = slots::store(&house.disk, &folder(house, id), &mut slots);
    let counts = match &written {
        Ok(()) => Ok(slots),
        Err(_) => slots::load(&folder(house, id), id).map(|loaded| loaded.slots),
    };
    match counts {
        Ok(counts) => {
            let (rekeyed, kept) = (counts.generation() != before.generation(), counts.clone());
            house.set_slots(id, Some(counts));
            house.committer.lock().hub.hang_up(id, |device| rekeyed || kept.slot(device).is_none());
        }
        Err(error) => tracing::error!(mailbox = %id, %error, "the slots file cannot be read back"),
    }
    written.map_err(|error| error.to_string())
}

/// At the start: a slots file newer than the journal is a change that did not come to its end. What it dropped is
/// dropped; a device only it knows stays unnamed and without a login, since anybody may have written it there.
pub fn reconcile(house: &House, id: MailboxId) {
    let Some(slots) = house.slots(id) else { return };
    let mut devices = device_names(house, id);
    devices.retain(|(slot, _)| slots.slot(*slot).is_some());
    let done = if device_slots(&slots).count() == devices.len() {
        resealed(house, id, |_| {}).and_then(|changed| store(house, vec![changed], Vec::new()))
    } else {
        let (revision, audit) = (slots.revision(), last_audit(house, id));
        commit(house, vec![Record::Slots { mailbox: id, revision, devices, at: now(), audit }], true)
            .map_err(Into::into)
    };
    match done {
        Ok(()) => tracing::warn!(mailbox = %id, "a change of the slots that did not come to its end was put in order"),
        Err(error) => tracing::error!(mailbox = %id, error, "the slots are newer than the journal"),
    }
}

pub(super) fn append_line(house: &House, id: MailboxId, slots: &SlotsFile, entry: &Entry) -> Result<(), String> {
    let lines = audit::load(&folder(house, id)).map_err(|error| error.to_string())?;
    let last = audit::last(lines.iter().map(String::as_str));
    let made = Line::make(last.as_ref(), id, slots.generation(), slots.public(), entry);
    let line = made.map_err(|error| error.to_string())?.to_string();
    audit::append(&house.disk, &folder(house, id), id, &line).map(drop).map_err(|error| error.to_string())
}

/// SHA-256 of the last line of a mailbox's audit log.
#[must_use]
pub fn last_audit(house: &House, id: MailboxId) -> Option<[u8; 32]> {
    let lines = audit::load(&folder(house, id)).ok()?;
    lines.last().map(|line| audit_digest(line))
}

/// What the journal keeps of a line of an audit log.
#[must_use]
pub fn audit_digest(line: &str) -> [u8; 32] {
    wire::scram::sha256(line.as_bytes())
}

fn present(house: &House, id: MailboxId) -> Result<std::sync::Arc<SlotsFile>, String> {
    house.slots(id).ok_or_else(|| "this mailbox's slots file cannot be read; see `postern spool check`".to_owned())
}

fn device_names(house: &House, id: MailboxId) -> Vec<(SlotId, String)> {
    let core = house.committer.lock();
    let devices = core.index.mailbox(id).map(|mailbox| mailbox.profile().devices.clone()).unwrap_or_default();
    devices.into_iter().map(|device| (device.slot, device.name)).collect()
}

fn facts(house: &House, id: MailboxId, devices: Vec<(SlotId, String)>) -> Result<Facts, String> {
    let core = house.committer.lock();
    let mailbox = core.index.mailbox(id).ok_or("the mailbox is gone")?;
    let profile = mailbox.profile();
    Ok(Facts {
        addresses: core.index.addresses_of(id),
        display_name: profile.display_name.clone(),
        quota: Some(profile.quota),
        devices,
    })
}
