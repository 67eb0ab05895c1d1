//! What stands in a notice to a sender.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::notices(bytes));
