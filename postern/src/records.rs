//! The DNS records of what this box serves, as a zone file and as a table; and what is wrong with those that are there.
//! Pure: who asks DNS hands its answers in.

use std::fmt::Write;
use std::net::IpAddr;

/// Seconds a record may be kept by others.
const TTL: u32 = 3_600;

/// Records of services that are not there yet, named so that nobody looks for them in vain.
pub const LATER: [(&str, &str); 4] = [
    ("CAA", "which certificate authority may speak for this host, and for which account"),
    ("MTA-STS", "senders must find a certificate of a known authority"),
    ("TLS-RPT", "senders tell when encryption failed"),
    ("autoconfig", "mail apps set themselves up"),
];

/// What a box serves.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its host name.
    pub host: String,
    /// Its addresses as the Internet sees them, where they are known.
    pub addresses: Vec<IpAddr>,
    /// The names of the proxies through which its mail leaves.
    pub leaves_through: Vec<String>,
    /// Its domains.
    pub domains: Vec<Domain>,
    /// SHA-256 of the public keys of its certificate: the present one's, and the next one's while it changes.
    pub keys: Vec<[u8; 32]>,
    /// 465, 587 and 993, those that are served.
    pub ports: Vec<u16>,
}

/// A domain and its DKIM keys.
#[derive(Debug, Clone, Default)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Selector and record of each key that signs, or has signed lately.
    pub keys: Vec<(String, String)>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Without the last dot.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// What it is for, in a few words.
    pub purpose: &'static str,
}

/// Kind and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A or AAAA.
    Address(IpAddr),
    /// MX with preference 10.
    Mx(String),
    /// TXT.
    Txt(String),
    /// TLSA 3 1 1.
    Tlsa([u8; 32]),
    /// SRV 0 1.
    Srv(u16, String),
}

impl Kind {
    /// As DNS names it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Address(IpAddr::V4(_)) => "A",
            Self::Address(IpAddr::V6(_)) => "AAAA",
            Self::Mx(_) => "MX",
            Self::Txt(_) => "TXT",
            Self::Tlsa(_) => "TLSA",
            Self::Srv(..) => "SRV",
        }
    }

    /// As a zone file has it.
    #[must_use]
    pub fn content(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Mx(host) => format!("10 {host}."),
            Self::Txt(text) => quoted(text),
            Self::Tlsa(digest) => {
                let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("3 1 1 {hexadecimal}")
            }
            Self::Srv(port, host) => format!("0 1 {port} {host}."),
        }
    }
}

/// RFC 1035 §3.3.14, §5.1: strings of at most 255 bytes, quoted.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for piece in text.as_bytes().chunks(255) {
        out.push_str(if out.is_empty() { "\"" } else { " \"" });
        for byte in piece {
            match byte {
                b'"' | b'\\' => drop(write!(out, "\\{}", char::from(*byte))),
                b' '..=b'~' => out.push(char::from(*byte)),
                other => drop(write!(out, "\\{other:03}")),
            }
        }
        out.push('"');
    }
    if out.is_empty() { "\"\"".to_owned() } else { out }
}

/// Every record of what is served, domain by domain, the host's last.
#[must_use]
pub fn records(facts: &Facts) -> Vec<Record> {
    let host = facts.host.to_lowercase();
    let mut records: Vec<Record> = facts.domains.iter().flat_map(|domain| of_domain(domain, &host, facts)).collect();
    let addresses = facts.addresses.iter().map(|address| (Kind::Address(*address), "where this box is"));
    let keys = facts.keys.iter().map(|key| (Kind::Tlsa(*key), "its certificate, for senders that check it (DANE)"));
    records.extend(addresses.map(|(kind, purpose)| Record { name: host.clone(), kind, purpose }));
    if !facts.domains.iter().any(|domain| domain.name.eq_ignore_ascii_case(&host)) {
        let kind = Kind::Txt(facts.spf("a"));
        records.push(Record { name: host.clone(), kind, purpose: "nobody else may call himself so (SPF)" });
    }
    records.extend(keys.map(|(kind, purpose)| Record { name: format!("_25._tcp.{host}"), kind, purpose }));
    records
}

