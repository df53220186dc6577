//! What has to hold in a simulated fleet.
//!
//! Always: a record once sent is the same whenever it is sent again; what a manager has
//! acknowledged is in its history whatever happens to it; an agent deletes nothing that a
//! manager it knows may lack; what was durable is there after a crash; a configuration is
//! one that was published, whole; each alert goes on from what was told before.
//! In a calm: everything is fetched, states are what is so, and so is what was told.
//! At the end: every history accounts for every number once, with the agents' own lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::fleet::Fleet;
use super::fleet::fleet_path;
use super::host::Host;
use crate::agent::simulated::SimAgent;
use crate::alert::{Message as Alert, Subject};
use crate::clock;
use crate::config::{self, KeyRule};
use crate::files;
use crate::health::State;
use crate::journal::SyncMode;
use crate::manager::{audit, fleet_file, replay};
use crate::model::{ContentHash, Epoch, Wall};
use crate::proto::{self, Message};
use crate::record::{self, GapWhy, Record};

/// What did not hold, and what happened before.
#[derive(Debug)]
pub struct Violation {
    text: String,
    log: Vec<String>,
}

impl Violation {
    pub fn new(text: String, log: Vec<String>) -> Violation {
        Violation { text, log }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  {}\n{}",
            self.text,
            self.log.join("\n  "),
            self.text
        )
    }
}

/// How far each manager has said it has each epoch.
type Acked = BTreeMap<(usize, Epoch), u64>;

/// An agent as it may be put back to.
#[derive(Debug, Clone, Default)]
struct AgentPast {
    known: BTreeSet<usize>,
}

#[derive(Debug, Clone, Default)]
struct AgentTruth {
    /// Managers that it has met and has not forgotten.
    known: BTreeSet<usize>,
    /// What it held when last looked at.
    held: BTreeMap<Epoch, u64>,
    /// It may have lost what it had said it holds.
    lossy: bool,
    backup: Option<AgentPast>,
    /// By content, how many targets each configuration that it may have holds.
    published: BTreeMap<ContentHash, usize>,
}

#[derive(Debug, Clone, Default)]
struct ManagerTruth {
    /// What was told of each target, as far as it remembers, and the messages that did.
    told: BTreeMap<Subject, String>,
    seen: BTreeSet<String>,
    /// Messages may have been told that it does not remember: nothing is to be expected.
    forgetful: bool,
    /// It was put back, so that it lacks what agents have deleted.
    rolled_back: bool,
    backup: Option<ManagerPast>,
}

/// A manager as it may be put back to.
#[derive(Debug, Clone)]
struct ManagerPast {
    acked: Acked,
    told: BTreeMap<Subject, String>,
    seen: BTreeSet<String>,
    forgetful: bool,
}

/// What is known from outside.
pub struct Truth {
    /// Whether each target answers.
    pub up: Vec<bool>,
    /// The fleet file as it is meant to be.
    pub fleet: String,
    agents: Vec<AgentTruth>,
    managers: Vec<ManagerTruth>,
    /// The check of each record that was seen, by number, and whose they are.
    lines: BTreeMap<Epoch, Vec<Option<u32>>>,
    owner: BTreeMap<Epoch, usize>,
    acked: Acked,
    /// The same, with what a manager has lost since.
    acked_ever: Acked,
    little_room: bool,
}

type Found = Result<(), String>;

impl Truth {
    /// With `little_room` agents may have to let go of records.
    pub fn new(agents: usize, managers: usize, targets: usize, little_room: bool) -> Truth {
        Truth {
            up: vec![true; targets],
            fleet: String::new(),
            agents: vec![AgentTruth::default(); agents],
            managers: vec![ManagerTruth::default(); managers],
            lines: BTreeMap::new(),
            owner: BTreeMap::new(),
            acked: Acked::new(),
            acked_ever: Acked::new(),
            little_room,
        }
    }

    /// Notes what agents may be given from now on.
    pub fn publish(&mut self, path: &Path, agents: &[Host<SimAgent>]) {
        let fleet = fleet_file::check(path, KeyRule::Required).expect("a fleet file that is right");
        for (truth, host) in self.agents.iter_mut().zip(agents) {
            let targets = fleet.targets_for(&host.name);
            let hash = proto::content_hash(&config::agent_config_json(&targets));
            truth.published.insert(hash, targets.len());
        }
    }

    /// Agent `a` has met manager `m`.
    pub fn knows(&mut self, a: usize, m: usize) {
        self.agents[a].known.insert(m);
    }

