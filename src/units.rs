//! How quantities are written: durations, sizes and addresses as a person puts them
//! into a configuration, times and counts as a person reads them.
//!
//! What is parsed here prints back to an equal value. Nothing is rounded on the way
//! in; the short texts for tables say where they round. All clock times are UTC.

mod address;
mod cidr;
mod url;

use std::time::Duration;

pub use address::{Family, HOST_LEN_MAX, Host, HostPort};
pub use cidr::{Cidr, RULES_MAX, Reach};
pub use url::{HttpUrl, URL_LEN_MAX};

/// Wall time: Unix milliseconds. Steps when the host's clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(pub u64);

impl Wall {
    /// This time plus `d`.
    pub fn after(self, d: Duration) -> Wall {
        Wall(self.0.saturating_add(millis(d)))
    }

    /// This time less `d`.
    pub fn before(self, d: Duration) -> Wall {
        Wall(self.0.saturating_sub(millis(d)))
    }

    /// How long from `earlier` to this time; zero when it lies ahead.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Monotonic time: microseconds since this process's start. Never steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// This time plus `d`.
    pub fn after(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(micros(d)))
    }

    /// How long from `earlier` to this time; zero when it lies ahead.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in whole milliseconds.
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in whole microseconds.
pub fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// Units of a duration in falling order, in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of a size in falling order, in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

const DAY_S: u64 = 86_400;

/// A duration such as `250ms`, `10s`, `1h30m`: whole numbers with the units d, h, m,
/// s, ms, in this order, each at most once. Errors: what was expected, for people.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration_ms(text)
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a duration such as \"10s\"".to_string())
}

fn duration_ms(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut units = DURATION_UNITS.iter();
    let mut rest = text;
    loop {
        let (number, after) = split_number(rest)?;
        let unit_len = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, next) = after.split_at(unit_len);
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*unit_ms)?)?;
        if next.is_empty() {
            return Some(total);
        }
        rest = next;
    }
}

/// The whole number that `text` starts with and what follows it.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// The shortest text of mixed units that [`parse_duration`] reads as `d`, with what
/// is below a millisecond cut off: `1h30m`, `1s500ms`, `0s`.
pub fn duration_text(d: Duration) -> String {
    let mut rest = millis(d);
    if rest == 0 {
        return "0s".to_string();
    }
    let mut out = String::new();
    for (unit, unit_ms) in DURATION_UNITS {
        let number = rest / unit_ms;
        if number > 0 {
            out += &format!("{number}{unit}");
        }
        rest %= unit_ms;
    }
    out
}

/// A size in bytes such as `512B`, `64KiB`, `16MiB`, `1GiB`; a number alone is bytes.
/// Errors: what was expected, for people.
pub fn parse_size(text: &str) -> Result<u64, String> {
    size_bytes(text).ok_or_else(|| "expected a size such as \"64MiB\"".to_string())
}

fn size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, unit_bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*unit_bytes)
}

/// `bytes` in the largest unit that divides it: `64KiB`, `1025B`, `0B`.
pub fn size_text(bytes: u64) -> String {
    let fits = |&&(_, unit_bytes): &&(&str, u64)| bytes > 0 && bytes % unit_bytes == 0;
    let (unit, unit_bytes) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / unit_bytes)
}

/// Date and time in UTC with milliseconds, as RFC 3339: `2026-11-24T20:01:02.345Z`.
pub fn timestamp(at: Wall) -> String {
    let (year, month, day) = civil(at.0 / 1000 / DAY_S);
    let ms = at.0 % 1000;
    format!("{year:04}-{month:02}-{day:02}T{}.{ms:03}Z", clock_text(at))
}

/// A moment as people give it: how long before `now` (`24h`), or in UTC
/// (`2026-12-01`, `2026-12-01T22:00Z`, `2026-12-01T22:00:30Z`). Errors: what was expected.
pub fn parse_moment(text: &str, now: Wall) -> Result<Wall, String> {
    if let Ok(back) = parse_duration(text) {
        return Ok(now.before(back));
    }
    utc(text).ok_or_else(|| {
        "expected a duration back from now such as \"24h\", or a time in UTC such as \"2026-12-01T22:00Z\""
            .to_string()
    })
}

/// A time in UTC as [`parse_moment`] takes it. Errors: what was expected.
pub fn parse_utc(text: &str) -> Result<Wall, String> {
    let expected = || "expected a time in UTC such as \"2026-12-01T22:00Z\"".to_string();
    utc(text).ok_or_else(expected)
}

/// What [`parse_utc`] reads as `at`, in whole minutes or, where needed, seconds:
/// `2026-12-01T22:00Z`; what is below a second is cut off.
pub fn utc_text(at: Wall) -> String {
    let text = timestamp(at);
    match text.get(16..19) {
        Some(":00") => text[..16].to_string() + "Z",
        _ => text[..19].to_string() + "Z",
    }
}

