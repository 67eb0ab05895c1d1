//! `postern completion SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

/// Which shell.
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// The shell whose script to print
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    pub fn run(&self) {
        clap_complete::generate(self.shell, &mut super::Cli::command(), "postern", &mut std::io::stdout());
    }
}
