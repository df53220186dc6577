//! `tcpmon-manager audit`: whether every number that an agent ever gave to a record is
//! accounted for in the history. Reads every line; needs no agent and no manager.
//!
//! Always: stored + summarised + dropped + missing = last − first + 1. What is dropped
//! has a reason on record (or damaged bytes where it should be), what is missing has none.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::columns::table;
use super::fleet_file;
use super::replay;
use super::state::AgentState;
use super::{CONFIG, DATA, fleet_path};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::files;
use crate::journal::{Cause, Damage, Found, SegmentName, Totals, Walked, base_of, gap_of, walk};
use crate::json::{self, Array, Object};
use crate::model::{Epoch, Id, Name};
use crate::proto::EpochRange;
use crate::text;
use crate::units::count_text;

/// How often an epoch is read anew because retention deleted what was about to be read.
const ATTEMPTS_MAX: usize = 100;

pub(super) const JSON: Opt = Opt {
    name: "--json",
    value: "",
    default: "",
    help: "one JSON document instead of a table",
    repeat: false,
};

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager audit",
    about: "Tells whether any record is missing from the history.",
    usage: &["tcpmon-manager audit [--data DIR] [--config FILE] [--json]"],
    opts: &[DATA, CONFIG, JSON],
    more: "\
For each run (epoch) of each agent, the numbers from 1 to LAST are
  stored      here as the agent's own record (or were, until retention: RETIRED)
  summarised  stood for by a summary
  dropped     stood for by a gap record that says why, or by damaged lines
  missing     not accounted for: this is never right
Exit code 1 when something is missing or stored twice.",
    free_max: 0,
};

/// The account of everything in a data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// By name; of several machines that had one name, the latest comes last.
    pub agents: Vec<AgentAudit>,
    pub damage: Vec<Damage>,
}

/// The account of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAudit {
    pub name: Name,
    /// `None` when it was never reached.
    pub id: Option<Id>,
    /// Oldest first.
    pub epochs: Vec<EpochAudit>,
}

/// The account of one epoch: of the numbers 1 to `last`, and what lies beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochAudit {
    pub epoch: Epoch,
    /// 0 when nothing was fetched yet.
    pub last: u64,
    pub totals: Totals,
    pub missing: u64,
    /// Numbers that came a second time.
    pub duplicate: u64,
    /// What the agent said it holds beyond `last`.
    pub to_fetch: u64,
    /// Of those stored, how many retention has deleted.
    pub retired: u64,
}

impl Audit {
    /// Whether nothing is missing and nothing is there twice.
    pub fn ok(&self) -> bool {
        self.epochs().all(|e| e.missing == 0 && e.duplicate == 0)
    }

    fn epochs(&self) -> impl Iterator<Item = &EpochAudit> {
        self.agents.iter().flat_map(|a| &a.epochs)
    }
}

/// Accounts for every history in `data`, and for the agents of `fleet` without one.
///
/// # Errors
/// Something that is there cannot be read.
pub fn run(data: &Path, fleet: Option<&Fleet>) -> Result<Audit> {
    let mut names = replay::state_names(data)?;
    let in_fleet = fleet.iter().flat_map(|f| &f.agents);
    names.extend(in_fleet.map(|agent| agent.name.clone()));
    names.sort();
    names.dedup();
    // Before the histories: what is fetched in between is not still to fetch.
    let states = names.into_iter().map(|name| {
        let state = AgentState::load(data, &name)?;
        Ok((name, state))
    });
    let states = states.collect::<Result<Vec<_>>>()?;
    let mut audit = Audit::default();
    for (name, id, dir) in replay::histories(data)? {
        let epochs = agent(&dir, &mut audit.damage)?;
        let id = Some(id);
        audit.agents.push(AgentAudit { name, id, epochs });
    }
    for (name, state) in states {
        announced(&mut audit.agents, name, &state);
    }
    audit.agents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(audit)
}

