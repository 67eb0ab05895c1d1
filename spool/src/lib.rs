//! spool
mod bytes;
pub mod edges;
pub mod keeper;
pub mod keys;
pub mod limits;
pub mod names;
