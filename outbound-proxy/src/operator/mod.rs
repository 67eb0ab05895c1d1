//! What the operator types: one file a command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use filter_sandbox::Role;
use relay_link::operator::folder::Folder;

pub mod config;
mod doctor;
mod homes;
mod invite;
mod run;
mod status;

use config::Config;
pub use relay_link::operator::{Doing, Failure};

const EXAMPLES: &str = "\
Examples:
  outbound-proxy                        run the proxy; makes everything it needs
  outbound-proxy invite alice           a code for Alice's house
  outbound-proxy invite bob --daily 500 less than the usual for Bob's
  outbound-proxy status                 what each house may send, and has sent
  outbound-proxy revoke alice           let a house send no more
  outbound-proxy doctor                 what works, what does not, what to do about it";

/// Lets homes that have no clean address send mail from this one, and cannot read it.
#[derive(Debug, Parser)]
#[command(name = "outbound-proxy", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    /// The folder: key, homes, what each has spent
    #[arg(long, global = true, value_name = "DIR", default_value = "outbound-proxy-data")]
    folder: PathBuf,
    /// The configuration [default: outbound-proxy.toml in the folder]
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
    /// Let a home send no more; its connection ends within seconds
    Revoke {
        /// As `outbound-proxy list` shows it
        home: String,
    },
    /// Show what each home may send, and what it has spent
    Status {
        /// For a program
        #[arg(long)]
        json: bool,
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
        let folder = Folder::open_or_make(&self.folder, Role::OutboundProxy)?;
        let config = Config::find(self.config.as_deref(), &folder)?;
        match self.command.unwrap_or(Command::Run) {
            Command::Run => return run::run(&folder, &config),
            Command::Invite(invite) => invite.run(&folder, &config)?,
            Command::List => homes::list(&folder)?,
            Command::Revoke { home } => homes::revoke(&folder, &home)?,
            Command::Status { json } => status::status(&folder, json)?,
            Command::Doctor => return doctor::doctor(&folder, &config),
        }
        Ok(ExitCode::SUCCESS)
    }
}
