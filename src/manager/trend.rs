//! What became of a target over the last ninety hours and the last ninety days, all its
//! agents together, in bars of an hour and of a day (UTC).
//!
//! Pure: results come in any order and go to their own bar. Always: a bar that is not there
//! was not measured.

use crate::model::Wall;
use crate::stats::{Histogram, Outcome};

/// Bars kept of each length.
pub const BARS: usize = 90;

/// How long a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    #[default]
    Hour,
    Day,
}

impl By {
    pub const ALL: [By; 2] = [By::Hour, By::Day];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Hour => "hour",
            By::Day => "day",
        }
    }

    /// Its length in milliseconds.
    pub fn ms(self) -> u64 {
        match self {
            By::Hour => 3_600_000,
            By::Day => 86_400_000,
        }
    }
}

/// What the probes of one hour or day came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bar {
    pub failed: u64,
    /// Of those that failed, how many did while the target was left alone.
    pub quiet: u64,
    /// Of the probes that were answered.
    pub latencies: Histogram,
}

impl Bar {
    /// How many probes there were.
    pub fn probes(&self) -> u64 {
        self.failed + self.latencies.count()
    }

    fn add(&mut self, outcome: Outcome, is_quiet: bool) {
        match outcome {
            Outcome::Answered(us) => self.latencies.add(us),
            Outcome::Failed => {
                self.failed += 1;
                self.quiet += u64::from(is_quiet);
            }
        }
    }

    fn merge(&mut self, other: &Bar) {
        self.failed += other.failed;
        self.quiet += other.quiet;
        self.latencies.merge(&other.latencies);
    }
}

/// Bars of one length, by their number since 1970, which rises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Strip(Vec<(u64, Bar)>);

impl Strip {
    fn add(&mut self, number: u64, newest: u64, outcome: Outcome, is_quiet: bool) {
        if number + BARS as u64 <= newest {
            return;
        }
        let at = self.0.partition_point(|(known, _)| *known < number);
        if self.0.get(at).is_none_or(|(known, _)| *known != number) {
            self.0.insert(at, (number, Bar::default()));
        }
        self.0[at].1.add(outcome, is_quiet);
        let old = self
            .0
            .partition_point(|(known, _)| known + BARS as u64 <= newest);
        self.0.drain(..old);
    }

    fn bar(&self, number: u64) -> Option<&Bar> {
        let at = self.0.binary_search_by_key(&number, |(known, _)| *known);
        at.ok().map(|at| &self.0[at].1)
    }
}

/// See the module text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trend {
    hours: Strip,
    days: Strip,
}

impl Trend {
    /// Counts a result that began at `at`; what lies ahead of `now` (clocks differ) counts
    /// as now. `is_quiet`: the target was left alone then.
    pub fn add(&mut self, at: Wall, outcome: Outcome, is_quiet: bool, now: Wall) {
        for by in By::ALL {
            let newest = now.0 / by.ms();
            let number = (at.0 / by.ms()).min(newest);
            let strip = match by {
                By::Hour => &mut self.hours,
                By::Day => &mut self.days,
            };
            strip.add(number, newest, outcome, is_quiet);
        }
    }

    /// The latest [`BARS`] bars with their beginnings, oldest first; `None` where nothing
    /// was measured.
    pub fn bars(&self, by: By, now: Wall) -> Vec<(Wall, Option<&Bar>)> {
        let strip = match by {
            By::Hour => &self.hours,
            By::Day => &self.days,
        };
        let newest = now.0 / by.ms();
        let oldest = (newest + 1).saturating_sub(BARS as u64);
        let bar = |number| (Wall(number * by.ms()), strip.bar(number));
        (oldest..=newest).map(bar).collect()
    }

    /// This hour and the one before together.
    pub fn lately(&self, now: Wall) -> Bar {
        let mut sum = Bar::default();
        let newest = now.0 / By::Hour.ms();
        for number in newest.saturating_sub(1)..=newest {
            if let Some(bar) = self.hours.bar(number) {
                sum.merge(bar);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(hour: u64) -> Wall {
        Wall(1_000 * 24 * HOUR + hour * HOUR + 5)
    }

    #[test]
    fn results_go_to_their_own_bars_in_any_order() {
        let mut trend = Trend::default();
        let now = at(100);
        for (hour, outcome, quiet) in [
            (100, Outcome::Answered(50), false),
            (11, Outcome::Failed, true),
            (11, Outcome::Answered(10), false),
            (10, Outcome::Failed, false),
            // Its clock is ahead.
            (107, Outcome::Failed, false),
        ] {
            trend.add(at(hour), outcome, quiet, now);
        }
        let hours = trend.bars(By::Hour, now);
        assert_eq!(hours.len(), BARS);
        let (began, first) = hours[0];
        assert_eq!(began, Wall(at(11).0 - 5));
        let first = first.unwrap();
        assert_eq!((first.probes(), first.failed, first.quiet), (2, 1, 1));
        let last = hours[BARS - 1].1.unwrap();
        assert_eq!((last.probes(), last.failed, last.quiet), (2, 1, 0));
        assert_eq!(hours.iter().filter(|(_, bar)| bar.is_some()).count(), 2);
        let days = trend.bars(By::Day, now);
        let days: Vec<u64> = days
            .iter()
            .filter_map(|(_, bar)| Some((*bar)?.probes()))
            .collect();
        assert_eq!(days, [3, 2]);
        assert_eq!(trend.lately(now).probes(), 2);
        // A bar that passed out of the ninety goes.
        trend.add(at(101), Outcome::Failed, false, at(101));
        assert_eq!(trend.hours.0.len(), 2);
        assert_eq!(trend.lately(at(101)).probes(), 3);
    }

    #[test]
    fn there_was_no_time_before_1970() {
        let mut trend = Trend::default();
        trend.add(Wall(5), Outcome::Failed, false, Wall(5));
        assert_eq!(trend.bars(By::Day, Wall(5)).len(), 1);
    }
}
