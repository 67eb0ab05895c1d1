//! What the features and the first scorer make of letters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use filter_sandbox::{
    letter,
    report::{Facts, Feature},
    score::{Authentication, Outcome, Policy, Score, THRESHOLD, Verdict, score},
};
use proptest::{collection::vec, prelude::*};

fn features(message: &[u8]) -> Vec<Feature> {
    letter::examine(message, &Facts { sender_domain: "example.org".into(), script: Vec::new() }).unwrap().features
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/letters/{name}.eml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn scored(name: &str, authentication: Authentication) -> Score {
    score(&features(&sample(name)), &authentication)
}

fn all(outcome: Outcome, policy: Policy) -> Authentication {
    Authentication { spf: outcome, dkim: outcome, dmarc: outcome, policy, arc: Outcome::None, iprev: outcome }
}

fn has(features: &[Feature], name: &str) -> bool {
    features.iter().any(|feature| feature.name == name)
}

#[test]
fn ordinary_mail_goes_to_the_inbox() {
    for name in ["plain", "alternative", "nested", "forwarded", "digest", "eight-bit", "dots"] {
        for authentication in
            [Authentication::default(), all(Outcome::Pass, Policy::Reject), all(Outcome::TempError, Policy::Reject)]
        {
            let score = scored(name, authentication);
            assert_eq!(score.verdict, Verdict::Inbox, "{name}: {score:?}");
            assert!(score.points < 1.0, "{name}: {score:?}");
        }
    }
    let plain = scored("plain", Authentication::default());
    assert!(plain.points == 0.0 && plain.reasons.is_empty());
}

#[test]
fn gtube_alone_is_junk() {
    let best = Authentication { arc: Outcome::Pass, ..all(Outcome::Pass, Policy::Reject) };
    assert_eq!(scored("gtube", best).verdict, Verdict::Junk);
    let encoded = "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-\
        ANTI=2DUBE-TEST=\r\n-EMAIL*C.34X\r\n";
    assert!(has(&features(encoded.as_bytes()), "GTUBE"));
}

#[test]
fn phishing_is_junk_and_says_why() {
    let found = features(&sample("phishing"));
    let expected = [
        "URL_IP_LITERAL",
        "URL_MISMATCH",
        "URL_USER_INFO",
        "URL_PORT",
        "URL_SHORTENER",
        "URL_PUNYCODE",
        "HTML_FORM",
        "HTML_SCRIPT",
        "HTML_HIDDEN",
        "FROM_NAME_ADDRESS",
        "SUBJECT_SHOUTING",
        "FILE_PROGRAM",
        "FILE_DOUBLE_EXTENSION",
        "FILE_MACROS",
        "MISSING_DATE",
        "MISSING_MESSAGE_ID",
        "REPLY_TO_DIFFERS",
        "HTML_ONLY",
        "SENDER_DIFFERS",
    ];
    for name in expected {
        assert!(has(&found, name), "{name}");
    }
    let score = score(&found, &all(Outcome::Pass, Policy::None));
    assert!(score.verdict == Verdict::Junk && score.reasons.iter().any(|(reason, _)| *reason == "URL_MISMATCH"));
}

#[test]
fn authentication_counts() {
    let verdict = |authentication| scored("plain", authentication).verdict;
    assert_eq!(verdict(all(Outcome::Fail, Policy::Quarantine)), Verdict::Junk);
    assert_eq!(
        verdict(Authentication { dmarc: Outcome::Fail, policy: Policy::Quarantine, ..Default::default() }),
        Verdict::Junk
    );
    let forwarded = Authentication { arc: Outcome::Pass, ..all(Outcome::Fail, Policy::Quarantine) };
    assert_eq!(verdict(forwarded), Verdict::Inbox);
    assert_eq!(verdict(all(Outcome::Fail, Policy::None)), Verdict::Inbox);
    assert_eq!(verdict(Authentication { spf: Outcome::Fail, ..Default::default() }), Verdict::Inbox);
}

#[test]
fn links_are_read_as_a_browser_would() {
    let page = |html: &str| features(format!("Content-Type: text/html\r\n\r\n{html}").as_bytes());
    let same =
        page("<a href=https://www.shop.example/x>shop.example</a> <a href='https://a.example/'>Read <b>more</b></a>");
    assert!(!has(&same, "URL_MISMATCH") && has(&same, "URLS"));
    assert!(has(&page("<A HREF = \"https://evil.example\"><b>https://bank.example</b></A>"), "URL_MISMATCH"));
    assert!(!has(&page("<!-- <a href='http://1.2.3.4'>x</a> --> 1 < 2 &amp; more"), "URLS"));
    assert!(has(&page("<a href='http://2130706433/'>x</a>"), "URL_IP_LITERAL"));
    assert!(has(&page("<a href='http://[::1]:80/'>x</a>"), "URL_IP_LITERAL"));
    assert!(has(&page("<a href='javascript:alert(1)'>x</a>"), "URL_ODD_SCHEME"));
    let script = "<script>if (a<b) c('<a href=\"http://1.2.3.4/\">')</script>";
    let found = page(&format!("{script}<STYLE>a</b></style >http://1.2.3.4/"));
    assert_eq!(found.iter().find(|feature| feature.name == "URLS").map(|feature| feature.value), Some(1.0));
}

#[test]
fn names_of_files_are_decoded_first() {
    let file =
        |header: &str| features(format!("Content-Type: application/octet-stream\r\n{header}\r\n\r\nx").as_bytes());
    assert!(has(
        &file("Content-Disposition: attachment; filename*=utf-8''rechnung%2Epdf%2Eexe"),
        "FILE_DOUBLE_EXTENSION"
    ));
    assert!(has(&file("Content-Disposition: attachment; filename*0=rech; filename*1=nung.scr"), "FILE_PROGRAM"));
    assert!(has(&file("Content-Disposition: attachment; filename=\"=?utf-8?B?YS5leGU=?=\""), "FILE_PROGRAM"));
    assert!(has(&file("Content-Disposition: attachment; filename*=utf-8''%E2%80%AEgpj.exe"), "FILE_NAME_REVERSED"));
    assert!(!has(&file("Content-Disposition: attachment; filename=holiday.jpg"), "FILE_PROGRAM"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scoring_is_total(values in vec((prop_oneof![Just("GTUBE".to_string()), Just("URL_MISMATCH".to_string()), "[A-Z_]{0,10}"], any::<f32>()), 0..70)) {
        let features: Vec<Feature> = values.into_iter().map(|(name, value)| Feature { name, value }).collect();
        let score = score(&features, &all(Outcome::Fail, Policy::Reject));
        prop_assert!(score.points.is_finite());
        prop_assert_eq!(score.verdict == Verdict::Junk, score.points >= THRESHOLD);
    }
}
