//! The pool of probing threads over the schedule.
//!
//! A worker takes its next job ahead of time and sleeps until it is due: one
//! wake-up a probe. There are always a few workers asleep with the earliest jobs,
//! so a target that hangs costs a blocked thread and nobody's punctuality. The
//! pool grows before a job could be late and shrinks when it has been too large
//! for a while. One more thread looks names up whose addresses are rows of their own.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::crew::Crew;
use super::recorder::Recorder;
use super::rows::{Query, Rows};
use crate::clock;
use crate::error::{Context, Result, plain};
use crate::log;
use crate::model::{Mono, Row, Sample, Target, micros};
use crate::net::resolve::Resolver;
use crate::probe;
use crate::record::{Body, SkipWhy};
use crate::schedule::{Change, Job, Schedule};
use crate::stats::Histogram;
use crate::threads;
use crate::units::Reach;

/// The number of the worker that stays: where the system refuses more threads, it tries
/// again.
const FIRST: u64 = 0;
/// Workers that should be asleep with a job in hand at any time.
const SPARE: usize = 2;
/// The part of all workers that targets may have which have not proved quick.
const UNSURE_SHARE: (usize, usize) = (3, 4);
/// The pool may be as large as it had to be within one to two of these.
const SHRINK_AFTER: Duration = Duration::from_secs(10);
/// That probes cannot be made is told no more often.
const TELL_MISSED_EVERY: Duration = Duration::from_secs(60);
/// Rest after the system refused a thread.
const SPAWN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// More is not needed for a connect; less does not make a thread cheaper.
const STACK_BYTES: usize = 64 * 1024;
/// Names that are due are looked up together, this long after one another at least.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);
/// What is not known by then has failed.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// Probes on schedule; cheap to clone.
#[derive(Clone)]
pub struct Prober(Arc<Shared>);

struct Shared {
    resolver: Resolver,
    reach: Reach,
    recorder: Arc<Recorder>,
    workers_max: usize,
    pool: Mutex<Pool>,
    /// Workers that are back from their probe and wait for the pool.
    back: AtomicUsize,
    /// The targets have changed.
    changed: Condvar,
    /// A name is to be looked up at once.
    hurry: Condvar,
}

struct Pool {
    schedule: Schedule,
    rows: Rows,
    /// Whether there is a thread that looks names up.
    looking_up: bool,
    workers: usize,
    /// Due times of the jobs that sleeping workers hold, with the workers' numbers.
    asleep: BTreeSet<(Mono, u64)>,
    next_worker: u64,
    crew: Crew,
    peak: Peak,
    late: Histogram,
    skipped: u64,
    spawn_again_at: Mono,
    spawn_failed: bool,
    /// Probes that this host could not make, and when that is told again.
    missed: u64,
    tell_missed_at: Mono,
}

/// What it has to do and how it gets on, since the agent started.
pub struct Load {
    /// Targets, or addresses of them, that are probed.
    pub rows: usize,
    /// Threads there are, and how many of them are not waiting for a probe's time.
    pub workers: usize,
    pub busy: usize,
    /// How late each probe started, in microseconds.
    pub late: Histogram,
    /// Ticks that passed without a probe.
    pub skipped: u64,
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
    fn new(workers_max: usize) -> Pool {
        Pool {
            schedule: Schedule::new((workers_max * UNSURE_SHARE.0 / UNSURE_SHARE.1).max(1)),
            rows: Rows::default(),
            looking_up: false,
            workers: 0,
            asleep: BTreeSet::new(),
            next_worker: 0,
            crew: Crew::default(),
            peak: Peak::default(),
            late: Histogram::default(),
            skipped: 0,
            spawn_again_at: Mono(0),
            spawn_failed: false,
            missed: 0,
            tell_missed_at: Mono(0),
        }
    }

