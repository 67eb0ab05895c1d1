//! `postern up`: makes what is missing, starts the roles, keeps them running, ends them well.
//!
//! One thread, always: a role dies with the thread that started it, and what forks should share nothing. So there is a
//! runtime of one thread without blocking work; files are read while nothing waits, or are small.

mod back_off;
mod certificates;
mod drain;
mod first;
mod greeting;
mod keys;
mod link;
mod logs;
pub mod memory;
mod parts;
pub mod ports;
mod roles;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use filter_sandbox::listener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use certificates::{files as certificate_files, names as certificate_names};
pub use logs::{harmless, harmless_lines, heard};

use crate::admin;
use crate::box_key::BoxKey;
use crate::cli::Shared;
use crate::cli::secret::Secrets;
use crate::config::{Config, EXAMPLE};
use crate::data::{DataFolder, Lock, is_read_only};
use crate::failure::{Doing, Failure};
use crate::told::Told;
use crate::{pairings, room, signing};
use certificates::Certificates;
use keys::SigningKeys;
use link::Links;
use parts::Parts;
use roles::Roles;

/// How long a start takes no notice of another box: one that was told to end a moment ago may not have begun to.
const AT_ONCE: Duration = Duration::from_millis(300);
/// How long a start waits for the box before it to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a start waits for the roles of a box that was killed to die and let go of its ports.
const LAST_BREATH: Duration = Duration::from_secs(3);
/// What is left to the logs of roles that were ended because the box does not start.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Between two looks at the certificate's files, and at what the zygotes say.
const LOOK: Duration = Duration::from_secs(2);

/// A process in a mount namespace of its own may not see that a disk was mended.
const BEGIN_ANEW: &str =
    "the disk takes writes again, but not where this process sees it: it has to be started once more";

/// Options of `postern up`; each takes the place of the configuration's line of that name.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  postern up\n  postern up --domain example.org --bind 192.168.1.10\n  \
    postern up --data /tmp/try --port-offset 20000 --bind 127.0.0.1 --json")]
pub struct UpOptions {
    /// A domain whose mail is ours (repeatable) [default: home.test]
    #[arg(long = "domain", value_name = "D")]
    domains: Vec<String>,
    /// The name of this box in greetings
    #[arg(long)]
    hostname: Option<String>,
    /// An address to listen on (repeatable) [default: all]
    #[arg(long, value_name = "ADDR", value_parser = crate::config::bind_address)]
    bind: Vec<IpAddr>,
    /// Listen on 25, 465, 587 and 993 plus this
    #[arg(long, value_name = "N")]
    port_offset: Option<u16>,
    /// Certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A domain that may send without TLS, or '*' for all: for tests (repeatable)
    #[arg(long, value_name = "DOMAIN")]
    clear_text: Vec<String>,
    /// A login mechanism to leave out, such as SCRAM-SHA-256-PLUS, for mail apps that break on it (repeatable)
    #[arg(long, value_name = "MECHANISM")]
    without: Vec<String>,
    /// A DNS server to ask (repeatable) [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDR")]
    dns: Vec<String>,
}

/// Writes a line of `up`'s own into the log.
pub(crate) fn say(words: &str) {
    logs::write("up", words);
}

/// What is there can be read; where there is nothing, nothing can be made.
fn refuse_read_only(data: &DataFolder) -> Result<(), Failure> {
    if data.spool_has("mailboxes") || !is_read_only(data.path()) {
        return Ok(());
    }
    let (place, again) = (data.path().display(), admin::WRITABLE_AGAIN);
    Err(Failure::new(format!(
        "the file system of {place} is read-only, and there is no mailbox: nothing can be made there. {again}"
    )))
}

