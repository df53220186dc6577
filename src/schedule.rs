//! When each target is probed. Pure: time is an argument, nothing sleeps.
//!
//! Each target (or address of it that is a row of its own) has a fixed grid: its phase
//! (from the hash of its name) plus whole intervals, counted from the schedule's start,
//! whatever the probes take. A tick that can't be met within [`LATE_MAX`] or half the
//! interval is skipped and counted, never made up for. Between ticks a target is probed again, a few times,
//! while it is not decided whether it has changed. A job is held by one worker from [`Schedule::take`]
//! to [`Schedule::finish`], so no target is ever probed twice at once. Of targets whose
//! last probe was not quick, no more than a set number are out at once: however many are
//! dark, the others have workers. Where more of them are due than that, those come first
//! that have not been probed for longest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::sha256;
use crate::model::{Mono, Row, Target, micros};
use crate::record::SkipWhy;

/// A new target's first probe comes within this time, however long its interval.
pub const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// A tick later than this (or than half the interval) is skipped.
pub const LATE_MAX: Duration = Duration::from_secs(1);
/// Skipped ticks of a target are reported at least this often.
pub const SKIP_REPORT: Duration = Duration::from_secs(60);

/// One probe to make: held by a worker that starts it at `due`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub target: Arc<Target>,
    pub due: Mono,
    /// When its worker did start it.
    pub started: Mono,
    slot: u32,
    generation: u32,
    /// Whether its target's last probe was.
    quick: bool,
}

impl Job {
    /// The target's place in the schedule, which is its own until it ends: no more than
    /// there ever were targets at once.
    pub fn place(&self) -> usize {
        self.slot as usize
    }
}

/// Ticks that passed without a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    pub count: u64,
    pub why: SkipWhy,
    since: Mono,
}

/// What a new list of targets changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Began(Arc<Target>),
    /// What was at this place.
    Ended {
        place: u32,
        target: Arc<Target>,
    },
}

#[derive(Debug)]
struct Slot {
    target: Arc<Target>,
    /// The grid: every tick is `phase` plus a multiple of the interval.
    phase: Mono,
    skipped: Option<Box<Skipped>>,
    /// Whether the last probe was answered.
    answered: Option<bool>,
    /// Probes still to be made between ticks.
    rechecks: u16,
    /// When it was last probed, in tenths of a second; 0 for never.
    probed: u32,
}

/// What is due, whose slot, and of which generation of it; the earliest first.
type Line = BinaryHeap<Reverse<(Mono, u32, u32)>>;

/// When what is due was last probed, and when it is due, whose slot, and of which generation.
type Waiting = BinaryHeap<Reverse<(u32, Mono, u32, u32)>>;

/// The grid of every target and the order of what is due next.
#[derive(Debug)]
pub struct Schedule {
    slots: Vec<Option<Slot>>,
    /// How many targets each slot has had before.
    generations: Vec<u32>,
    free: Vec<u32>,
    /// Where the rows of targets are whose addresses are rows of their own.
    rows: HashMap<Row, u32>,
    /// Targets whose last probe was quick.
    quick: Line,
    /// And all others; of those that are due, the one that waits longest.
    unsure: Line,
    waiting: Waiting,
    /// How many of those workers hold, and may.
    unsure_out: usize,
    unsure_max: usize,
    reports: Vec<(Row, Skipped)>,
}

impl Schedule {
    /// Without targets yet. Of those that have not proved quick, at most `unsure_max` are
    /// handed out at once.
    pub fn new(unsure_max: usize) -> Schedule {
        Schedule {
            slots: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            rows: HashMap::new(),
            quick: Line::new(),
            unsure: Line::new(),
            waiting: Waiting::new(),
            unsure_out: 0,
            unsure_max,
            reports: Vec::new(),
        }
    }

    /// Makes `targets` the whole list. Unchanged targets keep their grid, their
    /// place in it and any probe under way; a changed one ends and begins anew.
    pub fn replace(&mut self, targets: Vec<Target>, now: Mono) -> Vec<Change> {
        let slots = (0..).zip(&self.slots);
        let there = slots.filter_map(|(at, slot)| Some((slot.as_ref()?.target.row(), at)));
        self.exchange(there.collect(), targets, now)
    }

