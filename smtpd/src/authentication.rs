//! Where a letter claims to come from, and what of it proves true: SPF, DKIM, DMARC, ARC, iprev, by mail-auth,
//! with DNS through the `resolver` role (on the loopback of this role's own network namespace).
//!
//! Whatever DNS does, a letter waits for twice [`limits::AUTHENTICATION`] at most; what is not known by then is a
//! temporary error, which rejects nothing for good. Answers are kept for as long as they say, missing ones too, and
//! a question that DNS did not answer is not asked again for a while.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use filter_sandbox::score::Authentication;
use filter_sandbox::walls::ITS_DNS;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::hickory_resolver::TokioResolver;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::net::runtime::TokioRuntimeProvider;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, IprevOutput, IprevResult,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::failed_lookups::FailedLookups;
use crate::limits;
use crate::session::Begin;
use crate::session::path::Sender;

mod outcomes;
mod policies;
mod signatures;

use outcomes::{
    best, client_name, dkim_outcome, dmarc_outcome, iprev_outcome, is_one_field, no_answer, policy, spf_outcome,
};
use policies::Claims;
pub use policies::Disorder;
use signatures::Each;

/// Where DNS is asked; a test may have its own.
pub const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ITS_DNS);

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
    let provider = wire::ciphers::provider();
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
        options.cache_size = limits::CACHED_ANSWERS;
        options.negative_min_ttl = Some(limits::NEGATIVE_SHORTEST);
        options.negative_max_ttl = Some(limits::NEGATIVE_LONGEST);
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
        // What the client's own names answer may be part of it (`ptr`, macros): one client's failure is not another's.
        self.ask(&format!("spf {domain} {client}"), asked, |output| output.result() == SpfResult::TempError, unknown)
            .await
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
        } else {
            self.failed.forget(question);
        }
        answer
    }

    /// Verifies a whole message as it came.
    ///
    /// # Errors
    /// When the domains in its From cannot be asked.
    pub async fn verify(&self, message: &[u8], mut early: Early) -> Result<Verified, Disorder> {
        let deadline = Instant::now() + limits::AUTHENTICATION;
        let domains = policies::author_domains(message)?;
        let reduced = signatures::beyond_measure(message).then(|| signatures::without_signatures(message));
        let parsed = signatures::parse(reduced.as_deref().unwrap_or(message));
        let each = parsed.as_ref().map(Each::of);
        let dkim = async {
            match &each {
                Some(each) => self.dkim(each).await,
                None => Vec::new(),
            }
        };
        let (spf, iprev, dkim, arc, published) = tokio::join!(
            finish(&mut early.spf, deadline),
            finish(&mut early.iprev, deadline),
            dkim,
            self.arc(parsed.as_ref()),
            all(domains.iter().map(|domain| self.published(domain))),
        );
        let sender = early.sender.0.as_ref().map_or(early.helo.as_str(), |address| address.domain());
        let spf = spf.unwrap_or_else(|| SpfOutput::new(sender.to_owned()).with_result(SpfResult::TempError));
        let iprev = iprev.unwrap_or(IprevOutput { result: IprevResult::TempError(no_answer()), ptr: None });
        let claims = Claims { dkim: &dkim, spf: &spf, sender };
        let dmarc = all(published.into_iter().map(|one| self.judge(one, claims))).await;
        let deciding = policies::strictest(&dmarc);
        let from = parsed.as_ref().map_or("", |parsed| parsed.from());
        Ok(Verified {
            facts: Authentication {
                spf: spf_outcome(spf.result()),
                dkim: best(&dkim),
                dmarc: dmarc_outcome(&deciding.result()),
                policy: policy(deciding.policy()),
                arc: dkim_outcome(arc.result()),
                iprev: iprev_outcome(&iprev.result),
            },
            field: self.field(&early, from, &spf, &dkim, &dmarc, &arc, &iprev),
            client_name: client_name(&iprev),
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn field(
        &self,
        early: &Early,
        header_from: &str,
        spf: &SpfOutput,
        dkim: &[DkimOutput<'_>],
        dmarc: &[DmarcOutput],
        arc: &ArcOutput<'_>,
        iprev: &IprevOutput,
    ) -> String {
        let results = AuthenticationResults::new(&self.host);
        let results = match &early.sender.0 {
            Some(sender) => results.with_spf_mailfrom_result(spf, early.client, &sender.to_string(), &early.helo),
            None => results.with_spf_ehlo_result(spf, early.client, &early.helo),
        };
        let mut results = results.with_dkim_results(dkim, header_from);
        for one in dmarc {
            results = results.with_dmarc_result(one);
        }
        if *arc.result() != DkimResult::None {
            results = results.with_arc_result(arc, early.client);
        }
        let field = results.with_iprev_result(iprev, early.client).to_header();
        if is_one_field(&field) { field } else { format!("Authentication-Results: {}; none\r\n", self.host) }
    }
}

async fn finish<T>(task: &mut JoinHandle<T>, deadline: Instant) -> Option<T> {
    timeout_at(deadline, task).await.ok()?.ok()
}

/// Reads a message as [`Verifier::verify`] does, without DNS.
pub(crate) fn exercise(message: &[u8]) {
    let _ = policies::author_domains(message);
    let reduced = signatures::beyond_measure(message).then(|| signatures::without_signatures(message));
    let parsed = signatures::parse(reduced.as_deref().unwrap_or(message));
    let _ = parsed.as_ref().map(Each::of);
}

/// Drives futures together; what they gave, in their order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut given: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, place) in waiting.iter_mut().zip(&mut given).filter(|(_, place)| place.is_none()) {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                *place = Some(output);
            }
        }
        if given.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    given.into_iter().flatten().collect()
}
