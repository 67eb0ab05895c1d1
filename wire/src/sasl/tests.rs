use super::*;
use proptest::prelude::*;

const SALT: [u8; 16] = [9; 16];

fn bound() -> ChannelBinding {
    ChannelBinding { exporter: Some([5; 32]), end_point: Some(vec![6; 32]) }
}

fn device(number: u32, password: &str) -> Verifier {
    let salted = scram::salted_password(password.as_bytes(), &SALT, 4_096);
    let client = scram::client_key(&salted);
    Verifier { device: number, stored_key: scram::stored_key(&client), server_key: scram::server_key(&salted) }
}

fn fields() -> Fields {
    Fields { attempt: 3, salt: SALT, iterations: 4_096, devices: vec![device(1, "wrong-one"), device(2, "right-one")] }
}

fn plain(response: &[u8]) -> (Sasl, Step) {
    let (mut sasl, step) = Sasl::start(Mechanism::Plain, Some(response), &bound());
    match step {
        Step::NeedFields { name } => {
            assert_eq!(name, "you@home.test");
            let step = sasl.fields(fields());
            (sasl, step)
        }
        other => (sasl, other),
    }
}

/// A SCRAM client, independent of the server's code but for HMAC.
fn scram_client(mechanism: Mechanism, header: &str, bytes: &[u8], password: &str) -> (Sasl, Step) {
    let bare = "n=you@home.test,r=clientnonce";
    let first = format!("{header}{bare}");
    let (mut sasl, step) = Sasl::start(mechanism, Some(first.as_bytes()), &bound());
    let Step::NeedFields { .. } = step else { return (sasl, step) };
    let Step::Challenge(server_first) = sasl.fields(fields()) else { panic!("no challenge") };
    let server_first = String::from_utf8(server_first).unwrap();
    let nonce = server_first.split(',').next().unwrap();
    let binding = [header.as_bytes(), bytes].concat();
    let without = format!("c={},{nonce}", crate::base64::encode(&binding));
    let salted = scram::salted_password(password.as_bytes(), &SALT, 4_096);
    let client = scram::client_key(&salted);
    let signature = scram::mac(&scram::stored_key(&client), format!("{bare},{server_first},{without}").as_bytes());
    let proof: Vec<u8> = client.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let last = format!("{without},p={}", crate::base64::encode(&proof));
    let step = sasl.respond(last.as_bytes());
    (sasl, step)
}

#[test]
fn plain_finds_the_device() {
    let (sasl, step) = plain(b"\0you@home.test\0right-one");
    let Step::Prove(proof) = step else { panic!("{step:?}") };
    assert_eq!((proof.attempt, proof.device), (3, 2));
    assert!(sasl.admitted().is_none());
}

#[test]
fn plain_as_typed_by_people() {
    for typed in ["RIGHT-ONE", " right-one", "Right -one"] {
        assert!(matches!(plain(format!("\0you@home.test\0{typed}").as_bytes()).1, Step::Prove(_)), "{typed}");
    }
}

#[test]
fn plain_refusals() {
    assert!(matches!(plain(b"\0you@home.test\0nope").1, Step::Fail(Failure::Refused)));
    assert!(matches!(plain(b"other\0you@home.test\0right-one").1, Step::Fail(Failure::Refused)));
    for malformed in [&b""[..], b"\0", b"\0you@home.test", b"\0you@home.test\0", b"\0\0x", b"a\0b\0c\0d", b"\0\xff\0x"]
    {
        assert!(matches!(plain(malformed).1, Step::Fail(Failure::Malformed)), "{malformed:?}");
    }
}

#[test]
fn login_asks_twice() {
    let (mut sasl, step) = Sasl::start(Mechanism::Login, None, &bound());
    assert!(matches!(step, Step::Challenge(text) if text == b"Username:"));
    assert!(matches!(sasl.respond(b"you@home.test"), Step::Challenge(text) if text == b"Password:"));
    assert!(matches!(sasl.respond(b"right-one"), Step::NeedFields { .. }));
    assert!(matches!(sasl.fields(fields()), Step::Prove(_)));
}

