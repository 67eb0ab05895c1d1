//! What is wrong with the records that are there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Kind, Record};
use crate::spf::{Says, Stop};

/// What DNS has under a record's name, of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These; none when there are none.
    Records(Vec<Kind>),
    /// The same, and what the one about who may send comes to.
    Spf(Vec<Kind>, Sending),
    /// The same, in a zone that DNSSEC does not prove.
    Unsigned(Vec<Kind>),
    /// The same, and our host is an alias of that name.
    Aliased(Vec<Kind>, String),
    /// No answer.
    NoAnswer,
}

/// What an SPF record comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// For each address from which this box sends; none when nobody knows them.
    pub ours: Vec<(IpAddr, Result<Says, Stop>)>,
    /// It sends by a line of its own, too, and nobody here knows by which address.
    pub more: bool,
    /// For an address that is nobody's.
    pub others: Result<Says, Stop>,
}

/// What is to be said of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Fine,
    /// It is, and beside it something that its owner should know of.
    But(String),
    /// It is not, or is not as it should be; and what to do.
    Wrong(String),
    /// Nobody knows.
    Unknown(String),
}

/// Compares a record with what DNS has.
#[must_use]
pub fn judge(record: &Record, found: &Found) -> Verdict {
    let (name, kind) = (&record.name, record.kind.name());
    match found {
        Found::Records(found) => compare(record, found, None),
        Found::Spf(found, sending) => compare(record, found, Some(sending)),
        Found::Unsigned(found) => unsigned(record, found),
        Found::Aliased(found, to) => aliased(record, found, to),
        Found::NoAnswer => Verdict::Unknown(format!("DNS gave no answer about {name} ({kind}); try again")),
    }
}

/// RFC 7672 §2.2: a TLSA record that DNSSEC does not prove is none.
fn unsigned(record: &Record, found: &[Kind]) -> Verdict {
    let name = &record.name;
    match compare(record, found, None) {
        Verdict::Wrong(_) if found.is_empty() => Verdict::But(format!(
            "{name} has no TLSA record, and none is of use while its zone is not signed (DNSSEC): then add {}",
            record.kind.content()
        )),
        Verdict::Fine | Verdict::But(_) => Verdict::But(format!(
            "{name} has its TLSA record, but no sender looks at it (DANE): the zone is not signed (DNSSEC)"
        )),
        other => other,
    }
}

/// RFC 2181 §10.3.
fn aliased(record: &Record, found: &[Kind], to: &str) -> Verdict {
    let (name, Kind::Mx(_, host)) = (&record.name, &record.kind) else { return compare(record, found, None) };
    let words = format!(
        "{name} MX: {} is an alias (CNAME) of {to}, which some senders do not follow: give it A and AAAA records of its own",
        bare(host)
    );
    match compare(record, found, None) {
        Verdict::Fine => Verdict::But(words),
        Verdict::But(more) => Verdict::But(format!("{words}; and {more}")),
        other => other,
    }
}

/// RFC 7505 §3: who reads this sends no mail, whatever stands beside it.
fn takes_none(record: &Record, related: &[&Kind]) -> Option<Verdict> {
    let null = related.iter().find(|one| matches!(one, Kind::Mx(_, host) if bare(host).is_empty()))?;
    let is_there = related.iter().any(|one| same(&record.kind, one));
    let then = if is_there { String::new() } else { format!(", and add {}", record.kind.content()) };
    let (name, has) = (&record.name, null.content());
    Some(Verdict::Wrong(format!("{name} has MX {has}, which says that nobody here takes mail: remove it{then}")))
}

