//! The pure session as a transcript's peer: a driver without sockets, and a keeper that is a table.

use std::sync::Arc;

use smtpd::authors::{self, Authors};
use smtpd::data::{LineEnds, Reader};
use smtpd::form;
use smtpd::session::path::Address;
use smtpd::session::{
    Awaits, BodyOutcome, Effect, Event, LoginRefusal, Outcome, Owner, Rules, Service, Session, Spent, TlsFacts,
};
use spool::edges::{Down, Recipient, Target};
use spool::names::{MailboxId, TransactionId};
use wire::tls::ChannelBinding;
use wire::{sasl, scram};

use super::transcript::{Peer, unescape};

/// The one device password of the one login, `you@home.test`.
pub const PASSWORD: &str = "device-password-1234";

pub struct World {
    rules: Rules,
    implicit_tls: bool,
    budget_spent: bool,
    keeper_down: bool,
    outcome: Outcome,
    binding: ChannelBinding,
    pub delivered: Vec<Vec<u8>>,
    mailboxes: usize,
    abandoned: usize,
    failures: usize,
}

enum Pending {
    Nothing,
    Tls,
    Text(Reader, Vec<u8>),
    Chunk { left: usize, last: bool },
    Discard { left: usize },
}

struct Conversation {
    session: Option<Session>,
    input: Vec<u8>,
    output: Vec<u8>,
    pending: Pending,
    body: Vec<u8>,
    ends: LineEnds,
    owner: Option<Owner>,
}

pub struct Pure {
    pub world: World,
    conversations: Vec<Option<Conversation>>,
}

impl Default for Pure {
    fn default() -> Self {
        let rules = Rules {
            service: Service::Mx,
            host: "mx.home.test".into(),
            domain: "home.test".into(),
            largest: 100_000,
            clear_text: Vec::new(),
            offer: Default::default(),
        };
        let world = World {
            rules,
            implicit_tls: false,
            budget_spent: false,
            keeper_down: false,
            outcome: Outcome::Delivered,
            binding: ChannelBinding::default(),
            delivered: Vec::new(),
            mailboxes: 0,
            abandoned: 0,
            failures: 0,
        };
        Self { world, conversations: (0..4).map(|_| None).collect() }
    }
}

impl Pure {
    /// Whose TLS connections have a channel binding.
    pub fn bound() -> Self {
        let mut pure = Self::default();
        pure.world.binding = ChannelBinding { exporter: Some([5; 32]), end_point: Some(vec![6; 32]) };
        pure
    }

    fn with<T>(&mut self, number: usize, act: impl FnOnce(&mut Conversation, &mut World) -> T) -> T {
        let world = &mut self.world;
        let conversation = self.conversations[number].get_or_insert_with(|| Conversation::new(world));
        act(conversation, world)
    }

    fn tell(&mut self, event: fn() -> Event<'static>) -> Result<(), String> {
        self.with(1, |conversation, world| {
            conversation.handle(event(), world);
            conversation.pump(world);
        });
        Ok(())
    }
}

impl Peer for Pure {
    fn send(&mut self, number: usize, bytes: &[u8]) {
        self.with(number, |conversation, world| {
            conversation.input.extend_from_slice(bytes);
            conversation.pump(world);
        });
    }

    fn line(&mut self, number: usize) -> Option<String> {
        self.with(number, |conversation, _| {
            let end = conversation.output.windows(2).position(|pair| pair == b"\r\n")?;
            let line: Vec<u8> = conversation.output.drain(..end + 2).take(end).collect();
            Some(String::from_utf8(line).expect("replies are UTF-8"))
        })
    }

    fn is_closed(&mut self, number: usize) -> bool {
        self.with(number, |conversation, _| conversation.session.as_ref().unwrap().awaits() == Awaits::Nothing)
    }

    fn start_tls(&mut self, number: usize) {
        self.with(number, |conversation, world| {
            assert!(matches!(conversation.pending, Pending::Tls), "no STARTTLS was agreed");
            conversation.pending = Pending::Nothing;
            conversation.handle(Event::TlsStarted(facts(world)), world);
        });
    }

    fn is_bound(&self) -> bool {
        self.world.binding.exporter.is_some()
    }

