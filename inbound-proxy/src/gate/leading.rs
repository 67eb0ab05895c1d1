//! Asks where the homes' names lead, for as long as the gate lives, so that no session waits for the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_link::dns::Dns;
use relay_link::homes::Home;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{Gate, now};
use crate::asking;
use crate::grant::HomeGrant;
use crate::leads::is_public;

/// Between two looks for names that it is time to ask for.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds without a look once there was nothing to ask for.
const QUIET: u32 = 5;
/// An address of a home or a street, and the name of a home that is another's and leads there.
type Astray = BTreeSet<(IpAddr, String)>;

/// Asks, in rounds.
pub(super) async fn follow(gate: Arc<Gate>, dns: Dns) {
    let (dns, mut rounds, mut told) = (Arc::new(dns), tokio::time::interval(ROUND), Astray::new());
    let (mut seen, mut quiet) = (None, 0);
    loop {
        rounds.tick().await;
        let Ok(all) = gate.homes.all() else { continue };
        // With thousands of homes and nothing new it is not worth a look each second.
        let same = seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &all));
        if same && (1..QUIET).contains(&quiet) {
            quiet += 1;
            continue;
        }
        seen = Some(all.clone());
        quiet = if round(&gate, &dns, &all).await { 0 } else { 1 };
        if quiet == 0 || !same {
            told = tell(&gate, told);
        }
    }
}

/// Whether anything was asked for.
async fn round(gate: &Gate, dns: &Arc<Dns>, all: &BTreeMap<String, Home<HomeGrant>>) -> bool {
    let mut followed = gate.maps.followed(all).peekable();
    if followed.peek().is_none() {
        return false;
    }
    let due = gate.maps.leads().due(followed, now());
    if due.is_empty() {
        return false;
    }
    // Since when a name is followed, before its servers keep all waiting.
    save(gate);
    let mut asked = JoinSet::new();
    let homes: Arc<BTreeSet<String>> = Arc::new(all.values().flat_map(|home| home.grant.names.clone()).collect());
    for name in due {
        let (dns, homes) = (dns.clone(), homes.clone());
        let expected = all.values().any(|home| home.expected && home.grant.names.contains(&name));
        asked.spawn(async move {
            let found = match expected {
                true => asking::expected(&dns, &name, &homes).await,
                false => asking::name(&dns, &name).await,
            };
            (name, found)
        });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((name, found)) = answer else { continue };
        gate.maps.leads().heard(&name, found.as_ref(), now());
    }
    save(gate);
    gate.maps.make_anew();
    true
}

fn save(gate: &Gate) {
    if let Err(error) = gate.maps.leads().save() {
        warn!(%error, "where the homes' names lead cannot be written down");
    }
}

/// Says what has changed: whose letters wait for it only the operator can see.
fn tell(gate: &Gate, told: Astray) -> Astray {
    let Ok(map) = gate.maps.now(&gate.homes) else { return told };
    let owned = map.homes.values().flat_map(|grant| &grant.addresses).chain(map.streets.keys());
    let mut astray = Astray::new();
    for address in owned.copied().collect::<BTreeSet<_>>().into_iter().filter(|address| is_public(*address)) {
        let strays = map.astray(address).into_iter().map(|home| (address, home.to_owned()));
        astray.extend(strays);
    }
    for (address, home) in astray.difference(&told) {
        warn!(%address, home, "its name leads to an address that is others', or may: senders that give no proof wait there");
    }
    for (address, home) in told.difference(&astray) {
        info!(%address, home, "its names lead there no more");
    }
    astray
}
