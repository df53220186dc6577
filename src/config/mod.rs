//! Configurations as text and as a model: the fleet file that a person writes
//! ([`Fleet`]) and the list of targets that travels to an agent, with the scripts of
//! both.
//!
//! Reading validates the whole and lists every problem with its position, so that
//! a value of these types that came from text is valid. Each object's keys stand in
//! one table (`fields::Key`) that reads and writes them; a new key is one entry
//! there. Nothing here touches files: see [`crate::files`].

use std::time::Duration;

use crate::model::{DownAfter, RESULTS_MAX, RETRIES_MAX};
use crate::units::{duration_text, parse_duration};

mod agent;
mod fields;
mod fleet;
mod modules;
mod place;
mod script;
mod want;

pub use agent::{agent_config_json, parse_agent_config};
pub use fields::Problem;
pub use fleet::{
    Defaults, Fleet, FleetAgent, FleetTarget, KeyRule, PageSettings, Settings, key_needed,
    parse_fleet,
};
pub use modules::{
    MODULE_DEFAULT, MODULE_TIMEOUT_MAX, MODULES_BYTES_MAX, ProbeModule, parse_modules,
};
pub use place::{place, problems_at};
pub use script::{FleetScript, script_json};

/// Most agents of a fleet.
pub const AGENTS_MAX: usize = 1_000;
/// Most targets of a fleet, and of one agent.
pub const TARGETS_MAX: usize = 100_000;
/// Largest fleet file, in bytes; whoever reads the file checks it.
pub const FLEET_BYTES_MAX: usize = 16 << 20;
/// Most problems listed for one text; one more line says how many there are beyond.
pub const PROBLEMS_MAX: usize = 100;

/// Largest configuration of an agent, in bytes.
pub const AGENT_CONFIG_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest path of a key file, in bytes.
pub const KEY_FILE_LEN_MAX: usize = 4096;

/// Shortest time between two probes of a target.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longest time between two probes of a target.
pub const INTERVAL_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Shortest timeout; the longest is the target's interval.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// Shortest limit beyond which an answer is slow.
pub const SLOW_MIN: Duration = Duration::from_millis(1);

/// The interval where none is given.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
/// The timeout where none is given, unless the interval is shorter.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// Tries beyond the first where no number is given.
pub const RETRIES_DEFAULT: u32 = 1;

/// Most names in a list of anchors, tags, or targets that one depends on.
pub const NAMES_MAX: usize = 16;
/// Most patterns of targets' names in one list.
pub const PATTERNS_MAX: usize = 64;
/// Most maintenance windows of a fleet.
pub const MAINTENANCE_MAX: usize = 1_000;
/// Most alerts of a fleet.
pub const ALERTS_MAX: usize = 64;

/// Most texts of what an alert runs: a program and its arguments.
pub const RUN_TEXTS_MAX: usize = 64;
/// Longest of these, in bytes.
pub const RUN_TEXT_BYTES_MAX: usize = 4096;
/// Longest template of a webhook's body, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 16 * 1024;
/// Longest time that one delivery of an alert may take, where none is given.
pub const ALERT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
pub const ALERT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
pub const ALERT_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Shortest and longest time after which what lasts is told again.
pub const REPEAT_MIN: Duration = Duration::from_secs(60);
pub const REPEAT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long an alert waits for more of the same, where it is not given.
pub const GROUP_WAIT_DEFAULT: Duration = Duration::from_secs(10);
pub const GROUP_WAIT_MAX: Duration = Duration::from_secs(600);

/// Most exports of a fleet.
pub const EXPORTS_MAX: usize = 16;
/// How long one delivery of an export may take, where it is not given, at least and at most.
pub const EXPORT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
pub const EXPORT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
pub const EXPORT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// The oldest results that a new export may begin with.
pub const EXPORT_SINCE_MAX: Duration = Duration::from_secs(3660 * 86_400);
/// Longest title and note of the status page, in bytes.
pub const PAGE_TITLE_LEN_MAX: usize = 100;
pub const PAGE_NOTE_LEN_MAX: usize = 500;

/// An interval such as `10s`. Errors: what was expected, for people.
pub fn check_interval(text: &str) -> Result<Duration, String> {
    interval(parse_duration(text)?)
}

/// A timeout such as `3s` for a target with this interval. Errors: what was expected, for people.
pub fn check_timeout(text: &str, interval: Duration) -> Result<Duration, String> {
    within(parse_duration(text)?, TIMEOUT_MIN, interval)
        .map_err(|expected| format!("{expected}, the interval"))
}

/// A number of retries such as `1`. Errors: what was expected, for people.
pub fn check_retries(text: &str) -> Result<u32, String> {
    retries(digits(text))
}

fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A limit such as `200ms` beyond which an answer is slow. Errors: what was expected, for people.
pub fn check_slow(text: &str) -> Result<Duration, String> {
    slow(parse_duration(text)?)
}

/// Failures that make a target down, such as `3` or `3 within 5`. Errors: what was
/// expected, for people.
pub fn check_down_after(text: &str) -> Result<DownAfter, String> {
    text.parse()
}

/// A number of answers such as `2` that end an outage. Errors: what was expected, for people.
pub fn check_up_after(text: &str) -> Result<u32, String> {
    up_after(digits(text))
}

/// A path of a key file; whether there is one is not asked. Errors: what was expected,
/// for people.
pub fn check_key_file(text: &str) -> Result<&str, String> {
    let fits = (1..=KEY_FILE_LEN_MAX).contains(&text.len()) && !text.contains('\0');
    let expected = || format!("expected a path of 1 to {KEY_FILE_LEN_MAX} bytes without NUL");
    fits.then_some(text).ok_or_else(expected)
}

fn interval(value: Duration) -> Result<Duration, String> {
    within(value, INTERVAL_MIN, INTERVAL_MAX)
}

/// A timeout as far as it can be judged without its interval.
fn timeout(value: Duration) -> Result<Duration, String> {
    within(value, TIMEOUT_MIN, INTERVAL_MAX)
}

fn retries(value: Option<u64>) -> Result<u32, String> {
    value
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= RETRIES_MAX)
        .ok_or_else(|| format!("expected a whole number from 0 to {RETRIES_MAX}"))
}

fn slow(value: Duration) -> Result<Duration, String> {
    within(value, SLOW_MIN, INTERVAL_MAX)
}

fn up_after(value: Option<u64>) -> Result<u32, String> {
    value
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| (1..=RESULTS_MAX).contains(n))
        .ok_or_else(|| format!("expected a whole number from 1 to {RESULTS_MAX}"))
}

fn within(value: Duration, min: Duration, max: Duration) -> Result<Duration, String> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let (min, max) = (duration_text(min), duration_text(max));
    Err(format!("expected {min} to {max}"))
}

#[cfg(test)]
mod tests;