impl Facts {
    /// RFC 7208: who may send, `own` being this box itself.
    fn spf(&self, own: &str) -> String {
        let through: String = self.leaves_through.iter().map(|name| format!(" a:{name}")).collect();
        format!("v=spf1 {own}{through} -all")
    }
}

/// Where the record of a DKIM key stands.
#[must_use]
pub fn selector(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{}", domain.to_lowercase())
}

fn of_domain(domain: &Domain, host: &str, facts: &Facts) -> Vec<Record> {
    let name = domain.name.to_lowercase();
    let text = |at: String, text: &str, purpose| Record { name: at, kind: Kind::Txt(text.to_owned()), purpose };
    let mut records = vec![
        Record { name: name.clone(), kind: Kind::Mx(host.to_owned()), purpose: "mail comes here" },
        text(name.clone(), &facts.spf("mx"), "mail comes only from here (SPF)"),
    ];
    for (selector, record) in &domain.keys {
        records.push(text(self::selector(selector, &name), record, "mail is signed with this key (DKIM)"));
    }
    let policy = "v=DMARC1; p=quarantine";
    records.push(text(format!("_dmarc.{name}"), policy, "what is not signed is suspect (DMARC)"));
    for (port, service) in [(465, "_submissions"), (587, "_submission"), (993, "_imaps")] {
        if facts.ports.contains(&port) {
            let kind = Kind::Srv(port, host.to_owned());
            records.push(Record { name: format!("{service}._tcp.{name}"), kind, purpose: "mail apps find this box" });
        }
    }
    records
}

/// All as a zone file.
#[must_use]
pub fn zone_file(records: &[Record]) -> String {
    let mut out = String::new();
    for record in records {
        let _ = writeln!(out, "{}. {TTL} IN {} {}", record.name, record.kind.name(), record.kind.content());
    }
    for (name, purpose) in LATER {
        let _ = writeln!(out, "; later: {name}: {purpose}");
    }
    out
}

/// All as a table, for those who type them into a web page.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let width = |of: fn(&Record) -> usize| records.iter().map(of).max().unwrap_or(0);
    let (names, kinds) = (width(|record| record.name.len()), width(|record| record.kind.name().len()));
    let mut out = String::new();
    for record in records {
        let content = match &record.kind {
            // Web pages want it without quotes, and in one piece.
            Kind::Txt(text) => text.clone(),
            kind => kind.content(),
        };
        let _ = writeln!(out, "{:names$}  {:kinds$}  {content}", record.name, record.kind.name());
        let _ = writeln!(out, "{:names$}  {:kinds$}  ({})", "", "", record.purpose);
    }
    let later: Vec<&str> = LATER.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(out, "\nLater: {}.", later.join(", "));
    out
}

/// What DNS has under a record's name, of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These; none when there are none.
    Records(Vec<Kind>),
    /// No answer.
    NoAnswer,
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
    let Found::Records(found) = found else {
        return Verdict::Unknown(format!("DNS gave no answer about {name} ({kind}); try again"));
    };
    let related: Vec<&Kind> = found.iter().filter(|other| related(&record.kind, other)).collect();
    let wanted = record.kind.content();
    match related.as_slice() {
        [] => Verdict::Wrong(format!("{name} has no {kind} record for this: add {wanted}")),
        [one] if same(&record.kind, one) => Verdict::Fine,
        all if all.iter().any(|one| same(&record.kind, one)) && matches!(record.kind, Kind::Mx(_)) => {
            elsewhere(record, all)
        }
        // RFC 7208 §4.5, RFC 7489 §6.6.3: two of them are as good as none.
        [_, _, ..] if matches!(record.kind, Kind::Txt(_)) => {
            Verdict::Wrong(format!("{name} has more than one such TXT record: keep only {wanted}"))
        }
        all if all.iter().any(|one| same(&record.kind, one)) => Verdict::Fine,
        [other, ..] => Verdict::Wrong(format!("{name} has {kind} {}: it should be {wanted}", other.content())),
    }
}

