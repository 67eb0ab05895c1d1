//! The homes that are connected just now, one control connection each.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, sleep_until, timeout};

use super::Arrival;
use crate::control::{self, Ended, Speaker};
use crate::hello::{Answer, Refusal, Want};
use crate::homes::{Grant, Homes};
use crate::seats::{Connection, Decision, Seating, Seats};
use crate::{frame, limits, liveness};

/// How often it is looked whether a connected home has been revoked.
const REVOKED: Duration = Duration::from_secs(5);

/// Between two questions whether a silent home is alive.
const AGAIN: Duration = Duration::from_secs(1);

/// What a home has said.
#[derive(Debug)]
pub struct Heard<In> {
    /// Which home.
    pub home: String,
    /// Over which of its connections.
    pub connection: Connection,
    /// What.
    pub message: In,
}

/// News of the hall.
#[derive(Debug)]
pub enum Event<In> {
    /// A home has said something.
    Heard(Heard<In>),
    /// A home's connection is over; it may have another.
    Left(String, Connection),
}

/// That home is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent;

#[derive(Debug)]
struct Chair<G, Out> {
    name: String,
    grant: G,
    /// A channel holds room for 32 messages from its beginning on, and a thousand homes that say nothing have two each: so
    /// what goes through them is boxed.
    speaker: Speaker<Box<Out>>,
    /// Sent to when another connection takes its place.
    leave: watch::Sender<bool>,
}

#[derive(Debug)]
struct State<G, Out> {
    seats: Seats<String>,
    chairs: HashMap<Connection, Chair<G, Out>>,
}

/// The hall of one proxy.
#[derive(Debug)]
pub struct Hall<G, In, Out> {
    state: Mutex<State<G, Out>>,
    numbers: AtomicU64,
    events: mpsc::Sender<Event<In>>,
    /// Counts arrivals, for those who wait for a home to come back.
    arrivals: watch::Sender<u64>,
    /// What the proxy calls itself.
    proxy: String,
}

