//! filter-sandbox
pub mod edge;
pub mod letter;
pub mod report;
pub mod score;
