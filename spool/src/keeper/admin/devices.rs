//! Slots: `device add`, `device revoke`, `rekey`, and keeping the sealed facts in them true.

use crate::audit::{self, Entry, Line, What};
use crate::edges::admin::Reply;
use crate::journal::record::Record;
use crate::keeper::house::{House, now};
use crate::names::{MailboxId, SlotId};
use crate::slots::{self, Facts, SlotsFile};

use super::{Outcome, commit, folder, owner};

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
    device_names: Vec<(SlotId, String)>,
    line: &str,
) -> Outcome {
    let id = owner(house, address)?;
    let before = present(house, id)?;
    let after = SlotsFile::decode(bytes).map_err(|error| error.to_string())?;
    if after.mailbox() != id {
        return Err("these are another mailbox's slots".to_owned());
    }
    if after.revision() != before.revision() + 1 {
        return Err("the mailbox was changed meanwhile; try again".to_owned());
    }
    must_be_whole(&after, &device_names)?;
    // The line first: a change without its line must not be; a line without its change can.
    audit::append(&house.disk, &folder(house, id), id, line).map_err(|error| error.to_string())?;
    store(house, id, after, device_names)?;
    Ok(Reply::Done)
}

/// Every name belongs to a device's slot, and every device has one.
pub(super) fn must_be_whole(slots: &SlotsFile, names: &[(SlotId, String)]) -> Result<(), String> {
    let mut devices: Vec<_> =
        slots.slots().iter().filter(|slot| slot.kind() == crate::keys::Kind::Device).map(|slot| slot.id()).collect();
    let mut named: Vec<_> = names.iter().map(|(slot, _)| *slot).collect();
    devices.sort_unstable();
    named.sort_unstable();
    if devices != named {
        return Err("names and devices do not fit".to_owned());
    }
    let long = names.iter().any(|(_, name)| name.is_empty() || name.len() > crate::limits::DEVICE_NAME);
    if long { Err("a device's name is empty or too long".to_owned()) } else { Ok(()) }
}

/// `device revoke`: needs no secret, and ends the device's sessions.
pub(super) fn revoke(house: &House, address: &str, name: &str) -> Outcome {
    let id = owner(house, address)?;
    let mut names = device_names(house, id);
    let at = names.iter().position(|(_, known)| known == name).ok_or_else(|| format!("there is no device {name}"))?;
    let (slot, name) = names.remove(at);
    let mut changed = (*present(house, id)?).clone();
    changed.drop_slot(slot).map_err(|error| error.to_string())?;
    changed.set_facts(&facts(house, id, names.clone())?).map_err(|error| error.to_string())?;
    let entry = Entry { at: now(), what: What::DeviceDropped, slot: Some(slot), text: name };
    append_line(house, id, &changed, &entry)?;
    store(house, id, changed, names)?;
    Ok(Reply::Done)
}

/// Writes the slots file and its entry, and ends the sessions that it ends: those of devices that are
/// gone, and after a rekey all, since they could not open what comes now.
fn store(house: &House, id: MailboxId, mut after: SlotsFile, devices: Vec<(SlotId, String)>) -> Result<(), String> {
    let before = present(house, id)?;
    slots::store(&house.disk, &folder(house, id), &mut after).map_err(|error| error.to_string())?;
    let rekeyed = after.generation() != before.generation();
    let revision = after.revision();
    house.set_slots(id, Some(after));
    let kept: Vec<SlotId> = devices.iter().map(|(slot, _)| *slot).collect();
    let audit = last_audit(house, id);
    commit(house, vec![Record::Slots { mailbox: id, revision, devices, at: now(), audit }], true)?;
    house.committer.lock().hub.hang_up(id, |device| rekeyed || !kept.contains(&device));
    Ok(())
}

/// Seals addresses, names and quota anew after one of them has changed, so that `recover` finds them.
pub(super) fn seal_facts(house: &House, id: MailboxId) -> Result<(), String> {
    let names = device_names(house, id);
    let mut changed = (*present(house, id)?).clone();
    changed.set_facts(&facts(house, id, names.clone())?).map_err(|error| error.to_string())?;
    store(house, id, changed, names)
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
    lines.last().map(|line| wire::scram::sha256(line.as_bytes()))
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
