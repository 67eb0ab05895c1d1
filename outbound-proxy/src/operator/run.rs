//! `outbound-proxy run`: binds, starts the service behind its walls, and waits for its end.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::ExitCode;

use relay_link::limits::OUTBOUND_PORT;
use relay_link::operator::folder::Folder;
use relay_link::operator::listen::{addresses, listen};
use relay_link::operator::no_rights;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::config::Config;
use super::{Doing, Failure};
use crate::service::{Entrance, Start};

pub(super) fn run(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    let key = folder.link_key()?;
    let (entrances, listeners) = bind(config)?;
    let running = folder.launch()?;
    let start = Start {
        name: config.name(),
        key: key.pkcs8().to_vec(),
        upstreams: config.upstreams(),
        own: config.own.clone(),
        entrances,
    };
    let with: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    running.control.send(&start, &with).doing(|| "the service".to_owned())?;
    // A second copy here would keep a port open after its end.
    drop((listeners, start));
    no_rights()?;
    // It ends with this process, and this with it.
    waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED).doing(|| "the service".to_owned())?;
    Err(Failure::new("the service has ended; its last words are above"))
}

fn bind(config: &Config) -> Result<(Vec<Entrance>, Vec<TcpListener>), Failure> {
    let (mut entrances, mut listeners, mut handed) = (Vec::new(), Vec::new(), Vec::new());
    let link = addresses(&config.bind, OUTBOUND_PORT).into_iter().map(|address| (Entrance::Link, address));
    for (entrance, address) in link.chain(config.metrics.map(|address| (Entrance::Metrics, address))) {
        let listener = listen(address, &mut handed).doing(|| format!("cannot listen on {address}"))?;
        entrances.push(entrance);
        listeners.push(listener);
    }
    Ok((entrances, listeners))
}
