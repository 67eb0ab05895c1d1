//! IMAP: the roles `imapd-login` (port 993 up to the login) and `imapd-owner` (one process for each mailbox that
//! somebody is logged in to). Each says at the top of its file what it reads, holds and can never do.
//!
//! ```text
//! login ── TLS, SASL ──► relay of plain bytes ◄──► client ► driver ► session (one file a verb) ► peers ► keeper
//!                                                              └► pipeline ► letters (opened on threads)
//! ```
//! Pure, without a clock or a socket: `grammar`, `sequence`, `render`, `search`, `list`, `view`, `facts`.

mod answer;
mod capability;
mod client;
pub mod command;
mod driver;
pub mod facts;
mod files;
pub mod fuzz;
pub mod grammar;
pub mod handover;
mod letters;
pub mod limits;
pub mod list;
pub mod login;
pub mod owner;
mod peers;
mod pipeline;
pub mod render;
pub mod search;
pub mod sequence;
mod session;
mod summaries;
pub mod view;
