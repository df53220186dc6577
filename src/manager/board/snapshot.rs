//! The board at one moment, for drawing and for `status`: rows in the order in which
//! they matter, down first. Percentiles are worked out only for the rows asked for.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Cell;
use super::{Agent, Board, Event, Group, Link, State};
use crate::health::{Known, Progress};
use crate::manager::quiet::Cause;
use crate::model::{DownWhen, Name, Wall, Why};
use crate::quorum::verdict;
use crate::stats::Outcome;
use crate::units::HostPort;

/// What one agent says about one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub target: Name,
    /// What is probed: where each address of a target has a row, that address.
    pub address: HostPort,
    /// The target's address as the fleet has it.
    pub of: HostPort,
    pub agent: Name,
    pub interval: Duration,
    /// What it has to say on the target.
    pub state: State,
    /// When the state began; for a stale row, when it was last heard of. The manager's time.
    pub since: Option<Wall>,
    /// How far the latest results have come that say otherwise.
    pub undecided: Option<Progress>,
    /// It changes so often that the state is not to be relied on.
    pub flapping: bool,
    /// When the latest probe started, in the agent's time.
    pub at: Option<Wall>,
    /// How long it took, answered or not.
    pub us: Option<u64>,
    /// Why it failed; `None` when it was answered.
    pub why: Option<Why>,
    /// Why it failed, for people; from outside, not escaped.
    pub text: Box<str>,
    /// Of the answers in the last hour.
    pub p50_us: Option<u64>,
    pub p95_us: Option<u64>,
    /// The fraction of the last hour's probes that failed.
    pub loss: Option<f64>,
    /// The latest results, oldest first.
    pub recent: Vec<Outcome>,
    /// How many such rows make the target down.
    pub down_when: DownWhen,
    /// What was told of the target.
    pub told: Option<Known>,
    /// Why nobody is to be alerted of the target.
    pub quiet: Option<Cause>,
}

/// An agent and its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    pub name: Name,
    /// `None` before the first try.
    pub link: Option<Link>,
    /// Since when it is cut off from all its anchors.
    pub cut_off: Option<Wall>,
}

/// The longest names of all rows, in bytes, so that columns keep their width over all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Widest {
    pub target: usize,
    pub address: usize,
    pub agent: usize,
}

/// The board at one moment. Targets are counted by verdict.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub now: Wall,
    /// Down first, then unreachable, slow and flapping, stale, unknown and up; by target and
    /// agent within.
    pub rows: Vec<Row>,
    /// Which row of all the first one here is.
    pub first: usize,
    /// How many rows there are in all.
    pub row_total: usize,
    pub widest: Widest,
    /// In the fleet's order.
    pub agents: Vec<AgentRow>,
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    pub up: usize,
    pub slow: usize,
    pub down: usize,
    pub total: usize,
}

/// A target as all its agents together see it.
#[derive(Debug, Clone)]
pub struct TargetRow<'a> {
    pub name: &'a Name,
    pub address: &'a HostPort,
    pub state: State,
    /// As it was told; else the latest change among the agents that agree with the verdict.
    pub since: Option<Wall>,
    /// The latest of the agents that agree.
    pub last_us: Option<u64>,
    /// Why that one failed; `None` where the target answers.
    pub why: Option<Why>,
    pub text: &'a str,
    pub flapping: bool,
    pub quiet: Option<Cause>,
    pub agents: Vec<&'a Row>,
}

impl Widest {
    pub(super) fn of(cells: &[Cell]) -> Widest {
        cells.iter().fold(Widest::default(), |w, cell| Widest {
            target: w.target.max(cell.target.name.as_str().len()),
            address: w.address.max(cell.address().to_string().len()),
            agent: w.agent.max(cell.agent.as_str().len()),
        })
    }
}

impl Board {
    /// Everything, with all rows.
    pub fn snapshot(&self, now: Wall) -> Snapshot {
        self.snapshot_page(now, 0, usize::MAX)
    }

