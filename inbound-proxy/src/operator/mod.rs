//! What the operator types: one file a command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use filter_sandbox::Role;
use relay_link::operator::folder::Folder;

mod certificate;
pub mod config;
mod doctor;
mod invite;
mod list;
mod own_address;
mod run;
mod whither;

use config::Config;
pub use relay_link::operator::{Doing, Failure};

const EXAMPLES: &str = "\
Examples:
  inbound-proxy                                           run the proxy; makes everything it needs
  inbound-proxy invite --name mail.alice.example          a code for Alice's house
  inbound-proxy invite --name mail.bob.example --street lane
  inbound-proxy list                                      who is invited, who is paired
  inbound-proxy revoke mail.alice.example                 take a house's connection away; its mail waits
  inbound-proxy forget mail.alice.example                 give that name free, once it leads elsewhere
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
    /// Take a home's connection away, within seconds; mail for its names waits
    Revoke {
        /// As `inbound-proxy list` shows it
        home: String,
    },
    /// Give one name of a home free, once it leads elsewhere; a home that is not paired (any more) goes with its last
    Forget {
        /// As `inbound-proxy list` shows it
        name: String,
    },
    /// Look at everything the proxy needs, and say what to do about what is missing
    Doctor,
}

impl Cli {
    /// Does what it says.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let folder = Folder::open_or_make(&self.folder, Role::InboundProxy)?;
        let config = Config::find(self.config.as_deref(), &folder)?;
        match self.command.unwrap_or(Command::Run) {
            Command::Run => return run::run(&folder, &config),
            Command::Invite(invite) => invite.run(&folder, &config)?,
            Command::List => list::list(&folder)?,
            Command::Revoke { home } => list::revoke(&folder, &home)?,
            Command::Forget { name } => list::forget(&folder, &name)?,
            Command::Doctor => return doctor::doctor(&folder, &config),
        }
        Ok(ExitCode::SUCCESS)
    }
}
