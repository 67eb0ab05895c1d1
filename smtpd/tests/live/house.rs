//! Keeper, zygotes, `mx` and `submission` in a folder of their own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use filter_sandbox::edge::Edge;
use filter_sandbox::{Launch, Role, Running};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use smtpd::returning::MarksKey;
use smtpd::role::Settings;
use spool::edges::admin::{Admin, Reply, Request};
use spool::edges::login::Login;
use spool::edges::mailbox;
use spool::keeper::EdgeKind;
use spool::keys::{DevicePassword, Identities};
use spool::letter::{Expect, Frame, Opened};
use spool::names::MailboxId;
use spool::slots::{NewMailbox, SlotsFile};
use wire::control::{Control, EdgeName};
use wire::tls::CertificatePem;

use crate::zone::Zone;

/// Its name, as the transcripts have it.
pub const HOST: &str = "mx.home.test";
/// Largest message.
pub const LARGEST: u64 = 100_000;

/// A running house. Its roles end with it.
pub struct House {
    folder: PathBuf,
    settings: Settings,
    keeper: Option<Role_>,
    zygote: Role_,
    mx: Role_,
    submission: Role_,
    submission_zygote: Role_,
    listeners: [TcpListener; 3],
    admin: Option<Admin>,
    imap: Option<Edge>,
    /// The ends of `link`: to `mx`, to `submission`.
    links: Vec<Edge>,
    pub zone: Zone,
    pub people: Vec<Person>,
    certificate: String,
}

/// Somebody with a mailbox.
pub struct Person {
    pub id: MailboxId,
    pub address: String,
    pub password: DevicePassword,
    identities: Identities,
}

/// A started role.
struct Role_(Option<Running>);

impl Role_ {
    fn start(role: Role, folder: Option<&Path>) -> Self {
        let exe = fs::File::open("/proc/self/exe").unwrap();
        let directory = folder.map(|folder| fs::File::open(folder).unwrap());
        let error = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let loud = std::env::var_os("LIVE_LOG").is_some();
        let stderr = std::io::stderr();
        let as_root = rustix::process::geteuid().is_root();
        let running = Launch {
            role,
            exe: exe.as_fd(),
            args: &[],
            uid: as_root.then(|| role.host_uid()),
            directory: directory.as_ref().map(AsFd::as_fd),
            stderr: if loud { stderr.as_fd() } else { error.as_fd() },
        };
        Self(Some(running.start().unwrap_or_else(|error| panic!("{role}: {error}"))))
    }

    fn running(&self) -> &Running {
        self.0.as_ref().unwrap()
    }

    fn send(&self, start: &impl serde::Serialize, with: &[&dyn AsFd]) {
        let with: Vec<_> = with.iter().map(|fd| fd.as_fd()).collect();
        self.running().control.send(start, &with).unwrap();
    }

    fn kill(&mut self) {
        if let Some(running) = self.0.take() {
            let _ = rustix::process::pidfd_send_signal(&running.pidfd, rustix::process::Signal::KILL);
            reap(running.pid);
        }
    }

    /// Waits for it to end by itself.
    fn wait(&mut self) {
        if let Some(running) = self.0.take() {
            reap(running.pid);
        }
    }
}

fn reap(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid);
    let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
}

impl Drop for Role_ {
    fn drop(&mut self) {
        self.kill();
    }
}

impl House {
    /// With `you@home.test` and `other@home.test`.
    pub fn new(clear_text: &[&str]) -> Self {
        Self::with_dns(clear_text, Zone::default())
    }

    pub fn with_dns(clear_text: &[&str], zone: Zone) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("smtpd-live-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        if rustix::process::geteuid().is_root() {
            let uid = Role::Keeper.host_uid();
            std::os::unix::fs::chown(&folder, Some(uid), Some(uid)).unwrap();
        }
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
        let certificate = CertificatePem { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
        let settings = Settings {
            host: HOST.into(),
            domain: "home.test".into(),
            largest: LARGEST,
            budget: 64 * 1024 * 1024,
            clear_text: clear_text.iter().map(|name| (*name).to_owned()).collect(),
            offer: Default::default(),
            certificate,
            ready_workers: 2,
            concurrent_workers: 4,
            worker_seconds: 20,
            marks: MarksKey([3; 32]),
        };
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut house = Self {
            folder,
            keeper: None,
            zygote: Role_(None),
            mx: Role_(None),
            submission: Role_(None),
            submission_zygote: Role_(None),
            listeners: [listener(), listener(), listener()],
            admin: None,
            imap: None,
            links: Vec::new(),
            zone,
            people: Vec::new(),
            certificate: made.cert.pem(),
            settings,
        };
        let (deposit, login) = house.start_keeper();
        house.start_roles(deposit, login);
        house.add("you@home.test");
        house.add("other@home.test");
        house.ask(Request::AliasAdd { alias: "family@home.test".into(), target: "you@home.test".into() });
        house.ask(Request::AliasAdd { alias: "family@home.test".into(), target: "other@home.test".into() });
        house.ask(Request::AliasAdd { alias: "alias@home.test".into(), target: "you@home.test".into() });
        house
    }

