//! The managers an agent knows, and how far each has got.
//!
//! Who is known is kept on disk; the cursors are not: each manager says its own
//! when it connects, and until then counts as having nothing, so nothing it may
//! still need is deleted. One manager has one session: a newer connection of the
//! same process replaces the old one, another process with the same id is refused
//! while the first is alive. Keys of lesser rights can neither take the id of a manager
//! that may more, in whose name they could acknowledge, nor all the places.
//! A session that is ended from here is cut, whatever its threads are waiting for.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::json;
use crate::key::{Key, Rights};
use crate::model::{Epoch, Id, KeyId, Mono, Name};
use crate::proto::{Hello, SILENCE_MAX_S};

/// Most managers that records are kept for.
pub const MANAGERS_MAX: usize = 8;
/// Most of those whose keys may only read.
pub const READERS_MAX: usize = 4;
const FILE_BYTES_MAX: usize = 64 * 1024;

struct Known {
    id: Id,
    name: Name,
    /// What its key may do; everything without keys.
    rights: Rights,
    /// The last number of each epoch that is safely with this manager.
    cursors: HashMap<Epoch, u64>,
    session: Option<Session>,
}

struct Session {
    serial: u64,
    instance: Id,
    key: Option<KeyId>,
    heard: Mono,
    /// To cut its connection with, once it has one.
    cutter: Option<TcpStream>,
}