/// The story of `up`, in order.
///
/// # Errors
/// In words for the admin: what is missing and what to do.
pub fn run(shared: &Shared, options: &UpOptions) -> Result<ExitCode, Failure> {
    room::refuse_too_little(&shared.data)?;
    let data = DataFolder::open_or_make(&shared.data)?;
    refuse_read_only(&data)?;
    let lock = take(&data)?;
    // A box that ends well removes it.
    let killed = data.entry("admin.sock").exists();
    let config = configure(shared, options, &data)?;
    if config.is_clear() {
        say("`clear-text` permits mail without encryption from and to everybody: for tests, not for a family's mail");
    }
    let secrets = Secrets::new(shared.box_passphrase_stdin)?;
    lock_memory();
    let key = BoxKey::find(&data, secrets.passphrase())?;
    let mut certificates = Certificates::open(&data, &config)?;
    let outgoing = key.outgoing_key()?;
    let mut signing = SigningKeys::open(signing::keys(&data, &key)?, &config.domains);
    let mut links = Links::new(pairings::of(&data, &key)?, pairings::Taken::of(&data));
    let as_root = rustix::process::geteuid().is_root();
    if let (Some(_), Some(path)) = (&config.scanner, filter_sandbox::scanner::missing()) {
        let words = format!("the external scanner: {} is not there", path.display());
        return Err(Failure::new(format!("{words}; {}", filter_sandbox::scanner::REMEDY)));
    }
    let patience = if killed { LAST_BREATH } else { Duration::ZERO };
    let bound = ports::bind_or_take(&config, listener::handed_down(), patience)?;
    let fingerprint = certificates.is_own().then(|| certificates.fingerprint()).flatten();
    let parts = Parts {
        offer: config.offer()?,
        told: Told::of(&config, &bound, fingerprint),
        spool: data.spool(as_root.then(|| filter_sandbox::role::Role::Keeper.host_uid()))?,
        admin: admin::listen(&data)?,
        left: spool::journal::sure::Left::new().doing(|| "cannot start".to_owned())?.into(),
        bound,
        certificate: certificates.read()?,
        index_key: key.index_key()?,
        dns: upstreams(&config),
        outgoing_public: public(&outgoing)?,
        srs_key: key.srs_key()?,
        marks_key: key.marks_key()?,
        outgoing,
        signing: signing.signing(),
        pairings: links.proxies(),
        authorities: authorities(&config),
        config,
    };
    drop(key);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.doing(|| "cannot start".to_owned())?;
    let ended = runtime.block_on(live(shared, &data, parts, (certificates, signing, links)));
    admin::remove(&data);
    drop(lock);
    ended.map(|()| ExitCode::SUCCESS)
}

/// Waits for a box that is ending, or for a command that is at work; not for a box that serves.
fn take(data: &DataFolder) -> Result<Lock, Failure> {
    if let Some(lock) = data.lock(AT_ONCE)? {
        return Ok(lock);
    }
    let holder = data.holder().map_or_else(String::new, |pid| format!(" (process {pid})"));
    let other = || Failure::new(format!("another postern{holder} runs on {}", data.path().display()));
    // The first thing that goes when a box ends.
    if admin::connect(data, PATIENCE)?.is_some() {
        return Err(other());
    }
    say(&format!("waiting for another postern{holder} to end"));
    data.lock(PATIENCE)?.ok_or_else(other)
}

/// The configuration with the command line's options put in. A new data folder gets the example, with its domain.
fn configure(shared: &Shared, options: &UpOptions, data: &DataFolder) -> Result<Config, Failure> {
    let file = data.entry("postern.toml");
    let is_new = shared.config.is_none() && !file.exists();
    let mut config = shared.config()?;
    if !options.domains.is_empty() {
        config.domains.clone_from(&options.domains);
    }
    config.hostname = options.hostname.clone().or(config.hostname);
    if !options.bind.is_empty() {
        config.bind.clone_from(&options.bind);
    }
    config.port_offset = options.port_offset.or(config.port_offset);
    if options.tls_cert.is_some() {
        (config.tls_cert, config.tls_key) = (options.tls_cert.clone(), options.tls_key.clone());
    }
    config.clear_text.extend(options.clear_text.iter().cloned());
    config.without.extend(options.without.iter().cloned());
    if !options.dns.is_empty() {
        let read = |text: &String| text.clone().try_into().map_err(|bad| Failure::new(format!("--dns: {bad}")));
        config.dns = options.dns.iter().map(read).collect::<Result<_, _>>()?;
    }
    let config = config.checked()?;
    if is_new && !is_read_only(data.path()) {
        let domains = toml::Value::from(config.domains.clone());
        let text = EXAMPLE.replace("domains = [\"home.test\"]", &format!("domains = {domains}"));
        std::fs::write(&file, text).doing(|| format!("cannot write {}", file.display()))?;
    }
    Ok(config)
}

/// The public half of what letters that leave are sealed to.
fn public(secret: &[u8; 32]) -> Result<String, Failure> {
    let identity = spool::keys::Identity::from_bytes(secret).doing(|| "the outgoing key".to_owned())?;
    Ok(identity.public().to_string())
}

