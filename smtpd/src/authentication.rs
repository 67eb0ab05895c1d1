//! Where a letter claims to come from, and what of it proves true: SPF, DKIM, DMARC, ARC, iprev, by mail-auth,
//! with DNS through the `resolver` role (127.0.0.1:53 of this role's own network namespace).
//!
//! Whatever DNS does, a letter waits for [`limits::AUTHENTICATION`] at most; what is not known by then is a
//! temporary error, which rejects nothing.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use filter_sandbox::score::{Authentication, Outcome, Policy};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::TokioResolver;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::net::runtime::TokioRuntimeProvider;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, DmarcResult, DnsError,
    Error, IprevOutput, IprevResult, MessageAuthenticator, SpfOutput, SpfResult, dmarc,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::failed_lookups::FailedLookups;
use crate::header;
use crate::limits;
use crate::session::Begin;
use crate::session::path::Sender;

/// Where DNS is asked; a test may have its own.
pub const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// Verifies; one for a role.
pub struct Verifier {
    authenticator: MessageAuthenticator,
    failed: FailedLookups,
    host: String,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What can be asked before the message is there: begun at MAIL, so that it is done by the end of DATA.
#[derive(Debug)]
pub struct Early {
    client: IpAddr,
    sender: Sender,
    helo: String,
    spf: JoinHandle<SpfOutput>,
    iprev: JoinHandle<IprevOutput>,
}

impl Drop for Early {
    fn drop(&mut self) {
        self.spf.abort();
        self.iprev.abort();
    }
}

/// The outcome.
#[derive(Debug)]
pub struct Verified {
    /// For the score and DMARC's policy.
    pub facts: Authentication,
    /// The whole Authentication-Results field, with its end of line.
    pub field: String,
    /// The client's name, when it leads back to its address.
    pub client_name: Option<String>,
}

/// DNS over TLS is not spoken here. Left to itself the resolver would look for the system's certificate
/// authorities, and this role's root is empty.
fn no_tls() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let trusting_nobody = versions.map(|builder| builder.with_root_certificates(rustls::RootCertStore::empty()));
    trusting_nobody.map(|builder| builder.with_no_client_auth()).map_err(|error| error.to_string())
}

