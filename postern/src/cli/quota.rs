//! `postern quota NAME [SIZE]`.

use serde_json::json;
use spool::edges::admin::{Reply, Request};

use super::House;
use crate::admin::confused;
use crate::failure::Failure;
use crate::size::Bytes;

/// Shows or sets.
#[derive(Debug, clap::Args)]
pub struct Quota {
    /// The mailbox
    mailbox: String,
    /// What it may hold from now on, such as "20 GB"
    size: Option<Bytes>,
}

impl Quota {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(&self, house: &mut House) -> Result<(), Failure> {
        let address = house.address(&self.mailbox)?;
        let mut session = house.session()?;
        if let Some(Bytes(bytes)) = self.size {
            let request = Request::Quota { address: address.clone(), bytes: Some(bytes) };
            if !matches!(session.ask(request)?, Reply::Done | Reply::Quota { .. }) {
                return Err(confused());
            }
        }
        match session.ask(Request::Quota { address: address.clone(), bytes: None })? {
            Reply::Quota { used, limit } => {
                let answer = json!({"address": address, "used": used, "limit": limit});
                house.print(&answer, || format!("{address} holds {} of {}.", Bytes(used), Bytes(limit)))
            }
            _ => Err(confused()),
        }
    }
}
