//! The commands that only show something. Long lists go out as several packets.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::edges::admin::{AliasInfo, DeviceInfo, Finding, MailboxInfo, Reply};
use crate::keeper::house::House;
use crate::keeper::leads;
use crate::names::MailboxId;

use super::{Asked, Outcome, devices, folder, owner};

/// Bytes of one packet's share of a list.
const SHARE: usize = 32 * 1024;
const DAY: i64 = 86_400;

pub(super) fn domains(house: &House) -> Reply {
    Reply::Domains(all_domains(house))
}

/// Those of the configuration, then those of mailboxes that there are.
pub(super) fn all_domains(house: &House) -> Vec<String> {
    let mut domains = house.domains.clone();
    let more = house.committer.lock().index.domains();
    domains.extend(more.into_iter().filter(|domain| !house.domains.contains(domain)));
    domains
}

pub(super) fn mailboxes(asked: &Asked) -> Outcome {
    let infos: Vec<_> = {
        let core = asked.house.committer.lock();
        let infos = core.index.mailboxes().map(|(id, mailbox)| {
            let profile = mailbox.profile();
            let slots = asked.house.slots(id);
            MailboxInfo {
                id,
                addresses: core.index.addresses_of(id),
                display_name: profile.display_name.clone(),
                suspended: profile.suspended,
                used: mailbox.used(),
                quota: profile.quota,
                letters: mailbox.letters(),
                generation: slots.as_ref().map_or(0, |slots| slots.generation()),
                household_key: slots.is_some_and(|slots| slots.has_household_key()),
            }
        });
        infos.collect()
    };
    Ok(shares(asked, infos, |some, more| Reply::Mailboxes { some, more }))
}

pub(super) fn devices_of(house: &House, address: &str) -> Outcome {
    let id = owner(house, address)?;
    let listed = devices::listed(house, id);
    let core = house.committer.lock();
    let devices = core.index.mailbox(id).map(|mailbox| mailbox.profile().devices.as_slice()).unwrap_or_default();
    let shown = listed.into_iter().map(|(slot, name)| {
        let known = devices.iter().find(|device| device.slot == slot);
        let last = known.map_or(0, |device| device.last_login);
        DeviceInfo {
            slot,
            name,
            added: known.map_or(0, |device| device.added),
            last_login: (last > 0).then(|| i64::from(last) * DAY),
        }
    });
    Ok(Reply::Devices(shown.collect()))
}

pub(super) fn aliases(asked: &Asked) -> Outcome {
    let aliases: Vec<_> = {
        let core = asked.house.committer.lock();
        let name = |id: &MailboxId| core.index.mailbox(*id).map(|mailbox| mailbox.profile().address.clone());
        let mut all: BTreeMap<String, Vec<String>> = core
            .index
            .aliases()
            .map(|(alias, targets)| (alias.to_owned(), targets.iter().filter_map(name).collect()))
            .collect();
        for (alias, to) in core.index.all_forwards() {
            let known = all.entry(alias.to_owned()).or_default();
            let new: Vec<_> = to.iter().filter(|to| !known.contains(to)).cloned().collect();
            known.extend(new);
        }
        let info = |(alias, to): (String, Vec<String>)| AliasInfo {
            dead: leads::of(&asked.house, &core.index, &alias).dead,
            alias,
            to,
        };
        all.into_iter().map(info).collect()
    };
    Ok(shares(asked, aliases, |some, more| Reply::Aliases { some, more }))
}

pub(super) fn audit(asked: &Asked, address: &str) -> Outcome {
    let id = owner(&asked.house, address)?;
    let lines = crate::audit::load(&folder(&asked.house, id)).map_err(|error| error.to_string())?;
    Ok(shares(asked, lines, |some, more| Reply::Audit { some, more }))
}

pub(super) fn findings(asked: &Asked, findings: Vec<Finding>, letters: u64) -> Reply {
    shares(asked, findings, |some, more| Reply::Checked { some, more, letters })
}

pub(super) fn unknown(asked: &Asked, unknown: Vec<(MailboxId, Vec<u8>)>) -> Reply {
    shares(asked, unknown, |some, more| Reply::Unknown { some, more })
}

/// Sends all shares of a list but the last, which is the answer's.
pub(super) fn shares<T: Serialize>(asked: &Asked, list: Vec<T>, reply: impl Fn(Vec<T>, bool) -> Reply) -> Reply {
    let mut share = Vec::new();
    let mut bytes = 0;
    for item in list {
        let size = postcard::to_stdvec(&item).map_or(SHARE, |encoded| encoded.len());
        if bytes + size > SHARE && !share.is_empty() {
            asked.part(reply(std::mem::take(&mut share), true));
            bytes = 0;
        }
        bytes += size;
        share.push(item);
    }
    reply(share, false)
}