fn compare(record: &Record, found: &[Kind], sending: Option<&Sending>) -> Verdict {
    let (name, kind) = (&record.name, record.kind.name());
    let related: Vec<&Kind> = found.iter().filter(|other| related(&record.kind, other)).collect();
    let wanted = record.kind.content();
    if let Some(none) = takes_none(record, &related) {
        return none;
    }
    match (related.as_slice(), sending) {
        ([], _) => Verdict::Wrong(format!("{name} has no {kind} record for this: add {wanted}")),
        ([one], Some(sending)) => sends(record, one, sending),
        // RFC 7208 §4.5, RFC 7489 §6.6.3: two of them are as good as none.
        ([_, _, ..], _) if matches!(record.kind, Kind::Txt(_)) => {
            Verdict::Wrong(format!("{name} has more than one such TXT record: keep only {wanted}"))
        }
        (all, _) if all.iter().any(|one| same(&record.kind, one)) => match record.kind {
            Kind::Mx(..) | Kind::Address(_) => elsewhere(record, found),
            _ => Verdict::Fine,
        },
        ([other, ..], _) => Verdict::Wrong(format!("{name} has {kind} {}: it should be {wanted}", other.content())),
    }
}

/// Who cannot reach this box, or does not care for the order, gives the mail to another host: it is then not here.
fn elsewhere(record: &Record, all: &[Kind]) -> Verdict {
    let others = all.iter().filter(|one| !same(&record.kind, one));
    let mut places: Vec<String> = others
        .filter_map(|one| match one {
            Kind::Mx(_, host) => Some(bare(host)),
            Kind::Address(address) => Some(address.to_string()),
            _ => None,
        })
        .collect();
    places.sort();
    places.dedup();
    if places.is_empty() {
        return Verdict::Fine;
    }
    let (name, kind, places) = (&record.name, record.kind.name(), places.join(" and "));
    Verdict::But(format!(
        "{name} {kind}: some mail may go to {places} in place of this box; if that is not meant, remove it"
    ))
}

/// RFC 7208 §8: what receivers make of the record, for each address of ours.
fn sends(record: &Record, found: &Kind, sending: &Sending) -> Verdict {
    let (name, has, wanted) = (&record.name, found.content(), record.kind.content());
    let wrong = |why: String| {
        Verdict::Wrong(match same(&record.kind, found) {
            // Then what it names is to be mended.
            true => {
                format!("{name} has TXT {has} as it should be, but {why}: see where its MX, A and AAAA records lead")
            }
            false => format!("{name} has TXT {has}: {why}; it should be {wanted}"),
        })
    };
    let unknown = |why: &str| Verdict::Unknown(format!("{name} has TXT {has}: {why}"));
    for (address, says) in &sending.ours {
        match says {
            Ok(Says::Pass) => {}
            Ok(Says::Fail) => return wrong(format!("it forbids mail from {address}, from where this box sends")),
            Ok(Says::SoftFail) => {
                return wrong(format!("by it mail from {address}, from where this box sends, is suspect"));
            }
            Ok(Says::Neutral) => {
                return wrong(format!("it says nothing of mail from {address}, from where this box sends"));
            }
            Err(Stop::Broken(why)) => return wrong(format!("nobody can use it ({why})")),
            Err(Stop::Unknown(why)) => return unknown(why),
        }
    }
    if (sending.ours.is_empty() || sending.more && sending.others != Ok(Says::Pass)) && !same(&record.kind, found) {
        return unknown("nobody here knows from which address this box sends, so nobody knows whether it may");
    }
    match &sending.others {
        Ok(Says::Neutral) if sending.more => Verdict::But(format!(
            "{name} TXT {has}: it says nothing of this box, which sends by its own line; if that has one address, name it (ip4:...), \
             and end it with -all"
        )),
        Ok(Says::Pass) => wrong("it lets anybody send in this name".to_owned()),
        Ok(Says::Neutral) => Verdict::But(format!(
            "{name} TXT {has}: this box may send, and it says nothing of anybody else; end it with -all"
        )),
        _ => Verdict::Fine,
    }
}