    fn start_keeper(&mut self) -> (Edge, Edge) {
        let pairs: Vec<(Edge, Edge)> = (0..4).map(|_| Edge::pair().unwrap()).collect();
        let start = spool::keeper::Start {
            index_key: [7; 32],
            domains: vec!["home.test".into()],
            default_quota: 1 << 30,
            allowance: spool::allowance::Limits::default(),
            new_journal: false,
            told: String::new(),
            outgoing: None,
            manner: spool::keeper::Manner::Serve,
            edges: vec![EdgeKind::Admin, EdgeKind::Deposit, EdgeKind::SubmissionLogin, EdgeKind::ImapLogin],
            left: None,
        };
        let keeper = Role_::start(Role::Keeper, Some(&self.folder));
        let (ours, theirs): (Vec<Edge>, Vec<Edge>) = pairs.into_iter().unzip();
        keeper.send(&start, &theirs.iter().map(|edge| edge as &dyn AsFd).collect::<Vec<_>>());
        self.keeper = Some(keeper);
        let mut ours = ours.into_iter();
        let mut next = || ours.next().unwrap();
        self.admin = Some(Admin::new(next()));
        let (deposit, login) = (next(), next());
        self.imap = Some(next());
        (deposit, login)
    }

    fn start_zygote(role: Role) -> (Role_, Edge) {
        let zygote = Role_::start(role, None);
        let (ours, theirs) = Edge::pair().unwrap();
        zygote.send(&filter_sandbox::zygote::Start { self_test: false }, &[&theirs]);
        (zygote, ours)
    }

    fn start_roles(&mut self, deposit: Edge, login: Edge) {
        let [(mx, one), (submission, other)] = [(); 2].map(|()| Edge::pair().unwrap());
        let (links, handed) = ([mx, submission], [one, other]);
        let (zygote, edge) = Self::start_zygote(Role::MxZygote);
        self.zygote = zygote;
        self.mx = Role_::start(Role::Mx, None);
        let dns = self.mx.0.as_mut().unwrap().dns.take().expect("DNS sockets");
        self.zone.serve(dns.udp);
        self.mx.send(
            &smtpd::mx::Start { settings: self.settings.clone(), scanning: None },
            &[&self.listeners[0], &deposit, &edge, &handed[0]],
        );
        let (zygote, edge) = Self::start_zygote(Role::SubmissionZygote);
        self.submission_zygote = zygote;
        self.submission = Role_::start(Role::Submission, None);
        let start = smtpd::submission::Start { settings: self.settings.clone() };
        self.submission.send(&start, &[&self.listeners[1], &self.listeners[2], &login, &edge, &handed[1]]);
        self.links = links.into();
    }

    pub fn ask(&mut self, request: Request) -> Reply {
        self.admin.as_mut().unwrap().ask(request).unwrap()
    }

    fn add(&mut self, address: &str) {
        let id = MailboxId(self.people.len() as u64 + 1);
        let new = NewMailbox { address, display_name: "", quota: None, device: "phone" };
        let made = SlotsFile::new_mailbox(id, &new, 0).unwrap();
        let request = Request::MailboxAdd {
            address: address.into(),
            display_name: String::new(),
            slots: made.slots.encode().unwrap(),
            quota: None,
            device_names: vec![(made.device, "phone".into())],
        };
        assert!(matches!(self.ask(request), Reply::Done));
        let (password, identities) = (made.device_password, made.identities);
        self.people.push(Person { id, address: address.into(), password, identities });
    }

    pub fn smtp(&self) -> SocketAddr {
        self.listeners[0].local_addr().unwrap()
    }

