//! The keeper over real files and real sockets: what its clients may count on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod check;
mod crashes;
mod deposit;
mod faults;
mod formats;
mod found;
mod full;
mod house;
mod journal;
mod kill;
mod login;
mod mailbox;
mod moving;
mod only_reads;
mod outbox;
mod peers;
mod recover;
mod recovering;
mod remembered;
mod rooms;
mod sharing;
mod torn;
mod working;
