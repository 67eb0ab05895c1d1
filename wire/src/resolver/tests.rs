use super::*;
use proptest::prelude::*;

fn query(name: &[&str]) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 16, 0, 1]);
    message
}

fn local<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

#[test]
fn what_is_forwarded() {
    assert!(Question::read(&query(&["example", "org"])).is_some());
    let mut answer = query(&["example", "org"]);
    answer[2] |= 0x80;
    assert_eq!(Question::read(&answer), None, "an answer");
    let mut two = query(&["example"]);
    two[5] = 2;
    assert_eq!(Question::read(&two), None, "two questions");
    let mut compressed = query(&["example"]);
    compressed[HEADER] = 0xc0;
    assert_eq!(Question::read(&compressed), None, "a pointer");
    assert_eq!(Question::read(&query(&["example"])[..20]), None, "cut short");
}

#[test]
fn without_upstreams_failure_at_once() {
    let question = Question::read(&query(&["example", "org"])).unwrap();
    let forwarder = Rc::new(Forwarder::new(Vec::new()));
    let answer = local(forwarder.answer(question.clone(), Transport::Udp));
    assert!(question.answered_by([0x12, 0x34], &answer));
    assert_eq!(answer[3] & 15, SERVER_FAILURE);
}

#[test]
fn only_the_answer_to_this_question_is_taken() {
    local(async {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = upstream.local_addr().unwrap();
        let serving = async {
            let mut buffer = [0; 512];
            let (length, from) = upstream.recv_from(&mut buffer).await.unwrap();
            let mut right = buffer[..length].to_vec();
            right[2] |= 0x80;
            let mut wrong_id = right.clone();
            wrong_id[0] ^= 1;
            let mut wrong_name = right.clone();
            wrong_name[HEADER + 1] ^= 1;
            for answer in [&wrong_id, &wrong_name, &buffer[..length].to_vec(), &right] {
                upstream.send_to(answer, from).await.unwrap();
            }
        };
        let forwarder = Rc::new(Forwarder::new(vec![at]));
        let question = Question::read(&query(&["example"])).unwrap();
        let (answer, ()) = tokio::join!(forwarder.answer(question, Transport::Udp), serving);
        assert_eq!(answer[..2], [0x12, 0x34]);
        assert_eq!(answer[3] & 15, 0);
        assert_eq!(answer[HEADER..], query(&["example"])[HEADER..]);
    });
}

/// An upstream that is deaf to names that begin with `slow`, counting what it is asked.
async fn upstream_deaf_to_slow() -> (SocketAddr, Rc<std::cell::Cell<usize>>) {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, asked) = (upstream.local_addr().unwrap(), Rc::new(std::cell::Cell::new(0)));
    let count = asked.clone();
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = upstream.recv_from(&mut buffer).await {
            count.set(count.get() + 1);
            if !buffer[HEADER + 1..length].starts_with(b"slow") {
                buffer[2] |= 0x80;
                let _ = upstream.send_to(&buffer[..length], from).await;
            }
        }
    });
    (at, asked)
}

async fn ask_for(forwarder: &Rc<Forwarder>, name: &str) -> u8 {
    let question = Question::read(&query(&[name])).unwrap();
    forwarder.answer(question, Transport::Udp).await[3] & 15
}

// A stranger may name any domain, also one whose servers are slow: the next question must still be asked.
#[test]
fn slow_names_make_no_deaf_house() {
    local(async {
        let (at, _) = upstream_deaf_to_slow().await;
        let forwarder = Rc::new(Forwarder::new(vec![at]));
        let slow = ["slow1", "slow2", "slow3", "slow4"].map(|name| {
            let forwarder = forwarder.clone();
            tokio::task::spawn_local(async move { ask_for(&forwarder, name).await })
        });
        for one in slow {
            assert_eq!(one.await.unwrap(), SERVER_FAILURE);
        }
        assert!(!forwarder.is_deaf(), "the root was answered");
        assert_eq!(ask_for(&forwarder, "quick").await, 0);
    });
}

