//! `postern role mx`: strangers bring mail for us.
//!
//! Hostile input: SMTP and TLS from anybody; whole messages (their header fields, DKIM); DNS answers; the
//! worker's report, which is checked; an external scanner's one number.
//! Holds: the listener of port 25, the edge over which `link` hands on what came through a proxy, a `Deposit` handle, its zygotes' edges, the TLS key, mailbox *public* keys.
//! Can never: read a delivered letter, see the spool, connect anywhere but to the resolver on its own loopback,
//! write a file, relay.
//! Speaks: RFC 5321, 1870, 2034, 2920, 3030, 3207, 6152, 6531, 8689, 9422; verifies RFC 7208, 6376, 8617, 7489,
//! 8601.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use filter_sandbox::Role;
use filter_sandbox::filter::Scans;
use serde::{Deserialize, Serialize};
use wire::control::Controls;
use wire::handed::Door;

use crate::authentication::{RESOLVER, Verifier};
use crate::desk::SecondOpinion;
use crate::listen::{self, Doors};
use crate::peers::Keeper;
use crate::role::{self, Descriptors, Fault, Settings};
use crate::session::Service;

/// The start packet. Its descriptors, in order: the listeners (one or more), the `Deposit` edge, the zygote's edge, that
/// of `link`, and with `scanning` the scanner's zygote's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// As for both roles.
    pub settings: Settings,
    /// An external scanner, when the admin switched one on.
    pub scanning: Option<Scanning>,
}

/// How an external scanner is used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Scanning {
    /// Scanners at once: each holds an interpreter and all its rules in memory.
    pub concurrent: usize,
    /// Seconds one gets for one letter.
    pub seconds: u64,
    /// Whether a letter that it fails on is told to come again.
    pub needed: bool,
}

impl Scanning {
    fn begin(self, zygote: OwnedFd) -> std::io::Result<SecondOpinion> {
        let scans = Scans::new(zygote.into(), self.concurrent, Duration::from_secs(self.seconds))?;
        Ok(SecondOpinion { scans, needed: self.needed })
    }
}

/// The role, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    role::end("mx", story())
}

fn story() -> Result<(), Fault> {
    let confined = filter_sandbox::confine(Role::Mx).map_err(Fault::Confine)?;
    let (start, mut fds) = wire::control::start::<Start>(&confined.control).map_err(Fault::Start)?;
    let scanner = match start.scanning {
        Some(scanning) => Some((scanning, fds.pop().ok_or(Fault::Missing("scanner"))?)),
        None => None,
    };
    let Descriptors { listeners, keeper, zygote, handed } = role::descriptors(fds)?;
    role::runtime(2)?.block_on(async {
        let controls = Controls::new(confined.control)?;
        let verifier = Verifier::new(start.settings.host.clone(), RESOLVER).map_err(Fault::Resolver)?;
        let keeper = Keeper::stranger(keeper)?;
        let second = scanner.map(|(scanning, zygote)| scanning.begin(zygote)).transpose()?;
        let desk = role::desk(start.settings, Service::Mx, keeper, zygote, Some(verifier), second)?;
        let doors = Doors::default();
        for listener in listeners {
            tokio::spawn(listen::listen(desk.clone(), listen::listener(listener)?, doors.clone(), false));
        }
        tokio::spawn(listen::take(desk.clone(), Door::new(handed)?, doors.clone()));
        role::follow(&desk, &controls, &doors, Keeper::stranger).await
    })
}
