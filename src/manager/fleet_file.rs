//! The fleet file on disk, together with the key files it names. A fleet to monitor by
//! is checked whole: its text, and that every key file can be used for its agents.

use std::path::{Path, PathBuf};

use crate::config::{FLEET_BYTES_MAX, Fleet, KeyRule, Problem, parse_fleet, problems_at};
use crate::error::Result;
use crate::files::{self, Holder, KeyFile};
use crate::model::Name;

/// Reads and checks a fleet file and its key files, to monitor by it.
pub fn check(path: &Path, rule: KeyRule) -> std::result::Result<Fleet, Vec<Problem>> {
    let bytes = read_bytes(path)?;
    let fleet = parse_fleet(&bytes, rule)?;
    let found = key_problems(&fleet, base_of(Some(path)), rule);
    match found.is_empty() {
        true => Ok(fleet),
        false => Err(problems_at(&bytes, &found)),
    }
}

/// Reads a fleet file to know what is monitored, by whatever keys. Every problem starts
/// with the file's name.
pub fn read(path: &Path) -> std::result::Result<Fleet, Vec<String>> {
    let fleet = read_bytes(path).and_then(|bytes| parse_fleet(&bytes, KeyRule::Waived));
    fleet.map_err(|problems| named(path, &problems))
}

/// Problems as lines that start with the file's name.
pub fn named(path: &Path, problems: &[Problem]) -> Vec<String> {
    let shown = path.display();
    let line = |problem: &Problem| match problem.line {
        0 => format!("{shown}: {problem}"),
        _ => format!("{shown}:{problem}"),
    };
    problems.iter().map(line).collect()
}

fn read_bytes(path: &Path) -> std::result::Result<Vec<u8>, Vec<Problem>> {
    files::read_bounded(path, FLEET_BYTES_MAX).map_err(|error| {
        // Whoever shows a problem names the file.
        let text = error.to_string();
        let named = format!("read {}: ", path.display());
        let text = text.strip_prefix(&named).unwrap_or(&text);
        vec![Problem::whole(text.to_string())]
    })
}

/// Where a fleet file's relative paths start from.
pub fn base_of(path: Option<&Path>) -> &Path {
    path.and_then(Path::parent).unwrap_or(Path::new(""))
}

/// The key file of an agent's link, opened.
pub fn open_key_file(base: &Path, text: &str, agent: &Name) -> Result<KeyFile> {
    KeyFile::open(base.join(text), Holder::ManagerOf(agent.clone()))
}

/// What is wrong with the key files: the place in the fleet file, and the text.
pub fn key_problems(fleet: &Fleet, base: &Path, rule: KeyRule) -> Vec<(String, String)> {
    if rule == KeyRule::Waived {
        return key_despite_waiver(fleet);
    }
    let problem = |text: &str, agent: &Name| {
        let opened = open_key_file(base, text, agent);
        opened.err().map(|error| error.to_string())
    };
    let mut found = Vec::new();
    for (place, text, agent) in fleet.key_files() {
        let wrong = match agent {
            Some(agent) => problem(text, agent),
            None => {
                let mut users = fleet.agents.iter().filter(|a| a.key_file.is_none());
                users.find_map(|agent| problem(text, &agent.name))
            }
        };
        found.extend(wrong.map(|text| (place, text)));
    }
    found
}

fn key_despite_waiver(fleet: &Fleet) -> Vec<(String, String)> {
    let text = "a side that has a key never talks without, and --insecure is given";
    let places = fleet.key_files().into_iter().map(|(place, ..)| place);
    places.map(|place| (place, text.to_string())).collect()
}

/// The path of a fleet file's key file for one agent, when it has one.
pub fn key_path(fleet: &Fleet, base: &Path, agent: &Name) -> Option<PathBuf> {
    let agent = fleet.agents.iter().find(|a| a.name == *agent)?;
    fleet.key_file_of(agent).map(|text| base.join(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, Rights};

    fn checked(dir: &Path, text: &str, rule: KeyRule) -> Vec<String> {
        let path = dir.join("fleet.json");
        std::fs::write(&path, text).unwrap();
        let shown = format!("{}/", dir.display());
        let lines = check(&path, rule).map_err(|problems| named(&path, &problems));
        let lines = lines.err().unwrap_or_default();
        lines.iter().map(|line| line.replace(&shown, "")).collect()
    }

    #[test]
    fn a_fleet_is_checked_with_its_key_files() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let master = Key::master([1; 32], Rights::Own);
        let attic = master.of_agent(&"attic".parse().unwrap());
        files::write_keys(&dir.join("master.key"), &[master]).unwrap();
        files::write_keys(&dir.join("attic.key"), &[attic]).unwrap();
        let fleet = |attic: &str, defaults: &str| {
            format!(
                "{{\"agents\": [{{\"name\": \"attic\", \"address\": \"10.0.0.7:1\"{attic}}},\n{{\"name\": \"cellar\", \"dials_in\": true}}],\n\"defaults\": {{{defaults}}}}}"
            )
        };
        let own = ", \"key_file\": \"attic.key\"";
        let all = "\"key_file\": \"master.key\"";
        let fine: [String; 0] = [];
        for text in [fleet(own, ""), fleet("", all), fleet(own, all)] {
            assert_eq!(checked(dir, &text, KeyRule::Required), fine, "{text}");
            let waived = checked(dir, &text, KeyRule::Waived);
            assert!(waived[0].contains("--insecure is given"), "{waived:?}");
        }
        let wrong = "\"key_file\": \"attic.key\"";
        assert_eq!(
            checked(dir, &fleet("", wrong), KeyRule::Required),
            [
                "fleet.json:3:26: defaults.key_file: key file attic.key: the key of agent attic, not of cellar"
            ]
        );
        let none = ", \"key_file\": \"none.key\"";
        assert_eq!(
            checked(dir, &fleet(none, ""), KeyRule::Required),
            [
                "fleet.json:1:68: agents[0].key_file: read key file none.key: no such file or directory"
            ]
        );
    }
}
