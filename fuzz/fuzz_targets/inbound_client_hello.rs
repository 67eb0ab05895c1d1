//! The beginning of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inbound_proxy::fuzz::client_hello(bytes));
