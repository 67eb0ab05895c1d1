//! The `Deposit` edge, held by `mx`: what may be asked, in any order.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::edges::Delivered;
use crate::edges::deposit::{Event, Reply, Request};

use super::delivering::Delivering;
use super::house::House;
use super::line::{Asked, Breach, Service};
use super::posting;

/// One `mx`.
#[derive(Debug)]
pub struct Deposit(Delivering);

impl Deposit {
    /// Serves one.
    #[must_use]
    pub fn new(house: Arc<House>) -> Self {
        let hands = house.hands.deposit.clone();
        Self(Delivering::new(house, hands))
    }
}

impl Service for Deposit {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    /// Each may hold as many descriptors as a packet carries.
    const AT_ONCE: usize = 64;

    fn request(&mut self, request: Request, with: Vec<OwnedFd>, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        match request {
            Request::Recipient { transaction, address, size } if with.is_empty() => {
                let found = self.0.recipient(transaction, &address, size)?;
                let found = posting::way_back(self.0.house(), &address, found);
                let found = self.0.with_passing_room((transaction, &address, size), found);
                asked.reply(0, Reply::Recipient(self.0.counted(transaction, &address, found)));
            }
            Request::Deliver { transaction, begun, letters } => {
                self.0.deliver(asked, (transaction, begun), letters, with, Reply::Delivered)?;
            }
            Request::Abandon { transaction } if with.is_empty() => {
                self.0.abandon(transaction);
                asked.reply(0, Reply::Abandoned);
            }
            Request::PassOn { transaction, .. } if !self.0.is_as_told(transaction) => {
                self.0.abandon(transaction);
                asked.reply(0, Reply::Delivered(Delivered::Failed));
            }
            Request::PassOn { transaction, begun, letters, posted } => {
                let here: Vec<_> = letters.iter().map(|letter| letter.mailbox).collect();
                let leaving = posting::passed_on(self.0.house(), *posted, &here)?;
                self.0.deliver_and_post(
                    asked,
                    (transaction, begun),
                    (letters, Some(leaving)),
                    with,
                    Reply::Delivered,
                )?;
            }
            Request::Recipient { .. } | Request::Abandon { .. } => return Err(Breach("descriptors where none belong")),
        }
        Ok(())
    }

    fn without(&mut self, request: Request, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        let (Request::Deliver { transaction, .. } | Request::PassOn { transaction, .. }) = request else {
            return Err(Breach("descriptors where none belong"));
        };
        self.0.abandon(transaction);
        asked.reply(0, Reply::Delivered(Delivered::Failed));
        Ok(())
    }
}
