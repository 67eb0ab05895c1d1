//! Notices to senders: made, looked at by a stranger like any letter, and put into their own mailbox, which the keeper
//! knows.

use filter_sandbox::report::Facts as Envelope;
use spool::edges::outbox::{Leased, Outgoing, State};
use spool::edges::{Down, Into, Recipient, Size};
use spool::names::{LetterId, TransactionId};
use tracing::{info, warn};

use super::dsn::{self, About, Facts, PassedOn};
use super::limits;
use super::outcome::{self, Due};
use super::passing;
use super::postmaster::{self, May};
use super::reach::World;
use super::session::Return;
use super::summary::{self, Entry};
use super::trip::Trip;
use crate::final_bytes::FinalBytes;
use crate::sealing::{Kind, Letter, Letters, store};
use crate::session::Outcome;

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It lies in the mailbox.
    Yes,
    /// There is nobody to tell.
    Nobody,
    /// Not now.
    Later,
}

/// Tells a sender what is decided about some recipients, and writes down that it was told.
///
/// # Errors
/// [`Down`].
pub async fn told<W: World + Send + 'static>(trip: &Trip<W>, leased: &Leased, text: &[u8]) -> Result<(), Down> {
    let now = wire::date::now();
    let mut states = Vec::new();
    let mut later = false;
    for due in outcome::due(leased.letter, &leased.outgoing, &leased.recipients, now) {
        match deposit(trip, leased.letter, &leased.outgoing, &due, text).await {
            Told::Later if now.saturating_sub(leased.outgoing.queued) < limits::NOTICE_GIVE_UP => later = true,
            _ => states.extend(due.then),
        }
    }
    if !later {
        states.extend(unheard(leased, &states));
    }
    // What has not changed by it, the keeper lets rest.
    trip.report(leased.lease, states).await
}

/// Those that no notice is about: nobody wants to hear of them.
fn unheard(leased: &Leased, told: &[(u16, State)]) -> Vec<(u16, State)> {
    let rest = leased.recipients.iter().filter(|number| !told.iter().any(|(told, _)| told == *number));
    let done = rest.filter_map(|number| match leased.outgoing.recipients.get(usize::from(*number))?.state {
        State::Untold { delivered, .. } => Some((*number, State::Done { delivered })),
        State::Waiting { .. } | State::Done { .. } => None,
    });
    done.collect()
}

/// Puts a notice into its mailbox; of what an alias passed on, by itself or with others.
pub async fn deposit<W: World + Send + 'static>(
    trip: &Trip<W>,
    letter: LetterId,
    outgoing: &Outgoing,
    due: &Due,
    text: &[u8],
) -> Told {
    if outgoing.passed_on {
        return to_postmaster(trip, letter, outgoing, due, text).await;
    }
    let Some(notice) = notice(trip, outgoing, due, text, None) else { return Told::Nobody };
    put(trip, (letter, due.transaction), notice).await
}

async fn to_postmaster<W: World + Send + 'static>(
    trip: &Trip<W>,
    letter: LetterId,
    outgoing: &Outgoing,
    due: &Due,
    text: &[u8],
) -> Told {
    let (now, alias) = (wire::date::now(), passing::alias(text));
    let kind = postmaster::kind(outgoing, due, alias.as_deref(), now);
    let entry = Entry::of(outgoing, due, alias.as_deref());
    match trip.courier.postmaster.may(due.transaction, kind, &entry, now) {
        May::Tell(telling) => {
            let more = telling.more();
            let Some(notice) = notice(trip, outgoing, due, text, more.as_deref()) else { return Told::Nobody };
            let told = put(trip, (letter, due.transaction), notice).await;
            if told == Told::Yes {
                telling.kept();
            }
            told
        }
        May::Sum(summing) => {
            let names = (trip.courier.house.hello.as_str(), trip.courier.domain.as_str());
            let told = put(trip, (letter, summing.sum.name), summary::notice(&summing.sum, names, now)).await;
            if told == Told::Yes {
                summing.kept(due.transaction, now);
                // What the next courier does not find in the journal, it tells again. A keeper that is gone leaves it so.
                let _ = trip.outbox.wake().await;
            }
            told
        }
        May::Wait(is_new) => {
            if is_new {
                info!(%letter, from = entry.domain, "the postmaster hears of it with others");
            }
            Told::Later
        }
        May::Told => Told::Yes,
        May::Counted => {
            warn!(%letter, from = entry.domain, "the postmaster hears only how many these were: too many wait to be told");
            Told::Nobody
        }
    }
}

