//! What every network process of the box shares: bounded line reading, TLS, its ciphers and reload, SASL, the
//! control edge from `up`, what came through a proxy, dates, and the `resolver` role.

pub mod base64;
pub mod ciphers;
pub mod control;
pub mod date;
pub mod dialled;
pub mod dns;
pub mod fuzz;
pub mod handed;
pub mod limits;
pub mod lines;
pub mod log;
pub mod logins;
pub mod resolver;
pub mod sasl;
pub mod scram;
pub mod tls;
pub mod unseen;
pub mod verb;
