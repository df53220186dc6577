//! The configuration in force: who owns it, what replaces it, and the copy on
//! disk that a restart begins from. A configuration is in force whole and kept, or
//! not at all. What may be probed is asked when one is offered, not when the kept one
//! is read: a rule that is new must not take away the targets that it leaves alone.
//! Those it refuses fail with each probe.

use std::path::{Path, PathBuf};

use crate::config::{self, Problem};
use crate::error::Result;
use crate::files;
use crate::json;
use crate::log;
use crate::model::{Revision, Target};
use crate::proto::{self, CONFIG_BYTES_MAX};
use crate::units::Reach;

/// The revision's line adds this much at most to the kept file.
const REVISION_BYTES_MAX: usize = 1024;

/// What to do with a configuration that is offered.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It says what is in force already.
    Same,
    Replace,
    Refuse(String),
}

fn decide(current: Option<&Revision>, offered: &Revision, take_over: bool) -> Decision {
    let Some(current) = current else {
        return Decision::Replace;
    };
    if current.hash == offered.hash {
        return Decision::Same;
    }
    if take_over {
        return Decision::Replace;
    }
    if current.owner != offered.owner {
        let owner = &current.owner_name;
        return Decision::Refuse(format!(
            "the configuration belongs to manager {owner}; --take-over replaces it"
        ));
    }
    if offered.counter <= current.counter {
        return Decision::Refuse(format!(
            "revision {} is not newer than {}, which is in force (a manager restored from a backup?); --take-over replaces it",
            offered.counter, current.counter
        ));
    }
    Decision::Replace
}

/// The configuration in force and its file.
#[derive(Debug)]
pub struct Settings {
    path: PathBuf,
    reach: Reach,
    revision: Option<Revision>,
}

impl Settings {
    /// Reads the last good configuration kept in `dir`, and its targets. A file that
    /// can't be used is told and left alone; there are no targets then. What is offered
    /// later has to lie within `reach`.
    pub fn open(dir: &Path, reach: Reach) -> (Settings, Vec<Target>) {
        let mut settings = Settings {
            path: dir.join("config.jsonl"),
            reach,
            revision: None,
        };
        if files::stamp(&settings.path).is_none() {
            return (settings, Vec::new());
        }
        match read(&settings.path) {
            Ok((revision, targets)) => {
                settings.revision = Some(revision);
                (settings, targets)
            }
            Err(text) => {
                let path = settings.path.display();
                log::line(format_args!("last configuration {path}: {text}"));
                (settings, Vec::new())
            }
        }
    }

    /// The revision in force.
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// Checks an offered configuration. With `Ok(Some(targets))` it is kept on disk and
    /// in force, and the targets are to be probed; `Ok(None)` says nothing changes. Else
    /// all its problems.
    pub fn offer(
        &mut self,
        offered: &Revision,
        take_over: bool,
        text: &str,
    ) -> std::result::Result<Option<Vec<Target>>, Vec<String>> {
        match decide(self.revision.as_ref(), offered, take_over) {
            Decision::Same => return Ok(None),
            Decision::Refuse(text) => return Err(vec![text]),
            Decision::Replace => {}
        }
        let targets = config::parse_agent_config(text.as_bytes(), &self.reach).map_err(listed)?;
        self.keep(offered, text)
            .map_err(|error| vec![format!("it can't be kept: {error}")])?;
        self.revision = Some(offered.clone());
        Ok(Some(targets))
    }

    fn keep(&self, revision: &Revision, text: &str) -> Result<()> {
        let mut head = String::new();
        json::object(&mut head, |o| proto::write_revision(o, revision));
        head.push('\n');
        files::replace_parts(&self.path, &[head.as_bytes(), text.as_bytes(), b"\n"])
    }
}