/// Under its name it is there once, however often it is put.
async fn put<W: World + Send + 'static>(
    trip: &Trip<W>,
    (letter, transaction): (LetterId, TransactionId),
    notice: Vec<u8>,
) -> Told {
    let targets = match trip.keeper.listener(transaction, letter, Size::Said(notice.len() as u64)).await {
        Ok(Recipient::Known(targets)) => targets,
        Ok(Recipient::Unknown | Recipient::NotLocal | Recipient::Remote { .. } | Recipient::Forwarded { .. }) => {
            return Told::Nobody;
        }
        Ok(
            Recipient::OverQuota
            | Recipient::NotNow
            | Recipient::Separately
            | Recipient::Waiting
            | Recipient::OnlyReads,
        )
        | Err(Down) => {
            return Told::Later;
        }
    };
    let outcome = match examined(trip, notice).await {
        Some(notice) => store(&trip.keeper, transaction, Letters::address(&targets, None), &notice, Kind::Here).await,
        None => Outcome::Unfiltered,
    };
    if outcome != Outcome::Delivered {
        trip.keeper.abandon(transaction).await;
        warn!(%letter, ?outcome, "a notice could not be delivered");
        return Told::Later;
    }
    info!(%letter, "a notice was delivered");
    Told::Yes
}

async fn examined<W: World + Send + 'static>(trip: &Trip<W>, notice: Vec<u8>) -> Option<Letter> {
    let made = FinalBytes::whole(notice);
    let facts = Envelope { sender_domain: String::new(), script: Vec::new() };
    match trip.courier.filter.examine(&made.slices(), &facts).await {
        Ok(report) => Letter::new(made, &report, Into::Inbox),
        Err(error) => {
            warn!(%error, "a notice could not be examined");
            None
        }
    }
}

fn notice<W: World>(
    trip: &Trip<W>,
    outgoing: &Outgoing,
    due: &Due,
    text: &[u8],
    more: Option<&str>,
) -> Option<Vec<u8>> {
    let said: Vec<_> = due
        .recipients
        .iter()
        .filter_map(|number| {
            let one = outgoing.recipients.get(usize::from(*number))?;
            match &one.state {
                State::Waiting { last: Some(last), .. } | State::Untold { last, .. } => {
                    Some((one, outcome::why(last), last.at))
                }
                State::Waiting { last: None, .. } | State::Done { .. } => None,
            }
        })
        .collect();
    let about: Vec<About<'_>> = said
        .iter()
        .map(|(one, why, at)| About {
            address: &one.address,
            original: one.original.as_deref(),
            notify: outcome::notify(one),
            why,
            at: *at,
        })
        .collect();
    let id: String = due.transaction.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let to = passing::listener(outgoing, &trip.courier.domain);
    let alias = if outgoing.passed_on { passing::alias(text) } else { None };
    let facts = Facts {
        host: &trip.courier.house.hello,
        domain: &trip.courier.domain,
        id: &id,
        sender: to.as_deref(),
        envelope_id: outgoing.envelope_id.as_deref(),
        ret: outgoing.full.map(|full| if full { Return::Full } else { Return::Headers }),
        queued: outgoing.queued,
        now: wire::date::now(),
        letter: text,
        passed_on: outgoing.sender.as_deref().filter(|_| outgoing.passed_on).map(|from| PassedOn {
            from,
            alias: alias.as_deref(),
            more,
        }),
    };
    dsn::notice(due.kind, &facts, &about)
}
