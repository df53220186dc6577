//! The managers an agent knows, and how far each has got.
//!
//! Who is known is kept on disk; the cursors are not: each manager says its own
//! when it connects, and until then counts as having nothing, so nothing it may
//! still need is deleted. One manager has one session: a newer connection of the
//! same process replaces the old one, another process with the same id is refused
//! while the first is alive.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::json;
use crate::model::{Epoch, Id, Mono, Name};
use crate::proto::{Hello, SILENCE_MAX_S};

/// Most managers that records are kept for.
pub const MANAGERS_MAX: usize = 8;
const FILE_BYTES_MAX: usize = 64 * 1024;

struct Known {
    id: Id,
    name: Name,
    /// The last number of each epoch that is safely with this manager.
    cursors: HashMap<Epoch, u64>,
    session: Option<Session>,
}

struct Session {
    serial: u64,
    instance: Id,
    heard: Mono,
}

/// The known managers.
pub struct Managers {
    path: PathBuf,
    known: Vec<Known>,
    serial: u64,
}

/// How a hello was taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Session number `serial` may begin; `replaces` is to end.
    Admitted {
        serial: u64,
        replaces: Option<u64>,
    },
    Refused(String),
}

impl Managers {
    /// Reads who is known from `dir`.
    pub fn open(dir: &Path) -> Result<Managers> {
        let path = dir.join("managers.json");
        let mut known = Vec::new();
        if files::stamp(&path).is_some() {
            let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
            known = parse(&bytes).ok_or_else(|| {
                Error::new(format!("read {}: not a list of managers", path.display()))
            })?;
        }
        Ok(Managers {
            path,
            known,
            serial: 0,
        })
    }

    /// Takes or refuses a manager that says hello.
    pub fn admit(&mut self, hello: &Hello, now: Mono) -> Admission {
        let at = match self.known.iter().position(|k| k.id == hello.id) {
            Some(at) => at,
            None => match self.learn(hello) {
                Ok(at) => at,
                Err(text) => return Admission::Refused(text),
            },
        };
        let known = &mut self.known[at];
        let silent = |s: &Session| now.since(s.heard).as_secs() >= SILENCE_MAX_S;
        if let Some(session) = &known.session {
            if session.instance != hello.instance && !silent(session) {
                let name = &known.name;
                return Admission::Refused(format!(
                    "manager {name} ({}) is served already, to another process with its id",
                    hello.id
                ));
            }
        }
        self.serial += 1;
        let session = Session {
            serial: self.serial,
            instance: hello.instance,
            heard: now,
        };
        let replaced = known.session.replace(session);
        let renamed = known.name != hello.name;
        known.name = hello.name.clone();
        if renamed {
            self.save_or_log();
        }
        Admission::Admitted {
            serial: self.serial,
            replaces: replaced.map(|s| s.serial),
        }
    }

    fn learn(&mut self, hello: &Hello) -> std::result::Result<usize, String> {
        if self.known.len() >= MANAGERS_MAX {
            return Err(format!(
                "{MANAGERS_MAX} managers are known already; --forget NAME on the agent makes room"
            ));
        }
        self.known.push(Known {
            id: hello.id,
            name: hello.name.clone(),
            cursors: HashMap::new(),
            session: None,
        });
        if let Err(error) = self.save() {
            self.known.pop();
            return Err(error.to_string());
        }
        Ok(self.known.len() - 1)
    }

    /// Notes that a session's manager was heard.
    pub fn heard(&mut self, serial: u64, now: Mono) {
        if let Some(session) = self.known.iter_mut().find_map(|k| k.session_mut(serial)) {
            session.heard = now;
        }
    }

    /// Ends a session, unless another has replaced it.
    pub fn left(&mut self, serial: u64) {
        for known in &mut self.known {
            if known.session_mut(serial).is_some() {
                known.session = None;
            }
        }
    }

    /// Whether the session is still its manager's.
    pub fn is_current(&mut self, serial: u64) -> bool {
        self.known
            .iter_mut()
            .any(|k| k.session_mut(serial).is_some())
    }

    /// Notes how far a session's manager has got with `epoch`.
    pub fn reached(&mut self, serial: u64, epoch: Epoch, seq: u64) {
        let known = self
            .known
            .iter_mut()
            .find(|k| k.session.as_ref().is_some_and(|s| s.serial == serial));
        if let Some(known) = known {
            let cursor = known.cursors.entry(epoch).or_default();
            *cursor = seq.max(*cursor);
        }
    }

    /// The last number of `epoch` that every known manager has; 0 while none is known.
    pub fn floor(&self, epoch: Epoch) -> u64 {
        let cursor = |k: &Known| k.cursors.get(&epoch).copied().unwrap_or(0);
        self.known.iter().map(cursor).min().unwrap_or(0)
    }

