//! The warning that a mailbox has sent as much as it may in a day: to its owner, who may not be who sent.

use crate::delivered::Notice;

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
    fn it_is_a_message() {
        let notice = notice("anna@home.test", "mx.home.test", "home.test", "07", 0);
        assert!(!notice.text.replace("\r\n", "").contains(['\r', '\n']), "CRLF at every end of line");
        assert!(crate::form::fault(notice.text.as_bytes()).is_none());
        assert!(notice.text.contains("\r\n\r\nIn the last 24 hours"));
    }
}
