//! spool
mod bytes;
pub mod disk;
pub mod edges;
pub mod keeper;
pub mod keys;
pub mod letter;
pub mod limits;
pub mod names;
pub mod slots;
