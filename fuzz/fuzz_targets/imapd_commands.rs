//! A connection's bytes, framed and parsed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imapd::fuzz::commands(bytes));
