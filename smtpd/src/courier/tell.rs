//! Notices to senders: made, looked at by a stranger like any letter, and put into their own mailbox, which the keeper
//! knows.

use filter_sandbox::report::Facts as Envelope;
use spool::edges::outbox::{Leased, Outgoing, State};
use spool::edges::{Down, Into, Recipient, Size};
use spool::names::LetterId;
use tracing::{info, warn};

use super::dsn::{self, About, Facts};
use super::limits;
use super::outcome::{self, Due};
use super::passing;
use super::postmaster::{self, May};
use super::reach::World;
use super::session::Return;
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

/// Puts a notice into its mailbox; of what an alias passed on, one of its kind a day.
pub async fn deposit<W: World + Send + 'static>(
    trip: &Trip<W>,
    letter: LetterId,
    outgoing: &Outgoing,
    due: &Due,
    text: &[u8],
) -> Told {
    if !outgoing.passed_on {
        return put(trip, letter, outgoing, due, text).await;
    }
    let now = wire::date::now();
    let transaction = postmaster::name(outgoing, due, passing::alias(text).as_deref(), now);
    match trip.courier.postmaster.may(transaction, now) {
        May::Tell(telling) => {
            let told = put(trip, letter, outgoing, &Due { transaction, ..due.clone() }, text).await;
            if told != Told::Later {
                telling.kept();
            }
            told
        }
        May::Told => {
            info!(%letter, "the postmaster was told of another like it today");
            Told::Nobody
        }
        May::Enough => {
            warn!(%letter, "the postmaster is not told: there were as many notices of what aliases passed on as there are in a day");
            Told::Nobody
        }
    }
}

/// Under its name it is there once, however often it is put.
async fn put<W: World + Send + 'static>(
    trip: &Trip<W>,
    letter: LetterId,
    outgoing: &Outgoing,
    due: &Due,
    text: &[u8],
) -> Told {
    let Some(notice) = notice(trip, outgoing, due, text) else { return Told::Nobody };
    let targets = match trip.keeper.listener(due.transaction, letter, Size::Said(notice.len() as u64)).await {
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
    let outcome = examined(trip, notice).await;
    let outcome = match outcome {
        Some(notice) => store(&trip.keeper, due.transaction, Letters::address(&targets, None), &notice, Kind::Here).await,
        None => Outcome::Unfiltered,
    };
    if outcome != Outcome::Delivered {
        trip.keeper.abandon(due.transaction).await;
        warn!(%letter, ?outcome, "a notice could not be delivered");
        return Told::Later;
    }
    info!(%letter, kind = ?due.kind, recipients = due.recipients.len(), "its sender was told");
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

fn notice<W: World>(trip: &Trip<W>, outgoing: &Outgoing, due: &Due, text: &[u8]) -> Option<Vec<u8>> {
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
        passed_on: outgoing.sender.as_deref().filter(|_| outgoing.passed_on).map(|from| (from, alias.as_deref())),
    };
    dsn::notice(due.kind, &facts, &about)
}