    fn busy(&self) -> usize {
        self.workers - self.asleep.len()
    }

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
    /// A prober without targets, of at most `workers_max` threads, the first of which is
    /// started and stays. It connects to nothing outside `reach`; a target that lies there
    /// fails, and says so.
    pub fn start(
        resolver: Resolver,
        reach: Reach,
        recorder: Arc<Recorder>,
        workers_max: usize,
    ) -> Result<Prober> {
        let prober = Prober(Arc::new(Shared {
            resolver,
            reach,
            recorder,
            workers_max,
            pool: Mutex::new(Pool::new(workers_max)),
            back: AtomicUsize::new(0),
            changed: Condvar::new(),
            hurry: Condvar::new(),
        }));
        prober
            .start_worker(&mut prober.pool())
            .context(|| "start probing thread 1".to_string())?;
        Ok(prober)
    }

    /// Makes `targets` the whole list; what began and ended is recorded.
    pub fn replace(&self, targets: Vec<Target>) {
        let mut pool = self.pool();
        let now = clock::mono();
        let rows = pool.rows.replace(targets, now);
        // Also where there are none any more: the thread ends then.
        if pool.looking_up || pool.rows.next_at().is_some() {
            self.hurry(&mut pool);
        }
        let changes = pool.schedule.replace(rows, now);
        self.changed(pool, changes);
    }

    /// What it has to do and how it gets on.
    pub fn load(&self) -> Load {
        let pool = self.pool();
        Load {
            rows: pool.schedule.len(),
            workers: pool.workers,
            busy: pool.busy(),
            late: pool.late.clone(),
            skipped: pool.skipped,
        }
    }

