//! Local parts that SRS may have made.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool::fuzz::ways_back(bytes));
