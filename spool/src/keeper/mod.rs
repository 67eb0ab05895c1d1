//! keeper
pub mod start;

pub use start::{EdgeKind, Start};