/// Adds what an agent said it holds.
fn announced(agents: &mut Vec<AgentAudit>, name: Name, state: &AgentState) {
    let same = |a: &AgentAudit| a.name == name && (a.id == state.id || state.id.is_none());
    let at = agents.iter().position(same).unwrap_or_else(|| {
        agents.push(AgentAudit {
            name,
            id: state.id,
            epochs: Vec::new(),
        });
        agents.len() - 1
    });
    let epochs = &mut agents[at].epochs;
    for EpochRange { epoch, last, .. } in &state.announced_epochs {
        match epochs.iter_mut().find(|e| e.epoch == *epoch) {
            Some(known) => known.to_fetch = last.saturating_sub(known.last),
            None => epochs.push(EpochAudit {
                to_fetch: *last,
                ..EpochAudit::empty(*epoch)
            }),
        }
    }
}

/// Accounts for the epochs of one history.
fn agent(dir: &Path, damage: &mut Vec<Damage>) -> Result<Vec<EpochAudit>> {
    let mut out = Vec::new();
    for segments in replay::epochs(dir)? {
        let (audited, walked) = settled(dir, segments)?;
        damage.extend(walked.damage);
        out.push(audited);
    }
    Ok(out)
}

/// Accounts for an epoch, anew as long as segments vanish while they are read.
fn settled(dir: &Path, mut segments: Vec<SegmentName>) -> Result<(EpochAudit, Walked)> {
    let id = segments[0].epoch;
    for _ in 0..ATTEMPTS_MAX {
        let (audited, walked) = epoch(dir, &segments)?;
        if !walked.vanished {
            return Ok((audited, walked));
        }
        let listed = replay::epochs(dir)?;
        let Some(left) = listed.into_iter().find(|s| s[0].epoch == id) else {
            return Ok((EpochAudit::empty(id), Walked::default()));
        };
        segments = left;
    }
    let shown = dir.display();
    Err(Error::new(format!(
        "read {shown}: its files keep vanishing"
    )))
}

impl EpochAudit {
    fn empty(epoch: Epoch) -> EpochAudit {
        EpochAudit {
            epoch,
            last: 0,
            totals: Totals::default(),
            missing: 0,
            duplicate: 0,
            to_fetch: 0,
            retired: 0,
        }
    }
}

/// Accounts for the epoch that `segments` are of.
fn epoch(dir: &Path, segments: &[SegmentName]) -> Result<(EpochAudit, Walked)> {
    let oldest = &segments[0];
    let mut audited = EpochAudit::empty(oldest.epoch);
    // What its first line cannot tell any more is damage.
    if let Ok(base) = base_of(&dir.join(&oldest.name)) {
        audited.totals = base.totals;
        audited.retired = base.totals.stored;
    }
    let known = audited.totals.stored + audited.totals.summarised + audited.totals.dropped;
    audited.totals.dropped += (oldest.first - 1).saturating_sub(known);
    let walked = walk(dir, segments, |found| match found {
        Found::Line(span, line) => audited.totals.add(span, gap_of(span, line)),
        Found::Hole(span, Cause::Damage) => audited.totals.dropped += span.count(),
        Found::Hole(span, Cause::Nothing) => audited.missing += span.count(),
        Found::Again(count) => audited.duplicate += count,
    })?;
    audited.last = walked.next - 1;
    Ok((audited, walked))
}

impl Audit {
    /// The account as one JSON document, a newline at its end.
    pub fn json(&self) -> String {
        let mut out = String::new();
        json::object(&mut out, |o| {
            o.array("agents", |a| {
                for agent in &self.agents {
                    a.object(|o| write_agent(o, agent));
                }
            });
            o.array("damage", |a| {
                for damage in &self.damage {
                    write_damage(a, damage);
                }
            });
            o.bool("ok", self.ok());
        });
        out + "\n"
    }

    /// The account for people.
    pub fn text(&self) -> String {
        if self.agents.is_empty() {
            return "No history yet, and no agents.\n".to_string();
        }
        let mut out = String::new();
        for agent in &self.agents {
            out += &agent_text(agent);
            out.push('\n');
        }
        // Writing to a String cannot fail.
        for damage in &self.damage {
            let path = damage.path.display().to_string();
            let lines = counted(
                damage.lines,
                "line fails its check",
                "lines fail their check",
            );
            let numbers = counted(damage.numbers, "record", "records");
            let _ = writeln!(out, "{}: {lines}, {numbers} lost", text::escape(&path));
        }
        out + &self.verdict()
    }

