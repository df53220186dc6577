//! What befalls a simulated fleet.

use std::time::Duration;

use super::fleet::Fleet;
use crate::clock;
use crate::files::simulated::{self as disk, Failing};
use crate::model::Mono;

/// Rest between two faults in a storm, at most.
const REST_MAX_S: u64 = 40;
/// Longest time that something stays away or broken.
const AWAY_MAX_S: u64 = 90;

#[derive(Debug, Clone, Copy)]
enum Fault {
    KillAgent,
    CutPowerOfAgent,
    FailDiskOfAgent,
    KillManager,
    CutPowerOfManager,
    FailDiskOfManager,
    Cut,
    HalfOpen,
    Stall,
    SetClock,
    ChangeFleet,
    BreakFleet,
    FlipTarget,
    RollBackAgent,
    RollBackManager,
}

const FAULTS: [Fault; 22] = [
    Fault::KillAgent,
    Fault::KillAgent,
    Fault::CutPowerOfAgent,
    Fault::CutPowerOfAgent,
    Fault::FailDiskOfAgent,
    Fault::KillManager,
    Fault::CutPowerOfManager,
    Fault::CutPowerOfManager,
    Fault::FailDiskOfManager,
    Fault::Cut,
    Fault::Cut,
    Fault::HalfOpen,
    Fault::HalfOpen,
    Fault::Stall,
    Fault::SetClock,
    Fault::ChangeFleet,
    Fault::BreakFleet,
    Fault::FlipTarget,
    Fault::FlipTarget,
    Fault::FlipTarget,
    Fault::RollBackAgent,
    Fault::RollBackManager,
];

impl Fleet {
    /// When the next fault comes.
    pub fn next_fault_at(&mut self) -> Mono {
        let rest = self.dice.below(1000 * REST_MAX_S);
        clock::mono().after(Duration::from_millis(rest))
    }

    fn later(&mut self) -> Mono {
        let away = self.dice.below(1000 * AWAY_MAX_S);
        clock::mono().after(Duration::from_millis(away))
    }

    fn failing(&mut self) -> (u64, Failing) {
        let operations = self.dice.below(20);
        (
            operations,
            *self.dice.one_of(&[Failing::Full, Failing::Broken]),
        )
    }

    /// Has something happen.
    pub fn fault(&mut self) {
        let fault = *self.dice.one_of(&FAULTS);
        let a = self.dice.below(self.agents.len() as u64) as usize;
        let m = self.dice.below(self.managers.len() as u64) as usize;
        let later = self.later();
        // A program that is killed takes with it the knowledge that a sync has failed: what
        // that lost, a power cut would show, and nobody can know. So such ones are spared.
        let spared = match fault {
            Fault::KillManager | Fault::CutPowerOfManager | Fault::RollBackManager => {
                self.managers[m].has_lost()
            }
            Fault::KillAgent | Fault::CutPowerOfAgent | Fault::RollBackAgent => {
                self.agents[a].has_lost()
            }
            _ => false,
        };
        if spared {
            return;
        }
        self.faults += 1;
        self.tell(&format!("{fault:?} agent {a} manager {m}"));
        match fault {
            Fault::KillAgent => self.stop_agent(a, later, false),
            Fault::CutPowerOfAgent => self.stop_agent(a, later, true),
            Fault::KillManager => self.stop_manager(m, later, false),
            Fault::CutPowerOfManager => self.stop_manager(m, later, true),
            Fault::FailDiskOfAgent => {
                let after = self.failing();
                self.agents[a].fail_disk(after, later);
            }
            Fault::FailDiskOfManager => {
                let after = self.failing();
                self.managers[m].fail_disk(after, later);
                self.truth.disk_failed(m);
            }
            Fault::Cut => self.cut(a, m, later, true, true),
            Fault::HalfOpen => {
                let of_agent = self.dice.once_in(2);
                self.cut(a, m, later, of_agent, !of_agent);
            }
            Fault::Stall => self.wires[a][m].stall(later),
            Fault::SetClock => self.set_clock(a),
            Fault::ChangeFleet => self.change_fleet(),
            Fault::BreakFleet => self.break_fleet(),
            Fault::FlipTarget => self.flip_target(),
            Fault::RollBackAgent => self.roll_back_agent(a, later),
            Fault::RollBackManager => self.roll_back_manager(m, later),
        }
    }

    /// Ends a connection. Whoever is not told goes on until it notices the silence.
    fn cut(&mut self, a: usize, m: usize, until: Mono, tell_agent: bool, tell_manager: bool) {
        let wire = &mut self.wires[a][m];
        wire.to_agent.close();
        wire.to_manager.close();
        wire.dead_until = until;
        if tell_agent {
            wire.agent = None;
        }
        if tell_manager {
            self.end_link(a, m, "cut");
        }
    }

    /// Steps an agent's wall clock, or has it start in 1970 or come right again.
    fn set_clock(&mut self, a: usize) {
        let hour = 3_600_000;
        let step = *self.dice.one_of(&[hour, -hour, 700, -700]);
        self.agents[a].wall_at_zero += step;
    }

    /// An agent's directory is put back to what it was some time ago, while it is off.
    fn roll_back_agent(&mut self, a: usize, later: Mono) {
        self.stop_agent(a, later, true);
        let host = &self.agents[a];
        let backup = host.dir.with_file_name(format!("backup-{}", host.name));
        let dir = host.dir.clone();
        if self.dice.once_in(2) || !self.truth.agent_backed_up(a) {
            disk::with(|disk| disk.copy(&dir, &backup));
            self.truth.back_up_agent(a);
        } else {
            disk::with(|disk| disk.copy(&backup, &dir));
            self.truth.agent_rolled_back(a);
        }
    }

    /// The same of a manager: restored from an old backup, or begun anew.
    fn roll_back_manager(&mut self, m: usize, later: Mono) {
        self.stop_manager(m, later, true);
        let host = &self.managers[m];
        let backup = host.dir.with_file_name(format!("backup-{}", host.name));
        let dir = host.dir.clone();
        if self.dice.once_in(2) || !self.truth.manager_backed_up(m) {
            disk::with(|disk| disk.copy(&dir, &backup));
            self.truth.back_up_manager(m);
        } else {
            disk::with(|disk| disk.copy(&backup, &dir));
            self.truth.manager_rolled_back(m);
        }
    }
}
