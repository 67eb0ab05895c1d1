//! What can be typed: one file a command group.

pub mod alias;
pub mod completion;
pub mod device;
pub mod dkim;
pub mod dns;
pub mod doctor;
pub mod mailbox;
pub mod output;
pub mod pair;
pub mod queue;
pub mod quota;
pub mod recover;
pub mod secret;
pub mod spool;
pub mod unlocked;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::fs::Mode;

use crate::admin::Session;
use crate::config::Config;
use crate::data::{self, DataFolder};
use crate::failure::{Failure, code};
use crate::told::Told;
use crate::up::{self, UpOptions};
use secret::Secrets;

const EXAMPLES: &str = "\
Examples:
  postern up                                  start the mail server; makes everything it needs
  postern mailbox add anna                    a mailbox, with the password for its first mail app
  postern device add anna tablet              a password for one more mail app
  postern alias add family anna               mail for family@... goes to anna
  postern queue list                          what waits to leave, and why
  postern dns                                 the DNS records that the world must find
  postern doctor                              what works, what does not, and what to do about it";

/// A sealed, sandboxed mail server for a family.
#[derive(Debug, Parser)]
#[command(name = "postern", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Shared {
    /// The data folder: keys, mail, certificate. Where the package is installed, the service's (/var/lib/postern)
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = data::default_folder())]
    pub data: PathBuf,
    /// The configuration [default: postern.toml in the data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON, one value, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// The box's key comes from a passphrase: the first line of standard input
    #[arg(long, global = true)]
    pub box_passphrase_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the mail server and keep it running
    Up(UpOptions),
    /// Mailboxes: add, list, remove, suspend, rekey, audit
    #[command(subcommand)]
    Mailbox(mailbox::Mailbox),
    /// The phones and computers that may log in to a mailbox
    #[command(subcommand)]
    Device(device::Device),
    /// Further addresses of mailboxes
    #[command(subcommand)]
    Alias(alias::Alias),
    /// Show or set how much a mailbox may hold
    Quota(quota::Quota),
    /// What waits to leave, and why
    #[command(subcommand)]
    Queue(queue::Queue),
    /// The DNS records of this box, and whether the world finds them
    Dns(dns::Dns),
    /// The keys that letters are signed with
    #[command(subcommand)]
    Dkim(dkim::Dkim),
    /// Pair this house with a proxy at a clean address
    Pair(pair::Pair),
    /// Give mailboxes back to their owners when the journal or the box key is lost
    Recover(recover::Recover),
    /// Look at everything the box needs, and say what to do about what is missing
    Doctor(doctor::Doctor),
    /// The store itself
    #[command(subcommand)]
    Spool(spool::Spool),
    /// Print a completion script for a shell
    Completion(completion::Completion),
}

/// What a command works with.
#[derive(Debug)]
pub struct House {
    /// Options.
    pub shared: Shared,
    /// The open data folder.
    pub data: DataFolder,
    /// Its configuration; of a running box what it was told.
    pub config: Config,
    /// What the running box says; `None`: there is none.
    pub told: Option<Told>,
    /// Standard input, for secrets.
    pub secrets: Secrets,
}

/// Understands the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    nothing_for_others_to_write();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => {
            let _ = help.print();
            return if help.use_stderr() { ExitCode::from(code::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.run() {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    }
}

/// Whatever the shell permits.
fn nothing_for_others_to_write() {
    let masked = rustix::process::umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
    rustix::process::umask(masked | Mode::WGRP | Mode::WOTH);
}

impl Cli {
    fn run(self) -> Result<ExitCode, Failure> {
        if !matches!(self.command, Command::Completion(_)) {
            crate::owner::become_owner(&self.shared.data, matches!(self.command, Command::Up(_)))?;
        }
        match self.command {
            Command::Up(options) => return up::run(&self.shared, &options),
            Command::Completion(completion) => completion.run()?,
            Command::Doctor(doctor) => return doctor.run(&self.shared),
            Command::Recover(recover) => recover.run(&mut House::open(self.shared)?)?,
            Command::Mailbox(mailbox) => mailbox.run(&mut House::open(self.shared)?)?,
            Command::Device(device) => device.run(&mut House::open(self.shared)?)?,
            Command::Alias(alias) => alias.run(&mut House::open(self.shared)?)?,
            Command::Quota(quota) => quota.run(&mut House::open(self.shared)?)?,
            Command::Queue(queue) => queue.run(&mut House::open(self.shared)?)?,
            Command::Dns(dns) => return dns.run(&House::open(self.shared)?),
            Command::Dkim(dkim) => dkim.run(&House::open(self.shared)?)?,
            Command::Pair(pair) => pair.run(&mut House::open(self.shared)?)?,
            Command::Spool(spool) => return spool.run(&mut House::open(self.shared)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Shared {
    /// The configuration that `--config` names, else the data folder's, else none.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn config(&self) -> Result<Config, Failure> {
        let own = self.data.join("postern.toml");
        match &self.config {
            Some(path) => Ok(Config::read(path)?),
            None if own.exists() => Ok(Config::read(&own)?),
            None => Ok(Config::default()),
        }
    }
}

impl House {
    fn open(shared: Shared) -> Result<Self, Failure> {
        let data = DataFolder::open(&shared.data)?;
        let mut config = shared.config()?;
        let secrets = Secrets::new(shared.box_passphrase_stdin)?;
        let told = Told::ask(&data);
        if let Some(told) = &told {
            told.put_into(&mut config);
        }
        Ok(Self { shared, data, config, told, secrets })
    }

    /// The running box's keeper, or one of the command's own.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn session(&self) -> Result<Session, Failure> {
        Session::open(&self.data, &self.config, self.secrets.passphrase())
    }

    /// Where mail apps reach the box.
    #[must_use]
    pub fn reached(&self) -> Told {
        self.told.clone().unwrap_or_else(|| Told::planned(&self.config))
    }

    /// As [`Self::session`], for `spool check`.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn session_to_check(&self, repair: bool) -> Result<Session, Failure> {
        Session::open_to_check(&self.data, &self.config, self.secrets.passphrase(), repair)
    }

    /// A whole address from what was typed.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn address(&self, typed: &str) -> Result<String, Failure> {
        crate::names::address(typed, self.config.default_domain())
            .map_err(|bad| Failure::new(format!("`{typed}` is no mail address: {bad}")))
    }

    /// Where an alias leads: as [`Self::address`], but of an address elsewhere the part before the @ stays as it was typed.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn target(&self, typed: &str) -> Result<String, Failure> {
        crate::names::target(typed, self.config.default_domain())
            .map_err(|bad| Failure::new(format!("`{typed}` is no mail address: {bad}")))
    }

    /// Before a secret is made: whether somebody will see it. Into a pipe or a file it would go unseen, and be kept there.
    ///
    /// # Errors
    /// In words for the admin, with exit code 2.
    pub fn somebody_reads(&self) -> Result<(), Failure> {
        if output::somebody_reads(self.shared.json) {
            return Ok(());
        }
        Err(Failure::secret(
            "this prints secrets, and nobody reads standard output: run it at a terminal, or with --json into a program \
             that keeps them. Nothing was made",
        ))
    }

    /// Prints for a program or for a person.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self, json: &serde_json::Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
        output::print(self.shared.json, json, words)
    }
}
