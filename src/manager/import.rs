//! `tcpmon-manager import`: targets out of a list that exists already, into the fleet file:
//! Prometheus' file_sd in JSON, or lines of a name and an address.
//!
//! Reading a list and adding it to a fleet are pure. Always: with any problem nothing is
//! changed; what is there already stays as it is.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CONFIG, FLEET_FILE, fleet_file};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::config::{FLEET_BYTES_MAX, Fleet, FleetTarget, KeyRule, NAMES_MAX, Problem};
use crate::error::{Error, Result};
use crate::files;
use crate::json::{self, Value, line_column};
use crate::model::{NAME_LEN_MAX, Name};
use crate::units::HostPort;

const DRY_RUN: Opt = Opt {
    name: "--dry-run",
    value: "",
    default: "",
    help: "print the fleet file as it would be, and write nothing",
    repeat: false,
};

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager import",
    about: "Adds the targets of a list to the fleet file.",
    usage: &["tcpmon-manager import FILE [--config FILE] [--dry-run]"],
    opts: &[CONFIG, DRY_RUN],
    more: "\
FILE is a Prometheus target list (file_sd) in JSON:
  [ { \"targets\": [\"db.example.org:5432\"], \"labels\": { \"job\": \"db\" } } ]
or has a name and an address on each line, and # before remarks:
  db db.example.org:5432
Targets of a file_sd list are called by host and port, db.example.org-5432;
the label group, else job, becomes their group, and the label tags, words
between commas, their tags. Targets that are there already are left alone.",
    free_max: 1,
};

/// One target of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    /// As the list has it; else it is made of the address.
    name: Option<Name>,
    address: HostPort,
    group: Option<Name>,
    tags: Vec<Name>,
    /// Line and column, from 1.
    place: (usize, usize),
}

/// A list, and labels in it that nothing was made of.
#[derive(Debug, Default, PartialEq, Eq)]
struct List {
    items: Vec<Item>,
    ignored: BTreeSet<String>,
}

/// A problem and where it is.
fn at((line, column): (usize, usize), text: impl Into<String>) -> Problem {
    Problem {
        line,
        column,
        ..Problem::whole(text.into())
    }
}

/// Reads a list of either form.
fn read_list(text: &[u8]) -> std::result::Result<List, Vec<Problem>> {
    match text.trim_ascii_start().first() {
        Some(b'[' | b'{') => read_file_sd(text),
        _ => read_lines(text),
    }
}

fn read_lines(text: &[u8]) -> std::result::Result<List, Vec<Problem>> {
    let text = std::str::from_utf8(text)
        .map_err(|_| vec![Problem::whole("not a text in UTF-8".into())])?;
    let (mut list, mut problems) = (List::default(), Vec::new());
    for (no, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = (no + 1, 1);
        let (name, address) = match words[..] {
            [] => continue,
            [name, address] => (name.parse(), address.parse()),
            _ => {
                problems.push(at(place, "expected a name and HOST:PORT on a line"));
                continue;
            }
        };
        match (name, address) {
            (Ok(name), Ok(address)) => list.items.push(Item {
                name: Some(name),
                address,
                group: None,
                tags: Vec::new(),
                place,
            }),
            (name, address) => {
                let texts = [name.err(), address.err()];
                problems.extend(texts.into_iter().flatten().map(|text| at(place, text)));
            }
        }
    }
    if problems.is_empty() {
        Ok(list)
    } else {
        Err(problems)
    }
}

