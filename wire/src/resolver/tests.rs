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
    let answer = local(Forwarder::new(Vec::new()).answer(question.clone(), Transport::Udp));
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
        let forwarder = Forwarder::new(vec![at]);
        let question = Question::read(&query(&["example"])).unwrap();
        let (answer, ()) = tokio::join!(forwarder.answer(question, Transport::Udp), serving);
        assert_eq!(answer[..2], [0x12, 0x34]);
        assert_eq!(answer[3] & 15, 0);
        assert_eq!(answer[HEADER..], query(&["example"])[HEADER..]);
    });
}

#[test]
fn a_house_without_answers_is_not_asked_each_time() {
    local(async {
        // Bound and then closed: the kernel refuses at once.
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let forwarder = Forwarder::new(vec![closed]);
        let question = Question::read(&query(&["example"])).unwrap();
        assert!(!forwarder.is_deaf());
        forwarder.answer(question, Transport::Udp).await;
        assert!(forwarder.is_deaf());
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
