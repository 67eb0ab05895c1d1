//! Questions to the resolvers that this machine uses: whom to dial, who is calling, where a domain's mail goes.
//!
//! Hostile input: every answer. It is compared with its question, of bounded size, and believed only for what costs
//! little when it is wrong: a dialled proxy proves its key, and a wrong lesson costs a sender one more try.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;
use wire::dns::{self, text};
use wire::limits::DNS_QUESTIONS;

use crate::limits;

/// Every address of a host, as far as anybody has answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// These.
    pub found: Vec<IpAddr>,
    /// Of one kind nobody has said anything: IPv6 (or else IPv4).
    pub silent: Option<Silent>,
}

/// A kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    /// A.
    Four,
    /// AAAA.
    Six,
}

impl Silent {
    /// Whether an address is of this kind.
    #[must_use]
    pub const fn is_of(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::Four, IpAddr::V4(_)) | (Self::Six, IpAddr::V6(_)))
    }
}

impl Addresses {
    /// All of them.
    #[must_use]
    pub const fn all(found: Vec<IpAddr>) -> Self {
        Self { found, silent: None }
    }
}

/// The means to ask.
#[derive(Debug)]
pub struct Dns {
    upstreams: Vec<SocketAddr>,
    room: Semaphore,
}

impl Dns {
    /// With these resolvers, in order.
    #[must_use]
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self { upstreams, room: Semaphore::new(DNS_QUESTIONS) }
    }

    /// The addresses of a host, in the order in which they are to be tried; an address is its own. Empty: it has none.
    ///
    /// # Errors
    /// No resolver has answered.
    pub async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let (six, four) = tokio::join!(self.six(host), self.four(host));
        if let (Err(error), Err(_)) = (&six, &four) {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        let six = six.unwrap_or_default().into_iter().map(IpAddr::from).collect();
        let four = four.unwrap_or_default().into_iter().map(IpAddr::from).collect();
        let mut found = in_turn(six, four);
        found.truncate(limits::ADDRESSES);
        Ok(found)
    }

    /// Whether a host has this address, however many it has.
    ///
    /// # Errors
    /// No resolver has answered.
    pub async fn has_address(&self, host: &str, address: IpAddr) -> io::Result<bool> {
        Ok(match address.to_canonical() {
            IpAddr::V4(address) => self.four(host).await?.contains(&address),
            IpAddr::V6(address) => self.six(host).await?.contains(&address),
        })
    }

    /// Every address of a host. Empty: it has none. A resolver that fails for one kind takes nothing away of the other: senders that
    /// ask for that find the host by it.
    ///
    /// # Errors
    /// No resolver has answered.
    pub async fn all_addresses(&self, host: &str) -> io::Result<Addresses> {
        let (six, four) = tokio::join!(self.six(host), self.four(host));
        let silent = match (&six, &four) {
            (Err(error), Err(_)) => return Err(io::Error::new(error.kind(), error.to_string())),
            (Err(_), Ok(_)) => Some(Silent::Six),
            (Ok(_), Err(_)) => Some(Silent::Four),
            (Ok(_), Ok(_)) => None,
        };
        let four = four.unwrap_or_default().into_iter().map(IpAddr::from);
        let found = six.unwrap_or_default().into_iter().map(IpAddr::from).chain(four).collect();
        Ok(Addresses { found, silent })
    }

    /// The hosts that take a domain's mail, best first; without MX records the domain itself (RFC 5321 §5.1).
    ///
    /// # Errors
    /// No resolver has answered.
    pub async fn mail_hosts(&self, domain: &str) -> io::Result<Vec<String>> {
        let pick = |data: &RData| match data {
            RData::MX(mx) => Some((mx.preference, text(&mx.exchange))),
            _ => None,
        };
        let mut found = self.ask(domain, RecordType::MX, pick).await?;
        found.sort_unstable();
        if found.is_empty() {
            return Ok(vec![domain.to_ascii_lowercase()]);
        }
        Ok(found.into_iter().map(|(_, host)| host).take(limits::ADDRESSES).collect())
    }

    /// What an address is called (PTR), unconfirmed.
    ///
    /// # Errors
    /// No resolver has answered.
    pub async fn names(&self, address: IpAddr) -> io::Result<Vec<String>> {
        let pick = |data: &RData| match data {
            RData::PTR(name) => Some(text(&name.0)),
            _ => None,
        };
        let name = text(&Name::from(address));
        let mut found = self.ask(&name, RecordType::PTR, pick).await?;
        found.truncate(limits::ADDRESSES);
        Ok(found)
    }

    async fn six(&self, host: &str) -> io::Result<Vec<Ipv6Addr>> {
        let pick = |data: &RData| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        };
        self.ask(host, RecordType::AAAA, pick).await
    }

    async fn four(&self, host: &str) -> io::Result<Vec<Ipv4Addr>> {
        let pick = |data: &RData| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        };
        self.ask(host, RecordType::A, pick).await
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, pick: fn(&RData) -> Option<T>) -> io::Result<Vec<T>> {
        let asked = question(name).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no name to ask for"))?;
        let _room = self.room.acquire().await.map_err(io::Error::other)?;
        let query = Query::query(asked.clone(), kind);
        let answer = dns::exchange(&self.upstreams, &query).await.filter(|message| !dns::is_failure(message));
        let message = answer.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "no DNS server has answered"))?;
        let endless = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is another name, without end"));
        dns::records(&asked, &message, pick).map_err(endless)
    }
}

