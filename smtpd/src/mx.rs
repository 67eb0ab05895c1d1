//! `postern role mx`: strangers bring mail for us.
//!
//! Hostile input: SMTP and TLS from anybody; whole messages (their header fields, DKIM); DNS answers; the
//! worker's report, which is checked.
//! Holds: the listener of port 25, a `Deposit` handle, its zygote's edge, the TLS key, mailbox *public* keys.
//! Can never: read a delivered letter, see the spool, connect anywhere but to the resolver on its own loopback,
//! write a file, relay.
//! Speaks: RFC 5321, 1870, 2034, 2920, 3030, 3207, 6152, 6531, 8689, 9422; verifies RFC 7208, 6376, 8617, 7489,
//! 8601.

use std::process::ExitCode;

use filter_sandbox::Role;
use serde::{Deserialize, Serialize};
use wire::control::Controls;

use crate::authentication::{RESOLVER, Verifier};
use crate::listen::{self, Doors};
use crate::peers::Keeper;
use crate::role::{self, Fault, Settings};
use crate::session::Service;

/// The start packet. Its descriptors, in order: the listeners (one or more), the `Deposit` edge, the zygote's edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// As for both roles.
    pub settings: Settings,
}

/// The role, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    role::end("mx", story())
}

fn story() -> Result<(), Fault> {
    let confined = filter_sandbox::confine(Role::Mx).map_err(Fault::Confine)?;
    let (start, fds) = wire::control::start::<Start>(&confined.control).map_err(Fault::Start)?;
    let (listeners, deposit, zygote) = role::descriptors(fds)?;
    role::runtime()?.block_on(async {
        let controls = Controls::new(confined.control)?;
        let verifier = Verifier::new(start.settings.host.clone(), RESOLVER).map_err(Fault::Resolver)?;
        let keeper = Keeper::stranger(deposit)?;
        let desk = role::desk(start.settings, Service::Mx, keeper, zygote, Some(verifier))?;
        let doors = Doors::default();
        for listener in listeners {
            tokio::spawn(listen::listen(desk.clone(), listen::listener(listener)?, doors.clone(), false));
        }
        role::follow(&desk, &controls, &doors, Keeper::stranger).await;
        Ok(())
    })
}
