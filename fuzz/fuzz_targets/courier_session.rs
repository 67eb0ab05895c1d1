//! A far server's half of a session.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::session(bytes));
