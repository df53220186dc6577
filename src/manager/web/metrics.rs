//! `/metrics`: targets and rows, links, histories, receivers, and the process itself.
//!
//! Always: what there is of a label is bounded by the fleet file; no text from outside is one.
//! Counts of rows are of what was stored since this process began.

use super::rows::STATES;
use super::{Site, View};
use crate::files::write_process;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::manager::board::{AgentRow, Row, State, TargetRow};
use crate::manager::exports::ExportRow;
use crate::manager::past::Seat;
use crate::manager::{alerts, status};
use crate::metrics::{Exposition, Format, Kind, Tally, with, write_rows};
use crate::model::Name;

/// All of it, in the form that the request asks for.
pub fn metrics(site: &Site, view: &View, request: &Request) -> Reply {
    let format = Format::accepted(&request.header("accept").unwrap_or_default());
    let mut out = Exposition::new(format);
    out.family("tcpmon_build_info", Kind::Gauge, "Which program this is.");
    let version = env!("CARGO_PKG_VERSION");
    out.sample(&[("program", "tcpmon-manager"), ("version", version)], 1.0);
    write_targets(&mut out, view);
    write_seats(&mut out, site, view);
    write_agents(&mut out, &view.board.agents);
    write_histories(&mut out, site);
    write_receivers(&mut out, site, view);
    write_exports(&mut out, site);
    out.family(
        "tcpmon_http_responses",
        Kind::Counter,
        "HTTP requests that were answered, by status.",
    );
    for (status, count) in site.served.by_status() {
        out.sample(&[("code", &status.to_string())], count as f64);
    }
    let streams = site.served.streams() as f64;
    out.single(
        "tcpmon_http_streams",
        Kind::Gauge,
        "Streams of events that are open.",
        streams,
    );
    write_process(&mut out, site.started);
    Reply::new(format.kind(), out.finish())
}

fn write_targets(out: &mut Exposition, view: &View) {
    let targets = view.targets();
    let labels = |(row, target): &(TargetRow<'_>, &crate::config::FleetTarget)| {
        let mut labels = vec![("target", row.name.to_string())];
        if let Some(group) = &target.group {
            labels.push(("group", group.to_string()));
        }
        labels
    };
    let mut each = |name, help: &str, value: &dyn Fn(&TargetRow<'_>) -> Option<f64>| {
        out.family(name, Kind::Gauge, help);
        for target in &targets {
            if let Some(value) = value(&target.0) {
                out.sample(&labels(target), value);
            }
        }
    };
    each(
        "tcpmon_target_up",
        "Whether a target answers, by the verdict over its agents; absent while nobody knows.",
        &|row| up(row.state),
    );
    each(
        "tcpmon_target_flapping",
        "Whether it changes too often to be relied on.",
        &|row| Some(f64::from(row.flapping)),
    );
    each(
        "tcpmon_target_quiet",
        "Whether it is left alone: a maintenance or a silence.",
        &|row| Some(f64::from(row.quiet.is_some())),
    );
    each(
        "tcpmon_target_since_timestamp_seconds",
        "Since when its state holds.",
        &|row| row.since.map(|at| at.0 as f64 / 1e3),
    );
    out.family(
        "tcpmon_target_state",
        Kind::Gauge,
        "The verdict on a target: 1 for the state that it is in.",
    );
    for target in &targets {
        write_state(out, &labels(target), target.0.state);
    }
}

