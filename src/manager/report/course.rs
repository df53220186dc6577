//! The course of one target as one agent saw it: what its state was from when on, as the
//! rules of the live state make it out of the results.
//!
//! Pure. Unlike the live state it looks back: a change stands where its results began,
//! not where there were enough of them. Always: only changes are kept, in order, and of
//! those before the window no more than the last.

use std::time::Duration;

use crate::health::{Health, Run, State};
use crate::model::{Rules, Wall};

/// The time reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub since: Wall,
    pub until: Wall,
}

/// From then on it is so. [`State::Stale`] stands for time that nobody measured,
/// [`State::Unknown`] for results that decide nothing, and [`State::Up`] for slow, too.
pub type Change = (Wall, State);

/// What the results so far come to.
#[derive(Debug)]
pub struct Course {
    window: Window,
    rules: Rules,
    health: Health,
    /// As of the latest result.
    state: State,
    last: Option<Wall>,
    changes: Vec<Change>,
}

impl Course {
    /// Nothing was measured yet.
    pub fn new(window: Window, rules: Rules) -> Course {
        Course {
            window,
            rules,
            health: Health::default(),
            state: State::Unknown,
            last: None,
            changes: Vec::new(),
        }
    }

    /// Takes the next result of a target probed every `interval`: an answer after so many
    /// microseconds, or none.
    pub fn result(&mut self, interval: Duration, at: Wall, answered_us: Option<u64>) {
        if self.last.is_some_and(|last| at < last) {
            // The clock was set back. A time far off must not undo what is known.
            if at < self.window.since {
                return;
            }
            self.changes.retain(|(from, _)| *from <= at);
        }
        self.until(interval, at);
        let (state, since) = judge(&mut self.health, &self.rules, interval, at, answered_us);
        if state != self.state {
            self.look_back(since.min(at), state);
            self.state = state;
        }
        self.put(at, state);
        self.last = Some(at);
    }

    /// Whether what is known still holds at `at`.
    pub fn tells(&self, interval: Duration, at: Wall) -> bool {
        let state = self.health.state(interval, None, at);
        !matches!(state, State::Stale | State::Unknown)
    }

    /// No results came until `at`: a state holds for so long, or there is a hole.
    pub fn until(&mut self, interval: Duration, at: Wall) {
        if self.health.state(interval, None, at) == State::Stale {
            self.pause(interval, at);
        }
    }

    /// Nothing is measured from `at` on; the last result stands for an interval at most.
    pub fn pause(&mut self, interval: Duration, at: Wall) {
        if let Some(last) = self.last {
            self.put(last.after(interval).min(at), State::Stale);
        }
    }

    /// The changes, in order. Before the first nothing was measured.
    pub fn changes(self) -> Vec<Change> {
        self.changes
    }

    /// What was measured from `from` on shows now as `state`.
    fn look_back(&mut self, from: Wall, state: State) {
        let first = self.changes.partition_point(|(at, _)| *at < from);
        let later = self.changes.split_off(first);
        if self.measures() {
            self.put(from, state);
        }
        for (at, was) in later {
            let measured = was != State::Stale;
            self.put(at, if measured { state } else { was });
        }
    }

    fn measures(&self) -> bool {
        let latest = self.changes.last();
        latest.is_some_and(|(_, state)| *state != State::Stale)
    }

    fn put(&mut self, at: Wall, state: State) {
        let (mut at, latest) = (at, self.changes.last().copied());
        if at >= self.window.until || latest.is_some_and(|(_, same)| same == state) {
            return;
        }
        if let Some((before, _)) = latest {
            at = at.max(before);
            if at == before {
                self.changes.pop();
            }
        }
        if at <= self.window.since {
            self.changes.clear();
        }
        self.changes.push((at, state));
    }
}