fn read_file_sd(text: &[u8]) -> std::result::Result<List, Vec<Problem>> {
    let value = json::parse(text).map_err(|error| vec![Problem::syntax(text, &error)])?;
    let place = |value: &Value<'_>| line_column(text, value.at);
    let (mut list, mut problems) = (List::default(), Vec::new());
    let Some(groups) = value.array() else {
        return Err(vec![at(
            place(&value),
            "expected a list of { \"targets\": [...] }",
        )]);
    };
    for group in groups {
        let Some(targets) = group.get("targets").and_then(Value::array) else {
            problems.push(at(
                place(group),
                "expected an object with \"targets\", a list",
            ));
            continue;
        };
        let label = |name: &str| group.get("labels")?.get(name)?.str();
        let named = label("group").or(label("job")).map(tidy_name);
        let words = label("tags").unwrap_or_default().split(',');
        let mut tags: Vec<Name> = words
            .filter(|w| !w.trim().is_empty())
            .map(tidy_name)
            .collect();
        tags.sort();
        tags.dedup();
        tags.truncate(NAMES_MAX);
        let labels = group
            .get("labels")
            .and_then(Value::object)
            .unwrap_or_default();
        let used = |key: &str| {
            key == "tags" || key == "group" || (key == "job" && label("group").is_none())
        };
        let ignored = labels.iter().filter(|member| !used(&member.key));
        list.ignored
            .extend(ignored.map(|member| member.key.to_string()));
        for target in targets {
            let address = target
                .str()
                .ok_or_else(|| "expected HOST:PORT in quotes".to_string());
            match address.and_then(str::parse) {
                Ok(address) => list.items.push(Item {
                    name: None,
                    address,
                    group: named.clone(),
                    tags: tags.clone(),
                    place: place(target),
                }),
                Err(text) => problems.push(at(
                    place(target),
                    format!("{text}, found {}", target.brief()),
                )),
            }
        }
    }
    if problems.is_empty() {
        Ok(list)
    } else {
        Err(problems)
    }
}

/// A text as a name: what names do not have becomes a dash.
fn tidy_name(text: &str) -> Name {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let chars = text
        .trim()
        .chars()
        .map(|c| if allowed(c) { c } else { '-' });
    let name: String = chars.take(NAME_LEN_MAX).collect();
    name.parse()
        .unwrap_or_else(|_| "x".parse().expect("a valid name"))
}

/// What adding a list came to.
#[derive(Debug, PartialEq, Eq)]
struct Added {
    new: usize,
    known: usize,
}

/// Adds a list to a fleet.
fn add(fleet: &mut Fleet, list: &List) -> std::result::Result<Added, Vec<Problem>> {
    let (mut added, mut problems) = (Added { new: 0, known: 0 }, Vec::new());
    for item in &list.items {
        let name = item.name.clone().unwrap_or_else(|| {
            let HostPort { host, port } = &item.address;
            tidy_name(&format!("{host}-{port}"))
        });
        let by_address = fleet.targets.iter().any(|t| t.address == item.address);
        match fleet.target(&name) {
            Some(known) if known.address == item.address => added.known += 1,
            Some(known) => {
                let text = format!(
                    "target {name} is there already, with the address {}",
                    known.address
                );
                problems.push(at(item.place, text));
            }
            // One without a name of its own is whichever has its address.
            None if item.name.is_none() && by_address => added.known += 1,
            None => {
                added.new += 1;
                fleet.targets.push(FleetTarget {
                    group: item.group.clone(),
                    tags: item.tags.clone(),
                    ..FleetTarget::new(name, item.address.clone())
                });
            }
        }
    }
    if problems.is_empty() {
        Ok(added)
    } else {
        Err(problems)
    }
}

/// The fleet file that a list makes out of nothing, where the list is right; for tests of
/// others.
#[cfg(test)]
pub fn tried(text: &[u8]) -> std::result::Result<String, Vec<Problem>> {
    let mut fleet = Fleet::default();
    add(&mut fleet, &read_list(text)?)?;
    match fleet.problems(KeyRule::Waived) {
        problems if problems.is_empty() => Ok(fleet.to_json()),
        problems => Err(problems),
    }
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let Some(file) = args.free().first() else {
        return Err(Fail::Usage("no list: name its file".into()));
    };
    let path = PathBuf::from(args.get(CONFIG.name).unwrap_or(FLEET_FILE));
    let text = import(Path::new(file), &path, args.flag(DRY_RUN.name))?;
    cli::print(&text);
    Ok(ExitCode::SUCCESS)
}

