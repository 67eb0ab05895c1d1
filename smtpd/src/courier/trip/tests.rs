//! Whole trips: a keeper and far servers of the test's own, real sealed letters.

mod patience;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use filter_sandbox::edge::{Answer as Answered, AsyncEdge, Edge, Numbered};
use filter_sandbox::filter::{Filter, FilterLimits};
use rustls::RootCertStore;
use spool::edges::outbox::limits::WAY_BACK;
use spool::edges::outbox::turns::Turn;
use spool::edges::outbox::{Event, OutgoingRecipient, Reply, Request};
use spool::keys::{Identities, Identity};
use spool::letter::{Frame, seal};
use spool::names::{LetterId, MailboxId};
use spool::srs::Rewriter;
use tokio::io::{AsyncWriteExt, DuplexStream};
use wire::control::SigningKey;
use wire::lines::{Line, Lines};

use super::*;
use crate::courier::dane::Tlsa;
use crate::courier::destination::{Answer, Mx, Own};
use crate::courier::memory::Memory;
use crate::courier::mta_sts::Policy;
use crate::courier::reach::{Connected, House};
use crate::courier::samples;

/// A command, and the answer.
type Says = (&'static str, &'static str);

/// Servers that take so many letters, one a connection, and then close without a word.
#[derive(Debug, Default)]
struct Far {
    patience: Mutex<VecDeque<usize>>,
    connections: Mutex<usize>,
    texts: Arc<Mutex<Vec<Vec<u8>>>>,
    goodbyes: Arc<Mutex<usize>>,
    /// The domain's hosts, the best first; none: itself.
    hosts: Mutex<Vec<&'static str>>,
    /// What one of them says to a command.
    says: Mutex<Vec<(&'static str, Says)>>,
    names: Mutex<Vec<String>>,
    /// Of each host; none: one.
    addresses: Mutex<Vec<Ipv4Addr>>,
    /// Where those connections led.
    doors: Mutex<Vec<IpAddr>>,
    through_proxy: Mutex<bool>,
}

impl World for Far {
    type Stream = DuplexStream;
    fn is_through_proxy(&self) -> bool {
        *self.through_proxy.lock().unwrap()
    }
    async fn mx(&self, _: &str) -> Answer<Mx> {
        let hosts = self.hosts.lock().unwrap();
        let records = (1..).zip(hosts.iter()).map(|(preference, host)| Mx { preference, host: (*host).to_owned() });
        let records: Vec<Mx> = records.collect();
        if records.is_empty() { Answer::Nothing { secure: false } } else { Answer::Found { records, secure: false } }
    }
    async fn six(&self, _: &str) -> Answer<Ipv6Addr> {
        Answer::Nothing { secure: false }
    }
    async fn four(&self, _: &str) -> Answer<Ipv4Addr> {
        let records = self.addresses.lock().unwrap().clone();
        let records = if records.is_empty() { vec![Ipv4Addr::new(8, 8, 8, 8)] } else { records };
        Answer::Found { records, secure: false }
    }
    async fn alias(&self, _: &str) -> Answer<String> {
        Answer::Nothing { secure: false }
    }
    async fn tlsa(&self, _: &str) -> Answer<Tlsa> {
        Answer::Nothing { secure: false }
    }
    async fn policy(&self, _: &str) -> Option<Policy> {
        None
    }
    async fn connect(&self, host: &str, to: SocketAddr) -> io::Result<Connected<DuplexStream>> {
        self.names.lock().unwrap().push(host.to_owned());
        self.doors.lock().unwrap().push(to.ip());
        let address = to.ip().to_string();
        let is_that = |name: &str| name == host || name == address;
        let says = self.says.lock().unwrap().iter().find(|(name, _)| is_that(name)).map(|(_, says)| *says);
        let letters = self.patience.lock().unwrap().pop_front().ok_or(io::ErrorKind::ConnectionRefused)?;
        *self.connections.lock().unwrap() += 1;
        let (ours, theirs) = tokio::io::duplex(50_000);
        tokio::spawn(serve(theirs, letters, (self.texts.clone(), self.goodbyes.clone()), says));
        Ok(Connected { stream: ours, address: to.ip(), hello: None })
    }
}

type Heard = (Arc<Mutex<Vec<Vec<u8>>>>, Arc<Mutex<usize>>);

async fn serve(stream: DuplexStream, letters: usize, (texts, goodbyes): Heard, says: Option<Says>) {
    let mut lines = Lines::new(stream);
    lines.stream_mut().write_all(b"220 hi\r\n").await.unwrap();
    let mut taken = 0;
    while taken < letters {
        let Ok(Line::Whole(line)) = lines.next(1_000).await else { return };
        *goodbyes.lock().unwrap() += usize::from(line == b"QUIT");
        let other = says.filter(|(command, _)| line.starts_with(command.as_bytes())).map(|(_, answer)| answer);
        let answer = other.unwrap_or(if line == b"DATA" { "354 go\r\n" } else { "250 ok\r\n" });
        lines.stream_mut().write_all(answer.as_bytes()).await.unwrap();
        if answer.starts_with("354") {
            let mut text = Vec::new();
            while let Ok(Line::Whole(line)) = lines.next(1_000_000).await {
                if line == b"." {
                    break;
                }
                text.extend_from_slice(&line);
                text.extend_from_slice(b"\r\n");
            }
            texts.lock().unwrap().push(text);
            taken += 1;
            let other = says.filter(|(command, _)| *command == ".").map(|(_, answer)| answer);
            lines.stream_mut().write_all(other.unwrap_or("250 taken\r\n").as_bytes()).await.unwrap();
        }
    }
}

/// A courier, and a keeper that writes down what is reported.
struct Set {
    courier: Arc<Courier<Far>>,
    identity: Identity,
    outbox: Arc<Outbox>,
    leases: Arc<Mutex<VecDeque<(Leased, OwnedFd)>>>,
    reports: Arc<Mutex<Vec<(u16, State)>>>,
    may_begin: Arc<Mutex<bool>>,
    overs: Overs,
    rests: Rests,
    _other_ends: [Edge; 2],
    keeper: Keeper,
}

impl Set {
    fn new(patience: &[usize]) -> Self {
        let identity = Identity::generate().unwrap();
        let (zygote, zygotes) = Edge::pair().unwrap();
        let (notices, keepers) = Edge::pair().unwrap();
        let limits = FilterLimits { ready: 0, concurrent: 1, deadline: Duration::from_secs(1), largest: 1_000 };
        let world = Far { patience: Mutex::new(patience.iter().copied().collect()), ..Far::default() };
        let own = Own { names: vec!["mx.home.test".into()], ..Own::default() };
        let roots = Arc::new(RootCertStore::empty());
        let courier = Courier::new(
            world,
            House { hello: "mx.home.test".into(), own, roots, port: 25 },
            ("home.test".into(), vec!["*".into()]),
            Rewriter::new(&[7; 32], "home.test"),
            Identities::first(MailboxId(0), Identity::from_bytes(identity.to_bytes()).unwrap()),
            Filter::new(zygote, limits).unwrap(),
            Memory::new(1 << 20),
        );
        let (ours, theirs) = Edge::pair().unwrap();
        let leases: Arc<Mutex<VecDeque<(Leased, OwnedFd)>>> = Arc::default();
        let reports: Arc<Mutex<Vec<(u16, State)>>> = Arc::default();
        let may_begin = Arc::new(Mutex::new(true));
        let overs = Overs::default();
        let rests = Rests::default();
        tokio::spawn(keep(theirs, leases.clone(), reports.clone(), (may_begin.clone(), overs.clone(), rests.clone())));
        let outbox = Arc::new(Outbox::new(ours, tokio::sync::mpsc::channel(1).0).unwrap());
        let keeper = Keeper::courier(notices.into()).unwrap();
        Self {
            courier,
            identity,
            outbox,
            leases,
            reports,
            may_begin,
            overs,
            rests,
            _other_ends: [zygotes, keepers],
            keeper,
        }
    }

