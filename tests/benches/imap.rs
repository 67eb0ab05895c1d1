//! IMAP beside Dovecot: sdbox (which seals nothing) and sdbox with mail-crypt. One run, in turn.
//! `POSTERN_LETTERS=10000` for the larger mailbox.
//!
//! `POSTERN_PEERS=target/peers cargo bench --profile release -p tests --bench imap`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on must stop")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::measure::{median, pss, row};
use tests::rivals::Rival;
use tests::{Authority, House, Imap, Setup, smtp};

const LIST: &str = "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)";
/// Dovecot lets one user have ten connections from one address.
const IDLERS: usize = 8;

struct Server<'a> {
    imaps: SocketAddr,
    authority: &'a Authority,
    name: String,
    password: String,
    pid: u32,
}

impl Server<'_> {
    fn login(&self) -> Imap {
        let mut imap = Imap::connect_to(self.imaps, self.authority).unwrap();
        assert!(imap.ask(&format!("LOGIN {} {}", self.name, self.password)).unwrap().ok());
        imap
    }

    fn fill(&self, letters: usize) {
        let mut imap = self.login();
        let _ = imap.ask("CREATE big").unwrap();
        for number in 0..letters {
            // Half 2 KB, a third 20 KB, a sixth 200 KB: 81 MB for 2,000.
            let size = [2_000, 2_000, 2_000, 20_000, 20_000, 200_000][number % 6];
            assert!(imap.append("big", &smtp::letter(&format!("n{number}"), size)).unwrap().ok());
        }
    }

    fn timed(&self, command: &str, times: usize) -> Duration {
        let mut imap = self.login();
        assert!(imap.ask("SELECT big").unwrap().ok());
        let times = (0..times).map(|_| {
            let began = Instant::now();
            let answer = imap.ask(command).unwrap();
            assert!(answer.ok(), "{command}: {}", answer.tagged);
            began.elapsed()
        });
        median(times.collect())
    }

    /// From sending APPEND's last byte on one connection to EXISTS on another in IDLE.
    fn notice(&self) -> Duration {
        let (mut one, mut two) = (self.login(), self.login());
        let _ = one.ask("CREATE notices").unwrap();
        assert!(two.ask("SELECT notices").unwrap().ok());
        let times = (0..20).map(|_| {
            two.raw(b"i IDLE\r\n").unwrap();
            assert!(two.line().unwrap().starts_with(b"+"));
            let began = Instant::now();
            let tag = one.say("APPEND notices {28+}\r\nSubject: x\r\n\r\n12345678901234").unwrap();
            while !String::from_utf8_lossy(&two.line().unwrap()).contains("EXISTS") {}
            let took = began.elapsed();
            assert!(one.answer(&tag).unwrap().ok());
            two.raw(b"DONE\r\n").unwrap();
            while !two.line().unwrap().starts_with(b"i OK") {}
            took
        });
        median(times.collect())
    }

    /// KiB of all processes for one more idle connection.
    fn idle(&self) -> f64 {
        let hold = |count: usize| -> Vec<Imap> {
            (0..count)
                .map(|_| {
                    let mut imap = self.login();
                    assert!(imap.ask("SELECT big").unwrap().ok());
                    imap.raw(b"i IDLE\r\n").unwrap();
                    assert!(imap.line().unwrap().starts_with(b"+"));
                    imap
                })
                .collect()
        };
        let first = hold(1);
        std::thread::sleep(Duration::from_secs(1));
        let before = pss(self.pid);
        let more = hold(IDLERS);
        std::thread::sleep(Duration::from_secs(1));
        let after = pss(self.pid);
        drop((first, more));
        after.saturating_sub(before) as f64 / IDLERS as f64
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    let letters = std::env::var("POSTERN_LETTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let mut house = House::start(Setup::default());
    let _ = house.admin_json(&["quota", "you", "4G"], "");
    let authority = Authority::at(house.scratch());
    let (plain, crypt) = (Rival::start(&authority, false), Rival::start(&authority, true));
    let dovecot = |rival: &Rival| Server {
        imaps: rival.imaps,
        authority: &authority,
        name: "u4@home.test".into(),
        password: "pw".into(),
        pid: rival.pid(),
    };
    let (sdbox, sealed) = (dovecot(&plain), dovecot(&crypt));
    let server = |house: &House| {
        let you = house.you().clone();
        Server {
            imaps: house.address("imaps"),
            authority: &authority,
            name: you.address,
            password: you.password,
            pid: house.pid(),
        }
    };
    let ours = server(&house);
    for server in [&ours, &sdbox, &sealed] {
        server.fill(letters);
    }
    // A first list without cached summaries: ours with the cache thrown away, theirs with the index cache gone.
    drop(ours);
    house.stop();
    let _ = std::fs::remove_dir_all(house.data().join("spool/cache"));
    house.start_again();
    let ours = server(&house);
    let root = tests::peers::folder().join("rival-crypt/mail/u4/sdbox/mailboxes/big/dbox-Mails");
    let _ = std::fs::remove_file(root.join("dovecot.index.cache"));
    let first = (ours.timed(LIST, 1), sealed.timed(LIST, 1));
    println!("{letters} letters\n{:<52} {:>10} {:>10}", "", "Postern", "Dovecot");
    row("first list, no summaries (beside mail-crypt)", ms(first.0), ms(first.1), "ms", "<= 0.1x");
    let list = (ours.timed(LIST, 5), sdbox.timed(LIST, 5));
    row("list, summaries cached", ms(list.0), ms(list.1), "ms", "<= 1x");
    let bodies = (
        ours.timed("FETCH 1:* (BODY.PEEK[])", 3),
        sdbox.timed("FETCH 1:* (BODY.PEEK[])", 3),
        sealed.timed("FETCH 1:* (BODY.PEEK[])", 1),
    );
    row("all bodies (beside sdbox)", ms(bodies.0), ms(bodies.1), "ms", "<= 2.2x");
    row("all bodies (beside mail-crypt)", ms(bodies.0), ms(bodies.2), "ms", "<= 0.1x");
    let select = (ours.timed("SELECT big", 200), sdbox.timed("SELECT big", 200));
    row("SELECT", ms(select.0), ms(select.1), "ms", "<= 2x");
    let notice = (ours.notice(), sdbox.notice());
    row("APPEND to EXISTS on another connection", ms(notice.0), ms(notice.1), "ms", "<= 5 ms");
    let idle = (ours.idle(), sdbox.idle());
    row("memory of an idle IDLE connection", idle.0, idle.1, "KiB", "<= 0.1x");
}
