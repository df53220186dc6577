//! What a target's results add up to, as one agent sees it: up, slow or down, for how
//! long that holds without new results, and whether it is flapping.
//!
//! Pure: results come in with their times, states go out. Always: a state once decided
//! holds until enough results say otherwise; results before an outage began or ended
//! count for nothing afterwards.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::model::{RESULTS_MAX, Rules, Wall, micros};

mod flaps;

use flaps::Flaps;

/// A state holds for so many intervals after the last result.
const STALE_INTERVALS: u32 = 3;
/// And for this long at least, so that short intervals survive a reconnect.
const STALE_MIN: Duration = Duration::from_secs(2);

/// What is known of a target, in the order in which rows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Down,
    /// Fails, and so does what it is reached through.
    Unreachable,
    /// Answers, and takes too long for it.
    Slow,
    /// Something was known, and is too old to be true now.
    Stale,
    /// Nothing was ever seen, or nothing but failures that are too few to decide.
    Unknown,
    Up,
}

impl State {
    /// The word in tables and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Down => "down",
            State::Unreachable => "unreachable",
            State::Slow => "slow",
            State::Stale => "stale",
            State::Unknown => "unknown",
            State::Up => "up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a single result says, and what several of them decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Up,
    Slow,
    Down,
}

impl Verdict {
    /// What one result says by itself: an answer after so many microseconds, or none.
    fn of(answered_us: Option<u64>, rules: &Rules) -> Verdict {
        match (answered_us, rules.slow) {
            (None, _) => Verdict::Down,
            (Some(us), Some(limit)) if us > micros(limit) => Verdict::Slow,
            (Some(_), _) => Verdict::Up,
        }
    }

    /// Whether it answers.
    pub fn answers(self) -> bool {
        self != Verdict::Down
    }
}

impl From<Verdict> for State {
    fn from(verdict: Verdict) -> State {
        match verdict {
            Verdict::Up => State::Up,
            Verdict::Slow => State::Slow,
            Verdict::Down => State::Down,
        }
    }
}

/// What is known of a target: kept on disk over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub verdict: Verdict,
    pub since: Wall,
    /// That it is flapping, so that the verdict is not to be relied on.
    pub flapping: bool,
}

/// Equal results in a row, as they come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How long the answer took; `None` for failures.
    pub answered_us: Option<u64>,
    /// How many there were: at least 1.
    pub times: u32,
    /// When the first of them began.
    pub since: Wall,
    /// When the last of them proved how things are.
    pub seen: Wall,
}

/// How far results have come that may change a state: `1/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub have: u32,
    pub need: u32,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.have, self.need)
    }
}

/// One target as one agent sees it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// And since when it is so.
    decided: Option<(Verdict, Wall)>,
    /// When a result last proved how things are.
    seen: Option<Wall>,
    /// The latest results that may still decide something, oldest first.
    recent: VecDeque<(Verdict, Wall)>,
    flaps: Flaps,
    /// What the records add up to that arrive late.
    past: Option<Box<Health>>,
}

impl Health {
    /// Takes the newest results.
    pub fn take(&mut self, rules: &Rules, run: Run) {
        self.seen = Some(run.seen);
        self.past = None;
        self.push(rules, &run);
    }

    /// The failures since the latest answer had an excuse: they say nothing of flapping.
    pub fn excuse(&mut self) {
        self.flaps.excuse();
    }

    /// What is known still held at `seen`, though there is no new result.
    pub fn confirm(&mut self, seen: Wall) {
        self.seen = self.seen.max(Some(seen));
    }

    /// Takes a result that arrived late, after newer ones. It changes no state. But where
    /// such results show that the target was otherwise for a while after its state seemed
    /// to begin, that state began later. Before there are newer ones it says what is to be
    /// known of flapping. Gives back an outage that is over, when such results tell of one:
    /// from when, until when.
    pub fn late(
        &mut self,
        rules: &Rules,
        answered_us: Option<u64>,
        at: Wall,
    ) -> Option<(Wall, Wall)> {
        let Some(seen) = self.seen else {
            self.flaps.remember(answered_us.is_none());
            return None;
        };
        let (verdict, since) = self.decided.filter(|_| at <= seen)?;
        let run = Run {
            answered_us,
            times: 1,
            since: at,
            seen: at,
        };
        let past = self.past.get_or_insert_default();
        let before = past.decided;
        past.push(rules, &run);
        let after = past.decided;
        let otherwise = |v: Verdict| v.answers() != verdict.answers();
        let was = after.is_some_and(|(past, _)| otherwise(past));
        if was && otherwise(Verdict::of(answered_us, rules)) && at > since {
            self.decided = Some((verdict, at));
        }
        let (began, ended) = (before?, after?);
        let over = !began.0.answers() && ended.0.answers();
        over.then_some((began.1, ended.1))
    }

    /// Takes back what was known before a restart. The state is that, and is stale until a
    /// result confirms it or [`Health::confirm`] does.
    pub fn restore(&mut self, known: Known) {
        self.decided = Some((known.verdict, known.since));
        self.flaps.set(known.flapping);
        self.seen = None;
    }

