//! What an agent writes down: one record, one line of JSON, the same on the
//! wire, in the spool and in the history.
//!
//! A record stands for the sequence numbers `first..=seq`; only a gap and a summary stand
//! for more than one. A line opens with `{"seq":N,`, then `"first":N,` where it
//! stands for a range, so that [`span`] reads both without parsing the rest; its
//! last key `c` is the CRC-32 of every byte before that key.

mod sums;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use crate::crc32::crc32;
use crate::json::{self, Reader, SyntaxError};
use crate::model::{Epoch, Failure, Name, NamesSeen, Phases, Sample, Wall, Why, micros};
use crate::units::HostPort;

pub use sums::Sums;

/// Longest line of a record, message or base line, in bytes, its newline included.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// A start shorter than this late is not worth a key in the record, in microseconds.
pub const LATE_US_MIN: u64 = 100_000;

/// The sealing key and its value: `"c":"9a0c44e1"}`.
const SEAL_LEN: usize = 15;

/// One line of an agent's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's number, from 1, without holes within an epoch.
    pub seq: u64,
    /// When it was written; for a result, when the probe started.
    pub at: Wall,
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One probe's finding. Its `at` equals the record's.
    Result(Sample),
    /// The agent started; `alive` is the last time the run before was known to live.
    Start {
        alive: Option<Wall>,
        version: String,
    },
    /// Places wall time: written at start and after each step of the wall clock.
    Clock { boot: String, up_ms: u64 },
    /// From here on the agent probes this target, or this address of it.
    Began {
        target: Name,
        each: Option<IpAddr>,
        address: HostPort,
        interval: Duration,
    },
    /// From here on it does not.
    Ended { target: Name, each: Option<IpAddr> },
    /// Ticks of a target, or an address of it, that passed without a probe.
    Skip {
        target: Name,
        each: Option<IpAddr>,
        count: u64,
        why: SkipWhy,
    },
    /// Stands for records `first..=seq` that no longer exist.
    Gap { first: u64, why: GapWhy },
    /// Stands for plain results `first..=seq`, which were replaced to save room. What they
    /// came to is told by the first summaries of a time, for those that follow, too.
    Summary { first: u64, of: Vec<Sums> },
    /// A whole earlier run removed unsent, because too many waited: its numbers `first..=last`.
    Lost { epoch: Epoch, first: u64, last: u64 },
}

/// Declares an enum of reasons with the word each has in records.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All there are.
            pub const ALL: [$name; [$($name::$variant),*].len()] = [$($name::$variant),*];

            /// The word in records.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Why a tick passed without a probe.
    SkipWhy {
        /// The probe before was still running.
        Busy = "busy",
        /// All workers were taken.
        Workers = "workers",
        /// The host slept or was stopped.
        Stall = "stall",
        /// The host had no descriptors or memory for a connection.
        Host = "host",
    }
}

words! {
    /// Why records are gone.
    GapWhy {
        /// The oldest were removed to keep the spool within its limit.
        SpoolLimit = "spool-limit",
        /// Already deleted when a manager asked for them.
        Deleted = "deleted",
        /// Bytes on disk no longer match their check.
        Damaged = "damaged",
        /// The disk could not take them and the waiting queue was full.
        Disk = "disk",
        /// Replaced by a summary.
        Summarised = "summarised",
        /// The agent had announced them and lost them before they were fetched.
        Vanished = "vanished",
    }
}

impl Record {
    /// The numbers this record stands for.
    pub fn span(&self) -> Span {
        let first = self.body.first().unwrap_or(self.seq);
        Span {
            first,
            seq: self.seq,
        }
    }

    /// Appends the record's line, newline included.
    pub fn write(&self, out: &mut String) {
        write_line(out, self.span(), self.at, &self.body);
    }

    /// The record a line (with or without its newline) holds.
    pub fn parse(line: &[u8]) -> Result<Record, Damage> {
        span(line)?;
        parse_fields(line, &mut str::parse).map_err(|error| Damage(error.text))
    }

    /// The same of a line whose check is known to be good; names that were seen before
    /// share their memory.
    pub fn parse_checked(line: &[u8], seen: &mut NamesSeen) -> Result<Record, Damage> {
        let names = &mut |name: &str| seen.name(name);
        parse_fields(line, names).map_err(|error| Damage(error.text))
    }
}