    /// Makes `targets` what there is in place of the rows `before`, as [`Schedule::replace`]
    /// does for all of them.
    pub fn replace_rows(&mut self, before: &[Row], targets: Vec<Target>, now: Mono) -> Vec<Change> {
        let there = |row: &Row| Some((row.clone(), *self.rows.get(row)?));
        self.exchange(before.iter().filter_map(there).collect(), targets, now)
    }

    fn exchange(
        &mut self,
        mut there: HashMap<Row, u32>,
        targets: Vec<Target>,
        now: Mono,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut kept = HashMap::new();
        for target in &targets {
            let row = target.row();
            if let Some(slot) = there.get(&row).copied() {
                if self.probes_alike(slot, target) {
                    there.remove(&row);
                    kept.insert(row, slot);
                }
            }
        }
        // What ends makes room for what begins.
        let mut ending: Vec<u32> = there.into_values().collect();
        ending.sort_unstable();
        for slot in ending {
            self.end(slot, &mut changes);
        }
        let more = targets.len() - kept.len();
        // Exactly for a whole list; where a few come at a time that would copy all each time.
        if more > self.len() {
            let places = more.saturating_sub(self.free.len());
            self.unsure.reserve_exact(more);
            self.slots.reserve_exact(places);
            self.generations.reserve_exact(places);
            changes.reserve_exact(more);
        }
        for target in targets {
            match kept.remove(&target.row()) {
                Some(slot) => self.renew(slot, target),
                None => changes.push(Change::Began(self.begin(target, now))),
            }
        }
        changes
    }

    /// Takes over what may differ of a target that goes on.
    fn renew(&mut self, slot: u32, target: Target) {
        if let Some(slot) = &mut self.slots[slot as usize] {
            if *slot.target != target {
                slot.target = Arc::new(target);
            }
        }
    }

    /// How many places there are for targets; see [`Job::place`].
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// How many targets and rows there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is nothing to probe.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The earliest tick that no worker holds and one may.
    pub fn next_at(&mut self) -> Option<Mono> {
        Some(self.next()?.0)
    }

    /// When it is, and whether its target is a quick one.
    fn next(&mut self) -> Option<(Mono, bool)> {
        let quick = first(&mut self.quick, &self.generations);
        let unsure = match self.unsure_out < self.unsure_max {
            true => self
                .first_waiting()
                .or_else(|| first(&mut self.unsure, &self.generations)),
            false => None,
        };
        match (quick, unsure) {
            (Some(quick), unsure) if unsure.is_none_or(|unsure| quick <= unsure) => {
                Some((quick, true))
            }
            (_, unsure) => Some((unsure?, false)),
        }
    }

    /// When the one is due that waits longest of those that are due and not quick.
    fn first_waiting(&mut self) -> Option<Mono> {
        while let Some(Reverse((_, due, slot, generation))) = self.waiting.peek().copied() {
            if self.generations[slot as usize] == generation {
                return Some(due);
            }
            self.waiting.pop();
        }
        None
    }

    /// Has those that are not quick wait for their turn once they are due.
    fn queue(&mut self, now: Mono) {
        while first(&mut self.unsure, &self.generations).is_some_and(|due| due <= now) {
            let Some(Reverse((due, slot, generation))) = self.unsure.pop() else {
                return;
            };
            let probed = self.slots[slot as usize].as_ref().map_or(0, |s| s.probed);
            self.waiting.push(Reverse((probed, due, slot, generation)));
        }
    }

    /// Takes the first of those that are quick, or of the others.
    fn pop(&mut self, quick: bool) -> Option<(Mono, u32, u32)> {
        if !quick {
            if let Some(Reverse((_, due, slot, generation))) = self.waiting.pop() {
                return Some((due, slot, generation));
            }
        }
        self.line(quick).pop().map(|Reverse(first)| first)
    }

    /// The targets that proved quick in line, or the others.
    fn line(&mut self, quick: bool) -> &mut Line {
        match quick {
            true => &mut self.quick,
            false => &mut self.unsure,
        }
    }

    /// Hands out the earliest tick, due or not yet. Ticks too late to be met are
    /// skipped on the way, counted as `why`.
    pub fn take(&mut self, now: Mono, why: SkipWhy) -> Option<Job> {
        loop {
            self.queue(now);
            let (_, quick) = self.next()?;
            let (due, slot, generation) = self.pop(quick)?;
            if now > self.latest_start(slot, due) {
                let next = self.skip_to(slot, due, now, why);
                self.line(quick).push(Reverse((next, slot, generation)));
                continue;
            }
            self.unsure_out += usize::from(!quick);
            return self.job(slot, due, quick);
        }
    }

