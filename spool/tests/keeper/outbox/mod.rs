//! Mail out: from a login to the courier, and nothing lost on the way.

mod bounds;
mod leases;
mod notices;
mod passing;
mod posting;
mod under_way;

use std::os::fd::AsFd;

use filter_sandbox::edge::Edge;
use spool::edges::admin;
use spool::edges::outbox::{Event, Leased, Outbox, Said, State};
use spool::edges::queue::{Posted, PostedTo, Queue};
use spool::edges::{Delivered, Down};
use spool::names::{LetterId, TransactionId};
use tokio::sync::mpsc::Receiver;

use crate::house::{Folder, Person, Running, prove, sealing, transaction};

pub const MESSAGE: &[u8] = b"Subject: out\r\n\r\nhello, world\r\n";

pub fn courier(house: &mut Running) -> (Outbox, Receiver<Event>) {
    let (news, heard) = tokio::sync::mpsc::channel(100);
    (Outbox::new(house.outbox.take().unwrap(), news).unwrap(), heard)
}

pub async fn queue(house: &Running, person: &Person) -> Queue {
    let (_, socket) = prove(&house.submission, &person.address, person.device, &person.password).await.unwrap();
    Queue::new(Edge::from(socket)).unwrap()
}

pub fn posted(sender: &str, to: &[&str]) -> Posted {
    Posted {
        sender: Some(sender.into()),
        size: MESSAGE.len() as u32,
        generation: 1,
        eight_bit: false,
        international: false,
        require_tls: false,
        full: None,
        envelope_id: Some("x".into()),
        recipients: to.iter().map(|to| PostedTo { address: (*to).into(), original: None, notify: None }).collect(),
    }
}

/// A house with its courier's edge, and Anna, who writes.
pub struct Annas {
    pub folder: Folder,
    pub house: Running,
    pub outbox: Outbox,
    pub news: Receiver<Event>,
    pub anna: Person,
    pub queue: Queue,
}

pub async fn annas() -> Annas {
    let folder = Folder::new();
    let mut house = Running::start(&folder.0);
    let (outbox, news) = courier(&mut house);
    let anna = house.add("anna@home.test");
    let queue = queue(&house, &anna).await;
    Annas { folder, house, outbox, news, anna, queue }
}

/// Sealed to the poster's own key: here it stands for the outgoing identity.
pub async fn post(house: &Running, queue: &Queue, name: TransactionId, posted: Posted) -> Result<Delivered, Down> {
    let target = house.target(transaction(), "anna@home.test", 10).await;
    let (end, writing) = sealing(&target, MESSAGE);
    let outcome = queue.post(name, Vec::new(), posted, &[end.as_fd()]).await;
    drop(end);
    let _ = writing.await;
    outcome
}

/// A stranger's letter that an alias of its own passes on to that domain.
pub async fn pass_on(house: &Running, domain: &str) -> LetterId {
    pass_on_from(house, Some("stranger@third.test"), domain).await
}

/// From that sender, or from none.
pub async fn pass_on_from(house: &Running, sender: Option<&str>, domain: &str) -> LetterId {
    let (alias, target) = (format!("to-{domain}@home.test"), format!("ben@{domain}"));
    house.done(admin::Request::AliasAdd { alias: alias.clone(), target: target.clone() });
    let sealed_to = house.target(transaction(), "anna@home.test", 10).await;
    let (end, writing) = sealing(&sealed_to, MESSAGE);
    let letter = Posted { sender: sender.map(String::from), ..posted("", &[&alias]) };
    let outcome = house.deposit.pass_on(transaction(), Vec::new(), letter, &[end.as_fd()]).await.unwrap();
    drop(end);
    let _ = writing.await;
    assert_eq!(outcome, Delivered::Durable);
    let admin::Reply::Queue { some, .. } = house.ask(admin::Request::QueueList) else { panic!("no list") };
    some.into_iter().find(|info| info.recipients[0].0 == target).unwrap().letter
}

pub async fn lease(outbox: &Outbox) -> Option<Leased> {
    outbox.lease(None, 10).await.unwrap().map(|(leased, _)| leased)
}

pub fn said(words: &str) -> Said {
    Said { status: (4, 2, 0), by: Some(("mx.far.test".into(), 450)), words: words.into(), at: 1 }
}

/// A rest that nothing is said of.
pub const fn rest(until: i64) -> admin::Rest {
    admin::Rest { until, why: String::new() }
}

pub fn later(due: i64) -> State {
    State::Waiting { failures: 1, due, delay_told: false, last: Some(said("greylisted")) }
}

pub const DONE: State = State::Done { delivered: true };
