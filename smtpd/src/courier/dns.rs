//! Questions to the resolvers that this house uses. Answers are hostile: read by the library, compared with the question,
//! and believed to be secure only when the configuration says that the resolver validates and the way to it is safe.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mail_auth::hickory_resolver::proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use mail_auth::hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wire::limits::{DNS_ANSWER, DNS_MESSAGE, DNS_QUESTIONS, DNS_WAITS};

use super::dane::Tlsa;
use super::destination::{self, Answer, Mx};

/// Bytes of an answer over UDP (RFC 9715 §3.1): larger ones come over TCP.
const UDP_PAYLOAD: u16 = 1_232;

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
        match self.exchange(&Query::query(asked.clone(), RecordType::CNAME)).await {
            Some(message) => self.read_alias(&asked, &message),
            None => Answer::Failed,
        }
    }

    fn read_alias(&self, asked: &Name, message: &Message) -> Answer<String> {
        let secure = self.validates && message.metadata.authentic_data;
        let normal = |name: &Name| destination::normal(&name.to_ascii());
        let own = message.answers.iter().filter(|record| normal(&record.name) == normal(asked));
        let to = own.filter_map(|record| match &record.data {
            RData::CNAME(to) => Some(normal(&to.0)),
            _ => None,
        });
        match message.metadata.response_code {
            ResponseCode::NoError => match to.take(1).collect::<Vec<_>>() {
                none if none.is_empty() => Answer::Nothing { secure },
                records => Answer::Found { records, secure },
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
        match self.exchange(&Query::query(asked.clone(), kind)).await {
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
        let normal = |name: &Name| destination::normal(&name.to_ascii());
        let aliases: Vec<(String, String)> = message
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::CNAME(to) => Some((normal(&record.name), normal(&to.0))),
                _ => None,
            })
            .collect();
        let Ok(name) = destination::follow(&normal(asked), &aliases) else { return Answer::Failed };
        let of_it = message.answers.iter().filter(|record| normal(&record.name) == name);
        let records: Vec<T> = of_it.filter_map(|record| pick(&record.data)).collect();
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

    /// The first answer of any resolver that is no failure of its own.
    async fn exchange(&self, query: &Query) -> Option<Message> {
        let mut failed = None;
        for wait in DNS_WAITS {
            for upstream in &self.upstreams {
                match timeout(wait, by_udp(*upstream, query)).await {
                    Ok(Ok(message)) if is_failure(&message) => failed = Some(message),
                    Ok(Ok(message)) if message.metadata.truncation => return by_tcp(*upstream, query).await.ok(),
                    Ok(Ok(message)) => return Some(message),
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            if failed.is_some() {
                break;
            }
        }
        failed
    }
}

fn is_failure(message: &Message) -> bool {
    !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// A fresh socket and number for each question, so that neither can be guessed (RFC 5452 §9).
async fn by_udp(upstream: SocketAddr, query: &Query) -> io::Result<Message> {
    let any: SocketAddr = if upstream.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    let (id, bytes) = question(query)?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; DNS_MESSAGE];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(message) = answer(&buffer[..length], id, query) {
            return Ok(message);
        }
    }
}

async fn by_tcp(upstream: SocketAddr, query: &Query) -> io::Result<Message> {
    let exchange = async {
        let mut stream = TcpStream::connect(upstream).await?;
        let (id, bytes) = question(query)?;
        let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
        let length = usize::from(stream.read_u16().await?);
        let mut buffer = vec![0; length];
        stream.read_exact(&mut buffer).await?;
        answer(&buffer, id, query).ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    timeout(DNS_ANSWER, exchange).await.map_err(|_| io::ErrorKind::TimedOut)?
}

fn question(query: &Query) -> io::Result<(u16, Vec<u8>)> {
    let mut id = [0; 2];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut id).map_err(|_| io::ErrorKind::Other)?;
    let mut message = Message::query();
    message.metadata.id = u16::from_be_bytes(id);
    message.metadata.recursion_desired = true;
    // RFC 6840 §5.7: "tell me whether it is authentic", without all the signatures.
    message.metadata.authentic_data = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(io::Error::other)?;
    Ok((u16::from_be_bytes(id), bytes))
}

fn answer(bytes: &[u8], id: u16, query: &Query) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let [asked] = message.queries.as_slice() else { return None };
    let fits = message.metadata.message_type == MessageType::Response
        && message.metadata.id == id
        && asked.query_type == query.query_type
        && asked.name == query.name;
    fits.then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_auth::hickory_resolver::proto::op::OpCode;
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

    #[test]
    fn only_what_was_asked_is_an_answer() {
        let query = Query::query(name("a.test"), RecordType::A);
        let (id, _) = question(&query).unwrap();
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        message.add_query(query.clone());
        assert!(answer(&message.to_vec().unwrap(), id, &query).is_some());
        assert!(answer(&message.to_vec().unwrap(), id.wrapping_add(1), &query).is_none());
        let other = Query::query(name("b.test"), RecordType::A);
        assert!(answer(&message.to_vec().unwrap(), id, &other).is_none());
        assert!(answer(b"\0\x01", id, &query).is_none());
    }
}
