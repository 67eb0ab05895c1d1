//! A letter, examined and searched.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter_sandbox::fuzz::letter(bytes));