/// Every state, and which of them it is.
fn write_state(out: &mut Exposition, labels: &[(&'static str, String)], so: State) {
    for state in STATES {
        out.sample(
            &with(labels, ("state", state.as_str())),
            f64::from(state == so),
        );
    }
}

/// Whether a state is one in which a target answers, or fails to.
fn up(state: State) -> Option<f64> {
    match state {
        State::Up | State::Slow => Some(1.0),
        State::Down | State::Unreachable => Some(0.0),
        State::Stale | State::Unknown => None,
    }
}

fn seat_of(row: &Row) -> (Vec<(&'static str, String)>, Seat) {
    let mut labels = vec![
        ("target", row.target.to_string()),
        ("agent", row.agent.to_string()),
    ];
    let each = (row.address != row.of).then(|| row.address.literal().map(|addr| addr.ip()));
    let each = each.flatten();
    if let Some(ip) = each {
        labels.push(("address", ip.to_string()));
    }
    let seat = Seat {
        agent: row.agent.clone(),
        target: row.target.clone(),
        each,
    };
    (labels, seat)
}

fn write_exports(out: &mut Exposition, site: &Site) {
    let exports = site.core.exports();
    let mut each = |name, kind, help: &str, value: &dyn Fn(&ExportRow) -> f64| {
        out.family(name, kind, help);
        for export in &exports {
            out.sample(&[("export", export.name.as_str())], value(export));
        }
    };
    each(
        "tcpmon_export_backlog_records",
        Kind::Gauge,
        "Records stored that an export has not passed yet.",
        &|e| e.backlog as f64,
    );
    each(
        "tcpmon_export_delivered_results",
        Kind::Counter,
        "Results that a receiver took.",
        &|e| e.progress.delivered as f64,
    );
    each(
        "tcpmon_export_missed_records",
        Kind::Counter,
        "Records that were deleted before they went out.",
        &|e| e.progress.missed as f64,
    );
    each(
        "tcpmon_export_refused_results",
        Kind::Counter,
        "Results that a receiver refused for good.",
        &|e| e.progress.refused as f64,
    );
    each(
        "tcpmon_export_failing",
        Kind::Gauge,
        "Whether deliveries fail.",
        &|e| f64::from(e.progress.failing.is_some()),
    );
}

/// Rows by target, agent and address.
fn write_seats(out: &mut Exposition, site: &Site, view: &View) {
    let mut rows: Vec<&Row> = view.board.rows.iter().collect();
    rows.sort_by(|a, b| {
        (&a.target, &a.agent, &a.address.to_string()).cmp(&(
            &b.target,
            &b.agent,
            &b.address.to_string(),
        ))
    });
    let seats: Vec<_> = rows.iter().map(|row| (seat_of(row), *row)).collect();
    out.family(
        "tcpmon_probe_up",
        Kind::Gauge,
        "Whether a target answers as one agent sees it; absent while it does not know.",
    );
    for ((labels, _), row) in &seats {
        if let Some(up) = up(row.state) {
            out.sample(labels, up);
        }
    }
    out.family(
        "tcpmon_probe_state",
        Kind::Gauge,
        "What one agent makes of a target: 1 for the state that it is in.",
    );
    for ((labels, _), row) in &seats {
        write_state(out, labels, row.state);
    }
    let nothing = Tally::default();
    let sums = site.past.sums();
    let counted: Vec<_> = seats
        .iter()
        .map(|((labels, seat), _)| (labels.clone(), sums.tallies.get(seat).unwrap_or(&nothing)))
        .collect();
    write_rows(out, &counted);
    let (records, missing) = (sums.records as f64, sums.missing as f64);
    let is_complete = f64::from(sums.is_complete);
    drop(counted);
    drop(sums);
    out.single(
        "tcpmon_history_read_records",
        Kind::Counter,
        "Records read from the history for trends and counts.",
        records,
    );
    out.single(
        "tcpmon_history_missing_records",
        Kind::Counter,
        "Numbers within the history that no record stands for: damaged, or lost. An audit tells more.",
        missing,
    );
    out.single(
        "tcpmon_history_read_complete",
        Kind::Gauge,
        "Whether all that was there at the start has been read.",
        is_complete,
    );
}

fn write_agents(out: &mut Exposition, agents: &[AgentRow]) {
    let mut each = |name, help: &str, value: &dyn Fn(&AgentRow) -> Option<f64>| {
        out.family(name, Kind::Gauge, help);
        for agent in agents {
            if let Some(value) = value(agent) {
                out.sample(&[("agent", agent.name.as_str())], value);
            }
        }
    };
    let of = |agent: &AgentRow| agent.link.clone();
    each(
        "tcpmon_agent_connected",
        "Whether an agent's link stands.",
        &|agent| Some(f64::from(of(agent).is_some_and(|link| link.connected))),
    );
    each(
        "tcpmon_agent_last_seen_timestamp_seconds",
        "When an agent was last heard.",
        &|agent| Some(of(agent)?.last_seen?.0 as f64 / 1e3),
    );
    each(
        "tcpmon_agent_clock_offset_seconds",
        "How far an agent's clock is ahead of the manager's.",
        &|agent| Some(of(agent)?.clock_offset_ms? as f64 / 1e3),
    );
    each(
        "tcpmon_agent_backlog_records",
        "Records that an agent holds and the manager does not yet.",
        &|agent| Some(of(agent)?.to_fetch as f64),
    );
    each(
        "tcpmon_agent_spool_records",
        "Records in an agent's spool, fetched or not, as it last said.",
        &|agent| Some(of(agent)?.held as f64),
    );
    each(
        "tcpmon_agent_spool_trouble",
        "Whether an agent cannot store results.",
        &|agent| Some(f64::from(!of(agent)?.spool.is_empty())),
    );
    each(
        "tcpmon_agent_config_pending",
        "Whether an agent has yet to take its configuration.",
        &|agent| Some(f64::from(of(agent)?.pending)),
    );
    each(
        "tcpmon_agent_config_rejected",
        "Whether an agent refused its configuration.",
        &|agent| Some(f64::from(of(agent)?.rejected.is_some())),
    );
    each(
        "tcpmon_agent_cut_off",
        "Whether an agent is cut off from all its anchors.",
        &|agent| Some(f64::from(agent.cut_off.is_some())),
    );
}

fn write_histories(out: &mut Exposition, site: &Site) {
    let accounts = site.core.accounts();
    out.family(
        "tcpmon_history_size_bytes",
        Kind::Gauge,
        "What an agent's history takes on disk.",
    );
    for (agent, bytes, _) in &accounts {
        out.sample(&[("agent", agent.as_str())], *bytes as f64);
    }
    out.family(
        "tcpmon_history_records",
        Kind::Gauge,
        "What became of the numbers that an agent gave to records: stored, stood for by a summary, or dropped with a reason. What is missing is told by an audit.",
    );
    for (agent, _, totals) in &accounts {
        for (kind, count) in [
            ("stored", totals.stored),
            ("summarised", totals.summarised),
            ("dropped", totals.dropped),
        ] {
            out.sample(&[("agent", agent.as_str()), ("kind", kind)], count as f64);
        }
    }
    let limits = site.core.limits();
    out.single(
        "tcpmon_history_limit_bytes",
        Kind::Gauge,
        "Beyond this the oldest history is deleted.",
        limits.bytes as f64,
    );
    out.single(
        "tcpmon_history_limit_seconds",
        Kind::Gauge,
        "Older history is deleted.",
        limits.age.as_secs_f64(),
    );
}

fn write_receivers(out: &mut Exposition, site: &Site, view: &View) {
    let receivers = status::receivers(site.core.data(), &view.fleet).unwrap_or_default();
    let name = |receiver: &alerts::receiver::Receiver| -> Name { receiver.rule().name.clone() };
    out.family(
        "tcpmon_alert_queued",
        Kind::Gauge,
        "Messages that wait to be delivered.",
    );
    for receiver in &receivers {
        out.sample(
            &[("receiver", name(receiver).as_str())],
            receiver.queued() as f64,
        );
    }
    out.family(
        "tcpmon_alert_delivered",
        Kind::Counter,
        "Messages that were delivered.",
    );
    for receiver in &receivers {
        out.sample(
            &[("receiver", name(receiver).as_str())],
            receiver.counts().0 as f64,
        );
    }
    out.family(
        "tcpmon_alert_dropped",
        Kind::Counter,
        "Messages that were given up.",
    );
    for receiver in &receivers {
        out.sample(
            &[("receiver", name(receiver).as_str())],
            receiver.counts().1 as f64,
        );
    }
}