/// The known managers.
pub struct Managers {
    path: PathBuf,
    known: Vec<Known>,
    serial: u64,
    /// Sessions that were ended from here and have not left yet, with the reason.
    ended: HashMap<u64, &'static str>,
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
            ended: HashMap::new(),
        })
    }

    /// Takes or refuses a manager that has greeted under `key`.
    pub fn admit(&mut self, hello: &Hello, key: Option<&Key>, now: Mono) -> Admission {
        let rights = key.map_or(Rights::Own, Key::rights);
        let at = match self.known.iter().position(|k| k.id == hello.id) {
            Some(at) => at,
            None => match self.learn(hello, rights) {
                Ok(at) => at,
                Err(text) => return Admission::Refused(text),
            },
        };
        let known = &mut self.known[at];
        if rights < known.rights {
            let name = &known.name;
            return Admission::Refused(format!(
                "manager {name} ({}) is known with a key that may configure, and this key may only read; --forget {name} on the agent makes room",
                hello.id
            ));
        }
        let silent = |s: &Session| now.since(s.heard).as_secs() >= SILENCE_MAX_S;
        if rights > known.rights {
            // What came under the lesser key was someone else's, or is no longer meant.
            known.cursors.clear();
        } else if let Some(session) = &known.session {
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
            key: key.map(Key::id),
            heard: now,
            cutter: None,
        };
        let replaced = known.session.replace(session);
        let replaces = replaced.as_ref().map(|s| s.serial);
        let changed = known.name != hello.name || known.rights != rights;
        known.name = hello.name.clone();
        known.rights = rights;
        if let Some(replaced) = replaced {
            self.end(replaced, "replaced by a newer connection");
        }
        if changed {
            self.save_or_log();
        }
        Admission::Admitted {
            serial: self.serial,
            replaces,
        }
    }

    fn learn(&mut self, hello: &Hello, rights: Rights) -> std::result::Result<usize, String> {
        let readers = self.known.iter().filter(|k| k.rights == Rights::Read);
        if rights == Rights::Read && readers.count() >= READERS_MAX {
            return Err(format!(
                "{READERS_MAX} managers that may only read are known already; --forget NAME on the agent makes room"
            ));
        }
        if rights == Rights::Own && self.known.len() >= MANAGERS_MAX {
            self.displace_a_reader();
        }
        if self.known.len() >= MANAGERS_MAX {
            return Err(format!(
                "{MANAGERS_MAX} managers are known already; --forget NAME on the agent makes room"
            ));
        }
        self.known.push(Known {
            id: hello.id,
            name: hello.name.clone(),
            rights,
            cursors: HashMap::new(),
            session: None,
        });
        if let Err(error) = self.save() {
            self.known.pop();
            return Err(error.to_string());
        }
        Ok(self.known.len() - 1)
    }

    /// Makes room for a manager that may configure.
    fn displace_a_reader(&mut self) {
        let found = self.known.iter().position(|k| k.rights == Rights::Read);
        let Some(at) = found else {
            return;
        };
        let gone = self.known.remove(at);
        crate::log::line(format_args!(
            "manager {} ({}), which may only read, is forgotten: one that may configure takes its place",
            gone.name, gone.id
        ));
        if let Some(session) = gone.session {
            self.end(session, "a manager that may configure took its place");
        }
    }

    fn end(&mut self, session: Session, why: &'static str) {
        if let Some(cutter) = session.cutter {
            let _ = cutter.shutdown(Shutdown::Both);
        }
        self.ended.insert(session.serial, why);
    }

    /// Hands over a session's connection, to be cut when it is ended from here; false when
    /// it has been already.
    pub fn attach(&mut self, serial: u64, cutter: TcpStream) -> bool {
        match self.known.iter_mut().find_map(|k| k.session_mut(serial)) {
            Some(session) => {
                session.cutter = Some(cutter);
                true
            }
            None => false,
        }
    }

    /// Notes that a session's manager was heard; false when the session was ended from here.
    pub fn heard(&mut self, serial: u64, now: Mono) -> bool {
        match self.known.iter_mut().find_map(|k| k.session_mut(serial)) {
            Some(session) => {
                session.heard = now;
                true
            }
            None => false,
        }
    }

    /// Ends every session whose key is not among these; whether there was one.
    pub fn end_without(&mut self, keys: &[Key]) -> bool {
        let ids: Vec<KeyId> = keys.iter().map(Key::id).collect();
        let gone = |s: &mut Session| s.key.is_some_and(|id| !ids.contains(&id));
        let sessions = self.known.iter_mut();
        let ended: Vec<Session> = sessions.filter_map(|k| k.session.take_if(gone)).collect();
        let any = !ended.is_empty();
        for session in ended {
            self.end(session, "its key was removed");
        }
        any
    }

    /// Why a session is over, when it was ended from here.
    pub fn ended(&self, serial: u64) -> Option<&'static str> {
        self.ended.get(&serial).copied()
    }

    /// Notes that a session has ended.
    pub fn left(&mut self, serial: u64) {
        self.ended.remove(&serial);
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

    /// The last number of `epoch` that each manager has, of those that said so.
    pub fn cursors(&self, epoch: Epoch) -> Vec<u64> {
        let cursors = self.known.iter().filter_map(|k| k.cursors.get(&epoch));
        cursors.copied().collect()
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
        if let Err(error) = self.save() {
            self.known.insert(at, gone);
            return Err(error);
        }
        if let Some(session) = gone.session {
            self.end(session, "its manager was forgotten");
        }
        Ok(())
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
                        .str("name", known.name.as_str())
                        .str("rights", known.rights.as_str());
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
            rights: match v.get("rights") {
                Some(rights) => rights.str()?.parse().ok()?,
                None => Rights::Own,
            },
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
    use crate::proto::{Role, Side, VERSION};

    fn hello(id: u64, instance: u64) -> Hello {
        Hello {
            version: VERSION,
            role: Role::Manager,
            side: Side::Dialler,
            id: Id(id),
            name: format!("m{id}").parse().unwrap(),
            instance: Id(instance),
            at: Wall(0),
            expects: None,
            auth: None,
        }
    }

    fn key(byte: u8, rights: Rights) -> Key {
        Key::master([byte; 32], rights)
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
        let first = serial(managers.admit(&hello(1, 10), None, Mono(0)));
        let second = managers.admit(&hello(1, 10), None, Mono(S));
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
            managers.admit(&hello(1, 11), None, Mono(49 * S)),
            Admission::Refused(_)
        ));
        assert!(matches!(
            managers.admit(&hello(1, 11), None, Mono(50 * S)),
            Admission::Admitted { .. }
        ));
        managers.left(first + 2);
        assert!(matches!(
            managers.admit(&hello(1, 12), None, Mono(51 * S)),
            Admission::Admitted { .. }
        ));
    }

    #[test]
    fn the_slowest_known_manager_holds_the_floor_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        assert_eq!(managers.floor(Epoch(1)), 0);
        let a = serial(managers.admit(&hello(1, 10), None, Mono(0)));
        managers.reached(a, Epoch(1), 50);
        assert_eq!(managers.floor(Epoch(1)), 50);
        let b = serial(managers.admit(&hello(2, 20), None, Mono(0)));
        assert_eq!(managers.floor(Epoch(1)), 0);
        managers.reached(b, Epoch(1), 70);
        managers.reached(a, Epoch(1), 40);
        assert_eq!(managers.floor(Epoch(1)), 50);
        let mut again = Managers::open(dir.path()).unwrap();
        let a = serial(again.admit(&hello(1, 11), None, Mono(0)));
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
    fn a_session_ends_with_its_key_and_the_reason_is_kept_until_it_has_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        let (old, new) = (key(1, Rights::Own), key(2, Rights::Own));
        let first = serial(managers.admit(&hello(1, 10), Some(&old), Mono(0)));
        let second = serial(managers.admit(&hello(2, 20), Some(&new), Mono(0)));
        assert!(!managers.end_without(&[old.clone(), new.clone()]));
        assert!(managers.end_without(&[new]));
        assert!(!managers.is_current(first) && managers.is_current(second));
        assert_eq!(managers.ended(first), Some("its key was removed"));
        managers.left(first);
        assert_eq!(managers.ended(first), None);
        managers.forget(&"m2".parse().unwrap()).unwrap();
        assert_eq!(managers.ended(second), Some("its manager was forgotten"));
    }

    #[test]
    fn a_key_that_may_only_read_cannot_pose_as_a_manager_that_may_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        let (own, read) = (key(1, Rights::Own), key(2, Rights::Read));
        let main = serial(managers.admit(&hello(1, 10), Some(&own), Mono(0)));
        serial(managers.admit(&hello(2, 20), Some(&read), Mono(0)));
        managers.left(main);
        let mut again = Managers::open(dir.path()).unwrap();
        for managers in [&mut managers, &mut again] {
            let posing = managers.admit(&hello(1, 66), Some(&read), Mono(60 * S));
            assert!(matches!(posing, Admission::Refused(_)));
            serial(managers.admit(&hello(1, 11), Some(&own), Mono(60 * S)));
        }
        again.forget(&"m1".parse().unwrap()).unwrap();
        let posed = serial(again.admit(&hello(1, 12), Some(&read), Mono(90 * S)));
        again.reached(posed, Epoch(1), 50);
        // The owner comes: the other goes at once, and what it acknowledged counts no more.
        let main = serial(again.admit(&hello(1, 13), Some(&own), Mono(90 * S)));
        assert!(!again.heard(posed, Mono(91 * S)) && again.heard(main, Mono(91 * S)));
        let other = serial(again.admit(&hello(2, 21), Some(&own), Mono(90 * S)));
        again.reached(other, Epoch(1), 50);
        assert_eq!(again.floor(Epoch(1)), 0);
    }

    #[test]
    fn those_that_only_read_cannot_take_all_the_places() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        let (own, read) = (key(1, Rights::Own), key(2, Rights::Read));
        for id in 0..4 {
            serial(managers.admit(&hello(id, id), Some(&read), Mono(0)));
        }
        let fifth = managers.admit(&hello(4, 4), Some(&read), Mono(0));
        assert!(matches!(fifth, Admission::Refused(_)));
        for id in 10..18 {
            serial(managers.admit(&hello(id, id), Some(&own), Mono(0)));
        }
        let ninth = managers.admit(&hello(18, 18), Some(&own), Mono(0));
        assert!(matches!(ninth, Admission::Refused(_)));
        assert!(managers.known.iter().all(|k| k.rights == Rights::Own));
    }

    #[test]
    fn a_session_ended_from_here_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0;
        let first = serial(managers.admit(&hello(1, 10), None, Mono(0)));
        assert!(managers.attach(first, near.try_clone().unwrap()));
        serial(managers.admit(&hello(1, 10), None, Mono(0)));
        assert_eq!(std::io::Read::read(&mut far, &mut [0]).unwrap(), 0);
        assert!(!managers.attach(first, near));
    }

    #[test]
    fn no_more_than_eight_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut managers = Managers::open(dir.path()).unwrap();
        for id in 0..8 {
            serial(managers.admit(&hello(id, id), None, Mono(0)));
        }
        assert!(matches!(
            managers.admit(&hello(9, 9), None, Mono(0)),
            Admission::Refused(_)
        ));
        serial(managers.admit(&hello(3, 3), None, Mono(0)));
    }
}
