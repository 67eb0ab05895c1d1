//! What people type, and keys from other processes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool::fuzz::secrets(bytes));
