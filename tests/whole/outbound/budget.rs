//! A spam run stops within its budget, and no restart gives anything back.

use std::time::{Duration, Instant};

use relay_link::outbound::Refusal;
use tests::outbound::{Session, Stranger};
use tests::proxies::eventually;

use crate::place::Place;

/// Recipients of one letter of the run.
const FLIGHT: usize = 50;

pub fn a_spam_run_stops_within_its_budget() {
    let mut place = Place::new();
    let far = place.far("postfix", 0, "far.test");
    let mut home =
        Stranger::pair(&place.proxy.invite("alice", &["--hourly", "60", "--burst", "100", "--empty", "200"]));
    let bucket = home.budget().bucket;
    assert_eq!(bucket, 750, "half of it for a new home");
    let to: Vec<String> = (0..FLIGHT).map(|number| format!("ben+{number}@far.test")).collect();
    let mut delivered = 0;
    let why = loop {
        let stream = match home.connect("mx.far.test") {
            Ok(stream) => stream,
            Err(Refusal::Concurrent) => continue,
            Err(why) => break why,
        };
        // Once the bucket is dry, whoever has a session waits in it: five seconds are enough for one that may go on.
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sent = Session::open(stream, "mx.far.test", &place.certificate)
            .and_then(|mut session| session.send(&to, true, "buy-this-phrase").map(|()| session));
        delivered += if sent.is_ok() { FLIGHT } else { 0 };
        assert!(delivered < 5_000, "no end");
    };
    assert!(matches!(why, Refusal::Spent(seconds) if seconds > 0), "{why}");
    // A bucket, and the last flight of replies of a session that had begun.
    assert!((300..=usize::try_from(bucket).unwrap() + FLIGHT).contains(&delivered), "{delivered} recipients");
    let arrived = far.mail("ben").matches("Subject: buy-this-phrase").count();
    assert!(arrived <= delivered + FLIGHT, "{arrived} copies");
    // The last session's replies come for a moment after its end.
    let (mut before, mut spent) = (0, place.proxy.status("alice", "today"));
    while spent != before {
        std::thread::sleep(Duration::from_secs(1));
        (before, spent) = (spent, place.proxy.status("alice", "today"));
    }
    place.proxy.kill();
    place.proxy.start_again();
    assert_eq!(place.proxy.status("alice", "today"), spent, "kill -9 gives nothing back");
    let until = Instant::now() + Duration::from_secs(300);
    // The home's link dials again by itself.
    loop {
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| home.connect("mx.far.test")));
        match again {
            Ok(answer) => {
                assert!(matches!(answer, Err(Refusal::Spent(_))), "{answer:?}");
                break;
            }
            Err(_) => assert!(Instant::now() < until, "the link never came back"),
        }
    }
    assert!(!place.proxy.log().contains("far.test"), "with whom is nobody's business: {}", place.proxy.log());
}

/// The same in one write, and the connection is reset before anything of it is answered.
pub fn nor_is_a_run_cheaper_that_hears_no_reply() {
    let place = Place::new();
    let far = place.far("postfix", 0, "far.test");
    let mut home =
        Stranger::pair(&place.proxy.invite("alice", &["--bucket", "400", "--hourly", "1", "--burst", "100"]));
    let bucket = home.budget().bucket;
    let recipients: String = (0..100).map(|number| format!("RCPT TO:<ben+{number}@far.test>\r\n")).collect();
    let text = "Subject: hear-nothing\r\n\r\nbuy\r\n";
    let run = format!("MAIL FROM:<you@home.test>\r\n{recipients}BDAT {} LAST\r\n{text}", text.len());
    for round in 0.. {
        let stream = match home.connect("mx.far.test") {
            Ok(stream) => stream,
            Err(Refusal::Concurrent) => continue,
            Err(why) => {
                assert!(matches!(why, Refusal::Spent(_)), "{why}");
                break;
            }
        };
        assert!(round < 10, "no end");
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let socket = stream.try_clone().unwrap();
        if let Ok(mut session) = Session::open(stream, "mx.far.test", &place.certificate) {
            session.say(&run).unwrap();
            rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
        }
        drop(socket);
        eventually("it is over", || place.proxy.metric("sessions_running") == 0);
    }
    let spent = home.budget().today.0;
    let arrived = || far.mail("ben").matches("Subject: hear-nothing").count() as u64;
    eventually("they arrive", || arrived() >= 100);
    std::thread::sleep(Duration::from_secs(5));
    assert!(arrived() <= spent && spent <= bucket + 150, "{} recipients for {spent} units", arrived());
}

/// Every server is silent while it reads a body; what follows at once has gone before its reply comes.
pub fn a_body_first_is_of_no_use() {
    let place = Place::new();
    let _far = place.far("postfix", 0, "far.test");
    let mut home = Stranger::pair(&place.proxy.invite("alice", &["--hourly", "60"]));
    let before = home.budget();
    let stream = home.connect("mx.far.test").unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut session = Session::open(stream, "mx.far.test", &place.certificate).unwrap();
    for (command, good) in [("MAIL FROM:<you@home.test>", "2"), ("RCPT TO:<ben@far.test>", "2"), ("DATA", "3")] {
        session.ask(command, good).unwrap();
    }
    session.say(&"a line of a letter that is long, to nobody's harm\r\n".repeat(100_000)).unwrap();
    // A hundred letters' worth, and no reply is waited for.
    let recipients = (0..200).map(|number| format!("RCPT TO:<ben+{number}@far.test>\r\n")).collect::<String>();
    let spam = format!("MAIL FROM:<you@home.test>\r\n{recipients}RSET\r\n").repeat(100);
    let _ = session.say(&format!(".\r\n{spam}"));
    let (mut spent, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(300));
        let now = home.budget().today.0;
        if now != spent {
            (spent, since) = (now, Instant::now());
        }
    }
    println!("{spent} units for 20,000 recipients behind 5 MB; the bucket has {}", before.bucket);
    assert!(spent >= before.bucket / 2, "{spent}");
    // Two and a half, and what a neighbour's TCP grants without saying so.
    assert!(spent <= 6 * before.bucket, "{spent}");
    assert!(home.budget().megabytes.0 >= 4, "{:?}", home.budget());
}

pub fn a_session_is_slowed_and_not_cut() {
    let place = Place::new();
    let far = place.far("postfix", 0, "far.test");
    // 40 units at once, two in a second.
    let mut home = Stranger::pair(&place.proxy.invite("alice", &["--bucket", "80", "--hourly", "14400"]));
    let mut session = Session::open(home.connect("mx.far.test").unwrap(), "mx.far.test", &place.certificate).unwrap();
    let began = Instant::now();
    let to: Vec<String> = (0..60).map(|number| format!("ben+{number}@far.test")).collect();
    session.send(&to, true, "slowly-phrase").unwrap();
    session.ask("QUIT", "2").unwrap();
    // 14 octets each, and 88 beside them, less what there was.
    assert!(began.elapsed() >= Duration::from_secs(18), "{:?}", began.elapsed());
    // Postfix files it after its 250.
    eventually("it is filed", || far.mail("ben").contains("slowly-phrase"));
}
