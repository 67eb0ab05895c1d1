//! The day that a Date field writes (RFC 5322 §3.3, §4.3). SEARCH wants no more of it, and what many programs write
//! behind the day (no zone, no seconds, a leap second) is then no reason to have none.

use super::lexer::Lexer;
use mail_parser::DateTime;

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// Midnight UTC of that day, whatever its zone says; the years 1900 to 3000.
pub(super) fn day(date: &[u8]) -> Option<i64> {
    const DAY: i64 = 86_400;
    let mut lexer = Lexer::new(date);
    lexer.space();
    lexer.run(|b| b.is_ascii_alphabetic());
    lexer.space();
    lexer.take(b',');
    let (day, _) = number(&mut lexer)?;
    let month = lexer.run(|b| b.is_ascii_alphabetic()).get(..3)?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|name| *name == month)?;
    // RFC 5322 §4.3.
    let year = match number(&mut lexer)? {
        (year @ ..50, 2) => 2000 + year,
        (year, 2 | 3) => 1900 + year,
        (year, 4) => year,
        _ => return None,
    };
    let (year, month, day) = (u16::try_from(year).ok()?, u8::try_from(month + 1).ok()?, u8::try_from(day).ok()?);
    let date = DateTime { year, month, day, ..nothing() };
    let midnight = date.is_valid().then(|| date.to_timestamp_local().div_euclid(DAY) * DAY)?;
    // A month's length is not what makes a date valid there: 30 February would be 2 March.
    (DateTime::from_timestamp(midnight).day == day).then_some(midnight)
}

/// Of at most four digits, with how many; with what may stand around it.
fn number(lexer: &mut Lexer<'_>) -> Option<(u32, usize)> {
    let between = |lexer: &mut Lexer<'_>| {
        lexer.space();
        lexer.take(b'-');
        lexer.space();
    };
    between(lexer);
    let digits = lexer.run(|b| b.is_ascii_digit());
    between(lexer);
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() <= 4)?;
    Some((text.parse().ok()?, digits.len()))
}

const fn nothing() -> DateTime {
    DateTime {
        year: 0,
        month: 0,
        day: 0,
        hour: 0,
        minute: 0,
        second: 0,
        tz_before_gmt: false,
        tz_hour: 0,
        tz_minute: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::day;
    use proptest::prelude::*;

    /// 23 November 2026.
    const THAT: i64 = 20_780 * 86_400;

    #[test]
    fn the_day_is_read_however_the_rest_is_written() {
        for date in [
            "Mon, 23 Nov 2026 03:00:00 +0000",
            "Mon, 23 Nov 2026 23:59:60 -1100 (odd (zone))",
            "23 Nov 26 03:00 GMT",
            "23 Nov 126 03:00 GMT",
            "mon (x), 23 NOV 2026 03:00 Z",
            "Mon, 23 Nov 2026 03:00:00",
            "Monday, 23-Nov-26 03:00:00 GMT",
            "23 November 2026",
            "\t23\r\n Nov\r\n 2026",
        ] {
            assert_eq!(day(date.as_bytes()), Some(THAT), "{date}");
        }
        assert_eq!(day(b"1 Jan 70 00:00 +0000"), Some(0));
        assert_eq!(day(b"31 Dec 1969 00:00 +0000"), Some(-86_400));
    }

    #[test]
    fn what_names_no_day_has_none() {
        for date in [
            "",
            "x",
            "Mon, ",
            "32 Nov 2026",
            "31 Nov 2026",
            "29 Feb 2026",
            "0 Nov 2026",
            "23 No 2026",
            "23 Nov",
            "23 Nov 6",
            "23 Nov 02026",
            "23 Nov 1066",
            "23 11 2026",
        ] {
            assert_eq!(day(date.as_bytes()), None, "{date}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = day(&bytes);
        }
    }
}
