//! TLS records both ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outbound_proxy::fuzz::meter(bytes));
