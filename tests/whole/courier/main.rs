//! Mail that leaves: a house writes to real servers, in a network of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod abilities;
mod addresses;
mod alias;
mod answer;
mod dane;
mod delivery;
mod faults;
mod hosts;
mod kill;
mod moving;
mod policy;
mod rotation;
mod verified;
