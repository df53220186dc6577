//! `tcpmon-manager report`: how available and how fast each target was over some time,
//! out of the history. Needs no agent and no manager.
//!
//! Each target as one agent sees it, and each address of it where those are probed by
//! themselves, is a stream of results of its own; a target's numbers are the sums over its
//! streams. The time asked for begins with the window, or later where the agent's
//! own records tell that the target began later, and ends where they tell that it ended:
//! so what was not measured although it should have been lowers `observed`, and only that.
//! Outages are the exception: they are those of the verdict over the streams that there were
//! at the time, in which failures that have an excuse say nothing, as in the live one.

mod course;
mod excuses;
mod left_out;
mod outages;
mod print;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::audit::JSON;
use super::clocks::Clocks;
use super::fleet_file;
use super::replay;
use super::state::AgentState;
use super::{CONFIG, DATA, need_fleet_path};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::clock;
use crate::config::{Fleet, FleetTarget};
use crate::error::{Error, Result};
use crate::files;
use crate::health::State;
use crate::model::{Name, Wall};
use crate::quiet::Span;
use crate::quorum;
use crate::stats::{Histogram, Measured};
use crate::units::{parse_moment, timestamp};

use course::Window;
use excuses::{Excuse, Said};
pub use left_out::{LeftOut, left_out};
pub use outages::Outages;
use stream::{Seen, Streams, Terms};

pub const SINCE: Opt = Opt {
    name: "--since",
    value: "WHEN",
    default: "24h",
    help: "how far back to look, or from when: 7d, 2026-12-01, 2026-12-01T22:00Z (UTC)",
    repeat: false,
};
pub const UNTIL: Opt = Opt {
    name: "--until",
    value: "WHEN",
    default: "now",
    help: "up to when, written like --since",
    repeat: false,
};
const CSV: Opt = Opt {
    name: "--csv",
    value: "",
    default: "",
    help: "print comma-separated values: each target, then each agent of it; then groups and tags",
    repeat: false,
};
pub const SINCE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager report",
    about: "Tells how available and how fast each target was.",
    usage: &[
        "tcpmon-manager report [--since WHEN] [--until WHEN] [--json | --csv] [--config FILE] [--data DIR]",
    ],
    opts: &[SINCE, UNTIL, CONFIG, DATA, JSON, CSV],
    more: "\
UPTIME is the part of what was measured in which the target answered, OBSERVED
the part of the time asked for that was measured, over all its agents together.
OUTAGES are the times in which it was down by its rules: how many, the LONGEST,
and MTTR, the mean length of those that ended. Time that nobody measured counts
in none of them. Groups and tags of targets come with the sums of theirs.
With --json each target also comes with the same numbers for each agent.",
    free_max: 0,
};

/// What a stream of results, or several together, came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    pub measured: Measured,
    /// Of the probes that were answered.
    pub latencies: Histogram,
    pub outages: Outages,
}

impl Numbers {
    /// Adds those of another target.
    pub fn merge(&mut self, other: &Numbers) {
        self.measured.merge(&other.measured);
        self.latencies.merge(&other.latencies);
        self.outages.merge(&other.outages);
    }
}

/// One target over the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetReport {
    pub name: Name,
    /// Of its addresses, where the fleet tells.
    pub port: Option<u16>,
    pub group: Option<Name>,
    pub tags: Vec<Name>,
    /// The sums over its agents, and the outages of their verdict.
    pub all: Numbers,
    /// By name, and by address where each was probed by itself.
    pub agents: Vec<(Name, Option<IpAddr>, Numbers)>,
}

/// What was asked for, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub since: Wall,
    pub until: Wall,
    /// In the fleet's order; by name where there is no fleet.
    pub targets: Vec<TargetReport>,
    /// The sums over the targets of each group, by name.
    pub groups: Vec<(Name, Numbers)>,
    /// The same for each tag.
    pub tags: Vec<(Name, Numbers)>,
}