/// What the next result makes of the live state, and since when that is so.
fn judge(
    health: &mut Health,
    rules: &Rules,
    interval: Duration,
    at: Wall,
    answered_us: Option<u64>,
) -> (State, Wall) {
    let run = Run {
        answered_us,
        times: 1,
        since: at,
        seen: at,
    };
    health.take(rules, run);
    let state = match health.state(interval, None, at) {
        // Slow is not down.
        State::Slow => State::Up,
        state => state,
    };
    (state, health.since().unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    /// The course of one result every ten seconds from second 0 on: `u` up, `d` failed,
    /// `.` none, `|` the agent starts again; over the window of the seconds 20 to 1,000.
    fn course(results: &str, rules: Rules) -> String {
        let window = Window {
            since: Wall(20_000),
            until: Wall(1_000_000),
        };
        let mut course = Course::new(window, rules);
        for (i, c) in results.chars().enumerate() {
            let at = Wall(i as u64 * 10_000);
            match c {
                'u' => course.result(TEN, at, Some(1_000)),
                's' => course.result(TEN, at, Some(9_000)),
                'd' => course.result(TEN, at, None),
                '|' => course.pause(TEN, at),
                _ => {}
            }
        }
        shown(&course)
    }

    fn shown(course: &Course) -> String {
        let shown = |(at, state): &Change| format!("{}{}", at.0 / 1_000, state.as_str());
        let all: Vec<String> = course.changes.iter().map(shown).collect();
        all.join(" ")
    }

    #[test]
    fn a_change_stands_where_its_results_began() {
        for (results, changes) in [
            ("", ""),
            ("uuuuuu", "0up"),
            // One failure fewer than it takes, and as many.
            ("uuuudduu", "0up"),
            ("uuuuddduu", "0up 40down 70up"),
            // One answer is too few to end it.
            ("uuuuddduduu", "0up 40down 90up"),
            // Under way before the window, which needs only the last change.
            ("ddddduu", "0down 50up"),
            ("uddduuuu", "10down 40up"),
            ("d.u", "20up"),
            // Failures that decide nothing.
            ("ddu", "20up"),
            ("...ddu", "30unknown 50up"),
            ("...dddd", "30down"),
        ] {
            assert_eq!(course(results, Rules::default()), changes, "{results}");
        }
    }

    #[test]
    fn time_without_results_is_not_measured() {
        for (results, changes) in [
            // Three intervals hold, more is a hole of which the last result covers one.
            ("uuuu..uuu", "0up"),
            ("uuuu...uuu", "0up 40stale 70up"),
            ("uuuuddd....dduu", "0up 40down 70stale 110down 130up"),
            // It comes back as it was, until enough results say otherwise.
            ("uuuuddd....uu", "0up 40down 70stale 110up"),
            ("uuuudd....duu", "0up 40down 60stale 100down 110up"),
            ("uuuudd....uu", "0up 60stale 100up"),
            ("uuu|uuu", "0up 30stale 40up"),
            ("uuud|dduuu", "0up 30down 40stale 50down 70up"),
        ] {
            assert_eq!(course(results, Rules::default()), changes, "{results}");
        }
    }

    #[test]
    fn what_comes_after_the_window_still_tells_of_it() {
        for (until, changes) in [(100, "0up 40down 80up"), (70, "0up 40down"), (40, "0up")] {
            let window = Window {
                since: Wall(20_000),
                until: Wall(until * 1_000),
            };
            let mut course = Course::new(window, Rules::default());
            for (i, c) in "uuuudddduuu".chars().enumerate() {
                let at = Wall(i as u64 * 10_000);
                course.result(TEN, at, (c == 'u').then_some(1_000));
            }
            assert_eq!(shown(&course), changes, "{until}");
        }
    }

    #[test]
    fn each_target_has_its_own_rules() {
        let rules = |down_after: &str, up_after, slow| Rules {
            down_after: down_after.parse().unwrap(),
            up_after,
            slow,
            ..Rules::default()
        };
        let slow = Some(Duration::from_millis(5));
        for (results, rules, changes) in [
            ("uuudu", rules("1", 1, None), "0up 30down 40up"),
            ("uuududud", rules("3 within 5", 2, None), "0up 30down"),
            ("uuududuudu", rules("3 within 5", 2, None), "0up"),
            ("uuusssss", rules("1", 1, slow), "0up"),
            ("uuudsssu", rules("1", 2, slow), "0up 30down 40up"),
        ] {
            assert_eq!(course(results, rules), changes, "{results}");
        }
    }

    #[test]
    fn a_clock_set_back_undoes_no_more_than_it_repeats() {
        let window = Window {
            since: Wall(20_000),
            until: Wall(1_000_000),
        };
        let rules = Rules {
            down_after: "1".parse().unwrap(),
            up_after: 1,
            ..Rules::default()
        };
        for (seconds, changes) in [
            (&[(50, true), (60, false), (55, true)][..], "50up"),
            (&[(50, true), (60, false), (5, true)], "50up 60down"),
            (&[(50, false), (60, true), (55, true)], "50down 55up"),
            // Years ahead for a moment.
            (&[(50, true), (9_999_999, true), (60, false)], "50up 60down"),
        ] {
            let mut course = Course::new(window, rules);
            for &(second, ok) in seconds {
                course.result(TEN, Wall(second * 1_000), ok.then_some(1_000));
            }
            assert_eq!(shown(&course), changes, "{seconds:?}");
        }
    }
}
