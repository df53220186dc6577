//! What the menu shows of a fleet: tables of its agents and targets, one line about the
//! whole, and how far a change has got. Pure: a fleet and its links go in, text comes out.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use crate::config::{Fleet, FleetAgent, FleetTarget};
use crate::manager::board::{AgentRow, Link, Snapshot};
use crate::model::Name;
use crate::text;
use crate::units::{HostPort, count_text, duration_text};

/// Widest cell of a table, save in its last column.
const CELL_WIDTH_MAX: usize = 32;
/// Widest list of agents shown for a target.
const LIST_WIDTH_MAX: usize = 40;
/// Longest revision shown.
const REVISION_WIDTH_MAX: usize = 24;
/// Most rows of a table.
const ROWS_MAX: usize = 1_000;
/// Most agents told apart after a change.
const TOLD_MAX: usize = 10;

/// Said of an agent that there was no time to connect to yet.
const NOT_REACHED: &str = "pending, not reached yet";

/// What stands in the place of the address of an agent that has none.
const DIALS_IN: &str = "dials in";

/// The fleet's agents: where they are, and what is applied there. Key files have a column
/// where there are any; in brackets the one that comes from the defaults.
pub(super) fn agents(fleet: &Fleet, rows: &[AgentRow]) -> String {
    if fleet.agents.is_empty() {
        return "There are no agents.\n".to_string();
    }
    let links: HashMap<&Name, &AgentRow> = rows.iter().map(|row| (&row.name, row)).collect();
    let row = |i: usize| {
        let agent = &fleet.agents[i];
        let link = links.get(&agent.name).and_then(|row| row.link.as_ref());
        let connected = link.is_some_and(|l| l.connected);
        [
            agent.name.to_string(),
            address(agent),
            key_file(fleet, agent),
            if connected { "yes" } else { "no" }.to_string(),
            applied(link),
        ]
    };
    let len = fleet.agents.len();
    if fleet.key_files().is_empty() {
        let titles = ["AGENT", "ADDRESS", "CONNECTED", "APPLIED"];
        return table(titles, len, |i| {
            let [name, address, _, connected, applied] = row(i);
            [name, address, connected, applied]
        });
    }
    let titles = ["AGENT", "ADDRESS", "KEY FILE", "CONNECTED", "APPLIED"];
    table(titles, len, row)
}

fn address(agent: &FleetAgent) -> String {
    let address = agent.address.as_ref().map(HostPort::to_string);
    address.unwrap_or_else(|| DIALS_IN.to_string())
}

fn key_file(fleet: &Fleet, agent: &FleetAgent) -> String {
    match (&agent.key_file, &fleet.defaults.key_file) {
        (Some(own), _) => own.clone(),
        (None, Some(usual)) => format!("[{usual}]"),
        (None, None) => "none".to_string(),
    }
}

/// The fleet's targets with the values in force; in brackets what comes from the defaults.
pub(super) fn targets(fleet: &Fleet) -> String {
    if fleet.targets.is_empty() {
        return "There are no targets.\n".to_string();
    }
    let row = |i: usize| target(fleet, &fleet.targets[i]);
    let titles = [
        "TARGET", "ADDRESS", "INTERVAL", "TIMEOUT", "RETRIES", "AGENTS",
    ];
    table(titles, fleet.targets.len(), row) + "Values in brackets come from the defaults.\n"
}

fn target(fleet: &Fleet, target: &FleetTarget) -> [String; 6] {
    let (force, given) = (fleet.resolved(target), target.settings);
    let own = |own: bool, value: String| match own {
        true => value,
        false => format!("[{value}]"),
    };
    [
        target.name.to_string(),
        target.address.to_string(),
        own(given.interval.is_some(), duration_text(force.interval)),
        own(given.timeout.is_some(), duration_text(force.timeout)),
        own(given.retries.is_some(), force.retries.to_string()),
        match &target.agents {
            None => "all".to_string(),
            Some(names) => list(names),
        },
    ]
}

/// Names in a row, cut when there are many.
pub(super) fn list(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    text::fit(&names.join(", "), LIST_WIDTH_MAX)
        .trim_end()
        .to_string()
}

/// What is applied on an agent: a revision, or what is in the way of the newest one.
pub(super) fn applied(link: Option<&Link>) -> String {
    let Some(link) = link else {
        return NOT_REACHED.to_string();
    };
    let revision = text::fit(&text::escape(&link.revision), REVISION_WIDTH_MAX);
    match (revision.trim_end(), obstacle(link)) {
        ("", None) => "nothing yet".to_string(),
        ("", Some(obstacle)) => obstacle,
        (revision, None) => format!("revision {revision}"),
        (revision, Some(obstacle)) => format!("revision {revision}; {obstacle}"),
    }
}

fn obstacle(link: &Link) -> Option<String> {
    match &link.rejected {
        Some(reason) => Some(format!("rejected: {reason}")),
        None if link.pending && link.connected => Some("pending".to_string()),
        None if link.pending => Some("pending, agent is away".to_string()),
        None => None,
    }
}

