//! Whatever is typed, configured or logged: an answer, never a panic; and what is accepted is in its one form.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use postern::size::Bytes;
use postern::validity::Validity;
use postern::{names, up};
use proptest::prelude::*;

proptest! {
    #[test]
    fn an_accepted_address_is_its_own_completion(typed in "\\PC{0,80}", domain in "[a-z]{1,9}\\.test") {
        if let Ok(address) = names::address(&typed, &domain) {
            prop_assert_eq!(names::address(&address, "other.test"), Ok(address.clone()));
            prop_assert!(address.len() <= 320 && !address.contains(char::is_whitespace));
        }
    }

    #[test]
    fn an_accepted_domain_is_its_own_form(typed in "\\PC{0,80}|[A-Za-z0-9.-]{0,80}") {
        if let Ok(domain) = names::domain(&typed) {
            prop_assert_eq!(names::domain(&domain), Ok(domain.clone()));
        }
    }

    #[test]
    fn a_size_is_read_or_refused(typed in "\\PC{0,20}|[0-9]{1,25} ?[kKmMgGtT]?i?[bB]?") {
        let _ = typed.parse::<Bytes>();
    }

    #[test]
    fn a_whole_number_of_units_is_read_as_it_is_shown(number in 1..1000_u64, unit in 0..5_u32) {
        let bytes = Bytes(number * 1000_u64.pow(unit));
        prop_assert_eq!(bytes.to_string().trim_end_matches("ytes").parse(), Ok(bytes));
    }

    #[test]
    fn no_bytes_are_taken_for_a_certificate_by_mistake(bytes: Vec<u8>, cut in 0..2000_usize, flip in 0..2000_usize) {
        let _ = Validity::of(&bytes);
        let made = rcgen::generate_simple_self_signed(vec!["home.test".to_owned()]).unwrap();
        let mut der = made.cert.der().to_vec();
        let whole = Validity::of(&der);
        prop_assert!(whole.is_some());
        let length = der.len();
        der[flip % length] ^= 0x5a;
        let _ = Validity::of(&der);
        prop_assert_eq!(Validity::of(&made.cert.der()[..cut.min(length - 1)]), None);
    }

    #[test]
    fn a_log_line_moves_no_cursor(line: Vec<u8>) {
        prop_assert!(!up::harmless(&line).chars().any(char::is_control));
    }
}
