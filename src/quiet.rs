//! When targets are left alone: maintenance windows that a fleet file plans, silences
//! that people ask for, and which targets either is for.
//!
//! Pure: time is an argument. What it means to be left alone (measured and shown, not
//! alerted) is decided by those who ask. All times of day are UTC unless they say by how
//! much they differ.

use std::fmt;
use std::str::FromStr;

use crate::model::{NAME_LEN_MAX, Wall};
use crate::units::clock_text;

const DAY_MS: u64 = 86_400_000;
const WEEK_MS: u64 = 7 * DAY_MS;
const MINUTE_MS: u64 = 60_000;
/// Monday first. 1970-01-01 was a Thursday.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONDAY_MS: u64 = 4 * DAY_MS;

/// Names of targets: a name, in which `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The one that means every name.
    pub fn any() -> Pattern {
        Pattern("*".into())
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means this name.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*');
        if text.is_empty() || text.len() > NAME_LEN_MAX || !text.bytes().all(allowed) {
            return Err("expected a target's name, or a pattern such as \"db*\"".to_string());
        }
        Ok(Pattern(text.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A time that comes back every week: `Sun 02:00-04:00`, `Mon-Fri 22:00-06:00`,
/// `Sat,Sun 00:00-24:00 +01:00`. One that ends no later than it begins ends the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekly {
    /// A bit for each day on which it begins, Monday lowest.
    days: u8,
    /// Minutes of the day, by its own clock.
    from: u16,
    to: u16,
    /// How far its clock is ahead of UTC, in minutes.
    ahead: i16,
}

/// From when, until when: the end is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub from: Wall,
    pub until: Wall,
}

impl Span {
    /// Whether this moment lies within.
    pub fn contains(&self, at: Wall) -> bool {
        self.from <= at && at < self.until
    }
}

impl Weekly {
    const EXPECTED: &str = "expected days and times such as \"Sun 02:00-04:00\" or \"Mon-Fri 22:00-06:00 +01:00\"; without an offset they are UTC";

    /// The first occurrence that ends after `at`.
    pub fn next(&self, at: Wall) -> Option<Span> {
        let minutes = |m: u16| u64::from(m) * MINUTE_MS;
        let over_midnight = if self.to <= self.from { DAY_MS } else { 0 };
        let long = minutes(self.to) + over_midnight - minutes(self.from);
        let ahead_ms = i64::from(self.ahead) * 60_000;
        let local = at.0.checked_add_signed(ahead_ms)?;
        // From the week before on: what began then may last until now.
        let monday = (local.saturating_sub(MONDAY_MS + WEEK_MS)) / WEEK_MS * WEEK_MS + MONDAY_MS;
        let begins = (0..21).filter(|day| self.days >> (day % 7) & 1 == 1);
        let mut spans = begins.filter_map(|day| {
            let from = monday + day * DAY_MS + minutes(self.from);
            let from = from.checked_add_signed(-ahead_ms)?;
            Some(Span {
                from: Wall(from),
                until: Wall(from + long),
            })
        });
        spans.find(|span| span.until > at)
    }
}

fn day_list(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = 0u8;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let many = (last + 7 - first) % 7;
        (0..=many).for_each(|i| days |= 1 << ((first + i) % 7));
    }
    Some(days)
}

/// Minutes of `02:00`; `24:00` is allowed where a day may end.
fn minutes_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let fits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| fits)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let in_day = minutes < 60 && (hours < 24 || (hours, minutes) == (24, 0));
    in_day.then_some(hours * 60 + minutes)
}

fn offset_of(text: &str) -> Option<i16> {
    let (sign, time) = match text.strip_prefix('-') {
        Some(time) => (-1, time),
        None => (1, text.strip_prefix('+')?),
    };
    let minutes = minutes_of(time).filter(|m| *m <= 14 * 60)?;
    Some(sign * i16::try_from(minutes).ok()?)
}

impl FromStr for Weekly {
    type Err = String;

    fn from_str(text: &str) -> Result<Weekly, String> {
        let read = || {
            let mut words = text.split(' ');
            let days = day_list(words.next()?)?;
            let (from, to) = words.next()?.split_once('-')?;
            let (from, to) = (minutes_of(from).filter(|m| *m < 24 * 60)?, minutes_of(to)?);
            let ahead = words.next().map_or(Some(0), offset_of)?;
            let whole = words.next().is_none();
            whole.then_some(Weekly {
                days,
                from,
                to,
                ahead,
            })
        };
        read().ok_or_else(|| Weekly::EXPECTED.to_string())
    }
}

impl fmt::Display for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = DAYS.iter().enumerate();
        let days: Vec<&str> = named
            .filter(|(i, _)| self.days >> i & 1 == 1)
            .map(|(_, day)| *day)
            .collect();
        let time = |m: u16| match m {
            1440 => "24:00".to_string(),
            m => clock_text(Wall(u64::from(m) * MINUTE_MS))[..5].to_string(),
        };
        write!(
            f,
            "{} {}-{}",
            days.join(","),
            time(self.from),
            time(self.to)
        )?;
        match self.ahead {
            0 => Ok(()),
            ahead => {
                let sign = if ahead < 0 { '-' } else { '+' };
                write!(f, " {sign}{}", time(ahead.unsigned_abs()))
            }
        }
    }
}