    fn letter(&self, number: u8, text: &[u8]) -> (Leased, OwnedFd) {
        let (letter, size) = (LetterId([number; 16]), u32::try_from(text.len()).unwrap());
        let to =
            OutgoingRecipient { address: "ben@far.test".into(), original: None, notify: None, state: State::new(0) };
        let outgoing = Outgoing { size, ..samples::outgoing(Some("anna@home.test"), [to].into_iter()) };
        let frame = Frame { mailbox: outgoing.mailbox, letter, generation: 1, arrived: 0, size };
        // Tests run beside each other.
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let unique = FILES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postern-trip-{}-{unique}", std::process::id()));
        let mut file =
            std::fs::OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&frame.encode()).unwrap();
        let file = seal(self.identity.public(), &[], [text], file).unwrap();
        (
            Leased {
                lease: number.into(),
                letter,
                destination: "far.test".into(),
                recipients: vec![0],
                outgoing,
                is_ours: false,
                more: true,
            },
            file.into(),
        )
    }

    async fn trip(&self, (leased, file): (Leased, OwnedFd)) -> Left {
        let drain = watch::channel(false);
        let trip = Trip {
            courier: self.courier.clone(),
            outbox: self.outbox.clone(),
            keeper: self.keeper.clone(),
            drain: drain.1,
            seat: Seat::default(),
        };
        trip.run(leased, file).await.unwrap()
    }

