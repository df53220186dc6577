//! One time in which targets are left alone: what is known of it, what is told when it
//! begins and ends, and how files have it.

use std::fmt;

use crate::json::{Object, Value};
use crate::model::Wall;
use crate::quiet::{Maintenance, Pattern, Span};
use crate::units::timestamp;

/// What an entry takes beside its patterns and its note.
const ENTRY_BYTES: usize = 128;
/// Most patterns named in a line.
const NAMED_MAX: usize = 8;

/// Why targets are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The fleet file plans it.
    Maintenance,
    /// Somebody asked for it.
    Silence,
}

impl Cause {
    /// As files have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Maintenance => "maintenance",
            Cause::Silence => "silence",
        }
    }
}

/// One time in which targets are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, never given twice; 0 for one that is only planned.
    pub no: u64,
    pub cause: Cause,
    /// At least one.
    pub targets: Vec<Pattern>,
    /// Until its end, be that planned or passed. One that ended before it began is empty.
    pub span: Span,
    /// Whether it is left out of availability.
    pub exclude: bool,
    /// For people; may be empty.
    pub note: String,
}

impl Entry {
    pub(super) fn planned(window: &Maintenance, span: Span) -> Entry {
        Entry {
            no: 0,
            cause: Cause::Maintenance,
            targets: window.targets.clone(),
            span,
            exclude: window.exclude,
            note: String::new(),
        }
    }

    pub(super) fn silence(targets: Vec<Pattern>, span: Span, note: &str) -> Entry {
        Entry {
            no: 0,
            cause: Cause::Silence,
            targets,
            span,
            exclude: false,
            note: note.to_string(),
        }
    }

    pub(super) fn is_of(&self, window: &Maintenance, span: Span) -> bool {
        self.cause == Cause::Maintenance
            && self.span == span
            && self.exclude == window.exclude
            && self.targets == window.targets
    }

    pub(super) fn bytes(&self) -> usize {
        let patterns = self.targets.iter().map(|p| p.as_str().len() + 3);
        ENTRY_BYTES + self.note.len() + patterns.sum::<usize>()
    }

    /// `maintenance of db*`.
    fn brief(&self) -> String {
        format!("{} of {}", self.cause.as_str(), names(&self.targets))
    }
}

/// `maintenance of db* until 2026-11-29 04:00 UTC`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} until {} UTC", self.brief(), moment(self.span.until))?;
        match self.note.as_str() {
            "" => Ok(()),
            note => write!(f, ": {note}"),
        }
    }
}

/// Patterns in a row, cut when there are many.
pub fn names(patterns: &[Pattern]) -> String {
    let shown: Vec<&str> = patterns
        .iter()
        .take(NAMED_MAX)
        .map(Pattern::as_str)
        .collect();
    match patterns.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A time for people, in UTC: `2026-11-29 04:00`, with seconds where there are any.
pub fn moment(at: Wall) -> String {
    let text = timestamp(at);
    let time = match &text[17..19] {
        "00" => &text[11..16],
        _ => &text[11..19],
    };
    format!("{} {time}", &text[..10])
}

/// What has changed, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    Began(Entry),
    /// Its time is over.
    Over(Entry),
    /// It ended early: somebody lifted the silence, or the fleet file plans the window
    /// no longer.
    Ended(Entry),
}

impl News {
    /// The entry as it is now.
    pub fn entry(&self) -> &Entry {
        match self {
            News::Began(entry) | News::Over(entry) | News::Ended(entry) => entry,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.entry().cause) {
            (News::Began(entry), _) => entry.fmt(f),
            (News::Over(entry), _) => write!(f, "{} is over", entry.brief()),
            (News::Ended(entry), Cause::Silence) => write!(f, "{} is lifted", entry.brief()),
            (News::Ended(entry), Cause::Maintenance) => {
                write!(f, "{} is over: it is not planned any more", entry.brief())
            }
        }
    }
}

/// The keys that an entry has in every form.
pub fn write(o: &mut Object<'_>, entry: &Entry) {
    o.u64("no", entry.no)
        .str("cause", entry.cause.as_str())
        .array("targets", |a| {
            for pattern in &entry.targets {
                a.str(pattern.as_str());
            }
        })
        .u64("from", entry.span.from.0)
        .u64("until", entry.span.until.0)
        .bool("exclude", entry.exclude)
        .str("note", &entry.note);
}

/// An entry as [`write()`] writes it; `None` when it is something else.
pub(super) fn read(value: &Value<'_>) -> Option<Entry> {
    let wall = |key| value.get(key)?.u64().map(Wall);
    Some(Entry {
        no: value.get("no")?.u64()?,
        cause: match value.get("cause")?.str()? {
            "maintenance" => Cause::Maintenance,
            "silence" => Cause::Silence,
            _ => return None,
        },
        targets: patterns(value.get("targets")?)?,
        span: Span {
            from: wall("from")?,
            until: wall("until")?,
        },
        exclude: value.get("exclude")?.bool()?,
        note: value.get("note")?.str()?.to_string(),
    })
}

/// A list of patterns; `None` when it is something else.
pub fn patterns(value: &Value<'_>) -> Option<Vec<Pattern>> {
    let pattern = |v: &Value<'_>| v.str()?.parse().ok();
    value.array()?.iter().map(pattern).collect()
}
