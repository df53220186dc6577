//! Which failures say nothing of a target: those of an agent that was cut off from all its
//! anchors, and those behind something that was down. The rule of the live verdict (see
//! `board::settle`), over time and with hindsight: what the live one doubts for a moment, and
//! what has to fail as often again, is known here to have had the excuse or not.
//!
//! Pure: what rows said in, courses and excuses out, in order of time.

use super::course::Change;
use crate::health::State;
use crate::model::{DownWhen, Wall};
use crate::quiet::Span;
use crate::quorum::verdict;

/// What a row, or a verdict, said over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub course: Vec<Change>,
    /// When it was there to say anything.
    pub asked: Vec<Span>,
    /// From one probe to the next.
    pub interval_ms: u64,
    /// How long a failure lasts that is enough for being down.
    pub decides_ms: u64,
}

/// A time in which failures say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excuse {
    /// Nothing of what caused it is known to have answered from then on: what failed first
    /// after this has the same cause.
    pub doubted: Wall,
    pub span: Span,
}

/// When all rows that were there said that something could not be reached; never, for none.
pub fn excuses(rows: &[&Said]) -> Vec<Excuse> {
    let certain = together(rows, |_| 0);
    let doubted = together(rows, |said| said.interval_ms);
    let excuse = |span: Span| {
        let so_far = doubted.partition_point(|doubt| doubt.from <= span.from);
        let doubt = so_far.checked_sub(1).map(|last| doubted[last].from);
        let doubted = doubt.unwrap_or(span.from);
        Excuse { doubted, span }
    };
    certain.into_iter().map(excuse).collect()
}

/// When all rows that were there failed, if each failed so much earlier.
fn together(rows: &[&Said], earlier_ms: impl Fn(&Said) -> u64) -> Vec<Span> {
    // From then on: so many more rows are there, so many more of those fail.
    let mut steps: Vec<(Wall, isize, isize)> = Vec::new();
    for said in rows {
        let failing = failing(&said.course, earlier_ms(said));
        for there in &said.asked {
            steps.extend([(there.from, 1, 0), (there.until, -1, 0)]);
            let first = failing.partition_point(|span| span.until <= there.from);
            let within = failing[first..].iter();
            for span in within.take_while(|span| span.from < there.until) {
                let (from, until) = (span.from.max(there.from), span.until.min(there.until));
                steps.extend([(from, 0, 1), (until, 0, -1)]);
            }
        }
    }
    steps.sort_unstable();
    let (mut there, mut fail) = (0, 0);
    let mut spans: Vec<Span> = Vec::new();
    let mut since = None;
    for at_once in steps.chunk_by(|a, b| a.0 == b.0) {
        there += at_once.iter().map(|step| step.1).sum::<isize>();
        fail += at_once.iter().map(|step| step.2).sum::<isize>();
        match (since, fail > 0 && fail == there) {
            (None, true) => since = Some(at_once[0].0),
            (Some(from), false) => {
                let until = at_once[0].0;
                spans.push(Span { from, until });
                since = None;
            }
            _ => {}
        }
    }
    spans
}

/// When a course tells that something could not be reached, begun so much earlier, but not
/// before it last came back.
fn failing(course: &[Change], earlier_ms: u64) -> Vec<Span> {
    let fails = |state: State| matches!(state, State::Down | State::Unreachable);
    let mut spans: Vec<Span> = Vec::new();
    for (Span { from, until }, state) in stretches(course) {
        match spans.last_mut() {
            _ if !fails(state) => {}
            Some(last) if last.until == from => last.until = until,
            last => {
                let back = last.map_or(0, |last| last.until.0 + 1);
                let from = Wall(from.0.saturating_sub(earlier_ms).max(back));
                spans.push(Span { from, until });
            }
        }
    }
    spans
}

/// How long each change holds: until the next, the last for ever.
fn stretches(course: &[Change]) -> impl Iterator<Item = (Span, State)> + '_ {
    let ends = course.iter().skip(1).map(|(at, _)| *at);
    let ends = ends.chain([Wall(u64::MAX)]);
    let stretch = |(&(from, state), until): (&Change, Wall)| (Span { from, until }, state);
    course.iter().zip(ends).map(stretch)
}

