//! Which failures say nothing of a target: those of an agent that was cut off from all its
//! anchors, and those behind something that was down. The rule of the live verdict (see
//! `board::settle`), over time and with hindsight.
//!
//! Pure: courses in, courses out. A course tells from when on what is so.

use super::course::Change;
use crate::health::State;
use crate::model::{DownWhen, Wall};
use crate::quiet::Span;
use crate::quorum::verdict;

/// When a course tells that something could not be reached, in order.
pub fn failing(course: &[Change]) -> Vec<Span> {
    let fails = |state: State| matches!(state, State::Down | State::Unreachable);
    let mut spans: Vec<Span> = Vec::new();
    let ends = course.iter().skip(1).map(|(at, _)| *at);
    for ((from, state), until) in course.iter().zip(ends.chain([Wall(u64::MAX)])) {
        match spans.last_mut() {
            _ if !fails(*state) => {}
            Some(last) if last.until == *from => last.until = until,
            _ => spans.push(Span { from: *from, until }),
        }
    }
    spans
}

/// When all of them tell so; never, for none.
pub fn all(each: &[Vec<Span>]) -> Vec<Span> {
    let Some((first, rest)) = each.split_first() else {
        return Vec::new();
    };
    let both = |a: Vec<Span>, b: &Vec<Span>| {
        let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
        let spans = pairs.map(|(a, b)| Span {
            from: a.from.max(b.from),
            until: a.until.min(b.until),
        });
        spans.filter(|span| span.from < span.until).collect()
    };
    rest.iter().fold(first.clone(), both)
}

/// A course in which what failed within these spans shows as `state`.
pub fn excused(course: &[Change], spans: &[Span], state: State) -> Vec<Change> {
    if spans.is_empty() {
        return course.to_vec();
    }
    let bounds = spans.iter().flat_map(|span| [span.from, span.until]);
    let mut times: Vec<Wall> = course.iter().map(|(at, _)| *at).chain(bounds).collect();
    times.sort_unstable();
    times.dedup();
    let mut out: Vec<Change> = Vec::new();
    for at in times {
        let so_far = course.partition_point(|(from, _)| *from <= at);
        let Some((_, is)) = so_far.checked_sub(1).map(|last| course[last]) else {
            continue;
        };
        let within = spans.iter().any(|span| span.contains(at));
        let shown = if within && is == State::Down {
            state
        } else {
            is
        };
        if out.last().is_none_or(|(_, last)| *last != shown) {
            out.push((at, shown));
        }
    }
    out
}

/// The verdict over the courses of a target's rows, by the rule for how many it takes.
pub fn verdicts(rule: DownWhen, courses: &[&[Change]]) -> Vec<Change> {
    let mut changes: Vec<(Wall, usize, State)> = Vec::new();
    for (row, course) in courses.iter().enumerate() {
        changes.extend(course.iter().map(|&(at, state)| (at, row, state)));
    }
    changes.sort_by_key(|&(at, ..)| at);
    let mut states = vec![State::Stale; courses.len()];
    let mut out: Vec<Change> = Vec::new();
    for together in changes.chunk_by(|a, b| a.0 == b.0) {
        for &(_, row, state) in together {
            states[row] = state;
        }
        let now = verdict(rule, states.iter().copied());
        if out.last().is_none_or(|(_, last)| *last != now) {
            out.push((together[0].0, now));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter a second: `u` up, `d` down, `b` unreachable, `?` unknown, `.` not measured;
    /// a blank is before there was anything.
    fn course(text: &str) -> Vec<Change> {
        let mut course: Vec<Change> = Vec::new();
        for (second, c) in text.chars().enumerate().filter(|(_, c)| *c != ' ') {
            let state = match c {
                'u' => State::Up,
                'd' => State::Down,
                'b' => State::Unreachable,
                '?' => State::Unknown,
                _ => State::Stale,
            };
            if course.last().is_none_or(|(_, last)| *last != state) {
                course.push((Wall(second as u64), state));
            }
        }
        course
    }

    fn text(course: &[Change], len: u64) -> String {
        let at = |second| {
            let so_far = course.partition_point(|(from, _)| from.0 <= second);
            match so_far.checked_sub(1).map(|last| course[last].1) {
                None => ' ',
                Some(State::Up | State::Slow) => 'u',
                Some(State::Down) => 'd',
                Some(State::Unreachable) => 'b',
                Some(State::Unknown) => '?',
                Some(State::Stale) => '.',
            }
        };
        (0..len).map(at).collect()
    }

    fn spans(texts: &[&str]) -> Vec<Vec<Span>> {
        texts.iter().map(|text| failing(&course(text))).collect()
    }

    #[test]
    fn what_fails_is_down_or_unreachable() {
        for (text, expected) in [
            ("uuuu", vec![]),
            ("uddu", vec![(1, 3)]),
            ("udbdu?d.", vec![(1, 4), (6, 7)]),
            (" dd", vec![(1, u64::MAX)]),
        ] {
            let got: Vec<_> = failing(&course(text))
                .iter()
                .map(|s| (s.from.0, s.until.0))
                .collect();
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn all_of_them_have_to_fail() {
        for (texts, expected) in [
            (vec![], vec![]),
            (vec!["uddduu"], vec![(1, 4)]),
            (vec!["uddduu", "uuddud"], vec![(2, 4)]),
            (
                vec!["ududud", "uddddd"],
                vec![(1, 2), (3, 4), (5, u64::MAX)],
            ),
            (vec!["uddduu", "uuddud", "uuuuuu"], vec![]),
        ] {
            let got: Vec<_> = all(&spans(&texts))
                .iter()
                .map(|s| (s.from.0, s.until.0))
                .collect();
            assert_eq!(got, expected, "{texts:?}");
        }
    }

    #[test]
    fn what_is_excused_shows_as_that_and_the_rest_as_it_is() {
        for (seen, excuse, expected) in [
            ("uddddu", "uuuuuu", "uddddu"),
            ("uddddu", "udddduu", "ubbbbu"),
            ("uddddu", "uudduu", "udbbdu"),
            ("uddddu", "dddddd", "ubbbbu"),
            ("u.d?du", "dddddd", "u.b?bu"),
            (" dddd ", "dddddd", " bbbbb"),
            // Only from a moment on at which nothing of its own changes.
            ("udddddu", "uuuddddu", "uddbbbu"),
        ] {
            let got = excused(&course(seen), &failing(&course(excuse)), State::Unreachable);
            assert_eq!(text(&got, seen.len() as u64), expected, "{seen} {excuse}");
        }
    }

    #[test]
    fn a_verdict_changes_when_its_courses_do() {
        let seen = ["uuddddu", "uuuddu.", " .ddddd"].map(course);
        let seen: Vec<&[Change]> = seen.iter().map(Vec::as_slice).collect();
        for (rule, expected) in [
            (DownWhen::Majority, "uudddduu"),
            (DownWhen::All, "uuudduuu"),
            (DownWhen::Any, "uudddddd"),
        ] {
            assert_eq!(text(&verdicts(rule, &seen), 8), expected, "{rule:?}");
        }
    }
}
