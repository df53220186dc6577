//! A manager without threads and sockets: the real board, judge, links, histories and
//! receivers, taken a step at a time by whoever simulates a fleet. What is left out is the
//! last hour that a start reads back for its statistics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use super::link::simulated::SimLink;

use super::core::{Core, Options};
use super::history::Limits;
use crate::alert::Message;
use crate::clock;
use crate::config::KeyRule;
use crate::error::{Error, Result};
use crate::health::State;
use crate::model::{Mono, Name, Wall};
use crate::proto::{Hello, Side};

const KEEP_EVERY: Duration = Duration::from_secs(2);
const JUDGE_GAP: Duration = Duration::from_millis(100);

/// A running manager.
pub struct SimManager {
    core: Arc<Core>,
    observe_at: Wall,
    judge_at: Mono,
    judge_not_before: Mono,
    keep_at: Mono,
    round: u64,
    bell: u64,
    save_at: BTreeMap<Name, Mono>,
    deliver_at: Mono,
}

/// What the board says of one target as one agent sees it.
pub type RowState = (Name, Name, State);

impl SimManager {
    /// Starts a manager on what is in `data`, with the fleet file `fleet`.
    pub fn start(data: &Path, name: &Name, fleet: &Path, take_over: bool) -> Result<SimManager> {
        for part in ["agents", "alerts", "history"] {
            crate::files::ensure_dir(&data.join(part))?;
        }
        let options = Options {
            data: data.to_path_buf(),
            name: name.clone(),
            take_over,
            limits: Limits {
                bytes: u64::MAX,
                age: Duration::MAX,
            },
            key_rule: KeyRule::Required,
            listen: None,
        };
        let core = Core::assemble(options, None)?;
        super::load(&core, fleet)?;
        let now = clock::mono();
        Ok(SimManager {
            core,
            observe_at: Wall(0),
            judge_at: now,
            judge_not_before: now,
            keep_at: now.after(KEEP_EVERY),
            round: 0,
            bell: 0,
            save_at: BTreeMap::new(),
            deliver_at: now,
        })
    }

    /// What it says to the agent of this name.
    pub fn hello(&self, agent: &Name) -> Hello {
        self.core.hello(Side::Dialler, agent)
    }

    /// Begins a session with the agent of this name.
    pub fn begin(&self, agent: &Name, hello: &Hello) -> Result<SimLink> {
        let link = self.core.link_named(agent);
        let link = link.ok_or_else(|| Error::new("no such agent in the fleet"))?;
        SimLink::begin(&link, hello)
    }

    /// When something is next to be done.
    pub fn next_at(&self) -> Mono {
        let judge = match self.core.bell().heard() == self.bell {
            true => self.judge_at,
            false => self.judge_not_before,
        };
        judge.min(self.keep_at).min(self.deliver_at)
    }

    /// Does what is due; `deliver` is where messages go.
    pub fn turn(&mut self, mut deliver: impl FnMut(&Message) -> std::result::Result<(), String>) {
        let now = clock::mono();
        let heard = self.core.bell().heard();
        if now >= self.judge_at || (heard != self.bell && now >= self.judge_not_before) {
            self.bell = heard;
            self.core.judge_once(&mut self.observe_at);
            self.judge_not_before = now.after(JUDGE_GAP);
            let wait = Duration::from_secs(1).min(self.observe_at.since(clock::wall()));
            self.judge_at = now.after(wait.max(JUDGE_GAP));
            self.deliver_at = now;
        }
        if now >= self.keep_at {
            self.keep_at = now.after(KEEP_EVERY);
            self.round += 1;
            self.core.keep_once(self.round);
        }
        if now >= self.deliver_at {
            let next = self.core.deliver_all(&mut self.save_at, &mut deliver);
            self.deliver_at = next.max(now.after(JUDGE_GAP));
        }
    }

    /// What it noticed since this was last asked.
    pub fn notices(&self) -> Vec<String> {
        self.core.notices()
    }

    /// What its board says of each row.
    pub fn rows(&self) -> Vec<RowState> {
        let board = self.core.board().lock().expect("board");
        let rows = board.snapshot(clock::wall()).rows.into_iter();
        rows.map(|row| (row.target, row.agent, row.state)).collect()
    }

    /// What it says of each target, over all agents.
    pub fn verdicts(&self) -> Vec<(Name, State)> {
        let board = self.core.board().lock().expect("board");
        let snapshot = board.snapshot(clock::wall());
        let targets = snapshot.targets().into_iter();
        targets.map(|t| (t.name.clone(), t.state)).collect()
    }

    /// How far it takes the clock of the agent of this name to be ahead of its own, in ms.
    pub fn clock_offset_ms(&self, agent: &Name) -> Option<i64> {
        self.core.link_named(agent)?.state().clock_offset_ms
    }

    /// What of the agent of this name is not as it is to be: it is connected, what it said
    /// it holds is fetched and, where this manager `configures`, it does what is wanted.
    pub fn lacks_of(&self, agent: &Name, configures: bool) -> Option<String> {
        let Some(link) = self.core.link_named(agent) else {
            return Some("no link".into());
        };
        let state = link.state();
        if !state.connected {
            return Some(format!("not connected: {}", state.text));
        }
        if configures && state.pending() {
            return Some(format!("not configured: {:?}", state.rejected));
        }
        let history = link.history.lock().expect("history");
        let history = history.as_ref()?;
        let lacking = state.announced_epochs.iter().filter_map(|range| {
            let cursor = history.cursor(range.epoch);
            (cursor < range.last).then(|| format!("{range:?} to fetch after {cursor}"))
        });
        lacking.reduce(|all, next| format!("{all}, {next}"))
    }
}