    /// Whether it was decided that it answers.
    pub fn answers(&self) -> bool {
        self.decided.is_some_and(|(verdict, _)| verdict.answers())
    }

    /// What is to be kept over a restart.
    pub fn known(&self) -> Option<Known> {
        let flapping = self.flaps.flapping();
        self.decided.map(|(verdict, since)| Known {
            verdict,
            since,
            flapping,
        })
    }

    /// How much it changes, in percent of what is possible.
    pub fn flap_percent(&self) -> u32 {
        self.flaps.percent()
    }

    /// When a result last proved how things are; `None` since a restart.
    pub fn seen(&self) -> Option<Wall> {
        self.seen
    }

    /// Since when what was decided is so, fresh or stale.
    pub fn since(&self) -> Option<Wall> {
        self.decided.map(|(_, since)| since)
    }

    /// The state now of a target probed every `interval`, given since when its agent is away.
    pub fn state(&self, interval: Duration, away_since: Option<Wall>, now: Wall) -> State {
        let Some(seen) = self.seen else {
            let anything = self.decided.is_some() || self.flaps.any();
            return if anything {
                State::Stale
            } else {
                State::Unknown
            };
        };
        let holds = (interval * STALE_INTERVALS).max(STALE_MIN);
        let old = |at: Wall| now.since(at) > holds;
        match self.decided {
            _ if old(seen) || away_since.is_some_and(old) => State::Stale,
            Some((verdict, _)) => verdict.into(),
            None => State::Unknown,
        }
    }

    /// Whether it changes too often to be relied on.
    pub fn flapping(&self) -> bool {
        self.flaps.flapping()
    }

    /// How far the latest results have come that say otherwise; `None` when none does.
    pub fn undecided(&self, rules: &Rules) -> Option<Progress> {
        let newest = self.recent.back()?.0;
        let (have, need) = match self.decided {
            Some((Verdict::Down, _)) => (self.tail(Verdict::answers).0, rules.up_after),
            decided => {
                let failures = match rules.down_after.in_a_row() {
                    true => self.tail(|v| !v.answers()).0,
                    false => self.failures(rules).0,
                };
                match decided.filter(|(verdict, _)| failures == 0 && *verdict != newest) {
                    Some(_) => (self.tail(|v| v == newest).0, rules.up_after),
                    None => (failures, rules.down_after.failures()),
                }
            }
        };
        let have = have.min(need);
        (have > 0).then_some(Progress { have, need })
    }

    fn push(&mut self, rules: &Rules, run: &Run) {
        let verdict = Verdict::of(run.answered_us, rules);
        let back = rules.down_after.within().max(rules.up_after);
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        // No rule looks back on more.
        let times = run.times.min(RESULTS_MAX);
        for _ in 0..times {
            self.recent.push_back((verdict, run.since));
            self.flaps.push(!verdict.answers());
        }
        while self.recent.len() > back {
            self.recent.pop_front();
        }
        let Some((new, since)) = self.decision(rules) else {
            return;
        };
        let before = self.decided;
        let since = before.map_or(since, |(_, began)| since.max(began));
        self.decided = Some((new, since));
        if before.is_some_and(|(old, _)| old.answers() != new.answers()) {
            self.recent.clear();
        }
    }

    /// What the latest results change, and since when it is so.
    fn decision(&self, rules: &Rules) -> Option<(Verdict, Wall)> {
        let (newest, at) = *self.recent.back()?;
        let decided = self.decided.map(|(verdict, _)| verdict);
        let (have, first) = match (decided, newest) {
            (None, Verdict::Up | Verdict::Slow) => return Some((newest, at)),
            (Some(Verdict::Down), Verdict::Down) => return None,
            (_, Verdict::Down) => {
                let (have, first) = self.failures(rules);
                let enough = have >= rules.down_after.failures();
                return first.filter(|_| enough).map(|at| (newest, at));
            }
            (Some(Verdict::Down), _) => self.tail(Verdict::answers),
            (Some(same), _) if same == newest => return None,
            (Some(_), _) => self.tail(|v| v == newest),
        };
        let first = first.filter(|_| have >= rules.up_after);
        first.map(|at| (newest, at))
    }

    /// How many of the results that count are failures, and when the first of those began.
    fn failures(&self, rules: &Rules) -> (u32, Option<Wall>) {
        let within = usize::try_from(rules.down_after.within()).unwrap_or(usize::MAX);
        let counted = self.recent.iter().rev().take(within);
        counted.filter(|(v, _)| !v.answers()).fold_run()
    }

    /// How many results at the end are so in a row, and when the first of those began.
    fn tail(&self, so: impl Fn(Verdict) -> bool) -> (u32, Option<Wall>) {
        self.recent
            .iter()
            .rev()
            .take_while(|(v, _)| so(*v))
            .fold_run()
    }
}

/// Counting results from the newest back.
trait FoldRun {
    fn fold_run(self) -> (u32, Option<Wall>);
}

impl<'a, I: Iterator<Item = &'a (Verdict, Wall)>> FoldRun for I {
    fn fold_run(self) -> (u32, Option<Wall>) {
        self.fold((0, None), |(count, _), (_, at)| (count + 1, Some(*at)))
    }
}

#[cfg(test)]
mod tests;
