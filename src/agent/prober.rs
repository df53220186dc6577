//! The pool of probing threads over the schedule.
//!
//! A worker takes its next job ahead of time and sleeps until it is due: one
//! wake-up a probe. There are always a few workers asleep with the earliest jobs,
//! so a target that hangs costs a blocked thread and nobody's punctuality. The
//! pool grows before a job could be late and shrinks when it has been too large
//! for a while.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::recorder::Recorder;
use crate::clock;
use crate::log;
use crate::model::{Mono, Target, micros};
use crate::net::resolve::Resolver;
use crate::probe;
use crate::record::{Body, SkipWhy};
use crate::schedule::{Change, Job, Schedule};
use crate::units::Reach;

/// Workers that should be asleep with a job in hand at any time.
const SPARE: usize = 2;
/// The pool may be as large as it had to be within one to two of these.
const SHRINK_AFTER: Duration = Duration::from_secs(10);
/// Rest after the system refused a thread.
const SPAWN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// More is not needed for a connect; less does not make a thread cheaper.
const STACK_BYTES: usize = 64 * 1024;

/// Probes on schedule; cheap to clone.
#[derive(Clone)]
pub struct Prober(Arc<Shared>);

struct Shared {
    resolver: Resolver,
    reach: Reach,
    recorder: Arc<Recorder>,
    workers_max: usize,
    pool: Mutex<Pool>,
    /// The targets have changed.
    changed: Condvar,
}

#[derive(Default)]
struct Pool {
    schedule: Schedule,
    workers: usize,
    /// Due times of the jobs that sleeping workers hold, with the workers' numbers.
    asleep: BTreeSet<(Mono, u64)>,
    next_worker: u64,
    peak: Peak,
    spawn_again_at: Mono,
    spawn_failed: bool,
}

/// The most workers that were busy at once, lately.
#[derive(Default)]
struct Peak {
    current: usize,
    before: usize,
    turn_at: Mono,
}

impl Peak {
    fn note(&mut self, busy: usize, now: Mono) {
        if now >= self.turn_at {
            self.before = self.current;
            self.current = 0;
            self.turn_at = now.after(SHRINK_AFTER);
        }
        self.current = self.current.max(busy);
    }

    fn allowed(&self) -> usize {
        self.current.max(self.before) + SPARE
    }
}

impl Pool {
    /// Whether enough workers wake no later than the next untaken job is due: the
    /// last of them to start a probe sees to it that the job is taken.
    fn is_covered(&mut self) -> bool {
        let Some(next) = self.schedule.next_at() else {
            return true;
        };
        let early = self.asleep.range(..=(next, u64::MAX));
        early.take(SPARE).count() == SPARE
    }
}

impl Prober {
    /// A prober without targets, of at most `workers_max` threads. It connects to nothing
    /// outside `reach`; a target that lies there fails, and says so.
    pub fn new(
        resolver: Resolver,
        reach: Reach,
        recorder: Arc<Recorder>,
        workers_max: usize,
    ) -> Prober {
        Prober(Arc::new(Shared {
            resolver,
            reach,
            recorder,
            workers_max,
            pool: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Makes `targets` the whole list; what began and ended is recorded.
    pub fn replace(&self, targets: Vec<Target>) {
        let mut pool = self.pool();
        let at = clock::wall();
        for change in pool.schedule.replace(targets, clock::mono()) {
            let body = match change {
                Change::Ended(target) => Body::Ended { target },
                Change::Began(target) => Body::Began {
                    target: target.name.clone(),
                    address: target.address.clone(),
                    interval: target.interval,
                },
            };
            self.0.recorder.event(at, body);
        }
        self.record_skips(&mut pool);
        self.grow(&mut pool);
        drop(pool);
        self.0.changed.notify_all();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().expect("worker pool")
    }

    /// Starts a worker when a job could come due with nobody to take it.
    fn grow(&self, pool: &mut Pool) {
        let now = clock::mono();
        if pool.is_covered() || pool.workers >= self.0.workers_max || now < pool.spawn_again_at {
            return;
        }
        let number = pool.next_worker;
        let prober = self.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("probe-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || prober.work(number));
        match spawned {
            Ok(_) => {
                pool.workers += 1;
                pool.next_worker += 1;
                pool.spawn_failed = false;
            }
            Err(error) => {
                pool.spawn_again_at = now.after(SPAWN_AGAIN_AFTER);
                if !std::mem::replace(&mut pool.spawn_failed, true) {
                    let count = pool.workers;
                    log::line(format_args!("start probing thread {}: {error}", count + 1));
                }
            }
        }
    }

    fn work(&self, number: u64) {
        let mut pool = self.pool();
        while let Some(job) = self.next_job(&mut pool) {
            let Some((job, awake)) = self.sleep(pool, job, number) else {
                pool = self.pool();
                continue;
            };
            drop(awake);
            let started = clock::mono();
            let (resolver, reach) = (&self.0.resolver, &self.0.reach);
            let (mut sample, stream) = probe::tcp(resolver, reach, &job.target, job.due);
            let close = stream.map(|stream| probe::goodbye(stream, job.target.interval));
            sample.phases.close = close.map(micros);
            let answered = sample.ok();
            pool = self.pool();
            // A target that ended meanwhile has no results any more.
            if pool.schedule.wanted(&job) {
                self.0.recorder.result(sample, started);
            }
            pool.schedule.finish(job, answered, clock::mono());
        }
    }

    /// The next job, waiting while there is none; `None` when this worker is one too many.
    fn next_job(&self, pool: &mut MutexGuard<'_, Pool>) -> Option<Job> {
        if pool.workers > pool.peak.allowed() && pool.is_covered() {
            pool.workers -= 1;
            return None;
        }
        let job = pool.schedule.take(clock::mono(), SkipWhy::Workers);
        self.record_skips(pool);
        if job.is_none() {
            pool.workers -= 1;
        }
        job
    }

    /// Sleeps until the job is due; `None` when it is no longer wanted.
    fn sleep<'a>(
        &'a self,
        mut pool: MutexGuard<'a, Pool>,
        mut job: Job,
        number: u64,
    ) -> Option<(Job, MutexGuard<'a, Pool>)> {
        loop {
            let now = clock::mono();
            if !pool.schedule.wanted(&job) {
                return None;
            }
            let left = job.due.since(now);
            if left.is_zero() {
                if pool.schedule.overslept(&mut job, now).is_some() {
                    self.record_skips(&mut pool);
                    continue;
                }
                let busy = pool.workers - pool.asleep.len();
                pool.peak.note(busy, now);
                self.grow(&mut pool);
                return Some((job, pool));
            }
            pool.asleep.insert((job.due, number));
            self.grow(&mut pool);
            let waited = self.0.changed.wait_timeout(pool, left);
            pool = waited.expect("worker pool").0;
            pool.asleep.remove(&(job.due, number));
        }
    }

    fn record_skips(&self, pool: &mut Pool) {
        let reports = pool.schedule.reports();
        if reports.is_empty() {
            return;
        }
        let at = clock::wall();
        for (target, skipped) in reports {
            let (count, why) = (skipped.count, skipped.why);
            self.0.recorder.event(at, Body::Skip { target, count, why });
        }
    }
}
