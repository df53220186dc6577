//! One row of the board: what one agent knows of one target, and its figures.
//!
//! A finding is live (the newest there is) or history. Only live ones feed the target's
//! health, which says what its state is.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::{RECENT_MAX, State};
use crate::health::{Health, Known, Progress, Run};
use crate::model::{Name, Rules, Sample, Target, Wall, Watched, Why, millis};
use crate::proto::TargetNow;
use crate::stats::{Hour, Outcome, Rolling};
use crate::units::{Host, HostPort};

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
    fn answered_us(&self) -> Option<u64> {
        self.ok.then_some(self.us)
    }

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

#[derive(Debug)]
pub(super) struct Cell {
    pub agent: Name,
    /// As the fleet has it, with its name as address.
    pub target: Target,
    /// Which address of the target this row is of, where each has its own.
    pub each: Option<IpAddr>,
    pub rules: Rules,
    pub last: Option<Finding>,
    /// When the latest probe began that was answered, in the manager's time.
    pub answered: Option<Wall>,
    /// Since when the row is there.
    pub born: Option<Wall>,
    /// It is probed no more.
    pub ended: bool,
    /// So many more failures it takes until it is down, because those so far had an excuse.
    pub owed: u32,
    health: Health,
    hour: Rolling,
    recent: VecDeque<u32>,
}

impl Cell {
    /// A row of which nothing is known.
    pub fn new(agent: Name, watched: Watched, each: Option<IpAddr>) -> Cell {
        let Watched { target, rules } = watched;
        Cell {
            agent,
            target,
            each,
            rules,
            last: None,
            answered: None,
            born: None,
            ended: false,
            owed: 0,
            health: Health::default(),
            hour: Rolling::default(),
            recent: VecDeque::new(),
        }
    }

    /// The row as the fleet has it now; what it knew stays.
    pub fn renewed(self, watched: Watched) -> Cell {
        Cell {
            target: watched.target,
            rules: watched.rules,
            ..self
        }
    }

    /// Where it stands among the others.
    pub fn place(&self) -> (&Name, &Name, Option<IpAddr>) {
        (&self.target.name, &self.agent, self.each)
    }

    /// What is probed.
    pub fn address(&self) -> HostPort {
        let HostPort { host, port } = &self.target.address;
        HostPort {
            host: self.each.map_or_else(|| host.clone(), Host::Ip),
            port: *port,
        }
    }

    /// Who sees it, and which address: `attic`, `attic at 192.0.2.7`.
    pub fn seen_by(&self) -> String {
        match self.each {
            Some(ip) => format!("{} at {ip}", self.agent),
            None => self.agent.to_string(),
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
    /// (`first`), and corrects at most since when the state holds. Gives back an outage
    /// that is over and was not known: from when, until when.
    pub fn history(&mut self, finding: Finding, at: Wall, first: bool) -> Option<(Wall, Wall)> {
        let outage = self.health.late(&self.rules, finding.answered_us(), at);
        if first {
            self.last = Some(finding);
        }
        outage
    }

    /// The newest result, of a probe that began at `at` and proves how things are as of
    /// `seen`, both in the manager's time.
    pub fn result(&mut self, finding: Finding, at: Wall, seen: Wall) {
        let run = Run {
            answered_us: finding.answered_us(),
            times: 1,
            since: at,
            seen,
        };
        self.take(finding, at, run);
    }

    fn take(&mut self, finding: Finding, at: Wall, run: Run) {
        match finding.ok {
            true => self.answered = self.answered.max(Some(at)),
            false => self.owed = self.owed.saturating_sub(run.times),
        }
        self.last = Some(finding);
        self.health.take(&self.rules, run);
    }

    /// What it fails for has an excuse: it will have to fail as often again without one.
    pub fn excuse(&mut self) {
        self.owed = self.rules.down_after.failures();
        self.health.excuse();
    }

    /// The newest result as an agent tells it that may have had the same one for a while:
    /// since `began`, in its own time. It counts for as many results as fit in between,
    /// less those that are known. `ours` turns the agent's time into the manager's.
    pub fn now(&mut self, finding: Finding, began: Wall, ours: impl Fn(Wall) -> Wall) {
        let seen = ours(finding.at);
        let live = self.health.seen().is_some();
        let known = self.last.as_ref().filter(|_| live);
        // A clock that stands still gives different results the same time.
        if known.is_some_and(|known| (known.at, known.ok) == (finding.at, finding.ok)) {
            self.health.confirm(seen);
            return;
        }
        let known = known.filter(|known| (began..finding.at).contains(&known.at));
        let (from, before, since) = match known {
            Some(known) => (known.at, 0, finding.at),
            None => (began, 1, began),
        };
        let more = fitting(finding.at.since(from), self.target.interval);
        let answered_us = finding.answered_us();
        // That it answered all the while is told, how fast is told of the last answer alone.
        let (times, since) = match answered_us.is_some() && self.health.answers() {
            true => (1, finding.at),
            false => (more.saturating_add(before).max(1), since),
        };
        let run = Run {
            answered_us,
            times,
            since: ours(since),
            seen,
        };
        self.take(finding, seen, run);
    }

    /// What was known before a restart still held at `seen`.
    pub fn confirm(&mut self, seen: Wall) {
        if self.health.known().is_some() {
            self.health.confirm(seen);
        }
    }

    /// Takes back what was known before a restart.
    pub fn restore(&mut self, known: Known) {
        self.health.restore(known);
    }

    pub fn known(&self) -> Option<Known> {
        self.health.known()
    }

    /// Whether there was a result since it is there.
    pub fn heard(&self) -> bool {
        self.health.seen().is_some()
    }

    /// How much it changes, in percent of what is possible.
    pub fn flap_percent(&self) -> u32 {
        self.health.flap_percent()
    }

    /// The state now, given since when the agent's link is away.
    pub fn state(&self, away_since: Option<Wall>, now: Wall) -> State {
        self.health.state(self.target.interval, away_since, now)
    }

    /// When `state` began: for a stale row, when it was last heard of.
    pub fn since(&self, state: State) -> Option<Wall> {
        let seen = self.health.seen();
        match state {
            State::Stale => seen.or(self.last.as_ref().map(|l| l.at)),
            State::Unknown => None,
            _ => self.health.since(),
        }
    }

    /// Whether it changes too often to be relied on; of a stale row nobody knows.
    pub fn flapping(&self, state: State) -> bool {
        state != State::Stale && self.health.flapping()
    }

    /// How far results have come that say other than `state`.
    pub fn undecided(&self, state: State) -> Option<Progress> {
        let progress = self.health.undecided(&self.rules);
        progress.filter(|_| state != State::Stale)
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

/// How many intervals fit into a time; a grid's ticks are a little off.
fn fitting(time: Duration, interval: Duration) -> u32 {
    let (ms, interval_ms) = (millis(time), millis(interval));
    let fits = ms.saturating_add(interval_ms / 2) / interval_ms.max(1);
    u32::try_from(fits).unwrap_or(u32::MAX)
}
