//! The proxies this house is paired with: one sealed file. `postern pair` writes it, `up` hands it to the `link` role.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use filter_sandbox::launch::Launch;
use filter_sandbox::role::Role;
use relay_link::code::PairingCode;
use relay_link::keys::PublicKey;
use relay_link::link::{Asked, Paired, Placed, Seen, Start};
use relay_link::outbound::{Budget, Host};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::control::PairedProxy;

use crate::box_key::BoxKey;
use crate::data::DataFolder;
use crate::failure::{Doing, Failure};
use crate::sealed::{Form, Sealed, Writing};

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pairing {
    /// What the `link` role needs of it.
    pub proxy: PairedProxy,
    /// What its operator calls this house.
    pub name: String,
    /// What it calls itself.
    pub called: String,
    /// Seconds since 1970.
    pub since: i64,
    /// Where the world is to find this house, as an inbound one said last.
    pub found_at: Option<FoundAt>,
}

/// Where a host name of this house's is to lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAt {
    /// Which.
    pub host: String,
    /// There; `None`: the proxy takes nothing that is for that name.
    pub addresses: Option<Vec<IpAddr>>,
}

/// The sealed file.
pub type Pairings = Sealed<Vec<Pairing>>;

/// Between two looks whether the running house has taken a change.
const AGAIN: Duration = Duration::from_millis(50);

const FORM: Form = Form {
    file: "pairings",
    lock: "pairings.lock",
    context: "postern pairings",
    what: "the pairings",
    advice: "put it back from your backup, or remove it and pair anew",
};

/// That of a data folder.
///
/// # Errors
/// The box key gives no secret.
pub fn of(data: &DataFolder, key: &BoxKey) -> Result<Pairings, Failure> {
    Ok(Sealed::of(data, FORM, key.pairings_key()?))
}

/// Which writing of the pairings the running house goes by: `up` says it, once its roles were told, and `postern pair` waits for that.
#[derive(Debug)]
pub struct Taken {
    path: PathBuf,
}

impl Taken {
    /// That of a data folder.
    #[must_use]
    pub fn of(data: &DataFolder) -> Self {
        Self { path: data.entry("pairings.taken") }
    }

    /// It goes by this one from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn say(&self, writing: Writing) -> io::Result<()> {
        std::fs::write(&self.path, writing)
    }

    /// Waits until it goes by what stands in the file now; whether it does.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn wait(&self, kept: &Pairings, patience: Duration) -> Result<bool, Failure> {
        let until = Instant::now() + patience;
        loop {
            let (_, writing) = kept.read_once()?;
            if writing.is_none_or(|writing| std::fs::read(&self.path).is_ok_and(|taken| taken == writing)) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(AGAIN);
        }
    }
}

/// What the `link` role needs of all: each once, however many names this house has there.
#[must_use]
pub fn proxies(all: &[Pairing]) -> Vec<PairedProxy> {
    let mut proxies: Vec<PairedProxy> = Vec::new();
    for pairing in all {
        if !proxies.contains(&pairing.proxy) {
            proxies.push(pairing.proxy.clone());
        }
    }
    proxies
}

/// Pairs, in a process of its own that holds nothing but the code and the key it makes, or those that this proxy knows already:
/// what it talks to has proved nothing yet.
///
/// # Errors
/// In words for the admin.
pub fn pair(code: &str, all: &[Pairing], upstreams: Vec<SocketAddr>) -> Result<Pairing, Failure> {
    match ask(&Start::Pair { code: code.to_owned(), known: of_its_proxy(code, all), upstreams })? {
        Paired::With { proxy, name, called } => {
            let (name, called) = (harmless(&name), host(&called)?);
            Ok(Pairing { proxy, name, called, since: wire::date::now(), found_at: None })
        }
        Paired::Failed(words) => Err(Failure::new(words)),
    }
}

/// What there is already with the proxy of a code.
fn of_its_proxy(code: &str, all: &[Pairing]) -> Vec<PairedProxy> {
    let Ok(code) = code.parse::<PairingCode>() else { return Vec::new() };
    let is_it = |proxy: &PairedProxy| {
        !proxy.outbound && proxy.key.parse().is_ok_and(|key: PublicKey| key.fingerprint() == code.proxy)
    };
    proxies(all).into_iter().filter(is_it).collect()
}

