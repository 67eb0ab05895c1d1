//! spool
pub mod allowance;
pub mod audit;
mod bytes;
pub mod cache;
pub mod check;
pub mod commit;
pub mod disk;
pub mod edges;
pub mod format;
pub mod found;
#[doc(hidden)]
pub mod fuzz;
pub mod index;
pub mod journal;
pub mod keeper;
pub mod keys;
pub mod letter;
pub mod limits;
pub mod migrate;
pub mod names;
pub mod recover;
pub mod recovering;
pub mod slots;
pub mod srs;
pub mod store;
pub mod summary_seal;