impl Verifier {
    /// `host` is our authserv-id.
    ///
    /// # Errors
    /// The resolver's, in words.
    pub fn new(host: String, resolver: SocketAddr) -> Result<Arc<Self>, String> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = resolver.port();
            connection
        });
        let server = NameServerConfig::new(resolver.ip(), true, connections.into());
        let mut options = ResolverOpts::default();
        options.timeout = limits::LOOKUP;
        options.attempts = 1;
        options.cache_size = 512;
        options.use_hosts_file = ResolveHosts::Never;
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .with_tls_config(no_tls()?)
            .build()
            .map_err(|error| error.to_string())?;
        let authenticator = MessageAuthenticator(resolver);
        Ok(Arc::new(Self { authenticator, failed: FailedLookups::default(), host }))
    }

    /// Begins with SPF and the client's name. Needs a runtime.
    #[must_use]
    pub fn begin(self: &Arc<Self>, client: IpAddr, begin: &Begin) -> Early {
        let client = client.to_canonical();
        let (sender, helo) = (begin.sender.clone(), begin.hello.name.clone());
        let spf = tokio::spawn({
            let (this, sender, helo) = (self.clone(), sender.clone(), helo.clone());
            async move { this.spf(client, &helo, &sender).await }
        });
        let iprev = tokio::spawn({
            let this = self.clone();
            async move { this.iprev(client).await }
        });
        Early { client, sender, helo, spf, iprev }
    }

    async fn spf(&self, client: IpAddr, helo: &str, sender: &Sender) -> SpfOutput {
        let from = sender.to_string();
        let domain = sender.0.as_ref().map_or(helo, |address| address.domain());
        let unknown = || SpfOutput::new(domain.to_owned()).with_result(SpfResult::TempError);
        let parameters = if from.is_empty() {
            SpfParameters::verify_ehlo(client, helo, &self.host)
        } else {
            SpfParameters::verify_mail_from(client, helo, &self.host, &from)
        };
        let asked = self.authenticator.verify_spf(parameters);
        self.ask(&format!("spf {domain}"), asked, |output| output.result() == SpfResult::TempError, unknown).await
    }

    async fn iprev(&self, client: IpAddr) -> IprevOutput {
        let asked = self.authenticator.verify_iprev(client);
        let failed = |output: &IprevOutput| matches!(output.result, IprevResult::TempError(_));
        let unknown = || IprevOutput { result: IprevResult::TempError(no_answer()), ptr: None };
        self.ask(&format!("ptr {client}"), asked, failed, unknown).await
    }

    /// Asks DNS, unless the same question failed a moment ago; remembers when it fails.
    async fn ask<T>(
        &self,
        question: &str,
        asked: impl Future<Output = T>,
        failed: impl Fn(&T) -> bool,
        unknown: impl Fn() -> T,
    ) -> T {
        if self.failed.recently(question) {
            return unknown();
        }
        let answer = tokio::time::timeout(limits::AUTHENTICATION, asked).await.unwrap_or_else(|_| unknown());
        if failed(&answer) {
            self.failed.note(question);
        }
        answer
    }

    /// Verifies a whole message as it came.
    pub async fn verify(&self, message: &[u8], mut early: Early) -> Verified {
        let deadline = Instant::now() + limits::AUTHENTICATION;
        let reduced = too_many_signatures(message).then(|| without_signatures(message));
        let parsed = parse(reduced.as_deref().unwrap_or(message));
        let spf = finish(&mut early.spf, deadline)
            .await
            .unwrap_or_else(|| SpfOutput::new(early.sender.domain()).with_result(SpfResult::TempError));
        let (dkim, arc) = match &parsed {
            Some(parsed) => self.signatures(parsed, deadline).await,
            None => (Vec::new(), ArcOutput::default()),
        };
        let dmarc = match &parsed {
            Some(parsed) => self.dmarc(parsed, &early, &dkim, &spf, deadline).await,
            None => DmarcOutput::default(),
        };
        let iprev = finish(&mut early.iprev, deadline).await;
        let iprev = iprev.unwrap_or(IprevOutput { result: IprevResult::TempError(no_answer()), ptr: None });
        let from = parsed.as_ref().map_or("", |parsed| parsed.from());
        Verified {
            facts: Authentication {
                spf: spf_outcome(spf.result()),
                dkim: best(&dkim),
                dmarc: dmarc_outcome(&dmarc.result()),
                policy: policy(dmarc.policy()),
                arc: dkim_outcome(arc.result()),
                iprev: iprev_outcome(&iprev.result),
            },
            field: self.field(&early, from, &spf, &dkim, &dmarc, &arc, &iprev),
            client_name: client_name(&iprev),
        }
    }

    async fn signatures<'x>(
        &self,
        parsed: &'x AuthenticatedMessage<'x>,
        deadline: Instant,
    ) -> (Vec<DkimOutput<'x>>, ArcOutput<'x>) {
        let both =
            async { tokio::join!(self.authenticator.verify_dkim(parsed), self.authenticator.verify_arc(parsed)) };
        match timeout_at(deadline, both).await {
            Ok(both) => both,
            Err(_) => {
                let arc = ArcOutput::default().with_result(DkimResult::TempError(no_answer()));
                (vec![DkimOutput::temp_err(no_answer())], arc)
            }
        }
    }

    async fn dmarc<'x>(
        &self,
        parsed: &'x AuthenticatedMessage<'x>,
        early: &Early,
        dkim: &'x [DkimOutput<'x>],
        spf: &'x SpfOutput,
        deadline: Instant,
    ) -> DmarcOutput {
        let sender = early.sender.0.as_ref().map_or(early.helo.as_str(), |address| address.domain());
        let domain = parsed.from().rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase();
        let asked = self.authenticator.verify_dmarc(DmarcParameters::new(parsed, dkim, sender, spf));
        let unknown = || {
            let nothing = DmarcResult::TempError(no_answer());
            DmarcOutput::new(domain.clone()).with_spf_result(nothing.clone()).with_dkim_result(nothing)
        };
        let failed = |output: &DmarcOutput| {
            matches!(output.result(), DmarcResult::TempError(_)) && output.dmarc_record().is_none()
        };
        let question = format!("dmarc {domain}");
        let asked = async { timeout_at(deadline, asked).await.unwrap_or_else(|_| unknown()) };
        let output = self.ask(&question, asked, failed, unknown).await;
        // A signature whose key could not be fetched in time proves neither side.
        let undecided =
            dkim.iter().any(|one| matches!(one.result(), DkimResult::TempError(_)) && one.signature().is_none());
        if undecided && matches!(output.result(), DmarcResult::Fail(_)) {
            return output.with_dkim_result(DmarcResult::TempError(no_answer()));
        }
        output
    }

    #[allow(clippy::too_many_arguments)]
    fn field(
        &self,
        early: &Early,
        header_from: &str,
        spf: &SpfOutput,
        dkim: &[DkimOutput<'_>],
        dmarc: &DmarcOutput,
        arc: &ArcOutput<'_>,
        iprev: &IprevOutput,
    ) -> String {
        let results = AuthenticationResults::new(&self.host);
        let results = match &early.sender.0 {
            Some(sender) => results.with_spf_mailfrom_result(spf, early.client, &sender.to_string(), &early.helo),
            None => results.with_spf_ehlo_result(spf, early.client, &early.helo),
        };
        let mut results = results.with_dkim_results(dkim, header_from);
        if !dmarc.domain().is_empty() {
            results = results.with_dmarc_result(dmarc);
        }
        if *arc.result() != DkimResult::None {
            results = results.with_arc_result(arc, early.client);
        }
        let field = results.with_iprev_result(iprev, early.client).to_header();
        if is_one_field(&field) { field } else { format!("Authentication-Results: {}; none\r\n", self.host) }
    }
}

