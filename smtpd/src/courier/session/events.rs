//! What goes in and what comes out.

use std::time::Duration;

use super::letter::Letter;
use crate::courier::fate::{Fate, Why};

/// Whether mail may go without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Never: a server that does not offer STARTTLS gets nothing.
    Required,
    /// With it where it is offered (`clear-text` in the configuration).
    IfOffered,
    /// Without: TLS was tried and failed, and the configuration allows it.
    Without,
}

/// What a session must keep to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Our name, for EHLO.
    pub hello: String,
    /// The far host's name, for words about it.
    pub far: String,
    /// TLS.
    pub tls: Tls,
    /// It must prove who it is: what is said before that may be anybody's word.
    pub proves: bool,
}

/// What the driver must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// Flush, and read a line within this time.
    Reply(Duration),
    /// Hand in the outcome of the last effect.
    Outcome,
    /// Hand in a letter, or [`Event::NoMore`].
    Letter,
    /// Close the connection.
    Nothing,
}

/// What the driver hands in.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line, its CRLF removed.
    Line(&'a [u8]),
    /// A line that is too long, or has a bare CR or LF in it.
    BadLine,
    /// The handshake went well and the far host is who the rules for it demand.
    TlsStarted,
    /// It did not, or it is not.
    TlsFailed(Why),
    /// The next letter.
    Letter(Letter),
    /// There is none.
    NoMore,
    /// The letter's bytes are on their way.
    Written,
    /// Nothing came in time.
    Silent,
    /// The connection is broken, in a few words.
    Lost(String),
}

/// What the session asks of the driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write it; flushed before a read that must wait.
    Send(Vec<u8>),
    /// Flush, throw away what was sent ahead, shake hands; then [`Event::TlsStarted`] or [`Event::TlsFailed`].
    StartTls,
    /// Write the letter with dots doubled, then CRLF.CRLF; then [`Event::Written`]. What comes before the end of it is
    /// written is handed in instead, and the end is not written.
    WriteText,
    /// Write the letter as it is; then [`Event::Written`]; else the same.
    WriteBytes,
    /// It can take a letter.
    Ready,
    /// It never will; the next host may.
    Unusable(Why),
    /// The fates of a letter's recipients, in their order.
    Fates(Vec<Fate>),
    /// Close.
    Close,
}
