//! The gate of a clean address: takes connections for many homes and hands each, unread, to the right one. Every decision
//! is pure and has a module of its own; [`asking`] asks DNS, [`gate`] is their sockets, and [`operator`] the commands.
//!
//! **Reads from hostile hands:** the clear part of SMTP up to STARTTLS ([`session`]), one ClientHello
//! ([`client_hello`]), and of a sender that does not say whom it wants, MAIL and RCPT under TLS ([`session`] again).
//!
//! **Holds:** which home has which name and address, and what was learnt about senders that send no name
//! ([`memory`]).
//!
//! **Can never:** answer 354 to DATA or 250 to the end of data: [`reply::Reply`] is the closed table of all it can
//! say. So no mail is ever lost here, or read: what is not handed on is deferred, and its sender keeps it. It never
//! answers 5xx to a greeting, MAIL or RCPT either, nor 454 to STARTTLS: those lose mail, or bring it in clear.
//!
//! **Speaks:** RFC 5321, RFC 3207; reads RFC 8446 §4.1.2, RFC 6066 §3, RFC 5077.

pub mod asking;
pub mod client_hello;
pub mod fuzz;
pub mod gate;
pub mod grant;
pub mod leads;
pub mod limits;
pub mod memory;
pub mod operator;
pub mod reply;
pub mod route;
pub mod sender;
pub mod session;
pub mod tickets;

/// Sends log lines to stderr, where systemd adds the time.
pub fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().with_target(false).init();
}