    fn verdict(&self) -> String {
        let sum = |of: fn(&EpochAudit) -> u64| self.epochs().map(of).sum::<u64>();
        let mut parts = Vec::new();
        let (missing, twice) = (sum(|e| e.missing), sum(|e| e.duplicate));
        if self.ok() {
            parts.push("ok: nothing missing, nothing there twice".to_string());
        }
        if missing > 0 {
            parts.push(format!("NOT OK: {} missing", count_text(missing)));
        }
        if twice > 0 {
            let start = if missing > 0 { "" } else { "NOT OK: " };
            parts.push(format!("{start}{} there twice", count_text(twice)));
        }
        let to_fetch = sum(|e| e.to_fetch);
        if to_fetch > 0 {
            parts.push(format!("{} still to fetch", count_text(to_fetch)));
        }
        parts.join("; ") + "\n"
    }
}

fn write_agent(o: &mut Object<'_>, agent: &AgentAudit) {
    o.str("name", agent.name.as_str());
    match agent.id {
        Some(id) => o.str("id", &id.to_string()),
        None => o.null("id"),
    };
    o.array("epochs", |a| {
        for epoch in &agent.epochs {
            a.object(|o| {
                o.str("epoch", &epoch.epoch.to_string())
                    .u64("first_seq", 1)
                    .u64("last_seq", epoch.last)
                    .u64("stored", epoch.totals.stored)
                    .u64("summarised", epoch.totals.summarised)
                    .u64("dropped", epoch.totals.dropped)
                    .u64("missing", epoch.missing)
                    .u64("duplicate", epoch.duplicate)
                    .u64("to_fetch", epoch.to_fetch)
                    .u64("retired", epoch.retired);
            });
        }
    });
}

fn write_damage(a: &mut Array<'_>, damage: &Damage) {
    a.object(|o| {
        o.str("file", &damage.path.display().to_string())
            .u64("lines", damage.lines)
            .u64("lost", damage.numbers);
    });
}

fn agent_text(agent: &AgentAudit) -> String {
    let Some(id) = agent.id else {
        return format!("{}  never reached\n", agent.name);
    };
    let head = format!("{}  {id}\n", agent.name);
    if agent.epochs.is_empty() {
        return format!("{head}  nothing stored yet\n");
    }
    let titles = [
        "EPOCH",
        "LAST",
        "STORED",
        "SUMMARISED",
        "DROPPED",
        "MISSING",
        "DUPLICATE",
        "TO FETCH",
        "RETIRED",
    ];
    let row = |e: &EpochAudit| {
        let counts = [
            e.last,
            e.totals.stored,
            e.totals.summarised,
            e.totals.dropped,
            e.missing,
            e.duplicate,
            e.to_fetch,
            e.retired,
        ];
        let [a, b, c, d, e1, f, g, h] = counts.map(count_text);
        [e.epoch.to_string(), a, b, c, d, e1, f, g, h]
    };
    let rows: Vec<[String; 9]> = agent.epochs.iter().map(row).collect();
    head + &table(2, 1, titles, &rows)
}

fn counted(n: u64, one: &str, many: &str) -> String {
    let word = if n == 1 { one } else { many };
    format!("{} {word}", count_text(n))
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let data = files::data_dir("manager", args.get("--data"))?;
    if !data.is_dir() {
        let shown = data.display();
        return Err(Error::new(format!("read {shown}: no such directory")).into());
    }
    let fleet = match fleet_path(&args).map(|path| fleet_file::read(&path)) {
        Some(Ok(fleet)) => Some(fleet),
        Some(Err(problems)) if args.flag("--config") => {
            return Err(Error::new(problems.join("\n")).into());
        }
        // One that only lies here is no reason not to look at the records.
        _ => None,
    };
    let audit = run(&data, fleet.as_ref())?;
    cli::print(&match args.flag("--json") {
        true => audit.json(),
        false => audit.text(),
    });
    Ok(ExitCode::from(u8::from(!audit.ok())))
}

#[cfg(test)]
mod tests;
