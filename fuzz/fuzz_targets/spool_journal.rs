//! Segments of the journal, and entries applied to the index.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool::fuzz::journal(bytes));
