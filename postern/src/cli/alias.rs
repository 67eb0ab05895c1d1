//! `postern alias add|list|remove`.

use clap::Subcommand;
use serde_json::json;
use spool::edges::admin::{Reply, Request};

use super::{House, output};
use crate::failure::Failure;

/// Further addresses.
#[derive(Debug, Subcommand)]
pub enum Alias {
    /// Let mail for ALIAS go to MAILBOX, too; or be passed on to an address elsewhere
    Add {
        /// The new address
        alias: String,
        /// Who gets its mail
        mailbox: String,
    },
    /// Show all
    List,
    /// Remove ALIAS, or only MAILBOX from it
    Remove {
        /// The address
        alias: String,
        /// Who gets its mail no longer
        mailbox: Option<String>,
    },
}

impl Alias {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &mut House) -> Result<(), Failure> {
        match self {
            Self::Add { alias, mailbox } => {
                let (alias, target) = (house.address(&alias)?, house.address(&mailbox)?);
                let request = Request::AliasAdd { alias: alias.clone(), target: target.clone() };
                house.session()?.done(request)?;
                let answer = json!({"alias": alias, "mailbox": target});
                house.print(&answer, || format!("Mail for {alias} now goes to {target}, too."))
            }
            Self::List => list(house),
            Self::Remove { alias, mailbox } => {
                let alias = house.address(&alias)?;
                let target = mailbox.map(|typed| house.address(&typed)).transpose()?;
                house.session()?.done(Request::AliasRemove { alias: alias.clone(), target: target.clone() })?;
                let answer = json!({"alias": alias, "mailbox": target});
                house.print(&answer, || match &target {
                    Some(target) => format!("Mail for {alias} no longer goes to {target}."),
                    None => format!("{alias} is gone."),
                })
            }
        }
    }
}

fn list(house: &House) -> Result<(), Failure> {
    let aliases = house.session()?.list(Request::AliasList, |reply| match reply {
        Reply::Aliases { some, more } => Some((some, more)),
        _ => None,
    })?;
    let json: Vec<_> = aliases.iter().map(|(alias, to)| json!({"alias": alias, "mailboxes": to})).collect();
    house.print(&json.into(), || {
        if aliases.is_empty() {
            return "There are no aliases.".to_owned();
        }
        let rows: Vec<_> = aliases.iter().map(|(alias, to)| [alias.clone(), to.join(", ")]).collect();
        output::table(["ALIAS", "GOES TO"], &rows)
    })
}
