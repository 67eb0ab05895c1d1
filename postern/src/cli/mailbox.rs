//! `postern mailbox add|list|remove|suspend|rekey|audit`.

use std::io;

use clap::Subcommand;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use spool::audit::{self, What};
use spool::edges::admin::{MailboxInfo, Request};
use spool::names::MailboxId;
use spool::slots::{NewMailbox, SlotsFile};

use wire::date::now;

use super::unlocked::{Unlocked, audit_of, damaged};
use super::{House, device, output};
use crate::admin::Session;
use crate::failure::{Doing, Failure};
use crate::sheet::Sheet;
use crate::size::Bytes;
use crate::unseen;

/// Mailboxes.
#[derive(Debug, Subcommand)]
pub enum Mailbox {
    /// Make a mailbox, with a password for its first mail app and the recovery words: at a terminal, or with --json
    #[command(after_help = "Examples:\n  postern mailbox add anna\n  \
        postern mailbox add anna@example.org --name \"Anna Meier\" --quota \"5 GB\" --device phone")]
    Add {
        /// Its address; without @ in the first domain
        mailbox: String,
        /// Whose it is
        #[arg(long, default_value = "")]
        name: String,
        /// What it may hold [default: the configuration's]
        #[arg(long)]
        quota: Option<Bytes>,
        /// A name for the first phone or computer
        #[arg(long, default_value = "first device")]
        device: String,
        /// Made by `up`, which prints what nobody sees here
        #[arg(long, hide = true)]
        first: bool,
    },
    /// Show all mailboxes
    List,
    /// Remove a mailbox with all its mail; asks first at a terminal
    Remove {
        /// The mailbox
        mailbox: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let nobody log in or send until lifted; mail still comes in, and waits
    Suspend {
        /// The mailbox
        mailbox: String,
        /// Lift it
        #[arg(long)]
        lift: bool,
    },
    /// Make a new key for mail to come, after a device was lost; asks for a secret of the mailbox
    Rekey {
        /// The mailbox
        mailbox: String,
        /// Read the secret from standard input
        #[arg(long)]
        unlock_stdin: bool,
    },
    /// Show every change of the ways into a mailbox; asks for a secret of the mailbox
    Audit {
        /// The mailbox
        mailbox: String,
        /// Read the secret from standard input
        #[arg(long)]
        unlock_stdin: bool,
    },
}

impl Mailbox {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin; exit code 2 when a secret opens nothing.
    pub fn run(self, house: &mut House) -> Result<(), Failure> {
        match self {
            Self::Add { mailbox, name, quota, device, first } => add(house, &mailbox, name, quota, (&device, first)),
            Self::List => list(house),
            Self::Remove { mailbox, yes } => remove(house, &mailbox, yes),
            Self::Suspend { mailbox, lift } => suspend(house, &mailbox, lift),
            Self::Rekey { mailbox, unlock_stdin } => rekey(house, &mailbox, unlock_stdin),
            Self::Audit { mailbox, unlock_stdin } => audit(house, &mailbox, unlock_stdin),
        }
    }
}

fn add(
    house: &House,
    mailbox: &str,
    name: String,
    quota: Option<Bytes>,
    (device, first): (&str, bool),
) -> Result<(), Failure> {
    house.somebody_reads()?;
    let (address, device) = (house.address(mailbox)?, device::name(device)?);
    if name.len() > spool::limits::DISPLAY_NAME || name.chars().any(char::is_control) {
        let most = spool::limits::DISPLAY_NAME;
        return Err(Failure::new(format!("--name has at most {most} bytes and no control characters (no line ends)")));
    }
    let quota = quota.map(|Bytes(bytes)| bytes);
    let new = NewMailbox { address: &address, display_name: &name, quota, device };
    let id = new_id()?;
    let made = SlotsFile::new_mailbox(id, &new, now()).map_err(damaged)?;
    if first {
        unseen::leave(&house.data, id).doing(|| "cannot make the first mailbox".to_owned())?;
    }
    let request = Request::MailboxAdd {
        address: address.clone(),
        display_name: name.clone(),
        slots: made.slots.encode().map_err(damaged)?,
        quota,
        device_names: vec![(made.device, device.to_owned())],
    };
    let mut session = house.session()?;
    session.done(request)?;
    let sheet = Sheet {
        address,
        device_password: made.device_password.as_str().to_owned(),
        recovery_words: made.words.list().into_iter().map(str::to_owned).collect(),
    };
    house.print(&sheet.to_json(), || sheet.words(&house.reached())).map_err(|unseen| {
        let mend = format!("`postern mailbox remove {} --yes` and add it again", sheet.address);
        let undo = Request::MailboxRemove { address: sheet.address.clone() };
        output::take_back(&mut session, &unseen, "the mailbox", undo, &mend)
    })
}

