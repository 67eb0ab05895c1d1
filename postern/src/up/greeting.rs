//! What `up` prints once it serves: one JSON line for programs, plain words for people.

use std::io;

use serde_json::{Map, Value, json};

use super::first::{self, Found};
use super::ports::{Awaited, Bound, Service};
use super::roles::Roles;
use super::say;
use crate::admin;
use crate::cli::{Shared, output};
use crate::data::DataFolder;
use crate::failure::{Doing, Failure};
use crate::sheet::Sheet;
use crate::unseen;

/// Greets.
///
/// # Errors
/// When standard output cannot be written: then a mailbox made just now, whose secrets are shown once, is taken back.
pub fn greet(shared: &Shared, data: &DataFolder, roles: &Roles, found: Option<Found>) -> Result<(), Failure> {
    for bound in roles.bound() {
        if let Some(why) = &bound.instead {
            say(&format!("{why}; it listens on {} instead", join(bound)));
        }
    }
    let first = found.as_ref().and_then(|found| found.first.as_ref());
    let printed = if shared.json {
        remarks(shared, data, roles, found.as_ref()).iter().for_each(|words| say(words));
        output::print(true, &line(roles, found.as_ref()), String::new)
    } else {
        let text = words(shared, data, roles, found.as_ref());
        output::print(false, &Value::Null, || text)
    };
    printed.map_err(|unseen| match first {
        Some(sheet) => first::take_back(shared, data, &sheet.address, &unseen),
        None => unseen,
    })?;
    if first.is_some() {
        // Without it a start to come would take the mailbox for one that nobody knows.
        unseen::seen(data).doing(|| "cannot note that the first mailbox's secrets are printed".to_owned())?;
    }
    Ok(())
}

/// Addresses by service name: the first as text; where there are several, all of them under `all`.
fn line(roles: &Roles, found: Option<&Found>) -> Value {
    let (bound, mut line) = (roles.bound(), Map::new());
    for service in bound {
        if let Some(first) = service.addresses().first() {
            line.insert(service.service.name().to_owned(), json!(first.to_string()));
        }
    }
    if bound.iter().any(|service| service.listeners.len() > 1) {
        let all = bound.iter().map(|service| (service.service.name().to_owned(), json!(service.addresses())));
        line.insert("all".to_owned(), Value::Object(all.collect()));
    }
    if roles.reads_only() {
        line.insert("read_only".to_owned(), json!(true));
    }
    if let Some(sheet) = found.and_then(|found| found.first.as_ref()) {
        line.insert("first".to_owned(), sheet.to_json());
    }
    if let Some(lost) = found.map(|found| found.lost).filter(|lost| *lost > 0) {
        line.insert("lost_mailboxes".to_owned(), json!(lost));
    }
    Value::Object(line)
}

fn words(shared: &Shared, data: &DataFolder, roles: &Roles, found: Option<&Found>) -> String {
    let (bound, told) = (roles.bound(), roles.told());
    let mut text = format!("Postern is running. Its data folder is {}.\n\n", data.path().display());
    text += &format!("Type this into your mail app:\n\n{}", told.servers());
    let first = found.and_then(|found| found.first.as_ref());
    text += &first.map_or_else(
        || {
            "    login name             the whole mail address\n    password               the device's own\n"
                .to_owned()
        },
        Sheet::login,
    );
    text += &told.remarks();
    if let Some(sheet) = first {
        text += &format!("\n{}", sheet.paper());
    }
    if let Some(smtp) = bound.iter().find(|bound| bound.service == Service::Smtp) {
        text += &format!("\nMail from other servers arrives at {}.\n", join(smtp));
    }
    remarks(shared, data, roles, found).iter().for_each(|words| text += &format!("\n{words}\n"));
    if let Some(lost) = found.map(|found| found.lost).filter(|lost| *lost > 0) {
        text += &format!(
            "\nThe journal does not know {} in the spool. Their owners' recovery words give them back:\n    \
             postern recover{}\n",
            crate::cli::mailbox::some(lost),
            folder(shared)
        );
    }
    if rustix::termios::isatty(io::stdin()) {
        text += "\nStop with Ctrl-C.";
    }
    text
}

/// What a program's reader would miss in the line: it goes into the log there.
fn remarks(shared: &Shared, data: &DataFolder, roles: &Roles, found: Option<&Found>) -> Vec<String> {
    let none = found.and_then(|found| none_yet(shared, found));
    let read_only = roles.reads_only().then(|| {
        let place = data.path().display();
        format!("The file system of {place} is read-only: `dmesg` says why. {}.", admin::WRITABLE_AGAIN)
    });
    let unreachable = (!roles.has_admin_socket()).then(|| admin::NO_PLACE.to_owned());
    let awaited = Awaited::of(roles.bound()).words().map(|words| format!("{words}. `ip address` shows what it has."));
    [none, read_only, unreachable, awaited].into_iter().flatten().collect()
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
