//! Mail in, beside Postfix with Dovecot (LMTP, sdbox), which neither filter nor seal. One run, in turn,
//! on one disk: 20 KB letters over 10 connections without TLS until the last is visible by IMAP;
//! processor time a letter; end of DATA to 250 on an idle box.
//!
//! `POSTERN_PEERS=target/peers cargo bench --profile release -p tests --bench delivery`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on must stop")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::measure::{cpu, durable_files, median, row};
use tests::rivals::Rival;
use tests::{Authority, House, Imap, Setup, Smtp, smtp};

const LETTERS: usize = 600;
const CONNECTIONS: usize = 10;
const ROUNDS: usize = 3;

struct Server<'a> {
    smtp: SocketAddr,
    imaps: SocketAddr,
    authority: &'a Authority,
    name: String,
    password: String,
    pid: u32,
}

impl Server<'_> {
    fn count(&self) -> usize {
        let mut imap = Imap::connect_to(self.imaps, self.authority).unwrap();
        assert!(imap.ask(&format!("LOGIN {} {}", self.name, self.password)).unwrap().ok());
        let text = imap.ask("STATUS INBOX (MESSAGES)").unwrap().text();
        let number = text.split("MESSAGES ").nth(1).unwrap();
        number.split([')', ' ']).next().unwrap().parse().unwrap()
    }

    /// Visible letters a second and processor milliseconds a letter.
    fn deliver(&self) -> (f64, f64) {
        let before = self.count();
        let (letter, used, began) = (smtp::letter("bench", 20_000), cpu(self.pid), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut client = Smtp::connect(self.smtp).unwrap();
                    for _ in 0..LETTERS / CONNECTIONS {
                        let reply = client.send("aunt@example.org", &[&self.name], &letter).unwrap();
                        assert_eq!(reply.0, 250, "{reply:?}");
                    }
                });
            }
        });
        while self.count() < before + LETTERS {
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = began.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_millis(300));
        let letters = LETTERS as f64;
        (letters / took, (cpu(self.pid) - used) * 1000.0 / letters)
    }

    /// Median time from the end of DATA to its 250, one letter at a time.
    fn serial(&self) -> Duration {
        let mut client = Smtp::connect(self.smtp).unwrap();
        let text = smtp::letter("bench", 20_000).replace('\n', "\r\n");
        let mut times = Vec::new();
        for _ in 0..100 {
            assert_eq!(client.ask("MAIL FROM:<aunt@example.org>").unwrap().0, 250);
            assert_eq!(client.ask(&format!("RCPT TO:<{}>", self.name)).unwrap().0, 250);
            assert_eq!(client.ask("DATA").unwrap().0, 354);
            client.raw(text.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(10));
            let began = Instant::now();
            client.raw(b"\r\n.\r\n").unwrap();
            assert_eq!(client.reply().unwrap().0, 250);
            times.push(began.elapsed());
        }
        median(times)
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let rival = Rival::start(house.authority(), false);
    let you = house.you().clone();
    let ours = Server {
        smtp: house.address("smtp"),
        imaps: house.address("imaps"),
        authority: house.authority(),
        name: you.address,
        password: you.password,
        pid: house.pid(),
    };
    let theirs = Server {
        smtp: rival.smtp,
        imaps: rival.imaps,
        authority: house.authority(),
        name: "u1@home.test".into(),
        password: "pw".into(),
        pid: rival.pid(),
    };
    let _ = (ours.deliver(), theirs.deliver());
    let (mut rates, mut costs) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        for (server, rates, costs) in [(&ours, &mut rates.0, &mut costs.0), (&theirs, &mut rates.1, &mut costs.1)] {
            let (rate, cost) = server.deliver();
            rates.push(rate);
            costs.push(cost);
        }
    }
    println!("{:<52} {:>10} {:>10}", "", "Postern", "Postfix+DC");
    row("20 KB, 10 connections: visible letters a second", middle(rates.0), middle(rates.1), "/s", ">= 1.5x");
    row("the same: processor time a letter", middle(costs.0), middle(costs.1), "ms", "<= 0.8x");
    let (a, b, floor) = (ours.serial(), theirs.serial(), durable_files(house.data()));
    row(
        "serial, end of DATA to 250, median",
        a.as_secs_f64() * 1e3,
        b.as_secs_f64() * 1e3,
        "ms",
        "<= 2.3 ms (Postfix only queues)",
    );
    row(
        "the same, beside what the disk takes to keep one file",
        a.as_secs_f64() * 1e3,
        floor.as_secs_f64() * 1e3,
        "ms",
        "<= 3x + 1 ms",
    );
}
