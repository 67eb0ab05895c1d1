//! Dates as mail writes them, in seconds since 1970: RFC 5322 §3.3 and RFC 3501 `date-time`. No time
//! zone database: we write UTC, and read any numeric zone.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const DAY: i64 = 86_400;

/// A calendar date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year, 1 to 9999.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// Seconds since 1970, now.
#[must_use]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
}

/// Days since 1970 of a date of the proleptic Gregorian calendar.
#[must_use]
pub const fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    // Counts years from March, so that the leap day is the last of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date and time of an instant, clamped to the years 1 to 9999.
#[must_use]
pub fn civil(at: i64) -> Civil {
    let at = at.clamp(-62_135_596_800, 253_402_300_799);
    let (days, of_day) = (at.div_euclid(DAY) + 719_468, at.rem_euclid(DAY));
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = small((shifted_month + 2) % 12 + 1);
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: small(of_year - (153 * shifted_month + 2) / 5 + 1),
        hour: small(of_day / 3_600),
        minute: small(of_day / 60 % 60),
        second: small(of_day % 60),
    }
}

/// `Sat, 21 Nov 2026 09:30:00 +0000` (RFC 5322 §3.3).
#[must_use]
pub fn rfc5322(at: i64) -> String {
    let c = civil(at);
    let weekday = DAYS[usize::from(small((at.div_euclid(DAY) + 4).rem_euclid(7)))];
    let month = MONTHS[usize::from(c.month) - 1];
    format!("{weekday}, {} {month} {:04} {:02}:{:02}:{:02} +0000", c.day, c.year, c.hour, c.minute, c.second)
}

/// `21-Nov-2026 09:30:00 +0000`, the day padded with a space (RFC 3501 `date-time`), without quotes.
#[must_use]
pub fn imap(at: i64) -> String {
    let c = civil(at);
    let month = MONTHS[usize::from(c.month) - 1];
    format!("{:2}-{month}-{:04} {:02}:{:02}:{:02} +0000", c.day, c.year, c.hour, c.minute, c.second)
}

/// Reads RFC 3501 `date-time` without its quotes.
#[must_use]
pub fn parse_imap(text: &str) -> Option<i64> {
    let (date, rest) = text.trim_start().split_once(' ')?;
    let (time, zone) = rest.split_once(' ')?;
    Some(parse_imap_day(date)? * DAY + seconds_of_day(time)? - zone_seconds(zone)?)
}

/// Reads RFC 3501 `date` (`1-Feb-1994`, quotes removed): days since 1970. A year has four digits: what two would mean is
/// RFC 5322's to say (§4.3), not IMAP's.
#[must_use]
pub fn parse_imap_day(text: &str) -> Option<i64> {
    let mut fields = text.split('-');
    let (day, month, year) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
    date(digits(year, 4)?, small(i64::try_from(month).ok()?) + 1, number(day, 2)?)
}

fn date(year: i64, month: u8, day: i64) -> Option<i64> {
    let days = days_from_civil(year, month, u8::try_from(day).ok()?);
    let back = civil(days * DAY);
    (year >= 1 && back.month == month && i64::from(back.day) == day).then_some(days)
}

fn seconds_of_day(text: &str) -> Option<i64> {
    let mut fields = text.split(':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    let whole = fields.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    whole.then_some(hour * 3_600 + minute * 60 + second)
}

fn zone_seconds(text: &str) -> Option<i64> {
    let (sign, zone) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let zone = digits(zone, 4)?;
    (zone % 100 < 60).then_some(sign * (zone / 100 * 3_600 + zone % 100 * 60))
}

fn digits(text: &str, how_many: usize) -> Option<i64> {
    (text.len() == how_many).then(|| number(text, how_many)).flatten()
}

fn number(text: &str, most_digits: usize) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= most_digits && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// For values that the calendar keeps below 256.
fn small(value: i64) -> u8 {
    u8::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants() {
        assert_eq!(rfc5322(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322(1_795_253_400), "Sat, 21 Nov 2026 09:30:00 +0000");
        assert_eq!(imap(951_782_400), "29-Feb-2000 00:00:00 +0000");
        assert_eq!(imap(4_294_967_296), " 7-Feb-2106 06:28:16 +0000");
        assert_eq!(parse_imap(" 1-Jan-1970 02:00:00 +0200"), Some(0));
        assert_eq!(parse_imap("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "31-Feb-2020 00:00:00 +0000",
            "1-Foo-2020 00:00:00 +0000",
            "1-Jan-2020 24:00:00 +0000",
            "1-Jan-2020 00:00:00",
            "1-Jan-20 00:00:00 +0000",
            "1-Jan-020 00:00:00 +0000",
            "1-Jan-02020 00:00:00 +0000",
            "1-Jan-2020 0:00:00 +0000",
            "1-Jan-2020 00:0:00 +0000",
            "1-Jan-2020 00:00:00 +000",
            "1-Jan-2020 00:00:00 0000",
            "+1-Jan-2020 00:00:00 +0000",
        ] {
            assert_eq!(parse_imap(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(at in -62_135_596_800i64..253_402_300_800) {
            prop_assert_eq!(parse_imap(&imap(at)), Some(at));
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,40}") {
            let _ = parse_imap(&text);
            let _ = parse_imap_day(&text);
        }
    }
}
