//! Port 25: the clear phase, the ClientHello, the choice, and what follows from it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_link::inbound::{ClientName, Service};
use relay_link::operator::config::is_host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::arriving::Client;
use super::handing::{Parcel, hand_on};
use super::learning::{self, Sender};
use super::reports::Passing;
use super::talk::{Step, Talk};
use super::{Gate, now};
use crate::client_hello::{ClientHello, Progress, examine};
use crate::limits;
use crate::reply::Reply;
use crate::route::{Facts, Map, Route};
use crate::sender::{Group, Network};
use crate::session::Phase;

/// Serves one sender until it is handed on, or to its end.
///
/// # Errors
/// The peer's.
pub(super) async fn serve(gate: &Arc<Gate>, mut client: Client) -> io::Result<()> {
    let dialled = client.dialled.ip().to_canonical();
    let map = gate.maps.now(&gate.homes)?;
    // A home with an address of its own is known before a word is said: where it does not wake, neither is a sender
    // brought to STARTTLS in vain.
    if let Some(home) = map.alone(dialled)
        && client.wait_for(gate, home).await.is_err()
    {
        gate.metrics.home_away.count();
        let mut word = Vec::new();
        Reply::Unavailable.write(&gate.name, &mut word);
        client.stream.write_all(&word).await?;
        return client.stream.shutdown().await;
    }
    drop(map);
    let Client { stream, from, dialled: at, waited, mut place } = client;
    let mut talk = Talk::new(stream, Phase::Clear, &gate.name, &gate.ending);
    let ehlo = loop {
        match talk.step().await? {
            Step::Admit => {
                let sitting = place.sits_down(&gate.doors, from.ip().to_canonical(), limits::SEATED);
                talk.admitted(gate.ending.unless_begun(sitting).await == Some(true));
            }
            Step::HandOver(ehlo) => break ehlo,
            _ => return Ok(()),
        }
    };
    // From here on a close would bring some of them back in clear: the end waits until it is handed on, or has been told.
    let _on_the_way = gate.letters.on_the_way();
    let mut stream = talk.into_stream();
    let Some((sent, hello)) = client_hello(&mut stream).await? else {
        gate.metrics.no_tls.count();
        return Ok(());
    };
    choose(gate, Client { stream, from, dialled: at, waited, place }, sent, hello, ehlo).await
}

/// Reads as much as the whole ClientHello; `None` when there is none.
///
/// # Errors
/// The peer's, or a time-out.
pub(super) async fn client_hello(client: &mut TcpStream) -> io::Result<Option<(Vec<u8>, ClientHello)>> {
    let reading = async {
        let mut sent = Vec::with_capacity(1_024);
        loop {
            match examine(&sent) {
                Progress::Whole(hello) => return Ok(Some((sent, hello))),
                Progress::NotTls | Progress::TooLong => return Ok(None),
                Progress::Incomplete => {}
            }
            if client.read_buf(&mut sent).await? == 0 {
                return Ok(None);
            }
        }
    };
    timeout(limits::CLIENT_HELLO_TIME, reading).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn choose(
    gate: &Arc<Gate>,
    client: Client,
    sent: Vec<u8>,
    hello: ClientHello,
    ehlo: Option<ClientName>,
) -> io::Result<()> {
    let map = gate.maps.now(&gate.homes)?;
    let (from, dialled) = (client.from.ip().to_canonical(), client.dialled.ip().to_canonical());
    let confirmed = is_needed(&map, &hello, dialled) && is_confirmed(gate, ehlo.as_ref(), from).await;
    let group = Group::of(from, ehlo.as_ref(), confirmed);
    let facts = Facts {
        dialled,
        service: Service::Mail,
        sni: hello.sni.as_deref(),
        tickets: &hello.tickets,
        ehlo: ehlo.as_ref(),
        confirmed,
        group: &group,
    };
    let route = map.route(&facts, &mut gate.memory(), now());
    let street = map.street(dialled);
    drop(map);
    let network = Network::of(from);
    let sender = Sender { group: group.clone(), network, street: street.clone() };
    let (home, how) = match route {
        Route::Home(home, how) => (home, how),
        Route::Learn => return learning::serve(gate, client, sent, &sender, Phase::Learning).await,
        Route::Nowhere => return Ok(()),
    };
    let tickets = hello.tickets;
    let passing = Passing { home: home.clone(), street, group, network, tickets, relaying: None, reports: 0 };
    let sni = hello.sni.as_deref().and_then(ClientName::new);
    let parcel = Parcel { client, sent, service: Service::Mail, ehlo, sni, passing };
    match hand_on(gate, &home, how, parcel).await {
        Ok(relayed) => relayed,
        // Found out after the ClientHello: a close now would bring some of them back in clear (measured).
        Err(Parcel { client, sent, .. }) => learning::serve(gate, client, sent, &sender, Phase::Away).await,
    }
}

/// Whether it matters who the sender is: only where the choice may rest on it.
fn is_needed(map: &Map, hello: &ClientHello, dialled: IpAddr) -> bool {
    let named = hello.sni.as_deref().is_some_and(|name| map.by_name(name).is_some());
    !named && map.alone(dialled).is_none() && map.street(dialled).is_some()
}

/// Time the DNS gets to confirm an EHLO name. Without an answer the sender goes by its network.
const CONFIRMATION: Duration = Duration::from_secs(4);

/// Whether the name that a sender calls itself has the address that it comes from.
async fn is_confirmed(gate: &Gate, ehlo: Option<&ClientName>, from: IpAddr) -> bool {
    let Some(name) = ehlo.map(ClientName::as_str).filter(|name| is_host(name)) else {
        return false;
    };
    matches!(timeout(CONFIRMATION, gate.dns.has_address(name, from)).await, Ok(Ok(true)))
}
