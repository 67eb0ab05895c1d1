//! A real letter's whole way: in over SMTP with TLS, through the filter and the keeper, seen over IMAP, removed again.
//! Without a secret: as far as the answer to RCPT.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;

use super::ports::{find, open};
use super::tls::Stream;
use super::{Finding, Patient, certificate};
use crate::up::ports::{Service, is_here};

const ABOUT: &str = "letter";
/// How long a letter may take from its 250 to the mailbox.
const PATIENCE: Duration = Duration::from_secs(10);

/// What both connections need.
struct Reached {
    hostname: String,
    domain: String,
    certificate: CertificateDer<'static>,
    smtp: SocketAddr,
    imaps: SocketAddr,
}

/// Sends, looks, removes. Nothing when the box is not running.
pub fn look(patient: &Patient, mailbox: Option<(&str, &str)>) -> Vec<Finding> {
    let advice = "look at the log of `postern up` for this moment";
    let Some(found) = find_box(patient) else { return Vec::new() };
    let Some((address, secret)) = mailbox else {
        return vec![match found.greet(None) {
            Ok(()) => Finding::good(ABOUT, "mail is taken over TLS (for a real letter: --mailbox NAME)"),
            Err(error) => Finding::bad(ABOUT, format!("SMTP: {error}"), advice),
        }];
    };
    let token = format!(
        "doctor-{}-{:?}",
        std::process::id(),
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos()
    );
    if let Err(error) = found.greet(Some((address, &token))) {
        return vec![refused(address, &error)];
    }
    let sent = Finding::good(ABOUT, format!("a letter to {address} was taken"));
    let seen = match found.seen(address, secret, &token) {
        Ok(folder) => Finding::good(ABOUT, format!("it was seen in {folder}, and removed")),
        Err(error) => Finding::bad(ABOUT, format!("IMAP: {error}"), advice),
    };
    vec![sent, seen]
}

fn refused(address: &str, error: &io::Error) -> Finding {
    // RFC 3463 §3.3: the mailbox is full.
    if error.to_string().contains(" 4.2.2 ") {
        return Finding::bad(ABOUT, format!("{address} is full: mail for it has to wait"), super::store::room(address));
    }
    Finding::bad(ABOUT, format!("SMTP: {error}"), "look at the log of `postern up` for this moment")
}

fn find_box(patient: &Patient) -> Option<Reached> {
    let all = open(patient.up?, patient.told.as_ref())?;
    Some(Reached {
        hostname: patient.config.hostname(),
        domain: patient.config.default_domain().to_owned(),
        certificate: certificate::in_use(patient)?,
        smtp: at_hand(&all, Service::Smtp)?,
        imaps: at_hand(&all, Service::Imaps)?,
    })
}

/// Where a service can be reached now: not where it waits for an address that this machine has not, if it is elsewhere, too.
fn at_hand(all: &[SocketAddr], service: Service) -> Option<SocketAddr> {
    let here: Vec<_> = all.iter().copied().filter(|address| is_here(address.ip())).collect();
    find(&here, service).or_else(|| find(all, service))
}

impl Reached {
    /// One SMTP session; with a letter when there is one to send.
    fn greet(&self, letter: Option<(&str, &str)>) -> io::Result<()> {
        let mut smtp = Stream::connect(self.smtp)?;
        to_starttls(&mut smtp)?;
        let mut smtp = smtp.secure(&self.certificate, &self.hostname)?;
        command(&mut smtp, "EHLO doctor.invalid", '2')?;
        command(&mut smtp, "MAIL FROM:<>", '2')?;
        if let Some((address, token)) = letter {
            command(&mut smtp, &format!("RCPT TO:<{address}>"), '2')?;
            command(&mut smtp, "DATA", '3')?;
            let text = format!(
                "From: Postern's doctor <postmaster@{}>\r\nTo: <{address}>\r\nSubject: A test letter\r\n\
                 Message-ID: <{token}@doctor.invalid>\r\nDate: {}\r\n\r\nIt is removed when it was seen.\r\n.",
                self.domain,
                wire::date::rfc5322(wire::date::now()),
            );
            command(&mut smtp, &text, '2')?;
        }
        // What is not there to be answered to is no failure of the box.
        let _ = command(&mut smtp, "QUIT", '2');
        smtp.close();
        Ok(())
    }

