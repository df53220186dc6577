//! The simulated fleet: its machines, its connections, and the loop that has each do what
//! is due.

use std::path::PathBuf;
use std::time::Duration;

use super::Run;
use super::check::{Truth, Violation};
use super::host::Host;
use super::wire::{Quality, Wire};
use crate::agent::simulated::{Finding, Keeping, SimAgent};
use crate::clock::{self, simulated as time, simulated::Dice};
use crate::crypto::sha256;
use crate::files;
use crate::journal::SyncMode;
use crate::manager::simulated::SimManager;
use crate::model::Mono;

const AGENTS: usize = 3;
const TARGETS: usize = 5;
/// Longest storm between two calms, in seconds.
const STORM_MAX_S: u64 = 400;
/// In a calm everything has to be in order within this time.
const CALM_WITHIN: Duration = Duration::from_secs(240);
/// And that is waited for once it is, so that alerts are out.
const CALM_LASTS: Duration = Duration::from_secs(90);
/// Rest before a program that could not start is started again.
const START_AGAIN: Duration = Duration::from_secs(5);
/// What happened last, for whoever reads of a violation.
const LOG_MAX: usize = 200;

/// See the module text.
pub struct Fleet {
    pub dice: Dice,
    pub agents: Vec<Host<SimAgent>>,
    pub managers: Vec<Host<SimManager>>,
    /// By agent, then by manager.
    pub wires: Vec<Vec<Wire>>,
    pub keeping: Keeping,
    pub truth: Truth,
    pub faults: u64,
    fault_at: Option<Mono>,
    trace: Vec<u8>,
    hash: u64,
    log: Vec<String>,
    /// All that happens is printed.
    loud: bool,
}

impl Fleet {
    /// A fleet that is yet to be started.
    pub fn new(seed: u64) -> Fleet {
        let mut dice = Dice::new(seed ^ 0x5eed);
        time::set_mono(Mono(1_000_000));
        let managers = 1 + dice.below(2) as usize;
        let mut agents: Vec<Host<SimAgent>> = (0..AGENTS)
            .map(|a| Host::new(&format!("agent-{a}")))
            .collect();
        if dice.once_in(4) {
            // No battery, no network yet: it is 1970 there.
            agents[0].wall_at_zero = 0;
        }
        let managers: Vec<Host<SimManager>> = (0..managers)
            .map(|m| Host::new(&format!("manager-{m}")))
            .collect();
        let sync = *dice.one_of(&[SyncMode::Always, SyncMode::Interval]);
        // So little that plain results have to become sums now and then, and go.
        let limit = *dice.one_of(&[64 << 20, 20 * 1024]);
        let wires = (0..AGENTS)
            .map(|_| managers.iter().map(|_| Wire::new()).collect())
            .collect();
        let mut fleet = Fleet {
            truth: Truth::new(AGENTS, managers.len(), TARGETS, limit < 1 << 20),
            dice,
            agents,
            managers,
            wires,
            keeping: Keeping { limit, sync },
            faults: 0,
            fault_at: None,
            trace: Vec::new(),
            hash: 0,
            log: Vec::new(),
            loud: super::setting("TCPMON_TELL", 0) > 0,
        };
        fleet.change_fleet();
        fleet
    }

    /// Notes what happens, for the trace and for whoever reads of a violation.
    pub fn tell(&mut self, text: &str) {
        let now = clock::mono().0 as f64 / 1e6;
        self.trace.extend_from_slice(text.as_bytes());
        if self.log.len() >= LOG_MAX {
            self.log.remove(0);
        }
        if self.loud {
            eprintln!("{now:.3} {text}");
        }
        self.log.push(format!("{now:.3} {text}"));
    }

    fn violation(&mut self, text: String) -> Violation {
        Violation::new(text, std::mem::take(&mut self.log))
    }

    /// Faults, for a while.
    pub fn storm(&mut self) -> Result<(), Violation> {
        self.tell("storm");
        let lasts = Duration::from_secs(1 + self.dice.below(STORM_MAX_S));
        let end = clock::mono().after(lasts);
        self.fault_at = Some(self.next_fault_at());
        self.live(end)?;
        self.fault_at = None;
        Ok(())
    }

    /// Everything is mended and left alone until it is in order, and looked at then.
    pub fn calm(&mut self) -> Result<(), Violation> {
        self.tell("calm");
        let now = clock::mono();
        for a in 0..self.agents.len() {
            self.agents[a].mend_disk();
            self.agents[a].start_at = now;
        }
        for m in 0..self.managers.len() {
            self.managers[m].mend_disk();
            self.managers[m].start_at = now;
        }
        for wire in self.wires.iter_mut().flatten() {
            wire.dead_until = wire.dead_until.min(now);
            wire.dial_at = wire.dial_at.min(now);
        }
        self.mend_fleet();
        let until = now.after(CALM_WITHIN);
        while !self.in_order() {
            if clock::mono() >= until {
                let text = self.disorder();
                return Err(self.violation(text));
            }
            self.live(clock::mono().after(Duration::from_secs(1)))?;
        }
        self.live(clock::mono().after(CALM_LASTS))?;
        let found = self.look_at_calm();
        found.map_err(|text| self.violation(text))
    }