fn new_id() -> Result<MailboxId, Failure> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::new("the kernel gave no random bytes"))?;
    Ok(MailboxId(u64::from_le_bytes(bytes)))
}

/// So many mailboxes.
#[must_use]
pub fn some(count: usize) -> String {
    if count == 1 { "1 mailbox".to_owned() } else { format!("{count} mailboxes") }
}

/// That mailboxes wait for `recover`.
#[must_use]
pub fn lost_words(count: usize) -> String {
    let some = some(count);
    format!(
        "the journal does not know {some} in the spool: their owners' recovery words give them back (`postern recover`). \
         Until then mail for addresses that nobody has is asked to come again"
    )
}

fn list(house: &House) -> Result<(), Failure> {
    let mut session = house.session()?;
    let (all, lost) = (session.mailboxes()?, session.lost()?.len());
    let one = |info: &MailboxInfo| {
        json!({
            "address": info.addresses.first(),
            "aliases": info.addresses.get(1..).unwrap_or_default(),
            "id": info.id.to_string(),
            "name": info.display_name,
            "suspended": info.suspended,
            "used": info.used,
            "quota": info.quota,
            "letters": info.letters,
            "generation": info.generation,
            "household_key": info.household_key,
        })
    };
    house.print(&all.iter().map(one).collect(), || {
        if lost > 0 {
            eprintln!("{}", lost_words(lost));
        }
        match (all.is_empty(), lost > 0) {
            (true, true) => return "No mailbox is known to the journal.".to_owned(),
            (true, false) => return "There are no mailboxes yet: postern mailbox add NAME".to_owned(),
            _ => {}
        }
        let row = |info: &MailboxInfo| {
            let state = if info.suspended { "suspended" } else { "" };
            let holds = format!("{} of {}", Bytes(info.used), Bytes(info.quota));
            [info.addresses.join(", "), info.letters.to_string(), holds, state.to_owned()]
        };
        output::table(["MAILBOX", "LETTERS", "HOLDS", ""], &all.iter().map(row).collect::<Vec<_>>())
    })
}

fn remove(house: &House, mailbox: &str, yes: bool) -> Result<(), Failure> {
    let address = house.address(mailbox)?;
    let mut session = house.session()?;
    if !session.mailboxes()?.iter().any(|known| known.addresses.first() == Some(&address)) {
        let hint = "an alias is removed by `postern alias remove`";
        return Err(Failure::new(format!("there is no mailbox {address} ({hint})")));
    }
    let aliases = alone_behind(&mut session, &address)?;
    if !yes && !house.shared.json && rustix::termios::isatty(io::stdin()) {
        let too = with_it(&aliases).map_or_else(String::new, |too| format!(" {too}"));
        eprint!("This removes {address} and all its mail, for ever.{too} Type the address to go on: ");
        let mut typed = String::new();
        io::stdin().read_line(&mut typed).doing(|| "cannot read the answer".to_owned())?;
        if !typed.trim().eq_ignore_ascii_case(&address) {
            return Err(Failure::new("nothing was removed"));
        }
    }
    session.done(Request::MailboxRemove { address: address.clone() })?;
    let mut answer = json!({"address": address});
    if !aliases.is_empty() {
        answer["aliases"] = json!(aliases);
    }
    house.print(&answer, || {
        let too = with_it(&aliases).map_or_else(String::new, |too| format!("\n{too}"));
        format!("{address} and its mail are gone.{too}")
    })
}

