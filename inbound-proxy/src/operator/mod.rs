//! What the operator types: one file a command.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub mod config;
mod doctor;
pub mod folder;
mod invite;
mod list;
mod run;

use config::Config;
use folder::Folder;

const EXAMPLES: &str = "\
Examples:
  inbound-proxy                                           run the proxy; makes everything it needs
  inbound-proxy invite --name mail.alice.example          a code for Alice's house
  inbound-proxy invite --name mail.bob.example --street lane
  inbound-proxy list                                      who is invited, who is paired
  inbound-proxy revoke mail.alice.example                 take a house's names away
  inbound-proxy doctor                                    what works, what does not, what to do about it";

/// Takes mail at a clean address for homes that have none, and cannot read it.
#[derive(Debug, Parser)]
#[command(name = "inbound-proxy", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    /// The folder: keys, homes, what was learnt
    #[arg(long, global = true, value_name = "DIR", default_value = "inbound-proxy-data")]
    folder: PathBuf,
    /// The configuration [default: inbound-proxy.toml in the folder]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default)
    Run,
    /// Invite a home: prints a code for `postern pair`
    Invite(invite::Invite),
    /// Show the homes
    List,
    /// Take a home's names away; its connection ends within seconds
    Revoke {
        /// As `inbound-proxy list` shows it
        home: String,
    },
    /// Look at everything the proxy needs, and say what to do about what is missing
    Doctor,
}

/// Why a command fails: whose fault, and what to do.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// In words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// Adds it.
    ///
    /// # Errors
    /// The same, in words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {error}", what())))
    }
}

/// How long a code works by default.
const VALID: Duration = relay_link::limits::CODE;

impl Cli {
    /// Does what it says.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let folder = Folder::open_or_make(&self.folder)?;
        let config = Config::find(self.config.as_deref(), &folder)?;
        match self.command.unwrap_or(Command::Run) {
            Command::Run => return run::run(&folder, &config),
            Command::Invite(invite) => invite.run(&folder, &config)?,
            Command::List => list::list(&folder)?,
            Command::Revoke { home } => list::revoke(&folder, &home)?,
            Command::Doctor => return doctor::doctor(&folder, &config),
        }
        Ok(ExitCode::SUCCESS)
    }
}
