//! `alias add`, `alias remove`.

use crate::edges::admin::Reply;
use crate::edges::limits;
use crate::index::normal_address;
use crate::journal::record::Record;
use crate::keeper::house::House;

use super::{Outcome, devices, must_be_ours, owner};

pub(super) fn add(house: &House, alias: &str, target: &str) -> Outcome {
    let alias = normal_address(alias).ok_or_else(|| format!("{alias} is not a mail address"))?;
    if let Some(to) = elsewhere(house, target) {
        return pass_on(house, alias, to);
    }
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

/// The address, when it is in a domain that is not ours.
fn elsewhere(house: &House, target: &str) -> Option<String> {
    let (_, domain) = target.rsplit_once('@')?;
    let domain = domain.to_lowercase();
    let ours = house.domains.contains(&domain) || house.committer.lock().index.has_domain(&domain);
    (!ours && !domain.is_empty()).then(|| target.to_owned())
}

/// RFC 5321 §4.5.3.1.1, 4.5.3.1.2, without what nobody types into a command: quotes, literals.
fn is_sendable(to: &str) -> bool {
    let Some((local, domain)) = to.rsplit_once('@') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    (1..=64).contains(&local.len())
        && local.split('.').all(|atom| !atom.is_empty())
        && local.chars().all(plain)
        && normal_address(to).is_some()
        && domain.len() <= 253
        && domain.split('.').all(label)
}

fn pass_on(house: &House, alias: String, to: String) -> Outcome {
    must_be_ours(house, &alias)?;
    if !is_sendable(&to) {
        return Err(format!("{to} is not an address that mail can be sent to"));
    }
    {
        let core = house.committer.lock();
        if core.index.owner(&alias).is_some() {
            return Err(format!("{alias} is a mailbox; its own mail app can pass mail on"));
        }
        let known = core.index.forwards(&alias);
        if known.len() >= limits::ALIAS_TARGETS && !known.contains(&to) {
            return Err(format!("{alias} passes mail on to {} addresses already", limits::ALIAS_TARGETS));
        }
    }
    super::commit(house, vec![Record::ForwardAdded { alias, to }], false)?;
    Ok(Reply::Done)
}

pub(super) fn remove(house: &House, alias: &str, target: Option<&str>) -> Outcome {
    let alias = normal_address(alias).ok_or_else(|| format!("{alias} is not a mail address"))?;
    let (forwards, is_alias) = {
        let core = house.committer.lock();
        (core.index.forwards(&alias).to_vec(), core.index.aliases().any(|(known, _)| *known == alias))
    };
    let gone = target.and_then(|target| forwards.iter().find(|known| known.eq_ignore_ascii_case(target))).cloned();
    if gone.is_some() || (target.is_none() && !forwards.is_empty()) {
        super::commit(house, vec![Record::ForwardRemoved { alias: alias.clone(), to: gone.clone() }], false)?;
        if gone.is_some() || !is_alias {
            return Ok(Reply::Done);
        }
    }
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
    let changed: Vec<_> = changed.collect();
    let ended = changed.clone();
    let changed = changed.into_iter().filter(|id| house.slots(*id).is_some());
    let resealed = |id| devices::resealed(house, id, |facts| facts.addresses.retain(|address| *address != alias));
    let changed = changed.map(resealed).collect::<Result<Vec<_>, _>>()?;
    devices::store(house, changed, vec![Record::AliasRemoved { alias, target }])?;
    // A session knows the addresses it may write as from its beginning; the next one does not know this any more.
    let core = house.committer.lock();
    ended.into_iter().for_each(|id| core.hub.hang_up(id, |_| true));
    Ok(Reply::Done)
}
