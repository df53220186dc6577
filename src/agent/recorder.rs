//! Where results go: into the spool, and into the table of the latest state of each target
//! and row. Both change under one lock, so a snapshot of the table tells every
//! result up to the number it names. What is unusual for a target is noted on the way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::host;
use super::spool::Spool;
use crate::model::{Failure, Mono, Row, Sample, Wall, micros};
use crate::proto::TargetNow;
use crate::record::Body;

/// A wall clock that moves by more than this against the monotonic one has been set.
pub const CLOCK_STEP_MIN: Duration = Duration::from_millis(500);
/// Connections of a target whose times are remembered.
const CONNECTS_KEPT: usize = 5;
/// So much longer than usual a connection takes whose SYN was lost, in microseconds.
const RETRANSMIT_US_MIN: u64 = 1_000_000;

struct Latest {
    ok: bool,
    at: Wall,
    us: u64,
    since: Wall,
    /// The number of the result that last changed `ok`.
    changed: u64,
    failure: Option<Box<Failure>>,
    connects: Connects,
}

#[derive(Default)]
struct Table {
    rows: HashMap<Row, Latest>,
    /// Wall minus monotonic time, as last recorded, in microseconds.
    wall_offset: Option<i128>,
}

/// See the module text.
pub struct Recorder {
    pub spool: Arc<Spool>,
    table: Mutex<Table>,
}

/// How long a target's last connections took, in microseconds.
#[derive(Default, Clone, Copy)]
struct Connects {
    last: [u32; CONNECTS_KEPT],
    count: usize,
}

impl Connects {
    fn note(&mut self, us: u64) {
        self.last[self.count % CONNECTS_KEPT] = u32::try_from(us).unwrap_or(u32::MAX);
        self.count += 1;
    }

    /// Whether one takes so much longer than the usual one that a SYN must have been sent
    /// again: kernels wait a second before they do.
    fn exceeded_by(&self, us: u64) -> bool {
        let mut sorted = self.last;
        sorted.sort_unstable();
        let usual = u64::from(sorted[CONNECTS_KEPT / 2]);
        self.count >= CONNECTS_KEPT && us >= usual + RETRANSMIT_US_MIN
    }
}

impl Recorder {
    /// Records into `spool`.
    pub fn new(spool: Arc<Spool>) -> Recorder {
        Recorder {
            spool,
            table: Mutex::default(),
        }
    }

    /// Records an event that is no result.
    pub fn event(&self, at: Wall, body: Body) {
        if let Body::Ended { target, each } = &body {
            let (target, each) = (target.clone(), *each);
            self.table().rows.remove(&Row { target, each });
        }
        self.spool.push(at, body);
    }

    /// Records a result; `started` is its probe's start on the monotonic clock.
    pub fn result(&self, mut sample: Sample, started: Mono) {
        let mut table = self.table();
        let connect = sample.phases.connect;
        let row = Row {
            target: sample.target.clone(),
            each: sample.each,
        };
        let before = table.rows.get(&row);
        let exceeded = |us| before.is_some_and(|latest| latest.connects.exceeded_by(us));
        sample.retransmit = connect.is_some_and(exceeded);
        self.watch_clock(&mut table, sample.at, started);
        let ok = sample.ok();
        let (at, us) = (sample.at, sample.us);
        let failure = sample.failure.clone().map(Box::new);
        let seq = self.spool.push(at, Body::Result(sample));
        let latest = table.rows.entry(row).or_insert(Latest {
            ok,
            at,
            us,
            since: at,
            changed: seq,
            failure: None,
            connects: Connects::default(),
        });
        if let Some(us) = connect {
            latest.connects.note(us);
        }
        if latest.ok != ok {
            latest.ok = ok;
            latest.since = at;
            latest.changed = seq;
        }
        (latest.at, latest.us, latest.failure) = (at, us, failure);
    }

    /// Places wall time, at start and after each step.
    fn watch_clock(&self, table: &mut Table, wall: Wall, mono: Mono) {
        let offset = i128::from(wall.0) * 1000 - i128::from(mono.0);
        let step = i128::from(micros(CLOCK_STEP_MIN));
        if table
            .wall_offset
            .is_none_or(|known| (offset - known).abs() > step)
        {
            table.wall_offset = Some(offset);
            let body = Body::Clock {
                boot: host::boot_id(),
                up_ms: host::up_ms(),
            };
            self.spool.push(wall, body);
        }
    }

    /// Notes the clock without a result, at start.
    pub fn clock(&self, wall: Wall, mono: Mono) {
        self.watch_clock(&mut self.table(), wall, mono);
    }

    /// The states that changed after number `mark` (all for 0), failures first,
    /// and the number up to which they tell everything.
    pub fn since(&self, mark: u64) -> (u64, Vec<TargetNow>) {
        let table = self.table();
        let seq = self.spool.last();
        let changed = table
            .rows
            .iter()
            .filter(|(_, l)| mark == 0 || l.changed > mark);
        let mut states: Vec<TargetNow> = changed.map(|(row, l)| now(row, l)).collect();
        drop(table);
        states.sort_by_key(|state| state.ok);
        (seq, states)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("table of latest states")
    }
}

fn now(row: &Row, latest: &Latest) -> TargetNow {
    let failure = latest.failure.as_ref();
    TargetNow {
        target: row.target.clone(),
        each: row.each,
        ok: latest.ok,
        at: latest.at,
        us: latest.us,
        since: latest.since,
        failure: failure.map(|f| (f.why, f.text.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_above_the_usual_time_is_a_syn_sent_again() {
        let mut connects = Connects::default();
        for us in [300, 5_000_000, 200, 400] {
            assert!(!connects.exceeded_by(9_000_000));
            connects.note(us);
        }
        connects.note(100);
        assert!(!connects.exceeded_by(1_000_299));
        assert!(connects.exceeded_by(1_000_300));
        // A target that is far away for good is no longer unusual.
        (0..3).for_each(|_| connects.note(2_000_000));
        assert!(!connects.exceeded_by(2_999_999));
    }
}
