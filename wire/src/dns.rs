//! Questions to DNS resolvers, and what may count as their answers (RFC 1035). Hostile input: every answer. It is compared
//! with its question and of bounded size; what it says is the caller's to judge.

use std::io;
use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::limits::{DNS_ANSWER, DNS_MESSAGE, DNS_WAITS};

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
    use hickory_proto::rr::{Name, RecordType};

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
}
