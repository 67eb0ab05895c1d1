//! TLS tickets as a postmark: a session that learns hands one out, unique to it, and a sender that shows it again says
//! without knowing which home its mail was for. Debian's Postfix does, by the name of the MX (measured).
//!
//! The ticket is 32 random bytes and resumes nothing here: the home, to which the retry is handed on, does not know it
//! and shakes hands afresh, as RFC 8446 §4.2.11 has it.

use std::sync::{Mutex, PoisonError};

use ring::digest;
use rustls::server::ProducesTickets;

use crate::limits;

/// What is kept of a ticket: who reads the file cannot make it.
pub type TicketDigest = [u8; 16];

/// Of any bytes a client shows as a ticket.
#[must_use]
pub fn digest(ticket: &[u8]) -> TicketDigest {
    let mut out = [0; 16];
    out.copy_from_slice(&digest::digest(&digest::SHA256, ticket).as_ref()[..16]);
    out
}

/// The tickets of one session.
#[derive(Debug, Default)]
pub struct Postmarks(Mutex<Vec<TicketDigest>>);

impl Postmarks {
    /// Those handed out so far.
    #[must_use]
    pub fn issued(&self) -> Vec<TicketDigest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Most tickets of one session; rustls hands out what its configuration says, two at most.
const OF_ONE: usize = 4;

impl ProducesTickets for Postmarks {
    fn enabled(&self) -> bool {
        true
    }

    /// Seconds: RFC 8446 §4.6.1 allows seven days.
    fn lifetime(&self) -> u32 {
        u32::try_from(limits::REMEMBER.as_secs()).unwrap_or(432_000)
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        let ticket: [u8; limits::TICKET] = relay_link::keys::random().ok()?;
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if issued.len() >= OF_ONE {
            return None;
        }
        issued.push(digest(&ticket));
        Some(ticket.to_vec())
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ticket_is_another_and_none_resumes() {
        let postmarks = Postmarks::default();
        let tickets: Vec<_> = (0..OF_ONE).map(|_| postmarks.encrypt(b"state").unwrap()).collect();
        assert!(postmarks.encrypt(b"state").is_none());
        assert_eq!(tickets.iter().map(|ticket| digest(ticket)).collect::<Vec<_>>(), postmarks.issued());
        assert!(tickets.iter().all(|ticket| postmarks.decrypt(ticket).is_none()));
        assert_eq!(tickets.iter().collect::<std::collections::HashSet<_>>().len(), OF_ONE);
    }
}