    fn directive(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let world = &mut self.world;
        let equal = |found: usize| {
            if found.to_string() == value { Ok(()) } else { Err(format!("there were {found}")) }
        };
        Some(match key {
            "service" => {
                world.rules.service = if value == "mx" { Service::Mx } else { Service::Submission };
                world.implicit_tls = value == "submissions";
                Ok(())
            }
            "clear-text" => {
                world.rules.clear_text = value.split_whitespace().map(str::to_owned).collect();
                Ok(())
            }
            "largest" => {
                world.rules.largest = value.parse().unwrap();
                Ok(())
            }
            "budget" => {
                world.budget_spent = value == "spent";
                Ok(())
            }
            "outcome" => {
                world.outcome = outcome(value);
                Ok(())
            }
            "keeper" if value == "down" => {
                world.keeper_down = true;
                Ok(())
            }
            "keeper" => self.tell(|| Event::KeeperGone),
            "drain" => self.tell(|| Event::Drain),
            "timeout" => self.tell(|| Event::TimedOut),
            "delivered" => equal(world.delivered.len()),
            "mailboxes" => equal(world.mailboxes),
            "abandoned" => equal(world.abandoned),
            "login-failures" => equal(world.failures),
            "text" => match world.delivered.last() {
                Some(text) if *text == unescape(value) => Ok(()),
                Some(text) => Err(format!("the text is {}", text.escape_ascii())),
                None => Err("nothing was delivered".into()),
            },
            _ => return None,
        })
    }
}

fn outcome(name: &str) -> Outcome {
    match name {
        "full" => Outcome::Full,
        "waiting" => Outcome::Waiting,
        "mailbox-full" => Outcome::MailboxFull,
        "failed" => Outcome::Failed,
        "unfiltered" => Outcome::Unfiltered,
        "not-understood" => Outcome::NotUnderstood,
        "nul" => Outcome::Nul,
        "policy-reject" => Outcome::PolicyReject,
        "policy-undecided" => Outcome::PolicyUndecided,
        "keeper-gone" => Outcome::KeeperGone,
        other => panic!("no outcome {other}"),
    }
}

fn facts(world: &World) -> TlsFacts {
    TlsFacts { description: "TLS1.3 with TLS13_AES_128_GCM_SHA256".into(), binding: world.binding.clone() }
}

impl Conversation {
    fn new(world: &mut World) -> Self {
        let (session, effects) = Session::new(Arc::new(world.rules.clone()), world.implicit_tls.then(|| facts(world)));
        let mut conversation = Self {
            session: Some(session),
            input: Vec::new(),
            output: Vec::new(),
            pending: Pending::Nothing,
            body: Vec::new(),
            ends: LineEnds::default(),
            owner: None,
        };
        conversation.perform(effects, world);
        conversation
    }

    fn pump(&mut self, world: &mut World) {
        while let Some(event) = self.read() {
            match event {
                Read::Line(line) => self.handle(Event::Line(&line), world),
                Read::Event(event) => self.handle(event, world),
            }
        }
    }

    fn read(&mut self) -> Option<Read> {
        match &mut self.pending {
            Pending::Tls => None,
            Pending::Nothing => self.read_line(),
            Pending::Text(reader, text) => {
                let took = reader.feed(&self.input, text);
                self.input.drain(..took);
                if !reader.ended() {
                    return None;
                }
                let fault = reader.fault();
                self.body = std::mem::take(text);
                self.pending = Pending::Nothing;
                Some(Read::Event(Event::Body(fault.map_or(BodyOutcome::Whole, BodyOutcome::Faulty))))
            }
            Pending::Chunk { left, last } => {
                let taken: Vec<u8> = self.input.drain(..self.input.len().min(*left)).collect();
                *left -= taken.len();
                self.ends.feed(&taken);
                self.body.extend_from_slice(&taken);
                if *left > 0 {
                    return None;
                }
                let fault = if *last { self.ends.fault() } else { None };
                self.pending = Pending::Nothing;
                Some(Read::Event(Event::Body(fault.map_or(BodyOutcome::Whole, BodyOutcome::Faulty))))
            }
            Pending::Discard { left } => {
                let some = self.input.len().min(*left);
                self.input.drain(..some);
                *left -= some;
                if *left > 0 {
                    return None;
                }
                self.pending = Pending::Nothing;
                Some(Read::Event(Event::Body(BodyOutcome::Whole)))
            }
        }
    }

