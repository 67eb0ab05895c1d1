//! Letters, frames, and age headers behind a true frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool::fuzz::letter(bytes));
