//! The `Login` edges. Phases of one attempt: `Fields` opens it, one `Prove` ends it; an attempt that is
//! not open is refused, not a breach (it may have expired).

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filter_sandbox::edge::{AsyncEdge, Edge};

use crate::commit::With;
use crate::edges::limits;
use crate::edges::login::{Admitted, Event, Fields, Reply, Request};
use crate::index::apply::day;
use crate::index::normal_address;
use crate::journal::record::Record;
use crate::names::{MailboxId, SlotId};
use crate::slots::{Purpose, fake_fields};

use super::house::{House, now};
use super::line::{self, Along, Asked, Breach, Service};
use super::mailbox::Mailbox;
use super::queue::Queue;
use super::seat::Seat;

/// Attempts of one edge open at once; the oldest make room.
const ATTEMPTS: usize = 4_096;
/// An attempt waits so long for its proof.
const EXPIRES: Duration = Duration::from_secs(120);

/// Who an attempt is for; nobody, for a name nobody has.
type Who = Option<MailboxId>;

/// One login process.
#[derive(Debug)]
pub struct Login {
    house: Arc<House>,
    purpose: Purpose,
    attempts: HashMap<u64, Who>,
    order: VecDeque<(Instant, u64)>,
}

impl Login {
    /// Serves one, for one purpose.
    #[must_use]
    pub fn new(house: Arc<House>, purpose: Purpose) -> Self {
        Self { house, purpose, attempts: HashMap::new(), order: VecDeque::new() }
    }

    fn fields(&mut self, name: &str) -> Option<Fields> {
        let attempt = self.house.random_number()?;
        let who = self.who(name);
        // Both are made for every name, so that time does not tell which one goes out. A name's spellings (case, a tag)
        // have one salt where somebody has it, so they have one where nobody does.
        let spelled = normal_address(name).unwrap_or_else(|| name.to_lowercase());
        let fake = fake_fields(&self.house.fake_secret, self.purpose, &spelled);
        let known = who.and_then(|mailbox| self.house.slots(mailbox)).map(|slots| slots.login_fields(self.purpose));
        let real = known.as_ref().is_some_and(|fields| !fields.devices.is_empty());
        let fields = known.filter(|_| real).unwrap_or(fake);
        self.open(attempt, who.filter(|_| real));
        let devices = fields.devices.into_iter().take(limits::DEVICES).collect();
        Some(Fields { attempt, salt: fields.salt, iterations: fields.iterations, devices })
    }

    fn who(&self, name: &str) -> Who {
        let address = normal_address(name)?;
        let core = self.house.committer.lock();
        let owner = core.index.owner(&address)?;
        core.index.mailbox(owner).filter(|mailbox| !mailbox.profile().suspended).map(|_| owner)
    }

    fn open(&mut self, attempt: u64, who: Who) {
        let now = Instant::now();
        while let Some((since, oldest)) = self.order.front().copied() {
            if self.order.len() < ATTEMPTS && now.duration_since(since) < EXPIRES {
                break;
            }
            self.order.pop_front();
            self.attempts.remove(&oldest);
        }
        self.order.push_back((now, attempt));
        self.attempts.insert(attempt, who);
    }

    fn close(&mut self, attempt: u64) -> Who {
        let expired = |since: &Instant| since.elapsed() >= EXPIRES;
        let at = self.order.iter().position(|(_, known)| *known == attempt)?;
        let (since, _) = self.order.remove(at)?;
        self.attempts.remove(&attempt)?.filter(|_| !expired(&since))
    }

    /// Checks the proof and makes the session's socket.
    fn prove(&mut self, attempt: u64, device: SlotId, check: &[u8; 32]) -> Result<(Admitted, OwnedFd), Reply> {
        let admitted = self.close(attempt).and_then(|mailbox| self.house.slots(mailbox));
        let admitted = admitted.and_then(|slots| slots.admit(self.purpose, device, check)).ok_or(Reply::Refused)?;
        let sockets = Edge::pair().and_then(|(ours, theirs)| Ok((Arc::new(AsyncEdge::new(ours)?), theirs)));
        let (ours, theirs) =
            sockets.inspect_err(|error| tracing::error!(%error, "no socket")).map_err(|_| Reply::Refused)?;
        let seat = self.seat(&admitted, &ours)?;
        let progress = self.house.committer.progress();
        match self.purpose {
            Purpose::Imap => drop(tokio::spawn(line::serve(ours, progress, "mailbox", Mailbox::new(seat)))),
            Purpose::Submission => drop(tokio::spawn(line::serve(ours, progress, "queue", Queue::new(seat)))),
        }
        Ok((admitted, theirs.into()))
    }

    /// Takes the session's seat, under the lock under which revoking and suspending hang up: either
    /// they see the seat, or we see what they did.
    fn seat(&self, admitted: &Admitted, edge: &Arc<AsyncEdge>) -> Result<Seat, Reply> {
        let (mailbox, device, today) = (admitted.mailbox, admitted.device, day(now()));
        let mut core = self.house.committer.lock();
        // Dropped, or made anew by a rekey, since the proof was checked: its end would have come before this.
        let slots = self.house.slots(mailbox).ok_or(Reply::Refused)?;
        if slots.generation() != admitted.generation || slots.slot(device).is_none() {
            return Err(Reply::Refused);
        }
        let profile = core.index.mailbox(mailbox).ok_or(Reply::Refused)?.profile();
        let known = profile.devices.iter().find(|known| known.slot == device);
        let known = known.filter(|_| !profile.suspended).ok_or(Reply::Refused)?;
        if known.last_login != today {
            let entry = vec![Record::Login { mailbox, device, day: today }];
            // Only a note for `device list`; a full disk must not keep anybody out.
            let _ = self.house.committer.take(&mut core, entry, &With::default());
        }
        let entered = core.hub.enter(mailbox, device, edge.clone(), self.purpose == Purpose::Imap);
        let number = entered.ok_or(Reply::Full)?;
        Ok(Seat::new(self.house.clone(), mailbox, number, self.purpose))
    }
}

impl Service for Login {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    const AT_ONCE: usize = 16;

    fn request(&mut self, request: Request, with: Vec<OwnedFd>, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        if !with.is_empty() {
            return Err(Breach("descriptors where none belong"));
        }
        match request {
            Request::Fields { name } => match self.fields(&name) {
                Some(fields) => asked.reply(0, Reply::Fields(fields)),
                None => asked.reply(0, Reply::Refused),
            },
            Request::Prove { attempt, device, check } => match self.prove(attempt, device, &check) {
                Ok((admitted, socket)) => {
                    let along = Along::Descriptors(vec![socket]);
                    asked.reply_with(0, Reply::Admitted(admitted), along);
                }
                Err(why) => asked.reply(0, why),
            },
        }
        Ok(())
    }

    fn without(&mut self, _: Request, _: Asked<Reply, Event>) -> Result<(), Breach> {
        Err(Breach("descriptors where none belong"))
    }
}