    /// Agent `a` sends these lines; `epoch` is what records on this connection are of.
    pub fn agent_says(&mut self, a: usize, said: &[u8], epoch: &mut Option<Epoch>) -> Found {
        for line in said.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
            if !line.starts_with(b"{\"seq\":") {
                if let Ok(Message::Epoch(of)) = Message::parse(line) {
                    *epoch = Some(of);
                    self.owner.insert(of, a);
                }
                continue;
            }
            let epoch = epoch.ok_or("a record is sent before its epoch")?;
            let record = Record::parse(line).map_err(|damage| format!("sent: {damage}"))?;
            if let Some(why) = record.body.in_place() {
                let record::Span { first, seq } = record.span();
                self.gap_is_due(a, why)
                    .map_err(|text| format!("gap {first}..{seq} of epoch {epoch}: {text}"))?;
                continue;
            }
            let lines = self.lines.entry(epoch).or_default();
            let at = record.seq as usize;
            lines.resize(lines.len().max(at + 1), None);
            let check = crate::crc32::crc32(line);
            let before = lines[at].replace(check);
            if before.is_some_and(|before| before != check) {
                return Err(format!(
                    "record {at} of epoch {epoch} is another than before"
                ));
            }
        }
        Ok(())
    }

    /// Whether an agent may be lacking records for this reason.
    fn gap_is_due(&self, a: usize, why: GapWhy) -> Found {
        let agent = &self.agents[a];
        let fine = match why {
            // Another manager had them, or this one had and was put back.
            GapWhy::Deleted => true,
            GapWhy::Disk | GapWhy::Damaged => false,
            GapWhy::SpoolLimit | GapWhy::Summarised => self.little_room,
            GapWhy::Vanished => agent.lossy,
        };
        match fine {
            true => Ok(()),
            false => Err(format!("{} without reason", why.as_str())),
        }
    }

    /// Manager `m` sends these lines.
    pub fn manager_says(&mut self, m: usize, said: &[u8]) -> Found {
        for line in said.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
            // Where it goes on from, an agent takes for acknowledged.
            let acks = match Message::parse(line) {
                Ok(Message::Ack { epoch, seq }) => vec![(epoch, seq)],
                Ok(Message::Resume(cursors)) => cursors,
                _ => Vec::new(),
            };
            for (epoch, seq) in acks {
                for acked in [&mut self.acked, &mut self.acked_ever] {
                    let before = acked.entry((m, epoch)).or_default();
                    *before = seq.max(*before);
                }
            }
        }
        Ok(())
    }

    /// Whether a manager's session may end for this reason.
    pub fn manager_may_end(text: &str) -> Found {
        let bad = [
            "came after",
            "record:",
            "is no gap",
            "only managers send",
            "before its epoch",
        ];
        match bad.iter().find(|bad| text.contains(*bad)) {
            Some(_) => Err(format!("a manager ends its session: {text}")),
            None => Ok(()),
        }
    }

    /// Whether an agent's session may.
    pub fn agent_may_end(text: &str) -> Found {
        let bad = ["acknowledged", "only agents send", "part"];
        match bad.iter().find(|bad| text.contains(*bad)) {
            Some(_) => Err(format!("an agent ends its session: {text}")),
            None => Ok(()),
        }
    }

    /// A message of manager `m` arrives.
    pub fn deliver(&mut self, m: usize, message: &Alert) -> Found {
        let manager = &mut self.managers[m];
        if !manager.seen.insert(message.id.clone()) {
            return Ok(());
        }
        for event in &message.events {
            let told = match event.state.as_str() {
                // What comes back to the fleet begins anew.
                "gone" => manager.told.remove(&event.subject),
                state => manager.told.insert(event.subject.clone(), state.into()),
            };
            let fits = match &told {
                Some(told) => *told == event.was,
                None => true,
            };
            if !fits && !manager.forgetful {
                let (name, was) = (event.subject.name(), &event.was);
                return Err(format!(
                    "{name} is told to be {} and to have been {was}, told before was {told:?}",
                    event.state
                ));
            }
        }
        Ok(())
    }

    /// Agent `a` was cut off from its power.
    pub fn agent_lost_power(&mut self, a: usize, sync: SyncMode) {
        if sync != SyncMode::Always {
            self.agents[a].lossy = true;
            self.agents[a].held.clear();
        }
    }

    /// The disk of manager `m` fails: it may tell what it can't remember.
    pub fn disk_failed(&mut self, m: usize) {
        self.managers[m].forgetful = true;
    }

    pub fn agent_backed_up(&self, a: usize) -> bool {
        self.agents[a].backup.is_some()
    }

    pub fn back_up_agent(&mut self, a: usize) {
        let known = self.agents[a].known.clone();
        self.agents[a].backup = Some(AgentPast { known });
    }

    pub fn agent_rolled_back(&mut self, a: usize) {
        let agent = &mut self.agents[a];
        if let Some(past) = &agent.backup {
            agent.known = past.known.clone();
        }
        agent.held.clear();
        agent.lossy = true;
    }

    pub fn manager_backed_up(&self, m: usize) -> bool {
        self.managers[m].backup.is_some()
    }

    pub fn back_up_manager(&mut self, m: usize) {
        let of_it = self.acked.iter().filter(|((of, _), _)| *of == m);
        let acked = of_it.map(|(key, seq)| (*key, *seq)).collect();
        let manager = &mut self.managers[m];
        manager.backup = Some(ManagerPast {
            acked,
            told: manager.told.clone(),
            seen: manager.seen.clone(),
            forgetful: manager.forgetful,
        });
    }

    pub fn is_rolled_back(&self, m: usize) -> bool {
        self.managers[m].rolled_back
    }

    pub fn manager_rolled_back(&mut self, m: usize) {
        let manager = &mut self.managers[m];
        let Some(past) = manager.backup.clone() else {
            return;
        };
        manager.rolled_back = true;
        (manager.told, manager.forgetful) = (past.told, past.forgetful);
        // What was under way then goes out again.
        manager.seen = past.seen;
        self.acked.retain(|(of, _), _| *of != m);
        self.acked.extend(past.acked);
    }
}