/// The system's, on the distributions that this runs on.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The file of the authorities that are believed. Without one no MTA-STS policy can be fetched, and what demands a known
/// authority waits.
fn authorities(config: &Config) -> Option<PathBuf> {
    let found = config.authorities.clone().or_else(|| AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists()));
    if !found.as_ref().is_some_and(|path| path.exists()) {
        say(
            "no file of certificate authorities is known (`authorities` in the configuration): MTA-STS cannot be kept to",
        );
    }
    found
}

fn lock_memory() {
    if let (Err(error), Some(swap)) = (memory::lock(), memory::plain_swap()) {
        say(&memory::warning(&swap, &error));
    }
}

/// The DNS servers of the configuration, else the system's.
#[must_use]
pub fn upstreams(config: &Config) -> Vec<SocketAddr> {
    if !config.dns.is_empty() {
        return config.dns.iter().map(|server| server.0).collect();
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = servers.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    addresses.take(crate::config::limits::DNS).map(|ip| (ip, 53).into()).collect()
}

/// The signals `up` answers to.
struct Signals {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

async fn live(
    shared: &Shared,
    data: &DataFolder,
    parts: Parts,
    (certificates, mut signing, mut links): (Certificates, SigningKeys, Links),
) -> Result<(), Failure> {
    let mut signals = Signals::new().doing(|| "cannot receive signals".to_owned())?;
    let domain = parts.config.default_domain().to_owned();
    let mut roles = Roles::new(parts).doing(|| "cannot start".to_owned())?;
    if let Err(failure) = roles.start_all().and_then(|()| first::wait_for_walls(&mut roles)) {
        drain::end(&mut roles);
        // What a role said last is still in its pipe.
        tokio::time::sleep(LAST_WORDS).await;
        return Err(failure);
    }
    let started = first::serve(shared, data, &domain, roles.has_admin_socket());
    tokio::pin!(started);
    let (mut greeted, mut told_to_begin_anew, terminal) = (false, false, rustix::termios::isatty(std::io::stdin()));
    let mut watched = Watch { certificates, tick: interval(LOOK) };
    let mut awaited = ports::Awaited::of(roles.bound());
    watched.tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = roles.next_due();
        tokio::select! {
            _ = signals.child.recv() => {
                roles.bury();
                if roles.refused() {
                    drain::end(&mut roles);
                    tokio::time::sleep(LAST_WORDS).await;
                    return Err(Failure::configuration(admin::NOT_FOR_US));
                }
            }
            () = sleep_until(due.map_or_else(Instant::now, Instant::from)), if due.is_some() => roles.start_due(),
            found = &mut started, if !greeted => {
                greeted = true;
                if let Err(failure) = found.and_then(|found| greeting::greet(shared, data, &roles, found)) {
                    // Whoever starts next shall find the ports free.
                    drain::end(&mut roles);
                    return Err(failure);
                }
            }
            _ = watched.tick.tick() => {
                watched.look(&mut roles);
                awaited.look();
                if roles.look_at_disk(data) && !told_to_begin_anew {
                    told_to_begin_anew = true;
                    say(BEGIN_ANEW);
                    // systemd starts it again at once, with the disk as it is now.
                    if crate::data::is_service(data.path()) {
                        break;
                    }
                }
                signing.look(&mut roles);
                links.look(&mut roles);
                roles.hear_zygotes();
            }
            // The terminal is gone; where there was none, it is the old way to say "read again".
            _ = signals.hang_up.recv() => if terminal { break } else { watched.read(&mut roles) },
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    // No command begins now, and a box that is started meanwhile knows that it is worth waiting.
    admin::remove(data);
    say("ending: what is under way is finished; once more to end at once");
    tokio::select! {
        () = drain::drain(&mut roles) => {}
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    drain::end(&mut roles);
    Ok(())
}

/// The certificate's files.
struct Watch {
    certificates: Certificates,
    tick: tokio::time::Interval,
}

impl Watch {
    fn look(&mut self, roles: &mut Roles) {
        if self.certificates.changed() {
            self.read(roles);
        }
    }

    fn read(&mut self, roles: &mut Roles) {
        match self.certificates.read() {
            Ok(certificate) => {
                roles.renew(certificate);
                say(&format!("new certificate from {}", self.certificates.chain().display()));
            }
            Err(failure) => say(&format!("the new certificate is not used: {failure}")),
        }
    }
}
