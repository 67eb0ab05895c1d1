//! Mail of homes without a clean address, through an outbound proxy: every host a network namespace, the homes behind
//! routers that let nobody in, the far servers real mail servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod addresses;
mod budget;
mod cheats;
mod house;
mod metered;
mod place;
mod silence;