    /// Ends the run.
    pub fn finish(mut self) -> Result<Run, Violation> {
        let found = self.look_at_end();
        let records = found.map_err(|text| self.violation(text))?;
        self.fold();
        Ok(Run {
            trace: self.hash,
            records,
            faults: self.faults,
        })
    }

    fn fold(&mut self) {
        self.trace.extend_from_slice(&self.hash.to_be_bytes());
        let hash = sha256(&self.trace);
        self.hash = u64::from_be_bytes(hash[..8].try_into().expect("eight bytes"));
        self.trace.clear();
    }

    /// Lets time pass until `end`.
    fn live(&mut self, end: Mono) -> Result<(), Violation> {
        loop {
            let next = self.next_at().max(clock::mono());
            if next > end {
                time::set_mono(end);
                return Ok(());
            }
            time::set_mono(next);
            let done = self.step();
            done.map_err(|text| self.violation(text))?;
            for line in time::logged() {
                self.tell(&line);
            }
            if self.trace.len() > 64 * 1024 {
                self.fold();
            }
        }
    }

    fn next_at(&self) -> Mono {
        let agents = self.agents.iter().map(|host| match &host.program {
            Some(agent) => agent.next_at().unwrap_or(Mono(u64::MAX)),
            None => host.start_at,
        });
        let managers = self.managers.iter().map(|host| match &host.program {
            Some(manager) => manager.next_at(),
            None => host.start_at,
        });
        let agents_disks = self.agents.iter().filter_map(|h| h.disk_fails_until);
        let managers_disks = self.managers.iter().filter_map(|h| h.disk_fails_until);
        let wires = self.wires.iter().flatten().map(Wire::next_at);
        let all = agents.chain(managers).chain(agents_disks);
        let all = all.chain(managers_disks).chain(wires);
        all.chain(self.fault_at).min().unwrap_or(Mono(0))
    }

    /// Does all that is due now.
    fn step(&mut self) -> Result<(), String> {
        let now = clock::mono();
        if self.fault_at.is_some_and(|at| at <= now) {
            self.look_at_agents()?;
            self.fault();
            self.fault_at = Some(self.next_fault_at());
        }
        for a in 0..self.agents.len() {
            if self.agents[a].disk_fails_until.is_some_and(|at| at <= now) {
                self.agents[a].mend_disk();
            }
            self.agents[a].enter();
            self.step_agent(a)?;
        }
        for m in 0..self.managers.len() {
            if self.managers[m]
                .disk_fails_until
                .is_some_and(|at| at <= now)
            {
                self.managers[m].mend_disk();
            }
            self.managers[m].enter();
            self.step_manager(m)?;
        }
        for a in 0..self.agents.len() {
            for m in 0..self.managers.len() {
                self.step_wire(a, m)?;
            }
        }
        Ok(())
    }

    fn step_agent(&mut self, a: usize) -> Result<(), String> {
        let now = clock::mono();
        let host = &mut self.agents[a];
        if let Some(agent) = &mut host.program {
            let (dice, up) = (&mut self.dice, &self.truth.up);
            agent.turn(|target| finding(target.name.as_str(), up, dice));
            return Ok(());
        }
        if host.start_at > now {
            return Ok(());
        }
        match SimAgent::start(&host.dir, &host.name, self.keeping) {
            Ok(agent) => {
                host.program = Some(agent);
                self.tell(&format!("agent {a} starts"));
                self.look_at_agents()
            }
            Err(error) => {
                host.start_at = now.after(START_AGAIN);
                self.tell(&format!("agent {a}: {error}"));
                Ok(())
            }
        }
    }

    fn step_manager(&mut self, m: usize) -> Result<(), String> {
        let now = clock::mono();
        let path = fleet_path(m);
        let host = &mut self.managers[m];
        if let Some(manager) = &mut host.program {
            let storm = self.fault_at.is_some();
            let (dice, truth) = (&mut self.dice, &mut self.truth);
            let mut wrong = Ok(());
            let mut news = Vec::new();
            manager.turn(|message| {
                if storm && dice.once_in(10) {
                    return Err("the receiver is away".into());
                }
                news.push(format!("manager {m} alerts: {}", message.text()));
                let told = truth.deliver(m, message);
                if wrong.is_ok() {
                    wrong = told;
                }
                Ok(())
            });
            news.extend(manager.notices());
            news.iter().for_each(|notice| self.tell(notice));
            return wrong;
        }
        if host.start_at > now {
            return Ok(());
        }
        self.look_at_histories(m)?;
        // Of two, or put back to an older state, it has to be told that it is the one.
        let others = self.managers.len() > 1 || self.truth.is_rolled_back(m);
        let take_over = m == 0 && others;
        let host = &mut self.managers[m];
        match SimManager::start(&host.dir, &host.name, &path, take_over) {
            Ok(manager) => {
                host.program = Some(manager);
                self.tell(&format!("manager {m} starts"));
            }
            Err(error) => {
                host.start_at = now.after(START_AGAIN);
                self.tell(&format!("manager {m}: {error}"));
            }
        }
        Ok(())
    }

