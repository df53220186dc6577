//! The board as two plain tables for `status`: no escapes, no colours, as wide as needed.

use std::fmt::Write;

use super::notes::matters;
use super::table::age;
use crate::manager::alerts::receiver::{Outcome, Receiver};
use crate::manager::board::{AgentRow, Row, Snapshot, State, TargetRow};
use crate::manager::exports::ExportRow;
use crate::model::Wall;
use crate::text;
use crate::units::{count_text, latency_text};

/// Longest revision shown.
const REVISION_LEN_MAX: usize = 24;
/// Most agents named that see a target otherwise, or are about to.
const DOUBTS_MAX: usize = 2;

/// A table of the targets, down first, and one of the agents. `s` holds all rows.
pub fn plain_table(s: &Snapshot) -> String {
    let mut targets = s.targets();
    targets.sort_by_key(|t| t.state);
    if s.agents.is_empty() && targets.is_empty() {
        return "The fleet has no agents and no targets.\n".to_string();
    }
    let titles = ["TARGET", "ADDRESS", "STATE", "FOR", "LAST", "AGENTS", "WHY"];
    let rows = targets.iter().map(|t| target(t, s.now)).collect();
    let mut out = table(titles, rows);
    out.push('\n');
    let titles = ["AGENT", "LINK", "FOR", "SEEN", "REVISION", "NOTE"];
    out += &table(titles, s.agents.iter().map(|a| agent(a, s.now)).collect());
    out
}

fn target(t: &TargetRow<'_>, now: Wall) -> [String; 7] {
    let agree = t.agents.iter().filter(|r| r.state == t.state).count();
    let why = match (t.state, t.text, t.why) {
        (State::Down, "", Some(why)) => why.as_str().to_string(),
        (State::Down, text, Some(_)) => text.to_string(),
        _ => doubts(t),
    };
    let why = match t.quiet {
        Some(cause) if why.is_empty() => format!("({})", cause.as_str()),
        Some(cause) => format!("({}) {why}", cause.as_str()),
        None => why,
    };
    [
        t.name.to_string(),
        t.address.to_string(),
        t.state.to_string(),
        t.since.map_or_else(none, |since| age(since, now)),
        t.last_us.map_or_else(none, latency_text),
        format!("{agree}/{}", t.agents.len()),
        why,
    ]
}

/// From where it is about to be otherwise, or flaps: `1/3 from attic: connect to …`.
fn doubts(t: &TargetRow<'_>) -> String {
    let mut doubts = t.agents.iter().filter_map(|row| doubt(row));
    let shown: Vec<String> = doubts.by_ref().take(DOUBTS_MAX).collect();
    let more = doubts.count();
    let mut text = shown.join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

fn doubt(row: &Row) -> Option<String> {
    if row.flapping {
        return Some(format!("flapping from {}", row.agent));
    }
    let mut text = format!("{} from {}", row.undecided?, row.agent);
    // Of a failure, what it was; an answer has no text.
    if !row.text.is_empty() {
        text += &format!(": {}", row.text);
    }
    Some(text)
}

fn agent(a: &AgentRow, now: Wall) -> [String; 6] {
    let Some(link) = &a.link else {
        let name = a.name.to_string();
        return [name, none(), none(), none(), none(), String::new()];
    };
    let mut note = matters(a);
    if !link.connected && !link.text.is_empty() {
        note.push(link.text.clone());
    }
    let seen = |at| format!("{} ago", age(at, now));
    [
        a.name.to_string(),
        if link.connected { "connected" } else { "away" }.to_string(),
        age(link.since, now),
        link.last_seen.map_or_else(none, seen),
        match link.revision.as_str() {
            "" => none(),
            revision => text::fit(revision, REVISION_LEN_MAX).trim_end().to_string(),
        },
        note.join(", "),
    ]
}

fn none() -> String {
    "-".to_string()
}

/// A table of the receivers of alerts; nothing where there are none.
pub fn receivers_table(receivers: &[Receiver], now: Wall) -> String {
    if receivers.is_empty() {
        return String::new();
    }
    let titles = ["ALERT", "QUEUED", "DELIVERED", "DROPPED", "LAST", "NOTE"];
    let rows = receivers.iter().map(|r| receiver(r, now)).collect();
    format!("\n{}", table(titles, rows))
}

fn receiver(receiver: &Receiver, now: Wall) -> [String; 6] {
    let (delivered, dropped) = receiver.counts();
    let last = receiver.log().last();
    let note = last.map(|last| match &last.outcome {
        Outcome::Delivered => last.subject.clone(),
        Outcome::Failed(why) => format!("{}: tried {} times: {why}", last.subject, last.tries),
        Outcome::Dropped(why) => format!("{}: given up: {why}", last.subject),
    });
    [
        receiver.rule().name.to_string(),
        count_text(receiver.queued() as u64),
        count_text(delivered),
        count_text(dropped),
        last.map_or_else(none, |last| format!("{} ago", age(last.at, now))),
        note.unwrap_or_default(),
    ]
}

/// A table of the exports; nothing where there are none.
pub fn exports_table(exports: &[ExportRow], now: Wall) -> String {
    if exports.is_empty() {
        return String::new();
    }
    let titles = [
        "EXPORT",
        "TO",
        "BACKLOG",
        "DELIVERED",
        "MISSED",
        "REFUSED",
        "LAST",
        "NOTE",
    ];
    let rows = exports.iter().map(|e| export(e, now)).collect();
    format!("\n{}", table(titles, rows))
}

fn export(export: &ExportRow, now: Wall) -> [String; 8] {
    let progress = &export.progress;
    let last = progress.delivered_at;
    let note = progress
        .failing
        .as_ref()
        .map(|(since, why)| format!("failing for {}: {why}", age(*since, now)));
    [
        export.name.to_string(),
        export.destination.clone(),
        count_text(export.backlog),
        count_text(progress.delivered),
        count_text(progress.missed),
        count_text(progress.refused),
        last.map_or_else(none, |at| format!("{} ago", age(at, now))),
        note.unwrap_or_default(),
    ]
}

/// Columns two spaces apart, each as wide as its widest cell; no space at the end of a line.
fn table<const N: usize>(titles: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut lines = vec![titles.map(str::to_string)];
    lines.extend(
        rows.into_iter()
            .map(|row| row.map(|c| text::escape(&c).into_owned())),
    );
    let width = |i: usize| lines.iter().map(|l| text::width(&l[i])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, w)| text::fit(cell, *w));
        let cells: Vec<String> = cells.collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}