    /// Looks for the letter, and removes it. Returns its folder.
    fn seen(&self, address: &str, secret: &str, token: &str) -> io::Result<String> {
        let mut imap = Stream::connect(self.imaps)?.secure(&self.certificate, &self.hostname)?;
        imap.line()?;
        tagged(&mut imap, &format!("LOGIN {} {}", quoted(address), quoted(secret)))?;
        let until = Instant::now() + PATIENCE;
        loop {
            for folder in ["INBOX", "Junk"] {
                if tagged(&mut imap, &format!("SELECT {folder}")).is_ok() && remove(&mut imap, token)? {
                    let _ = tagged(&mut imap, "LOGOUT");
                    imap.close();
                    return Ok(folder.to_owned());
                }
            }
            if Instant::now() >= until {
                return Err(io::Error::other("the letter did not appear"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn remove(imap: &mut Stream, token: &str) -> io::Result<bool> {
    let found = tagged(imap, &format!("UID SEARCH HEADER Message-ID {}", quoted(token)))?;
    let uid = found.iter().find_map(|line| line.strip_prefix("* SEARCH ")?.split(' ').next()?.parse::<u32>().ok());
    if let Some(uid) = uid {
        tagged(imap, &format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))?;
        tagged(imap, &format!("UID EXPUNGE {uid}"))?;
    }
    Ok(uid.is_some())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What is said in clear before a letter.
pub fn to_starttls(smtp: &mut Stream) -> io::Result<()> {
    expect(smtp, '2')?;
    command(smtp, "EHLO doctor.invalid", '2')?;
    command(smtp, "STARTTLS", '2')
}

/// Sends a command and wants an answer of that class.
fn command(smtp: &mut Stream, line: &str, class: char) -> io::Result<()> {
    smtp.say(line)?;
    expect(smtp, class)
}

fn expect(smtp: &mut Stream, class: char) -> io::Result<()> {
    loop {
        let line = smtp.line()?;
        if line.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        return if line.starts_with(class) { Ok(()) } else { Err(io::Error::other(line)) };
    }
}

/// Sends a command; its untagged answers, or the tagged refusal.
fn tagged(imap: &mut Stream, line: &str) -> io::Result<Vec<String>> {
    imap.say(&format!("a {line}"))?;
    let mut answers = Vec::new();
    loop {
        let line = imap.line()?;
        match line.strip_prefix("a ") {
            None => answers.push(line),
            Some(end) if end.starts_with("OK") => return Ok(answers),
            Some(end) => return Err(io::Error::other(end.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_is_told_as_one_and_with_what_to_do() {
        let found = refused("anna@home.test", &io::Error::other("452 4.2.2 that mailbox is full"));
        assert!(found.words.contains("anna@home.test is full") && found.advice.contains("postern quota"), "{found:?}");
        let found = refused("anna@home.test", &io::Error::other("452 4.3.1 the disk here is full, try again later"));
        assert!(!found.words.contains("anna") && found.advice.contains("log"), "{found:?}");
    }

    #[test]
    fn a_letter_takes_the_way_that_there_is() {
        let at = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        // 192.0.2.0/24 is for examples (RFC 5737): nobody's.
        let awaited = [25, 465, 587, 993].map(|port| at([192, 0, 2, 7], port));
        let instead = [25, 465, 587, 993].map(|port| at([127, 0, 0, 1], port + 10_000));
        assert_eq!(at_hand(&[awaited, instead].concat(), Service::Imaps), Some(instead[3]));
        assert_eq!(at_hand(&awaited, Service::Imaps), Some(awaited[3]), "there is no other");
    }
}
