//! What a check came to, as the line and the exit code that monitoring systems read:
//! the forms of check_tcp 2.x, byte for byte. Pure.

use std::time::Duration;

use super::answer::{Answer, Fit};
use super::options::{Options, State};
use crate::text;

impl State {
    /// The exit code (monitoring plugins development guidelines, "Plugin Return Codes").
    pub fn code(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Warning => 1,
            State::Critical => 2,
            State::Unknown => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        }
    }
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The host has no address, or none of the family asked for.
    NoAddress,
    /// With the system's words for why.
    NotConnected(String),
    /// The whole was not over in time.
    TimedOut,
    /// An answer was expected, and the peer ended the connection without a byte.
    NoAnswer,
    /// Done; the time without the delay asked for.
    Done { took: Duration, answer: Answer },
}

/// The line to print, without its end, and the state it tells.
pub fn report(options: &Options, outcome: &Outcome) -> (String, State) {
    let host = text::escape(&options.host);
    match outcome {
        Outcome::NoAddress => (
            format!("TCP CRITICAL - Invalid hostname, address or socket: {host}"),
            State::Critical,
        ),
        Outcome::NotConnected(cause) => {
            let port = options.port;
            let line = format!("connect to address {host} and port {port}: {cause}");
            (line, options.refusal)
        }
        Outcome::TimedOut => {
            let after = options.timeout_s;
            let line = format!("CRITICAL - Socket timeout after {after} seconds");
            (line, State::Critical)
        }
        Outcome::NoAnswer => ("No data received from host".into(), State::Critical),
        Outcome::Done { took, answer } => done(options, *took, answer),
    }
}

fn done(options: &Options, took: Duration, answer: &Answer) -> (String, State) {
    let took_s = took.as_micros() as f64 / 1e6;
    let missed = answer.fit == Fit::Missed;
    let state = match timely(options, took_s) {
        State::Critical => State::Critical,
        _ if missed => options.mismatch,
        state => state,
    };
    let shown = answer.shown().filter(|_| !options.jail);
    let place = place(options);
    let told = match (missed, shown) {
        (true, Some(shown)) => format!("Unexpected response from host/socket: {shown}"),
        (true, None) => format!("Unexpected response from host/socket on {place}"),
        (false, Some(shown)) => format!("{took_s:.3} second response time on {place} [{shown}]"),
        (false, None) => format!("{took_s:.3} second response time on {place}"),
    };
    let perfdata = perfdata(options, took_s, missed);
    (format!("TCP {} - {told}|{perfdata}", state.word()), state)
}

/// The state by time alone. NaN is never exceeded.
fn timely(options: &Options, took_s: f64) -> State {
    let over = |limit: Option<f64>| limit.is_some_and(|limit| took_s > limit);
    match (over(options.critical_s), over(options.warning_s)) {
        (true, _) => State::Critical,
        (false, true) => State::Warning,
        (false, false) => State::Ok,
    }
}

fn place(options: &Options) -> String {
    let port = options.port;
    match options.host_named {
        true => format!("{} port {port}", text::escape(&options.host)),
        false => format!("port {port}"),
    }
}

/// `time=T;WARNING;CRITICAL;MIN;MAX`; of a wrong answer the thresholds say nothing and
/// are told as zeros.
fn perfdata(options: &Options, took_s: f64, missed: bool) -> String {
    let limit = |limit: Option<f64>| match limit {
        Some(_) if missed => "0.000000".to_string(),
        Some(limit) => format!("{limit:.6}").to_lowercase(),
        None => String::new(),
    };
    let (warning, critical) = (limit(options.warning_s), limit(options.critical_s));
    let timeout_s = options.timeout_s;
    format!("time={took_s:.6}s;{warning};{critical};0.000000;{timeout_s}.000000")
}

/// One line of the transcript: `+12.3 ms connected to [::1]:25`.
pub fn stamped(since_start: Duration, what: &str) -> String {
    let ms = since_start.as_micros() as f64 / 1e3;
    format!("+{ms:.1} ms {}\n", text::escape(what))
}

/// Bytes as the transcript quotes them, in one line.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '"' | '\\' => out.extend(['\\', char]),
                _ => out.push(char),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    format!("\"{out}\"")
}

/// The system's words as strerror(3) writes them, out of the failure of a dial: what
/// follows the last `: `, with a capital letter.
pub fn system_words(failure: &str) -> String {
    let cause = failure.rsplit(": ").next().unwrap_or_default();
    if cause == "refused" {
        return "Connection refused".into();
    }
    let mut chars = cause.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests;
