//! A Sieve script's literals.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter_sandbox::fuzz::script(bytes));
