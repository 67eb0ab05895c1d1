//! `postern completion SHELL`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::{Doing, Failure};

/// Which shell.
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// The shell whose script to print
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn run(&self) -> Result<(), Failure> {
        // Into memory first: the generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "postern", &mut script);
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&script).and_then(|()| out.flush());
        written.doing(|| "cannot write to standard output".to_owned())
    }
}