/// What is said until `end`, where what has such an excuse shows as `state`.
pub fn excused(said: &Said, excuses: &[Excuse], end: Wall, state: State) -> Vec<Change> {
    if excuses.is_empty() {
        return said.course.clone();
    }
    let mut out: Vec<Change> = Vec::new();
    let mut put = |at: Wall, state: State| {
        if out.last().is_none_or(|(_, last)| *last != state) {
            out.push((at, state));
        }
    };
    for (Span { from, until }, is) in stretches(&said.course) {
        if is == State::Down {
            let until = until.min(end).max(from);
            for (at, excused) in pieces(Span { from, until }, excuses, said.decides_ms) {
                put(at, if excused { state } else { is });
            }
        } else {
            put(from, is);
        }
    }
    out
}

/// An outage in pieces: from when on it has an excuse, and from when on not.
fn pieces(outage: Span, excuses: &[Excuse], decides_ms: u64) -> Vec<(Wall, bool)> {
    let Span { from, until } = outage;
    let first = excuses.partition_point(|excuse| excuse.span.until <= from);
    let mut pieces = Vec::new();
    let mut at = from;
    // What is left once an excuse is over has to be an outage by itself.
    let is_short = |at: Wall, next: Wall| at > from && next.0 - at.0 < decides_ms;
    for Excuse { doubted, span } in &excuses[first..] {
        let next = span.from.clamp(at, until);
        if at < next {
            let excused = (at == from && *doubted < from) || is_short(at, next);
            pieces.push((at, excused));
        }
        at = next;
        if span.from >= until {
            return pieces;
        }
        pieces.push((at, true));
        at = span.until.min(until);
        if at == until {
            return pieces;
        }
    }
    pieces.push((at, is_short(at, until)));
    pieces
}

