//! MTA-STS: TXT records, HTTPS answers, policies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smtpd::courier::fuzz::policies(bytes));
