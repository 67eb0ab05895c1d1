//! The time of day where this box stands, from `/etc/localtime` (TZif, RFC 9636): what a person calls "14:20".

use std::path::Path;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// Bytes of a file that is read; the largest there is has some 4,000.
const LARGEST: u64 = 256 * 1024;

/// A time zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// From when on which seconds are added, ascending.
    changes: Vec<(i64, i64)>,
    /// Before the first of them.
    first: i64,
    /// After the last.
    rule: Option<Rule>,
}

/// As POSIX writes it: `CET-1CEST,M3.5.0,M10.5.0/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    standard: i64,
    summer: Option<(i64, Change, Change)>,
}

/// A day of each year, and a time on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    day: YearDay,
    time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum YearDay {
    /// 1 to 365, without 29 February.
    Julian(i64),
    /// 0 to 365.
    Counted(i64),
    /// Month, week (5: the last), day of the week (0: Sunday).
    Weekday(u8, i64, i64),
}

impl Zone {
    /// This machine's; UTC where it says nothing.
    #[must_use]
    pub fn here() -> Self {
        let path = Path::new("/etc/localtime");
        let fits = std::fs::metadata(path).is_ok_and(|facts| facts.len() <= LARGEST);
        let bytes = if fits { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        Self::parse(&bytes).unwrap_or_default()
    }

    /// A time as people say it: `14:20`, and on another day `14:20 on Tuesday`.
    #[must_use]
    pub fn at(&self, at: i64, now: i64) -> String {
        let (then, today) = (at.saturating_add(self.offset(at)), now.saturating_add(self.offset(now)));
        let minutes = then.rem_euclid(DAY) / MINUTE;
        let clock = format!("{:02}:{:02}", minutes / 60, minutes % 60);
        if then.div_euclid(DAY) == today.div_euclid(DAY) {
            return clock;
        }
        // 1 January 1970 was a Thursday.
        let days = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
        let day = usize::try_from(then.div_euclid(DAY).rem_euclid(7)).ok().and_then(|day| days.get(day));
        format!("{clock} on {}", day.unwrap_or(&"another day"))
    }

    fn offset(&self, at: i64) -> i64 {
        match (self.changes.iter().rev().find(|(from, _)| *from <= at), self.changes.last(), self.rule) {
            (found, Some((last, _)), Some(rule)) if found.is_some_and(|(from, _)| from == last) => rule.offset(at),
            (None, None, Some(rule)) => rule.offset(at),
            (Some((_, offset)), ..) => *offset,
            (None, ..) => self.first,
        }
    }

    /// RFC 9636 §3: the second block has times of 64 bits, and behind it stands the rule for all later ones.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = Counts::read(bytes)?;
        let (counts, data) = Counts::read(rest.get(first.size(4)?..)?)?;
        let (times, rest) = data.split_at_checked(counts.times.checked_mul(8)?)?;
        let (kinds, rest) = rest.split_at_checked(counts.times)?;
        let (types, _) = rest.split_at_checked(counts.types.checked_mul(6)?)?;
        let offset = |kind: usize| {
            let seconds = types.get(kind.checked_mul(6)?..)?.first_chunk::<4>()?;
            Some(i64::from(i32::from_be_bytes(*seconds)))
        };
        let changes = times
            .as_chunks::<8>()
            .0
            .iter()
            .zip(kinds)
            .map(|(time, kind)| Some((i64::from_be_bytes(*time), offset(usize::from(*kind))?)));
        let footer = std::str::from_utf8(data.get(counts.size(8)?..)?).ok()?;
        Some(Self {
            changes: changes.collect::<Option<_>>()?,
            first: offset(0)?,
            rule: Rule::parse(footer.trim_matches('\n')),
        })
    }
}

/// How many there are of each thing in a block.
struct Counts {
    utc: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    names: usize,
}

impl Counts {
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_at_checked(44)?;
        let number = |at: usize| usize::try_from(u32::from_be_bytes(*head.get(at..)?.first_chunk()?)).ok();
        let counts = Self {
            utc: number(20)?,
            standard: number(24)?,
            leaps: number(28)?,
            times: number(32)?,
            types: number(36)?,
            names: number(40)?,
        };
        (head.starts_with(b"TZif") && head.get(4).is_some_and(|version| *version >= b'2')).then_some((counts, rest))
    }

    /// Bytes of the block's data, its times of so many bytes each.
    fn size(&self, time: usize) -> Option<usize> {
        let times = self.times.checked_mul(time + 1)?;
        let rest =
            self.types.checked_mul(6)?.checked_add(self.names)?.checked_add(self.leaps.checked_mul(time + 4)?)?;
        times.checked_add(rest)?.checked_add(self.standard)?.checked_add(self.utc)
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let (standard, rest) = offset(name(text)?)?;
        if rest.is_empty() {
            return Some(Self { standard: -standard, summer: None });
        }
        let rest = name(rest)?;
        let (summer, rest) = if rest.starts_with(',') { (standard - HOUR, rest) } else { offset(rest)? };
        let mut changes = rest.strip_prefix(',')?.split(',');
        let (begin, end) = (Change::parse(changes.next()?)?, Change::parse(changes.next()?)?);
        Some(Self { standard: -standard, summer: Some((-summer, begin, end)) })
    }

    fn offset(&self, at: i64) -> i64 {
        let Some((summer, begin, end)) = self.summer else { return self.standard };
        let year = wire::date::civil(at.saturating_add(self.standard)).year;
        let (begin, end) = (begin.of(year) - self.standard, end.of(year) - summer);
        let is_summer = if begin < end { (begin..end).contains(&at) } else { !(end..begin).contains(&at) };
        if is_summer { summer } else { self.standard }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = match text.split_once('/') {
            Some((day, time)) => (day, offset(time)?.0),
            None => (text, 2 * HOUR),
        };
        let day = match (day.strip_prefix('M'), day.strip_prefix('J')) {
            (Some(parts), _) => {
                let mut parts = parts.split('.');
                let month = parts.next()?.parse().ok().filter(|month| (1..=12).contains(month))?;
                YearDay::Weekday(month, number(parts.next()?, 5)?, number(parts.next()?, 6)?)
            }
            (None, Some(day)) => YearDay::Julian(number(day, 365)?),
            (None, None) => YearDay::Counted(number(day, 365)?),
        };
        Some(Self { day, time })
    }

    /// Seconds since 1970 on a clock that never changes.
    fn of(&self, year: i64) -> i64 {
        let (new_year, leap) = (days(year, 1), days(year, 3) - days(year, 2) == 29);
        let day = match self.day {
            YearDay::Julian(day) => new_year + day - 1 + i64::from(leap && day > 59),
            YearDay::Counted(day) => new_year + day,
            YearDay::Weekday(month, week, weekday) => {
                let first = days(year, month);
                // Day 0 was a Thursday, day 4 of its week.
                let found = first + (weekday - (first + 4)).rem_euclid(7) + (week.clamp(1, 5) - 1) * 7;
                let next = if month == 12 { days(year + 1, 1) } else { days(year, month + 1) };
                if found < next { found } else { found - 7 }
            }
        };
        day * DAY + self.time
    }
}