    /// Whether the job's target is still what is to be probed.
    pub fn wanted(&self, job: &Job) -> bool {
        self.generations[job.place()] == job.generation
    }

    /// Takes a job back that its worker could not start in time (the host was stopped while
    /// it slept), to be handed out anew; its passed ticks are counted as a stall. Gives it
    /// to the worker again where it is to start now.
    pub fn overslept(&mut self, job: Job, now: Mono) -> Option<Job> {
        if !self.wanted(&job) || now <= self.latest_start(job.slot, job.due) {
            return Some(job);
        }
        self.unsure_out -= usize::from(!job.quick);
        let next = self.skip_to(job.slot, job.due, now, SkipWhy::Stall);
        self.report(job.slot);
        let again = Reverse((next, job.slot, job.generation));
        self.line(job.quick).push(again);
        None
    }

    /// The skips to record now: of targets whose next job was handed out since, or that
    /// were not served for [`SKIP_REPORT`].
    pub fn reports(&mut self) -> Vec<(Row, Skipped)> {
        std::mem::take(&mut self.reports)
    }

    /// Gives a job back, and whether it was answered: its target's next tick is in line
    /// again, or a probe before that, while it is not decided whether the target has changed.
    pub fn finish(&mut self, job: Job, answered: bool, now: Mono) {
        let wanted = self.wanted(&job);
        self.unsure_out -= usize::from(!job.quick);
        if !wanted {
            return;
        }
        let Some(slot) = &mut self.slots[job.place()] else {
            return;
        };
        slot.probed = (now.0 / 100_000 + 1) as u32;
        let quick = now.since(job.started) < slot.target.timeout / 2;
        let tick = slot.next_tick(job.due);
        let again = slot.recheck(answered, (job.due, tick), now);
        let next = match again.filter(|again| *again < tick) {
            Some(again) => again,
            None if now > self.latest_start(job.slot, tick) => {
                self.skip_to(job.slot, tick, now, SkipWhy::Busy)
            }
            None => tick,
        };
        let again = Reverse((next, job.slot, job.generation));
        self.line(quick).push(again);
    }

    /// Gives a job back of which nothing came, as `why` says: its tick counts as skipped.
    pub fn missed(&mut self, job: &Job, now: Mono, why: SkipWhy) {
        self.unsure_out -= usize::from(!job.quick);
        if self.wanted(job) {
            let next = self.skip_to(job.slot, job.due, now, why);
            let again = Reverse((next, job.slot, job.generation));
            self.line(job.quick).push(again);
        }
    }

