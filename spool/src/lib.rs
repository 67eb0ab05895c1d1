//! spool
pub mod edges;
pub mod names;