fn import(file: &Path, path: &Path, is_dry: bool) -> Result<String> {
    let shown = |problems: Vec<Problem>| {
        let lines = problems
            .iter()
            .map(|problem| format!("{}:{problem}", file.display()));
        Error::new(lines.collect::<Vec<_>>().join("\n"))
    };
    let bytes = files::read_bounded(file, FLEET_BYTES_MAX)?;
    let list = read_list(&bytes).map_err(shown)?;
    let mut fleet = match files::stamp(path) {
        Some(_) => fleet_file::read(path).map_err(|lines| Error::new(lines.join("\n")))?,
        None => Fleet::default(),
    };
    let added = add(&mut fleet, &list).map_err(shown)?;
    // Whether links have keys is no matter of targets.
    let problems = fleet.problems(KeyRule::Waived);
    if !problems.is_empty() {
        let lines = problems
            .iter()
            .map(|problem| format!("{}: {problem}", path.display()));
        return Err(Error::new(lines.collect::<Vec<_>>().join("\n")));
    }
    if is_dry {
        return Ok(fleet.to_json());
    }
    if added.new > 0 {
        files::replace(path, fleet.to_json().as_bytes())?;
    }
    let mut text = format!(
        "{}: {} targets added, {} there already\n",
        path.display(),
        added.new,
        added.known
    );
    if !list.ignored.is_empty() {
        let labels: Vec<&str> = list.ignored.iter().map(String::as_str).take(20).collect();
        let labels = crate::text::escape(&labels.join(", ")).into_owned();
        text.push_str(&format!("labels that nothing was made of: {labels}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let found = read_list(text.as_bytes()).unwrap_err();
        found.iter().map(Problem::to_string).collect()
    }

    fn fleet_of(text: &str) -> (Fleet, std::result::Result<Added, Vec<Problem>>) {
        let mut fleet = Fleet::default();
        let known = "db h:1\nother o:2\n";
        add(&mut fleet, &read_list(known.as_bytes()).unwrap()).unwrap();
        let added = add(&mut fleet, &read_list(text.as_bytes()).unwrap());
        (fleet, added)
    }

    #[test]
    fn both_forms_are_read() {
        let (fleet, added) = fleet_of("# all of it\n web  w:80 # http\n\ndb h:1\r\n");
        assert_eq!(added, Ok(Added { new: 1, known: 1 }));
        assert_eq!(fleet.targets[2].name.as_str(), "web");
        let text = r#"[ { "targets": ["10.0.0.7:5432", "[::1]:22"],
            "labels": { "job": "data base", "tags": ",b,a,b,", "region": "x" } },
          { "targets": ["h:1", "q:1"], "labels": { "job": "j", "group": "g" } } ]"#;
        let list = read_list(text.as_bytes()).unwrap();
        assert_eq!(
            list.ignored.iter().map(String::as_str).collect::<Vec<_>>(),
            ["job", "region"]
        );
        let (fleet, added) = fleet_of(text);
        assert_eq!(added, Ok(Added { new: 3, known: 1 }));
        let seen: Vec<String> = fleet.targets[2..]
            .iter()
            .map(|t| {
                let tags: Vec<&str> = t.tags.iter().map(Name::as_str).collect();
                format!(
                    "{} {} {} {}",
                    t.name,
                    t.address,
                    t.group.as_ref().unwrap(),
                    tags.join("+")
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                "10.0.0.7-5432 10.0.0.7:5432 data-base a+b",
                "--1-22 [::1]:22 data-base a+b",
                "q-1 q:1 g "
            ]
        );
        assert_eq!(fleet.problems(KeyRule::Waived), []);
    }

    #[test]
    fn every_problem_is_told_where_it_is() {
        assert_eq!(
            problems("db\nx y z\nw@b h:1\nok h"),
            [
                "1:1: expected a name and HOST:PORT on a line",
                "2:1: expected a name and HOST:PORT on a line",
                "3:1: expected a name of 1 to 128 letters, digits, '.', '_' or '-'",
                "4:1: expected HOST:PORT such as \"10.0.0.7:443\"",
            ]
        );
        assert_eq!(
            problems("[ {\"targets\": [\"http://x/\", 7]},\n {} ]"),
            [
                "1:16: expected HOST:PORT with a port from 1 to 65535, found \"http://x/\"",
                "1:29: expected HOST:PORT in quotes, found 7",
                "2:2: expected an object with \"targets\", a list",
            ]
        );
        assert_eq!(
            problems("{}"),
            ["1:1: expected a list of { \"targets\": [...] }"]
        );
        let (fleet, added) = fleet_of("db elsewhere:1\nnew n:1");
        let told: Vec<String> = added.unwrap_err().iter().map(Problem::to_string).collect();
        assert_eq!(
            told,
            ["1:1: target db is there already, with the address h:1"]
        );
        assert_eq!(fleet.targets[0].address.to_string(), "h:1");
    }
}
