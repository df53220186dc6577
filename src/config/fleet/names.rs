//! Where one part of a fleet file names another: agents of targets, anchors of agents,
//! what targets depend on, and patterns of targets' names. What is named must be there;
//! what only a later part can tell is checked once the whole has been read.

use super::{Fleet, list_of};
use crate::config::fields::{Notes, Path, Spot, quoted, with_hint};
use crate::config::{NAMES_MAX, PATTERNS_MAX};
use crate::json::Value;
use crate::model::Name;
use crate::quiet::Pattern;

/// Most names shown of a cycle.
const CYCLE_NAMES_MAX: usize = 8;

/// Reads at most [`NAMES_MAX`] names, each once.
pub(super) fn read_names(spot: &mut Spot<'_, '_>, what: &str) -> Vec<Name> {
    let names = spot.each_once(NAMES_MAX, what, |spot| spot.name());
    names.unwrap_or_default()
}

/// The names, unless there are none.
pub(super) fn write_names(names: &[Name]) -> Option<String> {
    (!names.is_empty()).then(|| list_of(names))
}

/// Reads at least one pattern; each has to match a target, all of which are read.
pub(super) fn read_patterns(spot: &mut Spot<'_, '_>) -> Vec<Pattern> {
    const EXPECTED: &str = "a target's name in quotes, or a pattern such as \"db*\"";
    let patterns = spot.each_once(PATTERNS_MAX, "pattern", |spot| {
        let pattern: Pattern = spot.string(EXPECTED, str::parse)?;
        match pattern.as_str().contains('*') {
            true => check_matches(&pattern, spot),
            false => check_known(spot, Named::Target),
        }
        Some(pattern)
    });
    spot.not_empty("an empty list means no target; name one, or \"*\" for all");
    patterns.unwrap_or_default()
}

fn check_matches(pattern: &Pattern, spot: &mut Spot<'_, '_>) {
    let notes = &spot.notes;
    let found = notes.targets.keys().any(|name| pattern.matches(name));
    if !found && !notes.targets_unreadable {
        spot.problem(|| format!("no target's name matches {}", quoted(pattern.as_str())));
    }
}

/// What a name is one of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    Agent,
    Target,
}

/// Reports the name here when nothing of this kind has it.
pub(super) fn check_known(spot: &mut Spot<'_, '_>, named: Named) {
    let value = spot.value;
    let name = value.str().unwrap_or_default();
    let notes = &mut *spot.notes;
    let (what, names, unreadable) = match named {
        Named::Agent => ("agent", &notes.agents, notes.agents_unreadable),
        Named::Target => ("target", &notes.targets, notes.targets_unreadable),
    };
    if !unreadable && !names.contains_key(name) {
        notes.problems.add(value.at, &spot.path, || {
            let text = format!("no {what} is named {}", quoted(name));
            with_hint(text, name, names.keys().map(|name| &**name))
        });
    }
}

/// What agents and targets say of targets, now that all are read.
pub(super) fn check_names(fleet: &Fleet, root: &Value<'_>, notes: &mut Notes) {
    each_name(root, notes, ("targets", "depends_on"), |_, spot| {
        check_known(spot, Named::Target);
    });
    each_name(root, notes, ("agents", "anchors"), |index, spot| {
        check_known(spot, Named::Target);
        let name = spot.value.str().unwrap_or_default();
        let target = spot.notes.targets.get(name).map(|i| &fleet.targets[*i]);
        if target.is_some_and(|t| !t.probed_by(&fleet.agents[index].name)) {
            spot.problem(|| {
                format!("this agent does not probe \"{name}\"; an anchor is one of its own targets")
            });
        }
    });
    check_cycles(fleet, root, notes);
}

/// Shows each name in the lists at `key` of the entries of `list`, with the entry's index.
fn each_name(
    root: &Value<'_>,
    notes: &mut Notes,
    (list, key): (&str, &str),
    mut show: impl FnMut(usize, &mut Spot<'_, '_>),
) {
    let entries = entries(root, list);
    let list = Path::Key(&Path::Root, list);
    for (index, entry) in entries.iter().enumerate() {
        let entry_path = Path::Index(&list, index);
        let path = Path::Key(&entry_path, key);
        for (i, value) in names_at(entry, key).iter().enumerate() {
            if value.str().is_some_and(|text| text.parse::<Name>().is_ok()) {
                show(
                    index,
                    &mut Spot {
                        value,
                        path: Path::Index(&path, i),
                        notes,
                    },
                );
            }
        }
    }
}