    fn read_line(&mut self) -> Option<Read> {
        let Awaits::Line(limit) = self.session.as_ref().unwrap().awaits() else { return None };
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")?;
        let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
        Some(if line.len() + 2 > limit {
            Read::Event(Event::TooLong)
        } else if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            Read::Event(Event::BareLineEnd)
        } else {
            Read::Line(line)
        })
    }

    fn handle(&mut self, event: Event<'_>, world: &mut World) {
        let (session, effects) = self.session.take().unwrap().handle(event);
        self.session = Some(session);
        self.perform(effects, world);
    }

    fn perform(&mut self, effects: Vec<Effect>, world: &mut World) {
        let mut outcome = None;
        for effect in effects {
            outcome = self.effect(effect, world).or(outcome);
        }
        if let Some(event) = outcome {
            self.handle(event, world);
        }
    }

    fn effect(&mut self, effect: Effect, world: &mut World) -> Option<Event<'static>> {
        match effect {
            Effect::Reply(reply) => reply.write(&mut self.output),
            // No transcript comes through a proxy; nothing is sealed here.
            Effect::WrongHome { .. } | Effect::Address { .. } => {}
            Effect::StartTls => {
                self.input.clear();
                self.pending = Pending::Tls;
            }
            Effect::Begin(_) => {
                self.body.clear();
                self.ends = LineEnds::default();
                return Some(Event::Begun(if world.budget_spent { Err(Spent) } else { Ok(TransactionId([1; 16])) }));
            }
            Effect::CheckRecipient { address, .. } => {
                let answer = if world.keeper_down { Err(Down) } else { Ok(recipient(&address)) };
                return Some(Event::Recipient(answer));
            }
            Effect::ReadText => self.pending = Pending::Text(Reader::default(), Vec::new()),
            Effect::ReadChunk { octets, last } => {
                self.pending = Pending::Chunk { left: usize::try_from(octets).unwrap(), last };
            }
            Effect::Discard { octets } => self.pending = Pending::Discard { left: usize::try_from(octets).unwrap() },
            Effect::Deposit(envelope) => {
                let outcome = self.deposit(world);
                if outcome == Outcome::Delivered {
                    world.mailboxes += envelope.targets().len();
                    world.delivered.push(std::mem::take(&mut self.body));
                }
                return Some(Event::Deposited(outcome));
            }
            Effect::Abandon(_) => world.abandoned += 1,
            Effect::FetchFields { name } => return Some(Event::Fields(fields(world, &name))),
            Effect::Prove { check, .. } => {
                let proven = check == scram::check(&client_key());
                self.owner =
                    proven.then(|| Owner { addresses: vec!["you@home.test".into(), "alias@home.test".into()] });
                return Some(Event::Admitted(Ok(self.owner.clone())));
            }
            Effect::CountFailure { .. } => world.failures += 1,
            Effect::Close => {}
        }
        None
    }

    fn deposit(&self, world: &mut World) -> Outcome {
        if let Some(fault) = form::fault(&self.body) {
            return fault;
        }
        if world.rules.service == Service::Submission {
            if let Some(fault) = form::owners_fault(&self.body) {
                return fault;
            }
            let owner = self.owner.as_ref().expect("nobody submits without a login");
            match authors::of(&self.body) {
                Authors::Unreadable => return Outcome::NoFrom,
                Authors::These(all) if !all.iter().all(|author| owner.owns(author)) => return Outcome::NotOwned,
                Authors::These(_) => {}
            }
        }
        std::mem::replace(&mut world.outcome, Outcome::Delivered)
    }
}

enum Read {
    Line(Vec<u8>),
    Event(Event<'static>),
}

fn recipient(address: &Address) -> Recipient {
    let target = |n| Target { mailbox: MailboxId(n), generation: 1, public_key: String::new() };
    if !address.domain().eq_ignore_ascii_case("home.test") {
        return Recipient::NotLocal;
    }
    match address.canonical().trim_end_matches("@home.test") {
        "you" | "alias" | "postmaster" => Recipient::Known(vec![target(1)]),
        "other" => Recipient::Known(vec![target(2)]),
        "family" => Recipient::Known(vec![target(1), target(2)]),
        "village" => Recipient::Known((10..130).map(target).collect()),
        "full" => Recipient::OverQuota,
        "tight" => Recipient::Separately,
        "later" => Recipient::NotNow,
        "waiting" => Recipient::Waiting,
        _ => Recipient::Unknown,
    }
}

fn client_key() -> scram::Secret {
    scram::client_key(&scram::salted_password(PASSWORD.as_bytes(), &[7; 16], 4096))
}

fn fields(world: &World, name: &str) -> Result<sasl::Fields, LoginRefusal> {
    if world.keeper_down {
        return Err(LoginRefusal::Unavailable);
    }
    if name == "guessed@home.test" {
        return Err(LoginRefusal::TooMany);
    }
    let stored_key = if name == "you@home.test" { scram::stored_key(&client_key()) } else { [9; 32] };
    let server_key = scram::server_key(&scram::salted_password(PASSWORD.as_bytes(), &[7; 16], 4096));
    let devices = vec![sasl::Verifier { device: 1, stored_key, server_key }];
    Ok(sasl::Fields { attempt: 1, salt: [7; 16], iterations: 4096, devices })
}
