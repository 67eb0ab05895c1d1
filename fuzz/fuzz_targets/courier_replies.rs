//! Replies of far servers, EHLO's keywords among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::replies(bytes));
