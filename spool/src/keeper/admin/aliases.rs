//! `alias add`, `alias remove`.

use crate::edges::admin::Reply;
use crate::edges::limits;
use crate::index::normal_address;
use crate::journal::record::Record;
use crate::keeper::house::House;
use crate::keeper::leads;
use crate::names::MailboxId;

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
    let mut records = as_elsewhere(house, &alias, target);
    records.push(Record::AliasAdded { alias, target });
    devices::store(house, vec![changed], records)?;
    Ok(Reply::Done)
}

/// The same mailbox, named by the alias while its domain was another house's.
fn as_elsewhere(house: &House, alias: &str, target: MailboxId) -> Vec<Record> {
    let core = house.committer.lock();
    let is_it = |to: &&String| normal_address(to).is_some_and(|to| core.index.owner(&to) == Some(target));
    let known = core.index.forwards(alias).iter().filter(is_it);
    known.map(|to| forgotten(alias, to)).collect()
}

/// The address, when it is in a domain that is not ours.
fn elsewhere(house: &House, target: &str) -> Option<String> {
    let (_, domain) = target.rsplit_once('@')?;
    let ours = leads::is_ours(house, &house.committer.lock().index, target);
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
    let mut records = Vec::new();
    {
        let core = house.committer.lock();
        if core.index.owner(&alias).is_some() {
            return Err(format!("{alias} is a mailbox; its own mail app can pass mail on"));
        }
        let known = core.index.forwards(&alias);
        // As it is written last, it counts (RFC 5321 §2.4: what is before the @ may differ by its case).
        records.extend(known.iter().filter(|known| same(known, &to)).map(|known| forgotten(&alias, known)));
        if known.len() >= limits::ALIAS_TARGETS && records.is_empty() {
            return Err(format!("{alias} passes mail on to {} addresses already", limits::ALIAS_TARGETS));
        }
    }
    records.push(Record::ForwardAdded { alias, to });
    super::commit(house, records, false)?;
    Ok(Reply::Done)
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn forgotten(alias: &str, to: &str) -> Record {
    Record::ForwardRemoved { alias: alias.to_owned(), to: Some(to.to_owned()) }
}

pub(super) fn remove(house: &House, alias: &str, target: Option<&str>) -> Outcome {
    let alias = normal_address(alias).ok_or_else(|| format!("{alias} is not a mail address"))?;
    // The same mailbox may be named both ways: as it was before its domain was ours, and as it is now.
    let owner_of = target.and_then(|target| owner(house, target).ok());
    let names = |to: &[MailboxId]| target.is_none() || owner_of.is_some_and(|owner| to.contains(&owner));
    let (forwards, named) = {
        let core = house.committer.lock();
        (core.index.forwards(&alias).to_vec(), core.index.aliases().any(|(known, to)| *known == alias && names(to)))
    };
    let gone = target.and_then(|target| forwards.iter().find(|known| same(known, target))).cloned();
    if gone.is_some() || (target.is_none() && !forwards.is_empty()) {
        super::commit(house, vec![Record::ForwardRemoved { alias: alias.clone(), to: gone.clone() }], false)?;
        if !named {
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
