//! What `up` prints once it serves: one JSON line for programs, plain words for people.

use std::io;

use serde_json::{Map, Value, json};

use super::first::{self, Found};
use super::ports::{Bound, Service};
use super::roles::Roles;
use super::say;
use crate::cli::{Shared, output};
use crate::data::DataFolder;
use crate::failure::{Doing, Failure};
use crate::sheet::Sheet;
use crate::unseen;

/// Greets.
///
/// # Errors
/// When standard output cannot be written: then a mailbox made just now, whose secrets are shown once, is taken back.
pub fn greet(shared: &Shared, data: &DataFolder, roles: &Roles, found: Found) -> Result<(), Failure> {
    for bound in roles.bound() {
        if let Some(why) = &bound.instead {
            say(&format!("{why}; it listens on {} instead", join(bound)));
        }
    }
    let printed = if shared.json {
        if let Some(words) = none_yet(shared, &found) {
            say(&words);
        }
        output::print(true, &line(roles.bound(), &found), String::new)
    } else {
        let text = words(shared, data, roles, &found);
        output::print(false, &Value::Null, || text)
    };
    printed.map_err(|unseen| match &found.first {
        Some(sheet) => first::take_back(shared, data, &sheet.address, &unseen),
        None => unseen,
    })?;
    if found.first.is_some() {
        // Without it a start to come would take the mailbox for one that nobody knows.
        unseen::seen(data).doing(|| "cannot note that the first mailbox's secrets are printed".to_owned())?;
    }
    Ok(())
}

/// Addresses by service name: the first as text; where there are several, all of them under `all`.
fn line(bound: &[Bound], found: &Found) -> Value {
    let mut line = Map::new();
    for service in bound {
        if let Some(first) = service.addresses().first() {
            line.insert(service.service.name().to_owned(), json!(first.to_string()));
        }
    }
    if bound.iter().any(|service| service.listeners.len() > 1) {
        let all = bound.iter().map(|service| (service.service.name().to_owned(), json!(service.addresses())));
        line.insert("all".to_owned(), Value::Object(all.collect()));
    }
    if let Some(sheet) = &found.first {
        line.insert("first".to_owned(), sheet.to_json());
    }
    if found.lost > 0 {
        line.insert("lost_mailboxes".to_owned(), json!(found.lost));
    }
    Value::Object(line)
}

fn words(shared: &Shared, data: &DataFolder, roles: &Roles, found: &Found) -> String {
    let (bound, told) = (roles.bound(), roles.told());
    let mut text = format!("Postern is running. Its data folder is {}.\n\n", data.path().display());
    text += &format!("Type this into your mail app:\n\n{}", told.servers());
    text += &found.first.as_ref().map_or_else(
        || {
            "    login name             the whole mail address\n    password               the device's own\n"
                .to_owned()
        },
        Sheet::login,
    );
    text += &told.remarks();
    if let Some(sheet) = &found.first {
        text += &format!("\n{}", sheet.paper());
    }
    if let Some(smtp) = bound.iter().find(|bound| bound.service == Service::Smtp) {
        text += &format!("\nMail from other servers arrives at {}.\n", join(smtp));
    }
    if let Some(words) = none_yet(shared, found) {
        text += &format!("\n{words}\n");
    }
    if found.lost > 0 {
        text += &format!(
            "\nThe journal does not know {} in the spool. Their owners' recovery words give them back:\n    \
             postern recover{}\n",
            crate::cli::mailbox::some(found.lost),
            folder(shared)
        );
    }
    if rustix::termios::isatty(io::stdin()) {
        text += "\nStop with Ctrl-C.";
    }
    text
}

fn none_yet(shared: &Shared, found: &Found) -> Option<String> {
    let none = found.mailboxes == 0 && found.lost == 0;
    none.then(|| format!("There is no mailbox yet. Make one: postern mailbox add NAME{}", folder(shared)))
}

/// What the other commands need to find this data folder.
fn folder(shared: &Shared) -> String {
    let usual = shared.data == crate::data::default_folder();
    if usual { String::new() } else { format!(" --data {}", shared.data.display()) }
}

fn join(bound: &Bound) -> String {
    bound.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
