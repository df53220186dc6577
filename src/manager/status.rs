//! `tcpmon-manager status`: what is up and what is down now, out of what a manager keeps
//! in its data directory. Needs no agent; without a running manager it tells how things
//! stood when it last ran, and that this was then.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::alerts;
use super::alerts::receiver::Receiver;
use super::audit::JSON;
use super::board::{AgentRow, Board, Link, Row, Snapshot, TargetRow};
use super::exports::{self, ExportRow};
use super::fleet_file;
use super::quiet::QuietLog;
use super::replay;
use super::state::{AgentState, Verdicts};
use super::view::{exports_table, plain_table, receivers_table};
use super::{CONFIG, DATA, need_fleet_path};
use crate::cli::{self, Args, Fail, Program};
use crate::clock;
use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::files;
use crate::json::{self, Object};
use crate::model::{Epoch, Id, Name, Wall};

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager status",
    about: "Tells what is up and what is down now.",
    usage: &["tcpmon-manager status [--config FILE] [--data DIR] [--json]"],
    opts: &[CONFIG, DATA, JSON],
    more: "",
    free_max: 0,
};

/// A manager that runs writes what it knows at least this often.
const SAVED_WITHIN: Duration = Duration::from_secs(30);
/// How much of the history is replayed, at least: what a row's statistics cover.
const REPLAYED: Duration = Duration::from_secs(3600);
/// And so many intervals of the slowest target, so that its last result is among it.
const REPLAYED_INTERVALS: u32 = 3;

/// The fleet as it stands `now`, with all rows.
///
/// # Errors
/// Something that is there cannot be read.
pub fn run(data: &Path, fleet: &Fleet, now: Wall) -> Result<Snapshot> {
    let mut board = Board::new();
    board.show(fleet);
    let behind = fill(&mut board, data, fleet, now)?;
    let quiet = QuietLog::load(data)?;
    board.settle(now, |target, at| Some(quiet.active(target, at)?.cause));
    let mut snapshot = board.snapshot(now);
    for row in &mut snapshot.rows {
        if behind.contains(&row.agent) {
            // Their state is what the agent said; when and how fast was not kept.
            (row.at, row.us) = (None, None);
        }
    }
    Ok(snapshot)
}

/// The receivers of alerts, with what waits for them and how deliveries went.
///
/// # Errors
/// The file of one cannot be read.
pub fn receivers(data: &Path, fleet: &Fleet) -> Result<Vec<Receiver>> {
    let rules = fleet.alerts.iter();
    rules.map(|rule| alerts::load(data, rule)).collect()
}

/// Puts on a board whose fleet is set all that the data directory tells: links, states,
/// and the results of the last hour. Gives back the agents whose history lags behind
/// what they last said of their targets.
///
/// # Errors
/// Something that is there cannot be read.
pub fn fill(board: &mut Board, data: &Path, fleet: &Fleet, now: Wall) -> Result<Vec<Name>> {
    let mut dirs: HashMap<Name, Vec<(Id, PathBuf)>> = HashMap::new();
    for (name, id, dir) in replay::histories(data)? {
        dirs.entry(name).or_default().push((id, dir));
    }
    board.restore_told(&Verdicts::load(data)?);
    let mut behind = Vec::new();
    for agent in &fleet.agents {
        let targets = fleet.targets_for(&agent.name);
        let longest = targets.iter().map(|t| t.interval).max().unwrap_or_default();
        let back = (longest * REPLAYED_INTERVALS).max(REPLAYED);
        let of_agent = AgentOnDisk {
            name: &agent.name,
            state: AgentState::load(data, &agent.name)?,
            dirs: dirs.remove(&agent.name).unwrap_or_default(),
        };
        if of_agent.fill(board, now.before(back), now)? {
            behind.push(agent.name.clone());
        }
    }
    Ok(behind)
}

