//! What is stored: a box key that is gone, damage that a start has found and nobody has acknowledged, and mailboxes without room.

use std::time::Duration;

use spool::edges::admin::{AliasInfo, MailboxInfo};
use spool::edges::limits::LEAST_ROOM;

use super::{Finding, Patient};
use crate::admin::{NO_PLACE, Session, has_place};
use crate::box_key::BoxKey;
use crate::cli::{alias, mailbox};
use crate::size::Bytes;

const ABOUT: &str = "stored mail";
/// How long a running box may say nothing: there is more to look at.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing before the first start.
pub fn look(patient: &Patient) -> Vec<Finding> {
    let Some(data) = &patient.data else { return Vec::new() };
    let mut findings = Vec::new();
    findings.extend(BoxKey::is_lost(data).map(|(words, advice)| Finding::bad(ABOUT, words, advice)));
    findings.extend(damage(spool::found::read(&data.entry("spool"))));
    match Session::live(data, PATIENCE) {
        Ok(Some(mut session)) => {
            findings.extend(mailboxes(&mut session));
            findings.extend(aliases(&mut session));
        }
        Ok(None) if patient.up.is_some() && !has_place(data) => findings.push(Finding::weak(ABOUT, NO_PLACE, "")),
        Ok(None) => {}
        Err(silent) => {
            findings.push(Finding::bad(ABOUT, silent.words, "logins and mail have to wait until it answers"))
        }
    }
    findings
}

fn mailboxes(session: &mut Session) -> Vec<Finding> {
    let only_read = session.writes().err().map(|refused| {
        let advice = "`dmesg` says whether that disk fails, `df` whether it is full; senders keep their mail until it takes writes";
        Finding::bad(ABOUT, refused.words, advice)
    });
    let asked = session.lost().and_then(|lost| Ok((lost, session.mailboxes()?)));
    let found = match asked {
        Ok((lost, all)) => {
            let advice = "run `postern recover` with their words, before new mailboxes are made in their place";
            let lost = (!lost.is_empty()).then(|| Finding::bad(ABOUT, mailbox::lost_words(lost.len()), advice));
            lost.into_iter().chain(all.iter().filter_map(full)).collect()
        }
        Err(error) => vec![Finding::bad(ABOUT, error.words, "look at the log of `postern up`")],
    };
    only_read.into_iter().chain(found).collect()
}

/// Those that name an address of ours which there is not. Of a session that does not answer, more was said already.
fn aliases(session: &mut Session) -> Vec<Finding> {
    let all = session.aliases().unwrap_or_default();
    let dead = |one: &AliasInfo| {
        let finding = |to| Finding::bad("aliases", alias::nobody(&one.alias, to), alias::remedy(&one.alias, to));
        one.dead.iter().map(|to| finding(to)).collect::<Vec<_>>()
    };
    all.iter().flat_map(dead).collect()
}

fn damage(told: std::io::Result<Vec<spool::edges::admin::Finding>>) -> Option<Finding> {
    let advice = "`postern spool check` tells all that is wrong; `postern spool check --repair` mends what can be mended, \
                  and acknowledges it";
    match told {
        Ok(told) => told.last().map(|last| {
            let words =
                format!("a start of the box found damage ({} findings); {}: {}", told.len(), last.place, last.what);
            Finding::bad(ABOUT, words, advice)
        }),
        Err(error) => Some(Finding::weak(ABOUT, format!("what starts have found cannot be read: {error}"), advice)),
    }
}

fn full(info: &MailboxInfo) -> Option<Finding> {
    let address = info.addresses.first()?;
    let is_full = info.quota.saturating_sub(info.used) < LEAST_ROOM;
    is_full.then(|| {
        let words =
            format!("{address} is full ({} of {}): mail for it has to wait", Bytes(info.used), Bytes(info.quota));
        Finding::bad(ABOUT, words, room(address))
    })
}

/// What to do about a full mailbox.
pub fn room(address: &str) -> String {
    format!("delete mail in it, or give it more room: `postern quota {address} SIZE`")
}