/// Whether a record found is about the same matter: of TXT only those that begin alike (`v=spf1`), and every key.
fn related(wanted: &Kind, found: &Kind) -> bool {
    match (wanted, found) {
        (Kind::Txt(wanted), Kind::Txt(found)) => {
            version(wanted) == version(found)
                || is_key(wanted) && tags(found).is_some_and(|tags| tags.contains_key("p"))
        }
        _ => wanted.name() == found.name(),
    }
}

fn version(text: &str) -> String {
    let end = text.find([' ', ';']).unwrap_or(text.len());
    text[..end].to_ascii_lowercase()
}

fn is_key(wanted: &str) -> bool {
    version(wanted) == "v=dkim1"
}

fn same(wanted: &Kind, found: &Kind) -> bool {
    match (wanted, found) {
        (Kind::Mx(_, wanted), Kind::Mx(_, found)) => bare(wanted) == bare(found),
        (Kind::Srv(port, wanted), Kind::Srv(its, found)) => port == its && bare(wanted) == bare(found),
        (Kind::Txt(wanted), Kind::Txt(found)) if is_key(wanted) => is_same_key(wanted, found),
        // Spaces between and around fields say nothing.
        (Kind::Txt(wanted), Kind::Txt(found)) => {
            let fields = |text: &str| {
                text.split([';', ' ']).filter(|f| !f.is_empty()).map(str::to_lowercase).collect::<Vec<_>>()
            };
            let (wanted, found) = (fields(wanted), fields(found));
            wanted == found || is_stricter(&wanted, &found)
        }
        _ => wanted == found,
    }
}

/// RFC 6376 §3.2, 3.6.1: in whatever order and with whatever spaces, the same key, which may sign mail by SHA-256.
fn is_same_key(wanted: &str, found: &str) -> bool {
    let (Some(wanted), Some(tags)) = (tags(wanted), tags(found)) else { return false };
    let tag = |name: &str, default: &str| tags.get(name).map_or(default, |(_, value)| value).to_owned();
    let may = |name: &str, these: &[&str]| tag(name, these[0]).split(':').any(|one| these.contains(&one.trim()));
    let key = |tags: &Tags<'_>| tags.get("p").map(|(_, key)| key.replace([' ', '\t'], ""));
    let first = tags.get("v").is_none_or(|(place, version)| *place == 0 && *version == "DKIM1");
    let kind = wanted.get("k").map_or("rsa", |(_, kind)| kind);
    // Of a domain that says that it is testing, a signature is as good as none.
    let testing = tag("t", "").split(':').any(|flag| flag.trim() == "y");
    first
        && key(&tags) == key(&wanted)
        && tag("k", "rsa") == kind
        && may("h", &["sha256"])
        && may("s", &["*", "email"])
        && !testing
}

/// By name: which it is in its list, and its value.
type Tags<'a> = BTreeMap<&'a str, (usize, &'a str)>;

/// RFC 6376 §3.2: none twice.
fn tags(text: &str) -> Option<Tags<'_>> {
    let mut tags = Tags::new();
    let list = text.trim().strip_suffix(';').unwrap_or(text);
    for (place, tag) in list.split(';').enumerate() {
        let (name, value) = tag.split_once('=')?;
        if tags.insert(name.trim(), (place, value.trim())).is_some() {
            return None;
        }
    }
    Some(tags)
}

/// A stricter DMARC with reports is as good.
fn is_stricter(wanted: &[String], found: &[String]) -> bool {
    let has = |field: &str| found.iter().any(|other| other == field);
    let is_policy = |fields: &[String]| fields.first().is_some_and(|first| first == "v=dmarc1");
    is_policy(wanted) && is_policy(found) && (has("p=quarantine") || has("p=reject"))
}