    /// Whether a target differs from the one there in nothing but its rechecks.
    fn probes_alike(&self, slot: u32, target: &Target) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|slot| {
            let recheck = target.recheck;
            *slot.target == *target || {
                let mut there = (*slot.target).clone();
                there.recheck = recheck;
                there == *target
            }
        })
    }

    fn begin(&mut self, target: Target, now: Mono) -> Arc<Target> {
        let target = Arc::new(target);
        let interval = micros(target.interval);
        let row = target.row();
        let hash = phase_hash(&row);
        let first_within = interval.min(micros(FIRST_WITHIN));
        let slot = Slot {
            phase: Mono(now.0 + scale(hash, interval)),
            target: Arc::clone(&target),
            skipped: None,
            answered: None,
            rechecks: 0,
            probed: 0,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            (self.slots.len() - 1) as u32
        });
        if target.each_address {
            self.rows.insert(row, index);
        }
        self.slots[index as usize] = Some(slot);
        let first = Mono(now.0 + scale(hash, first_within));
        let generation = self.generations[index as usize];
        self.unsure.push(Reverse((first, index, generation)));
        target
    }

    fn end(&mut self, index: u32, changes: &mut Vec<Change>) {
        self.report(index);
        let place = index as usize;
        if let Some(Slot { target, .. }) = self.slots[place].take() {
            if target.each_address {
                self.rows.remove(&target.row());
            }
            let place = index;
            changes.push(Change::Ended { place, target });
        }
        self.generations[place] = self.generations[place].wrapping_add(1);
        self.free.push(index);
    }

    fn job(&mut self, index: u32, due: Mono, quick: bool) -> Option<Job> {
        self.report(index);
        let slot = self.slots[index as usize].as_ref()?;
        Some(Job {
            target: Arc::clone(&slot.target),
            due,
            started: due,
            slot: index,
            generation: self.generations[index as usize],
            quick,
        })
    }

    /// The last moment at which the tick `due` may still start.
    fn latest_start(&self, index: u32, due: Mono) -> Mono {
        match &self.slots[index as usize] {
            Some(slot) => due.after(LATE_MAX.min(slot.target.interval / 2)),
            None => due,
        }
    }

    fn report(&mut self, index: u32) {
        if let Some(slot) = &mut self.slots[index as usize] {
            if let Some(skipped) = slot.skipped.take() {
                self.reports.push((slot.target.row(), *skipped));
            }
        }
    }

    /// Skips `due` and every later tick that can't be met at `now`; the first that can.
    fn skip_to(&mut self, index: u32, due: Mono, now: Mono, why: SkipWhy) -> Mono {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return due;
        };
        let interval = micros(slot.target.interval);
        let grace = micros(LATE_MAX.min(slot.target.interval / 2));
        let mut next = slot.next_tick(due);
        // A recheck is no tick.
        let mut count = u64::from(!slot.is_recheck(due));
        if now.0 > next.0 + grace {
            let more = (now.0 - next.0 - grace).div_ceil(interval);
            next = Mono(next.0 + more * interval);
            count += more;
        }
        if count == 0 {
            return next;
        }
        let skipped = slot.skipped.get_or_insert_with(|| {
            let (count, since) = (0, now);
            Box::new(Skipped { count, why, since })
        });
        skipped.count += count;
        if now.since(skipped.since) >= SKIP_REPORT {
            self.report(index);
        }
        next
    }
}

impl Slot {
    /// When to probe again before the next `tick`, if at all: so many times after a result
    /// that differs from the one before, or a first one that is a failure. One that might
    /// still be under way at the tick is left to that.
    fn recheck(&mut self, answered: bool, (due, tick): (Mono, Mono), now: Mono) -> Option<Mono> {
        let recheck = self.target.recheck;
        let before = self.answered.replace(answered).unwrap_or(true);
        self.rechecks = match before == answered {
            true => self.rechecks.saturating_sub(1),
            false => recheck.times.try_into().unwrap_or(u16::MAX),
        };
        let again = due.after(recheck.after).max(now);
        let spare = tick.since(again) >= self.target.timeout;
        (self.rechecks > 0 && !recheck.after.is_zero() && spare).then_some(again)
    }

    /// Whether a probe lies between ticks because of the one before.
    fn is_recheck(&self, due: Mono) -> bool {
        let on_grid =
            due >= self.phase && (due.0 - self.phase.0) % micros(self.target.interval) == 0;
        self.answered.is_some() && !on_grid
    }

    /// The first tick of the grid after `due` (which may lie off it, as a first probe does).
    /// A tick closer than half an interval to an off-grid first probe is left out.
    fn next_tick(&self, due: Mono) -> Mono {
        let interval = micros(self.target.interval);
        if due < self.phase {
            let first = self.answered.is_none();
            return if first && self.phase.0 - due.0 < interval / 2 {
                Mono(self.phase.0 + interval)
            } else {
                self.phase
            };
        }
        let ticks = (due.0 - self.phase.0) / interval + 1;
        Mono(self.phase.0 + ticks * interval)
    }
}

/// When the first in line is due whose slot is still of its generation.
fn first(line: &mut Line, generations: &[u32]) -> Option<Mono> {
    while let Some(Reverse((due, slot, generation))) = line.peek().copied() {
        if generations[slot as usize] == generation {
            return Some(due);
        }
        line.pop();
    }
    None
}

/// The place of a name, or of a name's address, between 0 and 1, in units of 2^-64. Fixed for
/// ever: grids must not move between versions.
fn phase_hash(row: &Row) -> u64 {
    let name = row.target.as_str();
    let digest = match row.each {
        None => sha256(name.as_bytes()),
        Some(each) => sha256(format!("{name} {each}").as_bytes()),
    };
    digest[..8]
        .iter()
        .fold(0, |sum, b| sum << 8 | u64::from(*b))
}

fn scale(hash: u64, range: u64) -> u64 {
    ((u128::from(hash) * u128::from(range)) >> 64) as u64
}

#[cfg(test)]
mod tests;
