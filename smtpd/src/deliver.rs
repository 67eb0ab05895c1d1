//! From a message in memory to letters on the disk: verify, make the final bytes, have a stranger look at them,
//! seal, and wait for the keeper's word. Only that word is a 250.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use filter_sandbox::filter::Unfiltered;
use filter_sandbox::report::{Facts, Report};
use filter_sandbox::score::Authentication;
use spool::edges::pipe::LetterPipe;
use spool::edges::{Delivered, Into, NewLetter, Target};
use spool::keys::PublicKey;
use spool::letter;
use spool::names::TransactionId;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::authors::{self, Authors};
use crate::body::Body;
use crate::desk::Desk;
use crate::final_bytes::{self, FinalBytes, Trace};
use crate::limits;
use crate::peers::Keeper;
use crate::session::{Envelope, Outcome, Owner, Service};
use crate::verdict;

/// Where a message came from.
#[derive(Debug)]
pub struct Origin {
    /// The client.
    pub client: IpAddr,
    /// Its TLS, if any.
    pub tls: Option<String>,
    /// The session, for the log.
    pub id: u32,
    /// Submission: who sends.
    pub owner: Option<Owner>,
}

/// Delivers one message to all its recipients, or says why not.
pub async fn deliver(desk: &Desk, keeper: &Keeper, origin: Origin, envelope: Envelope, body: Body) -> Outcome {
    let Body { bytes, early, taken, .. } = body;
    let transaction = envelope.transaction;
    let targets: Vec<Target> = envelope.targets().into_iter().cloned().collect();
    let from_domain = envelope.sender.domain();
    if final_bytes::is_looping(&bytes) {
        return tell(&origin, &envelope, "a loop", Outcome::Looping);
    }
    let trace = Trace {
        host: &desk.rules.host,
        service: desk.rules.service,
        client: origin.client,
        client_name: None,
        tls: origin.tls.as_deref(),
        now: wire::date::now(),
    };
    let (made, authentication) = match (desk.rules.service, &desk.verifier, early) {
        (Service::Mx, Some(verifier), Some(early)) => {
            let verified = verifier.verify(&bytes, early).await;
            if verdict::must_reject(&verified.facts) {
                return tell(&origin, &envelope, "DMARC says reject", Outcome::PolicyReject);
            }
            let trace = Trace { client_name: verified.client_name.as_deref(), ..trace };
            (final_bytes::from_stranger(bytes, &envelope, &trace, &verified.field), verified.facts)
        }
        (Service::Submission, ..) => {
            match authors::of(&bytes) {
                Authors::Unreadable => return tell(&origin, &envelope, "no readable From", Outcome::NoFrom),
                Authors::These(all)
                    if !origin.owner.as_ref().is_some_and(|owner| all.iter().all(|a| owner.owns(a))) =>
                {
                    return tell(&origin, &envelope, "From is not the login's", Outcome::NotOwned);
                }
                Authors::These(_) => {}
            }
            (final_bytes::from_owner(bytes, &envelope, &trace), Authentication::default())
        }
        // mx always has a verifier: without one nothing is taken.
        _ => return Outcome::Failed,
    };
    let facts = Facts { sender_domain: from_domain, script: Vec::new() };
    let report = match desk.filter.examine(&made.slices(), &facts).await {
        Ok(report) => report,
        Err(error) => return unfiltered(&origin, &envelope, &error),
    };
    let (into, rules) = match desk.rules.service {
        Service::Mx => verdict::folder(&report, &authentication),
        Service::Submission => (Into::Inbox, String::new()),
    };
    let size = made.len();
    let outcome = store(keeper, transaction, &targets, into, made, &report).await;
    drop(taken);
    let mailboxes: Vec<String> = targets.iter().map(|target| target.mailbox.to_string()).collect();
    info!(
        session = format_args!("{:08x}", origin.id), client = %origin.client, from = %facts.sender_domain,
        to = %mailboxes.join(","), ?into, %rules, size, ?outcome, "letter"
    );
    outcome
}

fn unfiltered(origin: &Origin, envelope: &Envelope, error: &Unfiltered) -> Outcome {
    if error.is_permanent() {
        return tell(origin, envelope, "too many parts or levels", Outcome::NotUnderstood);
    }
    warn!(session = format_args!("{:08x}", origin.id), %error, "a letter could not be examined");
    Outcome::Unfiltered
}

fn tell(origin: &Origin, envelope: &Envelope, why: &str, outcome: Outcome) -> Outcome {
    let from = envelope.sender.domain();
    info!(session = format_args!("{:08x}", origin.id), client = %origin.client, %from, %why, "letter refused");
    outcome
}

/// One letter a mailbox, sealed into its pipe while the keeper reads.
async fn store(
    keeper: &Keeper,
    transaction: TransactionId,
    targets: &[Target],
    into: Into,
    made: FinalBytes,
    report: &Report,
) -> Outcome {
    let Ok(summary) = postcard::to_stdvec(&report.summary) else { return Outcome::Failed };
    let size = u32::try_from(made.len()).unwrap_or(u32::MAX);
    let (mut letters, mut reads, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for target in targets {
        let (Ok(key), Ok((read, pipe))) = (target.public_key.parse::<PublicKey>(), LetterPipe::new()) else {
            warn!(mailbox = %target.mailbox, "no pipe, or the keeper gave a key that is none");
            return Outcome::Failed;
        };
        letters.push(NewLetter { mailbox: target.mailbox, generation: target.generation, size, into });
        reads.push(read);
        jobs.push((key, pipe));
    }
    let made = Arc::new(made);
    // Writing blocks when a pipe is full, and sealing a large letter takes time: not on the sessions' threads.
    let writer = tokio::task::spawn_blocking(move || seal_all(jobs, &summary, &made));
    let borrowed: Vec<_> = reads.iter().map(AsFd::as_fd).collect();
    let answer = timeout(limits::DELIVERY, keeper.deliver(transaction, letters, &borrowed)).await;
    // Ours closed, a writer whose keeper is gone ends.
    drop(borrowed);
    drop(reads);
    if let Ok(Err(error)) = writer.await {
        warn!(%error, "a letter could not be written to the keeper");
    }
    match answer {
        Ok(Ok(Delivered::Durable | Delivered::Already)) => Outcome::Delivered,
        Ok(Ok(Delivered::Full)) => Outcome::Full,
        Ok(Ok(Delivered::Failed)) | Err(_) => Outcome::Failed,
        Ok(Err(_)) => Outcome::KeeperGone,
    }
}

/// One after another, as the keeper reads them. At the first error the rest is dropped without its end, and the
/// keeper keeps nothing.
fn seal_all(jobs: Vec<(PublicKey, LetterPipe)>, summary: &[u8], made: &FinalBytes) -> std::io::Result<()> {
    let slices = made.slices();
    jobs.into_iter().try_for_each(|(key, pipe)| letter::seal(&key, summary, slices.iter().copied(), pipe)?.finish())
}
