//! The bottom of the live view: what is the matter with agents, and the newest events.

use super::line::{Line, Style};
use super::table::age;
use crate::manager::board::{AgentRow, Event, EventKind, Snapshot};
use crate::model::Wall;
use crate::term::Colour;
use crate::units::{clock_text, count_text, latency_text};

/// A note about an agent; the first kind matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Away,
    Trouble,
    Busy,
}

/// At most `room` lines: notes in two thirds of them, or more when there are too few
/// events to fill the rest; the newest event last.
pub(super) fn bottom(s: &Snapshot, room: usize, columns: usize, colour: Colour) -> Vec<Line> {
    let notes = notes(s);
    let for_notes = room - s.events.len().min(room.div_ceil(3));
    let mut lines: Vec<Line> = shortened(&notes, for_notes)
        .into_iter()
        .map(|text| {
            let mut line = Line::new(columns, colour);
            line.put(&text, Style::Yellow);
            line
        })
        .collect();
    let space = room - lines.len();
    let apart = usize::from(!lines.is_empty() && space > s.events.len());
    lines.extend((0..apart).map(|_| Line::new(columns, colour)));
    let skip = s.events.len().saturating_sub(space);
    lines.extend(s.events[skip..].iter().map(|e| event(e, columns, colour)));
    lines
}

/// The first notes, and how many there are beyond.
fn shortened(notes: &[String], room: usize) -> Vec<String> {
    if notes.len() <= room {
        return notes.to_vec();
    }
    let mut shown: Vec<String> = notes.iter().take(room.saturating_sub(1)).cloned().collect();
    if room > 0 {
        let more = notes.len() - shown.len();
        shown.push(match shown.is_empty() {
            true => format!("{more} agents need attention"),
            false => format!("and {more} more agents"),
        });
    }
    shown
}

fn notes(s: &Snapshot) -> Vec<String> {
    let mut notes: Vec<(Weight, String)> = s
        .agents
        .iter()
        .filter_map(|agent| note(agent, s.now))
        .collect();
    notes.sort_by_key(|n| n.0);
    notes.into_iter().map(|n| n.1).collect()
}

/// What is the matter with an agent: `attic away 3m: connect to 10.0.0.9:65432: refused`,
/// `attic 1,234 to fetch, clock 5.0s behind`.
fn note(agent: &AgentRow, now: Wall) -> Option<(Weight, String)> {
    let name = &agent.name;
    let Some(link) = &agent.link else {
        return Some((Weight::Busy, format!("{name} connecting")));
    };
    let (weight, parts) = matter(agent);
    let parts = parts.join(", ");
    if link.connected {
        return (!parts.is_empty()).then(|| (weight, format!("{name} {parts}")));
    }
    let mut text = format!("{name} away {}", age(link.since, now));
    if !parts.is_empty() {
        text += &format!(", {parts}");
    }
    if !link.text.is_empty() {
        text += &format!(": {}", link.text);
    }
    Some((Weight::Away, text))
}

/// What is the matter beside being away, shortest first.
pub(super) fn matters(agent: &AgentRow) -> Vec<String> {
    matter(agent).1
}

fn matter(agent: &AgentRow) -> (Weight, Vec<String>) {
    let mut parts = Vec::new();
    let mut weight = Weight::Busy;
    let Some(link) = &agent.link else {
        return (weight, parts);
    };
    if agent.cut_off.is_some() {
        parts.push("cut off from its anchors".to_string());
        weight = Weight::Trouble;
    }
    if link.to_fetch > 0 {
        parts.push(format!("{} to fetch", count_text(link.to_fetch)));
    }
    if let Some(ms) = link.clock_off_ms() {
        let way = if ms > 0 { "ahead" } else { "behind" };
        let off = latency_text(ms.unsigned_abs().saturating_mul(1000));
        parts.push(format!("clock {off} {way}"));
        weight = Weight::Trouble;
    }
    match &link.rejected {
        Some(reason) => {
            parts.push(format!("configuration rejected: {reason}"));
            weight = Weight::Trouble;
        }
        None if link.pending => parts.push("configuration pending".to_string()),
        None => {}
    }
    if !link.spool.is_empty() {
        parts.push(format!("cannot store results: {}", link.spool));
        weight = Weight::Trouble;
    }
    (weight, parts)
}

fn event(event: &Event, columns: usize, colour: Colour) -> Line {
    let mut line = Line::new(columns, colour);
    line.put(&clock_text(event.at), Style::Dim);
    line.put(" ", Style::Plain);
    let style = match event.kind {
        EventKind::Down => Style::Red,
        EventKind::Up
        | EventKind::Steady
        | EventKind::Connected
        | EventKind::Rejoined
        | EventKind::Recovered => Style::Green,
        EventKind::Slow
        | EventKind::Flapping
        | EventKind::Late
        | EventKind::CutOff
        | EventKind::Away
        | EventKind::Trouble
        | EventKind::Note => Style::Yellow,
    };
    line.put(&event.text, style);
    line
}
