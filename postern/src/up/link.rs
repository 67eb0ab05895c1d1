//! The pairings while the box runs: `postern pair` changes the file, and the `link` role hears of it.

use std::time::SystemTime;

use wire::control::PairedProxy;

use super::roles::Roles;
use super::say;
use crate::pairings::{self, Pairings};

/// The file.
#[derive(Debug)]
pub struct Links {
    pairings: Pairings,
    seen: Option<SystemTime>,
}

impl Links {
    /// Takes it over, not read yet.
    #[must_use]
    pub const fn new(pairings: Pairings) -> Self {
        Self { pairings, seen: None }
    }

    /// What it holds now. A file that cannot be read costs the way through the proxies, and nobody's mail at home.
    #[must_use]
    pub fn proxies(&mut self) -> Vec<PairedProxy> {
        self.seen = self.pairings.written();
        self.pairings.read().map(|all| pairings::proxies(&all)).unwrap_or_else(|failure| {
            say(&format!("the pairings: {failure}; until then nothing comes through a proxy"));
            Vec::new()
        })
    }

    /// Tells `link` when it has changed.
    pub fn look(&mut self, roles: &mut Roles) {
        if self.pairings.written() != self.seen {
            let proxies = self.proxies();
            roles.pair(proxies);
        }
    }
}
