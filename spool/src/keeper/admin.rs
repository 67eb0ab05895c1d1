//! The `Admin` edge: the family admin's commands, over the admin socket or from an offline command. One
//! request at a time, each in a thread, those that change something one after another in the whole house.

mod aliases;
mod devices;
mod lists;
mod mailboxes;
mod queue;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use filter_sandbox::edge::{AsyncEdge, EdgeListener};
use tokio::sync::mpsc;

use crate::commit::{NotTaken, With};
use crate::edges::admin::{RecoveredLetter, Reply, Request};
use crate::edges::mailbox::Event;
use crate::journal::record::Record;
use crate::names::MailboxId;
use crate::recover::{self, Recovered};
use crate::{check, store};

use super::Manner;
use super::house::House;
use super::line::{self, Breach, Service};

pub use devices::{audit_digest, last_audit, reconcile};

/// Admin connections at once; more wait in the listener.
const CONNECTIONS: usize = 16;
/// Letters one `Recover` may name in all its packets.
const RECOVERED: usize = 5_000_000;

/// One connection.
#[derive(Debug)]
pub struct Admin {
    house: Arc<House>,
    recovering: HashMap<MailboxId, Vec<RecoveredLetter>>,
}

/// What a command came to: an answer, or why not, in words for the admin.
type Outcome = Result<Reply, String>;

/// Where a command's answers go.
#[derive(Debug)]
struct Asked {
    house: Arc<House>,
    asked: line::Asked<Reply, Event>,
}

impl Asked {
    /// Once everything up to now is durable.
    fn answer(self, reply: Reply) {
        let after = self.house.committer.lock().sequence;
        self.asked.reply(after, reply);
    }

    /// One packet of several; as [`Self::answer`].
    fn part(&self, reply: Reply) {
        let after = self.house.committer.lock().sequence;
        self.asked.part(after, reply);
    }
}

impl Admin {
    /// Serves one.
    #[must_use]
    pub fn new(house: Arc<House>) -> Self {
        Self { house, recovering: HashMap::new() }
    }

    /// Gathers a mailbox's letters over several packets; at the last it is put back.
    fn gather(&mut self, request: Request) -> Result<Option<Recovered>, Breach> {
        let Request::Recover { mailbox, addresses, display_name, quota, device_names, letters, last } = request else {
            return Err(Breach("not a recovery"));
        };
        let gathered: usize = self.recovering.values().map(Vec::len).sum();
        if gathered + letters.len() > RECOVERED {
            return Err(Breach("too many letters"));
        }
        self.recovering.entry(mailbox).or_default().extend(letters);
        if !last {
            return Ok(None);
        }
        let letters = self.recovering.remove(&mailbox).unwrap_or_default();
        let quota = quota.unwrap_or(self.house.default_quota);
        Ok(Some(Recovered { mailbox, addresses, display_name, quota, device_names, letters }))
    }
}

impl Service for Admin {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    const AT_ONCE: usize = 1;

    fn request(
        &mut self,
        request: Request,
        with: Vec<OwnedFd>,
        asked: line::Asked<Reply, Event>,
    ) -> Result<(), Breach> {
        if !with.is_empty() {
            return Err(Breach("descriptors where none belong"));
        }
        let asked = Asked { house: self.house.clone(), asked };
        if matches!(request, Request::Recover { .. }) && self.house.manner != Manner::Look {
            match self.gather(request)? {
                None => asked.answer(Reply::Done),
                Some(recovered) => {
                    run(asked, move |asked| recover::put_back(&asked.house, recovered).map(|()| Reply::Done))
                }
            }
            return Ok(());
        }
        run(asked, move |asked| command(asked, request));
        Ok(())
    }

    fn without(&mut self, _: Request, _: line::Asked<Reply, Event>) -> Result<(), Breach> {
        Err(Breach("descriptors where none belong"))
    }
}

/// Runs a command in a thread, alone.
fn run(asked: Asked, command: impl FnOnce(&Asked) -> Outcome + Send + 'static) {
    tokio::task::spawn_blocking(move || {
        let alone = asked.house.admin.clone();
        let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = command(&asked).unwrap_or_else(Reply::Refused);
        asked.answer(reply);
    });
}

