//! `alias add`, `alias remove`.

use crate::edges::admin::Reply;
use crate::edges::limits;
use crate::index::normal_address;
use crate::journal::record::Record;
use crate::keeper::house::House;

use super::{Outcome, devices, must_be_ours, owner};

pub(super) fn add(house: &House, alias: &str, target: &str) -> Outcome {
    let alias = normal_address(alias).ok_or_else(|| format!("{alias} is not a mail address"))?;
    let target = owner(house, target)?;
    must_be_ours(house, &alias)?;
    {
        let core = house.committer.lock();
        if core.index.owner(&alias).is_some() {
            return Err(format!("{alias} is a mailbox"));
        }
        let targets = core.index.targets(&alias);
        if targets.len() >= limits::ALIAS_TARGETS && !targets.contains(&target) {
            return Err(format!("{alias} names {} mailboxes already", limits::ALIAS_TARGETS));
        }
        if core.index.addresses_of(target).len() >= crate::limits::ADDRESSES {
            return Err("that mailbox has too many aliases".to_owned());
        }
    }
    let changed = devices::resealed(house, target, |facts| {
        if !facts.addresses.contains(&alias) {
            facts.addresses.push(alias.clone());
        }
    })?;
    devices::store(house, vec![changed], vec![Record::AliasAdded { alias, target }])?;
    Ok(Reply::Done)
}

pub(super) fn remove(house: &House, alias: &str, target: Option<&str>) -> Outcome {
    let alias = normal_address(alias).ok_or_else(|| format!("{alias} is not a mail address"))?;
    let target = target.map(|target| owner(house, target)).transpose()?;
    let targets = {
        let core = house.committer.lock();
        let found = core.index.aliases().find(|(known, _)| *known == alias).map(|(_, targets)| targets.to_vec());
        found.ok_or_else(|| format!("there is no alias {alias}"))?
    };
    if target.is_some_and(|target| !targets.contains(&target)) {
        return Err(format!("{alias} does not name that mailbox"));
    }
    // A mailbox whose slots cannot be read must not keep an alias for ever.
    let changed = targets.into_iter().filter(|known| target.is_none_or(|target| target == *known));
    let changed = changed.filter(|id| house.slots(*id).is_some());
    let resealed = |id| devices::resealed(house, id, |facts| facts.addresses.retain(|address| *address != alias));
    let changed = changed.map(resealed).collect::<Result<Vec<_>, _>>()?;
    devices::store(house, changed, vec![Record::AliasRemoved { alias, target }])?;
    Ok(Reply::Done)
}
