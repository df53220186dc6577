//! `tcpmon-manager report`: how available and how fast each target was over some time,
//! out of the history. Needs no agent and no manager.
//!
//! Each (target, agent) is a stream of results of its own; a target's numbers are the sums
//! over its streams. The time asked for begins with the window, or later where the agent's
//! own records tell that the target began later, and ends where they tell that it ended:
//! so what was not measured although it should have been lowers `observed`, and only that.

mod stream;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::audit::JSON;
use super::columns::table;
use super::fleet_file;
use super::replay;
use super::state::AgentState;
use super::{CONFIG, DATA, need_fleet_path};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::clock;
use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::files;
use crate::json::{self, Object};
use crate::model::{Epoch, Id, Name, Wall};
use crate::stats::{Histogram, Measured};
use crate::units::{count_text, duration_text, latency_text, parse_moment, timestamp};

use stream::{Streams, Window};

const SINCE: Opt = Opt {
    name: "--since",
    value: "WHEN",
    default: "24h",
    help: "how far back to look, or from when: 7d, 2026-12-01, 2026-12-01T22:00Z (UTC)",
    repeat: false,
};
const UNTIL: Opt = Opt {
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
    help: "print comma-separated values: each target, then each agent of it",
    repeat: false,
};
const SINCE_DEFAULT_MS: u64 = 24 * 3_600_000;

const PROGRAM: Program = Program {
    name: "tcpmon-manager report",
    about: "Tells how available and how fast each target was.",
    usage: &[
        "tcpmon-manager report [--since WHEN] [--until WHEN] [--json | --csv] [--config FILE] [--data DIR]",
    ],
    opts: &[SINCE, UNTIL, CONFIG, DATA, JSON, CSV],
    more: "\
UPTIME is the part of what was measured in which the target answered, OBSERVED
the part of the time asked for that was measured, over all its agents together.
With --json each target also comes with the same numbers for each agent.",
    free_max: 0,
};

/// A clock offset up to this is left alone, so that times agree with the records'.
const OFFSET_MS_MAX: u64 = super::board::CLOCK_OFF_MS.unsigned_abs();

/// What a stream of results, or several together, came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    pub measured: Measured,
    /// Of the probes that were answered.
    pub latencies: Histogram,
}

/// One target over the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetReport {
    pub name: Name,
    pub all: Numbers,
    /// By name.
    pub agents: Vec<(Name, Numbers)>,
}

/// What was asked for, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub since: Wall,
    pub until: Wall,
    /// In the fleet's order; by name where there is no fleet.
    pub targets: Vec<TargetReport>,
}

/// Reports on `since..until`: on the targets and agents of `fleet`, or on all that the
/// histories in `data` tell of.
///
/// # Errors
/// Something that is there cannot be read.
pub fn run(data: &Path, fleet: Option<&Fleet>, since: Wall, until: Wall) -> Result<Report> {
    let window = Window { since, until };
    let mut agents: BTreeMap<Name, Streams> = BTreeMap::new();
    for agent in fleet.iter().flat_map(|f| &f.agents) {
        let targets = fleet.map(|f| f.targets_for(&agent.name));
        let streams = Streams::new(window, targets);
        agents.insert(agent.name.clone(), streams);
    }
    for (name, id, dir) in replay::histories(data)? {
        if fleet.is_some() && !agents.contains_key(&name) {
            continue;
        }
        let state = AgentState::load(data, &name)?;
        let streams = agents
            .entry(name)
            .or_insert_with(|| Streams::new(window, None));
        // A result from just before the window may stand for its beginning.
        let from = Wall(since.0.saturating_sub(streams.longest_ms()));
        replay::replay(&dir, from, |epoch, record| {
            let at = corrected(record.at, offset_ms(&state, id, epoch));
            streams.record(at, &record.body);
        })?;
    }
    Ok(Report {
        since,
        until,
        targets: by_target(agents, fleet),
    })
}

/// How far an agent's clock was ahead of ours in an epoch: as its latest session in that
/// epoch found, else as its latest session of all did.
fn offset_ms(state: &AgentState, id: Id, epoch: Epoch) -> i64 {
    let in_epoch = state.sessions.iter().rev().find(|s| s.epoch == epoch);
    let latest = state.clock_offset_ms.filter(|_| state.id == Some(id));
    let offset = in_epoch.map(|s| s.offset_ms).or(latest).unwrap_or(0);
    match offset.unsigned_abs() > OFFSET_MS_MAX {
        true => offset,
        false => 0,
    }
}

fn corrected(at: Wall, offset_ms: i64) -> Wall {
    Wall(at.0.saturating_add_signed(offset_ms.saturating_neg()))
}

/// Turns what each agent saw into what was seen of each target.
fn by_target(agents: BTreeMap<Name, Streams>, fleet: Option<&Fleet>) -> Vec<TargetReport> {
    let mut seen: BTreeMap<Name, Vec<(Name, Numbers)>> = BTreeMap::new();
    for (agent, streams) in agents {
        for (target, numbers) in streams.finish() {
            let of_target = seen.entry(target).or_default();
            of_target.push((agent.clone(), numbers));
        }
    }
    let listed: Vec<Name> = match fleet {
        Some(fleet) => fleet.targets.iter().map(|t| t.name.clone()).collect(),
        None => seen.keys().cloned().collect(),
    };
    let target = |name: Name| {
        let agents = seen.remove(&name).unwrap_or_default();
        let mut all = Numbers::default();
        for (_, numbers) in &agents {
            all.measured.merge(&numbers.measured);
            all.latencies.merge(&numbers.latencies);
        }
        TargetReport { name, all, agents }
    };
    listed.into_iter().map(target).collect()
}

