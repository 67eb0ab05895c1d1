//! Values of the cache.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool::fuzz::summary(bytes));
