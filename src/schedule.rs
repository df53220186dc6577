//! When each target is probed. Pure: time is an argument, nothing sleeps.
//!
//! Each target has a fixed grid: its phase (from the hash of its name) plus whole
//! intervals, counted from the schedule's start, whatever the probes take. A tick
//! that can't be met within [`LATE_MAX`] or half the interval is skipped and
//! counted, never made up for. Between ticks a target is probed again, a few times,
//! while it is not decided whether it has changed. A job is held by one worker from [`Schedule::take`]
//! to [`Schedule::finish`], so no target is ever probed twice at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::sha256;
use crate::model::{Mono, Name, Target, micros};
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
    slot: usize,
    generation: u64,
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
    Ended(Name),
}

#[derive(Debug)]
struct Slot {
    target: Arc<Target>,
    /// The grid: every tick is `phase` plus a multiple of the interval.
    phase: Mono,
    skipped: Option<Skipped>,
    /// Whether the last probe was answered.
    answered: Option<bool>,
    /// Probes still to be made between ticks.
    rechecks: u32,
}

/// The grid of every target and the order of what is due next.
#[derive(Debug, Default)]
pub struct Schedule {
    slots: Vec<Option<Slot>>,
    generations: Vec<u64>,
    free: Vec<usize>,
    names: HashMap<Name, usize>,
    heap: BinaryHeap<Reverse<(Mono, usize, u64)>>,
    reports: Vec<(Name, Skipped)>,
}

impl Schedule {
    /// Makes `targets` the whole list. Unchanged targets keep their grid, their
    /// place in it and any probe under way; a changed one ends and begins anew.
    pub fn replace(&mut self, targets: Vec<Target>, now: Mono) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut gone = std::mem::take(&mut self.names);
        let mut fresh = Vec::new();
        for target in targets {
            match gone.remove(&target.name) {
                Some(slot) if self.probes_alike(slot, &target) => {
                    self.names.insert(target.name.clone(), slot);
                    if let Some(slot) = &mut self.slots[slot] {
                        slot.target = Arc::new(target);
                    }
                }
                Some(slot) => {
                    self.end(slot, &mut changes);
                    fresh.push(target);
                }
                None => fresh.push(target),
            }
        }
        for slot in gone.into_values() {
            self.end(slot, &mut changes);
        }
        for target in fresh {
            let target = Arc::new(target);
            changes.push(Change::Began(Arc::clone(&target)));
            self.begin(target, now);
        }
        changes
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is nothing to probe.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The earliest tick that no worker holds.
    pub fn next_at(&mut self) -> Option<Mono> {
        while let Some(Reverse((due, slot, generation))) = self.heap.peek().copied() {
            if self.generations[slot] == generation {
                return Some(due);
            }
            self.heap.pop();
        }
        None
    }

    /// Hands out the earliest tick, due or not yet. Ticks too late to be met are
    /// skipped on the way, counted as `why`.
    pub fn take(&mut self, now: Mono, why: SkipWhy) -> Option<Job> {
        loop {
            let due = self.next_at()?;
            let Reverse((_, slot, generation)) = self.heap.pop()?;
            if now > self.latest_start(slot, due) {
                let next = self.skip_to(slot, due, now, why);
                self.heap.push(Reverse((next, slot, generation)));
                continue;
            }
            return self.job(slot, due);
        }
    }

    /// Whether the job's target is still what is to be probed.
    pub fn wanted(&self, job: &Job) -> bool {
        self.generations[job.slot] == job.generation
    }

    /// When a job its worker could not start in time (the host was stopped while it slept)
    /// is to start instead; its passed ticks are counted as a stall. `None`: start it now.
    pub fn overslept(&mut self, job: &mut Job, now: Mono) -> Option<Mono> {
        if !self.wanted(job) || now <= self.latest_start(job.slot, job.due) {
            return None;
        }
        job.due = self.skip_to(job.slot, job.due, now, SkipWhy::Stall);
        self.report(job.slot);
        Some(job.due)
    }

    /// The skips to record now: of targets whose next job was handed out since, or that
    /// were not served for [`SKIP_REPORT`].
    pub fn reports(&mut self) -> Vec<(Name, Skipped)> {
        std::mem::take(&mut self.reports)
    }

