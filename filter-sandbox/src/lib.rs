//! filter-sandbox
pub mod edge;
pub mod report;
