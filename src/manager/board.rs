//! The status now: what every agent says about every target, the verdict that follows,
//! and the events that people are told.
//!
//! Pure: records, `now` messages and link changes come in, [`Board::settle`] makes verdicts
//! and events of them, snapshots go out, and time is an argument. All times it shows are the manager's: an agent whose clock is
//! off is corrected by its session's offset. Always: a state follows the newest results
//! only, so replayed history fills the statistics and never announces anything.

mod cell;
mod facts;
mod late;
mod link;
mod rows;
mod settle;
mod snapshot;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::alert::AlertEvent;
pub use crate::health::State;
use crate::manager::state::Announced;
use crate::model::{Epoch, Name, Wall};
use crate::proto::TargetNow;
use crate::record::{Body, Record};
use crate::stats::Outcome;

use cell::{Cell, Finding};
pub use facts::{Condition, Fact, Facts, Look};
use late::{Late, Outage};
pub use link::{CLOCK_OFF_MS, Link};
use settle::Group;
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

impl EventKind {
    /// All there are.
    pub const ALL: [EventKind; 13] = [
        EventKind::Down,
        EventKind::Slow,
        EventKind::Up,
        EventKind::Flapping,
        EventKind::Steady,
        EventKind::Late,
        EventKind::CutOff,
        EventKind::Rejoined,
        EventKind::Connected,
        EventKind::Away,
        EventKind::Note,
        EventKind::Trouble,
        EventKind::Recovered,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Down => "down",
            EventKind::Slow => "slow",
            EventKind::Up => "up",
            EventKind::Flapping => "flapping",
            EventKind::Steady => "steady",
            EventKind::Late => "late",
            EventKind::CutOff => "cut_off",
            EventKind::Rejoined => "rejoined",
            EventKind::Connected => "connected",
            EventKind::Away => "away",
            EventKind::Note => "note",
            EventKind::Trouble => "trouble",
            EventKind::Recovered => "recovered",
        }
    }

    /// The kind that a word is for.
    pub fn from_word(word: &str) -> Option<EventKind> {
        EventKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
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
    /// Its rows, by target; of one target they lie side by side.
    rows: HashMap<Name, Range<usize>>,
    /// Rows of it that are not in their places yet, by target.
    fresh: HashMap<Name, Vec<usize>>,
    /// Targets that answer whenever its own network works.
    anchors: Vec<Name>,
    /// Since when it is told to be cut off from all of them.
    cut_off: Option<Wall>,
    /// When it last came into trouble of its own, or out of it.
    turned: Option<Wall>,
}

/// The status of a whole fleet.
#[derive(Debug, Default)]
pub struct Board {
    /// In the fleet's order.
    names: Vec<Name>,
    agents: HashMap<Name, Agent>,
    /// Sorted by target, then agent, then address.
    cells: Vec<Cell>,
    /// Rows have come or gone since they were last put into their places.
    untidy: bool,
    /// The targets by name, and what is known of each.
    targets: Vec<Name>,
    groups: Vec<Group>,
    /// Which of them come first: a target comes after those it depends on.
    order: Vec<usize>,
    /// Outages that were over before they were known.
    late: Late,
    /// Those of them that were told, for alerts.
    late_told: Vec<AlertEvent>,
    widest: Widest,
    events: VecDeque<Arc<Event>>,
    events_made: u64,
    /// How many there were when verdicts were last worked out.
    events_settled: u64,
    /// When it was last asked which targets are left alone.
    asked_quiet: Wall,
}

impl Board {
    /// A board without a fleet.
    pub fn new() -> Board {
        Board::default()
    }

