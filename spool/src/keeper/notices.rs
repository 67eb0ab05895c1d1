//! The `Notices` edge, held by `courier`: what may be asked, in any order.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::edges::Delivered;
use crate::edges::notices::{Event, Reply, Request};

use super::delivering::Delivering;
use super::house::House;
use super::line::{Asked, Breach, Service};

/// One courier.
#[derive(Debug)]
pub struct Notices(Delivering);

impl Notices {
    /// Serves one.
    #[must_use]
    pub fn new(house: Arc<House>) -> Self {
        let hands = house.hands.deposit.clone();
        Self(Delivering::new(house, hands))
    }
}

impl Service for Notices {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    /// Each may hold a few descriptors.
    const AT_ONCE: usize = 16;

    fn request(&mut self, request: Request, with: Vec<OwnedFd>, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        match request {
            Request::Listener { transaction, letter, size } if with.is_empty() => {
                asked.reply(0, Reply::Listener(self.0.listener(transaction, letter, size)));
            }
            Request::Here { transaction, letter, recipient, size } if with.is_empty() => {
                let (found, others, after) = self.0.here(transaction, (letter, recipient), size)?;
                asked.reply(after, Reply::Here(found, others));
            }
            Request::Deliver { transaction, begun, letters } => {
                self.0.deliver(asked, (transaction, begun), letters, with, Reply::Delivered)?;
            }
            Request::Arrive { transaction, begun, letter, letters } => {
                self.0.arrive(asked, (transaction, begun), (letter, letters), with, Reply::Delivered)?;
            }
            Request::Abandon { transaction } if with.is_empty() => {
                self.0.abandon(transaction);
                asked.reply(0, Reply::Abandoned);
            }
            Request::Listener { .. } | Request::Here { .. } | Request::Abandon { .. } => {
                return Err(Breach("descriptors where none belong"));
            }
        }
        Ok(())
    }

    fn without(&mut self, request: Request, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        let (Request::Deliver { transaction, .. } | Request::Arrive { transaction, .. }) = request else {
            return Err(Breach("descriptors where none belong"));
        };
        self.0.abandon(transaction);
        asked.reply(0, Reply::Delivered(Delivered::Failed));
        Ok(())
    }
}
