//! What people ask: that targets be silent, and that they no longer be. Checked against
//! the fleet and the limits, and answered in words; the same from the menu, the command
//! line and the control socket.

use std::str::FromStr;
use std::time::Duration;

use super::{News, QuietLog, names};
use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::model::Wall;
use crate::quiet::Pattern;
use crate::text;
use crate::units::parse_duration;

/// Most patterns of one silence.
pub const TARGETS_MAX: usize = 100;
/// Longest note, in bytes.
pub const NOTE_LEN_MAX: usize = 200;
/// Shortest and longest silence, and the one when nothing else is said.
const LASTING_MIN: Duration = Duration::from_secs(1);
const LASTING_MAX: Duration = Duration::from_secs(30 * 86_400);
pub const LASTING_DEFAULT: Duration = Duration::from_secs(3_600);
/// Most silences or targets named in an answer.
const NAMED_MAX: usize = 8;

/// Which silences are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Number(u64),
    /// Exactly as it was given.
    Pattern(Pattern),
    All,
}

/// A number or a pattern: digits alone are a number.
impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Which, String> {
        let pattern = text.parse().map(Which::Pattern);
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(no) if digits => Ok(Which::Number(no)),
            _ => pattern.map_err(|_| "expected a silence's number or its pattern".to_string()),
        }
    }
}

/// A silence's length as people give it.
pub fn lasting(text: &str) -> std::result::Result<Duration, String> {
    let lasting = parse_duration(text).ok();
    let fits = |d: &Duration| (LASTING_MIN..=LASTING_MAX).contains(d);
    lasting
        .filter(fits)
        .ok_or_else(|| "expected a duration from 1s to 30d".to_string())
}

/// The end of a silence that begins now.
pub fn end(now: Wall, lasting: Duration) -> Wall {
    now.after(lasting)
}

/// Silences targets of a fleet; what is to be told.
///
/// # Errors
/// A pattern means no target of the fleet, if that has any; else as [`QuietLog::silence`].
pub fn silence(
    log: &mut QuietLog,
    fleet: &Fleet,
    targets: Vec<Pattern>,
    until: Wall,
    note: &str,
    now: Wall,
) -> Result<Vec<News>> {
    let stray = targets.iter().find_map(|pattern| stray(pattern, fleet));
    if let Some(text) = stray {
        return Err(Error::new(text));
    }
    let entry = log.silence(targets, until, note, now)?;
    Ok(vec![News::Began(entry.clone())])
}

/// Lifts silences; what is to be told, be it nothing when all of none were meant.
///
/// # Errors
/// There is no such silence.
pub fn unsilence(log: &mut QuietLog, which: &Which, now: Wall) -> Result<Vec<News>> {
    let next = log.next;
    let ended = log.unsilence(which, now);
    if ended.is_empty() && *which != Which::All {
        return Err(Error::new(none(log, which, now)));
    }
    let rests = log.entries.iter().filter(|e| e.no >= next).cloned();
    let ended = ended.into_iter().map(News::Ended);
    Ok(ended.chain(rests.map(News::Began)).collect())
}

/// News as the answer to whoever caused them.
pub fn told(news: &[News]) -> String {
    if news.is_empty() {
        return "nothing is silenced".to_string();
    }
    let line = |news: &News| format!("{}: {news}", news.entry().no);
    let mut lines: Vec<String> = news.iter().take(NAMED_MAX).map(line).collect();
    let more = news.len() - lines.len();
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines.join("\n")
}

/// Whether a silence may be: what is wrong with it else.
pub fn check(
    targets: &[Pattern],
    until: Wall,
    note: &str,
    now: Wall,
) -> std::result::Result<(), String> {
    if targets.is_empty() || targets.len() > TARGETS_MAX {
        return Err(format!(
            "expected 1 to {TARGETS_MAX} names or patterns of targets"
        ));
    }
    if note.len() > NOTE_LEN_MAX {
        return Err(format!("expected a note of at most {NOTE_LEN_MAX} bytes"));
    }
    if until <= now {
        return Err("expected an end that is still to come".to_string());
    }
    if until > end(now, LASTING_MAX) {
        return Err("expected an end at most 30 days ahead".to_string());
    }
    Ok(())
}

/// What to say of a pattern that means no target of a fleet, if that has any.
pub fn stray(pattern: &Pattern, fleet: &Fleet) -> Option<String> {
    let names = || fleet.targets.iter().map(|t| t.name.as_str());
    if fleet.targets.is_empty() || names().any(|name| pattern.matches(name)) {
        return None;
    }
    let hint = match text::nearest(&pattern.as_str().replace('*', ""), names()) {
        Some(near) => format!(": did you mean {near}?"),
        None => {
            let some: Vec<&str> = names().take(NAMED_MAX).collect();
            let more = if names().count() > NAMED_MAX {
                ", …"
            } else {
                ""
            };
            format!("; there are {}{more}", some.join(", "))
        }
    };
    Some(format!("no target is named {pattern}{hint}"))
}

/// What to say when there is no such silence.
fn none(log: &QuietLog, which: &Which, now: Wall) -> String {
    let text = match which {
        Which::Number(no) => {
            if log.open(now).any(|e| e.no == *no) {
                return format!("number {no} is maintenance, which ends when the fleet file says");
            }
            format!("no silence has the number {no}")
        }
        Which::Pattern(pattern) => format!("no silence is of {pattern}"),
        Which::All => String::new(),
    };
    let there = log
        .silences(now)
        .map(|e| format!("{} ({})", e.no, names(&e.targets)));
    let there: Vec<String> = there.take(NAMED_MAX).collect();
    match there.is_empty() {
        true => text + ": nothing is silenced",
        false => format!("{text}; there are {}", there.join(", ")),
    }
}
