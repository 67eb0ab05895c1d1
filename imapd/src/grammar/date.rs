//! IMAP dates (RFC 3501 §9 `date`, `date-time`) to and from seconds since 1970.

use super::Fault;
use super::cursor::{Cursor, Parsed};

/// Seconds of a day.
pub const DAY: i64 = 86_400;

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const BROKEN: Fault = Fault::Syntax("A date is broken");

/// `date`, with or without quotes, as midnight UTC of that day.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let quoted = cursor.eat(b'"');
    let day = cursor.run(|b| b.is_ascii_alphanumeric() || b == b'-');
    if quoted && !cursor.eat(b'"') {
        return Err(BROKEN);
    }
    // A year has four digits: `1-Jan-1970` is the shortest.
    let day = std::str::from_utf8(day).ok().filter(|day| day.len() >= 10).and_then(wire::date::parse_imap_day);
    day.map(|day| day * DAY).ok_or(BROKEN)
}

/// `date-time`: `"17-Jul-1996 02:44:25 -0700"`, the day padded with a space or not.
pub(super) fn date_time(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    if !cursor.eat(b'"') {
        return Err(BROKEN);
    }
    let time = cursor.run(|b| matches!(b, b' '..=b'~') && b != b'"');
    if !cursor.eat(b'"') {
        return Err(BROKEN);
    }
    std::str::from_utf8(time).ok().and_then(wire::date::parse_imap).ok_or(BROKEN)
}

/// Appends seconds since 1970 as `"17-Jul-1996 09:44:25 +0000"`, quotes included. What four digits of a year cannot
/// say is shown as the nearest day they can.
pub fn write(out: &mut Vec<u8>, seconds: i64) {
    let civil = wire::date::civil(seconds);
    let month = usize::from(civil.month) * 3;
    out.push(b'"');
    two(out, i64::from(civil.day), b' ');
    out.push(b'-');
    out.extend_from_slice(&MONTHS[month - 3..month]);
    out.push(b'-');
    two(out, civil.year / 100, b'0');
    two(out, civil.year % 100, b'0');
    out.push(b' ');
    two(out, i64::from(civil.hour), b'0');
    out.push(b':');
    two(out, i64::from(civil.minute), b'0');
    out.push(b':');
    two(out, i64::from(civil.second), b'0');
    out.extend_from_slice(b" +0000\"");
}

fn two(out: &mut Vec<u8>, number: i64, pad: u8) {
    let digit = |n: i64| b'0' + (n % 10) as u8;
    out.push(if number < 10 { pad } else { digit(number / 10) });
    out.push(digit(number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates() {
        let date = |text: &str| date(&mut Cursor::new(text.as_bytes()));
        assert_eq!(date("1-Jan-1970"), Ok(0));
        assert_eq!(date("\"1-Feb-1994\""), Ok(760_060_800));
        assert_eq!(date("29-feb-2000"), Ok(951_782_400));
        for bad in ["29-Feb-1999", "0-Jan-2000", "32-Jan-2000", "1-Foo-2000", "1-Jan-99", "\"1-Jan-2000", "1 Jan 2000"]
        {
            assert_eq!(date(bad), Err(BROKEN), "{bad}");
        }
    }

    #[test]
    fn known_times() {
        let time = |text: &str| date_time(&mut Cursor::new(text.as_bytes()));
        assert_eq!(time("\"17-Jul-1996 02:44:25 -0700\""), Ok(837_596_665));
        assert_eq!(time("\" 1-Jan-1970 01:00:00 +0100\""), Ok(0));
        for bad in ["\"1-Jan-1970 24:00:00 +0000\"", "\"1-Jan-1970 00:00:00 GMT\"", "1-Jan-1970 00:00:00 +0000"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(seconds in -62_135_596_800i64..253_402_300_800) {
            let mut out = Vec::new();
            write(&mut out, seconds);
            prop_assert_eq!(date_time(&mut Cursor::new(&out)), Ok(seconds));
        }

        #[test]
        fn anything_is_written_as_a_date(seconds: i64) {
            let mut out = Vec::new();
            write(&mut out, seconds);
            prop_assert!(date_time(&mut Cursor::new(&out)).is_ok());
        }

        #[test]
        fn bytes_never_panic(text in "\"?[ 0-9A-Za-z:+-]{0,30}\"?") {
            let _ = date(&mut Cursor::new(text.as_bytes()));
            let _ = date_time(&mut Cursor::new(text.as_bytes()));
        }
    }
}
