//! What `up` tells a role over its control edge. A role only receives here.

use std::os::fd::OwnedFd;
use std::time::Duration;

use filter_sandbox::edge::{AsyncEdge, Edge, EdgeError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::tls::CertificatePem;

/// Which of a role's edges a new end is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EdgeName {
    /// To the keeper; for the keeper itself: from `mx`.
    Keeper,
    /// To the role's own zygote.
    Zygote,
    /// From `mx` to the external scanner's zygote.
    Scanner,
    /// From `imapd-login` to the owner zygote, at either end.
    Owners,
    /// The keeper's end of `mx`'s Deposit edge.
    Deposit,
    /// The keeper's end of submission's Login edge.
    SubmissionLogin,
    /// The keeper's end of `imapd-login`'s Login edge.
    ImapLogin,
    /// `courier`'s Outbox edge, at either end.
    Outbox,
    /// `courier`'s Notices edge, at either end.
    Notices,
    /// Between `link` and `mx`, at either end: what came through a proxy.
    HandToMx,
    /// Between `link` and `submission`, at either end.
    HandToSubmission,
    /// Between `link` and `imapd-login`, at either end.
    HandToLogin,
    /// Between the courier and `link`, at either end: what leaves through a proxy.
    Dials,
    /// The DNS sockets of a restarted `mx`, for the resolver: UDP then TCP.
    Dns,
}

/// A key that signs letters for a domain (DKIM). Wiped when dropped.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SigningKey {
    /// Whose.
    #[zeroize(skip)]
    pub domain: String,
    /// Under which name its public half stands in DNS.
    #[zeroize(skip)]
    pub selector: String,
    /// RSA; else Ed25519.
    pub rsa: bool,
    /// The private key, PKCS#1 or PKCS#8.
    pub der: Vec<u8>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("selector", &self.selector).field("rsa", &self.rsa).finish_non_exhaustive()
    }
}

/// A proxy that this house is paired with, as the `link` role needs it. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct PairedProxy {
    /// Mail leaves through it; else it comes in.
    pub outbound: bool,
    /// Where it is dialled.
    #[zeroize(skip)]
    pub host: String,
    /// At which port.
    pub port: u16,
    /// The key that it must show, as text.
    #[zeroize(skip)]
    pub key: String,
    /// The key that this house shows it, PKCS#8.
    pub own: Vec<u8>,
}

impl std::fmt::Debug for PairedProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairedProxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// How long a role whose edge has closed waits for a new end. A process that was restarted has one sent at once; a
/// process that dropped the edge and lives on (its peer broke the protocol, or was slow) has none, so the role then ends
/// itself: `up` starts it again, and all its edges are new. Longer than a session waits for a keeper that is restarted.
pub const NEW_EDGE: Duration = Duration::from_secs(8);

/// Keys in one packet: an RSA key and two long names are under 2 KiB, and a packet holds 64.
const KEYS: usize = 24;

impl Control {
    /// The packets in which signing keys travel; one, where there are none.
    pub fn signing(keys: &[SigningKey]) -> impl Iterator<Item = Self> {
        let packets = keys.len().div_ceil(KEYS).max(1);
        (1..=packets).map(move |packet| {
            let some = keys.iter().skip((packet - 1) * KEYS).take(KEYS);
            Self::Signing { keys: some.cloned().collect(), more: packet < packets }
        })
    }
}

/// News from `up`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Control {
    /// A new end of an edge rides along: the process at the old one has been restarted.
    Edge(EdgeName),
    /// New connections use this certificate.
    Certificate(CertificatePem),
    /// For `courier`: letters are signed with these from now on. The keys of many domains come in several packets.
    Signing {
        /// Some of them.
        keys: Vec<SigningKey>,
        /// The others follow.
        more: bool,
    },
    /// For `link`: the proxies this house is paired with from now on.
    Pairings(Vec<PairedProxy>),
    /// For `courier`: whether mail leaves through a proxy from now on, and not otherwise.
    ThroughProxy(bool),
    /// Finish what is under way and end; no new work.
    Drain,
}

/// The receiving end, before and after the runtime starts.
#[derive(Debug)]
pub struct Controls(AsyncEdge);

/// Waits for the start packet: the role's `Start` and its descriptors, in the order that type documents.
/// Blocking; called once, after `confine`, before any thread.
///
/// # Errors
/// The edge's: `up` is gone or of another version.
pub fn start<T: DeserializeOwned>(edge: &Edge) -> Result<(T, Vec<OwnedFd>), EdgeError> {
    edge.recv()
}

impl Controls {
    /// Takes the control edge over.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge) -> std::io::Result<Self> {
        AsyncEdge::new(edge).map(Self)
    }

    /// The next news; `None` when `up` is gone and the role must end. Safe in `select!`.
    pub async fn next(&self) -> Option<(Control, Vec<OwnedFd>)> {
        self.0.recv().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_many_domains_fit_into_packets() {
        for count in [0, 1, KEYS, KEYS + 1, 200] {
            let long =
                SigningKey { domain: "d".repeat(253), selector: "s".repeat(63), rsa: true, der: vec![255; 1_300] };
            let packets: Vec<_> = Control::signing(&vec![long; count]).collect();
            let mut came = 0;
            for (place, packet) in packets.iter().enumerate() {
                let bytes = postcard::to_stdvec(packet).unwrap();
                assert!(bytes.len() < filter_sandbox::edge::MAX_PACKET, "{}", bytes.len());
                let Control::Signing { keys, more } = packet else { panic!("{packet:?}") };
                came += keys.len();
                assert_eq!(*more, place + 1 < packets.len());
            }
            assert_eq!(came, count);
        }
    }
}