/// Who cannot reach this box, or does not care for the order, gives the mail to another host: it is then not here.
fn elsewhere(record: &Record, all: &[&Kind]) -> Verdict {
    let others = all.iter().filter(|one| !same(&record.kind, one));
    let mut hosts: Vec<String> =
        others.filter_map(|one| if let Kind::Mx(host) = one { Some(bare(host)) } else { None }).collect();
    hosts.sort();
    hosts.dedup();
    if hosts.is_empty() {
        return Verdict::Fine;
    }
    let (name, hosts) = (&record.name, hosts.join(" and "));
    Verdict::But(format!(
        "{name} MX: some mail may go to {hosts} in place of this box; if that is not meant, remove it"
    ))
}

/// Whether a record found is about the same matter: of TXT only those that begin alike (`v=spf1`).
fn related(wanted: &Kind, found: &Kind) -> bool {
    match (wanted, found) {
        (Kind::Txt(wanted), Kind::Txt(found)) => version(wanted) == version(found),
        _ => wanted.name() == found.name(),
    }
}

fn version(text: &str) -> String {
    let end = text.find([' ', ';']).unwrap_or(text.len());
    text[..end].to_ascii_lowercase()
}

fn same(wanted: &Kind, found: &Kind) -> bool {
    match (wanted, found) {
        (Kind::Mx(wanted), Kind::Mx(found)) => bare(wanted) == bare(found),
        (Kind::Srv(port, wanted), Kind::Srv(its, found)) => port == its && bare(wanted) == bare(found),
        // Spaces between and around fields say nothing.
        (Kind::Txt(wanted), Kind::Txt(found)) => {
            let fields =
                |text: &str| text.split([';', ' ']).filter(|f| !f.is_empty()).map(String::from).collect::<Vec<_>>();
            let (wanted, found) = (fields(wanted), fields(found));
            wanted == found || is_as_good(&wanted, &found)
        }
        _ => wanted == found,
    }
}

/// Of policies, what says as much or more: another way of naming us beside others in SPF, a stricter DMARC with reports.
fn is_as_good(wanted: &[String], found: &[String]) -> bool {
    let version = |fields: &[String]| fields.first().map(|first| first.to_lowercase());
    if version(wanted) != version(found) {
        return false;
    }
    let has = |field: &str| found.iter().any(|other| other.eq_ignore_ascii_case(field));
    match version(wanted).as_deref() {
        // `?all` and `+all` say nothing against anybody.
        Some("v=spf1") => {
            let named = |field: &String| has(field) || has(&format!("+{field}"));
            wanted[1..].iter().filter(|field| !field.ends_with("all")).all(named) && (has("-all") || has("~all"))
        }
        Some("v=dmarc1") => has("p=quarantine") || has("p=reject"),
        _ => false,
    }
}