fn bare(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_says_more_is_fine() {
        let judged = |wanted: &str, found: &str| {
            let record = |text: &str| Kind::Txt(text.to_owned());
            same(&record(wanted), &record(found))
        };
        let dmarc = "v=DMARC1; p=quarantine";
        for fine in ["v=DMARC1; p=reject; rua=mailto:dmarc@home.test", "v=DMARC1;p=quarantine;pct=50"] {
            assert!(judged(dmarc, fine), "{fine}");
        }
        for wrong in ["v=DMARC1; p=none; sp=reject", "v=DMARC1"] {
            assert!(!judged(dmarc, wrong), "{wrong}");
        }
    }

    fn verdict(wanted: Kind, found: Vec<Kind>) -> Verdict {
        judge(&Record { name: "home.test".into(), kind: wanted, purpose: "" }, &Found::Records(found))
    }

    #[test]
    fn what_dns_should_have() {
        let text = |text: &str| Kind::Txt(text.to_owned());
        let wrong = |verdict| match verdict {
            Verdict::Wrong(words) => words,
            other => panic!("{other:?}"),
        };
        let spf = || text("v=spf1 mx -all");
        assert_eq!(verdict(spf(), vec![text("other"), text("v=spf1  mx  -all")]), Verdict::Fine);
        assert!(wrong(verdict(spf(), vec![text("other")])).contains("add \"v=spf1 mx -all\""));
        assert!(wrong(verdict(spf(), vec![text("v=spf1 -all")])).contains("has TXT \"v=spf1 -all\": it should be"));
        assert!(wrong(verdict(spf(), vec![spf(), text("V=SPF1 a")])).contains("more than one"));
        assert_eq!(verdict(text("v=DMARC1; p=none"), vec![text("v=DMARC1;p=none;")]), Verdict::Fine);
        let mx = |host: &str| Kind::Mx(20, host.to_owned());
        assert_eq!(verdict(mx("mx.home.test"), vec![mx("MX.home.test."), mx("mx.home.test")]), Verdict::Fine);
        let Verdict::But(words) = verdict(mx("mx.home.test"), vec![mx("Backup.test."), mx("MX.home.test.")]) else {
            panic!("mail goes elsewhere, and nobody says so")
        };
        assert!(words.starts_with("home.test MX: some mail may go to backup.test in place of this box"), "{words}");
        assert!(wrong(verdict(mx("mx.home.test"), vec![mx("other.test.")])).contains("MX 20 other.test.: it"));
        let srv = Kind::Srv(465, "mx.home.test".into());
        assert!(matches!(verdict(srv.clone(), vec![Kind::Srv(25, "mx.home.test".into())]), Verdict::Wrong(_)));
        assert_eq!(verdict(srv.clone(), vec![srv]), Verdict::Fine);
        let record = Record { name: "home.test".into(), kind: spf(), purpose: "" };
        assert!(matches!(judge(&record, &Found::NoAnswer), Verdict::Unknown(_)));
    }

    #[test]
    fn an_mx_that_takes_no_mail() {
        let mx = |preference, host: &str| Kind::Mx(preference, host.to_owned());
        let (ours, none) = (|| mx(10, "mx.home.test"), || mx(0, "."));
        for (found, then) in
            [(vec![none()], ": remove it, and add 10 mx.home.test."), (vec![ours(), none()], ": remove it")]
        {
            let Verdict::Wrong(words) = verdict(ours(), found) else { panic!("it is wrong") };
            assert!(words.starts_with("home.test has MX 0 ., which says") && words.ends_with(then), "{words}");
        }
    }

    #[test]
    fn an_mx_that_is_an_alias_is_told() {
        let mx = |host: &str| Kind::Mx(10, host.to_owned());
        let record = Record { name: "home.test".into(), kind: mx("mx.home.test"), purpose: "" };
        let judged = |found: Vec<Kind>| judge(&record, &Found::Aliased(found, "box.home.test".into()));
        let Verdict::But(words) = judged(vec![mx("mx.home.test.")]) else { panic!("nobody says so") };
        assert!(words.starts_with("home.test MX: mx.home.test is an alias (CNAME) of box.home.test"), "{words}");
        let both = judged(vec![mx("mx.home.test."), mx("other.test.")]);
        assert!(
            matches!(both, Verdict::But(words) if words.contains("alias") && words.contains("other.test in place"))
        );
        assert!(matches!(judged(vec![mx("other.test")]), Verdict::Wrong(words) if words.contains("should be")));
    }

    #[test]
    fn a_certificate_s_record_needs_a_signed_zone() {
        let (ours, other) = (Kind::Tlsa([1; 32]), Kind::Tlsa([2; 32]));
        let record = Record { name: "_25._tcp.mx.home.test".into(), kind: ours.clone(), purpose: "" };
        let judged = |found| judge(&record, &Found::Unsigned(found));
        assert!(matches!(judged(vec![ours]), Verdict::But(words) if words.contains("not signed (DNSSEC)")));
        assert!(matches!(judged(vec![]), Verdict::But(words) if words.contains("none is of use")));
        assert!(matches!(judged(vec![other]), Verdict::Wrong(_)), "once it is signed, mail would wait");
    }

    #[test]
    fn a_key_is_compared_tag_by_tag() {
        let (rsa, ed25519) = ("v=DKIM1; k=rsa; p=AAAABBBB", "v=DKIM1; k=ed25519; p=AAAA");
        let judged = |wanted: &str, found: &str| verdict(Kind::Txt(wanted.into()), vec![Kind::Txt(found.into())]);
        for fine in [
            rsa,
            "v=DKIM1;k=rsa;p=AAAABBBB;",
            "v=DKIM1; p=AAAA BBBB; k=rsa",
            "p=AAAABBBB",
            "v=DKIM1; h=sha256; k=rsa; s=email; t=s; p= AAAABBBB ; n=ours",
            "v=DKIM1; h=sha1:sha256; s=tlsrpt : *; p=AAAABBBB",
        ] {
            assert_eq!(judged(rsa, fine), Verdict::Fine, "{fine}");
        }
        for wrong in [
            "v=DKIM1; k=rsa; p=AAAABBBC",
            "v=DKIM1; k=rsa; p=aaaabbbb",
            "v=DKIM1; k=rsa; p=",
            "k=rsa; v=DKIM1; p=AAAABBBB",
            "v=DKIM2; k=rsa; p=AAAABBBB",
            "v=DKIM1; k=ed25519; p=AAAABBBB",
            "v=DKIM1; h=sha1; p=AAAABBBB",
            "v=DKIM1; s=tlsrpt; p=AAAABBBB",
            "v=DKIM1; t=y:s; p=AAAABBBB",
            "v=DKIM1; p=AAAABBBB; p=AAAABBBB",
            "v=DKIM1; p=AAAABBBB; nonsense",
        ] {
            assert!(matches!(judged(rsa, wrong), Verdict::Wrong(_)), "{wrong}");
        }
        assert_eq!(judged(ed25519, "v=DKIM1; k=ed25519; p=AAAA"), Verdict::Fine);
        assert!(matches!(judged(ed25519, "v=DKIM1; p=AAAA"), Verdict::Wrong(_)), "without k= it is RSA");
        assert!(matches!(judged(rsa, "\"v=DKIM1; k=rsa; p=AAAABBBB\""), Verdict::Wrong(_)), "quotes typed in");
    }

    #[test]
    fn who_may_send_is_what_receivers_make_of_it() {
        let record = Record { name: "home.test".into(), kind: Kind::Txt("v=spf1 mx -all".into()), purpose: "" };
        let judged = |text: &str, ours: &[Result<Says, Stop>], others: Result<Says, Stop>| {
            let ours = ours.iter().map(|says| ("44.0.0.1".parse().unwrap(), says.clone())).collect();
            judge(&record, &Found::Spf(vec![Kind::Txt(text.into())], Sending { ours, more: false, others }))
        };
        let other = "v=spf1 include:else.test -all";
        assert_eq!(judged(other, &[Ok(Says::Pass), Ok(Says::Pass)], Ok(Says::SoftFail)), Verdict::Fine);
        for bad in [Ok(Says::Fail), Ok(Says::SoftFail), Ok(Says::Neutral), Err(Stop::Broken("x".into()))] {
            let Verdict::Wrong(words) = judged(other, &[Ok(Says::Pass), bad.clone()], Ok(Says::Fail)) else {
                panic!("{bad:?}")
            };
            assert!(words.ends_with("it should be \"v=spf1 mx -all\""), "{words}");
        }
        let Verdict::Wrong(words) = judged("v=spf1 mx  -all", &[Ok(Says::Fail)], Ok(Says::Fail)) else {
            panic!("its MX leads elsewhere")
        };
        assert!(
            words.contains("as it should be, but it forbids mail from 44.0.0.1") && !words.contains("it should be \"v")
        );
        let unknown = [Err(Stop::Unknown("macros".into()))];
        assert!(matches!(judged(other, &unknown, Ok(Says::Fail)), Verdict::Unknown(_)));
        assert!(matches!(judged(other, &[Ok(Says::Pass)], Ok(Says::Pass)), Verdict::Wrong(_)), "anybody may");
        assert!(matches!(judged(other, &[Ok(Says::Pass)], Ok(Says::Neutral)), Verdict::But(_)));
        // Nobody knows from where it sends.
        assert_eq!(judged("V=spf1  mx -all", &[], Ok(Says::Fail)), Verdict::Fine);
        assert!(matches!(judged(other, &[], Ok(Says::Fail)), Verdict::Unknown(_)));
    }

    /// Behind a proxy that brings mail and takes none, or is gone past: what its line's address is nobody here knows.
    #[test]
    fn what_forbids_everybody_else_may_forbid_this_box() {
        let wanted = Kind::Txt("v=spf1 mx a:out.clean.test ?all".into());
        let record = Record { name: "home.test".into(), kind: wanted, purpose: "" };
        let judged = |text: &str, others: Says| {
            let ours = vec![("44.0.0.2".parse().unwrap(), Ok(Says::Pass))];
            judge(&record, &Found::Spf(vec![Kind::Txt(text.into())], Sending { ours, more: true, others: Ok(others) }))
        };
        assert!(matches!(judged("v=spf1 mx a:out.clean.test -all", Says::Fail), Verdict::Unknown(_)));
        assert!(matches!(judged("v=spf1 +all", Says::Pass), Verdict::Wrong(_)));
        let Verdict::But(words) = judged("v=spf1 mx a:out.clean.test ?all", Says::Neutral) else {
            panic!("it is as it should be")
        };
        assert!(words.contains("says nothing of this box"), "{words}");
    }

    #[test]
    fn an_address_that_leads_elsewhere_is_told() {
        let at = |text: &str| Kind::Address(text.parse().unwrap());
        assert_eq!(verdict(at("44.0.0.1"), vec![at("44.0.0.1")]), Verdict::Fine);
        for other in ["9.9.9.9", "2a00:44::25"] {
            let Verdict::But(words) = verdict(at("44.0.0.1"), vec![at(other), at("44.0.0.1")]) else {
                panic!("mail goes elsewhere, and nobody says so")
            };
            assert!(words.starts_with(&format!("home.test A: some mail may go to {other} in place")), "{words}");
        }
        let Verdict::Wrong(words) = verdict(at("44.0.0.1"), vec![at("9.9.9.9")]) else { panic!("it is not there") };
        assert!(words.contains("has A 9.9.9.9: it should be 44.0.0.1"), "{words}");
        assert!(matches!(verdict(at("44.0.0.1"), vec![at("2a00:44::25")]), Verdict::Wrong(_)));
    }
}
