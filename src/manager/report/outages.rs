//! Outages of a target: the times in which the verdict on it was down.
//!
//! Pure. An outage ends when the target is seen to answer. Time that nobody measured, or
//! that is left out, neither ends nor lengthens it; what was under way before the window
//! counts from the window's start.

use super::course::{Change, Window};
use crate::health::State;
use crate::stats::Spans;

/// How many outages, and how long; those of several targets add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outages {
    pub count: u64,
    /// The longest, 0 when there was none.
    pub longest_ms: u64,
    /// Of those that ended: how many, and how long together.
    pub ended: u64,
    pub ended_ms: u64,
}

impl Outages {
    /// The longest outage, if there was any.
    pub fn longest_ms(&self) -> Option<u64> {
        (self.count > 0).then_some(self.longest_ms)
    }

    /// The mean time to recovery: of those that ended.
    pub fn mttr_ms(&self) -> Option<u64> {
        self.ended_ms.checked_div(self.ended)
    }

    /// Adds another target's.
    pub fn merge(&mut self, other: &Outages) {
        self.count += other.count;
        self.longest_ms = self.longest_ms.max(other.longest_ms);
        self.ended += other.ended;
        self.ended_ms += other.ended_ms;
    }

    /// The outages of a target within the window, out of the course of its verdict.
    pub fn of(window: Window, left_out: &Spans, course: &[Change]) -> Outages {
        let mut tally = Tally::default();
        let (mut from, mut now) = (window.since, State::Stale);
        for (at, to) in course.iter().copied().chain([(window.until, State::Stale)]) {
            let at = at.clamp(from, window.until);
            let ms = at.0 - from.0 - left_out.overlap_ms(from, at);
            tally.stretch(ms, now);
            (from, now) = (at, to);
        }
        tally.finish()
    }
}

/// Stretches of time, in order.
#[derive(Debug, Default)]
struct Tally {
    sums: Outages,
    /// How long the outage under way has been measured.
    open_ms: Option<u64>,
}

impl Tally {
    fn stretch(&mut self, ms: u64, state: State) {
        match state {
            _ if ms == 0 => {}
            State::Down => self.open_ms = Some(self.open_ms.unwrap_or(0) + ms),
            State::Up | State::Slow => {
                if let Some(ms) = self.close() {
                    self.sums.ended += 1;
                    self.sums.ended_ms += ms;
                }
            }
            State::Stale | State::Unknown | State::Unreachable => {}
        }
    }

    fn close(&mut self) -> Option<u64> {
        let ms = self.open_ms.take()?;
        self.sums.count += 1;
        self.sums.longest_ms = self.sums.longest_ms.max(ms);
        Some(ms)
    }