    /// Everything, with at most `count` rows from row `first` on.
    pub fn snapshot_page(&self, now: Wall, first: usize, count: usize) -> Snapshot {
        let voices = self.voices(now);
        let states = &voices.rows;
        let mut order: Vec<usize> = (0..states.len()).collect();
        // Stable, and the cells are sorted by name.
        order.sort_by_key(|&i| match self.cells[i].flapping(states[i]) {
            true => states[i].min(State::Slow),
            false => states[i],
        });
        let rows = order.iter().skip(first).take(count);
        let count_of = |state| voices.verdicts.iter().filter(|v| **v == state).count();
        Snapshot {
            now,
            rows: rows.map(|&i| self.row(i, states[i], now)).collect(),
            first: first.min(states.len()),
            row_total: states.len(),
            widest: self.widest,
            agents: self.names.iter().map(|n| self.agent_row(n)).collect(),
            events: self.events.iter().cloned().collect(),
            up: count_of(State::Up),
            slow: count_of(State::Slow),
            down: count_of(State::Down),
            total: self.groups.len(),
        }
    }

    pub(super) fn state(&self, cell: &Cell, now: Wall) -> State {
        let away = self.agents.get(&cell.agent).and_then(Agent::away_since);
        cell.state(away, now)
    }

    fn agent_row(&self, name: &Name) -> AgentRow {
        let agent = self.agents.get(name);
        AgentRow {
            name: name.clone(),
            link: agent.and_then(|a| a.link.clone()),
            cut_off: agent.and_then(|a| a.cut_off),
        }
    }

    fn row(&self, i: usize, state: State, now: Wall) -> Row {
        let cell = &self.cells[i];
        let group = self.groups.partition_point(|g| g.cells.end <= i);
        row(cell, self.groups.get(group), state, now)
    }
}

fn row(cell: &Cell, group: Option<&Group>, state: State, now: Wall) -> Row {
    let last = cell.last.as_ref();
    let hour = cell.hour(now);
    Row {
        target: cell.target.name.clone(),
        address: cell.address(),
        of: cell.target.address.clone(),
        agent: cell.agent.clone(),
        interval: cell.target.interval,
        state,
        since: cell.since(state),
        undecided: cell.undecided(state),
        flapping: cell.flapping(state),
        at: last.map(|l| l.at),
        us: last.map(|l| l.us),
        why: last.and_then(|l| l.why),
        text: last.map(|l| l.text.clone()).unwrap_or_default(),
        p50_us: hour.p50_us,
        p95_us: hour.p95_us,
        loss: hour.loss,
        recent: cell.recent(),
        down_when: cell.rules.down_when,
        told: group.and_then(|group| group.standing.told()),
        quiet: group.and_then(|group| group.quiet),
    }
}

impl Snapshot {
    /// The rows here, put together by target, by name. Whole only for a whole snapshot.
    pub fn targets(&self) -> Vec<TargetRow<'_>> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| (&a.target, &a.agent).cmp(&(&b.target, &b.agent)));
        rows.chunk_by(|a, b| a.target == b.target)
            .map(target_row)
            .collect()
    }

    /// How many agents are connected.
    pub fn connected(&self) -> usize {
        let connected = |a: &&AgentRow| a.link.as_ref().is_some_and(|l| l.connected);
        self.agents.iter().filter(connected).count()
    }
}

fn target_row<'a>(rows: &[&'a Row]) -> TargetRow<'a> {
    let state = verdict(rows[0].down_when, rows.iter().map(|r| r.state));
    let agree = rows.iter().filter(|r| r.state == state);
    let last = agree.clone().max_by_key(|r| r.at);
    let told = rows[0]
        .told
        .filter(|told| State::from(told.verdict) == state);
    // One failure is no reason for an answering target's state.
    let cause = last.filter(|_| !matches!(state, State::Up | State::Slow));
    TargetRow {
        name: &rows[0].target,
        address: &rows[0].of,
        state,
        since: told.map_or_else(|| agree.filter_map(|r| r.since).max(), |t| Some(t.since)),
        last_us: last.and_then(|r| r.us),
        why: cause.and_then(|r| r.why),
        text: cause.map(|r| &*r.text).unwrap_or_default(),
        flapping: rows[0].told.is_some_and(|told| told.flapping),
        quiet: rows[0].quiet,
        agents: rows.to_vec(),
    }
}