    fn step_wire(&mut self, a: usize, m: usize) -> Result<(), String> {
        self.managers[m].enter();
        self.manager_side(a, m)?;
        self.agents[a].enter();
        self.agent_side(a, m)
    }

    /// What the manager does about its agent: hears, speaks, dials.
    fn manager_side(&mut self, a: usize, m: usize) -> Result<(), String> {
        let now = clock::mono();
        let wire = &mut self.wires[a][m];
        if self.managers[m].program.is_none() {
            wire.dial_at = wire.dial_at.max(now.after(Duration::from_millis(100)));
            return Ok(());
        }
        let Some(side) = &mut wire.manager else {
            return self.dial(a, m);
        };
        let mut ended = side
            .session
            .is_over()
            .then(|| "cut from inside".to_string());
        let mut heard = false;
        while ended.is_none() {
            let Some(line) = wire.to_manager.arrived(now) else {
                break;
            };
            (side.heard_at, heard) = (now, true);
            ended = side.session.hear(&line).err().map(|e| e.to_string());
        }
        if ended.is_none() && wire.to_manager.is_ended(now) {
            ended = Some("closed by the agent".to_string());
        }
        if ended.is_none() && (heard || side.session.next_at() <= now) {
            ended = side.session.settle().err().map(|e| e.to_string());
        }
        if ended.is_none() && side.silent_at() <= now {
            ended = Some("silent".to_string());
        }
        while ended.is_none() && side.session.next_at() <= now && wire.to_agent.has_room() {
            let said = side.session.say();
            if said.is_empty() {
                break;
            }
            self.truth.manager_says(m, said.as_bytes())?;
            self.trace.extend_from_slice(said.as_bytes());
            let quality = wire.quality;
            wire.to_agent
                .send(said.as_bytes(), now, &quality, &mut self.dice);
        }
        if let Some(text) = ended {
            self.tell(&format!("manager {m}, of agent {a}: {text}"));
            Truth::manager_may_end(&text)?;
            // The other side learns of it, if anything gets through.
            self.wires[a][m].to_agent.end(now);
            self.end_link(a, m, &text);
        }
        Ok(())
    }

    /// The manager's side is over.
    pub fn end_link(&mut self, a: usize, m: usize, why: &str) {
        let wire = &mut self.wires[a][m];
        let Some(side) = wire.manager.take() else {
            return;
        };
        let rest = Duration::from_millis(500 + self.dice.below(20_000));
        wire.dial_at = clock::mono().after(rest).max(wire.dead_until);
        self.managers[m].enter();
        side.session.end(why);
    }

    fn dial(&mut self, a: usize, m: usize) -> Result<(), String> {
        let now = clock::mono();
        if self.wires[a][m].dial_at.max(self.wires[a][m].dead_until) > now {
            return Ok(());
        }
        self.wires[a][m].dial_at = now.after(Duration::from_millis(500 + self.dice.below(5000)));
        let Some(manager) = &self.managers[m].program else {
            return Ok(());
        };
        let hello = manager.hello(&self.agents[a].name);
        self.agents[a].enter();
        let Some(agent) = &self.agents[a].program else {
            return Ok(());
        };
        let greeted = agent.greet(&hello);
        self.managers[m].enter();
        match greeted {
            Ok((theirs, session)) => match manager.begin(&self.agents[a].name, &theirs) {
                Ok(link) => {
                    self.truth.knows(a, m);
                    let wire = &mut self.wires[a][m];
                    wire.quality = Quality::any(&mut self.dice);
                    wire.connect(session, link, now);
                    self.tell(&format!("manager {m} connects to agent {a}"));
                }
                Err(error) => self.tell(&format!("manager {m} to agent {a}: {error}")),
            },
            Err(text) => self.tell(&format!("agent {a} refuses manager {m}: {text}")),
        }
        Ok(())
    }