#[test]
fn scram_proves_both_sides_with_the_same_keys_as_plain() {
    let (sasl, step) = scram_client(Mechanism::ScramSha256, "n,,", b"", "right-one");
    let Step::Prove(by_scram) = step else { panic!("{step:?}") };
    let Step::Prove(by_plain) = plain(b"\0you@home.test\0right-one").1 else { panic!() };
    assert_eq!(by_scram.check, by_plain.check);
    assert_eq!(by_scram.wrap, by_plain.wrap);
    assert!(sasl.admitted().is_some_and(|last| last.starts_with(b"v=")));
}

#[test]
fn scram_refuses_what_is_not_proved_or_not_bound() {
    let refused = |step: &Step| matches!(step, Step::Fail(_));
    assert!(refused(&scram_client(Mechanism::ScramSha256, "n,,", b"", "nope").1));
    assert!(
        refused(&scram_client(Mechanism::ScramSha256, "y,,", b"", "right-one").1),
        "-PLUS was removed from the list"
    );
    assert!(refused(&scram_client(Mechanism::ScramSha256, "p=tls-exporter,,", &[5; 32], "right-one").1));
    assert!(refused(&scram_client(Mechanism::ScramSha256Plus, "n,,", b"", "right-one").1));
    assert!(refused(&scram_client(Mechanism::ScramSha256Plus, "p=tls-unique,,", &[5; 32], "right-one").1));
    assert!(
        refused(&scram_client(Mechanism::ScramSha256Plus, "p=tls-exporter,,", &[4; 32], "right-one").1),
        "another connection's"
    );
    let for_another = scram_client(Mechanism::ScramSha256, "n,a=other,", b"", "right-one").1;
    assert!(matches!(for_another, Step::Fail(Failure::Refused)), "a form like any other");
}

#[test]
fn scram_plus_with_either_binding() {
    for (header, bytes) in [("p=tls-exporter,,", [5; 32]), ("p=tls-server-end-point,,", [6; 32])] {
        assert!(matches!(scram_client(Mechanism::ScramSha256Plus, header, &bytes, "right-one").1, Step::Prove(_)));
    }
}

#[test]
fn without_tls_1_3_there_is_no_plus() {
    let none = ChannelBinding::default();
    assert!(!Mechanism::offered(&none).contains(&Mechanism::ScramSha256Plus));
    assert!(matches!(Sasl::start(Mechanism::ScramSha256Plus, None, &none).1, Step::Fail(_)));
}

#[test]
fn a_device_password_is_taken_as_people_type_it() {
    let printed = "kzmtb-qwvns-abcde-fghjk-mnpqr";
    for typed in ["kzmtbqwvnsabcdefghjkmnpqr", "KZMTB QWVNS ABCDE FGHJK MNPQR", "kzmtb-qwvns-abcdefghjkmnpqr", printed]
    {
        assert_eq!(*canonical(typed.as_bytes()), printed.as_bytes(), "{typed}");
    }
    assert_eq!(*canonical(b"Right -One"), b"right-one");
    assert_eq!(*canonical(b"kzmtb_qwvns_abcdefghjkmnpqr"), b"kzmtb_qwvns_abcdefghjkmnpqr");
}

#[test]
fn what_is_left_out_is_not_offered() {
    let offer = Offer::without(vec![Mechanism::ScramSha256Plus, Mechanism::Login]);
    let binding = offer.binding(bound());
    assert_eq!(offer.on(&binding).collect::<Vec<_>>(), [Mechanism::ScramSha256, Mechanism::Plain]);
    // A client that could bind is not told that it was cheated.
    let first = Some(&b"y,,n=you@home.test,r=clientnonce"[..]);
    assert!(matches!(Sasl::start(Mechanism::ScramSha256, first, &binding).1, Step::NeedFields { .. }));
    assert!(matches!(Sasl::start(Mechanism::ScramSha256, first, &bound()).1, Step::Fail(_)));
    let all = Offer::default();
    assert_eq!(all.on(&all.binding(bound())).count(), 4);
}

proptest! {
    #[test]
    fn any_responses_are_taken(which in 0usize..4, responses in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4)) {
        let mechanism = [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus][which];
        let (mut sasl, mut step) = Sasl::start(mechanism, Some(&responses[0]), &bound());
        for response in &responses[1..] {
            step = match step {
                Step::NeedFields { .. } => sasl.fields(Fields { devices: Vec::new(), ..fields() }),
                _ => sasl.respond(response),
            };
        }
        prop_assert!(!matches!(step, Step::Prove(_)));
    }
}