    /// Events are numbered on from there.
    pub fn number_from(&mut self, no: u64) {
        (self.events_made, self.events_settled) = (no, no);
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
        let known = self.agents.get(agent);
        if known.is_none_or(|known| known.newest != Some((epoch, seq))) {
            return;
        }
        for entry in entries {
            let Some(row) = self.row_for(agent, &entry.target, entry.each, now) else {
                continue;
            };
            let ours = |at| self.agents[agent].in_our_time(at, now);
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
        let first = known.newest.is_none();
        let at = known.in_our_time(record.at, now);
        let connected = known.link.as_ref().is_some_and(|l| l.connected);
        let sample = match &record.body {
            Body::Result(sample) => sample,
            Body::Ended {
                target,
                each: Some(each),
            } => return self.end_row(agent, target, *each, record.at),
            _ => return,
        };
        let row = match live {
            true => self.row_for(agent, &sample.target, sample.each, now),
            false => self.row_at(agent, &sample.target, sample.each),
        };
        let Some(cell) = row.map(|row| &mut self.cells[row]) else {
            return;
        };
        let outcome = match sample.failure {
            None => Outcome::Answered(sample.us),
            Some(_) => Outcome::Failed,
        };
        cell.count(at, outcome, now);
        if !live {
            let outage = cell.history(Finding::of_sample(sample), at, first);
            if let Some((began, ended)) = outage {
                let outage = Outage {
                    agent: agent.clone(),
                    target: sample.target.clone(),
                    began,
                    ended,
                };
                self.late.note(outage, now);
            }
            return;
        }
        // A live result proves the target measured now, whatever the agent's clock says.
        let seen = if connected { now } else { at };
        cell.result(Finding::of_sample(sample), at, seen);
    }

    /// Takes what is known of an agent's link; tells of connects, losses and troubles.
    pub fn set_link(&mut self, agent: &Name, link: Link, now: Wall) {
        let Some(known) = self.agents.get_mut(agent) else {
            return;
        };
        known.note_trouble(&link, now);
        let stories = link::stories(agent, known.link.as_ref(), &link, &mut known.told, now);
        known.link = Some(link);
        for (kind, text) in stories {
            self.push_event(now, kind, text, None, Some(agent.clone()));
        }
    }

    /// Puts back what an agent was known to see before a restart. It shows as stale until
    /// a `now` message or a live result confirms or changes it.
    pub fn restore(&mut self, agent: &Name, state: &Announced, now: Wall) {
        if let Some(row) = self.row_for(agent, &state.target, state.each, now) {
            self.cells[row].restore(state.known);
        }
    }

    /// How far ahead of the manager's the clocks of agents are whose clocks are off.
    pub fn clock_offsets(&self) -> HashMap<Name, i64> {
        let offset = |(name, agent): (&Name, &Agent)| {
            Some((name.clone(), agent.link.as_ref()?.clock_off_ms()?))
        };
        self.agents.iter().filter_map(offset).collect()
    }

    /// All that was put back of an agent was still so at `seen`.
    pub fn confirm(&mut self, agent: &Name, seen: Wall) {
        let rows = self.agents.get(agent).map(|a| a.rows.values());
        for row in rows.into_iter().flatten().flat_map(Range::clone) {
            self.cells[row].confirm(seen);
        }
    }

    /// What an agent is known to see, for [`Board::restore`].
    pub fn known(&self, agent: &Name) -> Vec<Announced> {
        let rows = self.cells.iter().filter(|cell| cell.agent == *agent);
        let known = rows.filter_map(|cell| {
            Some(Announced {
                target: cell.target.name.clone(),
                each: cell.each,
                known: cell.known()?,
            })
        });
        known.collect()
    }

    /// The events after number `since_no`, oldest first, as far as they are still kept.
    pub fn drain_events(&self, since_no: u64) -> Vec<Arc<Event>> {
        let skip = self.events.partition_point(|e| e.no <= since_no);
        self.events.iter().skip(skip).cloned().collect()
    }

    /// Which targets are left alone has changed.
    pub fn ask_quiet_again(&mut self) {
        self.asked_quiet = Wall(0);
    }

    /// The outages told late since this was asked last.
    pub fn take_late(&mut self) -> Vec<AlertEvent> {
        std::mem::take(&mut self.late_told)
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
