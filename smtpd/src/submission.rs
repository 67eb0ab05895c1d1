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
use wire::handed::Door;

use crate::listen::{self, Doors};
use crate::peers::Keeper;
use crate::role::{self, Descriptors, Fault, Settings};
use crate::session::Service;

/// The start packet. Its descriptors, in order: the listeners of 465 (TLS at once; one or more, all on one port), the
/// listeners of 587 (STARTTLS), the `Login` edge, the zygote's edge, that of `link`.
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
    let Descriptors { listeners, keeper, zygote, handed } = role::descriptors(fds)?;
    role::runtime(1)?.block_on(async {
        let controls = Controls::new(confined.control)?;
        let desk = role::desk(start.settings, Service::Submission, Keeper::login(keeper)?, zygote, None, None)?;
        let doors = Doors::default();
        let listeners = listeners.into_iter().map(listen::listener).collect::<std::io::Result<Vec<_>>>()?;
        let submissions = listeners.first().map(tokio::net::TcpListener::local_addr).transpose()?;
        for listener in listeners {
            let implicit_tls = submissions.map(|first| first.port()) == Some(listener.local_addr()?.port());
            tokio::spawn(listen::listen(desk.clone(), listener, doors.clone(), implicit_tls));
        }
        tokio::spawn(listen::take(desk.clone(), Door::new(handed)?, doors.clone()));
        role::follow(&desk, &controls, &doors, Keeper::login).await
    })
}
