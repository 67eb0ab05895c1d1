//! Text after DATA, and its end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::fuzz::data(bytes));