#[test]
fn an_answer_meanwhile_takes_the_blame_off() {
    let forwarder = Forwarder::new(Vec::new());
    let question = |name: &str| Question::read(&query(&[name])).unwrap();
    let asked = Instant::now();
    assert!(!forwarder.several_unanswered(&question("a"), asked));
    assert!(!forwarder.several_unanswered(&question("A"), asked), "the same name");
    assert!(!forwarder.several_unanswered(&question("b"), asked));
    assert!(forwarder.several_unanswered(&question("c"), asked));
    *forwarder.silence.borrow_mut() = Silence { answered: Some(Instant::now()), ..Silence::default() };
    for name in ["a", "b", "c", "d"] {
        assert!(!forwarder.several_unanswered(&question(name), asked), "{name} was asked before the last answer");
    }
}

#[test]
fn a_house_without_answers_is_not_asked_each_time() {
    local(async {
        // Bound and then closed: the kernel refuses at once.
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let forwarder = Rc::new(Forwarder::new(vec![closed]));
        for name in ["one", "two", "two"] {
            assert_eq!(ask_for(&forwarder, name).await, SERVER_FAILURE);
            assert!(!forwarder.is_deaf(), "{name}");
        }
        ask_for(&forwarder, "three").await;
        assert!(forwarder.is_deaf());
        // The line is back: found out beside the letters, once the time has come.
        let back = UdpSocket::bind(closed).await.unwrap();
        let serving = tokio::task::spawn_local(async move {
            let mut buffer = [0; 512];
            let (length, from) = back.recv_from(&mut buffer).await.unwrap();
            buffer[2] |= 0x80;
            back.send_to(&buffer[..length], from).await.unwrap();
        });
        assert_eq!(ask_for(&forwarder, "one").await, SERVER_FAILURE);
        assert!(forwarder.is_deaf(), "not yet");
        let long_ago = Instant::now().checked_sub(BETWEEN_TRIES).unwrap();
        forwarder.silence.borrow_mut().deaf = Some(long_ago);
        assert_eq!(ask_for(&forwarder, "one").await, SERVER_FAILURE, "no letter waits for it");
        serving.await.unwrap();
        while forwarder.is_deaf() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn questions_over_tcp_are_framed() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let forwarder = Rc::new(Forwarder::new(Vec::new()));
        let serving = tokio::task::spawn_local(serve_tcp(forwarder, listener));
        let mut stream = TcpStream::connect(at).await.unwrap();
        for name in ["one", "two"] {
            write_framed(&mut stream, &query(&[name])).await.unwrap();
            let answer = read_framed(&mut stream).await.unwrap();
            assert_eq!(answer[3] & 15, SERVER_FAILURE);
        }
        serving.abort();
    });
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300), answer in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(question) = Question::read(&bytes) {
            let _ = question.answered_by([0, 0], &answer);
            let failure = question.failure();
            prop_assert!(question.answered_by(question.id(), &failure));
        }
    }
}

/// A lost datagram costs one short wait, and an empty answer without a time is asked for once.
#[test]
fn a_lost_datagram_and_a_timeless_nothing() {
    local(async {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = upstream.local_addr().unwrap();
        let asked = Rc::new(std::cell::Cell::new(0));
        let count = asked.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = upstream.recv_from(&mut buffer).await.unwrap();
                count.set(count.get() + 1);
                if count.get() > 1 {
                    let mut answer = buffer[..length].to_vec();
                    (answer[2], answer[3]) = (0x81, 0x83);
                    upstream.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let forwarder = Rc::new(Forwarder::new(vec![at]));
        for _ in 0..3 {
            let question = Question::read(&query(&["example"])).unwrap();
            let answer = forwarder.answer(question, Transport::Udp).await;
            assert_eq!(answer[3] & 15, 3);
        }
        assert_eq!(asked.get(), 2, "asked, asked again, and then known");
    });
}
