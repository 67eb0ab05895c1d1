//! The notice that a letter was delivered (RFC 3461 §4.1 NOTIFY=SUCCESS, RFC 3464), for senders of our own only.

use std::fmt::Write;

use crate::courier::dsn::decode_xtext;
use crate::final_bytes::FinalBytes;
use crate::header;
use crate::session::{Accepted, Envelope, Rules, Service};

/// A notice, ready to be sealed.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// The own address of the mailbox that gets it: an alias is others', too.
    pub to: String,
    /// The whole message.
    pub text: String,
}

/// Bytes of the original header that are returned.
const RETURNED: usize = 32 * 1024;

impl Notice {
    /// The notice to the mailbox `to`, whose login sent it, for those recipients for whom it was asked; `None` when it was
    /// for none, or there is nobody to tell (RFC 5321 §4.5.5: never to the null sender).
    #[must_use]
    pub fn of(to: &str, envelope: &Envelope, rules: &Rules, made: &FinalBytes, now: i64) -> Option<Self> {
        let wanted: Vec<&Accepted> =
            envelope.recipients.iter().filter(|one| one.notify.success() && !one.targets.is_empty()).collect();
        let is_told = envelope.sender.0.is_some() && !wanted.is_empty() && rules.service == Service::Submission;
        is_told.then(|| Self { to: to.to_owned(), text: text(envelope, rules, &wanted, &original_header(made), now) })
    }
}

fn text(envelope: &Envelope, rules: &Rules, wanted: &[&Accepted], original: &str, now: i64) -> String {
    let (id, date, host) = (envelope.id(), wire::date::rfc5322(now), &rules.host);
    let boundary = format!("=_{id}");
    let addresses: String = wanted.iter().map(|one| format!("    {}\r\n", one.address)).collect();
    format!(
        "Return-Path: <>\r\n\
         From: Mail delivery <postmaster@{domain}>\r\nTo: <{to}>\r\nSubject: Delivered\r\nDate: {date}\r\n\
         Message-ID: <{id}.delivered@{host}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Your message was put into the mailboxes of:\r\n\r\n{addresses}\r\n\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n{status}\
         --{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n{original}\r\n--{boundary}--\r\n",
        domain = rules.domain,
        to = envelope.sender,
        status = status(envelope, host, wanted, &date),
    )
}

/// RFC 3464 §2.2, 2.3.
fn status(envelope: &Envelope, host: &str, wanted: &[&Accepted], date: &str) -> String {
    let mut status = String::new();
    if let Some(id) = &envelope.parameters.envelope_id {
        let _ = write!(status, "Original-Envelope-Id: {}\r\n", decode_xtext(id));
    }
    let _ = write!(status, "Reporting-MTA: dns; {host}\r\nArrival-Date: {date}\r\n\r\n");
    for one in wanted {
        if let Some((kind, address)) = one.notify.original.as_deref().and_then(|original| original.split_once(';')) {
            let _ = write!(status, "Original-Recipient: {kind};{}\r\n", decode_xtext(address));
        }
        let _ = write!(status, "Final-Recipient: rfc822;{}\r\nAction: delivered\r\nStatus: 2.1.5\r\n\r\n", one.address);
    }
    status
}

/// The original's fields, as much of them as is returned. The text never is: it was delivered.
fn original_header(made: &FinalBytes) -> String {
    let mut head = Vec::new();
    for slice in made.slices() {
        head.extend_from_slice(&slice[..slice.len().min(RETURNED - head.len())]);
    }
    let fields = header::fields(&head).map(|field| String::from_utf8_lossy(&head[field.at]).into_owned());
    fields.filter(|field| field.ends_with("\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext() {
        assert_eq!(decode_xtext("a+2Bb+20c"), "a+b c");
        assert_eq!(decode_xtext("a+0D+0Ab"), "a??b");
        assert_eq!(decode_xtext("a+2"), "a?");
        assert_eq!(decode_xtext("a+C3+BC+7F~"), "a???~", "a notice is ASCII");
    }
}
