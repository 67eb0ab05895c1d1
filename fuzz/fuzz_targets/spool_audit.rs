//! Audit logs and their lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool::fuzz::audit(bytes));
