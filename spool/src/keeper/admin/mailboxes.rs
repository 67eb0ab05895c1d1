//! `mailbox add|remove|suspend`, `quota`.

use std::io;

use crate::audit::{Entry, What};
use crate::edges::admin::Reply;
use crate::index::normal_address;
use crate::journal::record::{Device, Profile, Record};
use crate::keeper::house::{House, now};
use crate::names::{MailboxId, SlotId};
use crate::slots::{self, SlotsFile};
use crate::store;

use super::{Outcome, commit, devices, folder, owner};

pub(super) fn add(
    house: &House,
    address: &str,
    display_name: String,
    bytes: &[u8],
    quota: Option<u64>,
    device_names: Vec<(SlotId, String)>,
) -> Outcome {
    let address = normal_address(address).ok_or_else(|| format!("{address} is not a mail address"))?;
    let mut made = SlotsFile::decode(bytes).map_err(|error| error.to_string())?;
    let id = made.mailbox();
    if house.committer.lock().index.taken(&address) {
        return Err(format!("{address} is there already"));
    }
    if house.committer.lock().index.mailbox(id).is_some() || folder(house, id).exists() {
        return Err("a mailbox of that id is there already; try again".to_owned());
    }
    if display_name.len() > crate::limits::DISPLAY_NAME {
        return Err("the name is too long".to_owned());
    }
    devices::must_be_whole(&made, &device_names)?;
    let profile = |audit| Profile {
        address: address.clone(),
        display_name,
        quota: quota.unwrap_or(house.default_quota),
        suspended: false,
        revision: made.revision(),
        devices: named(device_names, now()),
        made: house.committer.lock().index.next_made(),
        audit,
    };
    let written = write(house, id, &mut made.clone());
    let added = written.and_then(|()| {
        let profile = profile(devices::last_audit(house, id));
        let uid_validity = u32::try_from(now()).unwrap_or(1);
        commit(house, vec![Record::MailboxAdded { mailbox: id, profile, uid_validity }], false)
    });
    if let Err(why) = added {
        // Its folder would look like a lost mailbox.
        let _ = std::fs::remove_dir_all(folder(house, id));
        return Err(why);
    }
    made = slots::load(&folder(house, id), id).map_err(|error| error.to_string())?.slots;
    house.set_slots(id, Some(made));
    Ok(Reply::Done)
}

fn write(house: &House, id: MailboxId, made: &mut SlotsFile) -> Result<(), String> {
    let words = |error: io::Error| format!("the mailbox could not be written: {error}");
    house.disk.make_folder(&folder(house, id)).map_err(words)?;
    house.disk.make_folder(&store::letters_path(&house.root, id)).map_err(words)?;
    slots::store(&house.disk, &folder(house, id), made).map_err(|error| error.to_string())?;
    let entry = Entry { at: now(), what: What::Made, slot: None, text: String::new() };
    devices::append_line(house, id, made, &entry)
}

fn named(device_names: Vec<(SlotId, String)>, added: i64) -> Vec<Device> {
    device_names.into_iter().map(|(slot, name)| Device { slot, name, added, last_login: 0 }).collect()
}

/// With its letters. Its sessions end; files go once the entry is durable.
pub(super) fn remove(house: &House, address: &str) -> Outcome {
    let id = owner(house, address)?;
    commit(house, vec![Record::MailboxRemoved { mailbox: id }], true)?;
    house.committer.lock().hub.hang_up(id, |_| true);
    house.set_slots(id, None);
    house.forget_folders(id);
    house.caches.drop_one(id);
    // The slots first: without them nobody opens what a failure leaves behind.
    for path in [folder(house, id), store::letters_path(&house.root, id), store::cache_path(&house.root, id)] {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("the mailbox is removed, but {} is not: {error}", path.display()));
            }
            _ => {}
        }
    }
    Ok(Reply::Done)
}

pub(super) fn suspend(house: &House, address: &str, on: bool) -> Outcome {
    let id = owner(house, address)?;
    commit(house, vec![Record::Suspended { mailbox: id, on }], true)?;
    if on {
        house.committer.lock().hub.hang_up(id, |_| true);
    }
    Ok(Reply::Done)
}

pub(super) fn quota(house: &House, address: &str, bytes: Option<u64>) -> Outcome {
    let id = owner(house, address)?;
    if let Some(bytes) = bytes {
        commit(house, vec![Record::Quota { mailbox: id, bytes }], true)?;
        devices::seal_facts(house, id)?;
    }
    let core = house.committer.lock();
    let mailbox = core.index.mailbox(id).ok_or("the mailbox is gone")?;
    Ok(Reply::Quota { used: mailbox.used(), limit: mailbox.profile().quota })
}
