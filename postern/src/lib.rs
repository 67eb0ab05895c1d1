//! The one binary of the box, as a library so that its tests see the same tables: `postern up` starts and watches the
//! roles; the other commands are the family admin's.

pub mod admin;
pub mod box_key;
pub mod cli;
pub mod config;
pub mod data;
pub mod edges;
pub mod failure;
pub mod house_addresses;
pub mod local_time;
pub mod names;
pub mod owner;
pub mod pairings;
pub mod records;
mod room;
pub mod sealed;
pub mod sheet;
pub mod signing;
pub mod size;
pub mod spf;
pub mod told;
pub mod unseen;
pub mod up;
pub mod validity;

/// Sends a role's log lines to its stderr, which `up` reads. A worker's zygote says what little it has to
/// without it: what it has in memory, every worker has.
pub fn log_to_stderr(role: filter_sandbox::role::Role) {
    if !edges::RoleRow::of(role).is_some_and(edges::RoleRow::makes_workers) {
        // `up` adds the time: a role need not ask the kernel for it.
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .init();
    }
}
