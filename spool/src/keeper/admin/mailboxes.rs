//! `mailbox add|remove|suspend`, `quota`.

use std::io;
use std::time::{Duration, Instant};

use crate::audit::{Entry, What};
use crate::edges::admin::Reply;
use crate::index::normal_address;
use crate::journal::record::{Device, Profile, Record};
use crate::keeper::house::{House, now};
use crate::keeper::{making, posting, removal, suspension};
use crate::names::{MailboxId, SlotId};
use crate::slots::{self, SlotsFile};
use crate::store;

use super::{NotDone, Outcome, commit, devices, folder, must_be_ours, owner};

/// How long a removal waits for its second to be over, and for those that folders made at once are ahead; beyond that a clock
/// that was set back is to blame.
const OUTLASTS: Duration = Duration::from_secs(3);

pub(super) fn add(
    house: &House,
    address: &str,
    display_name: String,
    bytes: &[u8],
    quota: Option<u64>,
    device_names: Vec<(SlotId, String)>,
) -> Outcome {
    let address = normal_address(address).ok_or_else(|| format!("{address} is not a mail address"))?;
    must_be_ours(house, &address)?;
    let mut made = SlotsFile::decode(bytes).map_err(|error| error.to_string())?;
    let id = made.mailbox();
    if house.committer.lock().index.taken(&address) {
        return Err(format!("{address} is there already"));
    }
    if house.committer.lock().index.mailbox(id).is_some()
        || folder(house, id).exists()
        || removal::marked(&house.root, id).exists()
    {
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
    if let Err(why) = write(house, id, &mut made.clone()) {
        take_back(house, id);
        return Err(why);
    }
    let profile = profile(devices::last_audit(house, id));
    let uid_validity = u32::try_from(now()).unwrap_or(1);
    if let Err(why) = commit(house, vec![Record::MailboxAdded { mailbox: id, profile, uid_validity }], false) {
        // An entry that may be on the disk needs its slots.
        if matches!(why, NotDone::NotTaken(_)) {
            take_back(house, id);
        }
        return Err(why.into());
    }
    making::done(house, id);
    made = slots::load(&folder(house, id), id).map_err(|error| error.to_string())?.slots;
    house.set_slots(id, Some(made));
    Ok(Reply::Done)
}

fn write(house: &House, id: MailboxId, made: &mut SlotsFile) -> Result<(), String> {
    let words = |error: io::Error| format!("the mailbox could not be written: {error}");
    making::begin(house, id).map_err(words)?;
    house.disk.make_folder(&folder(house, id)).map_err(words)?;
    house.disk.make_folder(&store::letters_path(&house.root, id)).map_err(words)?;
    slots::store(&house.disk, &folder(house, id), made).map_err(|error| error.to_string())?;
    let entry = Entry { at: now(), what: What::Made, slot: None, text: String::new() };
    devices::append_line(house, id, made, &entry)
}

/// A folder without an entry would look like a lost mailbox.
fn take_back(house: &House, id: MailboxId) {
    if let Err(error) = making::undo(house, id) {
        tracing::error!(mailbox = %id, %error, "a mailbox that could not be made is left until the next start");
    }
}

fn named(device_names: Vec<(SlotId, String)>, added: i64) -> Vec<Device> {
    device_names.into_iter().map(|(slot, name)| Device { slot, name, added, last_login: 0 }).collect()
}

/// With its letters, and if it is suspended what it has written and has not left. Its sessions end; files go once the entry is durable.
pub(super) fn remove(house: &House, address: &str) -> Outcome {
    let id = owner(house, address)?;
    let last = house.committer.lock().index.mailbox(id).map_or(0, crate::index::Mailbox::last_validity);
    removal::begin(house, id).map_err(|error| format!("the mailbox cannot be removed: {error}"))?;
    if let Err(why) = commit(house, vec![Record::MailboxRemoved { mailbox: id }], true) {
        if matches!(why, NotDone::Unknown) || removal::undo(house, id).is_err() {
            return Err("the disk failed; the next start of the box removes the mailbox".to_owned());
        }
        return Err(why.into());
    }
    house.committer.lock().hub.hang_up(id, |_| true);
    house.set_slots(id, None);
    house.forget_folders(id);
    posting::forget(house, id);
    let finished = removal::finish(house, id);
    finished.map_err(|error| format!("the mailbox is removed; files of it are left until the next start: {error}"))?;
    outlast(last);
    Ok(Reply::Done)
}

/// Whoever makes a mailbox of that name next shall not give it a UIDVALIDITY that a mail app knows already: they are seconds.
fn outlast(validity: u32) {
    let until = Instant::now() + OUTLASTS;
    while now() <= validity.into() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends its sessions and keeps its owner out; mail still comes, so that none is lost or sent back meanwhile.
pub(super) fn suspend(house: &House, address: &str, on: bool) -> Outcome {
    let id = owner(house, address)?;
    commit(house, vec![Record::Suspended { mailbox: id, on }], true)?;
    suspension::settle(house, id, on);
    if on {
        house.committer.lock().hub.hang_up(id, |_| true);
    }
    Ok(Reply::Done)
}

pub(super) fn quota(house: &House, address: &str, bytes: Option<u64>) -> Outcome {
    let id = owner(house, address)?;
    if let Some(bytes) = bytes {
        let changed = devices::resealed(house, id, |facts| facts.quota = Some(bytes))?;
        devices::store(house, vec![changed], vec![Record::Quota { mailbox: id, bytes }])?;
    }
    let core = house.committer.lock();
    let mailbox = core.index.mailbox(id).ok_or("the mailbox is gone")?;
    Ok(Reply::Quota { used: mailbox.used(), limit: mailbox.profile().quota })
}