fn number(text: &str, most: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (0..=most).contains(number))
}

/// Days from 1970 to the first of a month.
fn days(year: i64, month: u8) -> i64 {
    // March begins the year here, so that the leap day is its last.
    let (year, month) = if month <= 2 { (year - 1, i64::from(month) + 9) } else { (year, i64::from(month) - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 - 719_468
}

/// What follows a zone's name, in letters or in angle brackets.
fn name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())),
    }
}

/// `[+-]h[:m[:s]]`, and what follows.
fn offset(text: &str) -> Option<(i64, &str)> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(unsigned.len());
    let (digits, rest) = unsigned.split_at(end);
    let mut seconds = 0;
    for (part, unit) in digits.split(':').zip([HOUR, MINUTE, 1]) {
        seconds += part.parse::<i64>().ok().filter(|part| *part <= 167)? * unit;
    }
    Some((if text.starts_with('-') { -seconds } else { seconds }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(rule: &str) -> Zone {
        Zone { rule: Rule::parse(rule), ..Zone::default() }
    }

    /// 21 November 2026, 14:20 UTC: a Saturday.
    const NOW: i64 = 1_795_270_800;

    #[test]
    fn as_people_say_it() {
        let utc = Zone::default();
        assert_eq!(utc.at(NOW, NOW), "14:20");
        assert_eq!(utc.at(NOW + 10 * HOUR, NOW), "00:20 on Sunday");
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(berlin.at(NOW, NOW), "15:20");
        assert_eq!(berlin.at(NOW + 9 * HOUR, NOW), "00:20 on Sunday", "their day ends earlier");
        assert_eq!(zone("<+0545>-5:45").at(NOW, NOW), "20:05");
        assert_eq!(zone("EST5EDT,M3.2.0,M11.1.0").at(NOW, NOW), "09:20");
    }

    #[test]
    fn summer_begins_and_ends_on_its_day() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        // 28 March and 31 October 2027, 01:00 UTC.
        for (at, before, after) in [(1_806_195_600, HOUR, 2 * HOUR), (1_824_944_400, 2 * HOUR, HOUR)] {
            assert_eq!((berlin.offset(at - 1), berlin.offset(at)), (before, after), "{at}");
        }
        // In the south it spans the new year.
        let sydney = zone("AEST-10AEDT,M10.1.0,M4.1.0/3");
        assert_eq!((sydney.offset(NOW), sydney.offset(NOW + 200 * DAY)), (11 * HOUR, 10 * HOUR));
        let counted = zone("A0B,J60,364/1:30");
        assert_eq!((counted.offset(1_772_323_200), counted.offset(1_772_341_200)), (0, HOUR), "1 March 2026, 02:00");
    }

    #[test]
    fn a_file_and_its_rule() {
        let mut file = Vec::new();
        let block = |file: &mut Vec<u8>, times: &[u8]| {
            file.extend_from_slice(b"TZif2");
            file.extend_from_slice(&[0; 15]);
            for count in [0u32, 0, 0, 1, 2, 4] {
                file.extend_from_slice(&count.to_be_bytes());
            }
            file.extend_from_slice(times);
            file.push(1);
            for (offset, name) in [(600i32, 0u8), (3_600, 0)] {
                file.extend_from_slice(&offset.to_be_bytes());
                file.extend_from_slice(&[0, name]);
            }
            file.extend_from_slice(b"CET\0");
        };
        block(&mut file, &0i32.to_be_bytes());
        block(&mut file, &1_000i64.to_be_bytes());
        file.extend_from_slice(b"\nCET-1CEST,M3.5.0,M10.5.0/3\n");
        let zone = Zone::parse(&file).unwrap();
        assert_eq!((zone.offset(999), zone.offset(1_000), zone.offset(NOW - 100 * DAY)), (600, HOUR, 2 * HOUR));
        assert_eq!(Zone::parse(&file[..60]), None);
    }

    proptest! {
        #[test]
        fn any_file_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), rule in ".{0,30}", at in any::<i32>()) {
            let _ = Zone::parse(&[&b"TZif2"[..], &bytes].concat());
            let _ = zone(&rule).at(i64::from(at), NOW);
        }
    }
}
