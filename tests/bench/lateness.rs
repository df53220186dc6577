//! How late probes started, from the records in a manager's history: how far each `at`
//! lies behind the earliest place that its target ever had on its own grid, in whole
//! milliseconds. Results by timeout are left out.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use tcpmon::journal::list_segments;
use tcpmon::model::{Name, Wall, Why};
use tcpmon::record::{Body, Record};

/// Between two moments.
pub type Window = (Wall, Wall);

/// What was recorded in a window.
#[derive(Default)]
pub struct Figures {
    /// Of each probe, in milliseconds.
    pub late_ms: Vec<u64>,
    /// Probes that did not find their target up.
    pub failed: u64,
    /// Ticks without a probe.
    pub skipped: u64,
}

/// One target's grid: the first start seen, and how much before their ticks counted from
/// there others were.
struct Grid {
    first: i64,
    least: i64,
}

impl Grid {
    /// How far from its tick, counted from the first start.
    fn offset(&self, at: i64, interval: i64) -> i64 {
        (at - self.first + interval / 2).rem_euclid(interval) - interval / 2
    }
}

/// The figures of each window, from all histories in `dir`; every target has this interval.
pub fn figures<const N: usize>(dir: &Path, interval_ms: i64, windows: [Window; N]) -> [Figures; N] {
    let records = records(dir);
    let mut grids: HashMap<&Name, Grid> = HashMap::new();
    for (name, at) in records.iter().filter_map(start) {
        let first = Grid {
            first: at,
            least: 0,
        };
        let grid = grids.entry(name).or_insert(first);
        grid.least = grid.least.min(grid.offset(at, interval_ms));
    }
    windows.map(|(from, to)| {
        let mut figures = Figures::default();
        for record in records.iter().filter(|r| (from..to).contains(&r.at)) {
            match &record.body {
                Body::Skip { count, .. } => figures.skipped += count,
                Body::Result(sample) if !sample.ok() => figures.failed += 1,
                _ => {}
            }
            if let Some((name, at)) = start(record) {
                let grid = &grids[name];
                let late = grid.offset(at, interval_ms) - grid.least;
                figures.late_ms.push(late.unsigned_abs());
            }
        }
        figures
    })
}

/// The target and the start of a result that counts.
fn start(record: &Record) -> Option<(&Name, i64)> {
    let Body::Result(sample) = &record.body else {
        return None;
    };
    let timed_out = sample
        .failure
        .as_ref()
        .is_some_and(|f| f.why == Why::Timeout);
    let at = i64::try_from(record.at.0).ok()?;
    (!timed_out).then_some((&sample.target, at))
}

fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for agent in fs::read_dir(dir).expect("read the history") {
        let agent = agent.expect("an entry").path();
        for segment in list_segments(&agent).unwrap_or_default() {
            let bytes = fs::read(agent.join(segment.name)).expect("read a segment");
            let lines = bytes.split(|b| *b == b'\n');
            records.extend(lines.filter_map(|line| Record::parse(line).ok()));
        }
    }
    records
}
