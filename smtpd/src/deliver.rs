//! From a message in memory to letters on the disk: verify, make the final bytes, have a stranger look at them,
//! seal, and wait for the keeper's word. Only that word is a 250.

use std::net::IpAddr;

use filter_sandbox::filter::Unfiltered;
use filter_sandbox::report::Facts;
use filter_sandbox::score::Authentication;
use spool::edges::queue::{Posted, PostedTo};
use spool::edges::{Into, Recipient, Size, Target};
use spool::names::{MailboxId, TransactionId};
use tracing::{info, warn};

use crate::authentication::{Disorder, Early};
use crate::authors::{self, Authors};
use crate::body::Body;
use crate::delivered::Notice;
use crate::desk::Desk;
use crate::final_bytes::{self, FinalBytes, Trace};
use crate::form;
use crate::header;
use crate::peers::Keeper;
use crate::returning::Returning;
use crate::sealing::{Kind, Letter, Letters, store};
use crate::session::{Envelope, Outcome, Owner, Return, Service};
use crate::spent;
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

/// One message on its way.
struct Delivery<'a> {
    desk: &'a Desk,
    keeper: &'a Keeper,
    origin: Origin,
    envelope: Envelope,
    /// See [`crate::returning`].
    marks: Vec<String>,
}

/// A message whose bytes are final, and where it goes.
struct Examined {
    letter: Letter,
    rules: String,
}

/// What the log says of a letter that was offered to the keeper.
#[derive(Debug)]
pub struct Told {
    from: String,
    to: Vec<MailboxId>,
    elsewhere: usize,
    into: Into,
    rules: String,
    size: usize,
    outcome: Outcome,
}

impl Told {
    /// Writes the line.
    pub fn log(&self, session: u32, client: IpAddr) {
        let Self { from, elsewhere, into, rules, size, outcome, .. } = self;
        let to: Vec<String> = self.to.iter().map(ToString::to_string).collect();
        info!(
            session = format_args!("{session:08x}"),
            %client, %from, to = %to.join(","), elsewhere, ?into, %rules, size, ?outcome,
            "letter"
        );
    }
}

/// Delivers one message to all its recipients, or says why not; with what is to be logged of it.
pub async fn deliver(
    desk: &Desk,
    keeper: &Keeper,
    origin: Origin,
    mut envelope: Envelope,
    body: Body,
) -> (Outcome, Option<Told>) {
    let (returning, name) = match desk.rules.service {
        Service::Mx => (desk.marks.without_returning(&mut envelope, &body.bytes), String::new()),
        Service::Submission => (Returning::default(), final_bytes::name(&envelope, &desk.rules.host)),
    };
    let marks = desk.marks.of(&envelope, &body.bytes, &name);
    let delivery = Delivery { desk, keeper, origin, envelope, marks };
    // Held until the end: the bytes are in memory until then.
    let Body { bytes, early, mut letters, taken: _taken, .. } = body;
    if returning.refused > 0 {
        let (session, client) = (format!("{:08x}", delivery.origin.id), delivery.origin.client);
        warn!(%session, %client, aliases = returning.refused, "a letter came back that an alias had passed on: that alias does not get it again");
        // They were begun for everybody.
        letters = None;
    }
    let ended = match returning.refused > 0 && delivery.envelope.recipients.is_empty() {
        // Whatever else would be said of it is said all the same: else who copies a mark learns whose it is.
        true => delivery.examined(bytes, early).await.map(|_| None),
        false => delivery.run(bytes, early, letters).await.map(Some),
    };
    if !matches!(&ended, Ok(Some(told)) if told.outcome == Outcome::Delivered) {
        desk.marks.give_back(&returning.resent);
    }
    match ended {
        Ok(Some(told)) => (told.outcome, Some(told)),
        Ok(None) => (Outcome::Returning, None),
        Err((why, outcome)) => {
            let (session, client) = (format!("{:08x}", delivery.origin.id), delivery.origin.client);
            let from = delivery.envelope.sender.domain();
            info!(%session, %client, %from, %why, ?outcome, "letter refused");
            (outcome, None)
        }
    }
}

/// Why it is not delivered: for the log, and for the client.
type Refused = (String, Outcome);

