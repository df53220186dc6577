//! Times that a report leaves out, and whose: those of maintenance that the fleet file
//! wants excluded, or wanted so when it took place.
//!
//! Always: what is left out of a target's numbers is left out of those of all its agents;
//! a time counts once, however many reasons there are to leave it out.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::manager::quiet::{self, QuietLog};
use crate::model::{Name, Wall};
use crate::quiet::{Pattern, Span};
use crate::stats::Spans;
use crate::units::timestamp;

/// Most occurrences of maintenance within a report.
const OCCURRENCES_MAX: usize = 100_000;

/// For which targets, and when, results count for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub targets: Vec<Pattern>,
    pub span: Span,
}

/// What a report on `since..until` leaves out.
///
/// # Errors
/// More occurrences of maintenance than a report can hold.
pub fn left_out(fleet: &Fleet, data: &Path, since: Wall, until: Wall) -> Result<Vec<LeftOut>> {
    let log = QuietLog::load(data)?;
    let noted = quiet::excluded(&log, since, until);
    // What the manager noted at the time, whatever the fleet file says now.
    let mut all: Vec<LeftOut> = noted
        .map(|(targets, span)| LeftOut {
            targets: targets.to_vec(),
            span,
        })
        .collect();
    for planned in fleet.maintenance.iter().filter(|m| m.exclude) {
        let mut at = since;
        while let Some(span) = planned.when.next(at).filter(|span| span.from < until) {
            if all.len() >= OCCURRENCES_MAX {
                return Err(too_many(since));
            }
            at = span.until;
            let targets = planned.targets.clone();
            all.push(LeftOut { targets, span });
        }
    }
    Ok(all)
}

fn too_many(since: Wall) -> Error {
    let since = timestamp(since);
    Error::new(format!(
        "more than {OCCURRENCES_MAX} times of maintenance to leave out since {since}: ask for less with --since"
    ))
}

/// What is left out, by target.
#[derive(Debug, Default)]
pub struct ByTarget {
    /// Those for the same targets together.
    sets: Vec<(Vec<Pattern>, Vec<Span>)>,
    /// Of the sets that mean a target, by their places.
    joined: HashMap<Vec<usize>, Rc<Spans>>,
}

impl ByTarget {
    /// Sorts them by whom they are for.
    pub fn new(left_out: &[LeftOut]) -> ByTarget {
        let mut sets: Vec<(Vec<Pattern>, Vec<Span>)> = Vec::new();
        for LeftOut { targets, span } in left_out {
            // The occurrences of one window follow each other.
            match sets.iter_mut().rev().find(|(same, _)| same == targets) {
                Some((_, spans)) => spans.push(*span),
                None => sets.push((targets.clone(), vec![*span])),
            }
        }
        let joined = HashMap::new();
        ByTarget { sets, joined }
    }

    /// The target's times; targets with the same times share them.
    pub fn of(&mut self, target: &Name) -> Rc<Spans> {
        let means = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(target.as_str()));
        let sets = self.sets.iter().enumerate();
        let places: Vec<usize> = sets
            .filter(|(_, (patterns, _))| means(patterns))
            .map(|(place, _)| place)
            .collect();
        let sets = &self.sets;
        let join = |places: &Vec<usize>| {
            let spans = places.iter().flat_map(|place| &sets[*place].1);
            Rc::new(Spans::new(spans.copied().collect()))
        };
        let joined = self.joined.entry(places);
        joined.or_insert_with_key(join).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet::{Maintenance, When};
    use crate::units::parse_moment;

    fn at(text: &str) -> Wall {
        parse_moment(text, Wall(0)).unwrap()
    }

    fn maintenance(targets: &str, when: When, exclude: bool) -> Maintenance {
        Maintenance {
            targets: targets.split(' ').map(|t| t.parse().unwrap()).collect(),
            when,
            exclude,
        }
    }

    fn weekly(text: &str) -> When {
        When::Weekly(text.parse().unwrap())
    }

    #[test]
    fn maintenance_occurs_as_often_as_the_time_asked_for_holds() {
        // 2026-11-01 and 2026-11-29 are Sundays.
        let sundays = weekly("Sun 02:00-04:00");
        let once = When::Once(Span {
            from: at("2026-10-30"),
            until: at("2026-11-05"),
        });
        for (when, exclude, since, until, days) in [
            (sundays, true, "2026-11-01", "2026-11-29", 4),
            (
                sundays,
                true,
                "2026-11-01T03:59:59Z",
                "2026-11-29T02:00Z",
                4,
            ),
            (
                sundays,
                true,
                "2026-11-01T04:00Z",
                "2026-11-29T02:00:01Z",
                4,
            ),
            (sundays, true, "2026-11-02", "2026-11-08", 0),
            (sundays, false, "2026-11-01", "2026-11-29", 0),
            (
                weekly("Mon-Sun 00:00-24:00"),
                true,
                "2026-11-01",
                "2026-11-29",
                28,
            ),
            (once, true, "2026-11-01", "2026-11-29", 1),
            (once, true, "2026-11-05", "2026-11-29", 0),
            (once, true, "2026-10-01", "2026-10-30", 0),
        ] {
            let fleet = Fleet {
                maintenance: vec![maintenance("db*", when, exclude)],
                ..Fleet::default()
            };
            let found = left_out(&fleet, Path::new("none"), at(since), at(until)).unwrap();
            assert_eq!(found.len(), days, "{when:?} {since} {until}");
        }
    }

    #[test]
    fn there_are_not_too_many() {
        let daily = maintenance("*", weekly("Mon-Sun 01:00-02:00"), true);
        let fleet = Fleet {
            maintenance: vec![daily; 5],
            ..Fleet::default()
        };
        let now = at("2026-11-29");
        for (years, fits) in [(54, true), (56, false)] {
            let since = Wall(now.0 - years * 365 * 86_400_000);
            let found = left_out(&fleet, Path::new("none"), since, now);
            assert_eq!(found.is_ok(), fits, "{years} years");
        }
    }

    #[test]
    fn targets_with_the_same_times_share_them() {
        let out = |targets: &str, from: u64, until: u64| LeftOut {
            targets: targets.split(' ').map(|t| t.parse().unwrap()).collect(),
            span: Span {
                from: Wall(from),
                until: Wall(until),
            },
        };
        let mut by_target = ByTarget::new(&[
            out("db* web", 10, 20),
            out("*", 15, 30),
            out("db* web", 40, 50),
        ]);
        assert_eq!(by_target.sets.len(), 2);
        let mut of = |name: &str| by_target.of(&name.parse().unwrap());
        let (db, web, mail) = (of("db1"), of("web"), of("mail"));
        assert!(Rc::ptr_eq(&db, &web));
        let all = |spans: &Spans| spans.overlap_ms(Wall(0), Wall(100));
        assert_eq!((all(&db), all(&mail)), (30, 15));
        assert_eq!(all(&ByTarget::default().of(&"x".parse().unwrap())), 0);
    }
}
