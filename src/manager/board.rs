//! The status now: what every agent says about every target, the state that follows,
//! and the events that people are told.
//!
//! Pure: records, `now` messages and link changes come in, snapshots and events go out,
//! and time is an argument. All times it shows are the manager's: an agent whose clock is
//! off is corrected by its session's offset. Always: a state follows the newest results
//! only, so replayed history fills the statistics and never announces anything.

mod cell;
mod link;
mod snapshot;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use crate::health::State;
use crate::health::{News, Told, Verdict};
use crate::model::{Epoch, Name, Wall, Watched};
use crate::proto::TargetNow;
use crate::record::{Body, Record};
use crate::stats::Outcome;
use crate::units::{age_text, duration_text, latency_text};

use cell::{Cell, Finding};
pub use link::{CLOCK_OFF_MS, Link};
pub use snapshot::{AgentRow, Row, Snapshot, TargetRow, Widest};

/// Events kept for the view and for `drain_events`.
pub const EVENTS_MAX: usize = 200;
/// Latest results kept for a row's sparkline.
pub const RECENT_MAX: usize = 60;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A target went down as seen from an agent.
    Down,
    /// It answers, and takes too long for it.
    Slow,
    /// It answers again, or as fast as it should.
    Up,
    /// It changes so often that its ups and downs are not told.
    Flapping,
    /// It does so no longer.
    Steady,
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
}

/// The status of a whole fleet.
#[derive(Debug, Default)]
pub struct Board {
    /// In the fleet's order.
    names: Vec<Name>,
    agents: HashMap<Name, Agent>,
    /// Sorted by target, then agent.
    cells: Vec<Cell>,
    widest: Widest,
    events: VecDeque<Arc<Event>>,
    events_made: u64,
}

impl Board {
    /// A board without a fleet.
    pub fn new() -> Board {
        Board::default()
    }

    /// Makes a row for each target of each agent. What is known of a row stays as long as
    /// its target, address and agent stay; of an agent, as long as its name stays.
    pub fn set_fleet(&mut self, fleet: &[(Name, Vec<Watched>)]) {
        let mut known: HashMap<(Name, Name), Cell> = self
            .cells
            .drain(..)
            .map(|cell| ((cell.agent.clone(), cell.target.name.clone()), cell))
            .collect();
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
        let mut changes = Vec::new();
        for entry in entries {
            let Some(&row) = known.rows.get(&entry.target) else {
                continue;
            };
            let ours = |at| known.in_our_time(at, now);
            let finding = Finding::of_entry(entry);
            changes.push((row, self.cells[row].now(finding, entry.since, ours)));
        }
        for (row, news) in changes {
            self.announce(row, &news, now);
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
            cell.history(Finding::of_sample(sample), at, first);
            return;
        }
        // A live result proves the target measured now, whatever the agent's clock says.
        let connected = known.link.as_ref().is_some_and(|l| l.connected);
        let seen = if connected { now } else { at };
        let news = cell.result(Finding::of_sample(sample), at, seen);
        self.announce(row, &news, now);
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

    /// Puts back what was last told, from before a restart. It shows as stale until a
    /// `now` message or a live result confirms or changes it.
    pub fn restore(&mut self, agent: &Name, target: &Name, told: Told) {
        let row = self.agents.get(agent).and_then(|a| a.rows.get(target));
        if let Some(&row) = row {
            self.cells[row].restore(told);
        }
    }

    /// All that was put back of an agent was still so at `seen`.
    pub fn confirm(&mut self, agent: &Name, seen: Wall) {
        let rows = self.agents.get(agent).map(|a| a.rows.values());
        for &row in rows.into_iter().flatten() {
            self.cells[row].confirm(seen);
        }
    }

    /// What was last told, as (agent, target, what), for [`Board::restore`].
    pub fn announced(&self) -> impl Iterator<Item = (&Name, &Name, Told)> {
        let told = |cell: &Cell| cell.told();
        self.cells
            .iter()
            .filter_map(move |cell| Some((&cell.agent, &cell.target.name, told(cell)?)))
    }

    /// The events after number `since_no`, oldest first, as far as they are still kept.
    pub fn drain_events(&self, since_no: u64) -> Vec<Arc<Event>> {
        let skip = self.events.partition_point(|e| e.no <= since_no);
        self.events.iter().skip(skip).cloned().collect()
    }

    fn announce(&mut self, row: usize, news: &[News], now: Wall) {
        for news in news {
            let cell = &self.cells[row];
            let (kind, text) = story(cell, *news);
            let (target, agent) = (cell.target.name.clone(), cell.agent.clone());
            self.push_event(now, kind, text, Some(target), Some(agent));
        }
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

/// What to tell of a row's news: the kind, and a line.
fn story(cell: &Cell, news: News) -> (EventKind, String) {
    let (target, agent) = (&cell.target.name, &cell.agent);
    let of = |what: &str| format!("{target} {what} from {agent}");
    match news {
        News::Down => {
            let cause = cell.last.as_ref().map_or("", |last| &last.text);
            (EventKind::Down, link::with_cause(of("down"), cause))
        }
        News::Slow { outage } => {
            let took = cell.last.as_ref().map(|last| latency_text(last.us));
            let over = cell.rules.slow.map(duration_text);
            let mut text = of("slow");
            if let (Some(took), Some(over)) = (took, over) {
                text += &format!(": {took}, over {over}");
            }
            if let Some(outage) = outage {
                text += &format!(", after {} down", age_text(outage));
            }
            (EventKind::Slow, text)
        }
        News::Up { from, after } => {
            let slow = if from == Verdict::Slow { " slow" } else { "" };
            let text = format!("{} after {}{slow}", of("up"), age_text(after));
            (EventKind::Up, text)
        }
        News::Flapping { percent } => {
            let what = "of its latest results were changes";
            let text = format!("{}: {percent}% {what}", of("flapping"));
            (EventKind::Flapping, text)
        }
        News::Steady => (EventKind::Steady, of("steady again")),
    }
}

impl Agent {
    /// The agent's wall time as the manager's clock would have said it, never in the future.
    /// Small offsets are left alone, so that times agree with the records'.
    fn in_our_time(&self, at: Wall, now: Wall) -> Wall {
        let offset = self.link.as_ref().and_then(Link::clock_off_ms).unwrap_or(0);
        Wall(at.0.saturating_add_signed(offset.saturating_neg())).min(now)
    }

    /// Since when its link is away; `None` when it stands or nothing is known of it.
    fn away_since(&self) -> Option<Wall> {
        let link = self.link.as_ref()?;
        (!link.connected).then_some(link.since)
    }
}

#[cfg(test)]
mod tests;
