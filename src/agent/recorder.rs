//! Where results go: into the spool, and into the table of the latest state of each target
//! and row. Both change under one lock, so a snapshot of the table tells every
//! result up to the number it names. What is unusual for a target is noted on the way.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::host;
use super::spool::Spool;
use crate::metrics::Tally;
use crate::model::{Failure, Mono, Name, Row, Sample, Target, Wall, micros};
use crate::proto::TargetNow;
use crate::record::Body;
use crate::units::HostPort;

/// A wall clock that moves by more than this against the monotonic one has been set.
pub const CLOCK_STEP_MIN: Duration = Duration::from_millis(500);
/// Connections of a target whose times are remembered.
const CONNECTS_KEPT: usize = 5;
/// Results after a change that are news as well: they may decide that it is up or down.
const UNSETTLED: u8 = 8;
/// So much longer than usual a connection takes whose SYN was lost, in microseconds.
const RETRANSMIT_US_MIN: u64 = 1_000_000;

struct Latest {
    target: Arc<Target>,
    at: Wall,
    us: u64,
    since: Wall,
    /// The number of the last result that is news: the first one, one that made it answer
    /// or fail, or one of the few that follow and may decide that it is up or down.
    news: u64,
    /// `None` where it answered.
    failure: Option<Box<Failure>>,
    recent: Recent,
    /// Where it is asked for.
    tally: Option<Box<Tally>>,
}

/// A row with what was counted of it.
pub struct Counted {
    pub target: Name,
    pub each: Option<IpAddr>,
    pub is_up: bool,
    pub since: Wall,
    pub tally: Tally,
}

#[derive(Default)]
struct Table {
    /// Each row at its place in the schedule.
    rows: Vec<Option<Latest>>,
    /// Wall minus monotonic time, as last recorded, in microseconds.
    wall_offset: Option<i128>,
}

/// See the module text.
pub struct Recorder {
    pub spool: Arc<Spool>,
    table: Mutex<Table>,
    counts: AtomicBool,
}

/// What is remembered of a target's last results.
#[derive(Default, Clone, Copy)]
struct Recent {
    /// How long connections took, in microseconds.
    connects: [u32; CONNECTS_KEPT],
    /// How many there are, and which comes next.
    count: u8,
    next: u8,
    /// How many more results are news after the last change.
    unsettled: u8,
}

impl Recent {
    fn note(&mut self, us: u64) {
        self.connects[usize::from(self.next)] = u32::try_from(us).unwrap_or(u32::MAX);
        self.next = (self.next + 1) % CONNECTS_KEPT as u8;
        self.count = (self.count + 1).min(CONNECTS_KEPT as u8);
    }

    /// Whether one takes so much longer than the usual one that a SYN must have been sent
    /// again: kernels wait a second before they do.
    fn exceeded_by(&self, us: u64) -> bool {
        let mut sorted = self.connects;
        sorted.sort_unstable();
        let usual = u64::from(sorted[CONNECTS_KEPT / 2]);
        usize::from(self.count) == CONNECTS_KEPT && us >= usual + RETRANSMIT_US_MIN
    }
}

impl Recorder {
    /// Records into `spool`.
    pub fn new(spool: Arc<Spool>) -> Recorder {
        Recorder {
            spool,
            table: Mutex::default(),
            counts: AtomicBool::default(),
        }
    }

    /// Makes room for so many places.
    pub fn make_room(&self, places: usize) {
        let mut table = self.table();
        let more = places.saturating_sub(table.rows.len());
        // Exactly for a whole list; where a few come at a time that would copy all each time.
        if more > table.rows.len() {
            table.rows.reserve_exact(more);
        }
        table.rows.extend((0..more).map(|_| None));
    }

    /// Records that a row, at this place in the schedule, is no more.
    pub fn ended(&self, place: usize, row: Row, at: Wall) {
        if let Some(latest) = self.table().rows.get_mut(place) {
            *latest = None;
        }
        let Row { target, each } = row;
        self.spool.push(at, &Body::Ended { target, each });
    }

