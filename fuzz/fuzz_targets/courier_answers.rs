//! Answers of resolvers about destinations.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::answers(bytes));
