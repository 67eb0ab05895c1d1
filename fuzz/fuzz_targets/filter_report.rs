//! A worker's report, decoded and checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter_sandbox::fuzz::report(bytes));