/// The link of every agent that a manager has told of, as the data directory has it now.
///
/// # Errors
/// Something that is there cannot be read.
pub fn links(data: &Path, fleet: &Fleet, now: Wall) -> Result<Vec<(Name, Link)>> {
    let dirs = replay::histories(data)?;
    let mut links = Vec::new();
    for agent in &fleet.agents {
        let mine = dirs.iter().filter(|(name, ..)| *name == agent.name);
        let on_disk = AgentOnDisk {
            name: &agent.name,
            state: AgentState::load(data, &agent.name)?,
            dirs: mine.map(|(_, id, dir)| (*id, dir.clone())).collect(),
        };
        if on_disk.state.saved != Wall(0) {
            let last = on_disk.last_numbers()?;
            links.push((agent.name.clone(), on_disk.link(&last, now)));
        }
    }
    Ok(links)
}

/// What the data directory holds of one agent.
struct AgentOnDisk<'n> {
    name: &'n Name,
    state: AgentState,
    dirs: Vec<(Id, PathBuf)>,
}

impl AgentOnDisk<'_> {
    /// Fills the agent's rows; whether its history lags behind its states.
    fn fill(&self, board: &mut Board, since: Wall, now: Wall) -> Result<bool> {
        let last = self.last_numbers()?;
        // Before the records: their times are corrected by what the link tells.
        let link = self.link(&last, now);
        if self.state.saved != Wall(0) {
            board.set_link(self.name, link.clone(), now);
        }
        for state in &self.state.states {
            board.restore(self.name, state, now);
        }
        let reached = |(epoch, seq): (Epoch, u64)| last.get(&epoch).is_some_and(|l| *l >= seq);
        let behind = self.state.mark.filter(|mark| !reached(*mark));
        if let Some((epoch, seq)) = behind {
            board.now_begin(self.name, epoch, seq);
        }
        let shift = link.clock_off_ms().unwrap_or(0);
        let mut current = None;
        for (_, dir) in &self.dirs {
            replay::replay(dir, since, |epoch, record| {
                if behind.is_none() && current.replace(epoch) != Some(epoch) {
                    board.now_begin(self.name, epoch, record.seq - 1);
                }
                // A result from the past confirms a state as of then, not as of now.
                let then = Wall(record.at.0.saturating_add_signed(-shift)).min(now);
                board.record(self.name, epoch, &record, then);
            })?;
        }
        if behind.is_some() {
            board.confirm(self.name, self.state.saved);
        }
        Ok(behind.is_some())
    }

    /// What the history holds, up to where, of the epochs that matter here.
    fn last_numbers(&self) -> Result<HashMap<Epoch, u64>> {
        let state = &self.state;
        let dir = self.dirs.iter().find(|(id, _)| Some(*id) == state.id);
        let Some((_, dir)) = dir else {
            return Ok(HashMap::new());
        };
        replay::last_numbers(dir, |epoch| {
            let announced = state.announced_epochs.iter().any(|r| r.epoch == epoch);
            announced || state.mark.is_some_and(|(e, _)| e == epoch)
        })
    }

    fn link(&self, last: &HashMap<Epoch, u64>, now: Wall) -> Link {
        link_of(&self.state, self.to_fetch(last), now)
    }

    fn to_fetch(&self, last: &HashMap<Epoch, u64>) -> u64 {
        let held = |epoch| last.get(&epoch).copied().unwrap_or(0);
        let ranges = self.state.announced_epochs.iter();
        ranges.map(|r| r.last.saturating_sub(held(r.epoch))).sum()
    }
}

/// The link as the manager last told of it, if it still runs.
fn link_of(state: &AgentState, to_fetch: u64, now: Wall) -> Link {
    let runs = now.since(state.saved) <= SAVED_WITHIN;
    let (since, text) = match state.connected && !runs {
        true => (state.saved, "no manager is running".to_string()),
        false => (state.since, state.text.clone()),
    };
    let revision = state.applied.as_ref().map(|r| r.counter.to_string());
    Link {
        connected: state.connected && runs,
        since,
        text,
        id: state.id,
        last_seen: state.last_seen,
        clock_offset_ms: state.clock_offset_ms,
        to_fetch,
        held: state.held(),
        revision: revision.unwrap_or_default(),
        pending: state.pending(),
        rejected: state.rejected.clone(),
        spool: state.trouble.clone(),
    }
}