impl Delivery<'_> {
    /// As it is to be stored, and what a worker says of it.
    async fn examined(&self, bytes: Vec<u8>, early: Option<Early>) -> Result<Examined, Refused> {
        if let Some(fault) = form::fault(&bytes) {
            return Err(("its form".into(), fault));
        }
        let (made, authentication) = match self.desk.rules.service {
            Service::Mx => self.strangers_bytes(bytes, early).await?,
            Service::Submission => (self.owners_bytes(bytes)?, Authentication::default()),
        };
        self.examine(made, &authentication).await
    }

    async fn run(&self, bytes: Vec<u8>, early: Option<Early>, begun: Option<Letters>) -> Result<Told, Refused> {
        let targets: Vec<Target> = self.envelope.targets().into_iter().cloned().collect();
        let outgoing = self.envelope.leaving().map(|(outgoing, _)| outgoing);
        let examined = self.examined(bytes, early).await?;
        let kind = self.posted(&examined.letter.made).map_or(Kind::Here, Kind::Leaves);
        let letters = begun.or_else(|| Letters::address(&targets, outgoing));
        let outcome = store(self.keeper, self.envelope.transaction, letters, &examined.letter, kind).await;
        match outcome {
            Outcome::Delivered => self.tell_sender(&examined.letter.made).await,
            Outcome::Spent { tell: true } => self.warn_owner().await,
            _ => {}
        }
        Ok(Told {
            from: self.envelope.sender.domain(),
            to: targets.iter().map(|target| target.mailbox).collect(),
            elsewhere: self.envelope.leaving().map_or(0, |(_, leaving)| leaving.len()),
            into: examined.letter.into,
            rules: examined.rules,
            size: examined.letter.made.len(),
            outcome,
        })
    }

    /// The envelope of the letter that leaves, if one does.
    fn posted(&self, made: &FinalBytes) -> Option<Posted> {
        let (outgoing, leaving) = self.envelope.leaving()?;
        let (sender, parameters) = (&self.envelope.sender, &self.envelope.parameters);
        let (header, body) = made.beyond_ascii();
        // What its recipients need is each destination's affair.
        let international = header || sender.0.as_ref().is_some_and(crate::session::path::Address::is_international);
        let to = leaving.iter().map(|one| PostedTo {
            address: one.address.to_string(),
            original: one.notify.original.clone(),
            notify: one.notify.of,
        });
        Some(Posted {
            sender: sender.0.as_ref().map(ToString::to_string),
            size: u32::try_from(made.leaving().iter().map(|slice| slice.len()).sum::<usize>()).unwrap_or(u32::MAX),
            generation: outgoing.generation,
            eight_bit: body,
            international,
            require_tls: parameters.require_tls,
            full: parameters.ret.map(|ret| ret == Return::Full),
            envelope_id: parameters.envelope_id.clone(),
            recipients: to.collect(),
        })
    }

    async fn strangers_bytes(
        &self,
        bytes: Vec<u8>,
        early: Option<Early>,
    ) -> Result<(FinalBytes, Authentication), Refused> {
        // mx always has both: without them nothing is taken.
        let (Some(verifier), Some(early)) = (&self.desk.verifier, early) else {
            return Err(("nothing to verify it with".into(), Outcome::Failed));
        };
        let verified = verifier.verify(&bytes, early).await.map_err(|disorder| match disorder {
            Disorder::Many => ("too many domains in From".to_owned(), Outcome::ManyAuthors),
            Disorder::NoDomain => ("no domain in From".to_owned(), Outcome::NoDomain),
        })?;
        if verdict::must_reject(&verified.facts) {
            return Err(("DMARC says reject".into(), Outcome::PolicyReject));
        }
        if verdict::must_wait(&verified.facts) {
            return Err(("DMARC says reject, DNS does not say whether".into(), Outcome::PolicyUndecided));
        }
        let trace = Trace { client_name: verified.client_name.as_deref(), ..self.trace() };
        Ok((final_bytes::from_stranger(bytes, &self.envelope, &trace, &verified.field), verified.facts))
    }

    fn owners_bytes(&self, mut bytes: Vec<u8>) -> Result<FinalBytes, Refused> {
        if let Some(line) = header::mailbox_line(&bytes) {
            bytes.drain(line);
        }
        if let Some(fault) = form::owners_fault(&bytes) {
            return Err(("a line of its header is no field".into(), fault));
        }
        let Authors::These(authors) = authors::of(&bytes) else {
            return Err(("no readable From".into(), Outcome::NoFrom));
        };
        let owned = self.origin.owner.as_ref().is_some_and(|owner| authors.iter().all(|author| owner.owns(author)));
        if !owned {
            return Err(("From is not the login's".into(), Outcome::NotOwned));
        }
        Ok(final_bytes::from_owner(bytes, &self.envelope, &self.trace()))
    }

    fn trace(&self) -> Trace<'_> {
        Trace {
            host: &self.desk.rules.host,
            service: self.desk.rules.service,
            client: self.origin.client,
            client_name: None,
            tls: self.origin.tls.as_deref(),
            now: wire::date::now(),
            marks: &self.marks,
        }
    }

    /// Who waits for workers, beside others who do.
    fn network(&self) -> Option<IpAddr> {
        Some(wire::logins::network(self.origin.client))
    }

    async fn examine(&self, made: FinalBytes, authentication: &Authentication) -> Result<Examined, Refused> {
        let facts = Facts { sender_domain: self.envelope.sender.domain(), script: Vec::new() };
        let report = self.desk.filter.examine_for(self.network(), &made.slices(), &facts).await.map_err(|error| {
            let outcome = if error.is_permanent() { Outcome::NotUnderstood } else { Outcome::Unfiltered };
            (error.to_string(), outcome)
        })?;
        let (into, rules) = match self.desk.rules.service {
            Service::Mx => verdict::folder(&report, authentication, self.scanned(&made).await?),
            // Ours to ours: no verdict.
            Service::Submission => (Into::Inbox, String::new()),
        };
        let letter = Letter::new(made, &report, into).ok_or_else(|| ("its summary".into(), Outcome::Failed))?;
        Ok(Examined { letter, rules })
    }

    /// The external scanner's opinion, if there is one and the letter is no larger than it takes.
    async fn scanned(&self, made: &FinalBytes) -> Result<Option<f32>, Refused> {
        let Some(second) = &self.desk.second_opinion else { return Ok(None) };
        match second.scans.points_for(self.network(), &made.slices()).await {
            Ok(points) => Ok(Some(points)),
            Err(Unfiltered::TooLong) => Ok(None),
            Err(error) if second.needed => Err((format!("the external scanner: {error}"), Outcome::Unfiltered)),
            Err(error) => {
                warn!(session = format_args!("{:08x}", self.origin.id), %error, "not scanned; filed without the external scanner");
                Ok(None)
            }
        }
    }

    /// The own address of the mailbox whose login sends.
    fn login(&self) -> Option<&str> {
        self.origin.owner.as_ref()?.addresses.first().map(String::as_str)
    }

    /// RFC 3461 §4.1: who asked for it is told of success, by a letter into their own mailbox.
    async fn tell_sender(&self, made: &FinalBytes) {
        let Some(to) = self.login() else { return };
        let notice = Notice::of(to, &self.envelope, &self.desk.rules, made, wire::date::now());
        let Some(notice) = notice else { return };
        let Some(transaction) = new_transaction() else { return };
        if let Err((why, _)) = self.deposit_notice(notice, transaction).await {
            warn!(session = format_args!("{:08x}", self.origin.id), %why, "no notice of success");
        }
    }

    /// A stolen password sends until it is stopped; its owner must hear.
    async fn warn_owner(&self) {
        let Some(to) = self.login() else { return };
        let rules = &self.desk.rules;
        let now = wire::date::now();
        let notice = spent::notice(to, &rules.host, &rules.domain, &self.envelope.id(), now);
        match self.deposit_notice(notice, spent::name(to, now)).await {
            Ok(()) => self.keeper.told().await,
            Err((why, _)) => {
                warn!(session = format_args!("{:08x}", self.origin.id), %why, "an owner could not be warned")
            }
        }
    }

    async fn deposit_notice(&self, notice: Notice, transaction: TransactionId) -> Result<(), Refused> {
        let failed = |why: &str| (why.to_owned(), Outcome::Failed);
        let size = Size::Said(notice.text.len() as u64);
        let answer = self.keeper.recipient(transaction, &notice.to, size).await;
        let Ok(Recipient::Known(targets)) = answer else { return Err(failed("its sender's mailbox takes nothing")) };
        let examined = self.examine(FinalBytes::whole(notice.text.into_bytes()), &Authentication::default()).await?;
        match store(self.keeper, transaction, Letters::address(&targets, None), &examined.letter, Kind::Here).await {
            Outcome::Delivered => Ok(()),
            other => {
                self.keeper.abandon(transaction).await;
                Err((format!("{other:?}"), other))
            }
        }
    }
}

/// A name for a transaction.
#[must_use]
pub fn new_transaction() -> Option<TransactionId> {
    let mut name = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut name).ok()?;
    Some(TransactionId(name))
}
