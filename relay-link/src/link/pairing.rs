//! A code is used up: by a new key, or by the one that the proxy knows this box by already.

use std::net::SocketAddr;
use std::sync::Arc;

use wire::control::PairedProxy;

use super::Paired;
use crate::code::{BadCode, Kind, PairingCode};
use crate::dns::Dns;
use crate::hello::Refusal;
use crate::home::{self, DialError, Proxy};
use crate::keys::LinkKey;

/// Uses a code up.
///
/// # Errors
/// In words for the admin.
pub(super) async fn pair(code: &str, known: Vec<PairedProxy>, upstreams: Vec<SocketAddr>) -> Result<Paired, String> {
    let code: PairingCode = code.parse().map_err(|bad: BadCode| bad.to_string())?;
    let dns = Arc::new(Dns::new(upstreams));
    if let Some(both) = pair_as_known(&code, known, &dns).await? {
        return Ok(both);
    }
    let own = LinkKey::generate().map_err(|error| error.to_string())?;
    let (proxy, welcome) = home::pair(&code, own, dns).await.map_err(|error| error.to_string())?;
    let proxy = PairedProxy {
        outbound: code.kind == Kind::Outbound,
        host: proxy.place.host().to_owned(),
        port: proxy.place.port(),
        key: proxy.key.to_string(),
        own: proxy.own.pkcs8().to_vec(),
    };
    Ok(Paired::With { proxy, name: welcome.name, called: welcome.proxy })
}

/// As the box that the proxy knows already. `None`: it knows none, or keeps the two names apart. A key that it has been told to know
/// no more may be somebody else's by now, so it is not shown again.
async fn pair_as_known(code: &PairingCode, known: Vec<PairedProxy>, dns: &Arc<Dns>) -> Result<Option<Paired>, String> {
    for kept in known.into_iter().filter(|kept| code.kind == Kind::Inbound && !kept.outbound) {
        let Some(proxy) = Proxy::paired(&kept, dns.clone()) else { continue };
        if proxy.key.fingerprint() != code.proxy || proxy.presence().await.is_err() {
            continue;
        }
        return match home::pair(code, proxy.own, dns.clone()).await {
            Ok((_, welcome)) => Ok(Some(Paired::With { proxy: kept, name: welcome.name, called: welcome.proxy })),
            Err(DialError::Refused(Refusal::Code)) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Serialize};
    use tokio::net::TcpListener;

    use super::*;
    use crate::code::Place;
    use crate::durable::tests::Scratch;
    use crate::hello::Answer;
    use crate::homes::{Grant, Homes};
    use crate::proxy::{Caller, Guest, greet, receive};
    use crate::tls::Acceptor;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Street(String);

    impl Grant for Street {
        fn clashes_with(&self, _: &Self) -> Option<String> {
            None
        }

        fn joined(&self, other: &Self) -> Option<Self> {
            (self == other).then(|| self.clone())
        }
    }

    struct Stage {
        homes: Arc<Homes<Street>>,
        key: LinkKey,
        port: u16,
    }

    impl Stage {
        /// A proxy that sees each link as up.
        async fn new(scratch: &Scratch) -> Self {
            let (homes, key) = (Arc::new(Homes::open(&scratch.0).unwrap()), LinkKey::generate().unwrap());
            let (acceptor, listener) = (Acceptor::new(&key).unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
            let (port, known) = (listener.local_addr().unwrap().port(), homes.clone());
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let Ok(Caller::Control(stream, key)) = receive(stream, &acceptor).await else { continue };
                    if let Ok(Some(Guest::Asking(asking))) = greet(stream, key, &known, "clean.example").await {
                        let _ = asking.answer(Some(Answer::Present(Some(1)))).await;
                    }
                }
            });
            Self { homes, key, port }
        }

        /// What a box keeps that uses a code up for this name.
        async fn pair(&self, name: &str, street: &str, known: &[&PairedProxy]) -> PairedProxy {
            let day = Duration::from_secs(86_400);
            let invited = self.homes.invite(name, Street(street.into()), SystemTime::now(), day).unwrap();
            let code = PairingCode {
                kind: Kind::Inbound,
                place: Place::new("127.0.0.1", self.port).unwrap(),
                proxy: self.key.public().fingerprint(),
                secret: invited.secret,
                expires: u32::try_from(invited.expires / 60).unwrap(),
            };
            let known = known.iter().map(|one| (*one).clone()).collect();
            match pair(&code.to_string(), known, Vec::new()).await {
                Ok(Paired::With { proxy, name: called, .. }) if called == name => proxy,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_box_shows_the_key_that_it_is_known_by() {
        let scratch = Scratch::new("pairing");
        let stage = Stage::new(&scratch).await;
        let alice = stage.pair("alice", "lane", &[]).await;
        assert_eq!(stage.pair("club", "lane", &[&alice]).await, alice, "one link for both");
        assert_eq!(stage.homes.all().unwrap().len(), 1);
        let hill = stage.pair("hill", "hill", &[&alice]).await;
        assert!(hill.own != alice.own, "another street, another home");
        assert_eq!(stage.homes.all().unwrap().len(), 2);
    }

    /// Its operator has heard that a thief has the box's disk.
    #[tokio::test]
    async fn a_key_that_was_revoked_is_never_shown_again() {
        let scratch = Scratch::new("thief");
        let stage = Stage::new(&scratch).await;
        let stolen = stage.pair("alice", "lane", &[]).await;
        stage.homes.close("alice").unwrap();
        let anew = stage.pair("alice", "lane", &[&stolen]).await;
        assert!(anew.own != stolen.own);
        let thief = LinkKey::from_pkcs8(&stolen.own).unwrap().public();
        assert!(stage.homes.find(&thief).unwrap().is_none(), "the thief is not let in with it");
    }
}
