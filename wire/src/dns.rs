//! Questions to DNS resolvers, and what may count as their answers (RFC 1035). Hostile input: every answer. It is compared
//! with its question and of bounded size; what it says is the caller's to judge.

use std::io;
use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::limits::{DNS_ALIASES, DNS_ANSWER, DNS_MESSAGE, DNS_WAITS};

/// Bytes of an answer over UDP (RFC 9715 §3.1): larger ones come over TCP.
const UDP_PAYLOAD: u16 = 1_232;

/// Asks these resolvers, in order: the first answer that is no failure of the resolver's own, else such a failure
/// ([`is_failure`]); `None`: none has answered in time.
pub async fn exchange(upstreams: &[SocketAddr], query: &Query) -> Option<Message> {
    let mut failed = None;
    for wait in DNS_WAITS {
        for upstream in upstreams {
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

/// Whether it says nothing about the name, only that the resolver could not find out.
#[must_use]
pub fn is_failure(message: &Message) -> bool {
    !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// A name that stands for another, and that for another, without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endless;

/// What an answer says of the name that was asked for, or of where its aliases lead; of no other.
///
/// # Errors
/// [`Endless`].
pub fn records<T>(asked: &Name, message: &Message, pick: fn(&RData) -> Option<T>) -> Result<Vec<T>, Endless> {
    let mut name = text(asked);
    for _ in 0..=DNS_ALIASES {
        match alias(&name, message) {
            Some(to) => name = to,
            None => return Ok(of(&name, message).filter_map(pick).collect()),
        }
    }
    Err(Endless)
}

/// What this name itself stands for, by an answer.
#[must_use]
pub fn alias(name: &str, message: &Message) -> Option<String> {
    of(name, message).find_map(|data| match data {
        RData::CNAME(to) => Some(text(&to.0)),
        _ => None,
    })
}

fn of<'a>(name: &str, message: &'a Message) -> impl Iterator<Item = &'a RData> {
    message.answers.iter().filter(move |record| text(&record.name) == name).map(|record| &record.data)
}

/// A name in lower case, without the dot behind it.
#[must_use]
pub fn text(name: &Name) -> String {
    normal(&name.to_ascii())
}

/// The same of a name in writing.
#[must_use]
pub fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}

/// A domain as DNS has it: names beyond ASCII by IDNA (RFC 5890 §2.3.2.1, A-labels), others as they are. `None`: it has no such form.
#[must_use]
pub fn in_ascii(domain: &str) -> Option<String> {
    if domain.is_ascii() {
        return Some(domain.to_owned());
    }
    Name::from_utf8(domain).ok().map(|name| text(&name)).filter(|name| name.is_ascii())
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
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::{Record, RecordType, rdata};

    use super::*;

    fn name(text: &str) -> Name {
        let mut name = Name::from_utf8(text).unwrap();
        name.set_fqdn(true);
        name
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

    /// An answer in which each of these names stands for the next, and the last has an address.
    fn chain(names: &[&str]) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        for pair in names.windows(2) {
            message.add_answer(Record::from_rdata(name(pair[0]), 60, RData::CNAME(rdata::CNAME(name(pair[1])))));
        }
        let last = names.last().unwrap();
        for owner in [last, "stranger.test"] {
            message.add_answer(Record::from_rdata(
                name(owner),
                60,
                RData::A(rdata::A::new(192, 0, 2, owner.len() as u8)),
            ));
        }
        message
    }

    fn addresses(message: &Message) -> Result<Vec<u8>, Endless> {
        records(&name("a.test"), message, |data| match data {
            RData::A(address) => Some(address.octets()[3]),
            _ => None,
        })
    }

    #[test]
    fn aliases_are_followed_to_their_end() {
        assert_eq!(addresses(&chain(&["a.test"])), Ok(vec![6]));
        assert_eq!(addresses(&chain(&["A.test", "far.b.test"])), Ok(vec![10]));
        assert_eq!(addresses(&chain(&["b.test", "c.test"])), Ok(vec![]), "of another name");
        assert_eq!(addresses(&chain(&["a.test", "b.test", "a.test"])), Err(Endless), "a circle");
        let names: Vec<String> = (0..50).map(|number| format!("{number}.test")).collect();
        let names: Vec<&str> = std::iter::once("a.test").chain(names.iter().map(String::as_str)).collect();
        assert!(addresses(&chain(&names[..=DNS_ALIASES])).is_ok());
        assert_eq!(addresses(&chain(&names)), Err(Endless), "on and on");
        assert_eq!(alias("a.test", &chain(&["A.test", "B.test", "c.test"])).as_deref(), Some("b.test"));
        assert_eq!(alias("c.test", &chain(&["A.test", "B.test", "c.test"])), None);
    }
}