    pub fn submissions(&self) -> SocketAddr {
        self.listeners[1].local_addr().unwrap()
    }

    pub fn submission(&self) -> SocketAddr {
        self.listeners[2].local_addr().unwrap()
    }

    /// A client that trusts this house's certificate only.
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        self.client_config(rustls::DEFAULT_VERSIONS)
    }

    /// An older one.
    pub fn tls_1_2(&self) -> Arc<rustls::ClientConfig> {
        self.client_config(&[&rustls::version::TLS12])
    }

    fn client_config(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
    }

    /// Letters of a person, opened with their identity, in the order they arrived in (of one second: any).
    pub fn letters(&self, person: usize) -> Vec<String> {
        let person = &self.people[person];
        let mut found = Vec::new();
        walk(&self.folder.join("letters").join(person.id.to_string()), &mut found);
        let mut letters: Vec<(i64, String)> = found.iter().map(|path| open(path, person)).collect();
        letters.sort();
        letters.into_iter().map(|(_, text)| text).collect()
    }

    /// The last letter of a person that contains a text.
    pub fn letter(&self, person: usize, holding: &str) -> String {
        let all = self.letters(person);
        let found: Vec<&String> = all.iter().filter(|text| text.contains(holding)).collect();
        assert_eq!(found.len(), 1, "letters with {holding:?} among {}", all.len());
        found[0].clone()
    }

    /// How many letters a folder has, as an IMAP login sees it.
    pub fn count(&mut self, person: usize, folder: &str) -> u32 {
        let person = &self.people[person];
        let edge: OwnedFd = self.imap.take().unwrap().into();
        let kept = edge.try_clone().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let count = runtime.block_on(async {
            let login = Login::new(edge.into()).unwrap();
            let fields = login.fields(&person.address).await.unwrap();
            let secret = person.password.as_str().as_bytes();
            let salted = wire::scram::salted_password(secret, &fields.salt, fields.iterations);
            let check = wire::scram::check(&wire::scram::client_key(&salted));
            let (_, socket) = login.prove(fields.attempt, fields.devices[0].device, check).await.unwrap().unwrap();
            let (mailbox, _events) = mailbox::Mailbox::new(socket.into()).unwrap();
            match mailbox.ask(mailbox::Request::Status { name: folder.into() }, &[]).await.unwrap() {
                (mailbox::Reply::Status(folder), _) => folder.messages,
                (other, _) => panic!("{other:?}"),
            }
        });
        self.imap = Some(kept.into());
        count
    }

    /// Kills the keeper and starts another; the roles are told, as `up` tells them.
    pub fn restart_keeper(&mut self, told: bool) {
        self.keeper.take().unwrap().kill();
        let (deposit, login) = self.start_keeper();
        if told {
            self.mx.send(&Control::Edge(EdgeName::Keeper), &[&deposit]);
            self.submission.send(&Control::Edge(EdgeName::Keeper), &[&login]);
        }
    }

    pub fn kill_keeper(&mut self) {
        self.keeper.take().unwrap().kill();
    }

    pub fn kill_zygote(&mut self) {
        self.zygote.kill();
    }

    pub fn replace_zygote(&mut self) {
        let (zygote, edge) = Self::start_zygote(Role::MxZygote);
        self.zygote = zygote;
        self.mx.send(&Control::Edge(EdgeName::Zygote), &[&edge]);
    }

    /// Tells `mx` to end; returns a function that waits for it.
    pub fn drain(&self) {
        self.mx.send(&Control::Drain, &[]);
    }

    pub fn wait_for_mx(&mut self) -> Duration {
        let began = Instant::now();
        self.mx.wait();
        began.elapsed()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for role in [&mut self.mx, &mut self.submission, &mut self.zygote, &mut self.submission_zygote] {
            role.kill();
        }
        drop(self.keeper.take());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { walk(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

fn open(path: &Path, person: &Person) -> (i64, String) {
    let bytes = fs::read(path).unwrap();
    let frame = Frame::decode(&bytes).unwrap();
    let expect = Expect { mailbox: person.id, letter: frame.letter, size: None };
    let mut opened = Opened::open(bytes.as_slice(), &expect, &person.identities).unwrap();
    let message = opened.read_range(0, opened.size()).unwrap();
    (frame.arrived, String::from_utf8_lossy(&message).into_owned())
}
