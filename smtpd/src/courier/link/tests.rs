//! Letters over real streams in memory: what a far server may do, and what its words then mean.

use super::*;
use crate::courier::pieces::Text;
use crate::courier::session::{Recipient, Tls};
use crate::courier::tls_rule::Rule;
use crate::courier::verifier;
use crate::session::path::Address;
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, DuplexStream};

fn handshake() -> Handshake {
    let config = verifier::config(Rule::Encrypted, "far.test", Arc::new(RootCertStore::empty())).unwrap();
    Handshake { config: Arc::new(config), host: "mx.far.test".into() }
}

fn rules(tls: Tls) -> Rules {
    Rules { hello: "mx.home.test".into(), far: "mx.far.test".into(), tls, proves: false }
}

fn letter(size: u64) -> Letter {
    let address = |text: &str| Address::parse(text.as_bytes()).unwrap();
    Letter {
        sender: Some(address("anna@home.test")),
        recipients: vec![Recipient { address: address("ben@far.test"), notify: None, original: None }],
        size,
        eight_bit: false,
        international: false,
        require_tls: false,
        ret: None,
        envelope_id: None,
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// A far server that answers each line it waits for; what it read of letters.
async fn far<T: AsyncRead + AsyncWrite + Unpin>(stream: T, talk: &[(&str, &str)]) -> Vec<u8> {
    let mut lines = Lines::new(stream);
    let mut text = Vec::new();
    for (expected, answer) in talk {
        if let Some(count) = expected.strip_prefix("bytes ") {
            let count: usize = count.parse().unwrap();
            while lines.buffered().len() < count {
                assert_ne!(lines.fill().await.unwrap(), 0);
            }
            text.extend_from_slice(&lines.buffered()[..count]);
            lines.consume(count);
        } else {
            while !expected.is_empty() {
                let Line::Whole(line) = lines.next(1_000_000).await.unwrap() else { return text };
                if *expected == "text" {
                    text.extend_from_slice(&line);
                    text.extend_from_slice(b"\n");
                    if line == b"." {
                        break;
                    }
                } else {
                    assert!(String::from_utf8_lossy(&line).starts_with(expected), "{expected}: {line:?}");
                    break;
                }
            }
        }
        lines.stream_mut().write_all(answer.as_bytes()).await.unwrap();
    }
    text
}

fn here(bytes: &[u8]) -> Pieces<'_> {
    Pieces::new(&[], Text::Here(bytes))
}

fn pair() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(100_000)
}

#[test]
fn a_letter_in_clear_where_that_is_allowed() {
    run(async {
        let (ours, theirs) = pair();
        let talk = [
            ("", "220 hi\r\n"),
            ("EHLO mx.home.test", "250 mx.far.test\r\n"),
            ("MAIL FROM:<anna@home.test>", "250 ok\r\n"),
            ("RCPT TO:<ben@far.test>", "250 ok\r\n"),
            ("DATA", "354 go\r\n"),
            ("text", "250 2.0.0 taken\r\n"),
            ("QUIT", "221 bye\r\n"),
        ];
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::IfOffered), handshake()).await.unwrap();
            let fates = link.send(letter(10), Pieces::new(b"A: b\r\n", Text::Here(b"\r\n.c\r\n")), &Alone).await;
            assert!(matches!(&fates[..], [Fate::Delivered(why)] if why.words == "2.0.0 taken"), "{fates:?}");
            assert!(link.is_ready());
            link.close().await;
        };
        let (text, ()) = tokio::join!(far(theirs, &talk), sending);
        assert_eq!(text, b"A: b\n\n..c\n.\n");
    });
}

#[test]
fn a_letter_over_tls_in_one_chunk() {
    run(async {
        let made = rcgen::generate_simple_self_signed(vec!["mx.far.test".into()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let server = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
        let (ours, mut theirs) = pair();
        let big = vec![b'x'; 300_000];
        let serving = async {
            theirs.write_all(b"220 hi\r\n").await.unwrap();
            // What a man in the middle would add behind the answer to STARTTLS must be forgotten.
            for answer in ["250-mx\r\n250 STARTTLS\r\n", "220 go\r\n250 injected\r\n"] {
                let mut byte = [0];
                while byte != *b"\n" {
                    theirs.read_exact(&mut byte).await.unwrap();
                }
                theirs.write_all(answer.as_bytes()).await.unwrap();
            }
            let stream = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(theirs).await.unwrap();
            let talk = [
                ("EHLO", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("BDAT 300000 LAST", ""),
                ("bytes 300000", "250 taken\r\n"),
                ("QUIT", "221 bye\r\n"),
            ];
            far(stream, &talk).await
        };
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::Required), handshake()).await.unwrap();
            assert!(link.extensions().chunking);
            let fates = link.send(letter(300_000), here(&big), &Alone).await;
            assert!(matches!(&fates[..], [Fate::Delivered(_)]), "{fates:?}");
            link.close().await;
        };
        let (text, ()) = tokio::join!(serving, sending);
        assert_eq!(text, big);
    });
}

