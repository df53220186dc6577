//! What the manager keeps about each agent beside its history: one file an agent,
//! `agents/NAME.json`, replaced whole. It holds who the agent is, what it last said
//! of itself, which configuration it is to have, and the states last announced, so
//! that a restart repeats no news and the reading commands need no running manager.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::board::CLOCK_OFF_MS;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::health::{Known, Verdict};
use crate::json::{self, Object, Value};
use crate::model::{ContentHash, Epoch, Id, Name, Revision, Wall};
use crate::proto::{self, EpochRange};

/// Largest state file, in bytes: enough for 100,000 targets.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How late a beat may come: a session in which none came for so long is over.
const LATE_MS_MAX: i64 = proto::SILENCE_MAX_S as i64 * 1000;
/// Comparisons of clocks that are kept.
const SESSIONS_MAX: usize = 64;

/// What is known of a target, as one agent sees it or as it was told of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    pub target: Name,
    /// Which address of it, where each has a row of its own.
    pub each: Option<IpAddr>,
    pub known: Known,
}

/// How the clocks compared at the start of a session, or once the agent's was set in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionClock {
    /// When they were compared, by the manager's clock.
    pub at: Wall,
    /// The agent's current epoch then, and its last record.
    pub epoch: Epoch,
    pub seq: u64,
    /// The agent's clock minus the manager's.
    pub offset_ms: i64,
}

/// See the module text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentState {
    /// Pinned by the first hello.
    pub id: Option<Id>,
    /// As of `saved`.
    pub connected: bool,
    pub since: Wall,
    pub saved: Wall,
    pub last_seen: Option<Wall>,
    /// The last error of the link; empty when there is none.
    pub text: String,
    pub clock_offset_ms: Option<i64>,
    /// What the agent held when it last said so, oldest epoch first.
    pub announced_epochs: Vec<EpochRange>,
    /// In force on the agent.
    pub applied: Option<Revision>,
    /// What it is to have: this manager's counter and the content.
    pub wanted: Option<(u64, ContentHash)>,
    /// The link's key may only read, so that the agent is offered nothing.
    pub reads_only: bool,
    pub rejected: Option<String>,
    /// The agent's own trouble with its disk.
    pub trouble: String,
    /// The record up to which `states` tell everything.
    pub mark: Option<(Epoch, u64)>,
    pub states: Vec<Announced>,
    /// The latest last.
    pub sessions: Vec<SessionClock>,
}

impl AgentState {
    /// Notes how the clocks compare at a beat that says `at`, of an agent whose current epoch
    /// has come so far: as the hello before the `first` one has shown; later where its clock
    /// must have been set since. A beat may be late, which makes its clock look behind.
    pub fn compare_clocks(&mut self, at: Wall, now: Wall, current: &EpochRange, first: bool) {
        let ahead = i128::from(at.0) - i128::from(now.0);
        let ahead = i64::try_from(ahead).unwrap_or(0);
        let known = self.clock_offset_ms.unwrap_or(0);
        let set =
            ahead.saturating_sub(known) > CLOCK_OFF_MS || known.saturating_sub(ahead) > LATE_MS_MAX;
        if !first && !set {
            return;
        }
        let offset_ms = if first { known } else { ahead };
        self.clock_offset_ms = Some(offset_ms);
        self.sessions.push(SessionClock {
            at: now,
            epoch: current.epoch,
            seq: current.last,
            offset_ms,
        });
        let surplus = self.sessions.len().saturating_sub(SESSIONS_MAX);
        self.sessions.drain(..surplus);
    }
}

/// What was told of the fleet by the verdict over its agents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts {
    pub targets: Vec<Announced>,
    /// Agents that are cut off, and since when.
    pub cut_off: Vec<(Name, Wall)>,
}

impl Verdicts {
    const FILE: &str = "verdicts.json";

    /// Where it is kept.
    pub fn path(data: &Path) -> PathBuf {
        data.join(Verdicts::FILE)
    }

