//! The maintenance windows of a fleet file: which targets, and when, every week or once.
//! Targets are read before: a window for nothing is a problem.

use super::names::read_patterns;
use super::{list_of, string};
use crate::config::fields::{Key, Presence, Spot};
use crate::model::Wall;
use crate::quiet::{Maintenance, Span, When};
use crate::units::{parse_utc, utc_text};

/// What stands in a window until its own time is read: always.
const BLANK: Span = Span {
    from: Wall(0),
    until: Wall(u64::MAX),
};

pub(super) static MAINTENANCE: [Key<Maintenance>; 5] = [
    Key {
        name: "targets",
        presence: Presence::Required,
        read: |window, spot| window.targets = read_patterns(spot),
        write: |window| Some(list_of(&window.targets)),
    },
    Key {
        name: "weekly",
        // This or the next two: see `check_when`.
        presence: Presence::Optional,
        read: |window, spot| {
            let expected = "days and times such as \"Sun 02:00-04:00\"";
            if let Some(weekly) = spot.string(expected, str::parse) {
                window.when = When::Weekly(weekly);
            }
        },
        write: |window| match window.when {
            When::Weekly(weekly) => Some(string(&weekly.to_string())),
            When::Once(_) => None,
        },
    },
    Key {
        name: "from",
        presence: Presence::Optional,
        read: |window, spot| {
            if let Some(from) = read_utc(spot) {
                let span = span(window).unwrap_or(BLANK);
                window.when = When::Once(Span { from, ..span });
            }
        },
        write: |window| Some(string(&utc_text(span(window)?.from))),
    },
    Key {
        name: "to",
        presence: Presence::Optional,
        read: |window, spot| {
            if let Some(until) = read_utc(spot) {
                let span = span(window).unwrap_or(BLANK);
                window.when = When::Once(Span { until, ..span });
                if until <= span.from {
                    spot.unexpected("expected a time after \"from\"");
                }
            }
        },
        write: |window| Some(string(&utc_text(span(window)?.until))),
    },
    Key {
        name: "exclude",
        presence: Presence::Optional,
        read: |window, spot| window.exclude = spot.bool().unwrap_or_default(),
        write: |window| window.exclude.then(|| "true".to_string()),
    },
];

pub(super) fn read_window(spot: &mut Spot<'_, '_>) -> Maintenance {
    let mut window = Maintenance {
        targets: Vec::new(),
        when: When::Once(BLANK),
        exclude: false,
    };
    if spot.object(&mut window, &MAINTENANCE) {
        check_when(spot);
    }
    window
}

fn span(window: &Maintenance) -> Option<Span> {
    match window.when {
        When::Weekly(_) => None,
        When::Once(span) => Some(span),
    }
}

fn read_utc(spot: &mut Spot<'_, '_>) -> Option<Wall> {
    spot.string("a time in UTC such as \"2026-12-01T22:00Z\"", parse_utc)
}

/// A window has `weekly`, or both `from` and `to`.
fn check_when(spot: &mut Spot<'_, '_>) {
    let has = |key| spot.value.get(key).is_some();
    let text = match (has("weekly"), has("from"), has("to")) {
        (true, false, false) | (false, true, true) => return,
        (true, ..) => "a window has \"weekly\", or \"from\" and \"to\"; remove one of the two",
        (_, true, _) => "\"to\" is missing, the end of what begins with \"from\"",
        (_, _, true) => "\"from\" is missing, the beginning of what ends with \"to\"",
        _ => "\"weekly\" is missing, or \"from\" and \"to\"",
    };
    spot.problem(|| text.to_string());
}