impl Body {
    /// The first number of those it stands for, where that can be more than one.
    fn first(&self) -> Option<u64> {
        match self {
            Body::Gap { first, .. } | Body::Summary { first, .. } => Some(*first),
            _ => None,
        }
    }

    /// Why the records it stands for are not there; `None` where it is one itself.
    pub fn in_place(&self) -> Option<GapWhy> {
        match self {
            Body::Gap { why, .. } => Some(*why),
            Body::Summary { .. } => Some(GapWhy::Summarised),
            _ => None,
        }
    }
}

/// The numbers a line stands for: `first..=seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub first: u64,
    pub seq: u64,
}

impl Span {
    /// How many numbers.
    pub fn count(self) -> u64 {
        self.seq - self.first + 1
    }
}

/// Why bytes are not a whole and undamaged record line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage(pub Cow<'static, str>);

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends the line of a record whose body is held elsewhere.
pub fn write_line(out: &mut String, span: Span, at: Wall, body: &Body) {
    let start = out.len();
    json::object(out, |o| {
        o.u64("seq", span.seq);
        if let Some(first) = body.first() {
            o.u64("first", first);
        }
        // A summary that tells nothing has nothing but its numbers.
        if !matches!(body, Body::Summary { of, .. } if of.is_empty()) {
            o.u64("at", at.0);
        }
        write_body(o, body);
    });
    seal(out, start);
}

fn write_body(o: &mut json::Object<'_>, body: &Body) {
    match body {
        Body::Result(sample) => write_result(o, sample),
        Body::Start { alive, version } => {
            o.str("event", "start").str("version", version);
            if let Some(alive) = alive {
                o.u64("alive", alive.0);
            }
        }
        Body::Clock { boot, up_ms } => {
            o.str("event", "clock")
                .str("boot", boot)
                .u64("up_ms", *up_ms);
        }
        Body::Began {
            target,
            each,
            address,
            interval,
        } => {
            write_row(o.str("event", "began"), target, *each)
                .str("address", &address.to_string())
                .u64("interval_ms", micros(*interval) / 1000);
        }
        Body::Ended { target, each } => {
            write_row(o.str("event", "ended"), target, *each);
        }
        Body::Skip {
            target,
            each,
            count,
            why,
        } => {
            write_row(o.str("event", "skip"), target, *each)
                .u64("count", *count)
                .str("why", why.as_str());
        }
        Body::Gap { why, .. } => {
            o.str("event", "gap").str("why", why.as_str());
        }
        Body::Summary { of, .. } => {
            if !of.is_empty() {
                o.str("event", "summary").array("of", |a| {
                    for sums in of {
                        a.object(|o| sums.write(o));
                    }
                });
            }
        }
        Body::Lost { epoch, first, last } => {
            o.str("event", "lost")
                .str("epoch", &epoch.to_string())
                .u64("from", *first)
                .u64("to", *last);
        }
    }
}

/// Writes what a record is about.
fn write_row<'o, 'a>(
    o: &'o mut json::Object<'a>,
    target: &Name,
    each: Option<IpAddr>,
) -> &'o mut json::Object<'a> {
    o.str("target", target.as_str());
    if let Some(each) = each {
        o.str("each", &each.to_string());
    }
    o
}

fn write_result(o: &mut json::Object<'_>, sample: &Sample) {
    write_row(o, &sample.target, sample.each)
        .bool("ok", sample.ok())
        .u64("us", sample.us);
    for (key, us) in phase_keys(&sample.phases) {
        if let Some(us) = us {
            o.u64(key, us);
        }
    }
    if sample.retransmit {
        o.bool("retransmit", true);
    }
    if let Some(failure) = &sample.failure {
        o.str("why", failure.why.as_str())
            .str("text", &failure.text);
    }
    if sample.tries != 1 {
        o.u64("tries", u64::from(sample.tries));
    }
    if sample.late_us >= LATE_US_MIN {
        o.u64("late_us", sample.late_us);
    }
    if let Some(addr) = &sample.addr {
        o.str("addr", &addr.to_string())
            .u64("family", if addr.is_ipv6() { 6 } else { 4 });
    }
    if sample.dns_stale {
        o.bool("dns_stale", true);
    }
}

