//! `postern alias add|list|remove`.

use clap::Subcommand;
use serde_json::json;
use spool::edges::admin::{AliasInfo, Reply, Request};

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
                let (alias, target) = (house.address(&alias)?, house.target(&mailbox)?);
                must_be_reached(house, &target)?;
                let request = Request::AliasAdd { alias: alias.clone(), target: target.clone() };
                house.session()?.done(request)?;
                let answer = json!({"alias": alias, "mailbox": target});
                house.print(&answer, || format!("Mail for {alias} now goes to {target}, too."))
            }
            Self::List => list(house),
            Self::Remove { alias, mailbox } => {
                let alias = house.address(&alias)?;
                let target = mailbox.map(|typed| house.target(&typed)).transpose()?;
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

/// Mail for the name of this server itself finds nobody, here or elsewhere, unless it is a domain of ours.
fn must_be_reached(house: &House, target: &str) -> Result<(), Failure> {
    let host = house.config.hostname();
    let domain = target.rsplit_once('@').map_or("", |(_, domain)| domain);
    if domain != host {
        return Ok(());
    }
    let ours = match house.session()?.ask(Request::Domains)? {
        Reply::Domains(ours) => ours,
        _ => Vec::new(),
    };
    if ours.iter().any(|known| known == domain) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{target}: {host} is the name of this server, and no domain whose mail it takes: nothing would arrive there. Its \
         mail is {}",
        ours.join(", ")
    )))
}

fn list(house: &House) -> Result<(), Failure> {
    let aliases = house.session()?.aliases()?;
    let json = |one: &AliasInfo| json!({"alias": one.alias, "mailboxes": one.to, "nobody": one.dead});
    let json: Vec<_> = aliases.iter().map(json).collect();
    house.print(&json.into(), || {
        if aliases.is_empty() {
            return "There are no aliases.".to_owned();
        }
        let rows: Vec<_> = aliases.iter().map(|one| [one.alias.clone(), one.to.join(", ")]).collect();
        let dead = aliases.iter().flat_map(|one| one.dead.iter().map(|to| format!("\n{}.", nobody(&one.alias, to))));
        output::table(["ALIAS", "GOES TO"], &rows) + &dead.collect::<String>()
    })
}

/// What is wrong with an alias that names an address of ours which there is not.
#[must_use]
pub fn nobody(alias: &str, to: &str) -> String {
    format!("{alias} leads to {to}, which is an address of this box now, and nobody has it")
}

/// What to do about it.
#[must_use]
pub fn remedy(alias: &str, to: &str) -> String {
    format!("`postern mailbox add {to}`, or look where {alias} leads: `postern alias list`, `postern alias remove`")
}
