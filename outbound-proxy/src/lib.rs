//! Lets homes send from a clean address, so little of a stranger's harm that it stays clean. The decisions are pure;
//! [`service`] is the process that performs them, [`operator`] what the operator types.
//!
//! **Reads from hostile hands:** what a home asks for; the clear part of SMTP both ways ([`clear`]); the headers of TLS
//! records both ways ([`records`]).
//!
//! **Holds:** what each home has spent ([`account`], [`ledger`]).
//!
//! **Can never:** read a message. From STARTTLS on everything is TLS between home and far server; sizes of records are
//! all there is to see, and the far server's replies grow with the recipients ([`meter`]). It connects to port 25 of
//! public addresses and to nothing else ([`address`]), and never injects a byte into what flows.
//!
//! **Speaks:** RFC 5321 as far as EHLO, RFC 3207; reads RFC 8446 §5.1 and RFC 5246 §6.2.1.

pub mod account;
pub mod address;
pub mod clear;
pub mod flight;
pub mod fuzz;
pub mod grant;
pub mod ledger;
pub mod limits;
pub mod meter;
pub mod operator;
pub mod records;
pub mod service;
pub mod source;

/// Log lines go to stderr, where the service manager reads them.
pub fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().with_target(false).init();
}
