//! How a command fails: words for the admin and an exit code.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::up::harmless_lines;

/// Exit codes, apart from 0.
pub mod code {
    /// Something is wrong with the box, the request or the environment.
    pub const FAILED: u8 = 1;
    /// The secret given opens nothing; or one that is to be shown would be shown to nobody.
    pub const SECRET: u8 = 2;
    /// The command line cannot be understood (`EX_USAGE`; 2 is taken by [`SECRET`]).
    pub const USAGE: u8 = 64;
    /// This program is not the one for this mail (`EX_CONFIG`): starting it again does not help.
    pub const CONFIGURATION: u8 = spool::keeper::REFUSED;
}

/// A command that could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// One of [`code`].
    pub code: u8,
    /// Whose fault, what, and where one can be named, how to mend it.
    pub words: String,
}

impl Failure {
    /// An ordinary failure.
    pub fn new(words: impl Into<String>) -> Self {
        Self { code: code::FAILED, words: words.into() }
    }

    /// A secret that opens nothing.
    pub fn secret(words: impl Into<String>) -> Self {
        Self { code: code::SECRET, words: words.into() }
    }

    /// The wrong program for this mail.
    pub fn configuration(words: impl Into<String>) -> Self {
        Self { code: code::CONFIGURATION, words: words.into() }
    }

    /// Says it on stderr and gives the exit code.
    #[must_use]
    pub fn tell(&self) -> ExitCode {
        // Where that cannot be written either, the exit code says it.
        let _ = writeln!(std::io::stderr(), "postern: {}", harmless_lines(&self.words));
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

/// Gives an error the words of what was being done.
pub trait Doing<T> {
    /// "`what`: the error".
    ///
    /// # Errors
    /// The same failure, with words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", what())))
    }
}
