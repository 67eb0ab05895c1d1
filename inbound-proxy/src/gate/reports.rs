//! What homes say: that they decline a stream, or that they got another's mail.

use std::sync::Arc;

use relay_link::inbound::{ClientName, FromHome};
use relay_link::proxy::{Event, Heard};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::info;

use super::{Gate, learning, now};
use crate::limits;
use crate::sender::{Group, Network};
use crate::session::Domain;

/// What led a stream to its home.
#[derive(Debug, Clone)]
pub(super) struct Passing {
    /// Which home.
    pub home: String,
    /// The street in which its sender's group is known, where one is.
    pub street: Option<String>,
    /// Who sends.
    pub group: Group,
    /// Whence.
    pub network: Network,
    /// The tickets it showed.
    pub tickets: Vec<Vec<u8>>,
    /// Its relaying, once that has begun: it ends with the home's pairing.
    pub relaying: Option<AbortHandle>,
    /// How often its home has said that it is another's.
    pub reports: usize,
}

/// Hears them until the gate ends.
pub(super) async fn hear(gate: Arc<Gate>, mut events: mpsc::Receiver<Event<FromHome>>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Heard(heard) => one(&gate, heard),
            // Dropped, each wakes who waits for it.
            Event::Left(_, connection) => drop(gate.waiting().of_home(connection.0)),
        }
    }
}

fn one(gate: &Arc<Gate>, heard: Heard<FromHome>) {
    match heard.message {
        FromHome::Declined(number) => {
            let declined = gate.waiting().take_back(number, heard.connection.0);
            declined.into_iter().for_each(|waits| drop(waits.send(None)));
        }
        FromHome::WrongHome { number, domain } => {
            if let Some(passing) = reported(gate, number, &heard.home) {
                wrong_home(gate, &passing, domain);
            }
        }
    }
}

/// What is known of a stream, when it is that home's to report. Each report costs a look into the DNS, so that one stream has as
/// many as one session teaches: a home must not have this proxy ask for ever.
fn reported(gate: &Gate, number: u64, home: &str) -> Option<Passing> {
    // Its link may have the name still by which it was called.
    let home = gate.called(home);
    let mut all = gate.passing();
    let passing = all.get_mut(&number).filter(|passing| passing.home == home && passing.reports < limits::LESSONS)?;
    passing.reports += 1;
    Some(passing.clone())
}

/// Erases what led there. Where it was to go instead, a street's homes may say: the next connection goes there.
fn wrong_home(gate: &Arc<Gate>, passing: &Passing, domain: Option<ClientName>) {
    gate.metrics.wrong_home.count();
    if gate.log_connections {
        info!(sender = %passing.group, home = passing.home, "came to the wrong home");
    }
    {
        let mut memory = gate.memory();
        passing.tickets.iter().for_each(|ticket| memory.wrong_ticket(ticket));
        if let Some(street) = &passing.street {
            memory.wrong_home(street, &passing.group, &passing.home, now());
        }
    }
    let domain = domain.and_then(|domain| Domain::new(domain.as_str()));
    if let (Some(domain), Some(street)) = (domain, passing.street.clone()) {
        let (gate, wrong, group) = (gate.clone(), passing.home.clone(), passing.group.clone());
        let network = passing.network;
        tokio::spawn(async move {
            match learning::home_of(&gate, &domain).await {
                Some((home, its)) if home != wrong && its.as_deref() == Some(street.as_str()) => {
                    gate.memory().learn_from(network, Some(&street), &group, &[], (&home, now()));
                }
                _ => {}
            }
        });
    }
}
