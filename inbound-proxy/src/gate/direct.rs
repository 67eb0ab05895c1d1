//! Ports 465, 993 and 443: TLS from the first byte, handed on by the name that it asks for, or not at all.

use std::io;
use std::sync::Arc;

use relay_link::inbound::{ClientName, Service};

use super::arriving::Client;
use super::handing::{Parcel, hand_on};
use super::reports::Passing;
use super::{Gate, mail, now};
use crate::route::{Facts, Route};
use crate::sender::{Group, Network};

/// Hands one client on.
///
/// # Errors
/// The peer's.
pub(super) async fn serve(gate: &Arc<Gate>, mut client: Client, service: Service) -> io::Result<()> {
    let Some((sent, hello)) = mail::client_hello(&mut client.stream).await? else {
        gate.metrics.no_tls.count();
        return Ok(());
    };
    let group = Group::of(client.from.ip().to_canonical(), None, false);
    let facts = Facts {
        dialled: client.dialled.ip().to_canonical(),
        service,
        sni: hello.sni.as_deref(),
        tickets: &[],
        ehlo: None,
        confirmed: false,
        group: &group,
    };
    let route = gate.maps.now(&gate.homes)?.route(&facts, &mut gate.memory(), now());
    let Route::Home(home, how) = route else {
        gate.metrics.nowhere.count();
        return Ok(());
    };
    let (network, tickets) = (Network::from(&group), Vec::new());
    let passing = Passing { home: home.clone(), street: None, group, network, tickets, relaying: None, reports: 0 };
    let sni = hello.sni.as_deref().and_then(ClientName::new);
    // An app tries again by itself; there is nothing to say to it.
    hand_on(gate, &home, how, Parcel { client, sent, service, ehlo: None, sni, passing }).await.unwrap_or(Ok(()))
}
