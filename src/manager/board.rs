//! The status now: what every agent says about every target, the verdict that follows,
//! and the events that people are told.
//!
//! Pure: records, `now` messages and link changes come in, [`Board::settle`] makes verdicts
//! and events of them, snapshots go out, and time is an argument. All times it shows are the manager's: an agent whose clock is
//! off is corrected by its session's offset. Always: a state follows the newest results
//! only, so replayed history fills the statistics and never announces anything.

mod cell;
mod link;
mod settle;
mod snapshot;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::config::Fleet;
use crate::health::Known;
pub use crate::health::State;
use crate::model::{Epoch, Name, Wall, Watched};
use crate::proto::TargetNow;
use crate::record::{Body, Record};
use crate::stats::Outcome;

use cell::{Cell, Finding};
pub use link::{CLOCK_OFF_MS, Link};
use settle::Group;
pub use settle::Quiet;
pub use snapshot::{AgentRow, Row, Snapshot, TargetRow, Widest};

/// Events kept for the view and for `drain_events`.
pub const EVENTS_MAX: usize = 200;
/// Latest results kept for a row's sparkline.
pub const RECENT_MAX: usize = 60;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A target went down, by the verdict over its agents.
    Down,
    /// It answers, and takes too long for it.
    Slow,
    /// It answers again, or as fast as it should.
    Up,
    /// It changes so often that its ups and downs are not told.
    Flapping,
    /// It does so no longer.
    Steady,
    /// It was down while those who saw it could not tell, and is so no longer.
    Late,
    /// All of an agent's anchors are down: its failures say nothing.
    CutOff,
    /// One of them answers again.
    Rejoined,
    /// An agent's link stands.
    Connected,
    /// An agent cannot be reached.
    Away,
    /// Something else that the manager has noticed.
    Note,
    /// An agent reports trouble of its own, or refused its configuration.
    Trouble,
    /// That trouble is over.
    Recovered,
}

/// Something people are told, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From 1, rising without holes.
    pub no: u64,
    /// When the manager learned of it.
    pub at: Wall,
    pub kind: EventKind,
    /// The whole story in one line. Holds text from outside: escape it for its output form.
    pub text: String,
    pub target: Option<Name>,
    /// Whom it is about, or the only one that sees the target.
    pub agent: Option<Name>,
}

/// What is known of one agent, beside its rows.
#[derive(Debug, Default)]
struct Agent {
    link: Option<Link>,
    /// What people were last told about the link.
    told: link::Told,
    /// The newest result that the state follows.
    newest: Option<(Epoch, u64)>,
    /// Its rows, by target.
    rows: HashMap<Name, usize>,
    /// Targets that answer whenever its own network works.
    anchors: Vec<Name>,
    /// Since when it is told to be cut off from all of them.
    cut_off: Option<Wall>,
}

/// The status of a whole fleet.
#[derive(Debug, Default)]
pub struct Board {
    /// In the fleet's order.
    names: Vec<Name>,
    agents: HashMap<Name, Agent>,
    /// Sorted by target, then agent.
    cells: Vec<Cell>,
    /// The targets by name, and what is known of each.
    targets: Vec<Name>,
    groups: Vec<Group>,
    /// Which of them come first: a target comes after those it depends on.
    order: Vec<usize>,
    /// Outages that were over before they were known: the row, from when, until when.
    late: Vec<(usize, Wall, Wall)>,
    widest: Widest,
    events: VecDeque<Arc<Event>>,
    events_made: u64,
}

impl Board {
    /// A board without a fleet.
    pub fn new() -> Board {
        Board::default()
    }

    /// Makes the rows of a fleet, as [`Board::set_fleet`] does, and knows what depends on what.
    pub fn show(&mut self, fleet: &Fleet) {
        let watched = |agent: &Name| (agent.clone(), fleet.watched_by(agent));
        let agents = fleet.agents.iter();
        self.set_fleet(&agents.map(|a| watched(&a.name)).collect::<Vec<_>>());
        for agent in &fleet.agents {
            self.set_anchors(&agent.name, agent.anchors.clone());
        }
        let dependent = fleet.targets.iter().filter(|t| !t.depends_on.is_empty());
        for target in dependent {
            self.set_parents(&target.name, &target.depends_on);
        }
        self.set_order();
    }

    /// Makes a row for each target of each agent. What is known of a row stays as long as
    /// its target, address and agent stay; of an agent, as long as its name stays.
    pub fn set_fleet(&mut self, fleet: &[(Name, Vec<Watched>)]) {
        let mut known: HashMap<(Name, Name), Cell> = self
            .cells
            .drain(..)
            .map(|cell| ((cell.agent.clone(), cell.target.name.clone()), cell))
            .collect();
        self.late.clear();
        for (agent, targets) in fleet {
            for watched in targets {
                let old = known.remove(&(agent.clone(), watched.target.name.clone()));
                self.cells
                    .push(Cell::renewed(old, agent.clone(), watched.clone()));
            }
        }
        self.cells
            .sort_by(|a, b| (&a.target.name, &a.agent).cmp(&(&b.target.name, &b.agent)));
        self.names = fleet.iter().map(|(agent, _)| agent.clone()).collect();
        let mut old = std::mem::take(&mut self.agents);
        for name in &self.names {
            let agent = old.remove(name).unwrap_or_default();
            self.agents.insert(name.clone(), agent);
        }
        self.index();
        self.regroup();
    }

    fn index(&mut self) {
        self.agents.values_mut().for_each(|a| a.rows.clear());
        for (i, cell) in self.cells.iter().enumerate() {
            if let Some(agent) = self.agents.get_mut(&cell.agent) {
                agent.rows.insert(cell.target.name.clone(), i);
            }
        }
        self.widest = Widest::of(&self.cells);
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.cells.len()
    }