fn utc(text: &str) -> Option<Wall> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00"),
    };
    let number = |digits: &str, len: usize, range: std::ops::RangeInclusive<u64>| {
        let fits = digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|n| fits && range.contains(n))
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4, 1970..=9999)?;
    let month = number(parts.next()?, 2, 1..=12)?;
    let day = number(parts.next()?, 2, 1..=31)?;
    let mut clock = time.split(':');
    let hour = number(clock.next()?, 2, 0..=23)?;
    let minute = number(clock.next()?, 2, 0..=59)?;
    let second = clock.next().map_or(Some(0), |s| number(s, 2, 0..=59))?;
    if parts.next().is_some() || clock.next().is_some() {
        return None;
    }
    // The days of a year begin with March there; a day too many is the next month's.
    let (years, months) = match month > 2 {
        true => (year, month - 3),
        false => (year - 1, month + 9),
    };
    let leap_days = years / 4 - years / 100 + years / 400;
    let days = years * 365 + leap_days + (153 * months + 2) / 5 + day - 1 - 719_468;
    let exists = civil(days) == (year, month, day);
    exists.then(|| Wall(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000))
}

/// A time as HTTP tells it (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(at: Wall) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = at.0 / 1000 / DAY_S;
    let (year, month, day) = civil(days);
    let (name, month) = (DAYS[days as usize % 7], MONTHS[month as usize - 1]);
    format!("{name}, {day:02} {month} {year:04} {} GMT", clock_text(at))
}