    /// Reads what was told; nothing when there is no such file yet.
    pub fn load(data: &Path) -> Result<Verdicts> {
        let path = Verdicts::path(data);
        if files::stamp(&path).is_none() {
            return Ok(Verdicts::default());
        }
        let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
        let doing = || format!("read {}", path.display());
        let value = json::parse(&bytes).context(doing)?;
        let read = || {
            Some(Verdicts {
                targets: read_states(&value, "targets")?,
                cut_off: list(&value, "cut_off", |v| {
                    Some((parsed(v, "agent")?, Wall(v.get("since")?.u64()?)))
                })?,
            })
        };
        read().ok_or_else(|| Error::new(format!("{}: not what was told", doing())))
    }

    /// Writes it.
    pub fn save(&self, data: &Path) -> Result<()> {
        let mut text = String::new();
        json::object(&mut text, |o| {
            write_states(o, "targets", &self.targets);
            o.array("cut_off", |a| {
                for (agent, since) in &self.cut_off {
                    a.object(|o| {
                        o.str("agent", agent.as_str()).u64("since", since.0);
                    });
                }
            });
        });
        text.push('\n');
        files::replace(&Verdicts::path(data), text.as_bytes())
    }
}

/// The file of one agent's state.
pub fn path(data: &Path, agent: &Name) -> PathBuf {
    data.join("agents").join(format!("{agent}.json"))
}

/// The directory of one agent's history: named by id, so that no two are ever mixed.
pub fn history_dir(data: &Path, id: Id) -> PathBuf {
    data.join("history").join(id.to_string())
}

