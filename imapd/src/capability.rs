//! What is announced, before and after the login. A capability stands here only once it works.

use wire::sasl::{Mechanism, Offer};
use wire::tls::ChannelBinding;

/// Before the login: what a mechanism needs of the connection decides whether it is offered.
#[must_use]
pub fn before_login(offer: &Offer, binding: &ChannelBinding) -> String {
    let mut text = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE".to_owned();
    for mechanism in offered(offer, binding) {
        text.push_str(" AUTH=");
        text.push_str(mechanism.name());
    }
    text
}

/// The mechanisms of IMAP: those of SMTP without LOGIN, which is a command here.
pub fn offered(offer: &Offer, binding: &ChannelBinding) -> impl Iterator<Item = Mechanism> {
    offer.on(binding).filter(|mechanism| *mechanism != Mechanism::Login)
}

/// After the login; `largest` is the largest message that APPEND takes.
#[must_use]
pub fn logged_in(largest: u32) -> String {
    format!(
        "IMAP4rev1 LITERAL+ ID ENABLE NAMESPACE CHILDREN IDLE UIDPLUS MOVE UNSELECT SPECIAL-USE CREATE-SPECIAL-USE \
         LIST-EXTENDED LIST-STATUS ESEARCH STATUS=SIZE APPENDLIMIT={largest} QUOTA QUOTA=RES-STORAGE"
    )
}

/// The answer to ID (RFC 2971): no version, which only helps who looks for an old one.
pub const ID: &str = "* ID (\"name\" \"Postern\")\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_needs_a_binding() {
        let without = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE AUTH=SCRAM-SHA-256 AUTH=PLAIN";
        let all = Offer::default();
        assert_eq!(before_login(&all, &ChannelBinding::default()), without);
        let binding = ChannelBinding { exporter: Some([0; 32]), end_point: Some(Vec::new()) };
        assert!(before_login(&all, &binding).contains(" AUTH=SCRAM-SHA-256-PLUS "));
    }

    #[test]
    fn the_append_limit_is_the_configured_one() {
        assert!(logged_in(35_000_000).contains(" APPENDLIMIT=35000000 "));
        assert!(!logged_in(1).contains("  "));
    }
}
