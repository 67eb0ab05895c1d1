//! The walls of the box: how each role is started and locked, and the stranger that meets every message.
//!
//! All `unsafe`, namespace, Landlock, seccomp and capability code of the project is in this crate, behind functions
//! that are safe to call. Nobody else makes a descriptor from a number.

pub mod arena;
#[doc(hidden)]
pub mod attacks;
mod bpf;
mod calls;
pub mod confine;
pub mod edge;
pub mod filter;
pub mod fuzz;
pub mod launch;
pub mod letter;
pub mod listener;
pub mod memory;
pub mod offspring;
pub mod protocol;
mod remedy;
pub mod report;
pub mod role;
pub mod scanner;
pub mod score;
mod seccomp;
mod selftest;
pub mod signals;
pub mod standing;
mod sys;
pub mod walls;
mod worker;
pub mod zygote;

pub use confine::{ConfineError, Confined, confine};
pub use launch::{Launch, Running};
pub use role::Role;
