//! An external scanner's answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter_sandbox::fuzz::answer(bytes));