#[test]
fn a_server_that_goes_away_or_has_no_tls() {
    run(async {
        let (ours, theirs) = pair();
        let opening = Link::open(ours, rules(Tls::Required), handshake());
        let talk = [("", "220 hi\r\n"), ("EHLO", "250 mx\r\n")];
        let (_, opened) = tokio::join!(far(theirs, &talk), opening);
        assert_eq!(opened.unwrap_err().status, Status::new(4, 7, 4));
        let (ours, theirs) = pair();
        let talk = [("", "220 hi\r\n"), ("EHLO", "250 mx\r\n"), ("MAIL", "250 ok\r\n"), ("RCPT", "")];
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            let fates = link.send(letter(10), here(b"x"), &Alone).await;
            assert!(matches!(&fates[..], [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{fates:?}");
            assert!(!link.is_ready());
            link.close().await;
        };
        tokio::join!(far(theirs, &talk), sending);
    });
}

#[test]
fn a_refusal_in_the_middle_of_the_letter_is_heard() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(1_000);
        let talk = [
            ("", "220 hi\r\n"),
            ("EHLO", "250-mx\r\n250 CHUNKING\r\n"),
            ("MAIL", "250 ok\r\n"),
            ("RCPT", "250 ok\r\n"),
            ("BDAT", "552-5.3.4 far\r\n552 5.3.4 too large\r\n"),
        ];
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            let fates = link.send(letter(500_000), here(&[b'x'; 500_000]), &Alone).await;
            assert!(matches!(&fates[..], [Fate::Failed(why)] if why.words == "5.3.4 far too large"), "{fates:?}");
            link.close().await;
        };
        tokio::join!(far(theirs, &talk), sending);
    });
}

/// A session with one letter, whose text has that answer.
const fn answered(answer: &str) -> [(&str, &str); 6] {
    [
        ("", "220 hi\r\n"),
        ("EHLO", "250 mx\r\n"),
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
        ("text", answer),
    ]
}

#[test]
fn a_yes_after_the_letter_is_one_however_it_is_written() {
    let long = format!("250 2.0.0 taken {}\r\n", "x".repeat(3_000));
    let odd = ["250 2.0.0 taken\n", "250 2.0.0 taken", "250-2.0.0 taken\n250 b\r\n", "\r\n250 2.0.0 taken\r\n", &long];
    for (answer, is_good) in odd.into_iter().map(|odd| (odd, false)).chain([("250 2.0.0 taken\r\n", true)]) {
        run(async {
            let (ours, theirs) = pair();
            let talk = answered(answer);
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                let fates = link.send(letter(1), here(b"x\r\n"), &Alone).await;
                assert!(
                    matches!(&fates[..], [Fate::Delivered(why)] if why.words.contains("2.0.0 taken")),
                    "{answer:?}: {fates:?}"
                );
                assert_eq!(link.is_ready(), is_good, "{answer:?}: nobody knows how to read what follows");
            };
            tokio::join!(far(theirs, &talk), sending);
        });
    }
}

#[test]
fn before_the_letters_end_lines_end_as_they_must() {
    for (rcpt, go) in [("250 ok\n250 ok\r\n", ""), ("250 ok\r\n", "354 go\n")] {
        run(async {
            let (ours, theirs) = pair();
            let talk =
                [("", "220 hi\r\n"), ("EHLO", "250 mx\r\n"), ("MAIL", "250 ok\r\n"), ("RCPT", rcpt), ("DATA", go)];
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                let fates = link.send(letter(1), here(b"x\r\n"), &Alone).await;
                assert!(matches!(&fates[..], [Fate::Deferred(_)]), "{rcpt:?} {go:?}: {fates:?}");
                assert!(link.is_lost_unbegun(), "nothing of it went out");
            };
            tokio::join!(far(theirs, &talk), sending);
        });
    }
}

