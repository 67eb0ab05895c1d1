//! Both sides of a session before TLS.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outbound_proxy::fuzz::clear(bytes));