/// The entries that were read of a list: of its first one, when there are two.
pub(super) fn entries<'v, 'a>(root: &'v Value<'a>, list: &str) -> &'v [Value<'a>] {
    let mut members = root.object().unwrap_or_default().iter();
    let list = members.find(|member| member.key == list);
    list.and_then(|member| member.value.array())
        .unwrap_or_default()
}

fn names_at<'v, 'a>(entry: &'v Value<'a>, key: &str) -> &'v [Value<'a>] {
    let list = entry.get(key).and_then(Value::array);
    list.unwrap_or_default()
}

/// How far the search for cycles is with a target.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Search {
    New,
    /// On the way to the one that is looked at.
    Under,
    Done,
}

/// Reports each entry of a `depends_on` that leads back to its own target. Not by
/// recursion: the longest way is as long as there are targets.
fn check_cycles(fleet: &Fleet, root: &Value<'_>, notes: &mut Notes) {
    let written = entries(root, "targets");
    let mut search = vec![Search::New; written.len()];
    for start in 0..written.len() {
        let mut way = vec![(start, 0)];
        while let Some((at, next)) = way.last_mut() {
            let (target, entry) = (*at, *next);
            *next += 1;
            if search[target] == Search::Done {
                way.pop();
                continue;
            }
            search[target] = Search::Under;
            let Some(value) = names_at(&written[target], "depends_on").get(entry) else {
                search[target] = Search::Done;
                continue;
            };
            let Some(&on) = value.str().and_then(|name| notes.targets.get(name)) else {
                continue;
            };
            match search[on] {
                Search::Under => {
                    let list = Path::Key(&Path::Root, "targets");
                    let path = Path::Index(&list, target);
                    let path = Path::Key(&path, "depends_on");
                    notes
                        .problems
                        .add(value.at, &Path::Index(&path, entry), || {
                            cycle_text(fleet, &way, on)
                        });
                }
                Search::New => way.push((on, 0)),
                Search::Done => {}
            }
        }
    }
}

fn cycle_text(fleet: &Fleet, way: &[(usize, usize)], back_to: usize) -> String {
    let cycle = way.iter().skip_while(|(target, _)| *target != back_to);
    let names = cycle.map(|(target, _)| fleet.targets[*target].name.as_str());
    let mut names: Vec<&str> = names.collect();
    let first = names.first().copied().unwrap_or_default();
    if names.len() > CYCLE_NAMES_MAX {
        names.splice(
            CYCLE_NAMES_MAX / 2..names.len() - CYCLE_NAMES_MAX / 2,
            ["…"],
        );
    }
    format!(
        "{first} would depend on itself: {} -> {first}",
        names.join(" -> ")
    )
}

#[cfg(test)]
mod tests {
    use crate::config::{KeyRule, parse_fleet};

    /// Each depends on the next two; the last ones on `last`.
    fn chain(count: usize, last: &str) -> String {
        let target = |i: usize| {
            let on = match i + 2 < count {
                true => format!("\"t{}\", \"t{}\"", i + 2, i + 1),
                false => format!("\"{last}\""),
            };
            format!(r#"{{"name": "t{i}", "address": "h:1", "depends_on": [{on}]}}"#)
        };
        let targets: Vec<String> = (0..count).map(target).collect();
        let end = r#"{"name": "end", "address": "h:1"}"#;
        format!(r#"{{"targets": [{end}, {}]}}"#, targets.join(",\n"))
    }

    #[test]
    fn long_chains_are_followed_to_their_ends() {
        let good = chain(50_000, "end");
        assert!(parse_fleet(good.as_bytes(), KeyRule::Waived).is_ok());
        let bad = chain(50_000, "t0");
        let problems = parse_fleet(bad.as_bytes(), KeyRule::Waived).unwrap_err();
        let got: Vec<String> = problems.iter().map(|p| p.to_string()).collect();
        let odd = "t0 -> t2 -> t4 -> t6 -> … -> t49992 -> t49994 -> t49996 -> t49998 -> t0";
        let even = "t0 -> t2 -> t4 -> t6 -> … -> t49994 -> t49996 -> t49997 -> t49999 -> t0";
        let problem = |line: usize, column: usize, on, way: &str| {
            let path = format!("targets[{line}].depends_on[0]");
            format!("{line}:{column}: {path}: {on} would depend on itself: {way}")
        };
        assert_eq!(
            got,
            [
                problem(49_999, 53, "t0", odd),
                problem(50_000, 53, "t0", even)
            ]
        );
    }
}
