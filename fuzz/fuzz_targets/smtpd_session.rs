//! A client's lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::fuzz::session(bytes));
