//! A whole fleet in one thread: the real agents and managers, taken a step at a time over
//! simulated clocks, disks and connections that fail as a seed says. The same seed gives
//! the same run, to the byte.
//!
//! A run is a storm of faults with calms in between. In a calm all is mended, and what has
//! to hold when nothing is in the way is looked at; what has to hold always is looked at
//! all the time: see [`check`].

mod check;
mod fault;
mod fleet;
mod fuzz;
mod host;
mod wire;

use std::time::Duration;

use crate::clock::{self, simulated as time};
use crate::files::simulated as disk;
use check::Violation;
use fleet::Fleet;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
struct Plan {
    seed: u64,
    lasts: Duration,
    /// What is to be wrong with the programs.
    broken: Option<time::Broken>,
}

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// A hash of all that happened.
    trace: u64,
    records: u64,
    faults: u64,
}

/// Lets a fleet live.
fn run(plan: Plan) -> Result<Run, Violation> {
    let _time = time::start(plan.seed);
    let _disk = disk::start();
    time::break_on_purpose(plan.broken);
    let mut fleet = Fleet::new(plan.seed);
    let end = clock::mono().after(plan.lasts);
    while clock::mono() < end {
        fleet.storm()?;
        fleet.calm()?;
    }
    fleet.finish()
}

/// A number out of the environment, as `make torture` gives them.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}: not a number")),
        Err(_) => default,
    }
}

/// Runs seeds on as many threads as there are processors; the first violation.
fn seeds(from: u64, count: u64, lasts: Duration, broken: Option<time::Broken>) -> Outcome {
    let next = std::sync::atomic::AtomicU64::new(from);
    let outcome = std::sync::Mutex::new(Outcome::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= from + count || outcome.lock().unwrap().failed.is_some() {
                        return;
                    }
                    let plan = Plan {
                        seed,
                        lasts,
                        broken,
                    };
                    let done = std::panic::catch_unwind(|| run(plan));
                    let done = done.unwrap_or_else(|_| {
                        Err(Violation::new("a panic, see above".into(), time::logged()))
                    });
                    outcome.lock().unwrap().note(seed, done);
                }
            });
        }
    });
    outcome.into_inner().unwrap()
}

/// How many seeds went how.
#[derive(Debug, Default)]
struct Outcome {
    runs: u64,
    records: u64,
    faults: u64,
    /// The first seed that broke something, and what.
    failed: Option<(u64, Violation)>,
}

impl Outcome {
    fn note(&mut self, seed: u64, done: Result<Run, Violation>) {
        self.runs += 1;
        match done {
            Ok(run) => {
                self.records += run.records;
                self.faults += run.faults;
            }
            Err(violation) => {
                self.failed.get_or_insert((seed, violation));
            }
        }
    }
}

#[test]
fn whatever_fails_nothing_is_lost_and_all_is_told_once() {
    let from = setting("TCPMON_SEED", 1);
    let count = setting("TCPMON_SEEDS", 200);
    let minutes = setting("TCPMON_MINUTES", 10);
    let outcome = seeds(from, count, Duration::from_secs(60 * minutes), None);
    if let Some((seed, violation)) = outcome.failed {
        panic!("seed {seed}: {violation}");
    }
    println!(
        "{} runs of {minutes} simulated minutes: {} records, {} faults",
        outcome.runs, outcome.records, outcome.faults
    );
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let plan = Plan {
        seed: setting("TCPMON_SEED", 7),
        lasts: Duration::from_secs(1200),
        broken: None,
    };
    let first = run(plan).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(run(plan).ok(), Some(first));
}

#[test]
fn programs_that_are_wrong_are_found_out() {
    for broken in time::Broken::ALL {
        let outcome = seeds(1, 1000, Duration::from_secs(600), Some(broken));
        let (seed, violation) = outcome
            .failed
            .unwrap_or_else(|| panic!("{broken:?} goes unnoticed"));
        println!("{broken:?}: seed {seed}: {violation}");
    }
}