    /// What the agent does about a manager: hears and speaks.
    fn agent_side(&mut self, a: usize, m: usize) -> Result<(), String> {
        let now = clock::mono();
        let wire = &mut self.wires[a][m];
        let Some(side) = &mut wire.agent else {
            return Ok(());
        };
        let mut ended = side
            .session
            .is_over()
            .then(|| "ended from inside".to_string());
        while ended.is_none() {
            let Some(line) = wire.to_agent.arrived(now) else {
                break;
            };
            side.heard_at = now;
            ended = side.session.hear(&line).err();
        }
        if ended.is_none() && wire.to_agent.is_ended(now) {
            ended = Some("closed by the manager".to_string());
        }
        if ended.is_none() && side.silent_at() <= now {
            ended = Some("silent".to_string());
        }
        while ended.is_none() && side.session.next_at() <= now && wire.to_manager.has_room() {
            let said = side.session.say();
            if said.is_empty() {
                break;
            }
            self.truth.agent_says(a, &said, &mut wire.epoch)?;
            self.trace.extend_from_slice(&said);
            let quality = wire.quality;
            wire.to_manager.send(&said, now, &quality, &mut self.dice);
        }
        if let Some(text) = ended {
            self.tell(&format!("agent {a}, of manager {m}: {text}"));
            Truth::agent_may_end(&text)?;
            self.wires[a][m].agent = None;
            self.wires[a][m].to_manager.end(now);
        }
        Ok(())
    }

    /// An agent's program ends, or its machine.
    pub fn stop_agent(&mut self, a: usize, start_at: Mono, power: bool) {
        for m in 0..self.managers.len() {
            self.wires[a][m].agent = None;
            match power {
                true => self.wires[a][m].to_manager.close(),
                false => self.wires[a][m].to_manager.end(clock::mono()),
            }
        }
        match power {
            true => {
                self.agents[a].cut_power(start_at, &mut self.dice);
                self.truth.agent_lost_power(a, self.keeping.sync);
            }
            false => self.agents[a].kill(start_at),
        }
    }

    /// A manager's program ends, or its machine.
    pub fn stop_manager(&mut self, m: usize, start_at: Mono, power: bool) {
        for a in 0..self.agents.len() {
            self.wires[a][m].manager = None;
            self.wires[a][m].dial_at = start_at;
            match power {
                true => self.wires[a][m].to_agent.close(),
                false => self.wires[a][m].to_agent.end(clock::mono()),
            }
        }
        match power {
            true => self.managers[m].cut_power(start_at, &mut self.dice),
            false => self.managers[m].kill(start_at),
        }
    }

    /// Writes another fleet file for all managers.
    pub fn change_fleet(&mut self) {
        let mut targets = Vec::new();
        for t in 0..TARGETS {
            if t == 0 || !self.dice.once_in(4) {
                let interval = self.dice.one_of(&["5s", "10s", "20s"]);
                targets.push(format!(
                    r#"{{"name":"t{t}","address":"192.0.2.{t}:80","interval":"{interval}","timeout":"3s"}}"#
                ));
            }
        }
        let agents: Vec<String> = (0..AGENTS)
            .map(|a| {
                format!(
                    r#"{{"name":"agent-{a}","address":"127.0.0.1:{}"}}"#,
                    1000 + a
                )
            })
            .collect();
        let text = format!(
            r#"{{"agents":[{}],"targets":[{}],"alerts":[{{"name":"log","run":["/log"],"on":["down","up"],"group_wait":"1s"}}]}}"#,
            agents.join(","),
            targets.join(",")
        );
        self.truth.fleet = text;
        self.mend_fleet();
    }

    /// Puts the fleet file back that was meant.
    fn mend_fleet(&mut self) {
        let text = self.truth.fleet.clone();
        self.write_fleet(text.as_bytes());
        self.truth.publish(&fleet_path(0), &self.agents);
    }

    /// Writes half a fleet file.
    pub fn break_fleet(&mut self) {
        let text = self.truth.fleet.clone();
        self.write_fleet(&text.as_bytes()[..text.len() / 2]);
    }

    fn write_fleet(&mut self, text: &[u8]) {
        for m in 0..self.managers.len() {
            let path = fleet_path(m);
            files::ensure_dir(path.parent().expect("a directory")).expect("a disk that works");
            files::replace(&path, text).expect("a disk that works");
        }
    }

    /// A target goes down, or comes up.
    pub fn flip_target(&mut self) {
        let t = self.dice.below(TARGETS as u64) as usize;
        self.truth.up[t] = !self.truth.up[t];
    }
}

/// Where manager `m` finds its fleet file.
pub fn fleet_path(m: usize) -> PathBuf {
    PathBuf::from(format!("/fleet/{m}.json"))
}

/// How a probe of this target goes.
fn finding(name: &str, up: &[bool], dice: &mut Dice) -> Finding {
    let t: usize = name[1..].parse().expect("t and a number");
    let quick = Duration::from_micros(500 + dice.below(20_000));
    match up[t] {
        true => (quick, true),
        false if dice.once_in(2) => (Duration::from_secs(3), false),
        false => (quick, false),
    }
}
