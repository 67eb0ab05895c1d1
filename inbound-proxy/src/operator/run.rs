//! `inbound-proxy run`: binds as whoever it was started as, starts the gate behind its walls, and waits for its end.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use filter_sandbox::Running;
use relay_link::limits::INBOUND_PORT;
use relay_link::operator::end;
use relay_link::operator::folder::Folder;
use relay_link::operator::listen;
use relay_link::operator::only_read_files;
use wire::control::Control;

use super::certificate::certificate;
use super::config::Config;
use super::{Doing, Failure};
use crate::gate::{Entrance, Start};
use crate::limits;

/// For a gate that keeps to its time to be gone.
const SPARE: Duration = Duration::from_secs(3);

pub(super) fn run(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    let key = folder.link_key()?;
    let pem = certificate(folder, config)?;
    let (entrances, listeners) = bind(config)?;
    let running = folder.launch()?;
    let start = Start {
        name: config.name(),
        key: key.pkcs8().to_vec(),
        certificate: pem,
        upstreams: config.upstreams(),
        streets: config.streets.clone(),
        bound: config.bind.clone(),
        log_connections: config.log_connections,
        entrances,
    };
    let with: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    running.control.send(&start, &with).doing(|| "the gate".to_owned())?;
    // What it accepts is its own; a second copy here would keep a port open after its end.
    drop(listeners);
    drop(start);
    only_read_files()?;
    watch(folder, config, running)
}

/// The ports of the gate.
const PORTS: [(Entrance, u16); 5] = [
    (Entrance::Mail, 25),
    (Entrance::Submission, 465),
    (Entrance::Imap, 993),
    (Entrance::Web, 443),
    (Entrance::Link, INBOUND_PORT),
];

/// Every port has to be had but 443, where a web server of the operator's own may live.
fn bind(config: &Config) -> Result<(Vec<Entrance>, Vec<TcpListener>), Failure> {
    let (mut entrances, mut listeners) = (Vec::new(), Vec::new());
    let mut handed = filter_sandbox::listener::handed_down();
    for (entrance, port) in PORTS {
        for (address, listener) in listen::port(&config.bind, port, &mut handed)? {
            match listener {
                Ok(listener) => {
                    entrances.push(entrance);
                    listeners.push(listener);
                }
                Err(error) if entrance == Entrance::Web => {
                    tracing::warn!(%address, %error, "homes have no web through this proxy");
                }
                Err(error) => {
                    let advice = "as root, or with CAP_NET_BIND_SERVICE, and nothing else on that port?";
                    return Err(Failure::new(format!("cannot listen on {address}: {error} ({advice})")));
                }
            }
        }
    }
    if let Some(address) = config.metrics {
        entrances.push(Entrance::Metrics);
        listeners.push(listen::listen(address).doing(|| format!("metrics: {address}"))?);
    }
    Ok((entrances, listeners))
}

/// Hands out new certificates until the gate ends.
fn watch(folder: &Folder, config: &Config, running: Running) -> Result<ExitCode, Failure> {
    let mut seen = changed(config);
    end::wait(running, limits::DRAIN + SPARE, |running| {
        let now = changed(config);
        if now == seen {
            return Ok(());
        }
        seen = now;
        match certificate(folder, config) {
            Ok(pem) => running.control.send(&Control::Certificate(pem), &[]).doing(|| "the gate".to_owned())?,
            Err(failure) => tracing::warn!(%failure, "the new certificate is not used"),
        }
        Ok(())
    })
}

/// When the operator's own certificate was last written.
fn changed(config: &Config) -> Vec<Option<SystemTime>> {
    let files = [&config.tls_cert, &config.tls_key].into_iter().flatten();
    files.map(|path| std::fs::metadata(path).and_then(|facts| facts.modified()).ok()).collect()
}