/// Reports on `since..until` without what is `left_out`: on the targets and agents of
/// `fleet`, or on all that the histories in `data` tell of.
///
/// # Errors
/// Something that is there cannot be read.
pub fn run(
    data: &Path,
    fleet: Option<&Fleet>,
    since: Wall,
    until: Wall,
    left_out: &[LeftOut],
) -> Result<Report> {
    let mut terms = Terms::new(Window { since, until }, fleet, left_out);
    let mut agents: BTreeMap<Name, Streams> = BTreeMap::new();
    for agent in fleet.iter().flat_map(|f| &f.agents) {
        let targets = fleet.map(|f| f.watched_by(&agent.name));
        agents.insert(agent.name.clone(), Streams::new(targets));
    }
    for (name, id, dir) in replay::histories(data)? {
        if fleet.is_some() && !agents.contains_key(&name) {
            continue;
        }
        let state = AgentState::load(data, &name)?;
        let streams = agents.entry(name).or_insert_with(|| Streams::new(None));
        let from = since.before(streams.lookback());
        let mut clocks = Clocks::read(&dir, from, &state, id)?;
        replay::replay(&dir, from, |epoch, record| {
            let ours = |at| clocks.ours(epoch, record.seq, at);
            streams.record(&mut terms, &record, ours);
        })?;
    }
    let targets = by_target(agents, fleet, &mut terms);
    Ok(Report {
        since,
        until,
        groups: sums(&targets, |target| target.group.as_slice()),
        tags: sums(&targets, |target| &target.tags),
        targets,
    })
}

/// What one agent saw of a target, or of one address of it.
struct Voice {
    agent: Name,
    each: Option<IpAddr>,
    seen: Seen,
}

/// Turns what each agent saw into what was seen of each target.
fn by_target(
    agents: BTreeMap<Name, Streams>,
    fleet: Option<&Fleet>,
    terms: &mut Terms,
) -> Vec<TargetReport> {
    let mut seen: BTreeMap<Name, Vec<Voice>> = BTreeMap::new();
    for (agent, streams) in agents {
        let mut rows = streams.finish(terms);
        rows.sort_by_key(|(row, _)| row.each);
        for (row, of_row) in rows {
            seen.entry(row.target).or_default().push(Voice {
                agent: agent.clone(),
                each: row.each,
                seen: of_row,
            });
        }
    }
    let Some(fleet) = fleet else {
        let each = seen.into_iter().map(|(name, voices)| {
            let said: Vec<&Said> = voices.iter().map(|voice| &voice.seen.said).collect();
            let verdict = verdict(&name, &said, terms);
            target_report(name, voices, &verdict, terms)
        });
        return each.collect();
    };
    let mut verdicts = fleet_verdicts(fleet, &seen, terms);
    let listed = fleet.targets.iter().map(|listed| {
        let voices = seen.remove(&listed.name).unwrap_or_default();
        let verdict = verdicts.remove(&listed.name);
        let verdict = verdict.expect("each target has a verdict");
        TargetReport {
            port: Some(listed.address.port),
            group: listed.group.clone(),
            tags: listed.tags.clone(),
            ..target_report(listed.name.clone(), voices, &verdict, terms)
        }
    });
    listed.collect()
}

/// What is so of a target by what its rows say.
fn verdict(target: &Name, rows: &[&Said], terms: &Terms) -> Said {
    let intervals = rows.iter().map(|said| said.interval_ms);
    Said {
        course: excuses::verdicts(terms.down_when(target), rows),
        asked: vec![Span {
            from: terms.window.since,
            until: terms.window.until,
        }],
        interval_ms: intervals.max().unwrap_or(0),
        // It has no excuse itself.
        decides_ms: 0,
    }
}

