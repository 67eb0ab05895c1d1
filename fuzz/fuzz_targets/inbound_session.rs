//! A sender's lines, in every phase.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inbound_proxy::fuzz::session(bytes));