impl AgentState {
    /// Whether the agent has yet to take the configuration it is to have.
    pub fn pending(&self) -> bool {
        if self.reads_only {
            return false;
        }
        match (&self.wanted, &self.applied) {
            (Some((_, hash)), Some(applied)) => applied.hash != *hash,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// How many records the agent held as it last said.
    pub fn held(&self) -> u64 {
        let ranges = self.announced_epochs.iter();
        ranges.map(|r| (r.last + 1).saturating_sub(r.first)).sum()
    }

    /// Reads an agent's state; a fresh one when there is none yet.
    pub fn load(data: &Path, agent: &Name) -> Result<AgentState> {
        let path = path(data, agent);
        if files::stamp(&path).is_none() {
            return Ok(AgentState::default());
        }
        let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
        let doing = || format!("read {}", path.display());
        let value = json::parse(&bytes).context(doing)?;
        parse(&value).ok_or_else(|| Error::new(format!("{}: not an agent's state", doing())))
    }

    /// Writes it.
    pub fn save(&self, data: &Path, agent: &Name) -> Result<()> {
        let mut text = String::new();
        json::object(&mut text, |o| self.write(o));
        text.push('\n');
        files::replace(&path(data, agent), text.as_bytes())
    }

    fn write(&self, o: &mut Object<'_>) {
        if let Some(id) = self.id {
            o.str("id", &id.to_string());
        }
        if self.reads_only {
            o.bool("reads_only", true);
        }
        o.bool("connected", self.connected)
            .u64("since", self.since.0)
            .u64("saved", self.saved.0)
            .str("text", &self.text)
            .str("trouble", &self.trouble);
        if let Some(at) = self.last_seen {
            o.u64("last_seen", at.0);
        }
        if let Some(offset) = self.clock_offset_ms {
            o.str("clock_offset_ms", &offset.to_string());
        }
        o.array("announced_epochs", |a| {
            for range in &self.announced_epochs {
                a.object(|o| {
                    o.str("epoch", &range.epoch.to_string())
                        .u64("first", range.first)
                        .u64("last", range.last);
                });
            }
        });
        if let Some(applied) = &self.applied {
            o.object("applied", |o| proto::write_revision(o, applied));
        }
        if let Some((counter, hash)) = self.wanted {
            o.object("wanted", |o| {
                o.u64("counter", counter).str("hash", &hash.to_string());
            });
        }
        if let Some(rejected) = &self.rejected {
            o.str("rejected", rejected);
        }
        if let Some((epoch, seq)) = self.mark {
            o.object("mark", |o| {
                o.str("epoch", &epoch.to_string()).u64("seq", seq);
            });
        }
        self.write_lists(o);
    }

    fn write_lists(&self, o: &mut Object<'_>) {
        write_states(o, "states", &self.states);
        o.array("sessions", |a| {
            for session in &self.sessions {
                a.object(|o| {
                    o.u64("at", session.at.0)
                        .str("epoch", &session.epoch.to_string())
                        .u64("seq", session.seq)
                        .str("offset_ms", &session.offset_ms.to_string());
                });
            }
        });
    }
}

fn parse(v: &Value<'_>) -> Option<AgentState> {
    let text = |key| v.get(key).and_then(Value::str).map(str::to_string);
    let mark = |v: &Value<'_>| Some((parsed(v, "epoch")?, v.get("seq")?.u64()?));
    let wanted = |v: &Value<'_>| Some((v.get("counter")?.u64()?, parsed(v, "hash")?));
    Some(AgentState {
        id: parsed(v, "id"),
        connected: v.get("connected")?.bool()?,
        since: Wall(v.get("since")?.u64()?),
        saved: Wall(v.get("saved")?.u64()?),
        last_seen: v.get("last_seen").and_then(Value::u64).map(Wall),
        text: text("text").unwrap_or_default(),
        clock_offset_ms: parsed(v, "clock_offset_ms"),
        announced_epochs: list(v, "announced_epochs", |v| {
            Some(EpochRange {
                epoch: parsed(v, "epoch")?,
                first: v.get("first")?.u64()?,
                last: v.get("last")?.u64()?,
            })
        })?,
        applied: v.get("applied").and_then(|v| proto::read_revision(v).ok()),
        wanted: v.get("wanted").and_then(wanted),
        reads_only: v
            .get("reads_only")
            .and_then(Value::bool)
            .unwrap_or_default(),
        rejected: text("rejected"),
        trouble: text("trouble").unwrap_or_default(),
        mark: v.get("mark").and_then(mark),
        states: read_states(v, "states")?,
        sessions: list(v, "sessions", |v| {
            Some(SessionClock {
                at: Wall(v.get("at")?.u64()?),
                epoch: parsed(v, "epoch")?,
                seq: v.get("seq").and_then(Value::u64).unwrap_or(0),
                offset_ms: parsed(v, "offset_ms")?,
            })
        })?,
    })
}

/// Writes what is known of targets.
fn write_states(o: &mut Object<'_>, key: &str, states: &[Announced]) {
    o.array(key, |a| {
        for state in states {
            a.object(|o| {
                let known = state.known;
                o.str("target", state.target.as_str());
                if let Some(each) = state.each {
                    o.str("each", &each.to_string());
                }
                o.bool("ok", known.verdict.answers())
                    .u64("since", known.since.0);
                // Left out where they say nothing: files of before have neither.
                if known.verdict == Verdict::Slow {
                    o.bool("slow", true);
                }
                if known.flapping {
                    o.bool("flapping", true);
                }
            });
        }
    });
}

fn read_states(v: &Value<'_>, key: &str) -> Option<Vec<Announced>> {
    list(v, key, |v| {
        Some(Announced {
            target: parsed(v, "target")?,
            each: parsed(v, "each"),
            known: known(v)?,
        })
    })
}

fn known(v: &Value<'_>) -> Option<Known> {
    let is = |key| v.get(key).and_then(Value::bool).unwrap_or_default();
    Some(Known {
        verdict: match v.get("ok")?.bool()? {
            true if is("slow") => Verdict::Slow,
            true => Verdict::Up,
            false => Verdict::Down,
        },
        since: Wall(v.get("since")?.u64()?),
        flapping: is("flapping"),
    })
}

fn parsed<T: std::str::FromStr>(v: &Value<'_>, key: &str) -> Option<T> {
    v.get(key)?.str()?.parse().ok()
}

fn list<T>(v: &Value<'_>, key: &str, each: impl Fn(&Value<'_>) -> Option<T>) -> Option<Vec<T>> {
    v.get(key)?.array()?.iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("agents")).unwrap();
        let name: Name = "attic".parse().unwrap();
        let full = AgentState {
            id: Some(Id(7)),
            connected: true,
            since: Wall(1),
            saved: Wall(2),
            last_seen: Some(Wall(3)),
            text: "connect: \u{1b}".into(),
            clock_offset_ms: Some(-2500),
            announced_epochs: vec![EpochRange {
                epoch: Epoch(9),
                first: 1,
                last: 20,
            }],
            applied: Some(Revision {
                owner: Id(1),
                owner_name: name.clone(),
                counter: 4,
                hash: ContentHash(5),
            }),
            wanted: Some((5, ContentHash(6))),
            reads_only: true,
            rejected: Some("no".into()),
            trouble: "disk".into(),
            mark: Some((Epoch(9), 20)),
            states: [
                (Verdict::Down, false),
                (Verdict::Up, true),
                (Verdict::Slow, false),
            ]
            .map(|(verdict, flapping)| Announced {
                target: name.clone(),
                each: (!flapping).then(|| "192.0.2.7".parse().unwrap()),
                known: Known {
                    verdict,
                    since: Wall(6),
                    flapping,
                },
            })
            .to_vec(),
            sessions: vec![SessionClock {
                at: Wall(1),
                epoch: Epoch(9),
                seq: 20,
                offset_ms: -3,
            }],
        };
        for state in [AgentState::default(), full] {
            state.save(dir.path(), &name).unwrap();
            assert_eq!(AgentState::load(dir.path(), &name).unwrap(), state);
        }
        let other: Name = "other".parse().unwrap();
        assert_eq!(
            AgentState::load(dir.path(), &other).unwrap(),
            AgentState::default()
        );
    }

    #[test]
    fn a_clock_that_is_set_within_a_session_is_compared_anew() {
        let mut state = AgentState {
            clock_offset_ms: Some(100),
            ..AgentState::default()
        };
        let current = |last| EpochRange {
            epoch: Epoch(9),
            first: 1,
            last,
        };
        let now = Wall(1_000_000_000);
        let at = |ahead: i64| Wall(now.0.saturating_add_signed(ahead));
        // How far the beat is ahead, whether it is the first, and what is known then.
        for (last, ahead, first, known, compared) in [
            (1, 90, true, 100, 1),
            (2, 60, false, 100, 1),
            // Late, which tells nothing.
            (3, -29_000, false, 100, 1),
            // Set forward, then back by an hour.
            (4, 5_000, false, 5_000, 2),
            (5, -3_600_000, false, -3_600_000, 3),
            (6, -3_602_000, false, -3_600_000, 3),
        ] {
            state.compare_clocks(at(ahead), now, &current(last), first);
            let seen = (state.clock_offset_ms, state.sessions.len());
            assert_eq!(seen, (Some(known), compared), "{last}");
        }
        let seqs: Vec<u64> = state.sessions.iter().map(|s| s.seq).collect();
        assert_eq!(seqs, [1, 4, 5]);
    }

    #[test]
    fn verdicts_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let name: Name = "attic".parse().unwrap();
        let known = Known {
            verdict: Verdict::Down,
            since: Wall(6),
            flapping: true,
        };
        let full = Verdicts {
            targets: vec![Announced {
                target: name.clone(),
                each: None,
                known,
            }],
            cut_off: vec![(name, Wall(7))],
        };
        assert_eq!(Verdicts::load(dir.path()).unwrap(), Verdicts::default());
        for verdicts in [Verdicts::default(), full] {
            verdicts.save(dir.path()).unwrap();
            assert_eq!(Verdicts::load(dir.path()).unwrap(), verdicts);
        }
        std::fs::write(dir.path().join(Verdicts::FILE), "{}").unwrap();
        let error = Verdicts::load(dir.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("verdicts.json: not what was told"),
            "{error}"
        );
    }

    #[test]
    fn states_of_before_there_was_slow_are_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("agents")).unwrap();
        let name: Name = "attic".parse().unwrap();
        let text = r#"{"connected":true,"since":1,"saved":2,"text":"","trouble":"","announced_epochs":[],"states":[{"target":"db","ok":false,"since":3},{"target":"web","ok":true,"since":4}],"sessions":[]}"#;
        std::fs::write(path(dir.path(), &name), text).unwrap();
        let states = AgentState::load(dir.path(), &name).unwrap().states;
        let got: Vec<_> = states
            .iter()
            .map(|s| (s.known.verdict, s.known.since, s.known.flapping))
            .collect();
        let expected = [
            (Verdict::Down, Wall(3), false),
            (Verdict::Up, Wall(4), false),
        ];
        assert_eq!(got, expected);
    }
}