/// The status as one JSON document, a newline at its end.
pub fn json(snapshot: &Snapshot, receivers: &[Receiver], exports: &[ExportRow]) -> String {
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.array("targets", |a| {
            for target in snapshot.targets() {
                a.object(|o| write_target(o, &target));
            }
        });
        o.array("agents", |a| {
            for agent in &snapshot.agents {
                a.object(|o| write_agent(o, agent));
            }
        });
        o.array("alerts", |a| {
            for receiver in receivers {
                a.object(|o| write_receiver(o, receiver));
            }
        });
        o.array("exports", |a| {
            for export in exports {
                a.object(|o| exports::write(o, export));
            }
        });
    });
    out + "\n"
}

/// A target as the status has it.
pub(super) fn write_target(o: &mut Object<'_>, target: &TargetRow<'_>) {
    o.str("name", target.name.as_str())
        .str("address", &target.address.to_string())
        .str("state", target.state.as_str());
    maybe(o, "since", target.since.map(|at| at.0));
    maybe(o, "last_us", target.last_us);
    maybe_str(o, "why", target.why.map(|why| why.as_str()));
    o.bool("flapping", target.flapping);
    maybe_str(o, "quiet", target.quiet.map(|cause| cause.as_str()));
    o.array("agents", |a| {
        for row in &target.agents {
            a.object(|o| write_row(o, row));
        }
    });
}

fn write_row(o: &mut Object<'_>, row: &Row) {
    o.str("name", row.agent.as_str())
        .str("state", row.state.as_str());
    if row.address != row.of {
        o.str("address", &row.address.to_string());
    }
    maybe(o, "at", row.at.map(|at| at.0));
    maybe(o, "us", row.us);
    maybe_str(o, "why", row.why.map(|why| why.as_str()));
    maybe(o, "p50_us", row.p50_us);
    maybe(o, "p95_us", row.p95_us);
    let undecided = row.undecided.map(|progress| progress.to_string());
    maybe_str(o, "undecided", undecided.as_deref());
    o.bool("flapping", row.flapping);
}

/// An agent as the status has it.
pub(super) fn write_agent(o: &mut Object<'_>, agent: &AgentRow) {
    let unknown = Link::default();
    let link = agent.link.as_ref().unwrap_or(&unknown);
    o.str("name", agent.name.as_str())
        .bool("connected", link.connected);
    let id = link.id.map(|id| id.to_string());
    maybe_str(o, "id", id.as_deref());
    maybe(o, "last_seen", link.last_seen.map(|at| at.0));
    maybe(o, "revision", link.revision.parse().ok());
    o.bool("pending", link.pending)
        .u64("to_fetch", link.to_fetch)
        .u64("held", link.held);
    let offset = link.clock_offset_ms.map(|ms| ms.to_string());
    o.raw("clock_offset_ms", offset.as_deref().unwrap_or("null"));
    maybe_str(o, "rejected", link.rejected.as_deref());
    let trouble = Some(link.spool.as_str()).filter(|text| !text.is_empty());
    maybe_str(o, "trouble", trouble);
    maybe(o, "cut_off", agent.cut_off.map(|at| at.0));
}

fn write_receiver(o: &mut Object<'_>, receiver: &Receiver) {
    let (delivered, dropped) = receiver.counts();
    o.str("name", receiver.rule().name.as_str())
        .u64("queued", receiver.queued() as u64)
        .u64("delivered", delivered)
        .u64("dropped", dropped);
    o.array("log", |a| {
        for delivery in receiver.log() {
            a.object(|o| delivery.write(o));
        }
    });
}

fn maybe(o: &mut Object<'_>, key: &str, value: Option<u64>) {
    match value {
        Some(value) => o.u64(key, value),
        None => o.null(key),
    };
}

fn maybe_str(o: &mut Object<'_>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => o.str(key, value),
        None => o.null(key),
    };
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let path = need_fleet_path(&args)?;
    let data = files::data_dir("manager", args.get("--data"))?;
    let fleet = fleet_file::read(&path).map_err(|problems| Error::new(problems.join("\n")))?;
    let snapshot = run(&data, &fleet, clock::wall())?;
    let receivers = receivers(&data, &fleet)?;
    let exports = exports::rows(&data, &fleet)?;
    cli::print(&match args.flag("--json") {
        true => json(&snapshot, &receivers, &exports),
        false => {
            plain_table(&snapshot)
                + &receivers_table(&receivers, snapshot.now)
                + &exports_table(&exports, snapshot.now)
        }
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
