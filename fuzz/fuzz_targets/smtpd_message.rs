//! Headers: fields, authors, signatures.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::fuzz::message(bytes));