/// The verdict over time on each target of the fleet, without what has an excuse.
fn fleet_verdicts(
    fleet: &Fleet,
    seen: &BTreeMap<Name, Vec<Voice>>,
    terms: &Terms,
) -> HashMap<Name, Said> {
    let cut_off = fleet.agents.iter().map(|agent| {
        let anchors = agent.anchors.iter().filter_map(|anchor| seen.get(anchor));
        let own = anchors.flatten().filter(|voice| voice.agent == agent.name);
        let own: Vec<&Said> = own.map(|voice| &voice.seen.said).collect();
        (&agent.name, excuses::excuses(&own))
    });
    let cut_off: HashMap<&Name, Vec<Excuse>> = cut_off.collect();
    let end = terms.window.until;
    let mut verdicts: HashMap<Name, Said> = HashMap::new();
    // What each agent that probes a target makes of it, parents first.
    let mut behind: HashMap<(&Name, &Name), Vec<Excuse>> = HashMap::new();
    // The same for all others.
    let mut behind_all: HashMap<&Name, Vec<Excuse>> = HashMap::new();
    for target in parents_first(fleet) {
        let mut rows: Vec<(&Name, Said)> = Vec::new();
        for voice in seen.get(&target.name).into_iter().flatten() {
            let mut said = voice.seen.said.clone();
            if let Some(cut_off) = cut_off.get(&voice.agent) {
                said.course = excuses::excused(&said, cut_off, end, State::Unknown);
            }
            for parent in &target.depends_on {
                let own = behind.get(&(&voice.agent, parent));
                if let Some(behind) = own.or_else(|| behind_all.get(parent)) {
                    said.course = excuses::excused(&said, behind, end, State::Unreachable);
                }
            }
            rows.push((&voice.agent, said));
        }
        for own in rows.chunk_by(|a, b| a.0 == b.0) {
            if target.probed_by(own[0].0) {
                let said: Vec<&Said> = own.iter().map(|(_, said)| said).collect();
                behind.insert((own[0].0, &target.name), excuses::excuses(&said));
            }
        }
        let all: Vec<&Said> = rows.iter().map(|(_, said)| said).collect();
        let verdict = verdict(&target.name, &all, terms);
        behind_all.insert(&target.name, excuses::excuses(&[&verdict]));
        verdicts.insert(target.name.clone(), verdict);
    }
    verdicts
}

/// The fleet's targets, each after those it depends on.
fn parents_first(fleet: &Fleet) -> impl Iterator<Item = &FleetTarget> {
    let targets = &fleet.targets;
    let by_name: HashMap<&Name, usize> = targets.iter().map(|t| &t.name).zip(0..).collect();
    let of = |target: &FleetTarget| -> Vec<usize> {
        let parents = target.depends_on.iter();
        parents.filter_map(|p| by_name.get(p).copied()).collect()
    };
    let parents: Vec<Vec<usize>> = targets.iter().map(of).collect();
    let order = quorum::parents_first(targets.len(), |target| &parents[target]);
    order.into_iter().map(|target| &targets[target])
}

fn target_report(
    name: Name,
    voices: Vec<Voice>,
    verdict: &Said,
    terms: &mut Terms,
) -> TargetReport {
    let outages = terms.outages(&name, verdict);
    let mut all = Numbers::default();
    for voice in &voices {
        all.merge(&voice.seen.numbers);
    }
    TargetReport {
        name,
        port: None,
        group: None,
        tags: Vec::new(),
        all: Numbers { outages, ..all },
        agents: voices
            .into_iter()
            .map(|voice| (voice.agent, voice.each, voice.seen.numbers))
            .collect(),
    }
}

/// Adds up targets by what each belongs to.
fn sums(targets: &[TargetReport], of: impl Fn(&TargetReport) -> &[Name]) -> Vec<(Name, Numbers)> {
    let mut sums: BTreeMap<Name, Numbers> = BTreeMap::new();
    for target in targets {
        for name in of(target) {
            sums.entry(name.clone()).or_default().merge(&target.all);
        }
    }
    sums.into_iter().collect()
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let now = clock::wall();
    let moment = |text: &str| parse_moment(text, now);
    let until = args.parsed("--until", moment)?.unwrap_or(now).min(now);
    let usual = until.before(SINCE_DEFAULT);
    let since = args.parsed("--since", moment)?.unwrap_or(usual);
    if since >= until {
        let (since, until) = (timestamp(since), timestamp(until));
        let text = format!("--since {since} is not before --until {until}");
        return Err(Fail::Usage(text));
    }
    if args.flag("--json") && args.flag("--csv") {
        return Err(Fail::Usage("--json and --csv: give one of the two".into()));
    }
    let path = need_fleet_path(&args)?;
    let data = files::data_dir("manager", args.get("--data"))?;
    let fleet = fleet_file::read(&path).map_err(|problems| Error::new(problems.join("\n")))?;
    let left_out = left_out(&fleet, &data, since, until)?;
    let report = run(&data, Some(&fleet), since, until, &left_out)?;
    cli::print(&match (args.flag("--json"), args.flag("--csv")) {
        (true, _) => report.json(),
        (_, true) => report.csv(),
        _ => report.text(),
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