/// When a maintenance window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Weekly(Weekly),
    Once(Span),
}

impl When {
    /// The first occurrence that ends after `at`; `None` when there is none any more.
    pub fn next(&self, at: Wall) -> Option<Span> {
        match self {
            When::Weekly(weekly) => weekly.next(at),
            When::Once(span) => Some(*span).filter(|span| span.until > at),
        }
    }
}

/// A planned time in which targets are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// At least one.
    pub targets: Vec<Pattern>,
    pub when: When,
    /// Whether it is left out of availability.
    pub exclude: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{parse_moment, timestamp};

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, yes, no) in [
            ("db", "db", "db1"),
            ("db*", "db", "a-db"),
            ("*", "anything", ""),
            ("*db", "a.db", "db1"),
            ("a*b*c", "a-b-b-c", "a-c-b"),
            ("a*a", "aa", "a"),
            ("*x*", "axb", "ab"),
            ("**", "x", ""),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert!(pattern.matches(yes), "{pattern} {yes}");
            let none = pattern.as_str().trim_matches('*').is_empty();
            assert_eq!(pattern.matches(no), none, "{pattern} {no}");
        }
        for bad in ["", "d b", "db?", "é", &"x".repeat(129)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weekly_times_come_back() {
        // The time, when it is asked, the occurrence.
        for (weekly, at, from, until) in [
            // 2026-11-29 is a Sunday.
            (
                "Sun 02:00-04:00",
                "2026-11-25",
                "2026-11-29T02:00",
                "2026-11-29T04:00",
            ),
            (
                "Sun 02:00-04:00",
                "2026-11-29T02:00Z",
                "2026-11-29T02:00",
                "2026-11-29T04:00",
            ),
            (
                "Sun 02:00-04:00",
                "2026-11-29T03:59:59Z",
                "2026-11-29T02:00",
                "2026-11-29T04:00",
            ),
            (
                "Sun 02:00-04:00",
                "2026-11-29T04:00Z",
                "2026-12-06T02:00",
                "2026-12-06T04:00",
            ),
            (
                "Sun 22:00-06:00",
                "2026-11-30T05:00Z",
                "2026-11-29T22:00",
                "2026-11-30T06:00",
            ),
            (
                "Mon-Fri 22:00-06:00",
                "2026-11-28T05:00Z",
                "2026-11-27T22:00",
                "2026-11-28T06:00",
            ),
            (
                "Mon-Fri 22:00-06:00",
                "2026-11-28T06:00Z",
                "2026-11-30T22:00",
                "2026-12-01T06:00",
            ),
            (
                "Fri-Mon 10:00-11:00",
                "2026-11-28T12:00Z",
                "2026-11-29T10:00",
                "2026-11-29T11:00",
            ),
            (
                "Sat,Sun 00:00-24:00 +01:00",
                "2026-11-25",
                "2026-11-27T23:00",
                "2026-11-28T23:00",
            ),
            (
                "Mon 00:30-01:00 +02:00",
                "2026-11-25",
                "2026-11-29T22:30",
                "2026-11-29T23:00",
            ),
            (
                "Sun 23:00-23:30 -05:00",
                "2026-11-30T03:00Z",
                "2026-11-30T04:00",
                "2026-11-30T04:30",
            ),
            (
                "Wed 00:00-00:00",
                "2026-11-25",
                "2026-11-25T00:00",
                "2026-11-26T00:00",
            ),
        ] {
            let at = parse_moment(at, Wall(0)).unwrap();
            let span = weekly.parse::<Weekly>().unwrap().next(at).unwrap();
            let got = [span.from, span.until].map(|at| timestamp(at)[..16].to_string());
            assert_eq!(got, [from, until], "{weekly}");
        }
    }

    #[test]
    fn weekly_times_are_written_as_they_are_read() {
        for (text, written) in [
            ("Sun 02:00-04:00", "Sun 02:00-04:00"),
            ("Mon-Wed,Sun 22:00-06:00", "Mon,Tue,Wed,Sun 22:00-06:00"),
            ("Sat 00:00-24:00 -03:30", "Sat 00:00-24:00 -03:30"),
            ("Sat 00:00-12:00 +00:00", "Sat 00:00-12:00"),
        ] {
            let weekly: Weekly = text.parse().unwrap();
            assert_eq!(weekly.to_string(), written);
            assert_eq!(written.parse(), Ok(weekly));
        }
        for bad in [
            "",
            "Sun",
            "sun 02:00-04:00",
            "Sun 2:00-4:00",
            "Sun 02:00",
            "Sun 24:00-01:00",
            "Sun 02:60-04:00",
            "Sun 02:00-24:01",
            "Sun  02:00-04:00",
            "Sun 02:00-04:00 CET",
            "Sun 02:00-04:00 +15:00",
            "Sun 02:00-04:00 +01:00 x",
            "Sun, 02:00-04:00",
            "Sun- 02:00-04:00",
        ] {
            assert!(bad.parse::<Weekly>().is_err(), "{bad:?}");
        }
    }
}
