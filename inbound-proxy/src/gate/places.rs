//! Where the world is to find a home: its family is told, who otherwise could only guess at the proxy's own address.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use relay_link::dns::Dns;
use relay_link::hello::Answer;
use relay_link::inbound::ClientName;
use relay_link::limits::PLACES;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Gate;
use crate::limits;
use crate::route::Here;

/// The proxy's own addresses, as they were found last.
#[derive(Debug)]
pub(super) struct Places {
    bound: Vec<IpAddr>,
    found: Mutex<Option<(Instant, Here)>>,
}

impl Places {
    pub(super) fn new(bound: Vec<IpAddr>) -> Self {
        Self { bound, found: Mutex::default() }
    }

    /// Homes that ask without end have DNS asked now and then; one that is silent takes nothing away that was known. Nothing, if
    /// nothing is known: of the addresses that the proxy listens on some may be meant for homes yet to come.
    async fn here(&self, dns: &Dns, name: &str) -> Here {
        let mut found = self.found.lock().await;
        if let Some((at, here)) = found.as_ref()
            && at.elapsed() < limits::HERE_AGAIN
        {
            return here.clone();
        }
        let here = match timeout(limits::HERE, dns.all_addresses(name)).await {
            Ok(Ok(named)) => Here::new(&named, &self.bound),
            _ => found.take().map(|(_, here)| here).unwrap_or_default(),
        };
        found.insert((Instant::now(), here)).1.clone()
    }
}

impl Gate {
    /// What a home is told that asks where its name is to lead.
    ///
    /// # Errors
    /// The folder's.
    pub(super) async fn place(&self, home: &str, host: &ClientName) -> io::Result<Answer> {
        let map = self.maps.now(&self.homes)?;
        let host = host.as_str().to_ascii_lowercase();
        let Some(grant) = map.homes.get(home).filter(|grant| grant.names.contains(&host)) else {
            return Ok(Answer::Place(None));
        };
        let mut places = map.places(grant, &Here::default());
        if !places.iter().any(std::net::IpAddr::is_ipv4) {
            places = map.places(grant, &self.places.here(&self.dns, &self.name).await);
        }
        Ok(Answer::Place(Some(places.into_iter().take(PLACES).collect())))
    }
}
