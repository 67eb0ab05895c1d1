//! `postern role submission`: our own people send.
//!
//! Hostile input: SMTP, TLS and SASL from anybody; whole messages from whoever logged in; the worker's report,
//! which is checked.
//! Holds: the listeners of 465 and 587, a `Login` handle, after a login that one's `Queue`, its zygote's edge, the
//! TLS key.
//! Can never: open a mailbox (what a login shows here opens no slot unless it is PLAIN or LOGIN, and then it sees
//! that password), send for somebody who has not logged in, connect anywhere, write a file.
//! Speaks: RFC 6409, 8314, 4954, 4616, 5802, 7677, 9266, 3461, and what `mx` speaks.

use std::process::ExitCode;

use filter_sandbox::Role;
use serde::{Deserialize, Serialize};
use wire::control::Controls;

use crate::listen::{self, Doors};
use crate::peers::Keeper;
use crate::role::{self, Fault, Settings};
use crate::session::Service;

/// The start packet. Its descriptors, in order: the listener of 465 (TLS at once), the listener of 587 (STARTTLS),
/// the `Login` edge, the zygote's edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// As for both roles.
    pub settings: Settings,
}

/// The role, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    role::end("submission", story())
}

fn story() -> Result<(), Fault> {
    let confined = filter_sandbox::confine(Role::Submission).map_err(Fault::Confine)?;
    let (start, fds) = wire::control::start::<Start>(&confined.control).map_err(Fault::Start)?;
    let mut fds = fds.into_iter();
    let (submissions, submission) = (role::next(&mut fds, "listener (465)")?, role::next(&mut fds, "listener (587)")?);
    let (login, zygote) = (role::next(&mut fds, "keeper")?, role::next(&mut fds, "zygote")?);
    role::runtime()?.block_on(async {
        let controls = Controls::new(confined.control)?;
        let desk = role::desk(start.settings, Service::Submission, Keeper::login(login)?, zygote, None)?;
        let doors = Doors::default();
        let (submissions, submission) = (listen::listener(submissions)?, listen::listener(submission)?);
        tokio::spawn(listen::listen(desk.clone(), submissions, doors.clone(), true));
        tokio::spawn(listen::listen(desk.clone(), submission, doors.clone(), false));
        role::follow(&desk, &controls, &doors, Keeper::login).await;
        Ok(())
    })
}
