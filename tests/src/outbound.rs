//! An outbound proxy in a test's network, and homes that ask it for connections: a house, or a stranger to all rules.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use relay_link::control::{self, Speaker};
use relay_link::dns::Dns;
use relay_link::home::{self, Proxy, State};
use relay_link::keys::LinkKey;
use relay_link::outbound::{Budget, FromHome, Host as Wanted, Refusal, ToHome};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::Authority;
use crate::hosts::Host;
use crate::operated::Operated;

/// What an outbound proxy calls itself in a test.
pub const AWAY: &str = "away.test";
/// Waited for at most so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running outbound proxy.
#[derive(Debug)]
pub struct Outbound {
    operated: Operated,
    address: String,
}

impl Outbound {
    /// Starts one on that host.
    #[must_use]
    pub fn start(host: Host, address: &str) -> Self {
        Self { operated: Operated::start("outbound-proxy", host, AWAY, ""), address: address.to_owned() }
    }

    /// A code for a home of that name.
    #[must_use]
    pub fn invite(&self, home: &str, allowance: &[&str]) -> String {
        self.operator(&[&["invite", home, "--at", &self.address], allowance].concat()).trim().to_owned()
    }

    /// One number of what it says of a home.
    #[must_use]
    pub fn status(&self, home: &str, what: &str) -> u64 {
        let all: Value = serde_json::from_str(&self.operator(&["status", "--json"])).unwrap();
        let of = all.as_array().unwrap().iter().find(|one| one["home"] == home);
        of.and_then(|one| one[what].as_u64()).unwrap_or_else(|| panic!("no {what} of {home} in {all}"))
    }
}

impl Deref for Outbound {
    type Target = Operated;

    fn deref(&self) -> &Operated {
        &self.operated
    }
}

impl DerefMut for Outbound {
    fn deref_mut(&mut self) -> &mut Operated {
        &mut self.operated
    }
}

/// A home that keeps to no rule but the link's: it asks for what it likes, and says what it likes.
pub struct Stranger {
    runtime: Runtime,
    proxy: Arc<Proxy>,
    speaker: Speaker<FromHome>,
    messages: mpsc::Receiver<ToHome>,
    request: u32,
}

impl Stranger {
    /// Pairs, and is connected.
    #[must_use]
    pub fn pair(code: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let code = code.parse().unwrap();
        let pairing = home::pair(&code, LinkKey::generate().unwrap(), Arc::new(Dns::new(Vec::new())));
        let proxy = Arc::new(runtime.block_on(pairing).unwrap().0);
        let (speaker, script) = control::speaker();
        let (heard, messages) = mpsc::channel(64);
        let (tell, mut state) = watch::channel(State::Dialling("not yet".into()));
        let keeping = proxy.clone();
        runtime.spawn(async move { keeping.keep(script, heard, tell).await });
        let up = state.wait_for(|state| matches!(state, State::Connected(_)));
        runtime.block_on(async { tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap() });
        Self { runtime, proxy, speaker, messages, request: 0 }
    }

    fn hear(&mut self) -> ToHome {
        let heard = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.messages.recv()).await });
        heard.expect("an answer").expect("the link")
    }

    /// A connection with port 25 of a host.
    ///
    /// # Errors
    /// The proxy's.
    pub fn connect(&mut self, host: &str) -> Result<TcpStream, Refusal> {
        self.request += 1;
        let host = Wanted::new(host).unwrap_or_else(|| panic!("{host} is no host"));
        self.speaker.say(FromHome::Connect { request: self.request, host }).unwrap();
        match self.hear() {
            ToHome::Connected { ticket, .. } => {
                let proxy = self.proxy.clone();
                let stream = self.runtime.block_on(async move { proxy.fetch(&ticket).await?.into_std() }).unwrap();
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Ok(stream)
            }
            ToHome::Refused { why, .. } => Err(why),
            ToHome::Budget(budget) => panic!("{budget:?}"),
        }
    }

    /// What it may still send.
    pub fn budget(&mut self) -> Budget {
        self.speaker.say(FromHome::AskBudget).unwrap();
        match self.hear() {
            ToHome::Budget(budget) => budget,
            other => panic!("{other:?}"),
        }
    }
}

/// A session under TLS with a far server, through a proxy or not.
pub struct Session(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Session {
    /// Greeting, EHLO, STARTTLS, the handshake, EHLO.
    ///
    /// # Errors
    /// The connection's, or a reply that is not good.
    pub fn open(tcp: TcpStream, host: &str, authority: &Authority) -> io::Result<Self> {
        let mut clear = BufReader::new(tcp);
        reply(&mut clear, "2")?;
        for command in ["EHLO away.test\r\n", "STARTTLS\r\n"] {
            clear.get_mut().write_all(command.as_bytes())?;
            reply(&mut clear, "2")?;
        }
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(authority.authority()).map_err(io::Error::other)?;
        roots.add(trusted).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut this = Self(BufReader::new(StreamOwned::new(client, clear.into_inner())));
        this.ask("EHLO away.test", "2")?;
        Ok(this)
    }

    /// One command, and its reply, which must begin so.
    ///
    /// # Errors
    /// The connection's, or another reply.
    pub fn ask(&mut self, line: &str, good: &str) -> io::Result<String> {
        self.say(&format!("{line}\r\n"))?;
        self.reply(good)
    }

    /// Text as it is, in one flight.
    ///
    /// # Errors
    /// The connection's.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())?;
        self.0.get_mut().flush()
    }

    /// A reply, which must begin so.
    ///
    /// # Errors
    /// The connection's, or another reply.
    pub fn reply(&mut self, good: &str) -> io::Result<String> {
        reply(&mut self.0, good)
    }

    /// A letter to all of these; whether commands are sent in one flight.
    ///
    /// # Errors
    /// The connection's, or a reply that is not good.
    pub fn send(&mut self, to: &[String], pipelined: bool, text: &str) -> io::Result<()> {
        let envelope: Vec<String> = std::iter::once("MAIL FROM:<you@home.test>".to_owned())
            .chain(to.iter().map(|to| format!("RCPT TO:<{to}>")))
            .collect();
        if pipelined {
            self.say(&(envelope.join("\r\n") + "\r\nDATA\r\n"))?;
            for _ in &envelope {
                self.reply("2")?;
            }
        } else {
            for line in &envelope {
                self.ask(line, "2")?;
            }
            self.say("DATA\r\n")?;
        }
        self.reply("3")?;
        self.ask(&format!("From: you@home.test\r\nSubject: {text}\r\n\r\n{text}\r\n."), "2").map(drop)
    }
}

fn reply(from: &mut impl BufRead, good: &str) -> io::Result<String> {
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return if line.starts_with(good) { Ok(line) } else { Err(io::Error::other(line)) };
        }
    }
}
