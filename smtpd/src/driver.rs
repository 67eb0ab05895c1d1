//! Drives one session: reads lines, feeds them, performs the effects. What is decided is decided in `session`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use spool::names::{SlotId, TransactionId};
use tokio::time::{Instant, sleep, timeout};
use tracing::info;
use wire::handed::{Arrived, Door, Handed, Report};
use wire::lines::Line;
use wire::log::CheapLines;
use wire::logins::Answer;
use wire::sasl;

use crate::body::{Body, Stopped};
use crate::connection::Connection;
use crate::deliver::{self, Origin, Told};
use crate::desk::Desk;
use crate::limits;
use crate::peers::Keeper;
use crate::reply::closing;
use crate::sealing::Letters;
use crate::session::{
    Awaits, Begin, BodyOutcome, Effect, Event, LoginRefusal, Outcome, Owner, Session, Spent, TlsFacts,
};

/// Who comes, and how.
#[derive(Debug)]
pub struct Arrival {
    /// From which address.
    pub client: IpAddr,
    /// TLS from the first byte: 465, and all that comes through a proxy.
    pub implicit_tls: bool,
    /// Through which proxy; whom to tell that it was the wrong house.
    pub handed: Option<(Handed, Door)>,
}

/// What is logged of connections as such.
static CONNECTIONS: CheapLines = CheapLines::new();

/// Serves one connection to its end.
pub async fn serve(desk: Arc<Desk>, stream: Arrived, arrival: Arrival) {
    let Arrival { client, implicit_tls, handed } = arrival;
    let id = wire::log::session();
    let Ok(mut connection) = Connection::new(stream) else { return };
    let Some(keeper) = desk.keeper().await.filter(|_| !desk.draining()) else {
        match &handed {
            // In clear nothing can be said any more, but its proxy can still speak.
            Some((handed, door)) => door.answer(handed.number, false).await,
            None if implicit_tls => {}
            None => connection.reply(&closing("4.3.2", format!("{} is not ready, try again", desk.rules.host))),
        }
        return connection.close().await;
    };
    if let Some((handed, door)) = &handed {
        door.answer(handed.number, true).await;
    }
    if let Some((handed, _)) = &handed
        && CONNECTIONS.one_more(std::time::Instant::now())
    {
        // What the sender called itself is its own words: quoted, and not believed (EHLO comes again under TLS).
        let Handed { proxy, ehlo, sni, .. } = handed;
        info!(session = format_args!("{id:08x}"), %client, proxy, ?ehlo, ?sni, "came through a proxy");
    }
    let end = Instant::now() + limits::SESSION;
    let driver = Driver {
        desk,
        connection,
        client,
        id,
        keeper,
        end,
        tls: None,
        body: None,
        open: None,
        login: None,
        owner: None,
        handed,
        told: None,
    };
    if let Err(error) = driver.run(implicit_tls).await
        && CONNECTIONS.one_more(std::time::Instant::now())
    {
        info!(session = format_args!("{id:08x}"), client = %client, reason = %error, "connection lost");
    }
}

struct Driver {
    desk: Arc<Desk>,
    connection: Connection,
    client: IpAddr,
    id: u32,
    keeper: Keeper,
    end: Instant,
    tls: Option<TlsFacts>,
    /// The message of the transaction under way.
    body: Option<Body>,
    /// The transaction to give up when the connection is lost.
    open: Option<TransactionId>,
    /// The name of the login under way.
    login: Option<String>,
    /// Who has logged in.
    owner: Option<Owner>,
    /// Through which proxy it came.
    handed: Option<(Handed, Door)>,
    /// A letter's line for the log, written once its sender has the answer.
    told: Option<Told>,
}

impl Driver {
    async fn run(mut self, implicit_tls: bool) -> io::Result<()> {
        let outcome = self.converse(implicit_tls).await;
        self.tell();
        if let Some(transaction) = self.open.take() {
            self.keeper.abandon(transaction).await;
        }
        self.connection.close().await;
        outcome
    }

    async fn converse(&mut self, implicit_tls: bool) -> io::Result<()> {
        if implicit_tls {
            self.tls = Some(self.start_tls().await?);
        }
        let (mut session, mut effects) = match (&self.handed, &self.tls) {
            (Some(_), Some(tls)) => Session::taken_up(self.desk.rules.clone(), tls.clone()),
            _ => Session::new(self.desk.rules.clone(), self.tls.clone()),
        };
        loop {
            let mut outcome = None;
            for effect in effects {
                if let Some(event) = self.perform(effect).await? {
                    outcome = Some(event);
                }
            }
            let line;
            let event = match (outcome, session.awaits()) {
                (Some(event), _) => event,
                (None, Awaits::Line(limit)) => match self.line(limit, session.in_transaction()).await? {
                    Input::Line(bytes) => {
                        line = bytes;
                        Event::Line(&line)
                    }
                    Input::End => return Ok(()),
                    Input::Event(event) => event,
                },
                (None, Awaits::Nothing | Awaits::Outcome) => return Ok(()),
            };
            (session, effects) = session.handle(event);
        }
    }

