//! A pairing code as somebody typed it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| relay_link::fuzz::code(bytes));
