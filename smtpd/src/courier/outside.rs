//! The outside as it is: DNS, policies over HTTPS, connections.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::RootCertStore;
use spool::edges::Down;
use spool::edges::outbox::{self, Outbox};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::info;
use wire::dialled::{Dialler, Through};

use super::dane::Tlsa;
use super::destination::{self, Answer, Mx, Own, Reach};
use super::dns::Dns;
use super::limits;
use super::mta_sts::{self, Ask, BadPolicy, Policies, Policy, Record};
use super::reach::{Connected, World};
use super::{https, mta_sts::host_and_path};

/// The real world.
#[derive(Debug)]
pub struct Outside {
    dns: Dns,
    own: Own,
    roots: Arc<RootCertStore>,
    policies: Mutex<Policies>,
    /// Domains whose policies the keeper has not yet.
    unkept: Mutex<BTreeSet<String>>,
    fetched: Notify,
    /// To the `link` role.
    pub dialler: Dialler,
    through_proxy: AtomicBool,
    /// What it gives no connection with is connected with from here.
    past_proxy: bool,
    /// Since when it has had no room for one more session, as far as is known.
    full: watch::Sender<Option<Instant>>,
}

impl Outside {
    /// With these means.
    #[must_use]
    pub fn new(dns: Dns, own: Own, roots: Arc<RootCertStore>, (dialler, past_proxy): (Dialler, bool)) -> Self {
        Self {
            dns,
            own,
            roots,
            policies: Mutex::default(),
            unkept: Mutex::default(),
            fetched: Notify::new(),
            dialler,
            through_proxy: AtomicBool::new(false),
            past_proxy,
            full: watch::Sender::new(None),
        }
    }

    /// Whether letters leave through an outbound proxy from now on. Then, unless the admin said otherwise, they leave in no
    /// other way: a letter that came from the house's own address would be taken for spam there, and its sender with it.
    pub fn leave_through_proxy(&self, through: bool) {
        self.through_proxy.store(through, Ordering::Relaxed);
    }

    /// A connection through it.
    async fn dial(&self, host: &str) -> io::Result<Through> {
        let dialled = self.dialler.dial(host).await;
        if dialled.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            self.full.send_replace(Some(Instant::now()));
        }
        dialled
    }

    fn policies(&self) -> MutexGuard<'_, Policies> {
        lock(&self.policies)
    }

    /// Takes back the policies that the keeper has.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn recall(&self, outbox: &Outbox) -> Result<(), Down> {
        let (kept, now) = (outbox.policies().await?, wire::date::now());
        let mut policies = self.policies();
        kept.iter().for_each(|(domain, policy)| policies.take_back(domain, policy, now));
        Ok(())
    }

    /// Gives the keeper each policy that is fetched, until it is gone.
    ///
    /// # Errors
    /// [`Down`]; what it did not take the next gets.
    pub async fn keep(&self, outbox: &Outbox) -> Result<Infallible, Down> {
        loop {
            let next = lock(&self.unkept).first().cloned();
            let Some(domain) = next else {
                self.fetched.notified().await;
                continue;
            };
            let kept = self.policies().to_keep(&domain);
            if let Some((until, policy)) = kept.filter(|(_, policy)| policy.len() <= outbox::limits::POLICY) {
                outbox.keep_policy(domain.clone(), until, policy).await?;
            }
            lock(&self.unkept).remove(&domain);
        }
    }

    /// Fetches again what will soon hold no longer.
    pub async fn refresh(&self) -> Infallible {
        loop {
            sleep(limits::STS_LOOK).await;
            let aging = self.policies().aging(wire::date::now());
            for domain in aging {
                self.policy(&domain).await;
            }
        }
    }

    async fn fetch(&self, domain: &str) -> Result<Policy, String> {
        let (host, path) = host_and_path(domain);
        let (six, four) = tokio::join!(self.dns.six(&host), self.dns.four(&host));
        let Reach::At(addresses) = destination::addresses(&host, &six, &four, &self.own) else {
            return Err(format!("{host} has no address"));
        };
        let mut last = format!("{host} has no address");
        for address in addresses {
            let fetched = async {
                let stream = directly(SocketAddr::new(address, 443)).await.map_err(|error| error.to_string())?;
                https::get(stream, self.roots.clone(), &host, path).await
            };
            match timeout(limits::STS_FETCH, fetched).await {
                Ok(Ok(file)) => return Policy::parse(&file).map_err(|BadPolicy(what)| what.to_owned()),
                Ok(Err(words)) => last = words,
                Err(_) => last = format!("{host} does not answer"),
            }
        }
        Err(last)
    }
}

impl World for Outside {
    type Stream = TcpStream;

    async fn mx(&self, domain: &str) -> Answer<Mx> {
        self.dns.mx(domain).await
    }

    async fn six(&self, host: &str) -> Answer<Ipv6Addr> {
        self.dns.six(host).await
    }

    async fn four(&self, host: &str) -> Answer<Ipv4Addr> {
        self.dns.four(host).await
    }

    async fn alias(&self, host: &str) -> Answer<String> {
        self.dns.alias(host).await
    }

    async fn tlsa(&self, host: &str) -> Answer<Tlsa> {
        self.dns.tlsa(host).await
    }

    async fn policy(&self, domain: &str) -> Option<Policy> {
        let record = match self.dns.txt(&format!("_mta-sts.{domain}")).await {
            Answer::Found { records, .. } => mta_sts::id(&records).map_or(Record::None, Record::Id),
            Answer::Nothing { .. } | Answer::NoName { .. } => Record::None,
            Answer::Failed => Record::Failed,
        };
        let asked = self.policies().ask(domain, &record, wire::date::now());
        match (asked, record) {
            (Ask::Use(policy), _) => policy,
            (Ask::Fetch, Record::Id(id)) => {
                let fetched = self.fetch(domain).await;
                if let Err(why) = &fetched {
                    info!(domain, why, "no MTA-STS policy");
                }
                let fetched = fetched.map_err(|_| BadPolicy("not fetched"));
                let new = fetched.is_ok();
                let holds = self.policies().fetched(domain, &id, fetched, wire::date::now());
                if new {
                    lock(&self.unkept).insert(domain.to_lowercase());
                    self.fetched.notify_one();
                }
                holds
            }
            (Ask::Fetch, _) => None,
        }
    }

    fn is_through_proxy(&self) -> bool {
        self.through_proxy.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.full.borrow().is_some_and(|since| since.elapsed() < limits::FULL)
    }

    async fn filled(&self) {
        let mut full = self.full.subscribe();
        let _ = full.changed().await;
    }

    async fn connect(&self, host: &str, to: SocketAddr) -> io::Result<Connected<TcpStream>> {
        if !self.is_through_proxy() {
            let stream = directly(to).await?;
            // The house may have been paired meanwhile: then it says nothing by its own line any more.
            if !self.is_through_proxy() {
                return Ok(Connected { stream, address: to.ip(), hello: None });
            }
        }
        match self.dial(host).await {
            Ok(Through { stream, address, hello }) => Ok(Connected { stream, address, hello: Some(hello) }),
            Err(error) if self.past_proxy => {
                info!(host, %error, "past the outbound proxy");
                Ok(Connected { stream: directly(to).await?, address: to.ip(), hello: None })
            }
            Err(error) => Err(error),
        }
    }
}

async fn directly(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