/// The aliases that lead to that mailbox alone: they go with it.
fn alone_behind(session: &mut Session, address: &str) -> Result<Vec<String>, Failure> {
    let all = session.aliases()?.into_iter();
    Ok(all.filter(|one| one.to.iter().all(|to| to == address)).map(|one| one.alias).collect())
}

fn with_it(aliases: &[String]) -> Option<String> {
    let gone = (!aliases.is_empty()).then(|| aliases.join(", "))?;
    let is_postmasters = |alias: &String| alias.starts_with("postmaster@");
    let postmaster = match aliases.iter().any(is_postmasters) {
        true => " (mail for a postmaster, whom every mail domain must have, goes to the oldest mailbox then)",
        false => "",
    };
    Some(format!(
        "With it goes what led to it alone: {gone}{postmaster}. `postern alias add` gives it to another mailbox."
    ))
}

fn suspend(house: &House, mailbox: &str, lift: bool) -> Result<(), Failure> {
    let address = house.address(mailbox)?;
    house.session()?.done(Request::MailboxSuspend { address: address.clone(), on: !lift })?;
    house.print(&json!({"address": address, "suspended": !lift}), || match lift {
        false => format!(
            "Nobody can log in to {address} until `postern mailbox suspend {address} --lift`. Mail to it still comes in, and waits."
        ),
        true => format!("{address} works again."),
    })
}

fn rekey(house: &mut House, mailbox: &str, unlock_stdin: bool) -> Result<(), Failure> {
    let (mut session, mut open) = Unlocked::open(house, mailbox, unlock_stdin)?;
    let dropped = open.change(&mut session, |file, identities| {
        let dropped = file.rekey(identities).map_err(damaged)?;
        Ok((dropped, (What::Rekeyed, None, String::new())))
    })?;
    let (address, generation) = (&open.address, open.file.generation());
    let answer = json!({"address": address, "generation": generation, "dropped": dropped.iter().map(|slot| slot.0).collect::<Vec<_>>()});
    house.print(&answer, || {
        let mut words = format!("Mail to {address} is sealed to a new key (number {generation}) from now on.");
        if !dropped.is_empty() {
            words += &format!(
                "\n{} ways in that nobody made who could open this mailbox are gone: somebody has written into its files.",
                dropped.len()
            );
        }
        words
    })
}

fn audit(house: &mut House, mailbox: &str, unlock_stdin: bool) -> Result<(), Failure> {
    let (mut session, open) = Unlocked::open(house, mailbox, unlock_stdin)?;
    let lines = audit_of(&mut session, &open.address)?;
    let read = audit::read(&open.opened.identities, lines.iter().map(String::as_str));
    let wrong: Vec<String> = read.faults.iter().map(ToString::to_string).collect();
    let entries = read.entries.iter().map(|(line, entry)| {
        json!({"line": line, "at": entry.at, "what": entry.what.as_str(), "slot": entry.slot.map(|slot| slot.0), "text": entry.text})
    });
    let answer = json!({"address": open.address, "entries": entries.collect::<Vec<_>>(), "wrong": wrong});
    house.print(&answer, || {
        let row = |(_, entry): &(u64, audit::Entry)| {
            [output::day(entry.at), entry.what.as_str().to_owned(), entry.text.clone()]
        };
        let table = output::table(["DAY", "WHAT", ""], &read.entries.iter().map(row).collect::<Vec<_>>());
        let strangers = open.opened.strangers.len();
        let told = wrong.iter().map(|what| format!("\nWRONG: {what}"));
        let told = told.chain((strangers > 0).then(|| format!("\nWRONG: {strangers} ways in that no owner made")));
        table + &told.collect::<String>()
    })
}
