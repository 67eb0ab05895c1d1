//! IMAP dates (RFC 3501 §9 `date`, `date-time`) to and from seconds since 1970.

use super::Fault;
use super::cursor::{Cursor, Parsed};

/// Seconds of a day.
pub const DAY: i64 = 86_400;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const BROKEN: Fault = Fault::Syntax("A date is broken");

/// `date`, with or without quotes, as midnight UTC of that day.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let quoted = cursor.eat(b'"');
    let day = day(cursor)?;
    if quoted && !cursor.eat(b'"') {
        return Err(BROKEN);
    }
    Ok(day * DAY)
}

/// `date-time`: `"17-Jul-1996 02:44:25 -0700"`, the day padded with a space or not.
pub(super) fn date_time(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    if !cursor.eat(b'"') {
        return Err(BROKEN);
    }
    cursor.eat(b' ');
    let day = day(cursor)?;
    cursor.space()?;
    let time = clock(cursor)?;
    cursor.space()?;
    let zone = zone(cursor)?;
    if cursor.eat(b'"') { Ok(day * DAY + time - zone) } else { Err(BROKEN) }
}

fn day(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let day = digits(cursor, 1..=2)?;
    let month = part(cursor, b'-', |cursor| {
        let name = cursor.run(|b| b.is_ascii_alphabetic());
        let found = MONTHS.iter().zip(1..).find(|(month, _)| month.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(_, number)| number).ok_or(BROKEN)
    })?;
    let year = part(cursor, b'-', |cursor| digits(cursor, 4..=4))?;
    let first = days(year, month, 1);
    let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
    if day < 1 || day > next - first {
        return Err(BROKEN);
    }
    Ok(first + day - 1)
}

fn clock(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let hours = digits(cursor, 2..=2)?;
    let minutes = part(cursor, b':', |cursor| digits(cursor, 2..=2))?;
    let seconds = part(cursor, b':', |cursor| digits(cursor, 2..=2))?;
    // 60 is a leap second.
    if hours > 23 || minutes > 59 || seconds > 60 { Err(BROKEN) } else { Ok(hours * 3600 + minutes * 60 + seconds) }
}

fn zone(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let sign = if cursor.eat(b'-') {
        -1
    } else if cursor.eat(b'+') {
        1
    } else {
        return Err(BROKEN);
    };
    let zone = digits(cursor, 4..=4)?;
    let (hours, minutes) = (zone / 100, zone % 100);
    if minutes > 59 { Err(BROKEN) } else { Ok(sign * (hours * 3600 + minutes * 60)) }
}

fn part<'a, T>(cursor: &mut Cursor<'a>, mark: u8, then: impl FnOnce(&mut Cursor<'a>) -> Parsed<T>) -> Parsed<T> {
    if cursor.eat(mark) { then(cursor) } else { Err(BROKEN) }
}

fn digits(cursor: &mut Cursor<'_>, length: std::ops::RangeInclusive<usize>) -> Parsed<i64> {
    let run = cursor.run(|b| b.is_ascii_digit());
    if !length.contains(&run.len()) {
        return Err(BROKEN);
    }
    Ok(run.iter().fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
}

/// Days from 1970-01-01 to this day of the proleptic Gregorian calendar.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that a leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month, day of a number of days since 1970-01-01.
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + (month <= 2) as i64, month, day)
}

/// Appends seconds since 1970 as `"17-Jul-1996 09:44:25 +0000"`, quotes included. What four digits of a year cannot
/// say is shown as the nearest day they can.
pub fn write(out: &mut Vec<u8>, seconds: i64) {
    let seconds = seconds.clamp(days(0, 1, 1) * DAY, days(9999, 12, 31) * DAY + DAY - 1);
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let clock = seconds.rem_euclid(DAY);
    out.push(b'"');
    two(out, day, b' ');
    out.push(b'-');
    // `civil` gives months from 1 to 12.
    out.extend_from_slice(MONTHS[(month - 1) as usize].as_bytes());
    out.push(b'-');
    two(out, year / 100, b'0');
    two(out, year % 100, b'0');
    out.push(b' ');
    two(out, clock / 3600, b'0');
    out.push(b':');
    two(out, clock / 60 % 60, b'0');
    out.push(b':');
    two(out, clock % 60, b'0');
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
        fn round_trip(seconds in -62_167_219_200i64..253_402_300_800) {
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
