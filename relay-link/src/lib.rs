//! What a home and its proxies share.
//!
//! ```text
//!   home                                              proxy
//!   Link ──────── control: TLS 1.3, both keys pinned ──── Caller::Control
//!        ◄─────── "stream 7, its key, who is calling" ───
//!        ──────── data: 7, HMAC(key) ─────────────────── Caller::Data
//!        ◄─────── HMAC(key) ─────────────────────────────
//!        ◄═══════ end-to-end TLS bytes, spliced ═════════►
//! ```
//!
//! A home always dials: it may sit behind anything that lets connections out. Pairing needs no account, no certificate
//! authority and no shared password on disk: a [`code::PairingCode`] says where the proxy is, how its key looks, and
//! holds a secret that works once; from then on each side knows the other's key.
//!
//! Hostile inputs: whoever dials a proxy's link port; whatever a paired peer says (its messages are bounded and typed,
//! [`frame`]). This crate reads no byte of what flows through a data connection after its opening.

pub mod backoff;
pub mod base32;
pub mod code;
pub mod control;
pub mod dns;
pub mod durable;
pub mod frame;
pub mod fuzz;
pub mod hello;
pub mod home;
pub mod homes;
pub mod inbound;
pub mod keys;
pub mod limits;
pub mod link;
pub mod liveness;
pub mod operator;
pub mod outbound;
pub mod proxy;
pub mod relay;
pub mod seats;
pub mod seldom;
pub mod shares;
pub mod stream;
pub mod tls;
mod way;
