//! What all these tests have: names, the proxy, far servers.

use tests::far::Far;
use tests::hosts::{HERE, Host};
use tests::names::Names;
use tests::outbound::{AWAY, Outbound};
use tests::{Authority, Scratch};

/// Where the proxy is.
pub const PROXY: &str = "44.0.0.30";
/// The same of the new kind, where its machine has that.
pub const PROXY6: &str = "2a00:44::30";
/// Far servers.
pub const FAR: [&str; 5] = ["44.0.0.41", "44.0.0.42", "44.0.0.43", "44.0.0.44", "44.0.0.45"];

/// The network.
pub struct Place {
    pub names: Names,
    pub proxy: Outbound,
    pub certificate: Authority,
    pub scratch: Scratch,
}

impl Place {
    pub fn new() -> Self {
        let scratch = Scratch::new("outbound");
        let certificate = Authority::make(scratch.path(), "mx.far.test");
        let names = Names::serve_at(HERE);
        names.a(AWAY, PROXY);
        names.aaaa(AWAY, PROXY6);
        let proxy = Outbound::start(Host::public("proxy", &[PROXY]), PROXY);
        Self { names, proxy, certificate, scratch }
    }

    /// A real server for `DOMAIN`, on a host of its own.
    pub fn far(&self, peer: &str, number: usize, domain: &str) -> Far {
        let address = FAR[number];
        self.names.forget(&format!("mx.{domain}"));
        self.names.host(domain, address);
        Far::start_on(&Host::public(&format!("far{number}"), &[address]), peer, address, domain, &self.certificate)
    }
}
