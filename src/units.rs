//! How quantities are written: durations, sizes and addresses as a person puts them
//! into a configuration, times and counts as a person reads them.
//!
//! What is parsed here prints back to an equal value. Nothing is rounded on the way
//! in; the short texts for tables say where they round. All clock times are UTC.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::model::Wall;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, written out with dots).
pub const HOST_LEN_MAX: usize = 253;

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
    let mut rest = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
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

/// A host name or IP address, and a port from 1 to 65535, checked by parsing.
///
/// Written `HOST:PORT`, an IPv6 address in brackets: `[::1]:80`. A name is made of
/// ASCII letters, digits, `-` and `_` in labels between dots; one whose last label is
/// digits alone would be taken for an IPv4 address by resolvers and must be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// An IPv6 address without brackets, in its canonical form.
    pub host: Box<str>,
    /// Never 0.
    pub port: u16,
}

impl HostPort {
    /// The address to connect to when the host is an IP address, needing no resolver.
    pub fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let expected = |what: &str| format!("expected HOST:PORT, {what}");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| expected("no port"))?;
        let port = parse_port(port).ok_or_else(|| expected("a port from 1 to 65535"))?;
        let host: Box<str> = match host.strip_prefix('[') {
            Some(open) => {
                let ip = open.strip_suffix(']').and_then(|ip| ip.parse().ok());
                let ip: Ipv6Addr = ip.ok_or_else(|| expected("an IPv6 address in the brackets"))?;
                ip.to_string().into()
            }
            None if host.contains(':') => return Err(expected("an IPv6 address in brackets")),
            None if is_host(host) => host.into(),
            None => return Err(expected("a host name or an IP address")),
        };
        Ok(HostPort { host, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn is_host(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label = |l: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !l.is_empty() && l.bytes().all(allowed)
    };
    let numeric = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    host.len() <= HOST_LEN_MAX
        && labels.split('.').all(label)
        && (!labels.rsplit('.').next().is_some_and(numeric) || host.parse::<Ipv4Addr>().is_ok())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') {
            f.pad(&format!("[{host}]:{port}"))
        } else {
            f.pad(&format!("{host}:{port}"))
        }
    }
}

/// Date and time in UTC with milliseconds, as RFC 3339: `2026-11-24T20:01:02.345Z`.
pub fn timestamp(at: Wall) -> String {
    let (year, month, day) = civil(at.0 / 1000 / DAY_S);
    let ms = at.0 % 1000;
    format!("{year:04}-{month:02}-{day:02}T{}.{ms:03}Z", clock_text(at))
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
