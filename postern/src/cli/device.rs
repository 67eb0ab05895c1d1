//! `postern device add|list|revoke`.

use clap::Subcommand;
use serde_json::json;
use spool::audit::What;
use spool::edges::admin::{Reply, Request};

use wire::date::now;

use super::unlocked::{Unlocked, damaged};
use super::{House, output};
use crate::admin::confused;
use crate::failure::Failure;

/// Who may log in.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// Make a password for one more mail app; asks for a secret of the mailbox. At a terminal, or with --json
    #[command(after_help = "Examples:\n  postern device add anna \"Anna's tablet\"\n  \
        postern device add anna tablet --unlock-stdin --json < secret.txt")]
    Add {
        /// The mailbox
        mailbox: String,
        /// A name for the phone or computer
        device: String,
        /// Read the secret (a device password, or the recovery words in one line) from standard input
        #[arg(long)]
        unlock_stdin: bool,
    },
    /// Show all devices of a mailbox
    List {
        /// The mailbox
        mailbox: String,
    },
    /// Take a device's password away; its connections end at once
    Revoke {
        /// The mailbox
        mailbox: String,
        /// The device's name
        device: String,
    },
}

impl Device {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin; exit code 2 when the secret opens nothing.
    pub fn run(self, house: &mut House) -> Result<(), Failure> {
        match self {
            Self::Add { mailbox, device, unlock_stdin } => add(house, &mailbox, &device, unlock_stdin),
            Self::List { mailbox } => list(house, &mailbox),
            Self::Revoke { mailbox, device } => {
                let address = house.address(&mailbox)?;
                house.session()?.done(Request::DeviceRevoke { address: address.clone(), name: device.clone() })?;
                let answer = json!({"address": address, "device": device});
                house.print(&answer, || {
                    format!(
                        "\"{device}\" of {address} can no longer log in. When it was lost or stolen, run \
                         `postern mailbox rekey {address}` now."
                    )
                })
            }
        }
    }
}

/// Checks a device's name.
///
/// # Errors
/// In words for the admin.
pub fn name(typed: &str) -> Result<&str, Failure> {
    let name = typed.trim();
    if name.is_empty() || name.len() > spool::limits::DEVICE_NAME || name.chars().any(char::is_control) {
        let most = spool::limits::DEVICE_NAME;
        return Err(Failure::new(format!("a device's name has 1 to {most} bytes and no control characters")));
    }
    Ok(name)
}

fn add(house: &mut House, mailbox: &str, device: &str, unlock_stdin: bool) -> Result<(), Failure> {
    house.somebody_reads()?;
    let device = name(device)?;
    let (mut session, mut open) = Unlocked::open(house, mailbox, unlock_stdin)?;
    let address = open.address.clone();
    let password = open.change(&mut session, |file, identities| {
        let mut facts = file.facts(identities).map_err(damaged)?;
        if facts.devices.iter().any(|(_, name)| name == device) {
            return Err(Failure::new(format!("{address} has a device named \"{device}\" already")));
        }
        let (slot, password) = file.add_device(identities, now()).map_err(damaged)?;
        facts.devices.push((slot, device.to_owned()));
        file.set_facts(&facts).map_err(damaged)?;
        Ok((password, (What::DeviceAdded, Some(slot), device.to_owned())))
    })?;
    let answer = json!({"address": open.address, "device": device, "device_password": password.as_str()});
    house
        .print(&answer, || {
            let reached = house.reached();
            format!(
                "Type this into the mail app on \"{device}\"; it is shown once:\n\n{}{}{}",
                reached.servers(),
                crate::sheet::login(&open.address, password.as_str()),
                reached.remarks(),
            )
        })
        .map_err(|unseen| {
            let mend = format!("`postern device revoke {} {device}` and add it again", open.address);
            let undo = Request::DeviceRevoke { address: open.address.clone(), name: device.to_owned() };
            output::take_back(&mut session, &unseen, "the device", undo, &mend)
        })
}

fn list(house: &House, mailbox: &str) -> Result<(), Failure> {
    let address = house.address(mailbox)?;
    let devices = match house.session()?.ask(Request::DeviceList { address: address.clone() })? {
        Reply::Devices(devices) => devices,
        _ => return Err(confused()),
    };
    let one = |device: &spool::edges::admin::DeviceInfo| json!({"slot": device.slot.0, "device": device.name, "added": device.added, "last_login": device.last_login});
    house.print(&devices.iter().map(one).collect(), || {
        let row = |device: &spool::edges::admin::DeviceInfo| {
            [device.name.clone(), output::day(device.added), device.last_login.map_or("never".into(), output::day)]
        };
        output::table(["DEVICE", "ADDED", "LAST LOGIN"], &devices.iter().map(row).collect::<Vec<_>>())
    })
}
