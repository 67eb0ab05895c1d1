//! spool
pub mod edges;
pub mod keeper;
pub mod names;
