//! The warning that a mailbox has sent as much as it may in a day: to its owner, who may not be who sent.

use ring::digest;
use spool::names::TransactionId;

use crate::delivered::Notice;

/// The name under which it is deposited: one for each day, so that the keeper knows it again after a restart, too.
#[must_use]
pub fn name(to: &str, now: i64) -> TransactionId {
    let digest = digest::digest(&digest::SHA256, format!("postern spent\0{to}\0{}", now.div_euclid(86_400)).as_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&digest.as_ref()[..16]);
    TransactionId(name)
}

/// The warning.
#[must_use]
pub fn notice(to: &str, host: &str, domain: &str, id: &str, now: i64) -> Notice {
    let date = wire::date::rfc5322(now);
    let text = format!(
        "Return-Path: <>\r\n\
         From: Mail delivery <postmaster@{domain}>\r\nTo: <{to}>\r\n\
         Subject: Your mailbox has sent unusually much\r\nDate: {date}\r\n\
         Message-ID: <{id}.spent@{host}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n\
         In the last 24 hours more mail left from your mailbox {to} than a family usually writes.\r\n\
         The mail server now refuses more of it, until the 24 hours are over.\r\n\r\n\
         If you wrote all this mail yourself, there is nothing to do but wait.\r\n\r\n\
         If you did not, somebody has the password of one of your phones or computers. Ask whoever runs\r\n\
         the mail server to take that password back (postern device list, postern device revoke), and to\r\n\
         drop what still waits (postern queue list).\r\n"
    );
    Notice { to: to.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_a_day() {
        let noon = 43_200;
        assert_eq!(name("anna@home.test", noon), name("anna@home.test", noon + 3_600));
        assert_ne!(name("anna@home.test", noon), name("anna@home.test", noon + 86_400));
        assert_ne!(name("anna@home.test", noon), name("ben@home.test", noon));
    }

    #[test]
    fn it_is_a_message() {
        let notice = notice("anna@home.test", "mx.home.test", "home.test", "07", 0);
        assert!(!notice.text.replace("\r\n", "").contains(['\r', '\n']), "CRLF at every end of line");
        assert!(crate::form::fault(notice.text.as_bytes()).is_none());
        assert!(notice.text.contains("\r\n\r\nIn the last 24 hours"));
    }
}