/// Whoever writes to a name of plain letters asks for it as it is written, whatever IDNA's tables say of one that begins with `xn--`:
/// so it is asked for here.
fn question(name: &str) -> Option<Name> {
    let read = if name.is_ascii() { Name::from_ascii(name.to_ascii_lowercase()) } else { Name::from_utf8(name) };
    let mut asked = read.ok()?;
    asked.set_fqdn(true);
    Some(asked)
}

/// One of each kind after the other: where one kind leads nowhere, the other is not far (RFC 8305 §4).
#[must_use]
pub fn in_turn(six: Vec<IpAddr>, four: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(six.next());
        all.extend(four.next());
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::config::is_host;

    #[test]
    fn no_kind_hides_the_other() {
        let [a, b, c, d] = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"].map(|text| text.parse().unwrap());
        assert_eq!(in_turn(vec![a, b, c], vec![d]), [a, d, b, c]);
        assert_eq!(in_turn(vec![], vec![d]), [d]);
    }

    use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::{Record, rdata};
    use tokio::net::UdpSocket;

    fn name(text: &str) -> Name {
        let mut name = Name::from_utf8(text).unwrap();
        name.set_fqdn(true);
        name
    }

    /// Answers every question with these records.
    async fn server(records: Vec<(&'static str, RData)>) -> Dns {
        failing(records, None).await
    }

    /// The same, but for questions of one kind, which fail.
    async fn failing(records: Vec<(&'static str, RData)>, kind: Option<RecordType>) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1_000];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                let mut message = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
                message.add_query(asked.queries[0].clone());
                if kind == Some(asked.queries[0].query_type()) {
                    message.metadata.response_code = ResponseCode::ServFail;
                }
                for (owner, data) in &records {
                    message.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
                }
                // First one that answers another question: it is passed over.
                let mut other = message.clone();
                other.metadata.id ^= 1;
                socket.send_to(&other.to_vec().unwrap(), from).await.unwrap();
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Dns::new(vec![address])
    }

    #[tokio::test]
    async fn addresses_behind_an_alias_and_of_nobody_else() {
        let a = |text: &str| RData::A(rdata::A(text.parse().unwrap()));
        let alias = RData::CNAME(rdata::CNAME(name("real.example")));
        let dns =
            server(vec![("clean.example", alias), ("real.example", a("192.0.2.1")), ("x.example", a("192.0.2.9"))]);
        let dns = dns.await;
        let expected: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        assert_eq!(dns.addresses("Clean.Example").await.unwrap(), expected);
        assert_eq!(dns.addresses("2001:db8::1").await.unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    /// A mail service may send from more machines than anybody would try.
    #[tokio::test]
    async fn one_of_many_addresses() {
        let many = (1..=20).map(|last| ("out.example", RData::A(rdata::A([192, 0, 2, last].into()))));
        let dns = server(many.collect()).await;
        let has = async |address: &str| dns.has_address("out.example", address.parse().unwrap()).await.unwrap();
        assert!(has("192.0.2.20").await && has("::ffff:192.0.2.9").await);
        assert!(!has("192.0.2.21").await && !has("2001:db8::1").await);
        assert_eq!(dns.addresses("out.example").await.unwrap().len(), limits::ADDRESSES);
    }

    #[tokio::test]
    async fn where_mail_goes() {
        let mx = |preference, host: &str| RData::MX(rdata::MX::new(preference, name(host)));
        let records = vec![("a.example", mx(20, "two.example")), ("a.example", mx(10, "One.Example"))];
        let dns = server(records).await;
        assert_eq!(dns.mail_hosts("a.example").await.unwrap(), ["one.example", "two.example"]);
        assert_eq!(dns.mail_hosts("b.example").await.unwrap(), ["b.example"], "none: the domain itself");
    }

    /// As old DNS servers answer AAAA.
    #[tokio::test]
    async fn what_was_answered_of_either_kind_counts() {
        let [four, six] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let records = || {
            let a = RData::A(rdata::A("192.0.2.1".parse().unwrap()));
            let aaaa = RData::AAAA(rdata::AAAA("2001:db8::1".parse().unwrap()));
            vec![("old.example", a), ("old.example", aaaa)]
        };
        for (fails, found, silent) in [
            (None, vec![six, four], None),
            (Some(RecordType::AAAA), vec![four], Some(Silent::Six)),
            (Some(RecordType::A), vec![six], Some(Silent::Four)),
        ] {
            let dns = failing(records(), fails).await;
            assert_eq!(dns.all_addresses("old.example").await.unwrap(), Addresses { found, silent }, "{fails:?}");
        }
        assert!(Dns::new(Vec::new()).all_addresses("old.example").await.is_err());
    }

    /// What an operator may invite can be asked for, as it is written.
    #[test]
    fn every_host_can_be_asked_for() {
        let label = "a".repeat(63);
        let long = [label.as_str(); 3].join(".") + "." + &"b".repeat(61);
        for good in ["xn--a.test", "xn--mller-kva.example", "a--b.test", "_dmarc.a.test", "mail.xn--zz.test", &long] {
            assert!(is_host(good), "{good}");
            assert_eq!(question(good).map(|name| text(&name)).as_deref(), Some(good));
        }
        assert!(!is_host(&format!("{long}b")) && question(&format!("{long}b")).is_none(), "254 octets");
        assert!(!is_host(&format!("{label}a.test")) && question(&format!("{label}a.test")).is_none());
        assert_eq!(question("M\u{fc}ller.Test").map(|name| text(&name)).as_deref(), Some("xn--mller-kva.test"));
    }

    #[tokio::test]
    async fn nobody_answers() {
        assert!(Dns::new(Vec::new()).addresses("clean.example").await.is_err());
    }
}