/// Where the time of a probe went, by the keys that records have for it.
pub fn phase_keys(phases: &Phases) -> [(&'static str, Option<u64>); 5] {
    [
        ("dns_us", phases.dns),
        ("connect_us", phases.connect),
        ("first_byte_us", phases.first_byte),
        ("match_us", phases.matched),
        ("close_us", phases.close),
    ]
}

/// Turns the object that `out[start..]` holds into a sealed line: puts `c` last and a newline after it.
pub fn seal(out: &mut String, start: usize) {
    out.pop();
    out.push(',');
    let sum = crc32(&out.as_bytes()[start..]);
    out.push_str("\"c\":\"");
    for shift in (0..8).rev() {
        out.push(char::from(
            b"0123456789abcdef"[(sum >> (shift * 4)) as usize & 15],
        ));
    }
    out.push_str("\"}\n");
}

/// Checks that a line is sealed and undamaged, without looking inside.
pub fn check_seal(line: &[u8]) -> Result<(), Damage> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let damage = |text: &'static str| Err(Damage(Cow::Borrowed(text)));
    let Some(start) = line.len().checked_sub(SEAL_LEN) else {
        return damage("too short for a record");
    };
    let (body, sealed) = line.split_at(start);
    let digits = sealed
        .strip_prefix(b"\"c\":\"")
        .and_then(|rest| rest.strip_suffix(b"\"}"));
    match digits.and_then(hex32) {
        None => damage("no check at the end"),
        Some(sum) if sum != crc32(body) => damage("the check does not match"),
        Some(_) => Ok(()),
    }
}

fn hex32(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u32::from(value))
    })
}

/// Checks a line and reads the numbers it stands for, without parsing the rest.
pub fn span(line: &[u8]) -> Result<Span, Damage> {
    check_seal(line)?;
    let damage = || Damage(Cow::Borrowed("does not open with its number"));
    let rest = line.strip_prefix(b"{\"seq\":").ok_or_else(damage)?;
    let (seq, rest) = leading_u64(rest).ok_or_else(damage)?;
    let first = match rest.strip_prefix(b",\"first\":") {
        Some(rest) => leading_u64(rest).ok_or_else(damage)?.0,
        None => seq,
    };
    if first == 0 || first > seq {
        return Err(Damage(Cow::Borrowed("stands for no numbers")));
    }
    Ok(Span { first, seq })
}

fn leading_u64(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest))
}

/// The keys of any record, as far as they were there.
#[derive(Default)]
struct Fields<'a> {
    seq: u64,
    first: u64,
    at: u64,
    event: Option<Cow<'a, str>>,
    target: Option<Cow<'a, str>>,
    each: Option<Cow<'a, str>>,
    ok: bool,
    us: u64,
    why: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
    tries: Option<u64>,
    late_us: u64,
    addr: Option<Cow<'a, str>>,
    dns_stale: bool,
    phases: Phases,
    retransmit: bool,
    alive: Option<u64>,
    version: Option<Cow<'a, str>>,
    boot: Option<Cow<'a, str>>,
    up_ms: u64,
    address: Option<Cow<'a, str>>,
    interval_ms: u64,
    count: u64,
    epoch: Option<Cow<'a, str>>,
    from: u64,
    to: u64,
    of: Vec<Sums>,
}

/// Makes names of texts.
type Names<'n> = dyn FnMut(&str) -> Result<Name, String> + 'n;