    /// The state follows records of this epoch after `seq`; what lies before is history.
    pub fn now_begin(&mut self, agent: &Name, epoch: Epoch, seq: u64) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.newest = match agent.newest {
                Some((same, mark)) if same == epoch => Some((epoch, mark.max(seq))),
                _ => Some((epoch, seq)),
            };
        }
    }

    /// Takes the latest states that an agent knows as of its record `seq`. Entries older
    /// than the newest result already seen, and those of unknown targets, are left out.
    pub fn now_message(
        &mut self,
        agent: &Name,
        epoch: Epoch,
        seq: u64,
        entries: &[TargetNow],
        now: Wall,
    ) {
        self.now_begin(agent, epoch, seq);
        let Some(known) = self.agents.get(agent) else {
            return;
        };
        if known.newest != Some((epoch, seq)) {
            return;
        }
        for entry in entries {
            let Some(&row) = known.rows.get(&entry.target) else {
                continue;
            };
            let ours = |at| known.in_our_time(at, now);
            self.cells[row].now(Finding::of_entry(entry), entry.since, ours);
        }
    }

    /// Takes a record as it was stored. A result counts in the statistics whatever its age;
    /// the state follows it only when it is newer than what the agent's mark says.
    pub fn record(&mut self, agent: &Name, epoch: Epoch, record: &Record, now: Wall) {
        let Some(known) = self.agents.get_mut(agent) else {
            return;
        };
        let live = matches!(known.newest, Some((e, mark)) if e == epoch && record.seq > mark);
        if live {
            known.newest = Some((epoch, record.seq));
        }
        let Body::Result(sample) = &record.body else {
            return;
        };
        let Some(&row) = known.rows.get(&sample.target) else {
            return;
        };
        let at = known.in_our_time(sample.at, now);
        let cell = &mut self.cells[row];
        let outcome = match sample.failure {
            None => Outcome::Answered(sample.us),
            Some(_) => Outcome::Failed,
        };
        cell.count(at, outcome, now);
        if !live {
            let first = known.newest.is_none();
            let outage = cell.history(Finding::of_sample(sample), at, first);
            let room = self.late.len() < EVENTS_MAX;
            if let Some((began, ended)) = outage.filter(|_| room) {
                self.late.push((row, began, ended));
            }
            return;
        }
        // A live result proves the target measured now, whatever the agent's clock says.
        let connected = known.link.as_ref().is_some_and(|l| l.connected);
        let seen = if connected { now } else { at };
        cell.result(Finding::of_sample(sample), at, seen);
    }

    /// Takes what is known of an agent's link; tells of connects, losses and troubles.
    pub fn set_link(&mut self, agent: &Name, link: Link, now: Wall) {
        let Some(known) = self.agents.get_mut(agent) else {
            return;
        };
        let stories = link::stories(agent, known.link.as_ref(), &link, &mut known.told, now);
        known.link = Some(link);
        for (kind, text) in stories {
            self.push_event(now, kind, text, None, Some(agent.clone()));
        }
    }

    /// Puts back what an agent was known to see before a restart. It shows as stale until
    /// a `now` message or a live result confirms or changes it.
    pub fn restore(&mut self, agent: &Name, target: &Name, known: Known) {
        let row = self.agents.get(agent).and_then(|a| a.rows.get(target));
        if let Some(&row) = row {
            self.cells[row].restore(known);
        }
    }

    /// All that was put back of an agent was still so at `seen`.
    pub fn confirm(&mut self, agent: &Name, seen: Wall) {
        let rows = self.agents.get(agent).map(|a| a.rows.values());
        for &row in rows.into_iter().flatten() {
            self.cells[row].confirm(seen);
        }
    }

    /// What agents are known to see, as (agent, target, what), for [`Board::restore`].
    pub fn known(&self) -> impl Iterator<Item = (&Name, &Name, Known)> {
        let known = |cell: &Cell| cell.known();
        self.cells
            .iter()
            .filter_map(move |cell| Some((&cell.agent, &cell.target.name, known(cell)?)))
    }

    /// The events after number `since_no`, oldest first, as far as they are still kept.
    pub fn drain_events(&self, since_no: u64) -> Vec<Arc<Event>> {
        let skip = self.events.partition_point(|e| e.no <= since_no);
        self.events.iter().skip(skip).cloned().collect()
    }

    /// Tells something that is no change of state.
    pub fn note(&mut self, text: String, now: Wall) {
        self.push_event(now, EventKind::Note, text, None, None);
    }

    fn push_event(
        &mut self,
        at: Wall,
        kind: EventKind,
        text: String,
        target: Option<Name>,
        agent: Option<Name>,
    ) {
        self.events_made += 1;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Arc::new(Event {
            no: self.events_made,
            at,
            kind,
            text,
            target,
            agent,
        }));
    }
}

impl Agent {
    /// The agent's wall time as the manager's clock would have said it, never in the future.
    /// Small offsets are left alone, so that times agree with the records'.
    fn in_our_time(&self, at: Wall, now: Wall) -> Wall {
        let offset = self.link.as_ref().and_then(Link::clock_off_ms).unwrap_or(0);
        Wall(at.0.saturating_add_signed(offset.saturating_neg())).min(now)
    }

    /// Whether people were told that it is away.
    fn is_told_away(&self) -> bool {
        self.told == link::Told::Away
    }

    /// Since when its link is away; `None` when it stands or nothing is known of it.
    fn away_since(&self) -> Option<Wall> {
        let link = self.link.as_ref()?;
        (!link.connected).then_some(link.since)
    }
}

#[cfg(test)]
mod tests;