    /// The next line, or what comes instead of it. What was replied is written before waiting for the peer,
    /// and not while it has sent ahead (RFC 2920 §3.2).
    async fn line(&mut self, limit: usize, in_transaction: bool) -> io::Result<Input> {
        if !self.connection.lines.buffered().contains(&b'\n') {
            self.connection.flush().await?;
        }
        self.tell();
        let patience = self.body.as_ref().map_or(limits::IDLE, Body::patience);
        let patience = patience.min(self.end.saturating_duration_since(Instant::now()));
        tokio::select! {
            biased;
            () = self.desk.drained(), if !in_transaction => Ok(Input::Event(Event::Drain)),
            () = self.desk.ended() => Ok(Input::Event(Event::DrainOver)),
            () = self.keeper.closed() => Ok(Input::Event(Event::KeeperGone)),
            line = timeout(patience, self.connection.lines.next(limit)) => Ok(match line {
                Err(_) => Input::Event(Event::TimedOut),
                Ok(line) => match line? {
                    Line::Whole(line) => Input::Line(line),
                    Line::TooLong => Input::Event(Event::TooLong),
                    Line::BareLineEnd => Input::Event(Event::BareLineEnd),
                    Line::End => Input::End,
                },
            }),
        }
    }

    /// Performs an effect. Those that have an outcome give the event.
    async fn perform(&mut self, effect: Effect) -> io::Result<Option<Event<'static>>> {
        Ok(match effect {
            Effect::Reply(reply) => {
                self.connection.reply(&reply);
                None
            }
            Effect::StartTls => {
                let facts = self.start_tls().await?;
                self.tls = Some(facts.clone());
                Some(Event::TlsStarted(facts))
            }
            Effect::Begin(begin) => Some(Event::Begun(self.begin(&begin))),
            Effect::CheckRecipient { transaction, address, size } => {
                self.open = Some(transaction);
                let answer = self.keeper.recipient(transaction, &address.to_string(), size).await;
                Some(Event::Recipient(answer))
            }
            Effect::Address { targets, outgoing } => {
                if let Some(body) = &mut self.body {
                    body.letters = Letters::begin(&targets, outgoing.as_ref());
                }
                None
            }
            Effect::ReadText => Some(self.read(Part::Text).await?),
            Effect::ReadChunk { octets, last } => Some(self.read(Part::Chunk { octets, last }).await?),
            Effect::Discard { octets } => Some(self.read(Part::Discard { octets }).await?),
            Effect::Deposit(envelope) => Some(Event::Deposited(self.deposit(envelope).await)),
            Effect::Abandon(transaction) => {
                self.body = None;
                if self.open.take().is_some() {
                    self.keeper.abandon(transaction).await;
                }
                None
            }
            Effect::FetchFields { name } => Some(Event::Fields(self.fields(name).await?)),
            Effect::Prove { attempt, device, check } => Some(self.prove(attempt, device, check).await),
            Effect::CountFailure { name, secret } => {
                self.count_failure(&name, secret.as_ref().map(|secret| secret.as_slice()));
                None
            }
            Effect::WrongHome { domain } => {
                if let Some((handed, door)) = &self.handed {
                    door.report(&Report::WrongHome { number: handed.number, domain }).await;
                }
                None
            }
            Effect::Close => {
                self.connection.flush().await?;
                None
            }
        })
    }

    /// In the middle of a handshake nothing can be said: a role that ends only hangs up.
    async fn start_tls(&mut self) -> io::Result<TlsFacts> {
        let mut facts = tokio::select! {
            biased;
            () = self.desk.drained() => return Err(io::Error::other("the server is stopping")),
            facts = self.connection.start_tls(&self.desk.tls) => facts?,
        };
        facts.binding = self.desk.rules.offer.binding(facts.binding);
        Ok(facts)
    }

    fn begin(&mut self, begin: &Begin) -> Result<TransactionId, Spent> {
        let transaction = deliver::new_transaction().ok_or(Spent)?;
        let largest = self.desk.rules.largest;
        // Only looked at: what is taken on somebody's word, a stranger takes without sending anything.
        let room = begin.size.unwrap_or(limits::BUDGET_STEP).min(largest);
        if !self.desk.budget.has_room(self.client, room) {
            return Err(Spent);
        }
        let taken = self.desk.budget.take(self.client, 0).ok_or(Spent)?;
        let early = self.desk.verifier.as_ref().map(|verifier| verifier.begin(self.client, begin));
        self.body = Some(Body::new(taken, largest, begin.size, early));
        Ok(transaction)
    }

    async fn read(&mut self, part: Part) -> io::Result<Event<'static>> {
        let Some(body) = &mut self.body else {
            return match part {
                Part::Discard { octets } => {
                    stopped(crate::body::discard(&mut self.connection, octets, self.end).await, || BodyOutcome::Whole)
                }
                _ => Ok(Event::KeeperGone),
            };
        };
        let connection = &mut self.connection;
        let read = async {
            match part {
                Part::Text => body.text(connection, self.end).await,
                Part::Chunk { octets, last } => body.chunk(connection, octets, last, self.end).await,
                Part::Discard { octets } => crate::body::discard(connection, octets, self.end).await,
            }
        };
        let read = tokio::select! {
            biased;
            read = read => read,
            () = self.keeper.closed() => return Ok(Event::KeeperGone),
            () = self.desk.ended() => return Ok(Event::DrainOver),
        };
        stopped(read, || self.body.as_ref().map_or(BodyOutcome::NoRoom, Body::outcome))
    }

    async fn deposit(&mut self, envelope: crate::session::Envelope) -> Outcome {
        let Some(body) = self.body.take() else { return Outcome::Failed };
        let tls = self.tls.as_ref().map(|tls| tls.description.clone());
        let origin = Origin { client: self.client, tls, id: self.id, owner: self.owner.clone() };
        let (outcome, told) = deliver::deliver(&self.desk, &self.keeper, origin, envelope, body).await;
        self.told = told;
        if outcome == Outcome::Delivered {
            self.open = None;
        }
        outcome
    }

    fn tell(&mut self) {
        if let Some(told) = self.told.take() {
            told.log(self.id, self.client);
        }
    }

    async fn fields(&mut self, name: String) -> io::Result<Result<sasl::Fields, LoginRefusal>> {
        let answer = self.logins(|logins, client| logins.before(client, &name, std::time::Instant::now()));
        let wait = match answer {
            Answer::Refuse => return Ok(Err(LoginRefusal::TooMany)),
            Answer::After(wait) => wait,
        };
        if !wait.is_zero() {
            self.connection.flush().await?;
            sleep(wait).await;
        }
        let fields = self.keeper.fields(&name).await;
        self.login = Some(name);
        Ok(fields.map_err(|_| LoginRefusal::Unavailable).map(|fields| sasl::Fields {
            attempt: fields.attempt,
            salt: fields.salt,
            iterations: fields.iterations,
            devices: fields
                .devices
                .into_iter()
                .map(|device| sasl::Verifier {
                    device: device.device.0,
                    stored_key: device.stored_key,
                    server_key: device.server_key,
                })
                .collect(),
        }))
    }

    async fn prove(&mut self, attempt: u64, device: SlotId, check: [u8; 32]) -> Event<'static> {
        let answer = self.keeper.prove(attempt, device, check).await;
        if let (Ok(Some((mailbox, _))), Some(name)) = (&answer, self.login.take()) {
            self.logins(|logins, client| logins.succeeded(client, &name, std::time::Instant::now()));
            info!(session = format_args!("{:08x}", self.id), client = %self.client, %mailbox, "logged in");
        }
        let answer = answer.map(|admitted| admitted.map(|(_, addresses)| Owner { addresses }));
        self.owner = answer.as_ref().ok().cloned().flatten();
        Event::Admitted(answer)
    }

    fn count_failure(&self, name: &str, secret: Option<&[u8]>) {
        self.logins(|logins, client| logins.failed(client, name, secret, std::time::Instant::now()));
        info!(session = format_args!("{:08x}", self.id), client = %self.client, "login failed");
    }

    fn logins<T>(&self, act: impl FnOnce(&mut wire::logins::Logins, IpAddr) -> T) -> T {
        self.desk.logins.with(self.handed.is_some(), |logins| act(logins, self.client))
    }
}

enum Input {
    Line(Vec<u8>),
    Event(Event<'static>),
    End,
}

enum Part {
    Text,
    Chunk { octets: u64, last: bool },
    Discard { octets: u64 },
}

fn stopped(read: Result<(), Stopped>, outcome: impl FnOnce() -> BodyOutcome) -> io::Result<Event<'static>> {
    match read {
        Ok(()) => Ok(Event::Body(outcome())),
        Err(Stopped::TooSlow) => Ok(Event::TimedOut),
        Err(Stopped::Lost(error)) => Err(error),
    }
}
