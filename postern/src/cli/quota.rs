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
    /// What it may hold from now on, such as 20 GB
    #[arg(num_args = 0..=2)]
    size: Vec<String>,
}

impl Quota {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(&self, house: &mut House) -> Result<(), Failure> {
        let address = house.address(&self.mailbox)?;
        // Typed without quotes, a number and its unit are two words.
        let size = Some(self.size.join(" ")).filter(|size| !size.is_empty());
        let size = size.map(|size| size.parse::<Bytes>().map_err(Failure::new)).transpose()?;
        let mut session = house.session()?;
        if let Some(Bytes(bytes)) = size {
            let request = Request::Quota { address: address.clone(), bytes: Some(bytes) };
            if !matches!(session.ask(request)?, Reply::Done | Reply::Quota { .. }) {
                return Err(confused());
            }
        }
        match session.ask(Request::Quota { address: address.clone(), bytes: None })? {
            Reply::Quota { used, limit } => {
                let answer = json!({"address": address, "used": used, "limit": limit});
                house.print(&answer, || {
                    let full = match used > limit {
                        true => " That is more than it may: no mail is taken for it until some is removed.",
                        false => "",
                    };
                    format!("{address} holds {} of {}.{full}", Bytes(used), Bytes(limit))
                })
            }
            _ => Err(confused()),
        }
    }
}