    fn finish(mut self) -> Outages {
        self.close();
        self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::report::excuses::{Said, verdicts};
    use crate::model::{DownWhen, Wall};
    use crate::quiet::Span;

    /// A letter for each second: `u` up, `d` down, `?` unknown, `.` not measured.
    fn course(text: &str) -> Vec<Change> {
        let state = |c| match c {
            'u' => State::Up,
            's' => State::Slow,
            'd' => State::Down,
            '?' => State::Unknown,
            _ => State::Stale,
        };
        let seconds = text.chars().enumerate();
        seconds
            .map(|(i, c)| (Wall(i as u64 * 1_000), state(c)))
            .collect()
    }

    /// Over the seconds 2 to 12: count, longest, ended, seconds of those.
    fn of(rule: DownWhen, agents: &[&str], left_out: &[(u64, u64)]) -> (u64, u64, u64, u64) {
        let window = Window {
            since: Wall(2_000),
            until: Wall(12_000),
        };
        let span = |&(from, until): &(u64, u64)| Span {
            from: Wall(from * 1_000),
            until: Wall(until * 1_000),
        };
        let left_out = Spans::new(left_out.iter().map(span).collect());
        let said = agents.iter().map(|text| Said {
            course: course(text),
            asked: vec![Span {
                from: Wall(0),
                until: Wall(u64::MAX),
            }],
            interval_ms: 1_000,
            decides_ms: 3_000,
        });
        let said: Vec<Said> = said.collect();
        let said: Vec<&Said> = said.iter().collect();
        let o = Outages::of(window, &left_out, &verdicts(rule, &said));
        (o.count, o.longest_ms / 1_000, o.ended, o.ended_ms / 1_000)
    }

    #[test]
    fn an_outage_is_what_was_measured_of_it() {
        for (seen, expected) in [
            ("", (0, 0, 0, 0)),
            ("uuuuuuuuuuuu", (0, 0, 0, 0)),
            ("uuuddduuuddu", (2, 3, 2, 5)),
            // Under way before the window; ended before it.
            ("dddduuuuuuuu", (1, 2, 1, 2)),
            ("dduuuuuuuuuu", (0, 0, 0, 0)),
            // Still under way at its end, and what came after.
            ("uuuddduuuudd", (2, 3, 1, 3)),
            ("uuuuuuuuuudduuu", (1, 2, 0, 0)),
            ("dddddddddddddd", (1, 10, 0, 0)),
            // Interrupted by time that nobody measured, in which it may end.
            ("uuudd...dduu", (1, 4, 1, 4)),
            ("uuudd??ddduu", (1, 5, 1, 5)),
            ("uuudd...uuuu", (1, 2, 1, 2)),
            ("uuudd.......", (1, 2, 0, 0)),
            ("uuuddsssdduu", (2, 2, 2, 4)),
        ] {
            assert_eq!(of(DownWhen::Majority, &[seen], &[]), expected, "{seen}");
        }
    }

    #[test]
    fn the_rule_says_how_many_agents_it_takes() {
        use DownWhen::{All, Any, AtLeast, Majority};
        let seen = ["uuudddduuuuu", "uuuuudddduuu", "uuuuuuuuuuuu"];
        for (rule, agents, expected) in [
            (Any, 2, (1, 6, 1, 6)),
            (All, 2, (1, 2, 1, 2)),
            (Majority, 2, (1, 2, 1, 2)),
            (Any, 3, (1, 6, 1, 6)),
            (All, 3, (0, 0, 0, 0)),
            (Majority, 3, (1, 2, 1, 2)),
            (AtLeast(2), 3, (1, 2, 1, 2)),
            (AtLeast(3), 3, (0, 0, 0, 0)),
        ] {
            assert_eq!(
                of(rule, &seen[..agents], &[]),
                expected,
                "{rule:?} {agents}"
            );
        }
        // Who does not measure has no say.
        for (other, expected) in [
            ("uuuu....uuuu", (1, 3, 1, 3)),
            ("uuuuuuuuu...", (0, 0, 0, 0)),
            ("", (1, 4, 1, 4)),
        ] {
            assert_eq!(of(All, &[seen[0], other], &[]), expected, "{other}");
        }
    }

    #[test]
    fn a_time_left_out_cuts_it() {
        let seen = ["uuudddddduuu"];
        for (left_out, expected) in [
            (&[(4, 6)][..], (1, 4, 1, 4)),
            (&[(0, 5)], (1, 4, 1, 4)),
            (&[(3, 9)], (0, 0, 0, 0)),
            (&[(8, 12)], (1, 5, 0, 0)),
            (&[(2, 4), (5, 6), (8, 9)], (1, 3, 1, 3)),
        ] {
            let got = of(DownWhen::Majority, &seen, left_out);
            assert_eq!(got, expected, "{left_out:?}");
        }
        // An answer within it ends nothing.
        let got = of(DownWhen::Majority, &["uuuddudduuuu"], &[(5, 6)]);
        assert_eq!(got, (1, 4, 1, 4));
    }

    #[test]
    fn outages_of_several_targets_add_up() {
        let one = |ms| Outages {
            count: 2,
            longest_ms: ms,
            ended: 1,
            ended_ms: ms,
        };
        let mut all = Outages::default();
        assert_eq!((all.longest_ms(), all.mttr_ms()), (None, None));
        for ms in [3_000, 8_000, 1_000] {
            all.merge(&one(ms));
        }
        assert_eq!((all.count, all.longest_ms()), (6, Some(8_000)));
        assert_eq!(all.mttr_ms(), Some(4_000));
    }
}
