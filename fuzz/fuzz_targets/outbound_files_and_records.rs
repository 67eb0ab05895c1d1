//! One direction's records; half a ledger.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outbound_proxy::fuzz::files_and_records(bytes));