    /// Records a result of a target that is at this place in the schedule, for which there
    /// is room; `started` is its probe's start on the monotonic clock.
    pub fn result(&self, place: usize, target: &Arc<Target>, mut sample: Sample, started: Mono) {
        let mut table = self.table();
        self.watch_clock(&mut table, sample.at, started);
        let row = &mut table.rows[place];
        let connect = sample.phases.connect;
        let exceeded = |us| row.as_ref().is_some_and(|row| row.recent.exceeded_by(us));
        sample.retransmit = connect.is_some_and(exceeded);
        let (at, us) = (sample.at, sample.us);
        let body = Body::Result(sample);
        let seq = self.spool.push(at, &body);
        let Body::Result(sample) = body else {
            return;
        };
        let is_first = row.is_none();
        let latest = row.get_or_insert_with(|| Latest {
            target: Arc::clone(target),
            at,
            us,
            since: at,
            news: seq,
            failure: None,
            recent: Recent::default(),
            tally: None,
        });
        if self.counts.load(Ordering::Relaxed) {
            latest.tally.get_or_insert_default().add(&sample);
        }
        if let Some(us) = connect {
            latest.recent.note(us);
        }
        let fails = sample.failure.is_some();
        if !is_first && latest.failure.is_some() != fails {
            (latest.since, latest.news, latest.recent.unsettled) = (at, seq, UNSETTLED);
        } else if latest.recent.unsettled > 0 {
            latest.news = seq;
            latest.recent.unsettled -= 1;
        } else if is_first && fails {
            latest.recent.unsettled = UNSETTLED;
        }
        // It may have been configured anew and still be the same.
        latest.target = Arc::clone(target);
        latest.failure = sample.failure.map(Box::new);
        (latest.at, latest.us) = (at, us);
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
            self.spool.push(wall, &body);
        }
    }

    /// Notes the clock without a result, at start.
    pub fn clock(&self, wall: Wall, mono: Mono) {
        self.watch_clock(&mut self.table(), wall, mono);
    }

    /// The places of all rows of which something is known, failing ones first.
    pub fn places(&self) -> Vec<usize> {
        let table = self.table();
        let rows = table.rows.iter().enumerate();
        let known = rows.filter_map(|(place, row)| Some((place, row.as_ref()?.failure.is_none())));
        let (up, down): (Vec<_>, Vec<_>) = known.partition(|(_, answers)| *answers);
        down.into_iter().chain(up).map(|(place, _)| place).collect()
    }

    /// The number up to which results are told by the states now, the states at these
    /// places, and of which others there was news since number `mark`: true where it is
    /// not settled yet.
    pub fn states(&self, places: &[usize], mark: u64) -> (u64, Vec<TargetNow>, Vec<(usize, bool)>) {
        let table = self.table();
        let seq = self.spool.last();
        let row = |place: &usize| table.rows.get(*place)?.as_ref();
        let states = places.iter().filter_map(row).map(now).collect();
        let rows = table.rows.iter().enumerate();
        let rows = rows.filter_map(|(place, row)| Some((place, row.as_ref()?)));
        let others = rows.filter(|(place, row)| row.news > mark && !places.contains(place));
        let others = others
            .map(|(place, row)| (place, row.recent.unsettled > 0))
            .collect();
        (seq, states, others)
    }

    /// Counts what results come to from now on.
    pub fn count(&self) {
        self.counts.store(true, Ordering::Relaxed);
    }

    /// What was counted of each row of which there is a result.
    pub fn counted(&self) -> Vec<Counted> {
        let table = self.table();
        let counted = |latest: &Latest| Counted {
            target: latest.target.name.clone(),
            each: latest.target.each(),
            is_up: latest.failure.is_none(),
            since: latest.since,
            tally: latest.tally.as_deref().cloned().unwrap_or_default(),
        };
        let mut rows: Vec<Counted> = table.rows.iter().flatten().map(counted).collect();
        rows.sort_by(|a, b| (&a.target, a.each).cmp(&(&b.target, b.each)));
        rows
    }

    /// Whether a target with this address is probed.
    pub fn probes(&self, address: &HostPort) -> bool {
        let table = self.table();
        let mut rows = table.rows.iter().flatten();
        rows.any(|latest| latest.target.address == *address)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("table of latest states")
    }
}

fn now(latest: &Latest) -> TargetNow {
    let failure = latest.failure.as_ref();
    TargetNow {
        target: latest.target.name.clone(),
        each: latest.target.each(),
        ok: failure.is_none(),
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
        let mut connects = Recent::default();
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
