//! The processes of IMAP, started as `up` starts them.

use std::cell::RefCell;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use filter_sandbox::edge::Edge;
use filter_sandbox::{Launch, Role, Running, zygote};
use imapd::owner::Bounds;
use serde::Serialize;
use spool::audit::{Entry, Line, What};
use spool::edges::admin::{Admin, Reply, Request};
use spool::keeper::EdgeKind;
use spool::names::MailboxId;
use spool::slots::{Made, NewMailbox, SlotsFile};
use wire::tls::CertificatePem;

use crate::client::Client;

/// What an APPEND may bring in these tests.
pub const BOUNDS: Bounds = Bounds { largest: 20 << 20, budget: 30 << 20 };

/// One box's IMAP side.
pub struct House {
    pub address: SocketAddr,
    pub certificate: Vec<u8>,
    admin: RefCell<Admin>,
    /// The end of `link`.
    _link: Edge,
    roles: Vec<Running>,
    folder: PathBuf,
}

/// One mailbox and its first device.
pub struct Mailbox {
    pub address: String,
    pub password: String,
    made: Option<Made>,
}

impl Mailbox {
    /// The same login, without the means to change the mailbox.
    pub fn clone_login(&self) -> Self {
        Self { address: self.address.clone(), password: self.password.clone(), made: None }
    }
}

impl House {
    pub fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("postern-imap-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        if rustix::process::geteuid().is_root() {
            let id = Role::Keeper.host_uid();
            std::os::unix::fs::chown(&folder, Some(id), Some(id)).unwrap();
        }
        let [(admin, admins), (logins, asked), (owners, handed), (filter, served), (link, door)] =
            [(); 5].map(|()| Edge::pair().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let roles = vec![
            keeper(&folder, admins, asked),
            start(Role::ImapZygote, None, &zygote::Start { self_test: false }, &[served.as_fd()]),
            start(Role::OwnerZygote, None, &imapd::owner::Start { bounds: BOUNDS }, &[handed.as_fd(), filter.as_fd()]),
            login(&certified, &[listener.as_fd(), logins.as_fd(), owners.as_fd(), door.as_fd()]),
        ];
        let ready: zygote::Ready = roles[1].control.recv().unwrap().0;
        assert!(matches!(ready, zygote::Ready::Serving { .. }), "{ready:?}");
        let certificate = certified.cert.der().to_vec();
        Self { address, certificate, admin: RefCell::new(Admin::new(admin)), _link: link, roles, folder }
    }

    /// A fresh mailbox `name@home.test`.
    pub fn mailbox(&self, name: &str, quota: Option<u64>) -> Mailbox {
        let address = format!("{name}@home.test");
        let id = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let new = NewMailbox { address: &address, display_name: name, quota, device: "first" };
        let made = SlotsFile::new_mailbox(MailboxId(id), &new, 0).unwrap();
        let request = Request::MailboxAdd {
            address: address.clone(),
            display_name: name.to_owned(),
            slots: made.slots.encode().unwrap(),
            quota,
            device_names: vec![(made.device, "first".to_owned())],
        };
        self.admin(request);
        let password = made.device_password.as_str().to_owned();
        Mailbox { address, password, made: Some(made) }
    }

    /// Has an admin's command done.
    pub fn admin(&self, request: Request) {
        match self.admin.borrow_mut().ask(request).unwrap() {
            Reply::Done => {}
            other => panic!("the keeper does not do it: {other:?}"),
        }
    }

    /// Adds a device; its password.
    pub fn device(&self, mailbox: &Mailbox, name: &str) -> String {
        let identities = &mailbox.made.as_ref().unwrap().identities;
        let mut slots = self.slots(mailbox);
        let (slot, password) = slots.add_device(identities, 0).unwrap();
        let mut facts = slots.facts(identities).unwrap();
        facts.devices.push((slot, name.to_owned()));
        slots.set_facts(&facts).unwrap();
        self.replace(mailbox, &slots, What::DeviceAdded);
        password.as_str().to_owned()
    }

    /// Gives the mailbox a new identity; old letters stay sealed to the old one.
    pub fn rekey(&self, mailbox: &mut Mailbox) {
        let mut slots = self.slots(mailbox);
        slots.rekey(&mut mailbox.made.as_mut().unwrap().identities).unwrap();
        self.replace(mailbox, &slots, What::Rekeyed);
    }

