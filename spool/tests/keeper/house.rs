//! A keeper on a spool of its own, in a thread or a child process, and clients that use it as the box does.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use filter_sandbox::edge::Edge;
use spool::disk::Disk;
use spool::edges::admin::{Admin, Reply, Request};
use spool::edges::deposit::Deposit;
use spool::edges::login::Login;
use spool::edges::mailbox::{self, Event, Mailbox};
use spool::edges::pipe::LetterPipe;
use spool::edges::{Delivered, Into, NewLetter, Recipient, Target};
use spool::keeper::house::House;
use spool::keeper::{EdgeKind, Keeper, Manner, Start};
use spool::keys::{DevicePassword, Identities, Words};
use spool::names::{LetterId, MailboxId, SlotId, TransactionId};
use spool::slots::{NewMailbox, SlotsFile};
use tokio::sync::mpsc::Receiver;
use wire::control::{Control, Controls};

pub const KEY: [u8; 32] = [42; 32];
pub const SUMMARY: &[u8] = b"summary";

/// A fresh folder on the disk the build lies on, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("keeper-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn start(edges: Vec<EdgeKind>) -> Start {
    Start {
        index_key: KEY,
        domains: vec!["home.test".into(), "other.test".into()],
        default_quota: 1 << 30,
        allowance: spool::allowance::Limits::default(),
        new_journal: false,
        told: String::new(),
        outgoing: None,
        manner: Manner::Serve,
        edges,
        left: None,
    }
}

/// The client ends of a running keeper.
pub struct Running {
    pub deposit: Deposit,
    pub submission: Login,
    pub login: Login,
    /// For tests that take it.
    pub outbox: Option<Edge>,
    /// The same.
    pub notices: Option<Edge>,
    admin: std::sync::Mutex<Admin>,
    control: Edge,
    thread: Option<std::thread::JoinHandle<bool>>,
    house: Option<Arc<House>>,
}

pub const EDGES: [EdgeKind; 6] = [
    EdgeKind::Deposit,
    EdgeKind::SubmissionLogin,
    EdgeKind::ImapLogin,
    EdgeKind::Admin,
    EdgeKind::Outbox,
    EdgeKind::Notices,
];

/// Client ends, control end, and what the keeper gets.
pub fn ends() -> (Vec<Edge>, Vec<OwnedFd>, Edge, Edge) {
    let (ours, theirs): (Vec<_>, Vec<_>) =
        EDGES.iter().map(|_| Edge::pair().unwrap()).map(|(ours, theirs)| (ours, OwnedFd::from(theirs))).unzip();
    let (control, told) = Edge::pair().unwrap();
    (ours, theirs, control, told)
}

impl Running {
    /// Opens the spool in `root` and serves it from a thread.
    pub fn start(root: &Path) -> Self {
        Self::on(root, Disk::default()).unwrap()
    }

    pub fn on(root: &Path, disk: Disk) -> Result<Self, String> {
        Self::with(root, disk, Manner::Serve)
    }

    /// As an offline command starts it.
    pub fn with(root: &Path, disk: Disk, manner: Manner) -> Result<Self, String> {
        let mut start = start(EDGES.to_vec());
        start.manner = manner;
        Self::from(root, disk, start)
    }

    /// As that start packet says.
    pub fn from(root: &Path, disk: Disk, start: Start) -> Result<Self, String> {
        let (ours, theirs, control, told) = ends();
        let keeper = Keeper::open(root, disk, &start).map_err(|error| error.to_string())?;
        let house = keeper.house().clone();
        let thread = std::thread::spawn(move || {
            let edges = EDGES.into_iter().zip(theirs).collect();
            spool::keeper::runtime().unwrap().block_on(async {
                let controls = Controls::new(told).unwrap();
                keeper.serve(edges, Some(controls)).await.unwrap()
            })
        });
        let mut running = Self::clients(ours, control, Some(thread));
        running.house = Some(house);
        Ok(running)
    }

    /// As the background does from time to time.
    pub fn checkpoint(&self) {
        tokio::task::block_in_place(|| self.house.as_ref().unwrap().committer.checkpoint(false).unwrap());
    }

    /// What all its edges share.
    pub fn shared(&self) -> Arc<House> {
        self.house.clone().unwrap()
    }

    /// Syncs so far: letters, folders, journal.
    pub fn syncs(&self) -> [u64; 3] {
        let syncs = &self.house.as_ref().unwrap().committer.syncs;
        [&syncs.letters, &syncs.folders, &syncs.journal].map(|count| count.load(Ordering::Relaxed))
    }