    /// Gives a job back, and whether it was answered: its target's next tick is in line
    /// again, or a probe before that, while it is not decided whether the target has changed.
    pub fn finish(&mut self, job: Job, answered: bool, now: Mono) {
        if !self.wanted(&job) {
            return;
        }
        let Some(slot) = &mut self.slots[job.slot] else {
            return;
        };
        let mut next = slot.next_tick(job.due);
        if let Some(again) = slot
            .recheck(answered, job.due, now)
            .filter(|again| *again < next)
        {
            self.heap.push(Reverse((again, job.slot, job.generation)));
            return;
        }
        if now > self.latest_start(job.slot, next) {
            next = self.skip_to(job.slot, next, now, SkipWhy::Busy);
        }
        self.heap.push(Reverse((next, job.slot, job.generation)));
    }

    /// Whether a target differs from the one there in nothing but its rechecks.
    fn probes_alike(&self, slot: usize, target: &Target) -> bool {
        self.slots[slot].as_ref().is_some_and(|slot| {
            let recheck = target.recheck;
            *slot.target == *target
                || Target {
                    recheck,
                    ..(*slot.target).clone()
                } == *target
        })
    }

    fn begin(&mut self, target: Arc<Target>, now: Mono) {
        let interval = micros(target.interval);
        let hash = phase_hash(&target.name);
        let first_within = interval.min(micros(FIRST_WITHIN));
        let slot = Slot {
            phase: Mono(now.0 + scale(hash, interval)),
            target: Arc::clone(&target),
            skipped: None,
            answered: None,
            rechecks: 0,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            self.slots.len() - 1
        });
        self.slots[index] = Some(slot);
        self.names.insert(target.name.clone(), index);
        let first = Mono(now.0 + scale(hash, first_within));
        self.heap
            .push(Reverse((first, index, self.generations[index])));
    }

    fn end(&mut self, index: usize, changes: &mut Vec<Change>) {
        self.report(index);
        if let Some(slot) = self.slots[index].take() {
            changes.push(Change::Ended(slot.target.name.clone()));
        }
        self.generations[index] += 1;
        self.free.push(index);
    }

    fn job(&mut self, index: usize, due: Mono) -> Option<Job> {
        self.report(index);
        let slot = self.slots[index].as_ref()?;
        Some(Job {
            target: Arc::clone(&slot.target),
            due,
            slot: index,
            generation: self.generations[index],
        })
    }

    /// The last moment at which the tick `due` may still start.
    fn latest_start(&self, index: usize, due: Mono) -> Mono {
        match &self.slots[index] {
            Some(slot) => due.after(LATE_MAX.min(slot.target.interval / 2)),
            None => due,
        }
    }

    fn report(&mut self, index: usize) {
        if let Some(slot) = &mut self.slots[index] {
            if let Some(skipped) = slot.skipped.take() {
                self.reports.push((slot.target.name.clone(), skipped));
            }
        }
    }

    /// Skips `due` and every later tick that can't be met at `now`; the first that can.
    fn skip_to(&mut self, index: usize, due: Mono, now: Mono, why: SkipWhy) -> Mono {
        let Some(slot) = self.slots[index].as_mut() else {
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
        let skipped = slot.skipped.get_or_insert(Skipped {
            count: 0,
            why,
            since: now,
        });
        skipped.count += count;
        if now.since(skipped.since) >= SKIP_REPORT {
            self.report(index);
        }
        next
    }
}

