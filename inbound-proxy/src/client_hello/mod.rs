//! Reads a ClientHello that goes by: whom it asks for and which tickets it shows. Nothing is taken out of the stream;
//! the bytes are handed on as they came.
//!
//! Hostile input: bounded by [`limits::CLIENT_HELLO`], may span records and packets. What is malformed within is no
//! error here, only a missing answer: the home's TLS will judge it.

use crate::limits;

mod read;

use read::Reader;

/// What a ClientHello says that matters for the way it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// RFC 6066 §3: the host it wants, lower case.
    pub sni: Option<String>,
    /// Session tickets that could be ours: RFC 8446 §4.2.11 identities, and the ticket of RFC 5077 §3.2. Those of homes are
    /// longer: nobody is to fill this proxy's memory with them for as long as a connection lasts.
    pub tickets: Vec<Vec<u8>>,
    /// RFC 7301: protocols it would speak.
    pub alpn: Vec<Vec<u8>>,
}

/// What has come so far is...
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// ...only a part.
    Incomplete,
    /// ...a whole ClientHello, perhaps with more behind it.
    Whole(ClientHello),
    /// ...not the beginning of TLS.
    NotTls,
    /// ...longer than any honest one.
    TooLong,
}

/// Most tickets that are looked at; clients show one.
const TICKETS: usize = 4;
/// Handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// ClientHello (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;

/// Looks at what has come on a connection so far. What it says of a beginning, unless that it is incomplete, it says
/// of all that begins so.
#[must_use]
pub fn examine(bytes: &[u8]) -> Progress {
    let bytes = &bytes[..bytes.len().min(limits::CLIENT_HELLO)];
    let (mut message, mut rest) = (Vec::new(), bytes);
    loop {
        // Told as early as possible: who speaks another protocol may wait for us to answer.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE) || rest.get(1).is_some_and(|major| *major != 3) {
            return Progress::NotTls;
        }
        let Some((header, after)) = rest.split_first_chunk::<5>() else { return incomplete(bytes) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > limits::RECORD {
            return Progress::NotTls;
        }
        let part = after.get(..length).unwrap_or(after);
        message.extend_from_slice(part);
        // The message can end before its record does; what comes behind it is not ours to wait for.
        if let Some(told) = judge(&message) {
            return told;
        }
        if part.len() < length {
            return incomplete(bytes);
        }
        rest = &after[length..];
    }
}

fn incomplete(bytes: &[u8]) -> Progress {
    if bytes.len() >= limits::CLIENT_HELLO { Progress::TooLong } else { Progress::Incomplete }
}

/// What the beginning of a handshake message is, once that can be told.
fn judge(message: &[u8]) -> Option<Progress> {
    let mut reader = Reader(message);
    if reader.u8()? != CLIENT_HELLO {
        return Some(Progress::NotTls);
    }
    let length = usize::try_from(reader.u24()?).ok()?;
    if length > limits::CLIENT_HELLO {
        return Some(Progress::TooLong);
    }
    let body = reader.take(length)?;
    Some(Progress::Whole(read(body).unwrap_or_default()))
}

/// RFC 8446 §4.1.2. `None` when it is malformed.
fn read(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    reader.list8()?;
    reader.list16()?;
    reader.list8()?;
    let mut hello = ClientHello::default();
    if reader.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.list16()?);
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let body = Reader(extensions.list16()?);
        match kind {
            0 => hello.sni = server_name(body),
            16 => hello.alpn = protocols(body).unwrap_or_default(),
            35 if !body.is_empty() => hello.tickets.push(body.0.to_vec()),
            41 => hello.tickets.extend(identities(body).unwrap_or_default()),
            _ => {}
        }
    }
    hello.tickets.retain(|ticket| ticket.len() == limits::TICKET);
    Some(hello)
}

/// RFC 6066 §3: one name, of kind host_name.
fn server_name(mut body: Reader<'_>) -> Option<String> {
    let mut list = Reader(body.list16()?);
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.list16()?;
        if kind == 0 {
            return host(name);
        }
    }
    None
}

fn host(name: &[u8]) -> Option<String> {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let formed = !name.is_empty() && name.len() <= limits::DOMAIN && name.iter().all(harmless);
    let name = formed.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())?;
    // Not allowed by the RFC, sent all the same.
    Some(name.strip_suffix('.').map_or_else(|| name.clone(), str::to_owned)).filter(|name| !name.is_empty())
}

fn protocols(mut body: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let (mut list, mut found) = (Reader(body.list16()?), Vec::new());
    while !list.is_empty() {
        found.push(list.list8()?.to_vec());
    }
    Some(found)
}

fn identities(mut body: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let (mut list, mut found) = (Reader(body.list16()?), Vec::new());
    while !list.is_empty() && found.len() < TICKETS {
        found.push(list.list16()?.to_vec());
        list.take(4)?;
    }
    Some(found)
}