impl<G, In, Out> Hall<G, In, Out>
where
    G: Grant,
    In: DeserializeOwned,
    Out: Serialize,
{
    /// An empty one; what happens in it is sent to `events`.
    #[must_use]
    pub fn new(proxy: &str, events: mpsc::Sender<Event<In>>) -> Self {
        let state = State { seats: Seats::default(), chairs: HashMap::new() };
        let (arrivals, numbers) = (watch::Sender::new(0), AtomicU64::new(1));
        Self { state: Mutex::new(state), numbers, events, arrivals, proxy: proxy.to_owned() }
    }

    /// Seats a home, or refuses it, and keeps its connection to its end.
    ///
    /// # Errors
    /// The peer's.
    pub async fn serve(&self, arrival: Arrival<G>, homes: &Homes<G>) -> io::Result<()> {
        let connection = Connection(self.numbers.fetch_add(1, Ordering::Relaxed));
        let (speaker, mut script) = control::speaker();
        let leave = watch::Sender::new(false);
        let mut left = leave.subscribe();
        let chair = Chair { name: arrival.name.clone(), grant: arrival.grant.clone(), speaker: speaker.clone(), leave };
        if let Err(since) = self.seat(&arrival, connection, chair).await {
            tracing::warn!(home = arrival.name, "a second box dials as this home: refused");
            let name = arrival.name.clone();
            return arrival.refuse(Refusal::Taken { name, since: since.as_secs() }).await;
        }
        let _leaving = Leaving { hall: self, name: arrival.name.clone(), connection };
        drop(speaker);
        let Arrival { name, key, mut stream, mut frames, .. } = arrival;
        let welcome = Answer::Welcome { name: name.clone(), proxy: self.proxy.clone() };
        timeout(limits::GREETING, frame::write(&mut stream, &welcome)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        tracing::info!(home = name, "connected");
        self.arrivals.send_modify(|count| *count += 1);
        let (heard, mut hearing) = mpsc::channel::<Box<In>>(limits::QUEUE);
        let handing = async {
            let (mut heard, mut until) = (0, sleep_until(Instant::now().into()));
            while let Some(message) = hearing.recv().await {
                if heard % limits::HEARD == 0 {
                    until.await;
                    until = sleep_until((Instant::now() + limits::HEARD_WITHIN).into());
                }
                heard += 1;
                let home = name.clone();
                if self.events.send(Event::Heard(Heard { home, connection, message: *message })).await.is_err() {
                    break;
                }
            }
        };
        let ended = tokio::select! {
            ended = control::run(&mut stream, &mut frames, liveness::PROXY, &mut script, &heard) => ended.to_string(),
            () = handing => Ended::Done.to_string(),
            () = revoked(homes, &key, &name) => "revoked, or called otherwise".to_owned(),
            _ = left.wait_for(|left| *left) => "another connection has taken its place".to_owned(),
        };
        tracing::info!(home = name, why = ended, "disconnected");
        let _ = self.events.send(Event::Left(name.clone(), connection)).await;
        Ok(())
    }

    /// Says something to a home, and over which connection.
    ///
    /// # Errors
    /// [`Absent`], also when it does not read.
    pub fn say(&self, home: &str, message: Out) -> Result<Connection, Absent> {
        let state = self.lock();
        let connection = state.seats.sitting(&home.to_owned()).ok_or(Absent)?;
        let chair = state.chairs.get(&connection).ok_or(Absent)?;
        chair.speaker.say(Box::new(message)).map_err(|_| Absent)?;
        Ok(connection)
    }

    /// What a home of that name is told that asks after its link.
    #[must_use]
    pub fn tell(&self, home: &str, want: &Want) -> Option<Answer> {
        let since = || self.lock().seats.since(&home.to_owned(), Instant::now()).map(|since| since.as_secs());
        matches!(want, Want::Presence).then(|| Answer::Present(since()))
    }

    /// Waits until a home is connected; gives up after `patience`.
    ///
    /// # Errors
    /// [`Absent`].
    pub async fn wait_for(&self, home: &str, patience: Duration) -> Result<Connection, Absent> {
        let mut arrivals = self.arrivals.subscribe();
        let waiting = async {
            loop {
                if let Some(connection) = self.lock().seats.sitting(&home.to_owned()) {
                    return Ok(connection);
                }
                arrivals.changed().await.map_err(|_| Absent)?;
            }
        };
        timeout(patience, waiting).await.map_err(|_| Absent)?
    }

    /// Waits for a home that has not done over a connection what it was told: for a sign of life over that one, or for
    /// another; gives up after `patience`.
    ///
    /// # Errors
    /// [`Absent`].
    pub async fn wait_for_sign(
        &self,
        home: &str,
        silent: Connection,
        patience: Duration,
    ) -> Result<Connection, Absent> {
        let mut arrivals = self.arrivals.subscribe();
        let waiting = async {
            loop {
                let sitting = self.lock().seats.sitting(&home.to_owned());
                if let Some(other) = sitting.filter(|sitting| *sitting != silent) {
                    return Ok(other);
                }
                tokio::select! {
                    changed = arrivals.changed() => changed.map_err(|_| Absent)?,
                    () = self.sign_of(silent), if sitting.is_some() => return Ok(silent),
                }
            }
        };
        timeout(patience, waiting).await.map_err(|_| Absent)?
    }

    /// Returns once something is heard over a connection; never, if that is over.
    async fn sign_of(&self, connection: Connection) {
        loop {
            let speaker = self.lock().chairs.get(&connection).map(|chair| chair.speaker.clone());
            match speaker {
                Some(speaker) if speaker.is_alive().await => return,
                Some(_) => sleep(AGAIN).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The homes that are connected, with what they may.
    #[must_use]
    pub fn present(&self) -> Vec<(String, G)> {
        let state = self.lock();
        let sits = |connection, name| state.seats.sitting(name) == Some(connection);
        let sitting = state.chairs.iter().filter(|(connection, chair)| sits(**connection, &chair.name));
        sitting.map(|(_, chair)| (chair.name.clone(), chair.grant.clone())).collect()
    }

    /// How many are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().seats.len()
    }

    /// For how long the seat has been taken, when it is not to be had.
    async fn seat(&self, arrival: &Arrival<G>, connection: Connection, chair: Chair<G, Out>) -> Result<(), Duration> {
        let (name, run, now) = (&arrival.name, arrival.run, Instant::now());
        let asked = {
            let mut state = self.lock();
            match state.seats.arrive(name, run, connection, now) {
                Seating::Seated => {
                    state.chairs.insert(connection, chair);
                    return Ok(());
                }
                Seating::Replaces(older) => {
                    state.ask_to_leave(older);
                    state.chairs.insert(connection, chair);
                    return Ok(());
                }
                Seating::Ask(asked) => asked,
            }
        };
        let speaker = self.lock().chairs.get(&asked).map(|chair| chair.speaker.clone());
        let answered = match speaker {
            Some(speaker) => speaker.is_alive().await,
            None => false,
        };
        let mut state = self.lock();
        match state.seats.decide(name, run, connection, (asked, answered), Instant::now()) {
            Decision::Refused(since) => Err(since),
            Decision::Replaces(older) => {
                older.into_iter().for_each(|older| state.ask_to_leave(older));
                state.chairs.insert(connection, chair);
                Ok(())
            }
        }
    }
}

impl<G, In, Out> Hall<G, In, Out> {
    fn lock(&self) -> MutexGuard<'_, State<G, Out>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G, Out> State<G, Out> {
    fn ask_to_leave(&self, connection: Connection) {
        if let Some(chair) = self.chairs.get(&connection) {
            let _ = chair.leave.send(true);
        }
    }
}

/// Gives the chair up however the connection ends.
struct Leaving<'a, G, In, Out> {
    hall: &'a Hall<G, In, Out>,
    name: String,
    connection: Connection,
}

impl<G, In, Out> Drop for Leaving<'_, G, In, Out> {
    fn drop(&mut self) {
        let mut state = self.hall.lock();
        state.seats.leave(&self.name, self.connection);
        state.chairs.remove(&self.connection);
    }
}

/// Returns once the home is no longer known, or not by this name. A disk that cannot be read revokes nobody.
async fn revoked<G: Grant>(homes: &Homes<G>, key: &crate::keys::PublicKey, name: &str) {
    let mut ticks = interval(REVOKED);
    loop {
        ticks.tick().await;
        if matches!(homes.knows(key, name), Ok(false)) {
            return;
        }
    }
}
