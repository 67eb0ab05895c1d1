//! TLSA records and certificates.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::certificates(bytes));
