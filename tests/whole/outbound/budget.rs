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
