//! Arguments of MAIL and RCPT.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::fuzz::paths(bytes));