    /// Forgets a manager by name.
    pub fn forget(&mut self, name: &Name) -> Result<()> {
        let at = self
            .known
            .iter()
            .position(|k| k.name == *name)
            .ok_or_else(|| {
                let known: Vec<String> = self.known.iter().map(|k| k.name.to_string()).collect();
                let known = match known.is_empty() {
                    true => "none is known".to_string(),
                    false => format!("known: {}", known.join(", ")),
                };
                Error::new(format!("forget manager {name}: no such manager; {known}"))
            })?;
        let gone = self.known.remove(at);
        self.save().inspect_err(|_| self.known.insert(at, gone))
    }

    fn save_or_log(&self) {
        if let Err(error) = self.save() {
            crate::log::line(error);
        }
    }

    fn save(&self) -> Result<()> {
        let mut text = String::new();
        json::array(&mut text, |a| {
            for known in &self.known {
                a.object(|o| {
                    o.str("id", &known.id.to_string())
                        .str("name", known.name.as_str());
                });
            }
        });
        text.push('\n');
        files::replace(&self.path, text.as_bytes())
    }
}

impl Known {
    fn session_mut(&mut self, serial: u64) -> Option<&mut Session> {
        self.session.as_mut().filter(|s| s.serial == serial)
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<Known>> {
    let value = json::parse(bytes).ok()?;
    let known = |v: &json::Value<'_>| {
        Some(Known {
            id: v.get("id")?.str()?.parse().ok()?,
            name: v.get("name")?.str()?.parse().ok()?,
            cursors: HashMap::new(),
            session: None,
        })
    };
    value.array()?.iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Wall;
    use crate::proto::{Role, VERSION};

    fn hello(id: u64, instance: u64) -> Hello {
        Hello {
            version: VERSION,
            role: Role::Manager,
            id: Id(id),
            name: format!("m{id}").parse().unwrap(),
            instance: Id(instance),
            at: Wall(0),
        }
    }

    fn serial(admission: Admission) -> u64 {
        match admission {
            Admission::Admitted { serial, .. } => serial,
            Admission::Refused(text) => panic!("{text}"),
        }
    }

    const S: u64 = 1_000_000;

    #[test]
    fn a_newer_connection_replaces_another_process_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        let first = serial(managers.admit(&hello(1, 10), Mono(0)));
        let second = managers.admit(&hello(1, 10), Mono(S));
        assert_eq!(
            second,
            Admission::Admitted {
                serial: first + 1,
                replaces: Some(first)
            }
        );
        assert!(!managers.is_current(first));
        managers.left(first);
        managers.heard(first + 1, Mono(20 * S));
        assert!(matches!(
            managers.admit(&hello(1, 11), Mono(49 * S)),
            Admission::Refused(_)
        ));
        assert!(matches!(
            managers.admit(&hello(1, 11), Mono(50 * S)),
            Admission::Admitted { .. }
        ));
        managers.left(first + 2);
        assert!(matches!(
            managers.admit(&hello(1, 12), Mono(51 * S)),
            Admission::Admitted { .. }
        ));
    }

    #[test]
    fn the_slowest_known_manager_holds_the_floor_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        assert_eq!(managers.floor(Epoch(1)), 0);
        let a = serial(managers.admit(&hello(1, 10), Mono(0)));
        managers.reached(a, Epoch(1), 50);
        assert_eq!(managers.floor(Epoch(1)), 50);
        let b = serial(managers.admit(&hello(2, 20), Mono(0)));
        assert_eq!(managers.floor(Epoch(1)), 0);
        managers.reached(b, Epoch(1), 70);
        managers.reached(a, Epoch(1), 40);
        assert_eq!(managers.floor(Epoch(1)), 50);
        let mut again = Managers::open(dir.path()).unwrap();
        let a = serial(again.admit(&hello(1, 11), Mono(0)));
        again.reached(a, Epoch(1), 90);
        assert_eq!(again.floor(Epoch(1)), 0);
        again.forget(&"m2".parse().unwrap()).unwrap();
        assert_eq!(again.floor(Epoch(1)), 90);
        let error = again.forget(&"m2".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "forget manager m2: no such manager; known: m1"
        );
    }

    #[test]
    fn no_more_than_eight_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        for id in 0..8 {
            serial(managers.admit(&hello(id, id), Mono(0)));
        }
        assert!(matches!(
            managers.admit(&hello(9, 9), Mono(0)),
            Admission::Refused(_)
        ));
        serial(managers.admit(&hello(3, 3), Mono(0)));
    }
}