fn listed(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

fn read(path: &Path) -> std::result::Result<(Revision, Vec<Target>), String> {
    let bytes = files::read_bounded(path, CONFIG_BYTES_MAX + REVISION_BYTES_MAX)
        .map_err(|error| error.to_string())?;
    let newline = bytes
        .iter()
        .position(|b| *b == b'\n')
        .ok_or("no revision line")?;
    let (head, text) = bytes.split_at(newline);
    let value = json::parse(head).map_err(|error| format!("revision line: {error}"))?;
    let revision = proto::read_revision(&value)?;
    let targets = config::parse_agent_config(text, &Reach::default())
        .map_err(|problems| listed(problems).join("; "))?;
    Ok((revision, targets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentHash, Id};

    fn revision(owner: u64, counter: u64, hash: u64) -> Revision {
        Revision {
            owner: Id(owner),
            owner_name: format!("manager-{owner}").parse().unwrap(),
            counter,
            hash: ContentHash(hash),
        }
    }

    #[test]
    fn one_owner_rises_others_need_to_take_over() {
        let current = revision(1, 5, 0xa);
        for (offered, take_over, expected) in [
            (revision(1, 5, 0xa), false, "same"),
            (revision(2, 1, 0xa), false, "same"),
            (revision(1, 6, 0xb), false, "replace"),
            (revision(1, 5, 0xb), false, "revision 5 is not newer than 5"),
            (revision(1, 4, 0xb), false, "revision 4 is not newer than 5"),
            (revision(1, 4, 0xb), true, "replace"),
            (revision(2, 9, 0xb), false, "belongs to manager manager-1"),
            (revision(2, 9, 0xb), true, "replace"),
        ] {
            let decision = match decide(Some(&current), &offered, take_over) {
                Decision::Same => "same".to_string(),
                Decision::Replace => "replace".to_string(),
                Decision::Refuse(text) => text,
            };
            assert!(decision.contains(expected), "{offered:?}: {decision}");
        }
        assert_eq!(decide(None, &current, false), Decision::Replace);
    }

    #[test]
    fn a_good_configuration_survives_a_restart_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut settings, targets) = Settings::open(dir.path(), Reach::default());
        assert!(targets.is_empty());
        let good = r#"{"targets":[{"name":"a","address":"h:1","interval_ms":1000,"timeout_ms":500,"retries":0}]}"#;
        let taken = settings
            .offer(&revision(1, 1, 1), false, good)
            .unwrap()
            .unwrap();
        assert_eq!(settings.offer(&revision(1, 1, 1), false, good), Ok(None));
        let problems = settings.offer(
            &revision(1, 2, 2),
            false,
            r#"{"targets":[{"name":"a b"},{}]}"#,
        );
        assert!(problems.unwrap_err().len() > 3);
        let (again, targets) = Settings::open(dir.path(), Reach::default());
        assert_eq!(again.revision(), Some(&revision(1, 1, 1)));
        assert_eq!(targets, taken);
    }

    #[test]
    fn what_is_refused_may_be_in_force_already_but_not_offered() {
        let dir = tempfile::tempdir().unwrap();
        let (mut settings, _) = Settings::open(dir.path(), Reach::default());
        let text = r#"{"targets":[{"name":"a","address":"10.0.0.7:1","interval_ms":1000,"timeout_ms":500,"retries":0}]}"#;
        let taken = settings.offer(&revision(1, 1, 1), false, text).unwrap();
        let reach = || Reach::parse([].into_iter(), ["10.0.0.0/8"].into_iter()).unwrap();
        let (mut again, targets) = Settings::open(dir.path(), reach());
        assert_eq!(Some(targets), taken);
        let problem = "1:35: targets[0].address: 10.0.0.7 is within --deny 10.0.0.0/8";
        let offered = again.offer(&revision(1, 2, 2), false, text);
        assert_eq!(offered, Err(vec![problem.to_string()]));
        let (same, _) = Settings::open(dir.path(), reach());
        assert_eq!(same.revision(), Some(&revision(1, 1, 1)));
    }
}
