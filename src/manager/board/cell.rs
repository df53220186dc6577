//! One row of the board: what one agent knows of one target, and how its state
//! follows from that.
//!
//! A finding is live (the newest there is) or history. Only a live one changes
//! the state, and only a change from what was last announced is worth telling.

use std::collections::VecDeque;
use std::time::Duration;

use super::{RECENT_MAX, State};
use crate::model::{Name, Sample, Target, Wall, Why};
use crate::proto::TargetNow;
use crate::stats::{Hour, Outcome, Rolling};

/// A state holds for so many intervals after its last result.
const STALE_INTERVALS: u32 = 3;
/// And for this long at least, so that short intervals survive a reconnect.
const STALE_MIN: Duration = Duration::from_secs(2);
/// How a failure stands in the ring of recent results.
const FAILED: u32 = u32::MAX;

/// What one probe found, as far as a row shows it.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub ok: bool,
    /// In the agent's time, as its record says.
    pub at: Wall,
    pub us: u64,
    pub why: Option<Why>,
    pub text: Box<str>,
}

impl Finding {
    pub fn of_sample(sample: &Sample) -> Finding {
        let failure = sample.failure.as_ref();
        Finding {
            ok: sample.ok(),
            at: sample.at,
            us: sample.us,
            why: failure.map(|f| f.why),
            text: failure.map(|f| f.text.as_str()).unwrap_or_default().into(),
        }
    }

    pub fn of_entry(entry: &TargetNow) -> Finding {
        let failure = entry.failure.as_ref();
        Finding {
            ok: entry.ok,
            at: entry.at,
            us: entry.us,
            why: failure.map(|f| f.0),
            text: failure.map(|f| f.1.as_str()).unwrap_or_default().into(),
        }
    }
}

/// The state that people were last told, in the manager's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    pub ok: bool,
    pub since: Wall,
}

/// A difference from what was last announced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Down { text: String },
    Up { after: Duration },
}

#[derive(Debug)]
pub(super) struct Cell {
    pub agent: Name,
    pub target: Target,
    pub last: Option<Finding>,
    /// When the state was last confirmed by a live finding.
    seen: Option<Wall>,
    announced: Option<Announced>,
    hour: Rolling,
    recent: VecDeque<u32>,
}

impl Cell {
    /// A row that keeps what `old` knew, unless its target now lives elsewhere.
    pub fn renewed(old: Option<Cell>, agent: Name, target: Target) -> Cell {
        match old {
            Some(old) if old.target.address == target.address => Cell { target, ..old },
            _ => Cell {
                agent,
                target,
                last: None,
                seen: None,
                announced: None,
                hour: Rolling::default(),
                recent: VecDeque::new(),
            },
        }
    }

    /// Counts a result in the statistics.
    pub fn count(&mut self, at: Wall, outcome: Outcome, now: Wall) {
        self.hour.add(at, outcome, now);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(match outcome {
            Outcome::Answered(us) => u32::try_from(us).unwrap_or(FAILED - 1).min(FAILED - 1),
            Outcome::Failed => FAILED,
        });
    }

    /// A finding that is not the newest. It is shown only while there is no newer one
    /// (`first`). A contrary one after the announced state began proves that this
    /// state began later, while nobody watched.
    pub fn history(&mut self, finding: Finding, at: Wall, first: bool) {
        if let (Some(told), Some(seen)) = (&mut self.announced, self.seen) {
            if told.ok != finding.ok && at > told.since && at <= seen {
                told.since = at;
            }
        }
        if first {
            self.last = Some(finding);
        }
    }

    /// The newest finding: its state holds as of `seen` and began at `since`, both in
    /// the manager's time. Returns what is worth telling.
    pub fn live(&mut self, finding: Finding, seen: Wall, since: Wall) -> Option<Change> {
        let (ok, text) = (finding.ok, finding.text.to_string());
        self.last = Some(finding);
        self.seen = Some(seen);
        let before = self.announced;
        match before {
            Some(told) if told.ok == ok => return None,
            Some(told) => {
                let since = since.max(told.since);
                self.announced = Some(Announced { ok, since });
            }
            None => self.announced = Some(Announced { ok, since }),
        }
        match before {
            _ if !ok => Some(Change::Down { text }),
            Some(told) => {
                let ms = since.0.saturating_sub(told.since.0);
                let after = Duration::from_millis(ms);
                Some(Change::Up { after })
            }
            None => None,
        }
    }

    /// Takes back what was announced before a restart.
    pub fn restore(&mut self, ok: bool, since: Wall) {
        self.announced = Some(Announced { ok, since });
        self.seen = None;
    }

    pub fn announced(&self) -> Option<Announced> {
        self.announced
    }

    /// The state now, given since when the agent's link is away.
    pub fn state(&self, away_since: Option<Wall>, now: Wall) -> State {
        let (Some(seen), Some(told)) = (self.seen, self.announced) else {
            let anything = self.last.is_some() || self.announced.is_some();
            return if anything {
                State::Stale
            } else {
                State::Unknown
            };
        };
        let holds = (self.target.interval * STALE_INTERVALS).max(STALE_MIN);
        let old = |at: Wall| u128::from(now.0.saturating_sub(at.0)) > holds.as_millis();
        match told.ok {
            _ if old(seen) || away_since.is_some_and(old) => State::Stale,
            true => State::Up,
            false => State::Down,
        }
    }

    /// When `state` began: for a stale row, when it was last heard of.
    pub fn since(&self, state: State) -> Option<Wall> {
        match state {
            State::Stale => self.seen.or(self.last.as_ref().map(|l| l.at)),
            State::Unknown => None,
            _ => self.announced.map(|told| told.since),
        }
    }

    pub fn hour(&self, now: Wall) -> Hour {
        self.hour.hour(now)
    }

    /// The latest results, oldest first.
    pub fn recent(&self) -> Vec<Outcome> {
        let outcome = |&us: &u32| match us {
            FAILED => Outcome::Failed,
            us => Outcome::Answered(us.into()),
        };
        self.recent.iter().map(outcome).collect()
    }
}