fn bare(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            host: "mx.Home.test".into(),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            leaves_through: Vec::new(),
            domains: vec![Domain {
                name: "home.test".into(),
                keys: vec![("p1r".into(), format!("v=DKIM1; k=rsa; p={}", "A".repeat(300)))],
            }],
            keys: vec![[0xab; 32]],
            ports: vec![465, 993],
        }
    }

    #[test]
    fn mail_that_leaves_through_a_proxy_may_leave_there() {
        let facts = Facts { leaves_through: vec!["out.clean.test".into()], ..facts() };
        let zone = zone_file(&records(&facts));
        for line in [
            "home.test. 3600 IN TXT \"v=spf1 mx a:out.clean.test -all\"",
            "mx.home.test. 3600 IN TXT \"v=spf1 a a:out.clean.test -all\"",
        ] {
            assert!(zone.lines().any(|found| found == line), "{line} is not in\n{zone}");
        }
    }

    #[test]
    fn a_zone_file_names_all_that_is_served_and_nothing_else() {
        let zone = zone_file(&records(&facts()));
        let expected = [
            "home.test. 3600 IN MX 10 mx.home.test.",
            "home.test. 3600 IN TXT \"v=spf1 mx -all\"",
            "_dmarc.home.test. 3600 IN TXT \"v=DMARC1; p=quarantine\"",
            "_submissions._tcp.home.test. 3600 IN SRV 0 1 465 mx.home.test.",
            "_imaps._tcp.home.test. 3600 IN SRV 0 1 993 mx.home.test.",
            "mx.home.test. 3600 IN A 192.0.2.1",
            "mx.home.test. 3600 IN AAAA 2001:db8::1",
            "mx.home.test. 3600 IN TXT \"v=spf1 a -all\"",
        ];
        for line in expected {
            assert!(zone.lines().any(|found| found == line), "{line} is not in\n{zone}");
        }
        let tlsa = format!("_25._tcp.mx.home.test. 3600 IN TLSA 3 1 1 {}", "ab".repeat(32));
        assert!(zone.lines().any(|found| found == tlsa));
        // A long key in pieces of 255.
        let key = zone.lines().find(|line| line.starts_with("p1r._domainkey")).unwrap();
        assert_eq!(key.matches('"').count(), 4);
        assert!(!zone.contains("587"));
        assert!(zone.lines().filter(|line| !line.starts_with(';')).all(|line| !line.contains("CAA")));
    }

    #[test]
    fn a_table_for_people() {
        let table = table(&records(&facts()));
        assert!(
            table.contains("v=spf1 mx -all")
                && !table.contains('"')
                && table.ends_with("Later: CAA, MTA-STS, TLS-RPT, autoconfig.\n")
        );
    }

    #[test]
    fn a_policy_that_says_more_is_fine() {
        let judged = |wanted: &str, found: &str| {
            let record = |text: &str| Kind::Txt(text.to_owned());
            same(&record(wanted), &record(found))
        };
        let (spf, dmarc) = ("v=spf1 mx -all", "v=DMARC1; p=quarantine");
        for fine in ["v=spf1 mx -all", "v=spf1 a +mx ip4:192.0.2.1 include:news.test ~all"] {
            assert!(judged(spf, fine), "{fine}");
        }
        for wrong in ["v=spf1 a -all", "v=spf1 mx", "v=spf1 mx ?all", "v=spf1 mx +all", "v=spf10 mx -all"] {
            assert!(!judged(spf, wrong), "{wrong}");
        }
        for fine in ["v=DMARC1; p=reject; rua=mailto:dmarc@home.test", "v=DMARC1;p=quarantine;pct=50"] {
            assert!(judged(dmarc, fine), "{fine}");
        }
        for wrong in ["v=DMARC1; p=none; sp=reject", "v=DMARC1"] {
            assert!(!judged(dmarc, wrong), "{wrong}");
        }
        assert!(!judged("v=DKIM1; k=rsa; p=AAAA", "v=DKIM1; k=rsa; p=BBBB"));
    }

    #[test]
    fn what_is_quoted() {
        assert_eq!(quoted("a\"b\\c\u{7f}"), "\"a\\\"b\\\\c\\127\"");
        assert_eq!(quoted(""), "\"\"");
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
        let mx = |host: &str| Kind::Mx(host.to_owned());
        assert_eq!(verdict(mx("mx.home.test"), vec![mx("MX.home.test."), mx("mx.home.test")]), Verdict::Fine);
        let Verdict::But(words) = verdict(mx("mx.home.test"), vec![mx("Backup.test."), mx("MX.home.test.")]) else {
            panic!("mail goes elsewhere, and nobody says so")
        };
        assert!(words.starts_with("home.test MX: some mail may go to backup.test in place of this box"), "{words}");
        assert!(wrong(verdict(mx("mx.home.test"), vec![mx("other.test")])).contains("10 other.test."));
        let srv = Kind::Srv(465, "mx.home.test".into());
        assert!(matches!(verdict(srv.clone(), vec![Kind::Srv(25, "mx.home.test".into())]), Verdict::Wrong(_)));
        assert_eq!(verdict(srv.clone(), vec![srv]), Verdict::Fine);
        let record = Record { name: "home.test".into(), kind: spf(), purpose: "" };
        assert!(matches!(judge(&record, &Found::NoAnswer), Verdict::Unknown(_)));
    }
}
