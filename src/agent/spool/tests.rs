//! The spool in simulated time, on a disk that fills up and forgets.

use super::*;
use crate::clock::simulated as time;
use crate::files::simulated::{self as disk, Simulated};
use crate::journal::Follower;
use crate::model::{Failure, Name, Phases, Sample, Why};
use crate::record::Record;
use crate::sim::setting;

const DIR: &str = "/spool";

/// A spool on a simulated disk, in simulated time.
struct Rig {
    spool: Spool,
    _time: time::Simulated,
    _disk: Simulated,
}

impl Rig {
    fn new(limit: u64) -> Rig {
        Rig::flushing(limit, FLUSH_DEFAULT)
    }

    fn flushing(limit: u64, flush: Duration) -> Rig {
        let (time, disk) = (time::start(1), disk::start());
        Rig {
            spool: open(limit, flush),
            _time: time,
            _disk: disk,
        }
    }

    fn push(&self, count: u64) {
        for _ in 0..count {
            let target = "web".parse().unwrap();
            let each = None;
            self.spool.push(Wall(1), &Body::Ended { target, each });
        }
    }

    /// Lets so much time pass.
    fn pass(&self, time: Duration) {
        let until = clock::mono().after(time);
        while let Some(at) = self.spool.due().filter(|at| *at <= until) {
            time::set_mono(at.max(clock::mono()));
            self.spool.turn();
        }
        time::set_mono(until);
    }

    fn fill_disk(&self, full: bool) {
        disk::with(|disk| disk.fail(Path::new(DIR), full.then_some((0, disk::Failing::Full))));
    }

    fn written(&self) -> u64 {
        self.spool.ranges().last().unwrap().last
    }

    fn read(&self) -> Vec<Record> {
        let mut out = Vec::new();
        let mut follower = Follower::new(self.spool.epoch(), 1);
        follower
            .read(
                self.spool.index(),
                self.written(),
                1 << 30,
                Wall(9),
                &mut out,
            )
            .unwrap();
        let lines = out.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        lines.map(|l| Record::parse(l).unwrap()).collect()
    }
}

fn open(limit: u64, flush: Duration) -> Spool {
    let sync = SyncMode::Interval;
    let options = Options { limit, sync, flush };
    Spool::open(Path::new(DIR), Id(1), options, Arc::default()).unwrap()
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_full_disk_is_said_what_overflows_is_one_gap_and_then_it_goes_on() {
    let rig = Rig::new(64 << 20);
    rig.push(10);
    rig.pass(50 * MS);
    assert_eq!(rig.written(), 10);
    rig.fill_disk(true);
    rig.push(1);
    rig.pass(50 * MS);
    let trouble = rig.spool.trouble().unwrap();
    assert!(trouble.starts_with("write /spool/00000001-"), "{trouble}");
    let overflow = 1000;
    let room = QUEUE_MAX as u64;
    rig.push(room + overflow);
    assert_eq!(rig.spool.dropped(), overflow);
    rig.pass(RETRY_EVERY * 3);
    assert_eq!(rig.written(), 10);
    rig.fill_disk(false);
    rig.pass(RETRY_EVERY + SYNC_EVERY);
    assert_eq!(rig.spool.trouble(), None);
    rig.push(5);
    rig.pass(50 * MS);
    let total = 10 + 1 + room + overflow + 5;
    assert_eq!(rig.written(), total);
    let records = rig.read();
    let gaps: Vec<_> = records
        .iter()
        .filter(|r| matches!(r.body, Body::Gap { .. }))
        .collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        gaps[0].span(),
        Span {
            first: total - 5 - overflow + 1,
            seq: total - 5
        }
    );
    assert_eq!(records.iter().map(|r| r.span().count()).sum::<u64>(), total);
}

#[test]
fn what_waits_is_written_early_when_it_is_much() {
    let rig = Rig::flushing(64 << 20, Duration::from_secs(3600));
    let mut line = String::new();
    let span = Span { first: 1, seq: 1 };
    let body = Body::Ended {
        target: "web".parse().unwrap(),
        each: None,
    };
    record::write_line(&mut line, span, Wall(1), &body);
    // Lines get no shorter.
    let enough = BATCH_BYTES / line.len() + 1;
    rig.push(enough as u64 / 2);
    rig.pass(MS);
    assert_eq!(rig.written(), 0);
    rig.push(enough as u64);
    rig.pass(MS);
    assert!(rig.written() > 0);
}

#[test]
fn what_is_written_is_durable_within_a_second() {
    let rig = Rig::new(64 << 20);
    rig.push(7);
    rig.pass(50 * MS + SYNC_EVERY);
    disk::with(|disk| disk.cut_power(Path::new(DIR), &mut time::Dice::new(1)));
    assert_eq!(rig.written(), 7);
    let again = open(64 << 20, FLUSH_DEFAULT);
    assert_eq!(again.ranges()[0].last, 7);
}