impl Fleet {
    /// What each agent holds: not less than before, nor than its managers may lack.
    pub fn look_at_agents(&mut self) -> Found {
        for (a, host) in self.agents.iter().enumerate() {
            let Some(agent) = &host.program else { continue };
            let ranges = agent.ranges();
            let truth = &self.truth.agents[a];
            let lacking = |epoch: Epoch, through: u64| {
                let acked = |m: &usize| self.truth.acked_ever.get(&(*m, epoch)).copied();
                let lacking = |m: &&usize| acked(m).unwrap_or(0) < through;
                truth.known.iter().find(lacking).copied()
            };
            for range in &ranges {
                if let Some(m) = lacking(range.epoch, range.first - 1) {
                    let (epoch, first) = (range.epoch, range.first);
                    return Err(format!(
                        "agent {a} holds epoch {epoch} from {first} on, and manager {m} may lack what is before"
                    ));
                }
            }
            for (epoch, last) in &truth.held {
                let found = ranges.iter().find(|r| r.epoch == *epoch);
                let short = found.is_none_or(|r| r.last < *last);
                if let (true, Some(m)) = (short, lacking(*epoch, *last)) {
                    return Err(format!(
                        "agent {a} held epoch {epoch} up to {last}, now {found:?}, and manager {m} may lack it"
                    ));
                }
            }
            if let Some(hash) = agent.config() {
                let rows = truth.published.get(&hash);
                if rows != Some(&agent.rows()) {
                    let probed = agent.rows();
                    return Err(format!("agent {a} probes {probed} targets of {rows:?}"));
                }
            }
            let held = ranges.iter().map(|r| (r.epoch, r.last)).collect();
            self.truth.agents[a].held = held;
        }
        Ok(())
    }

    /// What manager `m` has on its disk before it starts: all that it acknowledged.
    pub fn look_at_histories(&mut self, m: usize) -> Found {
        let root = self.managers[m].dir.join("history");
        let mut last = BTreeMap::new();
        for name in files::names_in(&root).map_err(|e| e.to_string())? {
            let found = replay::last_numbers(&root.join(name), |_| true);
            last.extend(found.map_err(|e| e.to_string())?);
        }
        for ((_, epoch), acked) in self.truth.acked.iter().filter(|((of, _), _)| *of == m) {
            let holds = last.get(epoch).copied().unwrap_or(0);
            if holds < *acked {
                return Err(format!(
                    "manager {m} acknowledged epoch {epoch} up to {acked} and holds {holds}"
                ));
            }
        }
        Ok(())
    }

    /// Whether all is connected, fetched and configured, as far as it can be.
    pub fn in_order(&self) -> bool {
        self.disorders().next().is_none()
    }

    /// What is not in order.
    pub fn disorder(&self) -> String {
        let all: Vec<String> = self.disorders().collect();
        format!("in a calm: {}", all.join("; "))
    }

    fn disorders(&self) -> impl Iterator<Item = String> {
        let pairs =
            (0..self.managers.len()).flat_map(|m| (0..self.agents.len()).map(move |a| (m, a)));
        pairs.filter_map(|(m, a)| {
            let manager = match &self.managers[m].program {
                Some(manager) => manager,
                None => return Some(format!("manager {m} does not run")),
            };
            // Only the first one's configurations are taken.
            let lacks = manager.lacks_of(&self.agents[a].name, m == 0);
            lacks.map(|lacks| format!("manager {m} of agent {a}: {lacks}"))
        })
    }

