//! The `Queue` edge, held by one submission session after its login: what may be asked, in any order.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::edges::queue::{Event, Reply, Request};
use crate::names::MailboxId;

use super::delivering::Delivering;
use super::house::House;
use super::line::{Breach, Line, Service};

/// One session.
#[derive(Debug)]
pub struct Queue {
    house: Arc<House>,
    mailbox: MailboxId,
    delivering: Delivering,
}

impl Queue {
    /// Serves one, bound to a mailbox.
    #[must_use]
    pub fn new(house: Arc<House>, mailbox: MailboxId) -> Self {
        let hands = house.hands.queue.clone();
        Self { delivering: Delivering::new(house.clone(), hands), house, mailbox }
    }
}

impl Service for Queue {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    /// A session sends one message at a time.
    const AT_ONCE: usize = 4;

    fn request(
        &mut self,
        number: u32,
        request: Request,
        with: Vec<OwnedFd>,
        line: &Line<Reply, Event>,
        busy: OwnedSemaphorePermit,
    ) -> Result<(), Breach> {
        match request {
            Request::Addresses if with.is_empty() => {
                let core = self.house.committer.lock();
                line.reply(number, core.sequence, Reply::Addresses(core.index.addresses_of(self.mailbox)));
            }
            Request::Recipient { transaction, address, size } if with.is_empty() => {
                line.reply(number, 0, Reply::Recipient(self.delivering.recipient(transaction, &address, size)?));
            }
            Request::Deliver { transaction, letters } => {
                self.delivering.deliver((number, line, busy), transaction, letters, with, Reply::Delivered)?;
            }
            Request::Abandon { transaction } if with.is_empty() => {
                self.delivering.abandon(transaction);
                line.reply(number, 0, Reply::Abandoned);
            }
            Request::Addresses | Request::Recipient { .. } | Request::Abandon { .. } => {
                return Err(Breach("descriptors where none belong"));
            }
        }
        Ok(())
    }
}