    /// How many were delivered, nobody having been deferred, and over how many connections.
    fn came(&self) -> (usize, usize) {
        let reports = self.reports.lock().unwrap();
        assert!(reports.iter().all(|(_, state)| *state == State::Done { delivered: true }), "{reports:?}");
        (reports.len(), *self.courier.world.connections.lock().unwrap())
    }
}

/// Leases that are over.
type Overs = Arc<Mutex<Vec<u64>>>;

/// Of which destinations the courier said so, whichever they are; whether of what strangers send only.
type Rests = Arc<Mutex<Vec<(Rest, bool)>>>;

async fn keep(
    edge: Edge,
    leases: Arc<Mutex<VecDeque<(Leased, OwnedFd)>>>,
    reports: Arc<Mutex<Vec<(u16, State)>>>,
    (may_begin, overs, rests): (Arc<Mutex<bool>>, Overs, Rests),
) {
    use std::os::fd::AsFd;
    let edge = AsyncEdge::new(edge).unwrap();
    while let Ok((asked, _)) = edge.recv::<Numbered<Request>>().await {
        let (mut with, reply) = (
            None,
            match asked.body {
                Request::Lease { .. } => Reply::Leased(None),
                Request::Begin { .. } => Reply::Begun(*may_begin.lock().unwrap()),
                Request::Over { lease } => {
                    overs.lock().unwrap().push(lease);
                    Reply::Over
                }
                Request::Report { states, .. } => {
                    reports.lock().unwrap().extend(states);
                    Reply::Recorded
                }
                Request::Rest { rest, passed_on, .. } => {
                    rests.lock().unwrap().extend(Some((rest, passed_on)).filter(|(rest, _)| rest.until > 0));
                    Reply::Resting
                }
                _ => Reply::Resting,
            },
        );
        let next = matches!(reply, Reply::Leased(_)).then(|| leases.lock().unwrap().pop_front()).flatten();
        let reply = match next {
            Some((leased, file)) => {
                with = Some(file);
                Reply::Leased(Some(Box::new(leased)))
            }
            None => reply,
        };
        let with: Vec<_> = with.iter().map(AsFd::as_fd).collect();
        edge.send(&Answered::<Reply, Event>::Reply(asked.number, reply), &with).await.unwrap();
    }
}