    /// Records what began and ended, and sees to it.
    fn changed(&self, mut pool: MutexGuard<'_, Pool>, changes: Vec<Change>) {
        let at = clock::wall();
        self.0.recorder.make_room(pool.schedule.places());
        for change in changes {
            let recorder = &self.0.recorder;
            let target = match change {
                Change::Ended { place, target } => {
                    recorder.ended(place as usize, target.row(), at);
                    continue;
                }
                Change::Began(target) => target,
            };
            let body = Body::Began {
                target: target.name.clone(),
                each: target.each(),
                address: target.address.clone(),
                interval: target.interval,
            };
            recorder.spool.push(at, &body);
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
        let back = self.0.back.load(Ordering::Relaxed);
        let workers = pool.workers;
        if !pool.crew.wants_more(workers, back, now) {
            return;
        }
        match self.start_worker(pool) {
            Ok(()) => pool.spawn_failed = false,
            Err(error) => {
                pool.spawn_again_at = now.after(SPAWN_AGAIN_AFTER);
                if !std::mem::replace(&mut pool.spawn_failed, true) {
                    let (next, why) = (pool.workers + 1, plain(&error.to_string()));
                    log::line(format_args!("start probing thread {next}: {why}"));
                }
            }
        }
    }

    fn start_worker(&self, pool: &mut Pool) -> io::Result<()> {
        let number = pool.next_worker;
        let prober = self.clone();
        let work = move || prober.work(number);
        threads::start(&format!("probe-{number}"), STACK_BYTES, work)?;
        pool.workers += 1;
        pool.next_worker += 1;
        Ok(())
    }

    fn work(&self, number: u64) {
        let mut pool = self.pool();
        loop {
            let Some(job) = self.next_job(&mut pool, number) else {
                if number != FIRST {
                    pool.workers -= 1;
                    return;
                }
                let rest = (Mono(u64::MAX), FIRST);
                pool.asleep.insert(rest);
                pool = self.0.changed.wait(pool).expect("worker pool");
                pool.asleep.remove(&rest);
                continue;
            };
            let Some((mut job, mut awake)) = self.sleep(pool, job, number) else {
                pool = self.pool();
                continue;
            };
            let started = clock::mono();
            job.started = started;
            let flight = awake.crew.begin(started);
            drop(awake);
            let (resolver, reach) = (&self.0.resolver, &self.0.reach);
            let found = probe::tcp(resolver, reach, &job.target, job.due, &mut None);
            let found = found.map(|(mut sample, stream)| {
                let close = stream.map(|stream| probe::goodbye(stream, job.target.interval));
                sample.phases.close = close.map(micros);
                sample
            });
            self.0.back.fetch_add(1, Ordering::Relaxed);
            pool = self.pool();
            self.0.back.fetch_sub(1, Ordering::Relaxed);
            pool.crew.end(flight);
            match found {
                Ok(sample) => self.done(&mut pool, job, sample),
                Err(text) => self.missed(&mut pool, &job, &text),
            }
        }
    }

    /// This host could not make the probe, which says nothing of the target.
    fn missed(&self, pool: &mut Pool, job: &Job, text: &str) {
        let now = clock::mono();
        pool.schedule.missed(job, now, SkipWhy::Host);
        self.record_skips(pool);
        pool.missed += 1;
        if now >= pool.tell_missed_at {
            pool.tell_missed_at = now.after(TELL_MISSED_EVERY);
            let count = pool.missed;
            log::line(format_args!("{text}: not probed, {count} times so far"));
        }
    }

    /// Takes the finding of a probe.
    fn done(&self, pool: &mut Pool, job: Job, mut sample: Sample) {
        pool.late.add(sample.late_us);
        let answered = sample.ok();
        // A target that ended meanwhile has no results any more.
        if pool.schedule.wanted(&job) {
            if job.target.each_address {
                self.of_looked_up(pool, &mut sample);
            }
            let recorder = &self.0.recorder;
            recorder.result(job.place(), &job.target, sample, job.started);
        }
        pool.schedule.finish(job, answered, clock::mono());
    }

    /// The next job; `None` when there is none or this worker is one too many.
    fn next_job(&self, pool: &mut MutexGuard<'_, Pool>, number: u64) -> Option<Job> {
        let now = clock::mono();
        let (workers, back) = (pool.workers, self.0.back.load(Ordering::Relaxed));
        let too_many = match pool.is_covered() {
            true => workers > pool.peak.allowed(),
            false => pool.crew.wants_fewer(workers, back, now),
        };
        if too_many && number != FIRST {
            return None;
        }
        let job = pool.schedule.take(now, SkipWhy::Workers);
        self.record_skips(pool);
        job
    }

    /// Sleeps until the job is due; `None` when it is no longer wanted, or it is too late.
    fn sleep<'a>(
        &'a self,
        mut pool: MutexGuard<'a, Pool>,
        job: Job,
        number: u64,
    ) -> Option<(Job, MutexGuard<'a, Pool>)> {
        loop {
            let now = clock::mono();
            if !pool.schedule.wanted(&job) {
                pool.schedule.finish(job, true, now);
                return None;
            }
            let left = job.due.since(now);
            if left.is_zero() {
                let Some(job) = pool.schedule.overslept(job, now) else {
                    self.record_skips(&mut pool);
                    return None;
                };
                let busy = pool.busy();
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
        for (Row { target, each }, skipped) in reports {
            pool.skipped += skipped.count;
            let body = Body::Skip {
                target,
                each,
                count: skipped.count,
                why: skipped.why,
            };
            self.0.recorder.spool.push(at, &body);
        }
    }

    /// What a probe of a row, or of a name that is to become rows, has to do with lookups.
    fn of_looked_up(&self, pool: &mut Pool, sample: &mut Sample) {
        if sample.each.is_some() {
            sample.dns_stale = pool.rows.is_stale(&sample.target);
        } else if sample.phases.dns.is_some() && pool.rows.hurry(&sample.target, clock::mono()) {
            self.hurry(pool);
        }
    }

    /// Has the thread that looks names up do so, starting it where there is none.
    fn hurry(&self, pool: &mut Pool) {
        if pool.looking_up {
            self.0.hurry.notify_one();
            return;
        }
        let prober = self.clone();
        let spawned = threads::start("names", STACK_BYTES, move || prober.follow_names());
        match spawned {
            Ok(_) => pool.looking_up = true,
            Err(error) => log::line(format_args!(
                "start the thread that looks names up: {}",
                plain(&error.to_string())
            )),
        }
    }

    /// Looks names up as long as there are any whose addresses are rows.
    fn follow_names(&self) {
        let mut pool = self.pool();
        while let Some(at) = pool.rows.next_at() {
            let now = clock::mono();
            if at > now {
                let left = at.since(now).max(LOOK_UP_PAUSE);
                let waited = self.0.hurry.wait_timeout(pool, left);
                pool = waited.expect("worker pool").0;
                continue;
            }
            let due = pool.rows.due(now);
            drop(pool);
            self.look_up(&due);
            pool = self.pool();
        }
        pool.looking_up = false;
    }

    fn look_up(&self, due: &[Query]) {
        let resolver = &self.0.resolver;
        // Without waiting: so all are under way at once.
        for query in due {
            let _ = resolver.resolve(&query.address, clock::mono());
        }
        let deadline = clock::mono().after(LOOK_UP_WITHIN);
        for query in due {
            let found = resolver.resolve(&query.address, deadline).ok();
            let mut pool = self.pool();
            let now = clock::mono();
            if let Some(exchange) = pool.rows.found(query, found.as_ref(), &self.0.reach, now) {
                let (before, rows) = (&exchange.before, exchange.rows);
                let changes = pool.schedule.replace_rows(before, rows, now);
                self.changed(pool, changes);
            }
        }
    }
}

#[cfg(test)]
impl Prober {
    /// When the next probe is due that nobody makes.
    pub fn next_at(&self) -> Option<Mono> {
        self.pool().schedule.next_at()
    }

    /// Hands out the next probe to make.
    pub fn take(&self, why: SkipWhy) -> Option<Job> {
        let mut pool = self.pool();
        let job = pool.schedule.take(clock::mono(), why);
        self.record_skips(&mut pool);
        job
    }

    /// Takes what it found.
    pub fn end(&self, job: Job, sample: Sample) {
        self.done(&mut self.pool(), job, sample);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::net::{IpAddr, TcpListener};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::spool::{self, Spool};
    use super::*;
    use crate::bell::Bell;
    use crate::journal::SyncMode;
    use crate::model::{Id, Terms, Why};

    fn target(port: u16) -> Target {
        Target::new(
            "web".parse().unwrap(),
            format!("web.example:{port}").parse().unwrap(),
            Terms {
                each_address: true,
                ..Terms::every(Duration::from_millis(100), Duration::from_millis(100))
            },
        )
    }

    /// Why the last probe of each row failed, if it did.
    type States = BTreeMap<Option<IpAddr>, Option<Why>>;

    #[test]
    fn a_name_that_resolves_at_last_is_probed_at_each_address() {
        let dir = tempfile::tempdir().unwrap();
        let bell = Arc::new(Bell::default());
        let options = spool::Options {
            limit: spool::LIMIT_MIN,
            sync: SyncMode::Never,
            flush: Duration::ZERO,
        };
        let spool = Spool::open(dir.path(), Id(1), options, Arc::clone(&bell)).unwrap();
        let recorder = Arc::new(Recorder::new(Arc::new(spool)));
        let known = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&known);
        let resolver = Resolver::with(move |_| match asked.load(Ordering::SeqCst) {
            false => Err(io::Error::other("no such host")),
            true => Ok(["127.0.0.2", "127.0.0.1"]
                .map(|ip| ip.parse().unwrap())
                .into()),
        });
        let prober = Prober::start(resolver, Reach::default(), Arc::clone(&recorder), 8).unwrap();
        let until = |wanted: &dyn Fn(&States) -> bool| {
            let deadline = clock::mono().after(Duration::from_secs(20));
            loop {
                let heard = bell.heard();
                let states = recorder.states(&recorder.places(), u64::MAX).1.into_iter();
                let states = states.map(|state| (state.each, state.failure.map(|f| f.0)));
                let states = states.collect();
                if wanted(&states) {
                    return;
                }
                assert!(clock::mono() < deadline, "{states:?}");
                bell.wait(heard, deadline);
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prober.replace(vec![target(listener.local_addr().unwrap().port())]);
        until(&|states| *states == States::from([(None, Some(Why::Dns))]));
        known.store(true, Ordering::SeqCst);
        let [open, shut] = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().ok());
        until(&|states| {
            let both = states.len() == 2 && states.contains_key(&shut);
            both && states[&open].is_none() && states[&shut].is_some()
        });
        prober.replace(Vec::new());
        until(&States::is_empty);
    }
}
