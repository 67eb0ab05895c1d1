//! Questions to the resolvers that this house uses. Answers are hostile: read by the library, compared with the question,
//! and believed to be secure only when the configuration says that the resolver validates and the way to it is safe.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mail_auth::hickory_resolver::proto::op::{Message, Query, ResponseCode};
use mail_auth::hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;
use wire::dns;
use wire::limits::DNS_QUESTIONS;

use super::dane::Tlsa;
use super::destination::{Answer, Mx};

/// The means to ask.
#[derive(Debug)]
pub struct Dns {
    upstreams: Vec<SocketAddr>,
    validates: bool,
    room: Semaphore,
}

impl Dns {
    /// With these resolvers, in order. `validates`: their AD bit is believed (RFC 6840 §5.7, 5.8).
    #[must_use]
    pub fn new(upstreams: Vec<SocketAddr>, validates: bool) -> Self {
        Self { upstreams, validates, room: Semaphore::new(DNS_QUESTIONS) }
    }

    /// MX records.
    pub async fn mx(&self, domain: &str) -> Answer<Mx> {
        self.ask(domain, RecordType::MX, |data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: mx.exchange.to_ascii() }),
            _ => None,
        })
        .await
    }

    /// AAAA records.
    pub async fn six(&self, host: &str) -> Answer<Ipv6Addr> {
        self.ask(host, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// A records.
    pub async fn four(&self, host: &str) -> Answer<Ipv4Addr> {
        self.ask(host, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The name that a name stands for (CNAME), one step; secure or not for itself, whatever comes behind it.
    pub async fn alias(&self, name: &str) -> Answer<String> {
        let Ok(mut asked) = Name::from_utf8(name) else { return Answer::Failed };
        asked.set_fqdn(true);
        let Ok(_room) = self.room.acquire().await else { return Answer::Failed };
        match dns::exchange(&self.upstreams, &Query::query(asked.clone(), RecordType::CNAME)).await {
            Some(message) => self.read_alias(&asked, &message),
            None => Answer::Failed,
        }
    }

    fn read_alias(&self, asked: &Name, message: &Message) -> Answer<String> {
        let secure = self.validates && message.metadata.authentic_data;
        match message.metadata.response_code {
            ResponseCode::NoError => match dns::alias(&dns::text(asked), message) {
                None => Answer::Nothing { secure },
                Some(to) => Answer::Found { records: vec![to], secure },
            },
            ResponseCode::NXDomain => Answer::NoName { secure },
            _ => Answer::Failed,
        }
    }

    /// TXT records, the strings of each put together.
    pub async fn txt(&self, name: &str) -> Answer<String> {
        self.ask(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        })
        .await
    }

    /// SRV records: port and host.
    pub async fn srv(&self, name: &str) -> Answer<(u16, String)> {
        self.ask(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some((srv.port, srv.target.to_ascii())),
            _ => None,
        })
        .await
    }

    /// TLSA records of a host's port 25.
    pub async fn tlsa(&self, host: &str) -> Answer<Tlsa> {
        self.ask(&format!("_25._tcp.{host}"), RecordType::TLSA, |data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        })
        .await
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, pick: fn(&RData) -> Option<T>) -> Answer<T> {
        let Ok(mut asked) = Name::from_utf8(name) else { return Answer::Failed };
        asked.set_fqdn(true);
        let Ok(_room) = self.room.acquire().await else { return Answer::Failed };
        match dns::exchange(&self.upstreams, &Query::query(asked.clone(), kind)).await {
            Some(message) => self.read(&asked, &message, pick),
            None => Answer::Failed,
        }
    }

    fn read<T>(&self, asked: &Name, message: &Message, pick: fn(&RData) -> Option<T>) -> Answer<T> {
        let secure = self.validates && message.metadata.authentic_data;
        match message.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Answer::NoName { secure },
            _ => return Answer::Failed,
        }
        let Ok(records) = dns::records(asked, message, pick) else { return Answer::Failed };
        if records.is_empty() { Answer::Nothing { secure } } else { Answer::Found { records, secure } }
    }

    /// For the fuzz targets: whatever an answer says, only what was asked for is read of it.
    pub(super) fn exercise(bytes: &[u8]) {
        let Ok(message) = Message::from_vec(bytes) else { return };
        let Some(asked) = message.queries.first().map(|query| query.name.clone()) else { return };
        let dns = Self::new(Vec::new(), true);
        let host = |data: &RData| match data {
            RData::MX(mx) => Some(mx.exchange.to_ascii()),
            _ => None,
        };
        let _ = (dns.read(&asked, &message, host), dns.read_alias(&asked, &message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_auth::hickory_resolver::proto::op::{MessageType, OpCode};
    use mail_auth::hickory_resolver::proto::rr::{Record, rdata};

    fn name(text: &str) -> Name {
        let mut name = Name::from_utf8(text).unwrap();
        name.set_fqdn(true);
        name
    }

    fn four(message: &Message, validates: bool) -> Answer<Ipv4Addr> {
        Dns::new(Vec::new(), validates).read(&name("a.test"), message, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
    }

    fn answered(records: &[(&str, RData)]) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.authentic_data = true;
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
        }
        message
    }

    #[test]
    fn aliases_are_followed_and_strangers_left_out() {
        let address = |last| RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, last)));
        let alias = |to| RData::CNAME(rdata::CNAME(name(to)));
        let found = |last, secure| Answer::Found { records: vec![Ipv4Addr::new(192, 0, 2, last)], secure };
        let message = answered(&[("A.test", alias("b.test")), ("b.test", address(1)), ("c.test", address(2))]);
        assert_eq!(four(&message, true), found(1, true));
        assert_eq!(four(&message, false), found(1, false), "nobody said that this resolver validates");
        assert_eq!(four(&answered(&[("a.test", alias("b.test"))]), true), Answer::Nothing { secure: true });
        let circle = answered(&[("a.test", alias("b.test")), ("b.test", alias("a.test"))]);
        assert_eq!(four(&circle, true), Answer::Failed);
        let mut none = answered(&[]);
        none.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(four(&none, true), Answer::NoName { secure: true });
        none.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(four(&none, true), Answer::Failed);
    }

    #[test]
    fn what_a_name_stands_for() {
        let alias = |to| RData::CNAME(rdata::CNAME(name(to)));
        let asked = |message: &Message, validates| Dns::new(Vec::new(), validates).read_alias(&name("a.test"), message);
        let found = |secure| Answer::Found { records: vec!["b.test".to_owned()], secure };
        let message =
            answered(&[("x.test", alias("y.test")), ("A.test", alias("B.test")), ("b.test", alias("c.test"))]);
        assert_eq!((asked(&message, true), asked(&message, false)), (found(true), found(false)));
        let mut none = answered(&[("x.test", alias("y.test"))]);
        assert_eq!(asked(&none, true), Answer::Nothing { secure: true });
        none.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(asked(&none, true), Answer::NoName { secure: true });
        none.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(asked(&none, true), Answer::Failed);
    }
}
