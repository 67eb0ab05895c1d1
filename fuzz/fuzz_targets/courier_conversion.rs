//! Letters for servers that take 7 bits.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::conversion(bytes));
