//! Records as people write them, evaluated for one address.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A zone: name and kind, and what is there.
struct Zone(BTreeMap<(&'static str, &'static str), Vec<String>>);

impl Zone {
    fn get<T>(&self, name: &str, kind: &'static str, read: impl Fn(&String) -> T) -> Answer<T> {
        if name == "dead.test" {
            return Answer::Failed;
        }
        let found = self.0.iter().find(|((at, of), _)| name.eq_ignore_ascii_case(at) && *of == kind);
        match found {
            Some((_, records)) => Answer::Found { records: records.iter().map(read).collect(), secure: false },
            None => Answer::NoName { secure: false },
        }
    }
}

impl Names for Zone {
    async fn txt(&self, name: &str) -> Answer<String> {
        self.get(name, "TXT", String::clone)
    }
    async fn mx(&self, name: &str) -> Answer<Mx> {
        self.get(name, "MX", |host| Mx { preference: 10, host: host.clone() })
    }
    async fn four(&self, name: &str) -> Answer<Ipv4Addr> {
        self.get(name, "A", |address| address.parse().unwrap())
    }
    async fn six(&self, name: &str) -> Answer<Ipv6Addr> {
        self.get(name, "AAAA", |address| address.parse().unwrap())
    }
}

fn zone(record: &str) -> Zone {
    let one = |text: &str| vec![text.to_owned()];
    Zone(BTreeMap::from([
        (("home.test", "TXT"), vec!["other=1".into(), record.to_owned()]),
        (("home.test", "MX"), one("mail.home.test")),
        (("mail.home.test", "A"), one("44.0.0.1")),
        (("mail.home.test", "AAAA"), one("2a00:44::1")),
        (("names.test", "TXT"), one("v=spf1 a:mail.home.test -all")),
        (("others.test", "TXT"), one("v=spf1 ip4:1.1.1.1 -all")),
        (("soft.test", "TXT"), one("v=spf1 ~all")),
        (("round.test", "TXT"), one("v=spf1 include:round.test -all")),
        (("two.test", "TXT"), vec!["v=spf1 mx -all".into(), "v=spf1 a -all".into()]),
        (("many.test", "MX"), (0..11).map(|n| format!("mx{n}.many.test")).collect()),
    ]))
}

fn says_of(record: &str, address: &str) -> Result<Says, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(evaluate(&zone(record), "home.test", address.parse().unwrap()))
}

fn says(record: &str) -> Result<Says, Stop> {
    says_of(record, "44.0.0.1")
}

#[test]
fn every_way_of_letting_this_box_send() {
    for record in [
        "v=spf1 mx -all",
        "V=SPF1  MX  -ALL ",
        "v=spf1 a:mail.home.test -all",
        "v=spf1 ip4:44.0.0.1 -all",
        "v=spf1 ip4:44.0.0.0/24 -all",
        "v=spf1 ip4:9.9.9.9 +mx ~all",
        "v=spf1 a:mail.home.test/24//64 -all",
        "v=spf1 mx//64 -all",
        "v=spf1 include:names.test -all",
        "v=spf1 include:others.test include:soft.test mx -all",
        "v=spf1 redirect=names.test",
        "v=spf1 mx exp=why.test new-thing=x -all",
        "v=spf1 exists:mail.home.test -all",
        "v=spf1 mx exists:%{i}.ok.test -all",
        "v=spf1 +all",
    ] {
        assert_eq!(says(record), Ok(Says::Pass), "{record}");
    }
    assert_eq!(says_of("v=spf1 mx -all", "2a00:44::1"), Ok(Says::Pass));
    assert_eq!(says_of("v=spf1 mx//120 -all", "2a00:44::2"), Ok(Says::Pass));
    assert_eq!(says_of("v=spf1 ip6:2a00::/16 -all", "2a00:44::2"), Ok(Says::Pass));
}

#[test]
fn the_first_that_fits_decides() {
    for record in [
        "v=spf1 -all mx",
        "v=spf1 ip4:9.9.9.9 -all mx",
        "v=spf1 -ip4:44.0.0.1 mx -all",
        "v=spf1 a -all",
        "v=spf1 mx:others.test -all",
        "v=spf1 include:others.test -all",
        "v=spf1 redirect=others.test",
        "v=spf1 ip6:2a00:44::1 -all",
    ] {
        assert_eq!(says(record), Ok(Says::Fail), "{record}");
    }
    assert_eq!(says("v=spf1 ~mx -all"), Ok(Says::SoftFail));
    for record in ["v=spf1", "v=spf1 ?mx -all", "v=spf1 ip4:44.0.1.0/24", "v=spf1 a:others.test ?all"] {
        assert_eq!(says(record), Ok(Says::Neutral), "{record}");
    }
    assert_eq!(says_of("v=spf1 mx//126 -all", "2a00:44::9"), Ok(Says::Fail));
}

#[test]
fn an_error_anywhere_comes_before_any_match() {
    for record in [
        "v=spf1 mx bogus:x -all",
        "v=spf1 mx -all=",
        "v=spf1 mx ip4:44.0.0 -all",
        "v=spf1 mx ip4:44.0.0.1/33",
        "v=spf1 mx ip4:44.0.0.1/",
        "v=spf1 mx a/+24 -all",
        "v=spf1 mx include: -all",
        "v=spf1 mx redirect=a.test redirect=b.test",
        "v=spf1 mx; -all",
        "v=spf1 include:nothere.test mx",
        "v=spf1 redirect=nothere.test",
        "v=spf1 include:two.test",
        "v=spf1 include:round.test",
        "v=spf1 mx:many.test",
        "v=spf1 a:x.test a:y.test a:z.test mx",
        "v=spf10 mx",
    ] {
        assert!(matches!(says(record), Err(Stop::Broken(_))), "{record}: {:?}", says(record));
    }
    let eleven = format!("v=spf1{} mx -all", " include:others.test".repeat(10));
    assert!(matches!(says(&eleven), Err(Stop::Broken(_))), "{:?}", says(&eleven));
    let ten = format!("v=spf1{} mx -all", " include:others.test".repeat(9));
    assert_eq!(says(&ten), Ok(Says::Pass));
}

#[test]
fn what_cannot_be_said_is_not() {
    for record in
        ["v=spf1 exists:%{i}.ok.test mx", "v=spf1 ptr -all", "v=spf1 a:dead.test mx", "v=spf1 include:dead.test"]
    {
        assert!(matches!(says(record), Err(Stop::Unknown(_))), "{record}");
    }
}

proptest! {
    #[test]
    fn any_record_is_read(record in "v=spf1( [-+~?]?(all|mx|a|ip4|ip6|include|exists|ptr|redirect)?[:/=]{0,2}[%a-z0-9./:]{0,12}){0,12}") {
        let _ = says(&record);
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,80}") {
        let _ = Record::read(&text);
    }
}