/// Whom a change has reached: a line, and one for each agent that it has not.
pub(super) fn reach(rows: &[AgentRow]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["There are no agents yet that could probe.".to_string()];
    }
    let behind: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let Some(link) = &row.link else {
                return Some(format!("  {}: {NOT_REACHED}", row.name));
            };
            let mut line = format!("  {}: {}", row.name, obstacle(link)?);
            if !link.connected && !link.text.is_empty() {
                line += &format!(": {}", link.text);
            }
            Some(line)
        })
        .collect();
    let (all, there) = (rows.len(), rows.len() - behind.len());
    let mut lines = vec![match there == all {
        true => format!("Applied by {}.", counted(all, "agent")),
        false => format!("Applied by {there} of {}.", counted(all, "agent")),
    }];
    let more = behind.len().saturating_sub(TOLD_MAX);
    lines.extend(behind.into_iter().take(TOLD_MAX));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

/// The whole in one line.
pub(super) fn summary(fleet: &Fleet, path: Option<&Path>, s: &Snapshot, unsaved: &str) -> String {
    if path.is_none() && *fleet == Fleet::default() {
        return "No configuration is loaded.".to_string();
    }
    let name = path.map_or_else(
        || "a configuration without a file".to_string(),
        |path| path.display().to_string(),
    );
    let slow = match s.slow {
        0 => String::new(),
        slow => format!("{slow} slow, "),
    };
    format!(
        "{name}{unsaved}: {} ({} connected), {} ({} up, {slow}{} down)",
        counted(fleet.agents.len(), "agent"),
        s.connected(),
        counted(fleet.targets.len(), "target"),
        s.up,
        s.down,
    )
}

/// `1 agent`, `2,000 agents`.
pub(super) fn counted(n: usize, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count_text(n as u64))
}

/// Columns two spaces apart, each as wide as its widest cell; the last one is never cut.
fn table<const N: usize>(
    titles: [&str; N],
    len: usize,
    row: impl Fn(usize) -> [String; N],
) -> String {
    let mut lines = vec![titles.map(str::to_string)];
    let cell = |cell: String| text::escape(&cell).into_owned();
    lines.extend((0..len.min(ROWS_MAX)).map(|i| row(i).map(cell)));
    let width = |i: usize| {
        let widest = lines.iter().map(|line| text::width(&line[i])).max();
        widest.unwrap_or(0).min(CELL_WIDTH_MAX)
    };
    let widths: Vec<usize> = (0..N - 1).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = widths.iter().zip(line).map(|(w, cell)| text::fit(cell, *w));
        let mut cells: Vec<String> = cells.collect();
        cells.push(line[N - 1].clone());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    if len > ROWS_MAX {
        let _ = writeln!(out, "and {} more", count_text((len - ROWS_MAX) as u64));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KeyRule, parse_fleet};

    fn row(name: &str, link: Option<Link>) -> AgentRow {
        let name = name.parse().unwrap();
        AgentRow {
            name,
            link,
            cut_off: None,
        }
    }

    fn link() -> Link {
        Link {
            connected: true,
            revision: "7".to_string(),
            ..Link::default()
        }
    }

    #[test]
    fn what_is_applied_says_what_is_in_the_way() {
        let away = Link {
            connected: false,
            pending: true,
            ..link()
        };
        let new = Link {
            revision: String::new(),
            ..link()
        };
        let pending = Link {
            pending: true,
            ..new.clone()
        };
        let rejected = Link {
            rejected: Some("no\x07".to_string()),
            pending: true,
            ..link()
        };
        for (link, expected) in [
            (None, "pending, not reached yet"),
            (Some(link()), "revision 7"),
            (Some(away), "revision 7; pending, agent is away"),
            (Some(new), "nothing yet"),
            (Some(pending), "pending"),
            (Some(rejected), "revision 7; rejected: no\x07"),
        ] {
            assert_eq!(applied(link.as_ref()), expected);
        }
    }

    #[test]
    fn a_change_tells_of_the_agents_it_has_not_reached() {
        let away = |name: &str| row(name, None);
        let good = |name: &str| row(name, Some(link()));
        assert_eq!(reach(&[good("a")]), ["Applied by 1 agent."]);
        assert_eq!(reach(&[good("a"), good("b")]), ["Applied by 2 agents."]);
        let got = reach(&[good("a"), away("b")]);
        let expected = ["Applied by 1 of 2 agents.", "  b: pending, not reached yet"];
        assert_eq!(got, expected);
        let many: Vec<AgentRow> = (0..13).map(|i| away(&format!("a{i}"))).collect();
        let got = reach(&many);
        assert_eq!(got.len(), 12);
        assert_eq!(got[0], "Applied by 0 of 13 agents.");
        assert_eq!(got[11], "  and 3 more");
    }

    #[test]
    fn tables_are_cut_and_escaped() {
        let long = "x".repeat(60);
        let text = format!(
            r#"{{"agents": [{{"name": "{long}", "address": "h:1"}}, {{"name": "b", "address": "h:2"}}]}}"#
        );
        let fleet = parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap();
        let mut bad = link();
        bad.rejected = Some("\x1b[2J".to_string());
        let got = agents(&fleet, &[row("b", Some(bad))]);
        let expected = format!(
            "{:<32}  ADDRESS  CONNECTED  APPLIED\n{}…  h:1      no         pending, not reached yet\n{:<32}  h:2      yes        revision 7; rejected: \\x1b[2J\n",
            "AGENT",
            "x".repeat(31),
            "b"
        );
        assert_eq!(got, expected);
    }

    #[test]
    fn a_table_ends_somewhere() {
        let got = table(["A", "B"], ROWS_MAX + 5, |i| [i.to_string(), String::new()]);
        assert!(got.ends_with("\n999\nand 5 more\n"));
    }
}
