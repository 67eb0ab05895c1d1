//! The `Queue` edge, held by one submission session after its login: what may be asked, in any order.

use std::os::fd::OwnedFd;

use crate::edges::Delivered;
use crate::edges::queue::{Event, Reply, Request};

use crate::names::TransactionId;

use super::delivering::Delivering;
use super::house::now;
use super::line::{Asked, Breach, Service};
use super::posting;
use super::seat::Seat;

/// One session.
#[derive(Debug)]
pub struct Queue {
    seat: Seat,
    delivering: Delivering,
}

impl Queue {
    /// Serves one, bound to a mailbox.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        let house = seat.house();
        Self { delivering: Delivering::new(house.clone(), house.hands.queue.clone()), seat }
    }

    fn not_now(&mut self, transaction: TransactionId, asked: Asked<Reply, Event>) {
        self.delivering.abandon(transaction);
        asked.reply(0, Reply::Delivered(Delivered::Failed));
    }
}

impl Service for Queue {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    /// A session sends one message at a time.
    const AT_ONCE: usize = 4;

    fn request(&mut self, request: Request, with: Vec<OwnedFd>, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        match request {
            Request::Addresses if with.is_empty() => {
                let core = self.seat.house().committer.lock();
                asked.reply(core.sequence, Reply::Addresses(core.index.addresses_of(self.seat.mailbox())));
            }
            Request::Recipient { transaction, address, size } if with.is_empty() => {
                let found = self.delivering.recipient(transaction, &address, size)?;
                let found = posting::elsewhere(self.seat.house(), found);
                asked.reply(0, Reply::Recipient(self.delivering.counted(transaction, &address, found)));
            }
            Request::Deliver { transaction, begun, letters } => {
                let pipes = u32::try_from(with.len()).unwrap_or(u32::MAX);
                let Ok(share) = self.seat.share().pipes.clone().try_acquire_many_owned(pipes) else {
                    self.not_now(transaction, asked);
                    return Ok(());
                };
                self.delivering.deliver(asked.holding(share), (transaction, begun), letters, with, Reply::Delivered)?;
            }
            Request::Abandon { transaction } if with.is_empty() => {
                self.delivering.abandon(transaction);
                asked.reply(0, Reply::Abandoned);
            }
            Request::Post { transaction, .. } if !self.delivering.is_as_told(transaction) => {
                self.not_now(transaction, asked);
            }
            Request::Post { transaction, begun, letters, posted } => {
                let (house, mailbox) = (self.seat.house(), self.seat.mailbox());
                let leaving = posting::posted(house, &house.committer.lock().index, mailbox, *posted)?;
                let pipes = u32::try_from(with.len()).unwrap_or(u32::MAX);
                let Ok(share) = self.seat.share().pipes.clone().try_acquire_many_owned(pipes) else {
                    self.not_now(transaction, asked);
                    return Ok(());
                };
                let (asked, letters) = (asked.holding(share), (letters, Some(leaving)));
                self.delivering.deliver_and_post(asked, (transaction, begun), letters, with, Reply::Delivered)?;
            }
            Request::Told if with.is_empty() => {
                posting::told(self.seat.house(), self.seat.mailbox(), now());
                asked.reply(0, Reply::Noted);
            }
            Request::Addresses | Request::Recipient { .. } | Request::Abandon { .. } | Request::Told => {
                return Err(Breach("descriptors where none belong"));
            }
        }
        Ok(())
    }

    fn without(&mut self, request: Request, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        let (Request::Deliver { transaction, .. } | Request::Post { transaction, .. }) = request else {
            return Err(Breach("descriptors where none belong"));
        };
        self.not_now(transaction, asked);
        Ok(())
    }
}