fn parse_fields(line: &[u8], names: &mut Names<'_>) -> Result<Record, SyntaxError> {
    let mut reader = Reader::new(line);
    let mut f = Fields::default();
    reader.object(|r, key| {
        match &*key {
            "seq" => f.seq = r.u64()?,
            "first" => f.first = r.u64()?,
            "at" => f.at = r.u64()?,
            "event" => f.event = Some(r.string()?),
            "target" => f.target = Some(r.string()?),
            "each" => f.each = Some(r.string()?),
            "ok" => f.ok = r.bool()?,
            "us" => f.us = r.u64()?,
            "why" => f.why = Some(r.string()?),
            "text" => f.text = Some(r.string()?),
            "tries" => f.tries = Some(r.u64()?),
            "late_us" => f.late_us = r.u64()?,
            "addr" => f.addr = Some(r.string()?),
            "dns_stale" => f.dns_stale = r.bool()?,
            "dns_us" => f.phases.dns = Some(r.u64()?),
            "connect_us" => f.phases.connect = Some(r.u64()?),
            "first_byte_us" => f.phases.first_byte = Some(r.u64()?),
            "match_us" => f.phases.matched = Some(r.u64()?),
            "close_us" => f.phases.close = Some(r.u64()?),
            "retransmit" => f.retransmit = r.bool()?,
            "alive" => f.alive = Some(r.u64()?),
            "version" => f.version = Some(r.string()?),
            "boot" => f.boot = Some(r.string()?),
            "up_ms" => f.up_ms = r.u64()?,
            "address" => f.address = Some(r.string()?),
            "interval_ms" => f.interval_ms = r.u64()?,
            "count" => f.count = r.u64()?,
            "epoch" => f.epoch = Some(r.string()?),
            "from" => f.from = r.u64()?,
            "to" => f.to = r.u64()?,
            "of" => r.array(|r| {
                f.of.push(Sums::read(r, names)?);
                Ok(())
            })?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    reader.end()?;
    let at = Wall(f.at);
    let seq = f.seq;
    let body = body_of(f, names).map_err(|text| SyntaxError { at: 0, text })?;
    if body.first().is_some_and(|first| first == 0 || first > seq) {
        let text = "stands for no numbers".into();
        return Err(SyntaxError { at: 0, text });
    }
    Ok(Record { seq, at, body })
}

fn body_of(mut f: Fields<'_>, names: &mut Names<'_>) -> Result<Body, Cow<'static, str>> {
    let Some(event) = f.event.as_deref() else {
        if f.first > 0 && f.at == 0 && f.target.is_none() {
            let (first, of) = (f.first, f.of);
            return Ok(Body::Summary { first, of });
        }
        return result_of(&mut f, names).map(Body::Result);
    };
    Ok(match event {
        "start" => Body::Start {
            alive: f.alive.map(Wall),
            version: need(f.version, "version")?.into_owned(),
        },
        "clock" => Body::Clock {
            boot: need(f.boot, "boot")?.into_owned(),
            up_ms: f.up_ms,
        },
        "began" => Body::Began {
            target: parsed(f.target, "target")?,
            each: optional(f.each, "each")?,
            address: parsed(f.address, "address")?,
            interval: Duration::from_millis(f.interval_ms),
        },
        "ended" => Body::Ended {
            target: parsed(f.target, "target")?,
            each: optional(f.each, "each")?,
        },
        "skip" => Body::Skip {
            target: parsed(f.target, "target")?,
            each: optional(f.each, "each")?,
            count: f.count,
            why: need(f.why.as_deref().and_then(SkipWhy::from_word), "why")?,
        },
        "gap" => Body::Gap {
            first: f.first,
            why: need(f.why.as_deref().and_then(GapWhy::from_word), "why")?,
        },
        "summary" => Body::Summary {
            first: f.first,
            of: need(Some(f.of).filter(|of| !of.is_empty()), "of")?,
        },
        "lost" => Body::Lost {
            epoch: parsed(f.epoch, "epoch")?,
            first: f.from,
            last: f.to,
        },
        other => return Err(format!("unknown event {other:?}").into()),
    })
}

fn result_of(f: &mut Fields<'_>, names: &mut Names<'_>) -> Result<Sample, Cow<'static, str>> {
    let failure = if f.ok {
        None
    } else {
        Some(Failure {
            why: need(f.why.as_deref().and_then(Why::from_word), "why")?,
            text: f.text.take().unwrap_or_default().into_owned(),
        })
    };
    Ok(Sample {
        target: names(&need(f.target.take(), "target")?)?,
        at: Wall(f.at),
        us: f.us,
        phases: f.phases,
        failure,
        tries: f.tries.map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        late_us: f.late_us,
        addr: optional(f.addr.take(), "addr")?.map(Box::new),
        dns_stale: f.dns_stale,
        retransmit: f.retransmit,
        each: optional(f.each.take(), "each")?,
    })
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, Cow<'static, str>> {
    value.ok_or_else(|| format!("{key} is missing or not known").into())
}

fn parsed<T: std::str::FromStr>(
    value: Option<Cow<'_, str>>,
    key: &str,
) -> Result<T, Cow<'static, str>> {
    need(value.and_then(|text| text.parse().ok()), key)
}

fn optional<T: std::str::FromStr>(
    value: Option<Cow<'_, str>>,
    key: &str,
) -> Result<Option<T>, Cow<'static, str>> {
    value.map(|text| parsed(Some(text), key)).transpose()
}

#[cfg(test)]
mod tests;
