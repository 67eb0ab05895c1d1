//! What whole-system tests share: a house to try things on, an authority for its certificate, and
//! programs that act as strangers and as mail apps. Everything real; nothing here is in the product.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must stop")]

pub mod alone;
pub mod apart;
pub mod authority;
pub mod board;
pub mod clock;
pub mod far;
pub mod faulty;
pub mod hosts;
pub mod house;
pub mod imap;
pub mod mallory;
pub mod measure;
pub mod names;
pub mod operated;
pub mod outbound;
pub mod peers;
pub mod place;
pub mod programs;
pub mod proxies;
pub mod rivals;
pub mod scratch;
pub mod smtp;
pub mod talk;
pub mod transcript;
pub mod zone;

pub use authority::Authority;
pub use house::{House, Mailbox, Setup};
pub use imap::Imap;
pub use place::Place;
pub use scratch::Scratch;
pub use smtp::Smtp;