#[test]
fn a_yes_too_many_is_not_the_letters() {
    for last in [("DATA", "354 go\r\n"), ("BDAT", "")] {
        run(async {
            let (ours, theirs) = pair();
            let chunking = last.0 == "BDAT";
            let talk = [
                ("", "220 hi\r\n"),
                ("EHLO", if chunking { "250-mx\r\n250 CHUNKING\r\n" } else { "250 mx\r\n" }),
                ("MAIL", "250 ok\r\n"),
                ("RCPT", if chunking { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n" }),
                (last.0, if chunking { "" } else { "354 go\r\n250 ok\r\n" }),
            ];
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                let fates = link.send(letter(3), here(b"x\r\n"), &Alone).await;
                assert!(matches!(&fates[..], [Fate::Deferred(_)]), "{fates:?}");
                assert!(!link.is_ready());
            };
            // With BDAT nothing is written at all, so that its far side ends with the stream.
            let serving = async { if chunking { far(theirs, &talk[..4]).await } else { far(theirs, &talk).await } };
            tokio::join!(serving, sending);
        });
    }
}

#[test]
fn who_speaks_unasked_between_two_letters_gets_no_more() {
    run(async {
        let (ours, theirs) = pair();
        let talk = answered("250 taken\r\n250 and more\r\n");
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            assert!(matches!(&link.send(letter(3), here(b"x\r\n"), &Alone).await[..], [Fate::Delivered(_)]));
            link.shrink();
            assert_eq!(link.unwritten.capacity(), 0, "nothing is held meanwhile");
            assert!(!link.is_lost_unbegun());
            let fates = link.send(letter(3), here(b"x\r\n"), &Alone).await;
            assert!(matches!(&fates[..], [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{fates:?}");
            assert!(link.is_lost_unbegun());
        };
        tokio::join!(far(theirs, &talk), sending);
    });
}

/// A server that says one thing again and again, each time just in time.
async fn drip(mut stream: DuplexStream, first: Vec<&str>, again: &str) {
    for answer in first {
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while stream.write_all(again.as_bytes()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn patience_is_for_a_reply_and_for_a_letter_as_a_whole() {
    let short = Duration::from_millis(300);
    run(async {
        let (ours, theirs) = pair();
        tokio::spawn(drip(theirs, vec!["220 hi\r\n", "250 mx\r\n"], "250 ok\r\n"));
        let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
        let mut letter = letter(3);
        letter.recipients = vec![letter.recipients[0].clone(); 300];
        let begun = Instant::now();
        let came = link.run(Some(Event::Letter(letter)), &mut here(b"x\r\n"), short, &Alone).await;
        let fates = came.fates.unwrap();
        assert!(fates.iter().all(|fate| matches!(fate, Fate::Deferred(_))) && fates.len() == 300);
        // Three hundred replies, each just in time, would take fifteen seconds.
        assert!((short..short * 30).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    });
    run(async {
        let (ours, theirs) = pair();
        let talk = vec!["220 hi\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
        tokio::spawn(drip(theirs, talk, "250-more\r\n"));
        let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
        // The answer to a whole letter: as long as the RFC says, but not for each of its lines.
        let until = Link::<DuplexStream>::until(limits::END_OF_DATA, Instant::now() + short);
        assert!(until > Instant::now() + limits::END_OF_DATA - short);
        assert!(Link::<DuplexStream>::until(limits::COMMAND, Instant::now() + short) < Instant::now() + short);
        let fates = link.send(letter(3), here(b"x\r\n"), &Alone).await;
        assert!(
            matches!(&fates[..], [Fate::Delivered(_)]),
            "a yes without end is one, and is waited for no longer: {fates:?}"
        );
    });
}

/// Others wait from when that is said; whether it has stood aside.
#[derive(Default)]
struct Others {
    wait: tokio::sync::watch::Sender<bool>,
    aside: std::sync::atomic::AtomicBool,
    kept_back: bool,
}

impl Around for Others {
    async fn may_begin(&self) -> bool {
        !self.kept_back
    }
    async fn has_had_its_time(&self) {
        let _ = self.wait.subscribe().wait_for(|wait| *wait).await;
    }
    async fn stands_aside(&self) -> std::convert::Infallible {
        self.has_had_its_time().await;
        self.aside.store(true, std::sync::atomic::Ordering::Relaxed);
        std::future::pending().await
    }
}

impl Others {
    fn is_aside(&self) -> bool {
        self.aside.load(std::sync::atomic::Ordering::Relaxed)
    }
}

const READY: [(&str, &str); 2] = [("", "220 hi\r\n"), ("EHLO", "250 mx\r\n")];

#[test]
fn who_lets_a_command_wait_makes_room_for_others() {
    for hangs_at in ["MAIL", "RCPT", "DATA"] {
        run(async {
            let (ours, theirs) = pair();
            let others = Others::default();
            let mut talk = READY.to_vec();
            for (command, answer) in [("MAIL", "250 ok\r\n"), ("RCPT", "250 ok\r\n"), ("DATA", "354 go\r\n")] {
                talk.push((command, if command == hangs_at { "" } else { answer }));
                if command == hangs_at {
                    break;
                }
            }
            let serving = async {
                let mut theirs = theirs;
                far(&mut theirs, &talk).await;
                others.wait.send_replace(true);
                theirs
            };
            let sending = async {
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                let fates = link.send(letter(3), here(b"x\r\n"), &others).await;
                assert!(matches!(&fates[..], [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{fates:?}");
                assert!(!link.is_ready() && !others.is_aside());
            };
            let both = timeout(Duration::from_secs(60), async { tokio::join!(serving, sending) });
            both.await.expect("it waits for what never comes, and others for it");
        });
    }
}

#[test]
fn who_takes_nothing_of_a_letter_makes_room_for_others() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1_000);
        let others = Others::default();
        let mut talk = READY.to_vec();
        talk.extend([("MAIL", "250 ok\r\n"), ("RCPT", "250 ok\r\n"), ("DATA", "354 go\r\n")]);
        let serving = async {
            far(&mut theirs, &talk).await;
            others.wait.send_replace(true);
        };
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            let fates = link.send(letter(100_000), here(&[b'x'; 100_000]), &others).await;
            assert!(matches!(&fates[..], [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{fates:?}");
            assert!(!others.is_aside());
        };
        let both = timeout(Duration::from_secs(60), async { tokio::join!(serving, sending) });
        both.await.expect("it waits for who reads nothing, and others for it");
    });
}

#[test]
fn a_whole_letter_is_waited_for_whoever_waits() {
    run(async {
        let (ours, theirs) = pair();
        let others = Others::default();
        let mut talk = READY.to_vec();
        talk.extend([("MAIL", "250 ok\r\n"), ("RCPT", "250 ok\r\n"), ("DATA", "354 go\r\n"), ("text", "")]);
        let serving = async {
            let mut theirs = theirs;
            far(&mut theirs, &talk).await;
            others.wait.send_replace(true);
            while !others.is_aside() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            theirs.write_all(b"250 taken\r\n").await.unwrap();
            theirs
        };
        let sending = async {
            let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
            let fates = link.send(letter(3), here(b"x\r\n"), &others).await;
            assert!(matches!(&fates[..], [Fate::Delivered(_)]), "a second time otherwise: {fates:?}");
        };
        let both = timeout(Duration::from_secs(60), async { tokio::join!(serving, sending) });
        both.await.expect("it does not stand aside");
    });
}

#[test]
fn what_is_kept_back_at_the_last_moment_does_not_go_out() {
    for chunking in [false, true] {
        run(async {
            let (ours, theirs) = pair();
            let talk = [
                ("", "220 hi\r\n"),
                ("EHLO", if chunking { "250-mx\r\n250 CHUNKING\r\n" } else { "250 mx\r\n" }),
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("DATA", "354 go\r\n"),
                ("text", "250 taken\r\n"),
            ];
            let sending = async {
                let others = Others { kept_back: true, ..Others::default() };
                let mut link = Link::open(ours, rules(Tls::Without), handshake()).await.unwrap();
                link.send(letter(3), here(b"x\r\n"), &others).await;
                assert!(link.is_called_back());
                link.close().await;
            };
            let talk = if chunking { &talk[..4] } else { &talk[..] };
            let (text, ()) = tokio::join!(far(theirs, talk), sending);
            assert!(text.is_empty(), "{}", String::from_utf8_lossy(&text));
        });
    }
}

#[test]
fn a_handshake_that_is_none() {
    run(async {
        let (ours, theirs) = pair();
        let talk = [
            ("", "220 hi\r\n"),
            ("EHLO", "250-mx\r\n250 STARTTLS\r\n"),
            ("STARTTLS", "220 go\r\n"),
            ("", "rubbish rubbish rubbish\r\n"),
        ];
        let opening = Link::open(ours, rules(Tls::Required), handshake());
        let (_, opened) = tokio::join!(far(theirs, &talk), opening);
        assert_eq!(opened.unwrap_err().status, Status::new(4, 7, 5));
    });
}

#[test]
fn what_went_wrong_in_words() {
    let said = |error: rustls::Error| in_words(&io::Error::new(io::ErrorKind::InvalidData, error));
    let certificate = |why| said(rustls::Error::InvalidCertificate(why));
    let name = ServerName::try_from("mx.far.test").unwrap().to_owned();
    let other = CertificateError::NotValidForNameContext { expected: name, presented: vec!["DnsName(x)".into()] };
    assert_eq!(certificate(other), "its certificate is that of another name");
    assert_eq!(certificate(CertificateError::Expired), "its certificate has expired");
    assert_eq!(
        certificate(CertificateError::UnknownIssuer),
        "its certificate comes from no authority that is known here"
    );
    assert!(certificate(CertificateError::Revoked).contains("not to be trusted"));
    assert!(said(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)).contains("no longer safe"));
    assert_eq!(in_words(&io::Error::from_raw_os_error(104)), "connection reset", "no numbers");
}
