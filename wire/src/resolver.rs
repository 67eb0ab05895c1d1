//! The `resolver` role: carries DNS questions of `mx` to the resolvers this house uses, and their
//! answers back.
//!
//! Hostile inputs: DNS answers; questions from an `mx` that may have been taken over.
//! Holds: the two sockets on `mx`'s own loopback; nothing else. It has the host's network and no disk.
//! Can never: see mail, keys or addresses (it sees domain names). Taken over, it gives wrong answers.
//! Speaks: RFC 1035 §4 as a forwarder; it reads the header and compares the question, no more.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use filter_sandbox::confine::confine;
use filter_sandbox::role::Role;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::control::{self, Control, Controls, EdgeName};
use crate::limits;

mod nothings;

use nothings::Nothings;

/// What `up` sends first. Descriptors: the UDP socket, then the TCP listener, of `mx`'s loopback.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Resolvers to ask, in order. None: every question is answered "server failure" at once.
    pub upstreams: Vec<SocketAddr>,
}

/// The role's whole life.
#[must_use]
pub fn run() -> ExitCode {
    let confined = match confine(Role::Resolver) {
        Ok(confined) => confined,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let served = control::start::<Start>(&confined.control).map_err(io::Error::other).and_then(|(start, sockets)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { serve(start, sockets, Controls::new(confined.control)?).await })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("resolver: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(start: Start, sockets: Vec<OwnedFd>, controls: Controls) -> io::Result<()> {
    let forwarder = Rc::new(Forwarder::new(start.upstreams));
    let mut listening = listen(&forwarder, sockets)?;
    loop {
        match controls.next().await {
            Some((Control::Edge(EdgeName::Dns), sockets)) => {
                listening.iter().for_each(JoinHandle::abort);
                listening = listen(&forwarder, sockets)?;
            }
            Some((Control::Drain, _)) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

/// Serves one `mx`'s sockets until aborted.
fn listen(forwarder: &Rc<Forwarder>, sockets: Vec<OwnedFd>) -> io::Result<Vec<JoinHandle<()>>> {
    let [udp, tcp] = <[OwnedFd; 2]>::try_from(sockets)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "expected the UDP and the TCP socket"))?;
    let (udp, tcp) = (std::net::UdpSocket::from(udp), std::net::TcpListener::from(tcp));
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let (udp, tcp) = (Rc::new(UdpSocket::from_std(udp)?), TcpListener::from_std(tcp)?);
    Ok(vec![
        tokio::task::spawn_local(serve_udp(forwarder.clone(), udp)),
        tokio::task::spawn_local(serve_tcp(forwarder.clone(), tcp)),
    ])
}

async fn serve_udp(forwarder: Rc<Forwarder>, socket: Rc<UdpSocket>) {
    let mut buffer = vec![0; limits::DNS_MESSAGE];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(question) = Question::read(&buffer[..length]) else { continue };
        let (forwarder, socket) = (forwarder.clone(), socket.clone());
        tokio::task::spawn_local(async move {
            let answer = forwarder.answer(question, Transport::Udp).await;
            let _ = socket.send_to(&answer, from).await;
        });
    }
}

async fn serve_tcp(forwarder: Rc<Forwarder>, listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let forwarder = forwarder.clone();
        tokio::task::spawn_local(async move {
            while let Ok(message) = read_framed(&mut stream).await {
                let Some(question) = Question::read(&message) else { return };
                let answer = forwarder.answer(question, Transport::Tcp).await;
                if write_framed(&mut stream, &answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// A query as we forward it: one question, standard query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    message: Vec<u8>,
    /// Where the question section ends.
    end: usize,
}

const HEADER: usize = 12;
const SERVER_FAILURE: u8 = 2;

impl Question {
    /// For the root's name servers.
    fn root() -> Self {
        // Recursion desired, one question: the empty name, NS, IN.
        let message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
        Self { end: message.len(), message }
    }

    /// RFC 1035 §4.1: QR clear, opcode QUERY, QDCOUNT one, name without compression.
    fn read(message: &[u8]) -> Option<Self> {
        let counts = message.get(4..6)?;
        if message.len() > limits::DNS_MESSAGE || message[2] & 0xf8 != 0 || counts != [0, 1] {
            return None;
        }
        let end = question_end(message)?;
        Some(Self { message: message.to_vec(), end })
    }

    fn id(&self) -> [u8; 2] {
        [self.message[0], self.message[1]]
    }

    /// The name, in lower case as on the wire.
    fn name(&self) -> Vec<u8> {
        self.message[HEADER..self.end - 4].to_ascii_lowercase()
    }

    fn with_id(&self, id: [u8; 2]) -> Vec<u8> {
        let mut message = self.message.clone();
        message[..2].copy_from_slice(&id);
        message
    }

    /// Whether this is an answer to our question: same number, QR set, same question but for letter case.
    fn answered_by(&self, id: [u8; 2], answer: &[u8]) -> bool {
        let asked = &self.message[HEADER..self.end];
        answer.len() >= self.end
            && answer[..2] == id
            && answer[2] & 0x80 != 0
            && answer[4..6] == [0, 1]
            && answer[HEADER..self.end].eq_ignore_ascii_case(asked)
    }

    fn failure(&self) -> Vec<u8> {
        self.empty_answer(SERVER_FAILURE)
    }

    /// An answer without records: RD as asked, QR and RA set.
    fn empty_answer(&self, code: u8) -> Vec<u8> {
        let mut answer = self.message[..self.end].to_vec();
        answer[2] = answer[2] & 0x01 | 0x80;
        answer[3] = 0x80 | code;
        answer[6..HEADER].fill(0);
        answer
    }
}

/// Reads a question, and what is behind it as its answer.
pub(crate) fn exercise(bytes: &[u8]) {
    let Some(question) = Question::read(bytes) else { return };
    let _ = (question.name(), question.answered_by(question.id(), &bytes[question.end..]));
    assert!(question.answered_by(question.id(), &question.failure()), "our own failure is no answer");
}

/// RFC 1035 §4.1.2: labels, then type and class.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match *message.get(at)? {
            0 => break,
            label @ 1..=63 => at += 1 + usize::from(label),
            _ => return None,
        }
        if at > HEADER + 255 {
            return None;
        }
    }
    let end = at + 5;
    (end <= message.len()).then_some(end)
}

/// Asks upstream. In a house without Internet no letter waits for answers: questions fail at once while nobody
/// upstream answers anything.
struct Forwarder {
    upstreams: Vec<SocketAddr>,
    room: Semaphore,
    silence: RefCell<Silence>,
    nothings: RefCell<Nothings>,
}

/// Questions that nobody answered since the last answer of any kind. One of them says nothing: its domain's own servers
/// may be down, and whoever sends mail chooses domains.
#[derive(Default)]
struct Silence {
    unanswered: Vec<Vec<u8>>,
    answered: Option<Instant>,
    /// The house is taken to be cut off; when it was last tried.
    deaf: Option<Instant>,
}

/// Different questions that must stay unanswered before the house is taken to be cut off.
const SEVERAL: usize = 3;
/// How long a house that is cut off waits between tries.
const BETWEEN_TRIES: Duration = Duration::from_secs(20);

impl Forwarder {
    fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            room: Semaphore::new(limits::DNS_QUESTIONS),
            silence: RefCell::default(),
            nothings: RefCell::default(),
        }
    }

    async fn answer(self: &Rc<Self>, question: Question, transport: Transport) -> Vec<u8> {
        if self.upstreams.is_empty() {
            return question.failure();
        }
        if self.is_deaf() {
            self.try_again();
            return question.failure();
        }
        if let Some(answer) = self.nothings.borrow_mut().answer(&question) {
            return answer;
        }
        let Ok(_room) = self.room.try_acquire() else { return question.failure() };
        let asked = Instant::now();
        if let Some(answer) = self.ask_all(&question, transport).await {
            return answer;
        }
        if self.several_unanswered(&question, asked) && self.ask_all(&Question::root(), Transport::Udp).await.is_none()
        {
            self.silence.borrow_mut().deaf = Some(Instant::now());
        }
        question.failure()
    }

    /// The first answer of any upstream.
    async fn ask_all(&self, question: &Question, transport: Transport) -> Option<Vec<u8>> {
        let waits = match transport {
            Transport::Udp => &limits::DNS_WAITS[..],
            Transport::Tcp => &[limits::DNS_ANSWER],
        };
        for wait in waits {
            for upstream in &self.upstreams {
                if let Ok(Ok(mut answer)) = tokio::time::timeout(*wait, ask(*upstream, question, transport)).await {
                    *self.silence.borrow_mut() = Silence { answered: Some(Instant::now()), ..Silence::default() };
                    self.nothings.borrow_mut().note(question, &answer);
                    answer[..2].copy_from_slice(&question.id());
                    return Some(answer);
                }
            }
        }
        None
    }

    /// Notes a question without an answer; whether it is time to ask about the root, which every resolver knows.
    fn several_unanswered(&self, question: &Question, asked: Instant) -> bool {
        let mut silence = self.silence.borrow_mut();
        if silence.answered.is_some_and(|answered| answered >= asked) {
            return false;
        }
        let name = question.name();
        if !silence.unanswered.contains(&name) && silence.unanswered.len() < SEVERAL {
            silence.unanswered.push(name);
        }
        silence.unanswered.len() == SEVERAL
    }

    fn is_deaf(&self) -> bool {
        self.silence.borrow().deaf.is_some()
    }

    /// Asks about the root now and then, beside the letters: an answer ends the silence.
    fn try_again(self: &Rc<Self>) {
        let now = Instant::now();
        match &mut self.silence.borrow_mut().deaf {
            Some(tried) if now.duration_since(*tried) >= BETWEEN_TRIES => *tried = now,
            _ => return,
        }
        let this = self.clone();
        tokio::task::spawn_local(async move { this.ask_all(&Question::root(), Transport::Udp).await });
    }
}

async fn ask(upstream: SocketAddr, question: &Question, transport: Transport) -> io::Result<Vec<u8>> {
    let id = random_id()?;
    let message = question.with_id(id);
    match transport {
        Transport::Udp => ask_udp(upstream, question, id, &message).await,
        Transport::Tcp => {
            let mut stream = TcpStream::connect(upstream).await?;
            write_framed(&mut stream, &message).await?;
            let answer = read_framed(&mut stream).await?;
            question.answered_by(id, &answer).then_some(answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
    }
}

// A fresh socket a question: its port is the kernel's random choice, and the connect makes the kernel
// drop what comes from elsewhere (RFC 5452 §9).
async fn ask_udp(upstream: SocketAddr, question: &Question, id: [u8; 2], message: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if upstream.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; limits::DNS_MESSAGE];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if question.answered_by(id, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

fn random_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut id).map_err(|_| io::ErrorKind::Other)?;
    Ok(id)
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > limits::DNS_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests;