/// Parsing hashes the body once for each way in which a signature wants it: of a large message that takes long,
/// and the runtime's other sessions must not wait.
fn parse(message: &[u8]) -> Option<AuthenticatedMessage<'_>> {
    const LARGE: usize = 256 * 1024;
    if message.len() < LARGE {
        AuthenticatedMessage::parse(message)
    } else {
        tokio::task::block_in_place(|| AuthenticatedMessage::parse(message))
    }
}

fn is_signature(field: &header::Field<'_>) -> bool {
    ["DKIM-Signature", "ARC-Message-Signature", "ARC-Seal", "DKIM2-Signature", "Message-Instance"]
        .iter()
        .any(|name| field.is(name))
}

/// Each signature may want the body hashed in a way of its own: with thousands of them one message would keep a
/// core busy for hours.
fn too_many_signatures(message: &[u8]) -> bool {
    header::fields(message).filter(is_signature).count() > limits::SIGNATURES
}

/// The header without signatures: enough for SPF and DMARC.
fn without_signatures(message: &[u8]) -> Vec<u8> {
    let mut reduced = Vec::new();
    for field in header::fields(message).filter(|field| !is_signature(field)) {
        reduced.extend_from_slice(&message[field.at]);
    }
    reduced.extend_from_slice(b"\r\n");
    reduced
}

async fn finish<T>(task: &mut JoinHandle<T>, deadline: Instant) -> Option<T> {
    timeout_at(deadline, task).await.ok()?.ok()
}

fn no_answer() -> Error {
    Error::Dns(DnsError::Resolver("no answer in time".into()))
}

/// The library escapes what it writes; this is the belt to its braces, since the field goes in front of mail.
fn is_one_field(field: &str) -> bool {
    let Some(lines) = field.strip_suffix("\r\n") else { return false };
    lines.split("\r\n").enumerate().all(|(number, line)| {
        let folded = line.starts_with(['\t', ' ']);
        (folded || number == 0) && !line.trim().is_empty() && !line.chars().any(|c| c.is_control() && c != '\t')
    })
}

fn client_name(iprev: &IprevOutput) -> Option<String> {
    let name = iprev.ptr.as_ref().filter(|_| iprev.result == IprevResult::Pass)?.first()?.trim_end_matches('.');
    let plain =
        !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    plain.then(|| name.to_owned())
}

const fn spf_outcome(result: SpfResult) -> Outcome {
    match result {
        SpfResult::Pass => Outcome::Pass,
        SpfResult::Fail => Outcome::Fail,
        SpfResult::SoftFail => Outcome::SoftFail,
        SpfResult::Neutral => Outcome::Neutral,
        SpfResult::TempError => Outcome::TempError,
        SpfResult::PermError => Outcome::PermError,
        SpfResult::None => Outcome::None,
    }
}

const fn dkim_outcome(result: &DkimResult) -> Outcome {
    match result {
        DkimResult::Pass => Outcome::Pass,
        DkimResult::Neutral(_) => Outcome::Neutral,
        DkimResult::Fail(_) => Outcome::Fail,
        DkimResult::PermError(_) => Outcome::PermError,
        DkimResult::TempError(_) => Outcome::TempError,
        DkimResult::None => Outcome::None,
    }
}

/// One good signature is enough; a broken one beside it means nothing (RFC 6376 §6.1).
fn best(signatures: &[DkimOutput<'_>]) -> Outcome {
    const ORDER: [Outcome; 5] =
        [Outcome::Pass, Outcome::TempError, Outcome::Fail, Outcome::PermError, Outcome::Neutral];
    let found: Vec<Outcome> = signatures.iter().map(|one| dkim_outcome(one.result())).collect();
    ORDER.into_iter().find(|outcome| found.contains(outcome)).unwrap_or_default()
}

const fn dmarc_outcome(result: &DmarcResult) -> Outcome {
    match result {
        DmarcResult::Pass => Outcome::Pass,
        DmarcResult::Fail(_) => Outcome::Fail,
        DmarcResult::TempError(_) => Outcome::TempError,
        DmarcResult::PermError(_) => Outcome::PermError,
        DmarcResult::None => Outcome::None,
    }
}

const fn iprev_outcome(result: &IprevResult) -> Outcome {
    match result {
        IprevResult::Pass => Outcome::Pass,
        IprevResult::Fail(_) => Outcome::Fail,
        IprevResult::TempError(_) => Outcome::TempError,
        IprevResult::PermError(_) => Outcome::PermError,
        IprevResult::None => Outcome::None,
    }
}

const fn policy(policy: dmarc::Policy) -> Policy {
    match policy {
        dmarc::Policy::Reject => Policy::Reject,
        dmarc::Policy::Quarantine => Policy::Quarantine,
        dmarc::Policy::None | dmarc::Policy::Unspecified => Policy::None,
    }
}