const SMALL: &[u8] = b"From: anna@home.test\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_is_no_failure_of_the_next_letter() {
    let set = Set::new(&[1, 1, 9]);
    for number in 2..5 {
        let letter = set.letter(number, SMALL);
        set.leases.lock().unwrap().push_back(letter);
    }
    set.trip(set.letter(1, SMALL)).await;
    assert_eq!(set.came(), (4, 3), "each that was closed was made anew, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_not_now_is_not_the_last() {
    for says in [
        ("MAIL", "452 no room\r\n"),
        ("RCPT", "451 later\r\n"),
        ("DATA", "451 later\r\n"),
        ("RCPT", "452 4.5.3 too many\r\n"),
    ] {
        let set = Set::new(&[9, 9]);
        *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test"];
        *set.courier.world.says.lock().unwrap() = vec![("1.far.test", says)];
        set.trip(set.letter(1, SMALL)).await;
        assert_eq!(set.came(), (1, 2), "{says:?}");
        assert_eq!(*set.courier.world.names.lock().unwrap(), ["1.far.test", "2.far.test"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_says_not_now_is_not_the_hosts_last() {
    let [one, two] = [8, 9].map(|last| Ipv4Addr::new(8, 8, 8, last));
    // The last closes without a word.
    for says in [("MAIL", "452 no room\r\n"), ("RCPT", "450 no reverse name\r\n"), ("DATA", "451 later\r\n"), ("", "")]
    {
        let set = Set::new(&[usize::from(!says.0.is_empty()), 9]);
        *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test"];
        *set.courier.world.addresses.lock().unwrap() = vec![one, two];
        *set.courier.world.says.lock().unwrap() =
            vec![("8.8.8.8", says)].into_iter().filter(|_| !says.0.is_empty()).collect();
        set.trip(set.letter(1, SMALL)).await;
        assert_eq!(set.came(), (1, 2), "{says:?}");
        assert_eq!(*set.courier.world.doors.lock().unwrap(), [one, two]);
    }
}

/// One whose sender does not hear yet that it is late.
fn of_now(set: &Set, number: u8) -> (Leased, OwnedFd) {
    let (mut leased, file) = set.letter(number, SMALL);
    leased.outgoing.queued = wire::date::now();
    (leased, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_lost_over_its_text_begins_elsewhere_and_holds_up_no_other() {
    let set = Set::new(&[1, 9, 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test"];
    // It has the text, and closes without a word.
    *set.courier.world.says.lock().unwrap() = vec![("1.far.test", (".", ""))];
    let of = |number| of_now(&set, number);
    set.trip(of(1)).await;
    let lost = set.reports.lock().unwrap().split_off(0);
    assert!(matches!(lost.as_slice(), [(0, State::Waiting { failures: 1, .. })]), "{lost:?}");
    assert_eq!(*set.courier.world.names.lock().unwrap(), ["1.far.test"], "it may have been taken");
    set.courier.world.says.lock().unwrap().clear();
    set.trip(of(2)).await;
    assert_eq!(set.came(), (1, 2), "another letter goes at once");
    set.trip(of(1)).await;
    assert_eq!(set.came(), (2, 3));
    assert_eq!(*set.courier.world.names.lock().unwrap(), ["1.far.test", "1.far.test", "2.far.test"]);
    assert_eq!(set.courier.lost().of(LetterId([1; 16])), [], "its fate is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_letters_that_are_lost_hold_up_nobodys_own() {
    let set = Set::new(&[1, 1, 1, 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test"];
    *set.courier.world.says.lock().unwrap() = vec![("1.far.test", (".", ""))];
    for number in 1..=4 {
        let (mut leased, file) = set.letter(number, b"From: joe@strange.test\r\n\r\nhello\r\n");
        (leased.outgoing.queued, leased.outgoing.passed_on) = (wire::date::now(), true);
        leased.outgoing.sender = Some("joe@strange.test".to_owned());
        set.trip((leased, file)).await;
    }
    assert_eq!(set.reports.lock().unwrap().split_off(0).len(), 3, "the fourth does not go");
    assert!(matches!(set.rests.lock().unwrap().as_slice(), [(rest, true)] if rest.why.contains("broke")));
    set.courier.world.says.lock().unwrap().clear();
    set.trip(of_now(&set, 5)).await;
    assert_eq!(set.came(), (1, 4), "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_rests_says_why() {
    let set = Set::new(&[]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test"];
    set.trip(of_now(&set, 1)).await;
    set.trip(of_now(&set, 2)).await;
    let rests = set.rests.lock().unwrap();
    let [(rest, false)] = rests.as_slice() else { panic!("{rests:?}") };
    assert!(
        rest.until > wire::date::now() && rest.why.starts_with("no connection to 1.far.test (8.8.8.8)"),
        "{rest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_other_host_it_waits() {
    let set = Set::new(&[9, 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test"];
    *set.courier.world.says.lock().unwrap() = vec![("1.far.test", ("RCPT", "451 later\r\n"))];
    let (mut leased, file) = set.letter(1, SMALL);
    leased.outgoing.queued = wire::date::now();
    set.trip((leased, file)).await;
    let reports = set.reports.lock().unwrap();
    assert!(matches!(reports.as_slice(), [(0, State::Waiting { .. })]), "{reports:?}");
    assert_eq!(*set.courier.world.names.lock().unwrap(), ["1.far.test"]);
}

/// One for Ben and one for Jörg, now for those of them with these numbers.
fn for_two(set: &Set, number: u8, recipients: &[u16]) -> (Leased, OwnedFd) {
    let (mut leased, file) = set.letter(number, SMALL);
    let mut other = leased.outgoing.recipients[0].clone();
    other.address = "jörg@far.test".into();
    leased.outgoing.recipients.push(other);
    leased.recipients = recipients.to_vec();
    // Else its sender would hear that it is late.
    leased.outgoing.queued = wire::date::now();
    (leased, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_host_cannot_name_another_is_asked_for_when_the_others_have_it() {
    let set = Set::new(&[9, 9, 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test"];
    *set.courier.world.says.lock().unwrap() = vec![("2.far.test", ("EHLO", "250-ok\r\n250 SMTPUTF8\r\n"))];
    set.leases.lock().unwrap().push_back(for_two(&set, 2, &[1]));
    set.trip(for_two(&set, 1, &[0, 1])).await;
    let mut reports = set.reports.lock().unwrap().clone();
    reports.sort_by_key(|(number, _)| *number);
    let done = State::Done { delivered: true };
    let [(0, first), (1, State::Waiting { failures: 0, .. }), (1, last)] = reports.as_slice() else {
        panic!("{reports:?}")
    };
    assert_eq!((first, last), (&done, &done));
    assert_eq!(*set.courier.world.names.lock().unwrap(), ["1.far.test", "2.far.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_other_host_who_cannot_be_named_hears_at_once() {
    let set = Set::new(&[9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test"];
    set.trip(for_two(&set, 1, &[0, 1])).await;
    let reports = set.reports.lock().unwrap();
    assert!(
        reports.iter().any(|(one, state)| *one == 1 && matches!(state, State::Untold { delivered: false, .. })),
        "{reports:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_lacks_something_is_none_of_those_that_have_no_time() {
    let set = Set::new(&[9, 9, 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test", "3.far.test"];
    *set.courier.world.says.lock().unwrap() =
        vec![("1.far.test", ("EHLO", "250-ok\r\n250 SIZE 10\r\n")), ("2.far.test", ("RCPT", "451 later\r\n"))];
    set.trip(set.letter(1, SMALL)).await;
    assert_eq!(set.came(), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_text_that_is_not_wanted_now_goes_out_seldom() {
    let large = [SMALL, b"0123456789 abcdefghij\r\n".repeat(50_000).as_slice()].concat();
    for (text, first, second) in [(SMALL, vec!["1", "2"], vec!["3", "1"]), (&large, vec!["1"], vec!["2"])] {
        let set = Set::new(&[9; 9]);
        let world = &set.courier.world;
        *world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test", "3.far.test"];
        let later = (".", "452 4.7.28 come back later\r\n");
        *world.says.lock().unwrap() = ["1.far.test", "2.far.test", "3.far.test"].map(|host| (host, later)).to_vec();
        for (failures, hosts) in [(0, first), (2, second)] {
            let (mut leased, file) = set.letter(1, text);
            leased.outgoing.queued = wire::date::now();
            leased.outgoing.recipients[0].state = State::Waiting { failures, due: 0, delay_told: false, last: None };
            set.trip((leased, file)).await;
            let asked = world.names.lock().unwrap().split_off(0);
            assert_eq!(asked, hosts.iter().map(|host| format!("{host}.far.test")).collect::<Vec<_>>());
            assert_eq!(world.texts.lock().unwrap().split_off(0).len(), hosts.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_host_is_asked_at_a_later_attempt() {
    let set = Set::new(&[9; 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test", "3.far.test"];
    let later = ("RCPT", "451 later\r\n");
    *set.courier.world.says.lock().unwrap() = vec![("1.far.test", later), ("2.far.test", later)];
    let (mut leased, file) = set.letter(1, SMALL);
    leased.outgoing.queued = wire::date::now();
    leased.outgoing.recipients[0].state = State::Waiting { failures: 1, due: 0, delay_told: false, last: None };
    set.trip((leased, file)).await;
    assert_eq!(set.came(), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_may_keep_back_what_begins_anew_elsewhere() {
    let set = Set::new(&[9, 9]);
    *set.courier.world.hosts.lock().unwrap() = vec!["1.far.test", "2.far.test"];
    *set.courier.world.says.lock().unwrap() = vec![("1.far.test", ("DATA", "451 later\r\n"))];
    set.trip(set.letter(1, SMALL)).await;
    assert_eq!(*set.overs.lock().unwrap(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_for_the_next_letter() {
    let set = Set::new(&[9]);
    for number in 1..4 {
        set.trip(set.letter(number, SMALL)).await;
    }
    assert_eq!(set.came(), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_nobody_asks() {
    let set = Set::new(&[9]);
    set.leases.lock().unwrap().push_back(set.letter(2, SMALL));
    let (mut leased, file) = set.letter(1, SMALL);
    leased.more = false;
    assert_eq!(set.trip((leased, file)).await, Left::Nothing);
    assert_eq!((set.came(), set.leases.lock().unwrap().len()), ((1, 1), 1));
    // What goes back is due again, and only who asks gets it.
    *set.may_begin.lock().unwrap() = false;
    assert_eq!(set.trip(set.letter(3, SMALL)).await, Left::Perhaps);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_back_before_its_text_begins_stays_here() {
    let set = Set::new(&[9, 9]);
    *set.may_begin.lock().unwrap() = false;
    set.trip(set.letter(1, SMALL)).await;
    assert_eq!(set.came(), (0, 1), "nothing is said of it");
    assert!(set.courier.world.texts.lock().unwrap().iter().all(Vec::is_empty), "nor a byte sent");
    *set.may_begin.lock().unwrap() = true;
    set.trip(set.letter(1, SMALL)).await;
    assert_eq!(set.came(), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye_over_what_was_kept() {
    let set = Set::new(&[9]);
    set.trip(set.letter(1, SMALL)).await;
    let (_up, stopping) = watch::channel(true);
    let news = tokio::sync::mpsc::channel(1).1;
    set.courier.serve(set.outbox.clone(), news, set.keeper.clone(), stopping).await;
    let until = tokio::time::Instant::now() + limits::LINGER / 2;
    let said = || *set.courier.world.goodbyes.lock().unwrap();
    while said() == 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(said(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_of_its_own_is_signed_by_the_house() {
    let set = Set::new(&[9]);
    let der = crate::courier::dkim::new_ed25519().unwrap().to_vec();
    set.courier.sign_with(&["home.test", "third.test"].map(|domain| SigningKey {
        domain: domain.into(),
        selector: "e".into(),
        rsa: false,
        der: der.clone(),
    }));
    for (number, author) in (1..).zip(["anna@home.test", "anna@third.test", "anna@elsewhere.test"]) {
        let text = format!("From: {author}\r\n\r\nhello\r\n");
        set.trip(set.letter(number, text.as_bytes())).await;
    }
    let texts = set.courier.world.texts.lock().unwrap();
    let signed =
        |number: usize, domain: &str| String::from_utf8_lossy(&texts[number]).contains(&format!("d={domain};"));
    assert!(signed(0, "home.test") && signed(1, "third.test") && signed(2, "home.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_letter_leaves_from_its_file_whole() {
    let set = Set::new(&[9]);
    let line = "0123456789 abcdefghij 0123456789 abcdefghij 0123456789\r\n";
    let text = format!("From: anna@home.test\r\n\r\n{}", line.repeat(10_000));
    assert!(text.len() > limits::SMALL as usize * 4);
    set.trip(set.letter(1, text.as_bytes())).await;
    assert_eq!(set.came(), (1, 1));
    assert!(set.courier.world.texts.lock().unwrap()[..] == [text.into_bytes()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_damaged_further_on_is_never_ended() {
    let set = Set::new(&[9]);
    let text = vec![b'x'; 400_000];
    let (leased, file) = set.letter(1, &text);
    let file = File::from(file);
    std::os::unix::fs::FileExt::write_all_at(&file, b"damage", 300_000).unwrap();
    set.trip((leased, file.into())).await;
    assert!(set.courier.world.texts.lock().unwrap().is_empty(), "nothing of it was taken");
    assert!(!set.reports.lock().unwrap().iter().any(|(_, state)| *state == State::Done { delivered: true }));
}