    /// Of a keeper in a child process that got `EDGES`.
    pub fn clients(ours: Vec<Edge>, control: Edge, thread: Option<std::thread::JoinHandle<bool>>) -> Self {
        let mut ours = ours.into_iter();
        let mut next = || ours.next().unwrap();
        Self {
            deposit: Deposit::new(next()).unwrap(),
            submission: Login::new(next()).unwrap(),
            login: Login::new(next()).unwrap(),
            admin: std::sync::Mutex::new(Admin::new(next())),
            outbox: ours.next(),
            notices: ours.next(),
            control,
            thread,
            house: None,
        }
    }

    /// As `up` ends it. Whether it ended well.
    pub fn stop(mut self) -> bool {
        self.house = None;
        // One whose disk failed has ended already.
        let _ = self.control.send(&Control::Drain, &[]);
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn ask(&self, request: Request) -> Reply {
        self.try_ask(request).unwrap()
    }

    /// `None` when the keeper has ended.
    pub fn try_ask(&self, request: Request) -> Option<Reply> {
        tokio::task::block_in_place(|| self.admin.lock().unwrap().ask(request).ok())
    }

    /// How far the segment that is written to is durable.
    pub fn durable_bytes(&self) -> (u64, u64) {
        self.house.as_ref().unwrap().committer.durable_bytes()
    }

    /// All packets of an answer.
    pub fn ask_all(&self, request: Request, more: impl Fn(&Reply) -> bool) -> Vec<Reply> {
        tokio::task::block_in_place(|| {
            let mut admin = self.admin.lock().unwrap();
            admin.send(request).unwrap();
            let mut replies = vec![admin.reply().unwrap()];
            while more(replies.last().unwrap()) {
                replies.push(admin.reply().unwrap());
            }
            replies
        })
    }

    pub fn done(&self, request: Request) {
        let reply = self.ask(request);
        assert!(matches!(reply, Reply::Done), "{reply:?}");
    }

    /// `mailbox add`.
    pub fn add(&self, address: &str) -> Person {
        self.add_with(address, None)
    }

    pub fn add_with(&self, address: &str, quota: Option<u64>) -> Person {
        let (request, person) = new_mailbox(address, quota);
        self.done(request);
        person
    }

    pub async fn target(&self, transaction: TransactionId, address: &str, size: u64) -> Target {
        match self.deposit.recipient(transaction, address, size).await.unwrap() {
            Recipient::Known(mut targets) if targets.len() == 1 => targets.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// One letter to one address, as `mx` brings it.
    pub async fn deliver(&self, address: &str, message: &[u8]) -> Delivered {
        self.deliver_as(transaction(), address, message).await
    }

    pub async fn deliver_as(&self, transaction: TransactionId, address: &str, message: &[u8]) -> Delivered {
        let target = self.target(transaction, address, message.len() as u64).await;
        let (end, writing) = sealing(&target, message);
        let letters = vec![new_letter(&target, message)];
        let outcome = self.deposit.deliver(transaction, letters, &[end.as_fd()]).await.unwrap();
        drop(end);
        let _ = writing.await;
        outcome
    }

    /// Whether a letter was taken; by a keeper that only reads it is refused.
    pub async fn deliver_unless_read(&self, manner: Manner, message: &[u8]) -> bool {
        if manner.only_reads() {
            let size = message.len() as u64;
            let found = self.deposit.recipient(transaction(), "anna@home.test", size).await.unwrap();
            return found != Recipient::OnlyReads;
        }
        self.deliver("anna@home.test", message).await == Delivered::Durable
    }

    /// Logs in for IMAP.
    pub async fn login(&self, person: &Person) -> Option<(Mailbox, Receiver<Event>)> {
        let (admitted, socket) = prove(&self.login, &person.address, person.device, &person.password).await?;
        assert_eq!(admitted.mailbox, person.id);
        Some(Mailbox::new(Edge::from(socket)).unwrap())
    }
}

/// A mailbox, and what asks for it.
pub fn new_mailbox(address: &str, quota: Option<u64>) -> (Request, Person) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = MailboxId(NEXT.fetch_add(1, Ordering::Relaxed));
    let new = NewMailbox { address, display_name: "Somebody", quota, device: "phone" };
    let made = SlotsFile::new_mailbox(id, &new, 1_700_000_000).unwrap();
    let request = Request::MailboxAdd {
        address: address.into(),
        display_name: "Somebody".into(),
        slots: made.slots.encode().unwrap(),
        quota,
        device_names: vec![(made.device, "phone".into())],
    };
    let person = Person {
        id,
        address: address.into(),
        device: made.device,
        password: made.device_password,
        words: made.words,
        identities: made.identities,
    };
    (request, person)
}

pub fn new_letter(target: &Target, message: &[u8]) -> NewLetter {
    NewLetter {
        mailbox: target.mailbox,
        generation: target.generation,
        size: u32::try_from(message.len()).unwrap(),
        into: Into::Inbox,
    }
}

/// A pipe into which a thread seals a message.
pub fn sealing(target: &Target, message: &[u8]) -> (OwnedFd, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (end, mut pipe) = LetterPipe::new().unwrap();
    let (key, message) = (target.public_key.clone(), message.to_vec());
    let writing = tokio::task::spawn_blocking(move || {
        spool::letter::seal(&key.parse().unwrap(), SUMMARY, [message.as_slice()], &mut pipe)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        pipe.flush()?;
        pipe.finish()
    });
    (end, writing)
}

pub async fn prove(
    login: &Login,
    address: &str,
    device: SlotId,
    password: &DevicePassword,
) -> Option<(spool::edges::login::Admitted, OwnedFd)> {
    // `None` as well when the keeper has ended.
    let fields = login.fields(address).await.ok()?;
    let salted = wire::scram::salted_password(password.as_str().as_bytes(), &fields.salt, fields.iterations);
    let client = wire::scram::client_key(&salted);
    let stored = wire::scram::stored_key(&client);
    let matches = fields.devices.iter().find(|known| known.stored_key == stored);
    let device = matches.map_or(device, |known| known.device);
    login.prove(fields.attempt, device, wire::scram::check(&client)).await.ok()?
}

/// A family member with all their secrets.
pub struct Person {
    pub id: MailboxId,
    pub address: String,
    pub device: SlotId,
    pub password: DevicePassword,
    pub words: Words,
    pub identities: Identities,
}

pub fn transaction() -> TransactionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut name = [0; 16];
    name[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    name[8..].copy_from_slice(&(now.as_nanos() as u64).to_le_bytes());
    TransactionId(name)
}

/// What rides along with a reply, decoded.
pub fn attached<T: serde::de::DeserializeOwned>(with: Vec<OwnedFd>) -> T {
    postcard::from_bytes(&bytes(with)).unwrap()
}

fn bytes(with: Vec<OwnedFd>) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::from(with.into_iter().next().unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

pub async fn ask(mailbox: &Mailbox, request: mailbox::Request) -> mailbox::Reply {
    mailbox.ask(request, &[]).await.unwrap().0
}

/// SELECT: the folder and its facts.
pub async fn open(mailbox: &Mailbox, name: &str) -> (mailbox::Folder, Vec<mailbox::Fact>) {
    let request = mailbox::Request::Open { name: name.into(), take_recent: true, known: None };
    let (reply, with) = mailbox.ask(request, &[]).await.unwrap();
    let mailbox::Reply::Opened { folder, letters, .. } = reply else { panic!("{reply:?}") };
    let facts = match letters {
        mailbox::Listed::Here(facts) => facts,
        mailbox::Listed::Along => bytes(with),
        mailbox::Listed::Known => panic!("nothing is known"),
    };
    (folder, spool::edges::facts::from_bytes(&facts).unwrap())
}

/// The next event, soon.
pub async fn event(events: &mut Receiver<Event>) -> Event {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), events.recv()).await;
        match event.expect("an event").expect("a session") {
            Event::Opened => {}
            event => return event,
        }
    }
}

/// A letter's message as its owner reads it through a descriptor.
pub async fn read(person: &Person, mailbox: &Mailbox, letter: LetterId) -> Option<Vec<u8>> {
    let (reply, with) = mailbox.ask(mailbox::Request::Letters { letters: vec![letter] }, &[]).await.unwrap();
    let mailbox::Reply::Letters(found) = reply else { panic!("{reply:?}") };
    assert_eq!(found.iter().filter(|found| **found).count(), with.len());
    let file = std::fs::File::from(with.into_iter().next()?);
    let expect = spool::letter::Expect { mailbox: person.id, letter, size: None };
    let mut opened = spool::letter::Opened::open(file, &expect, &person.identities).ok()?;
    let size = opened.size();
    opened.read_range(0, size).ok()
}

/// A copy of a folder and all in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A runtime for a test's clients.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
