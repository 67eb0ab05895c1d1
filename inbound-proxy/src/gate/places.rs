//! Where the world is to find a home: its family is told, who otherwise could only guess at the proxy's own address.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use relay_link::dns::{Addresses, Dns};
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

    /// Homes that ask without end have DNS asked now and then; one that is silent takes nothing away that was known, of either kind. Nothing, if
    /// nothing is known: of the addresses that the proxy listens on some may be meant for homes yet to come.
    async fn here(&self, dns: &Dns, name: &str) -> Here {
        let mut found = self.found.lock().await;
        if let Some((at, here)) = found.as_ref()
            && at.elapsed() < limits::HERE_AGAIN
        {
            return here.clone();
        }
        let last = found.take().map(|(_, here)| here).unwrap_or_default();
        let here = match timeout(limits::HERE, dns.all_addresses(name)).await {
            Ok(Ok(answer)) => self.after(answer, &last),
            _ => last,
        };
        found.insert((Instant::now(), here)).1.clone()
    }

    fn after(&self, Addresses { mut found, silent }: Addresses, last: &Here) -> Here {
        found.extend(last.named.iter().filter(|address| silent.is_some_and(|silent| silent.is_of(**address))));
        Here::new(&found, &self.bound)
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

#[cfg(test)]
mod tests {
    use relay_link::dns::Silent;

    use super::*;

    #[test]
    fn a_question_that_fails_takes_nothing_away() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let places = Places::new(Vec::new());
        let last = Here::new(&[address("44.0.0.20"), address("2a00:44::20")], &[]);
        let after = |found: &[&str], silent| {
            let found = found.iter().map(|text| address(text)).collect();
            places
                .after(Addresses { found, silent }, &last)
                .named
                .into_iter()
                .map(|at| at.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(after(&["44.0.0.21"], Some(Silent::Six)), ["44.0.0.21", "2a00:44::20"]);
        assert_eq!(after(&["2a00:44::21"], Some(Silent::Four)), ["44.0.0.20", "2a00:44::21"]);
        assert_eq!(after(&["44.0.0.21"], None), ["44.0.0.21"], "it has no other");
    }
}
