//! Whole sessions between real sockets: what goes through, and what is written down before it may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use outbound_proxy::grant::{Allowance, HomeGrant};
use outbound_proxy::limits;
use outbound_proxy::meter::Meter;
use outbound_proxy::service::books::{Books, Sync, Tab};
use outbound_proxy::service::pieces::Pieces;
use outbound_proxy::service::session::{Cut, Session};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use relay_link::homes::Homes;
use relay_link::keys::LinkKey;
use relay_link::outbound::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const HERE: [u8; 7] = [4, 192, 0, 2, 0, 0, 0];

/// Accounts of two homes.
struct Office {
    folder: PathBuf,
    homes: Homes<HomeGrant>,
    books: Books,
}

impl Office {
    fn new(name: &str, sync: Sync) -> Self {
        let folder = std::env::temp_dir().join(format!("outbound-sessions-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::open(&folder.join("homes")).unwrap();
        let most = Allowance { bucket: u32::MAX, daily: u32::MAX, burst: 100, concurrent: 100, ..Allowance::default() };
        let now = SystemTime::now();
        for home in ["alice", "bob"] {
            let invited = homes.invite(home, HomeGrant { allowance: most }, now, Duration::from_secs(600)).unwrap();
            homes.pair(&invited.secret, LinkKey::generate().unwrap().public(), now).unwrap();
        }
        let books = Books::on(&folder.join("spent"), sync).unwrap();
        Self { folder, homes, books }
    }

    fn tab(&self, home: &str) -> Tab {
        self.books.tab(&self.homes, home).unwrap()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    one.set_nodelay(true).unwrap();
    (one, listener.accept().await.unwrap().0)
}

/// A home and a far server that have come as far as STARTTLS.
async fn in_clear(home: &mut TcpStream, server: &mut TcpStream) {
    let mut heard = [0; 200];
    server.write_all(b"220 far\r\n").await.unwrap();
    let _ = home.read(&mut heard).await.unwrap();
    for (said, answered) in [("EHLO home.test\r\n", "250 far\r\n"), ("STARTTLS\r\n", "220 go\r\n")] {
        home.write_all(said.as_bytes()).await.unwrap();
        let _ = server.read(&mut heard).await.unwrap();
        server.write_all(answered.as_bytes()).await.unwrap();
        let _ = home.read(&mut heard).await.unwrap();
    }
}

/// A record whose octets differ.
fn record(kind: u8, length: usize) -> Vec<u8> {
    let body = (0..length).map(|at| (at * 7 % 251) as u8);
    [kind, 3, 3, (length >> 8) as u8, (length & 0xff) as u8].into_iter().chain(body).collect()
}

/// What of these pieces reaches the far server, how the session ended, and what it cost.
async fn sent(office: &Office, cut: Vec<Vec<u8>>) -> (Vec<u8>, Result<(), Cut>, u64) {
    let ((mut home, at_home), (mut server, at_server)) = (pair().await, pair().await);
    let (tab, pieces) = (office.tab("alice"), Pieces::default());
    let session = Session::new(&at_home, &at_server, &tab, &pieces);
    let ends = async {
        in_clear(&mut home, &mut server).await;
        let (mut answers, mut speaks) = home.into_split();
        let sending = async {
            for piece in cut {
                if speaks.write_all(&piece).await.is_err() {
                    break;
                }
                // Now and then the proxy has read all there is.
                tokio::task::yield_now().await;
            }
            drop(speaks);
        };
        let mut came = Vec::new();
        let reading = async {
            let _ = server.read_to_end(&mut came).await;
            drop(server);
        };
        tokio::join!(sending, reading);
        let _ = answers.read_to_end(&mut Vec::new()).await;
        came
    };
    let run = async {
        let ended = session.run().await;
        let _ = at_server.end();
        let _ = at_home.end();
        ended
    };
    let (came, ended) = timeout(Duration::from_secs(60), async { tokio::join!(ends, run) }).await.unwrap();
    (came, ended, session.facts().units)
}

/// As the proxy does by dropping them.
trait End {
    fn end(&self) -> rustix::io::Result<()>;
}

impl End for TcpStream {
    fn end(&self) -> rustix::io::Result<()> {
        rustix::net::shutdown(self, rustix::net::Shutdown::Both)
    }
}

/// Records of all sizes, cut anywhere.
fn stream() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length = prop_oneof![1usize..300, 16_000usize..16_500];
    let records = prop::collection::vec(length, 1..60);
    let cuts = prop::collection::vec(prop_oneof![1usize..12, 1usize..40_000], 1..40);
    (records, cuts).prop_map(|(lengths, cuts)| {
        let mut bytes = record(22, 300);
        lengths.iter().for_each(|length| bytes.extend(record(23, *length)));
        let (mut pieces, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            pieces.push(piece.to_vec());
            rest = left;
        }
        pieces
    })
}

/// However it is cut, and whichever pieces of memory it goes through.
#[tokio::test]
async fn every_octet_arrives_and_is_paid_for() {
    let office = Office::new("bulk", |_| Ok(()));
    let mut cases = TestRunner::deterministic();
    for _ in 0..60 {
        let pieces = stream().new_tree(&mut cases).unwrap().current();
        let whole = pieces.concat();
        let mut meter = Meter::default();
        let bodies = meter.home(&whole).unwrap();
        let before = office.tab("alice").budget().megabytes.0;
        let (came, ended, paid) = sent(&office, pieces).await;
        assert!(came == whole, "{} of {} octets", came.len(), whole.len());
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(paid, limits::SESSION_UNITS);
        assert_eq!(bodies, whole.len() as u64 / limits::UNIT_OF_BODY);
        assert!(office.tab("alice").budget().megabytes.0 >= before);
    }
}

/// Behind megabytes of records, too.
#[tokio::test]
async fn what_is_no_record_is_not_passed_on() {
    let office = Office::new("no-tls", |_| Ok(()));
    for bulk in [0, 1, 40] {
        let records = [record(22, 300), record(23, 16_401).repeat(bulk)].concat();
        let pieces = vec![records.clone(), b"MAIL FROM:<a@b.example>\r\n".repeat(2_000)];
        let (came, ended, _) = sent(&office, pieces).await;
        assert!(matches!(ended, Err(Cut::NotTls)), "{ended:?}");
        assert!(records.starts_with(&came), "{} octets of {}", came.len(), records.len());
    }
}

static SYNCS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicBool = AtomicBool::new(true);

/// A disk that takes its time.
fn slow(_: &File) -> io::Result<()> {
    SYNCS.fetch_add(1, Ordering::SeqCst);
    let began = Instant::now();
    while HELD.load(Ordering::SeqCst) {
        assert!(began.elapsed() < Duration::from_secs(30), "whoever could let it go on waits for it");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// One thread serves all homes: it must not be the one that waits for the disk.
#[tokio::test]
async fn a_slow_disk_holds_up_nobody_who_has_begun() {
    let office = Office::new("slow", slow);
    let tabs: Vec<Tab> = (0..10).map(|_| office.tab("alice")).collect();
    let running = office.tab("bob");
    let opening = async {
        let opened = tabs.iter().map(|tab| tab.open(HERE)).collect::<Vec<_>>();
        let mut opened = opened.into_iter().map(Box::pin).collect::<Vec<_>>();
        // All of them wait at once.
        std::future::poll_fn(|context| {
            let ready = opened.iter_mut().map(|one| one.as_mut().poll(context)).filter(std::task::Poll::is_ready);
            assert_eq!(ready.count(), 0, "nobody may send before it is on the disk");
            std::task::Poll::Ready(())
        })
        .await;
        for one in opened {
            one.await.unwrap();
        }
    };
    let others = async {
        while SYNCS.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // Whatever a session does that runs.
        for _ in 0..100 {
            running.charge(limits::WRITTEN_AHEAD, limits::WRITTEN_AHEAD);
            assert!(running.pace().is_zero());
            tokio::task::yield_now().await;
        }
        assert_eq!(SYNCS.load(Ordering::SeqCst), 1, "sessions of one home wait for one sync");
        HELD.store(false, Ordering::SeqCst);
    };
    timeout(Duration::from_secs(60), async { tokio::join!(opening, others) }).await.expect("nobody is held up");
    assert!((1..=2).contains(&SYNCS.load(Ordering::SeqCst)), "those who came meanwhile share the next");
}

static FAILS: AtomicBool = AtomicBool::new(true);

/// The kernel says once that a page was lost.
fn failing(_: &File) -> io::Result<()> {
    match FAILS.swap(false, Ordering::SeqCst) {
        true => Err(io::ErrorKind::StorageFull.into()),
        false => Ok(()),
    }
}

#[tokio::test]
async fn what_the_disk_has_lost_nobody_spends() {
    let office = Office::new("lost", failing);
    let [one, other, later] = [(), (), ()].map(|()| office.tab("alice"));
    let (first, second) = tokio::join!(one.open(HERE), other.open(HERE));
    assert_eq!((first, second), (Err(Refusal::Busy), Err(Refusal::Busy)), "both were in the sync that failed");
    later.open(HERE).await.unwrap();
}

/// A host that is gone, with eight addresses in as many networks, leaves the home most of its hour; one with an address where the
/// home has been is reached there.
#[tokio::test]
async fn a_host_costs_a_few_new_networks_and_is_dialled_where_it_may_be() {
    let office = Office::new("networks", File::sync_data);
    let network = |number: u8| [4, 44, 0, number, 0, 0, 0];
    let all: Vec<_> = (0..8).map(network).collect();
    let tab = office.tab("alice");
    let visit = async |tab: &Tab| {
        let mut new = tab.open_one(&all).await.unwrap();
        for each in &all {
            new += usize::from(tab.visit(*each, new < limits::NEW_NETWORKS) == Ok(true));
        }
        new
    };
    assert_eq!((visit(&tab).await, tab.budget().networks.0), (4, 4));
    assert_eq!(tab.visit(network(0), false), Ok(false), "it costs nothing more");
    assert_eq!(
        (visit(&office.tab("alice")).await, tab.budget().networks.0),
        (4, 8),
        "a later try goes on behind those"
    );
    let mut new = 8;
    while tab.visit([4, 45, 0, u8::try_from(new).unwrap(), 0, 0, 0], true).is_ok() {
        new += 1;
    }
    let later = office.tab("alice");
    assert_eq!(later.first_open(&[network(9), network(8), network(2)]), Some(network(2)), "as many as it may");
    later.open(network(2)).await.unwrap();
    let none = later.first_open(&[network(9), network(8)]).unwrap();
    assert!(matches!(later.open(none).await, Err(Refusal::Networks(_))));
    assert_eq!(later.first_open(&[]), None);
}

/// A question costs nothing, and each could carry something out.
#[test]
fn who_asks_without_end_is_not_looked_up_for() {
    let office = Office::new("asks", File::sync_data);
    // The minute may end meanwhile.
    let begun = (0..2 * limits::LOOKUPS).filter(|_| office.tab("alice").asks().is_ok()).count();
    let Err(Refusal::LookUps(wait)) = office.tab("alice").asks() else { panic!("no end") };
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(begun >= limits::LOOKUPS as usize, "{begun}");
    assert!(office.tab("bob").asks().is_ok(), "others have theirs");
}