impl Report {
    /// The report as one JSON document, a newline at its end.
    pub fn json(&self) -> String {
        let mut out = String::new();
        json::object(&mut out, |o| {
            o.u64("since", self.since.0).u64("until", self.until.0);
            o.array("targets", |a| {
                for target in &self.targets {
                    a.object(|o| write_target(o, target));
                }
            });
        });
        out + "\n"
    }

    /// The report as comma-separated values (RFC 4180), a line of titles first. An empty
    /// agent stands for all of them together, an empty value for what is not known.
    pub fn csv(&self) -> String {
        let mut out =
            "target,agent,probes,ok,uptime,observed,p50_us,p95_us,p99_us,max_us\r\n".to_string();
        for target in &self.targets {
            push_csv(&mut out, &target.name, "", &target.all);
            for (agent, numbers) in &target.agents {
                push_csv(&mut out, &target.name, agent.as_str(), numbers);
            }
        }
        out
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let window = Duration::from_millis(self.until.0.saturating_sub(self.since.0));
        let until = timestamp(self.until);
        let (day, time) = (&until[..10], &until[11..19]);
        let head = format!("Last {} until {day} {time} UTC\n\n", duration_text(window));
        if self.targets.is_empty() {
            return head + "The fleet has no targets.\n";
        }
        let titles = [
            "TARGET", "PROBES", "OK", "UPTIME", "OBSERVED", "P50", "P95", "P99", "MAX",
        ];
        let rows: Vec<[String; 9]> = self.targets.iter().map(row).collect();
        head + &table(0, 1, titles, &rows)
    }
}

fn write_target(o: &mut Object<'_>, target: &TargetReport) {
    write_numbers(o, &target.name, &target.all);
    o.array("agents", |a| {
        for (agent, numbers) in &target.agents {
            a.object(|o| write_numbers(o, agent, numbers));
        }
    });
}

fn write_numbers(o: &mut Object<'_>, name: &Name, numbers: &Numbers) {
    let rounded = |part: Option<f64>| part.map_or(f64::NAN, |x| (x * 1e6).round() / 1e6);
    let Measured { probes, ok, .. } = numbers.measured;
    o.str("name", name.as_str())
        .u64("probes", probes)
        .u64("ok", ok)
        .f64("uptime", rounded(numbers.measured.uptime()))
        .f64("observed", rounded(numbers.measured.observed()));
    for (key, us) in ["p50_us", "p95_us", "p99_us", "max_us"]
        .into_iter()
        .zip(numbers.quantiles())
    {
        match us {
            Some(us) => o.u64(key, us),
            None => o.null(key),
        };
    }
}

/// Names hold nothing that would have to be quoted.
fn push_csv(out: &mut String, target: &Name, agent: &str, numbers: &Numbers) {
    let Measured { probes, ok, .. } = numbers.measured;
    out.push_str(&format!("{target},{agent},{probes},{ok}"));
    for part in [numbers.measured.uptime(), numbers.measured.observed()] {
        let part = part.map(|x| format!("{:.6}", x));
        out.push_str(&format!(",{}", part.unwrap_or_default()));
    }
    for us in numbers.quantiles() {
        let us = us.map(|us| us.to_string());
        out.push_str(&format!(",{}", us.unwrap_or_default()));
    }
    out.push_str("\r\n");
}

impl Numbers {
    /// The 50th, 95th and 99th percentile and the largest latency.
    fn quantiles(&self) -> [Option<u64>; 4] {
        let l = &self.latencies;
        [
            l.quantile(0.50),
            l.quantile(0.95),
            l.quantile(0.99),
            l.max(),
        ]
    }
}

fn row(target: &TargetReport) -> [String; 9] {
    let numbers = &target.all;
    let latency = |us: Option<u64>| us.map_or_else(|| "-".to_string(), latency_text);
    let [p50, p95, p99, max] = numbers.quantiles().map(latency);
    [
        target.name.to_string(),
        count_text(numbers.measured.probes),
        count_text(numbers.measured.ok),
        percent(numbers.measured.uptime()),
        percent(numbers.measured.observed()),
        p50,
        p95,
        p99,
        max,
    ]
}

/// A fraction in percent, cut, not rounded: only what was always up is up 100.00 %.
fn percent(part: Option<f64>) -> String {
    let Some(part) = part else {
        return "-".to_string();
    };
    // A float a hair below a whole hundredth is that hundredth.
    let hundredths = (part * 10_000.0 + 1e-7).floor() as u64;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let now = clock::wall();
    let moment = |text: &str| parse_moment(text, now);
    let until = args.parsed("--until", moment)?.unwrap_or(now).min(now);
    let usual = Wall(until.0.saturating_sub(SINCE_DEFAULT_MS));
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
    let report = run(&data, Some(&fleet), since, until)?;
    cli::print(&match (args.flag("--json"), args.flag("--csv")) {
        (true, _) => report.json(),
        (_, true) => report.csv(),
        _ => report.text(),
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