/// The verdict over the rows of a target, by the rule for how many it takes. Who is not there
/// is not counted.
pub fn verdicts(rule: DownWhen, rows: &[&Said]) -> Vec<Change> {
    enum Step {
        Says(State),
        Comes,
        Goes,
    }
    let mut steps: Vec<(Wall, usize, Step)> = Vec::new();
    for (row, said) in rows.iter().enumerate() {
        let course = said.course.iter();
        steps.extend(course.map(|&(at, state)| (at, row, Step::Says(state))));
        for span in &said.asked {
            steps.push((span.from, row, Step::Comes));
            steps.push((span.until, row, Step::Goes));
        }
    }
    // One that goes and comes at once stays: its spans are in order.
    steps.sort_by_key(|&(at, ..)| at);
    let mut states = vec![(false, State::Stale); rows.len()];
    let mut out: Vec<Change> = Vec::new();
    for together in steps.chunk_by(|a, b| a.0 == b.0) {
        for (_, row, step) in together {
            let (there, said) = &mut states[*row];
            match step {
                Step::Says(state) => *said = *state,
                Step::Comes => *there = true,
                Step::Goes => *there = false,
            }
        }
        let there = states.iter().filter(|(there, _)| *there);
        let now = verdict(rule, there.map(|(_, said)| *said));
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

    /// One that is asked every second, where it isn't blank; two failures decide.
    fn said(text: &str) -> Said {
        let mut asked: Vec<Span> = Vec::new();
        for (second, _) in text.chars().enumerate().filter(|(_, c)| *c != ' ') {
            let (from, until) = (Wall(second as u64), Wall(second as u64 + 1));
            match asked.last_mut() {
                Some(last) if last.until == from => last.until = until,
                _ => asked.push(Span { from, until }),
            }
        }
        Said {
            course: course(text),
            asked,
            interval_ms: 1,
            decides_ms: 2,
        }
    }

    fn excuses_of(texts: &[&str]) -> Vec<Excuse> {
        let rows: Vec<Said> = texts.iter().map(|text| said(text)).collect();
        excuses(&rows.iter().collect::<Vec<_>>())
    }

    #[test]
    fn all_that_are_there_have_to_fail() {
        // From when on it is doubted, from when on it is certain, until when.
        for (texts, expected) in [
            (&[][..], &[][..]),
            (&["uuuu"], &[]),
            (&["uuddu"], &[(1, 2, 4)]),
            // Also what is behind something itself.
            (&["udbdu?d."], &[(0, 1, 4), (5, 6, 7)]),
            (&["uuddd"], &[(1, 2, 5)]),
            (&["uuddduu", "uuuddud"], &[(2, 3, 5)]),
            (&["ududud", "uddddd"], &[(0, 1, 2), (3, 3, 4), (5, 5, 6)]),
            (&["uuddduu", "uuuddud", "uuuuuuu"], &[]),
            // One that can't tell might answer; one that is not there does not.
            (&["uuddduu", "......."], &[]),
            (&["uuddduu", "       "], &[(1, 2, 5)]),
            (&["uuddduu", "uu   uu"], &[(2, 2, 5)]),
            (&["uuddduu", "uuuu   "], &[(4, 4, 5)]),
            (&["  ddduu"], &[(2, 2, 5)]),
        ] {
            let got: Vec<_> = excuses_of(texts)
                .iter()
                .map(|e| (e.doubted.0, e.span.from.0, e.span.until.0))
                .collect();
            assert_eq!(got, expected, "{texts:?}");
        }
    }

    #[test]
    fn what_is_excused_shows_as_that_and_the_rest_as_it_is() {
        for (seen, excuse, expected) in [
            ("uddddu", "uuuuuu", "uddddu"),
            ("uddddu", "uddddu", "ubbbbu"),
            ("uddddu", "uuuddu", "uddbbu"),
            ("uddddu", "dddddd", "ubbbbu"),
            ("u.d?du", "dddddd", "u.b?bu"),
            (" dddd ", "dddddd", " bbbbb"),
            // The cause is seen an interval later at most.
            ("uuddddu", "uuudddu", "uudbbbu"),
            ("uudddddu", "uuu ddddu", "uuddbbbu"),
            // What goes on afterwards has to be enough for an outage.
            ("udddddu", "udddduu", "ubbbbbu"),
            ("udddddu", "udddu uu", "ubbbddu"),
            ("uddddddddu", "udduudduuu", "ubbddbbddu"),
            ("udddddddu", "uddudduuu", "ubbbbbddu"),
            ("udddddddu", "uddudddu", "ubbbbbbbu"),
            // Over before the cause is seen.
            ("uuduuuuu", "uuudduuu", "uuduuuuu"),
        ] {
            let excuses = excuses_of(&[excuse]);
            let end = Wall(seen.len() as u64);
            let got = excused(&said(seen), &excuses, end, State::Unreachable);
            let got = text(&got, seen.len() as u64);
            assert_eq!(got, expected, "{seen} {excuse}");
        }
        // Within an interval of the cause's last answer, and not with it.
        let cause = Said {
            interval_ms: 3,
            ..said("uuuudddduddduu")
        };
        for (seen, expected) in [
            ("uuuuuuuudddduu", "uuuuuuuudbbbuu"),
            ("uddddddddu", "udddbbbbbu"),
            ("uudddddduu", "uubbbbbbuu"),
            ("uuudddddduu", "uuubbbbbbuu"),
            ("uuuduuuuuuu", "uuubuuuuuuu"),
        ] {
            let excuses = excuses(&[&cause]);
            let end = Wall(seen.len() as u64);
            let got = excused(&said(seen), &excuses, end, State::Unreachable);
            assert_eq!(text(&got, end.0), expected, "{seen}");
        }
    }

    #[test]
    fn a_verdict_changes_when_its_courses_do() {
        let seen = ["uuddddu.", "uuuddu..", " .dddddd"].map(said);
        let seen: Vec<&Said> = seen.iter().collect();
        for (rule, expected) in [
            (DownWhen::Majority, "uuddddud"),
            (DownWhen::All, "uuudduud"),
            (DownWhen::Any, "uudddddd"),
        ] {
            assert_eq!(text(&verdicts(rule, &seen), 8), expected, "{rule:?}");
        }
    }

    #[test]
    fn who_is_not_there_is_not_counted() {
        let one = [said("uuddddddu")];
        let gone = [said("uuddddddu"), said("uuuuu  uu")];
        for (rule, seen, expected) in [
            (DownWhen::AtLeast(2), &one[..], "uuddddddu"),
            (DownWhen::AtLeast(2), &gone, "uuuuudduu"),
            (DownWhen::All, &gone, "uuuuudduu"),
        ] {
            let seen: Vec<&Said> = seen.iter().collect();
            assert_eq!(text(&verdicts(rule, &seen), 9), expected, "{rule:?}");
        }
    }
}
