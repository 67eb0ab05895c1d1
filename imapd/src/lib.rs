//! imapd

pub mod command;
pub mod fuzz;
pub mod grammar;
pub mod limits;
pub mod list;
pub mod render;
pub mod search;
pub mod sequence;
