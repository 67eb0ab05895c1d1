//! What a peer says on a control connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| relay_link::fuzz::messages(bytes));
