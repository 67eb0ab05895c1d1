//! The `Admin` edge: the family admin's commands, over the admin socket or from an offline command. One
//! request at a time, each in a thread, those that change something one after another in the whole house.

mod aliases;
mod devices;
mod lists;
mod mailboxes;
mod queue;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use filter_sandbox::edge::{AsyncEdge, EdgeListener};
use tokio::sync::mpsc;

use crate::commit::{NotTaken, With};
use crate::edges::admin::{RecoveredLetter, Reply, Request};
use crate::edges::mailbox::Event;
use crate::journal::record::Record;
use crate::names::MailboxId;
use crate::recover::{self, Recovered};
use crate::{check, store};

use super::house::House;
use super::line::{self, Breach, Service};

pub use devices::{audit_digest, last_audit, reconcile};

/// Of a keeper that may write nothing.
const ONLY_LOOKS: &str = "the spool can only be read now. Where its file system is mounted read-only (`mount` shows it, `dmesg` \
    why), check it and mount it writable again";
/// Admin connections at once; more wait in the listener.
const CONNECTIONS: usize = 16;
/// Between two signs that a command is at work: several in the time after which who asked gives up.
const SIGNS: Duration = Duration::from_secs(5);
/// How long the command whose turn it is may take for one step, as one large letter of a slow card.
const STANDS_STILL: Duration = Duration::from_secs(120);
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
        // Asked before every command, also of a keeper that is at work on another for long.
        if matches!(request, Request::Told) {
            let told = self.house.told.clone();
            asked.answer(Reply::Told(told));
            return Ok(());
        }
        if matches!(request, Request::Recover { .. }) && !self.house.manner.only_reads() {
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

/// Runs a command in a thread, alone; who asked hears meanwhile that the keeper is at work.
fn run(asked: Asked, command: impl FnOnce(&Asked) -> Outcome + Send + 'static) {
    let asked = Arc::new(asked);
    tokio::spawn(async move {
        let reply = told_meanwhile(&asked, in_turn(asked.clone(), command)).await;
        match (reply, Arc::into_inner(asked)) {
            (Some(reply), Some(asked)) => asked.answer(reply),
            // It panicked: nobody is to wait for it.
            (_, asked) => asked.iter().for_each(|asked| asked.asked.line().end()),
        }
    });
}

async fn in_turn(asked: Arc<Asked>, command: impl FnOnce(&Asked) -> Outcome + Send + 'static) -> Option<Reply> {
    let _alone = asked.house.admin.clone().lock_owned().await;
    asked.house.gets_on();
    let done = tokio::task::spawn_blocking(move || command(&asked).unwrap_or_else(Reply::Refused));
    done.await.ok()
}

/// Who asked gives up once it hears nothing for long: of a command that stands still, as on a disk that hangs, nothing
/// is said.
async fn told_meanwhile<T>(asked: &Asked, done: impl Future<Output = T>) -> T {
    let mut done = std::pin::pin!(done);
    loop {
        match tokio::time::timeout(SIGNS, &mut done).await {
            Ok(done) => return done,
            Err(_) if asked.house.stands_still() < STANDS_STILL => asked.asked.part(0, Reply::Working),
            Err(_) => {}
        }
    }
}

/// The table: every command, what does it.
fn command(asked: &Asked, request: Request) -> Outcome {
    let house = asked.house.as_ref();
    if house.manner.only_reads() && changes(&request) {
        return Err(format!("nothing was changed: {ONLY_LOOKS}; then try once more"));
    }
    match request {
        Request::Domains => Ok(lists::domains(house)),
        Request::Writes if house.manner.only_reads() => Err(ONLY_LOOKS.to_owned()),
        Request::Writes => Ok(Reply::Done),
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
        Request::QueueList => Ok(queue::list(asked)),
        Request::QueueRetry { letter } => queue::retry(house, letter),
        Request::QueueHold { letter, on } => queue::hold(house, letter, on),
        Request::QueueDrop { letter } => queue::give_up(house, letter),
        Request::Unknown => Ok(lists::unknown(asked, recover::unknown(house))),
        Request::Recover { .. } | Request::Told => Err("handled before".to_owned()),
    }
}

/// Whether it would write. All are named, so that a new one is thought of.
const fn changes(request: &Request) -> bool {
    match request {
        Request::Domains
        | Request::Writes
        | Request::MailboxList
        | Request::Slots { .. }
        | Request::DeviceList { .. }
        | Request::AliasList
        | Request::Quota { bytes: None, .. }
        | Request::Audit { .. }
        | Request::Check { repair: false }
        | Request::QueueList
        | Request::Unknown
        | Request::Told => false,
        Request::MailboxAdd { .. }
        | Request::MailboxRemove { .. }
        | Request::MailboxSuspend { .. }
        | Request::SlotsReplace { .. }
        | Request::DeviceRevoke { .. }
        | Request::AliasAdd { .. }
        | Request::AliasRemove { .. }
        | Request::Quota { bytes: Some(_), .. }
        | Request::Check { repair: true }
        | Request::QueueRetry { .. }
        | Request::QueueHold { .. }
        | Request::QueueDrop { .. }
        | Request::Recover { .. } => true,
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
            NotDone::NotTaken(NotTaken::OnlyReads) => ONLY_LOOKS.to_owned(),
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
