//! The states, named after what is awaited.

use super::letter::Transaction;

#[derive(Debug)]
pub(super) enum State {
    ExpectGreeting,
    ExpectEhlo,
    ExpectHelo,
    ExpectStartTls,
    ExpectHandshake,
    Ready,
    ExpectMail(Box<Transaction>),
    ExpectRecipient(Box<Transaction>),
    /// 354.
    ExpectGo(Box<Transaction>),
    ExpectWritten(Box<Transaction>),
    ExpectOutcome(Box<Transaction>),
    ExpectRset,
    ExpectQuit,
    Closed,
}

impl State {
    // In `Ready` and `ExpectWritten` nothing was asked, but a far server may say goodbye.
    pub const fn takes_lines(&self) -> bool {
        !matches!(self, Self::ExpectHandshake | Self::Closed)
    }
}