    /// Whether states, verdicts and what was told are what is so.
    pub fn look_at_calm(&mut self) -> Found {
        self.look_at_agents()?;
        for (m, host) in self.managers.iter().enumerate() {
            host.enter();
            let Some(manager) = &host.program else {
                continue;
            };
            let is_up = |name: &str| {
                let t: usize = name[1..].parse().expect("t and a number");
                self.truth.up[t]
            };
            for agent in &self.agents {
                let ours = clock::wall();
                agent.enter();
                let theirs = clock::wall();
                host.enter();
                let known = manager.clock_offset_ms(&agent.name).unwrap_or(0);
                let off = theirs.0 as i64 - ours.0 as i64 - known;
                // Beats come every 10 s and may be late; a clock that is behind may be just that.
                if !(-41_000..=8_000).contains(&off) {
                    let name = &agent.name;
                    return Err(format!(
                        "manager {m} takes the clock of {name} to be {known} ms ahead, {off} less than it is"
                    ));
                }
            }
            for (target, agent, state) in manager.rows() {
                let due = is_up(target.as_str());
                if (state == State::Up) != due || (state == State::Down) == due {
                    let is = state.as_str();
                    return Err(format!(
                        "manager {m}: {target} is {is} by {agent}, up: {due}"
                    ));
                }
            }
            for (target, state) in manager.verdicts() {
                let due = is_up(target.as_str());
                let truth = &self.truth.managers[m];
                let told = truth.told.get(&Subject::Target(target.clone()));
                let told = told.map_or("up", String::as_str);
                let told_so = truth.forgetful || (told == "up") == due;
                if (state == State::Up) != due || !told_so {
                    let is = state.as_str();
                    return Err(format!(
                        "manager {m}: {target} is {is}, told to be {told}, up: {due}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether every history holds what its agent wrote; how many records there are.
    pub fn look_at_end(&mut self) -> Result<u64, String> {
        let mut records = 0;
        for m in 0..self.managers.len() {
            let dir = self.managers[m].dir.clone();
            let fleet = fleet_file::check(&fleet_path(m), KeyRule::Required).ok();
            let audit = audit::run(&dir, fleet.as_ref()).map_err(|e| e.to_string())?;
            let epochs = audit.agents.iter().flat_map(|agent| &agent.epochs);
            let wrong = epochs
                .filter(|epoch| epoch.missing + epoch.duplicate + epoch.to_fetch > 0)
                .map(|epoch| format!("{epoch:?}"));
            let wrong = wrong.chain(audit.damage.iter().map(|damage| format!("{damage:?}")));
            if let Some(wrong) = wrong.reduce(|all, next| format!("{all}, {next}")) {
                return Err(format!("audit of manager {m}: {wrong}"));
            }
            let root = dir.join("history");
            for name in files::names_in(&root).map_err(|e| e.to_string())? {
                let mut found = Ok(());
                replay::lines(&root.join(name), Wall(0), |epoch, line| {
                    records += 1;
                    if found.is_ok() {
                        found = self.stored(m, epoch, line);
                    }
                })
                .map_err(|e| e.to_string())?;
                found?;
            }
        }
        Ok(records)
    }

    /// Whether a line of a history is the agent's own, or a gap with a reason.
    fn stored(&self, m: usize, epoch: Epoch, line: &[u8]) -> Found {
        let span = record::span(line).map_err(|damage| damage.to_string())?;
        let record = Record::parse(line).map_err(|damage| damage.to_string())?;
        let owner = self.truth.owner.get(&epoch).copied();
        if let Some(why) = record.body.in_place() {
            let Some(a) = owner else {
                return Ok(());
            };
            let lossy = self.truth.agents[a].lossy || self.truth.little_room;
            let lost = lossy || self.truth.managers[m].rolled_back;
            return match lost {
                true => Ok(()),
                false => Err(format!(
                    "manager {m}: {}..{} of agent {a} is a gap: {}",
                    span.first,
                    span.seq,
                    why.as_str()
                )),
            };
        }
        let lines = self.truth.lines.get(&epoch);
        let sent = lines.and_then(|lines| *lines.get(span.seq as usize)?);
        match sent == Some(crate::crc32::crc32(line)) {
            true => Ok(()),
            false => Err(format!(
                "manager {m}: record {} of epoch {epoch} is not what was sent",
                span.seq
            )),
        }
    }
}