/// The table: every command, what does it.
fn command(asked: &Asked, request: Request) -> Outcome {
    let house = asked.house.as_ref();
    if house.manner == Manner::Look && !matches!(request, Request::Check { repair: false }) {
        return Err("this keeper only looks".to_owned());
    }
    match request {
        Request::Domains => Ok(lists::domains(house)),
        Request::MailboxAdd { address, display_name, slots, quota, device_names } => {
            mailboxes::add(house, &address, display_name, &slots, quota, device_names)
        }
        Request::MailboxList => lists::mailboxes(asked),
        Request::MailboxRemove { address } => mailboxes::remove(house, &address),
        Request::MailboxSuspend { address, on } => mailboxes::suspend(house, &address, on),
        Request::Slots { address } => devices::slots(house, &address),
        Request::SlotsReplace { address, slots, device_names, audit } => {
            devices::replace(house, &address, &slots, device_names, &audit)
        }
        Request::DeviceList { address } => lists::devices_of(house, &address),
        Request::DeviceRevoke { address, name } => devices::revoke(house, &address, &name),
        Request::AliasAdd { alias, target } => aliases::add(house, &alias, &target),
        Request::AliasList => lists::aliases(asked),
        Request::AliasRemove { alias, target } => aliases::remove(house, &alias, target.as_deref()),
        Request::Quota { address, bytes } => mailboxes::quota(house, &address, bytes),
        Request::Audit { address } => lists::audit(asked, &address),
        Request::Check { repair } => {
            let found = check::run(house, repair, |done, of| asked.part(Reply::Progress { done, of }));
            let (findings, letters) = found.map_err(|error| format!("the check could not be finished: {error}"))?;
            Ok(lists::findings(asked, findings, letters))
        }
        Request::Told => Ok(Reply::Told(house.told.clone())),
        Request::QueueList => Ok(queue::list(asked)),
        Request::QueueRetry { letter } => queue::retry(house, letter),
        Request::QueueHold { letter, on } => queue::hold(house, letter, on),
        Request::QueueDrop { letter } => queue::give_up(house, letter),
        Request::Unknown => Ok(lists::unknown(asked, recover::unknown(house))),
        Request::Recover { .. } => Err("handled before".to_owned()),
    }
}

/// Whether mail for this address is ours: mail for a domain that is not would be kept from its real owner.
fn must_be_ours(house: &House, address: &str) -> Result<(), String> {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let ours = lists::all_domains(house);
    if ours.iter().any(|known| known == domain) {
        return Ok(());
    }
    Err(format!(
        "{address}: {domain} is not a domain of this box, whose mail is {}. To add it: `domains = [...]` in postern.toml, \
         or `postern up --domain` for each",
        ours.join(", ")
    ))
}

/// The mailbox of an address as the admin types it.
fn owner(house: &House, address: &str) -> Result<MailboxId, String> {
    let normal = crate::index::normal_address(address).ok_or_else(|| format!("{address} is not a mail address"))?;
    let core = house.committer.lock();
    core.index.owner(&normal).ok_or_else(|| format!("there is no mailbox {normal}"))
}

/// Why an entry is not known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotDone {
    /// Nothing was changed.
    NotTaken(NotTaken),
    /// The disk failed while it was written: the next start finds it, or not.
    Unknown,
}

impl From<NotDone> for String {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::NotTaken(NotTaken::Full) => "the disk is full".to_owned(),
            NotDone::NotTaken(NotTaken::Failed) => "the disk failed; nothing was changed".to_owned(),
            NotDone::Unknown => "the disk failed; look whether it was changed, and try again".to_owned(),
        }
    }
}

/// Commits, and waits until it is durable.
fn commit(house: &House, entry: Vec<Record>, frees: bool) -> Result<(), NotDone> {
    let taken = house.committer.take(&mut house.committer.lock(), entry, &With { letters: &[], frees });
    let number = taken.map_err(NotDone::NotTaken)?;
    if house.committer.wait(number) { Ok(()) } else { Err(NotDone::Unknown) }
}

fn folder(house: &House, id: MailboxId) -> std::path::PathBuf {
    store::mailbox_path(&house.root, id)
}

/// Accepts on the admin socket for as long as the keeper lives.
///
/// # Errors
/// The kernel's, on taking the descriptor over.
pub fn listen(
    house: Arc<House>,
    listener: OwnedFd,
    alive: mpsc::Sender<()>,
) -> std::io::Result<impl Future<Output = ()>> {
    let listener = EdgeListener::new(listener)?;
    Ok(async move {
        let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let edge = match listener.accept().await.and_then(AsyncEdge::new) {
                Ok(edge) => Arc::new(edge),
                Err(error) => {
                    tracing::error!(%error, "the admin socket");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                }
            };
            let (house, alive) = (house.clone(), alive.clone());
            tokio::spawn(async move {
                let _held = (place, alive);
                let progress = house.committer.progress();
                line::serve(edge, progress, "admin", Admin::new(house)).await;
            });
        }
    })
}