    fn slots(&self, mailbox: &Mailbox) -> SlotsFile {
        match self.admin.borrow_mut().ask(Request::Slots { address: mailbox.address.clone() }).unwrap() {
            Reply::Slots(bytes) => SlotsFile::decode(&bytes).unwrap(),
            other => panic!("no slots file: {other:?}"),
        }
    }

    /// The last line of the audit log.
    fn audited(&self, mailbox: &Mailbox) -> Option<Line> {
        let mut admin = self.admin.borrow_mut();
        admin.send(Request::Audit { address: mailbox.address.clone() }).unwrap();
        let mut lines = Vec::new();
        loop {
            match admin.reply().unwrap() {
                Reply::Audit { some, more } => {
                    lines.extend(some);
                    if !more {
                        return spool::audit::last(lines.iter().map(String::as_str));
                    }
                }
                other => panic!("no audit log: {other:?}"),
            }
        }
    }

    fn replace(&self, mailbox: &Mailbox, file: &SlotsFile, what: What) {
        let device_names = file.facts(&mailbox.made.as_ref().unwrap().identities).unwrap().devices;
        let entry = Entry { at: 0, what, slot: None, text: String::new() };
        let line = Line::make(self.audited(mailbox).as_ref(), file.mailbox(), file.generation(), file.public(), &entry)
            .unwrap();
        let (address, slots, audit) = (mailbox.address.clone(), file.encode().unwrap(), line.to_string());
        self.admin(Request::SlotsReplace { address, slots, device_names, audit });
    }

    /// Ends a device's logins.
    pub fn revoke(&self, mailbox: &Mailbox, device: &str) {
        self.admin(Request::DeviceRevoke { address: mailbox.address.clone(), name: device.to_owned() });
    }

    /// A connection that has not logged in.
    pub fn connect(&self) -> Client {
        Client::connect(self.address, &self.certificate)
    }

    /// A connection that has.
    pub fn session(&self, mailbox: &Mailbox) -> Client {
        let mut client = self.connect();
        client.line();
        client.send(&format!("login LOGIN {} {}", mailbox.address, mailbox.password));
        let answer = client.line();
        assert!(answer.starts_with("login OK "), "{answer}");
        client
    }

    /// All files of the spool's letters.
    pub fn letters(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.join("letters")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }

    /// Process numbers of the roles: keeper, filter's zygote, owner zygote, login.
    pub fn processes(&self) -> Vec<i32> {
        self.roles.iter().map(|role| role.pid).collect()
    }

    pub fn end(self) {
        for role in self.roles.into_iter().rev() {
            drop(role.control);
            let pid = rustix::process::Pid::from_raw(role.pid);
            let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn keeper(folder: &PathBuf, admins: Edge, asked: Edge) -> Running {
    let start = spool::keeper::Start {
        index_key: [7; 32],
        domains: vec!["home.test".to_owned()],
        default_quota: 1 << 30,
        allowance: spool::allowance::Limits::default(),
        new_journal: false,
        told: String::new(),
        outgoing: None,
        manner: spool::keeper::Manner::Serve,
        edges: vec![EdgeKind::Admin, EdgeKind::ImapLogin],
        left: None,
    };
    let directory: OwnedFd = File::open(folder).unwrap().into();
    self::start(Role::Keeper, Some(directory.as_fd()), &start, &[admins.as_fd(), asked.as_fd()])
}

fn login(certified: &rcgen::CertifiedKey<rcgen::KeyPair>, with: &[BorrowedFd<'_>]) -> Running {
    let certificate = CertificatePem { chain: certified.cert.pem(), key: certified.signing_key.serialize_pem() };
    start(
        Role::Login,
        None,
        &imapd::login::Start { certificate, largest: BOUNDS.largest, offer: Default::default() },
        with,
    )
}

fn start<T: Serialize>(role: Role, directory: Option<BorrowedFd<'_>>, start: &T, with: &[BorrowedFd<'_>]) -> Running {
    let exe = File::open("/proc/self/exe").unwrap();
    let uid = rustix::process::geteuid().is_root().then(|| role.host_uid());
    let stderr = std::io::stderr();
    let launch = Launch { role, exe: exe.as_fd(), args: &[], uid, directory, stderr: stderr.as_fd() };
    let running = launch.start().unwrap();
    running.control.send(start, with).unwrap();
    running
}
