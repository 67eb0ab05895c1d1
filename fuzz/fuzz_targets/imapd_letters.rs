//! FETCH items and a letter: spans, envelopes, structures.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imapd::fuzz::letters(bytes));