/// The time of day in UTC: `20:01:02`.
pub fn clock_text(at: Wall) -> String {
    let s = at.0 / 1000 % DAY_S;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// Year, month and day of the day that many days after 1970-01-01, by counting in
/// eras of 400 years that start on 1 March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A latency in at most six characters, rounded to two or three digits: `850µs`,
/// `1.2ms`, `12ms`, `3.0s`, `45s`, `17m`.
pub fn latency_text(us: u64) -> String {
    let round = |unit_us: u64| us.saturating_add(unit_us / 2) / unit_us;
    let tenths = |unit_us: u64, unit: &str| {
        let n = round(unit_us / 10);
        format!("{}.{}{unit}", n / 10, n % 10)
    };
    match us {
        0..1_000 => format!("{us}µs"),
        1_000..9_950 => tenths(1_000, "ms"),
        9_950..999_500 => format!("{}ms", round(1_000)),
        999_500..9_950_000 => tenths(1_000_000, "s"),
        9_950_000..999_500_000 => format!("{}s", round(1_000_000)),
        999_500_000..59_970_000_000 => format!("{}m", round(60_000_000)),
        59_970_000_000..35_998_200_000_000 => format!("{}h", round(3_600_000_000)),
        _ => ">9999h".to_string(),
    }
}

/// How long ago, in the largest unit that fits, cut off: `4s`, `12m`, `3h`, `5d`.
/// At most five characters; above 9999 days it stays at that.
pub fn age_text(age: Duration) -> String {
    match age.as_secs() {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..DAY_S => format!("{}h", s / 3_600),
        s => format!("{}d", (s / DAY_S).min(9_999)),
    }
}

/// A count with its thousands set apart: `1,234`.
pub fn count_text(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_tells_times_with_the_day_of_the_week() {
        for (s, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_763_820_000, "Sat, 22 Nov 2025 14:00:00 GMT"),
        ] {
            assert_eq!(http_date(Wall(s * 1000 + 999)), text);
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("30d", 30 * 86_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("0d0ms", 0),
            ("90m", 5_400_000),
            ("1h90m", 9_000_000),
            ("007s", 7_000),
            ("18446744073709551615ms", u64::MAX),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            " ",
            "10",
            "0",
            "s",
            "ms",
            "10 s",
            " 10s",
            "10s ",
            "10s\n",
            "1h 30m",
            "1h1h",
            "5m1h",
            "1ms1s",
            "1s1s",
            "-5s",
            "+5s",
            "1.5s",
            "1,5s",
            "٣s",
            "１s",
            "5S",
            "5sec",
            "5min",
            "5us",
            "5µs",
            "1w",
            "1y",
            "1e3s",
            "0x5s",
            "1h30",
            "h30m",
            "10s5",
            "1hm",
            "1msm",
            "5mss",
            "18446744073709551616ms",
            "18446744073709552s",
            "213503982335d",
            "99999999999999999999d",
            "213503982334d23h",
            "\"10s\"",
            "10s\0",
        ] {
            let error = "expected a duration such as \"10s\"".to_string();
            assert_eq!(parse_duration(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_and_read_back() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1_000, "1s"),
            (1_500, "1s500ms"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
            (30 * 86_400_000, "30d"),
            (86_400_001, "1d1ms"),
            (u64::MAX, "213503982334d14h25m51s615ms"),
        ] {
            let d = Duration::from_millis(ms);
            assert_eq!(duration_text(d), text);
            assert_eq!(parse_duration(text), Ok(d));
        }
        assert_eq!(duration_text(Duration::from_micros(999)), "0s");
        assert_eq!(duration_text(Duration::from_micros(2_999)), "2ms");
        assert_eq!(
            duration_text(Duration::MAX),
            duration_text(Duration::from_millis(u64::MAX))
        );
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "0B"),
            ("512B", 512, "512B"),
            ("512", 512, "512B"),
            ("1024", 1024, "1KiB"),
            ("64KiB", 65_536, "64KiB"),
            ("1025B", 1025, "1025B"),
            ("16MiB", 16 << 20, "16MiB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("2048GiB", 2 << 40, "2048GiB"),
            ("1536KiB", 1536 << 10, "1536KiB"),
            ("17179869183GiB", u64::MAX - (1 << 30) + 1, "17179869183GiB"),
            ("18446744073709551615", u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(size_text(bytes), written);
            assert_eq!(parse_size(written), Ok(bytes));
        }
        for text in [
            "",
            "B",
            "KiB",
            "1 KiB",
            " 1",
            "1 ",
            "1kib",
            "1KB",
            "1K",
            "1M",
            "1.5MiB",
            "-1",
            "+1",
            "1KiB1B",
            "٣B",
            "1e3",
            "0x10",
            "18446744073709551616",
            "18014398509481984KiB",
            "17179869184GiB",
            "1TiB",
        ] {
            let error = "expected a size such as \"64MiB\"".to_string();
            assert_eq!(parse_size(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn moments_are_durations_back_or_utc() {
        let now = Wall(1_795_552_862_345);
        let at = |text| parse_moment(text, now);
        assert_eq!(at("1h"), Ok(Wall(now.0 - 3_600_000)));
        assert_eq!(at("90000d"), Ok(Wall(0)));
        for (text, written) in [
            ("1970-01-01", "1970-01-01T00:00:00.000Z"),
            ("2024-02-29T23:59Z", "2024-02-29T23:59:00.000Z"),
            ("2026-12-01T22:00:30Z", "2026-12-01T22:00:30.000Z"),
            ("2000-03-01", "2000-03-01T00:00:00.000Z"),
            ("2027-01-31", "2027-01-31T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(at(text).unwrap()), written);
            assert_eq!(parse_utc(text), at(text));
            let short = utc_text(at(text).unwrap());
            assert_eq!(parse_utc(&short), at(text));
        }
        let short = |text| utc_text(at(text).unwrap());
        assert_eq!(short("2026-12-01"), "2026-12-01T00:00Z");
        assert_eq!(short("2026-12-01T22:00:30Z"), "2026-12-01T22:00:30Z");
        assert!(parse_utc("1h").is_err());
        for bad in [
            "",
            "yesterday",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-04-31",
            "2026-12-01T22:00",
            "2026-12-01T24:00Z",
            "2026-12-01T22Z",
            "2026-12-01T22:00:60Z",
            "2026-12-1",
            "+026-12-01",
            "1969-12-31",
            "2026-12-01T22:00:00:00Z",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_820_000_123, "2025-11-22T14:00:00.123Z"),
            (1_795_550_462_345, "2026-11-24T20:01:02.345Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (978_307_199_000, "2000-12-31T23:59:59.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (4_107_456_000_000, "2100-02-28T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(Wall(ms)), text, "{ms}");
            assert_eq!(clock_text(Wall(ms)), &text[11..19]);
        }
        assert!(timestamp(Wall(u64::MAX)).ends_with("T14:25:51.615Z"));
    }

    #[test]
    fn every_day_of_an_era_follows_the_one_before() {
        let leap = |y: u64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(civil(days), (year, month, day), "{days}");
            let len = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > len {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (2370, 1, 1));
    }

    #[test]
    fn latencies_fit_six_characters() {
        for (us, text) in [
            (0, "0µs"),
            (850, "850µs"),
            (999, "999µs"),
            (1_000, "1.0ms"),
            (1_249, "1.2ms"),
            (1_250, "1.3ms"),
            (9_949, "9.9ms"),
            (9_950, "10ms"),
            (12_345, "12ms"),
            (999_499, "999ms"),
            (999_500, "1.0s"),
            (3_000_121, "3.0s"),
            (9_949_999, "9.9s"),
            (9_950_000, "10s"),
            (999_499_999, "999s"),
            (999_500_000, "17m"),
            (59_969_999_999, "999m"),
            (59_970_000_000, "17h"),
            (35_998_199_999_999, "9999h"),
            (35_998_200_000_000, ">9999h"),
            (u64::MAX, ">9999h"),
        ] {
            assert_eq!(latency_text(us), text, "{us}");
            assert!(text.chars().count() <= 6);
        }
    }

    #[test]
    fn ages_fit_five_characters() {
        for (s, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (86_399, "23h"),
            (86_400, "1d"),
            (5 * 86_400, "5d"),
            (9_999 * 86_400, "9999d"),
            (u64::MAX, "9999d"),
        ] {
            assert_eq!(age_text(Duration::from_secs(s)), text, "{s}");
        }
        assert_eq!(age_text(Duration::from_millis(4_999)), "4s");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234, "1,234"),
            (999_999, "999,999"),
            (1_000_000, "1,000,000"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count_text(n), text);
        }
    }
}
