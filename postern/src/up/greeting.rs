//! What `up` prints once it serves: one JSON line for programs, plain words for people.

use std::io;

use serde_json::{Map, Value, json};

use super::first::Found;
use super::ports::{Bound, Service};
use super::roles::Roles;
use super::say;
use crate::cli::{Shared, output};
use crate::data::DataFolder;
use crate::failure::Failure;

/// Greets.
///
/// # Errors
/// When standard output cannot be written: secrets shown once would be lost.
pub fn greet(
    shared: &Shared,
    data: &DataFolder,
    roles: &Roles,
    own_certificate: bool,
    found: Found,
) -> Result<(), Failure> {
    for bound in roles.bound() {
        if let Some(why) = &bound.instead {
            say(&format!("{why}; it listens on {} instead", join(bound)));
        }
    }
    if shared.json {
        return output::print(true, &line(roles.bound(), &found), String::new);
    }
    let terminal = rustix::termios::isatty(io::stdout());
    let mut text = words(data, roles.bound(), own_certificate, &found);
    if found.mailboxes == 0 && found.lost == 0 && !terminal {
        text += "\nThere is no mailbox yet. Make one: postern mailbox add NAME";
    }
    output::print(false, &Value::Null, || text)
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

fn words(data: &DataFolder, bound: &[Bound], own_certificate: bool, found: &Found) -> String {
    let mut text = format!("Postern is running. Its data folder is {}.\n\n", data.path().display());
    if let Some(sheet) = &found.first {
        text += &sheet.words();
        text += "\n";
    }
    text += "In the mail app:\n\n";
    for (title, service, security) in [
        ("incoming mail (IMAP)", Service::Imaps, "SSL/TLS"),
        ("outgoing mail (SMTP)", Service::Submissions, "SSL/TLS"),
        ("   or", Service::Submission, "STARTTLS"),
    ] {
        if let Some((host, port)) = reached(bound, service) {
            text += &format!("    {title:22} server {host}, port {port}, {security}\n");
        }
    }
    text += "    login name             the whole mail address; password: the device password\n";
    if own_certificate {
        text += "\nThe certificate is self-signed: the mail app asks once whether to trust it.\n";
    }
    if let Some(smtp) = bound.iter().find(|bound| bound.service == Service::Smtp) {
        text += &format!("\nMail from other servers arrives at {}.\n", join(smtp));
    }
    if found.lost > 0 {
        text += &format!(
            "\n{} mailboxes in the spool are not known to the journal. Their owners' recovery words give them back:\n    \
             postern recover\n",
            found.lost
        );
    }
    text + "\nStop with Ctrl-C."
}

/// The name and port to type; for a socket on all addresses, this machine's name.
fn reached(bound: &[Bound], service: Service) -> Option<(String, u16)> {
    let address = *bound.iter().find(|bound| bound.service == service)?.addresses().first()?;
    let host = match address.ip() {
        ip if ip.is_loopback() => "localhost".to_owned(),
        ip if ip.is_unspecified() => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ip => ip.to_string(),
    };
    Some((host, address.port()))
}

fn join(bound: &Bound) -> String {
    bound.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
