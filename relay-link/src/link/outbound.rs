//! One outbound proxy: the courier's questions go to it, and the streams it opens come back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use wire::control::PairedProxy;
use wire::dialled::{Asked, Exchange};

use super::House;
use crate::control::{self, Script, Speaker};
use crate::home::{Proxy, State};
use crate::limits;
use crate::outbound::{FromHome, Host, Refusal, ToHome};

/// The link with one of them.
#[derive(Debug)]
pub(super) struct Link {
    proxy: Proxy,
    speaker: Speaker<FromHome>,
    state: watch::Receiver<State>,
    numbers: AtomicU32,
    asked: Mutex<HashMap<u32, oneshot::Sender<ToHome>>>,
}

/// What keeps it connected.
pub(super) struct Keeping {
    link: Arc<Link>,
    script: Script<FromHome>,
    tell: watch::Sender<State>,
}

/// Why there is no connection now.
struct Unmade {
    words: String,
    /// What is known of when there will be.
    when: When,
}

/// When there may be a connection.
enum When {
    Unknown,
    /// In so many seconds.
    In(u32),
    /// As soon as another has ended.
    OneEnds,
}

impl Unmade {
    fn refused(why: Refusal) -> Self {
        let when = match (why, why.seconds()) {
            (Refusal::Concurrent, _) => When::OneEnds,
            (_, Some(seconds)) => When::In(seconds),
            _ => When::Unknown,
        };
        Self { words: why.to_string(), when }
    }
}

impl From<String> for Unmade {
    fn from(words: String) -> Self {
        Self { words, when: When::Unknown }
    }
}

/// Takes its question back when nobody waits any more.
struct Question<'a> {
    link: &'a Link,
    number: u32,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.link.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Link {
    /// `None` when what is kept of the pairing cannot be read.
    pub(super) fn new(house: &House, paired: &PairedProxy) -> Option<(Arc<Self>, Keeping)> {
        let proxy = Proxy::paired(paired, house.dns.clone())?;
        let (speaker, script) = control::speaker();
        let (tell, state) = watch::channel(State::Dialling("it is being dialled".to_owned()));
        let link = Self { proxy, speaker, state, numbers: AtomicU32::new(1), asked: Mutex::default() };
        let link = Arc::new(link);
        Some((link.clone(), Keeping { link, script, tell }))
    }

    /// A connection with port 25 of a host, at which of its addresses, and the name that the proxy's address has.
    ///
    /// # Errors
    /// In words, why not now.
    async fn dial(&self, host: &Host) -> Result<(TcpStream, IpAddr, String), Unmade> {
        let hello = self.connected().await?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(number, answer);
        let _question = Question { link: self, number };
        let unheard = || format!("the outbound proxy {} does not answer", self.proxy.place);
        let ask = FromHome::Connect { request: number, host: host.clone() };
        self.speaker.say(ask).map_err(|_| unheard())?;
        match timeout(limits::DIAL, answered).await {
            Ok(Ok(ToHome::Connected { ticket, address, .. })) => {
                let fetched = self.proxy.fetch(&ticket).await;
                fetched.map(|stream| (stream, address, hello)).map_err(|error| format!("{}: {error}", unheard()).into())
            }
            Ok(Ok(ToHome::Refused { why, .. })) => Err(Unmade::refused(why)),
            _ => Err(unheard().into()),
        }
    }

    /// What it calls itself, once it is connected; a box that has just started waits a moment for that.
    async fn connected(&self) -> Result<String, String> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Connected(_)));
        if let Ok(Ok(state)) = timeout(limits::UP, up).await
            && let State::Connected(welcome) = &*state
        {
            return Ok(welcome.proxy.clone());
        }
        let why = match &*self.state.borrow() {
            State::Dialling(why) => why.clone(),
            State::Connected(_) => String::new(),
        };
        Err(format!("the outbound proxy {} is not connected: {why}", self.proxy.place))
    }

    fn hear(&self, message: ToHome) {
        let number = match &message {
            ToHome::Connected { request, .. } | ToHome::Refused { request, .. } => *request,
            // Nobody here asks for it: `postern doctor` has a connection of its own.
            ToHome::Budget(_) => return,
        };
        let waiting = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        waiting.into_iter().for_each(|waiting| drop(waiting.send(message.clone())));
    }
}

impl Keeping {
    /// Dials, and dials again, for ever.
    pub(super) async fn keep(self) {
        let (heard, mut messages) = mpsc::channel(limits::QUEUE);
        let keeping = self.link.proxy.keep(self.script, heard, self.tell);
        let hearing = async {
            while let Some(message) = messages.recv().await {
                self.link.hear(message);
            }
        };
        tokio::select! {
            () = keeping => {}
            () = hearing => {}
        }
    }
}

/// Answers the courier until it ends.
pub(super) async fn answer(house: Arc<House>, exchange: Exchange) {
    while let Some(asked) = exchange.next().await {
        let house = house.clone();
        tokio::spawn(async move { serve(&house, asked).await });
    }
}

async fn serve(house: &House, asked: Asked) {
    let Ok(_room) = house.dials.try_acquire() else {
        return asked.failed("too many connections are being made at once".to_owned()).await;
    };
    let Some(host) = Host::new(&asked.dial.host) else {
        return asked.failed("that is no host name".to_owned()).await;
    };
    let links = house.outbound();
    let mut last = Unmade::from("this house is not paired with an outbound proxy any more".to_owned());
    for link in links {
        match link.dial(&host).await {
            Ok((stream, address, hello)) => return asked.connected(&stream, address, hello).await,
            Err(why) => last = why,
        }
    }
    match last.when {
        When::In(seconds) => asked.not_before(seconds, last.words).await,
        When::OneEnds => asked.full(last.words).await,
        When::Unknown => asked.failed(last.words).await,
    }
}