/// A result each second of each of ten targets, of which a few in a thousand fail.
fn probe(rig: &Rig, seconds: std::ops::Range<u64>, failures_in_1000: u64) -> Vec<u64> {
    let mut dice = time::Dice::new(seconds.start);
    let names: Vec<Name> = (0..10).map(|t| format!("t{t}").parse().unwrap()).collect();
    let mut failed = Vec::new();
    for second in seconds {
        for target in &names {
            let fails = dice.below(1000) < failures_in_1000;
            let at = Wall(1_764_000_000_000 + second * 1000);
            let seq = rig.spool.push(at, &Body::Result(sample(target, at, fails)));
            if fails {
                failed.push(seq);
            }
        }
        if second % 50 == 49 {
            rig.pass(FLUSH_DEFAULT);
        }
    }
    rig.pass(FLUSH_DEFAULT);
    failed
}

fn sample(target: &Name, at: Wall, fails: bool) -> Sample {
    Sample {
        target: target.clone(),
        at,
        us: 1_000 + at.0 % 700,
        phases: Phases::default(),
        failure: fails.then(|| Failure {
            why: Why::Timeout,
            text: "connect to 10.0.0.7:5432: timed out after 3s".into(),
        }),
        tries: 1,
        late_us: 0,
        addr: None,
        dns_stale: false,
        retransmit: false,
        each: None,
    }
}

fn failures(records: &[Record]) -> Vec<u64> {
    let failed = |r: &&Record| matches!(&r.body, Body::Result(sample) if !sample.ok());
    records.iter().filter(failed).map(|r| r.seq).collect()
}

fn total(records: &[Record]) -> u64 {
    records.iter().map(|r| r.span().count()).sum()
}

/// Ten targets each second, of which one in a hundred fails, and nobody who fetches: for
/// two hours with 1 MiB, or as long and with as much as is said.
#[test]
fn near_its_limit_plain_results_become_sums_and_no_failure_is_lost() {
    let (mib, hours) = (setting("TCPMON_SPOOL_MIB", 1), setting("TCPMON_HOURS", 2));
    let limit = mib * 1024 * 1024;
    let rig = Rig::new(limit);
    let failed = probe(&rig, 0..hours * 3600, 10);
    let records = rig.read();
    let whys: Vec<GapWhy> = records.iter().filter_map(|r| r.body.in_place()).collect();
    assert!(whys.len() > 100 && whys.iter().all(|why| *why == GapWhy::Summarised));
    assert_eq!(failures(&records), failed);
    assert_eq!(total(&records), hours * 36_000);
    let bytes = rig.spool.bytes();
    assert!(bytes <= limit + limit / SEGMENTS_PER_LIMIT);
    println!(
        "{} records of {hours} hours, {} failures: {bytes} of {limit} bytes",
        total(&records),
        failed.len()
    );
}

#[test]
fn when_sums_are_not_enough_the_oldest_go_failures_and_all() {
    const LIMIT: u64 = 1024 * 1024;
    let rig = Rig::new(LIMIT);
    let failed = probe(&rig, 0..28_000, 10);
    let records = rig.read();
    let why = records[0].body.in_place();
    assert_eq!(why, Some(GapWhy::SpoolLimit));
    let dropped = records[0].seq;
    let kept = failed.into_iter().filter(|seq| *seq > dropped);
    assert_eq!(failures(&records), kept.collect::<Vec<_>>());
    assert_eq!(total(&records), 280_000);
    assert!(rig.spool.bytes() <= LIMIT + LIMIT / SEGMENTS_PER_LIMIT);
}

#[test]
fn beyond_its_limit_the_oldest_becomes_a_gap() {
    let rig = Rig::new(LIMIT_MIN);
    for round in 1..=10 {
        rig.push(1000);
        rig.pass(50 * MS);
        assert_eq!(rig.written(), round * 1000);
    }
    let records = rig.read();
    assert!(matches!(
        records[0].body,
        Body::Gap {
            first: 1,
            why: GapWhy::SpoolLimit
        }
    ));
    assert_eq!(
        records.iter().map(|r| r.span().count()).sum::<u64>(),
        10_000
    );
    let bytes = lock(rig.spool.index()).bytes();
    assert!(
        bytes <= LIMIT_MIN + 2 * SEGMENT_BYTES_MIN + 100_000,
        "{bytes}"
    );
}

#[test]
fn every_run_is_an_epoch_of_its_own_and_too_many_are_told() {
    let mut rig = Rig::new(64 << 20);
    let mut epochs = Vec::new();
    for _ in 0..EPOCHS_MAX + 2 {
        rig.push(2);
        rig.pass(50 * MS);
        epochs.push(rig.spool.epoch());
        rig.spool = open(64 << 20, FLUSH_DEFAULT);
    }
    rig.push(1);
    rig.pass(50 * MS);
    assert!(rig.spool.alive.is_some());
    let ranges = rig.spool.ranges();
    assert_eq!(ranges.len(), EPOCHS_MAX);
    assert!(!epochs.contains(&rig.spool.epoch()));
    let records = rig.read();
    assert!(
        matches!(records[0].body, Body::Lost { first: 1, .. }),
        "{records:?}"
    );
}