/// What this house may still send through an outbound proxy, as that says.
///
/// # Errors
/// In words for the admin.
pub fn budget(proxy: &PairedProxy, upstreams: Vec<SocketAddr>) -> Result<Budget, Failure> {
    match ask(&Start::Budget { proxy: proxy.clone(), upstreams })? {
        Asked::Budget(budget) => Ok(budget),
        Asked::Failed(words) => Err(Failure::new(words)),
    }
}

/// Where the world is to find this house by that name, as an inbound proxy says; `None`: it does not know this house any more.
///
/// # Errors
/// In words for the admin.
pub fn found_at(proxy: &PairedProxy, host: &str, upstreams: Vec<SocketAddr>) -> Result<Option<FoundAt>, Failure> {
    let addresses = match ask(&Start::Place { proxy: proxy.clone(), host: host.to_owned(), upstreams })? {
        Placed::At(addresses) => Some(addresses),
        Placed::NotOurs => None,
        Placed::Revoked => return Ok(None),
        Placed::Failed(words) => return Err(Failure::new(words)),
    };
    Ok(Some(FoundAt { host: host.to_owned(), addresses }))
}

/// How a proxy sees this house's link.
///
/// # Errors
/// In words for the admin.
pub fn presence(proxy: &PairedProxy, upstreams: Vec<SocketAddr>) -> Result<Seen, Failure> {
    ask(&Start::Presence { proxy: proxy.clone(), upstreams })
}

/// Has a `link` process of its own do one thing.
fn ask<T: DeserializeOwned>(start: &Start) -> Result<T, Failure> {
    let failed = || "the process that talks to the proxy".to_owned();
    let (exe, stderr) = (File::open("/proc/self/exe").doing(failed)?, std::io::stderr());
    let launch = Launch {
        role: Role::Link,
        exe: exe.as_fd(),
        args: &[],
        uid: rustix::process::geteuid().is_root().then(|| Role::Link.host_uid()),
        directory: None,
        stderr: stderr.as_fd(),
    };
    let running = launch.start().doing(failed)?;
    let answer = running.control.send(start, &[]).and_then(|()| running.control.recv::<T>());
    let _ = pidfd_send_signal(&running.pidfd, Signal::KILL);
    let _ = waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED);
    answer.map(|(answer, _)| answer).doing(failed)
}

/// What a proxy calls itself goes into DNS records that the world believes: `a:NAME/0` in one would let anybody send.
fn host(called: &str) -> Result<String, Failure> {
    let host = Host::new(called).filter(|host| host.as_str().parse::<IpAddr>().is_err());
    host.map(|host| host.as_str().to_owned()).ok_or_else(|| {
        let called = harmless(called);
        Failure::new(format!("the proxy calls itself `{called}`, which is no host name: its operator must give it one"))
    })
}

/// What a proxy says, as it may stand on a terminal.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(255).collect()
}

#[cfg(test)]
mod tests {
    use relay_link::code::{Kind, Place};
    use relay_link::keys::{LinkKey, OneTimeSecret};

    use super::*;

    /// A key is shown to nobody but the proxy that knows it.
    #[test]
    fn only_the_pairings_of_that_proxy_are_handed_over() {
        let keys = [(); 2].map(|()| LinkKey::generate().unwrap().public());
        let pairing = |key: &PublicKey, outbound, own| {
            let host = "clean.test".to_owned();
            let proxy = PairedProxy { outbound, host: host.clone(), port: 7_025, key: key.to_string(), own: vec![own] };
            Pairing { proxy, name: "mail.alice.test".into(), called: host, since: 0, found_at: None }
        };
        let all = [pairing(&keys[0], false, 0), pairing(&keys[1], false, 1), pairing(&keys[1], true, 2)];
        let place = Place::new("clean.test", 7_025).unwrap();
        let secret = OneTimeSecret::generate().unwrap();
        let code = PairingCode { kind: Kind::Inbound, place, proxy: keys[1].fingerprint(), secret, expires: 1 };
        let own = |code: &str| of_its_proxy(code, &all).iter().map(|proxy| proxy.own.clone()).collect::<Vec<_>>();
        assert_eq!(own(&code.to_string()), [[1]]);
        assert!(own("nonsense").is_empty());
    }

    #[test]
    fn what_a_proxy_calls_itself_is_a_host_name() {
        assert_eq!(host("Clean.Example").unwrap(), "clean.example");
        for bad in
            ["", "clean", "clean.example/0", "clean.example ?all", "192.0.2.1", "clean.example\"", "%{i}.example"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