impl Slot {
    /// When to probe again before the next tick, if at all: so many times after a result
    /// that differs from the one before, or a first one that is a failure. One that might
    /// still be under way at the tick is left to that.
    fn recheck(&mut self, answered: bool, due: Mono, now: Mono) -> Option<Mono> {
        let recheck = self.target.recheck;
        let before = self.answered.replace(answered).unwrap_or(true);
        self.rechecks = match before == answered {
            true => self.rechecks.saturating_sub(1),
            false => recheck.times,
        };
        let again = due.after(recheck.after).max(now);
        let spare = self.next_tick(due).since(again) >= self.target.timeout;
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

/// A name's place between 0 and 1, in units of 2^-64. Fixed for ever: grids must not
/// move between versions.
fn phase_hash(name: &Name) -> u64 {
    let digest = sha256(name.as_str().as_bytes());
    digest[..8]
        .iter()
        .fold(0, |sum, b| sum << 8 | u64::from(*b))
}

fn scale(hash: u64, range: u64) -> u64 {
    ((u128::from(hash) * u128::from(range)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;
    const S: u64 = 1000 * MS;

    fn target(name: &str, interval_ms: u64) -> Target {
        Target {
            name: name.parse().unwrap(),
            address: "127.0.0.1:80".parse().unwrap(),
            interval: Duration::from_millis(interval_ms),
            timeout: Duration::from_millis(interval_ms),
            retries: 1,
            family: Default::default(),
            want: Default::default(),
            script: Default::default(),
            recheck: Default::default(),
        }
    }

    fn schedule(targets: Vec<Target>) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.replace(targets, Mono(0));
        schedule
    }

    fn take(schedule: &mut Schedule, now: u64) -> Job {
        schedule.take(Mono(now), SkipWhy::Workers).unwrap()
    }

    #[test]
    fn probes_stay_on_the_grid_whatever_they_take() {
        let mut schedule = schedule(vec![target("web", 1000)]);
        let first = schedule.next_at().unwrap();
        let mut now = 0;
        for tick in 0..100 {
            let job = take(&mut schedule, now);
            assert_eq!(job.due.0, first.0 + tick * S);
            assert_eq!(schedule.reports(), []);
            now = job.due.0 + (tick % 7) * 100 * MS + 3;
            schedule.finish(job, true, Mono(now));
        }
    }

    #[test]
    fn a_long_interval_has_an_early_first_probe_and_then_its_grid() {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let mut schedule = schedule(vec![target(name, 600_000)]);
            let phase = schedule.slots[0].as_ref().unwrap().phase;
            let first = take(&mut schedule, 0);
            assert!(first.due.0 <= 10 * S, "{name}");
            let first_due = first.due;
            schedule.finish(first, true, Mono(first_due.0 + MS));
            let second = take(&mut schedule, first_due.0 + MS);
            assert_eq!((second.due.0 - phase.0) % (600 * S), 0, "{name}");
            assert!(second.due.0 - first_due.0 >= 300 * S, "{name}");
            assert!(second.due.0 - first_due.0 <= 900 * S, "{name}");
        }
    }

    #[test]
    fn phases_are_spread_evenly() {
        let targets = (0..1000).map(|n| target(&format!("target-{n}"), 1000));
        let mut schedule = schedule(targets.collect());
        let mut buckets = [0; 10];
        for _ in 0..1000 {
            let job = take(&mut schedule, 0);
            buckets[(job.due.0 / (100 * MS)) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|n| (70..=130).contains(n)),
            "{buckets:?}"
        );
    }

    #[test]
    fn late_ticks_are_skipped_and_counted_never_bunched() {
        // (how long the probe took in ms, ticks skipped, next tick's distance in intervals)
        for (took, skipped, distance) in [
            (10, 0, 1),
            (1000, 0, 1),
            (1500, 0, 1),
            (1501, 1, 2),
            (2500, 1, 2),
            (2501, 2, 3),
            (9000, 8, 9),
        ] {
            let mut schedule = schedule(vec![target("web", 1000)]);
            let job = take(&mut schedule, 0);
            let due = job.due.0;
            let now = Mono(due + took * MS);
            schedule.finish(job, true, now);
            let next = take(&mut schedule, now.0);
            assert_eq!(next.due.0, due + distance * S, "took {took} ms");
            let reports = schedule.reports();
            let counted: u64 = reports.iter().map(|(_, s)| s.count).sum();
            assert_eq!(counted, skipped, "took {took} ms");
            assert!(reports.iter().all(|(_, s)| s.why == SkipWhy::Busy));
        }
    }

    #[test]
    fn a_tick_no_worker_was_free_for_is_skipped_as_such() {
        let mut schedule = schedule(vec![target("web", 1000)]);
        let due = schedule.next_at().unwrap().0;
        let job = take(&mut schedule, due + 3600 * S + 10 * MS);
        assert_eq!(job.due.0, due + 3600 * S);
        let (_, skipped) = schedule.reports()[0];
        assert_eq!((skipped.count, skipped.why), (3600, SkipWhy::Workers));
    }

    #[test]
    fn a_worker_that_overslept_waits_for_the_next_tick() {
        let mut schedule = schedule(vec![target("web", 1000)]);
        let mut job = take(&mut schedule, 0);
        let due = job.due.0;
        assert_eq!(schedule.overslept(&mut job, Mono(due + 400 * MS)), None);
        let next = schedule.overslept(&mut job, Mono(due + 3700 * MS));
        assert_eq!(next, Some(Mono(due + 4 * S)));
        let (_, skipped) = schedule.reports()[0];
        assert_eq!((skipped.count, skipped.why), (4, SkipWhy::Stall));
    }

    #[test]
    fn unchanged_targets_keep_their_grid_and_changed_ones_begin_anew() {
        let mut schedule = schedule(vec![
            target("a", 1000),
            target("b", 1000),
            target("c", 1000),
        ]);
        let due_of = |schedule: &mut Schedule| -> HashMap<String, u64> {
            let jobs: Vec<Job> =
                std::iter::from_fn(|| schedule.take(Mono(0), SkipWhy::Busy)).collect();
            let dues = jobs
                .iter()
                .map(|j| (j.target.name.to_string(), j.due.0))
                .collect();
            for job in jobs {
                schedule
                    .heap
                    .push(Reverse((job.due, job.slot, job.generation)));
            }
            dues
        };
        let before = due_of(&mut schedule);
        let held = take(&mut schedule, 0);
        let changed = if &*held.target.name.to_string() == "a" {
            "b"
        } else {
            "a"
        };
        let mut list: Vec<Target> = ["a", "b", "d"].map(|n| target(n, 1000)).into();
        list.iter_mut()
            .find(|t| t.name.as_str() == changed)
            .unwrap()
            .retries = 0;
        if held.target.name.as_str() == "c" {
            list.push(target("c", 1000));
        }
        let changes = schedule.replace(list, Mono(5 * S));
        assert!(
            changes
                .iter()
                .any(|c| matches!(c, Change::Ended(n) if n.as_str() == changed))
        );
        assert!(
            changes
                .iter()
                .any(|c| matches!(c, Change::Began(t) if t.name.as_str() == "d"))
        );
        assert!(schedule.wanted(&held));
        let name = held.target.name.to_string();
        assert_eq!(held.due.0, before[&name]);
        let due = held.due.0;
        schedule.finish(held, true, Mono(due));
        let after = due_of(&mut schedule);
        assert_eq!(after[&name], before[&name] + S);
    }

    #[test]
    fn a_removed_target_is_neither_probed_nor_put_back() {
        let mut schedule = schedule(vec![target("a", 1000)]);
        let job = take(&mut schedule, 0);
        assert_eq!(
            schedule.replace(Vec::new(), Mono(1)),
            [Change::Ended("a".parse().unwrap())]
        );
        assert!(!schedule.wanted(&job));
        schedule.finish(job, true, Mono(2));
        assert_eq!(schedule.next_at(), None);
        assert!(schedule.is_empty());
    }

    #[test]
    fn a_target_that_is_never_served_still_reports_its_skips() {
        let mut schedule = schedule(vec![target("a", 1000), target("b", 1000)]);
        let starved = take(&mut schedule, 0).target.name.clone();
        let other = schedule.next_at().unwrap();
        let slot = schedule
            .names
            .values()
            .copied()
            .find(|s| schedule.slots[*s].as_ref().unwrap().target.name != starved);
        let slot = slot.unwrap();
        let (mut due, mut counted) = (other, 0);
        for minute in 1..=10 {
            let now = Mono(other.0 + minute * 60 * S + 600 * MS);
            due = schedule.skip_to(slot, due, now, SkipWhy::Workers);
            counted += schedule.reports().iter().map(|(_, s)| s.count).sum::<u64>();
        }
        assert!((480..=601).contains(&counted), "{counted}");
    }

    /// Plays results of one target at 10 s with a timeout of 3 s, rechecked after 2.5 s: when
    /// each probe is due, in seconds from its first tick, for each result in turn.
    fn probed_at(results: &[bool], took_ms: u64) -> Vec<f64> {
        let mut schedule = Schedule::default();
        let mut target = target("a", 10_000);
        target.timeout = Duration::from_secs(3);
        target.recheck = crate::model::Recheck {
            after: Duration::from_millis(2_500),
            times: 2,
        };
        schedule.replace(vec![target], Mono(0));
        let first = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
        let start = schedule.slots[0].as_ref().unwrap().next_tick(first.due);
        schedule.finish(first.clone(), true, first.due);
        let mut dues = Vec::new();
        for answered in results {
            let job = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
            dues.push((job.due.0 as f64 - start.0 as f64) / 1e6);
            let end = job.due.after(Duration::from_millis(took_ms));
            schedule.finish(job, *answered, end);
        }
        dues
    }

    #[test]
    fn a_change_is_checked_again_before_the_next_tick() {
        for (results, took_ms, expected) in [
            (vec![true, true, true], 10, vec![0.0, 10.0, 20.0]),
            // Down for good: two rechecks decide it, then the grid goes on.
            (
                vec![false, false, false, false, false],
                10,
                vec![0.0, 2.5, 5.0, 10.0, 20.0],
            ),
            (
                vec![false, false, false, false],
                3000,
                vec![0.0, 3.0, 6.0, 10.0],
            ),
            // One failure alone: the answer is a change again, and is checked again, but not
            // where a probe might still be under way at the tick.
            (vec![false, true, true, true], 10, vec![0.0, 2.5, 5.0, 10.0]),
        ] {
            assert_eq!(probed_at(&results, took_ms), expected, "{results:?}");
        }
    }

    #[test]
    fn other_rechecks_do_not_end_a_target() {
        let mut schedule = Schedule::default();
        schedule.replace(vec![target("a", 10_000)], Mono(0));
        let mut other = target("a", 10_000);
        other.recheck.times = 2;
        assert_eq!(schedule.replace(vec![other.clone()], Mono(1)), []);
        let job = schedule.take(Mono(1), SkipWhy::Workers).unwrap();
        assert_eq!(*job.target, other);
    }

    #[test]
    fn a_missed_recheck_is_no_skipped_tick() {
        let mut schedule = Schedule::default();
        let mut target = target("a", 10_000);
        target.timeout = Duration::from_secs(1);
        target.recheck = crate::model::Recheck {
            after: Duration::from_millis(2_500),
            times: 2,
        };
        schedule.replace(vec![target], Mono(0));
        let first = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
        let tick = schedule.slots[0].as_ref().unwrap().next_tick(first.due);
        schedule.finish(first.clone(), true, first.due);
        let job = schedule.take(tick, SkipWhy::Workers).unwrap();
        schedule.finish(job, false, tick);
        let late = tick.after(Duration::from_secs(5));
        let next = schedule.take(late, SkipWhy::Workers).unwrap();
        assert_eq!(next.due, tick.after(Duration::from_secs(10)));
        assert_eq!(schedule.reports(), []);
    }

    /// Also before the first tick of the grid, which a first probe may come close to.
    #[test]
    fn rechecks_push_no_tick_away() {
        for name in "abcdefghijklmnopqrstuvwxyz".chars() {
            let mut schedule = Schedule::default();
            let mut target = target(&name.to_string(), 600_000);
            target.timeout = Duration::from_secs(3);
            target.recheck = crate::model::Recheck {
                after: Duration::from_secs(150),
                times: 2,
            };
            let interval = target.interval;
            schedule.replace(vec![target], Mono(0));
            let mut before = None;
            for n in 0..6 {
                let job = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
                let due = job.due;
                schedule.finish(job, false, due);
                let gap = due.since(before.replace(due).unwrap_or(due));
                assert!(n < 2 || gap <= interval, "{name}: probe {n} after {gap:?}");
            }
        }
    }
}
