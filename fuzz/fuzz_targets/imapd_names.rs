//! Folder names, patterns, sets of letters.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imapd::fuzz::names(bytes));
