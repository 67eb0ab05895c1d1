//! `outbound-proxy run`: binds, starts the service behind its walls, and waits for its end.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use relay_link::limits::OUTBOUND_PORT;
use relay_link::operator::end;
use relay_link::operator::folder::Folder;
use relay_link::operator::listen::{self, Listener};
use relay_link::operator::no_rights;

use super::config::Config;
use super::{Doing, Failure};
use crate::limits;
use crate::service::{Entrance, Start};

/// For a service that keeps to its time to be gone.
const SPARE: Duration = Duration::from_secs(3);

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
    end::wait(running, limits::DRAIN + SPARE, |_| Ok(()))
}

fn bind(config: &Config) -> Result<(Vec<Entrance>, Vec<TcpListener>), Failure> {
    let (mut entrances, mut listeners) = (Vec::new(), Vec::new());
    let mut take = |entrance, (address, listener): Listener| -> Result<(), Failure> {
        listeners.push(listener.doing(|| format!("cannot listen on {address}"))?);
        entrances.push(entrance);
        Ok(())
    };
    let links = listen::port(&config.bind, OUTBOUND_PORT, &mut filter_sandbox::listener::handed_down())?;
    links.into_iter().try_for_each(|link| take(Entrance::Link, link))?;
    config.metrics.map_or(Ok(()), |address| take(Entrance::Metrics, (address, listen::listen(address))))?;
    Ok((entrances, listeners))
}
