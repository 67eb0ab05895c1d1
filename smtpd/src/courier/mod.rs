//! Mail that leaves: the parts of the `courier` role that decide. They are pure; a clock, answers of DNS and
//! bytes of far servers are handed in.
//!
//! | part | decides |
//! | --- | --- |
//! | [`session`] | what is said to a far server, and the fate of each recipient |
//! | [`destination`] | which hosts take mail for a domain, in which order |
//! | [`tls_rule`], [`mta_sts`], [`dane`], [`verifier`] | what a host must prove before it gets a letter |
//! | [`schedule`], [`lanes`] | when the next attempt is, and how many go at once |
//! | [`dkim`], [`arc`], [`convert`], [`spool::srs`], [`text`] | what is changed about a letter on its way out |
//! | [`outcome`], [`dsn`] | what becomes of each recipient, and what the sender hears |
//!
//! [`link`] speaks one session over a connection, [`pieces`] are what it writes, [`reach`] finds the host for it, [`around`] is what else goes on meanwhile. [`role`] is the process, [`engine`]
//! takes what is due, [`trip`] is one connection's work, [`memory`] what it may hold, [`idle`] are connections for the
//! next, [`passing`] is about what aliases pass on, [`record`] has the
//! keeper write it down, [`tell`] puts notices into mailboxes, [`postmaster`] says which of what aliases passed on; [`outside`] is the world: [`dns`], [`https`].

pub mod arc;
pub mod around;
pub mod convert;
pub mod dane;
pub mod destination;
pub mod dkim;
pub mod dns;
pub mod dsn;
pub mod elsewhere;
pub mod engine;
pub mod envelope;
pub mod fate;
#[doc(hidden)]
pub mod fuzz;
pub mod https;
pub mod idle;
pub mod key_maker;
pub mod lanes;
pub mod letter;
pub mod limits;
pub mod link;
pub mod lost;
pub mod memory;
pub mod mta_sts;
pub mod outcome;
pub mod outside;
pub mod passing;
pub mod pieces;
pub mod postmaster;
pub mod reach;
pub mod record;
pub mod reply;
pub mod role;
#[cfg(test)]
mod samples;
pub mod schedule;
pub mod session;
pub mod summary;
pub mod tell;
pub mod text;
pub mod tls_rule;
pub mod trip;
pub mod verifier;
