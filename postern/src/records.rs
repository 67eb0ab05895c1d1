//! The DNS records of what this box serves, as a zone file and as a table; and what is wrong with those that are there.
//! Pure: who asks DNS hands its answers in.

use std::fmt::Write;
use std::net::IpAddr;

mod judge;

pub use judge::{Found, Sending, Verdict, judge};

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
    /// Those of them from which its own mail leaves, where that is known.
    pub sends_from: Vec<IpAddr>,
    /// Whether the world finds it at a proxy's address.
    pub is_behind_proxy: bool,
    /// Its further names at a proxy, and where they are to lead.
    pub also: Vec<(String, Vec<IpAddr>)>,
    /// The hosts of the proxies through which mail comes in.
    pub comes_through: Vec<String>,
    /// The names of the proxies through which its mail leaves.
    pub leaves_through: Vec<String>,
    /// Whether it leaves past them, too, where they take nothing.
    pub leaves_past: bool,
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
    /// MX with its preference.
    Mx(u16, String),
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
            Self::Mx(..) => "MX",
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
            Self::Mx(preference, host) => format!("{preference} {}.", bare(host)),
            Self::Txt(text) => quoted(text),
            Self::Tlsa(digest) => {
                let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("3 1 1 {hexadecimal}")
            }
            Self::Srv(port, host) => format!("0 1 {port} {}.", bare(host)),
        }
    }
}

/// Without the last dot.
fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
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
    for (name, at) in &facts.also {
        let kinds = at.iter().map(|address| Kind::Address(*address));
        records.extend(kinds.map(|kind| Record {
            name: name.clone(),
            kind,
            purpose: "where this box is by its other name",
        }));
    }
    if !facts.domains.iter().any(|domain| domain.name.eq_ignore_ascii_case(&host)) {
        let kind = Kind::Txt(facts.spf("a"));
        let purpose = match facts.line_is_unknown() {
            true => "who else may call himself so is left open: your own line does (SPF)",
            false => "nobody else may call himself so (SPF)",
        };
        records.push(Record { name: host.clone(), kind, purpose });
    }
    records.extend(keys.map(|(kind, purpose)| Record { name: format!("_25._tcp.{host}"), kind, purpose }));
    records
}

impl Facts {
    /// RFC 7208: who may send, `own` being this box itself.
    fn spf(&self, own: &str) -> String {
        let through: String = self.leaves_through.iter().map(|name| format!(" a:{name}")).collect();
        let line: String = match self.is_behind_proxy && self.leaves_by_itself() {
            true => {
                self.sends_from.iter().map(|at| format!(" {}:{at}", if at.is_ipv4() { "ip4" } else { "ip6" })).collect()
            }
            false => String::new(),
        };
        let others = if self.line_is_unknown() { "?all" } else { "-all" };
        format!("v=spf1 {own}{line}{through} {others}")
    }

    /// Whether its mail leaves by its own line.
    const fn leaves_by_itself(&self) -> bool {
        self.leaves_through.is_empty() || self.leaves_past
    }

    /// Whether it does, and nobody here knows by which address: its name leads to the proxy.
    #[must_use]
    pub const fn line_is_unknown(&self) -> bool {
        self.is_behind_proxy && self.sends_from.is_empty() && self.leaves_by_itself()
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
    let from = match facts.line_is_unknown() {
        true => "where else mail comes from is left open: from your own line (SPF)",
        false => "mail comes only from here (SPF)",
    };
    let mut records = vec![
        Record { name: name.clone(), kind: Kind::Mx(10, host.to_owned()), purpose: "mail comes here" },
        text(name.clone(), &facts.spf("mx"), from),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            host: "mx.Home.test".into(),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            sends_from: Vec::new(),
            is_behind_proxy: false,
            also: Vec::new(),
            comes_through: Vec::new(),
            leaves_through: Vec::new(),
            leaves_past: false,
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
    fn a_second_name_leads_to_the_same_box() {
        let also = vec![("mail.club.test".into(), vec!["192.0.2.9".parse().unwrap()])];
        let zone = zone_file(&records(&Facts { also, ..facts() }));
        assert!(zone.lines().any(|line| line == "mail.club.test. 3600 IN A 192.0.2.9"), "{zone}");
        assert_eq!(zone.matches("mail.club.test").count(), 1);
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
        let behind = Facts { is_behind_proxy: true, ..facts() };
        let spf = |facts: &Facts| zone_file(&records(facts)).contains("v=spf1 mx ?all");
        assert!(spf(&behind) && !spf(&facts()), "what its own line's address is nobody knows");
        let says_only = |facts: &Facts| {
            let table = self::table(&records(facts));
            [table.contains("comes only from here"), table.contains("nobody else may")]
        };
        assert_eq!((says_only(&facts()), says_only(&behind)), ([true; 2], [false; 2]), "and the words say so");
        let says =
            |facts: &Facts, text: &str| assert!(zone_file(&records(facts)).contains(text), "{}", facts.spf("mx"));
        let through = Facts { leaves_through: vec!["out.clean.test".into()], ..behind };
        says(&through, "v=spf1 mx a:out.clean.test -all");
        says(&Facts { leaves_past: true, ..through.clone() }, "v=spf1 mx a:out.clean.test ?all");
        let sends_from = ["44.0.0.9", "2a00:44::9"].map(|at| at.parse().unwrap()).to_vec();
        let known = Facts { sends_from, leaves_through: Vec::new(), ..through };
        says(&known, "v=spf1 mx ip4:44.0.0.9 ip6:2a00:44::9 -all");
    }

    #[test]
    fn what_is_quoted() {
        assert_eq!(quoted("a\"b\\c\u{7f}"), "\"a\\\"b\\\\c\\127\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
