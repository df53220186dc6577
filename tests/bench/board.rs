//! What the manager's verdict costs: a board of 10,000 targets that three agents see, as
//! it is worked out ten times a second while news comes in. All up, and all down.

use std::time::Duration;

use crate::support::Dir;
use crate::table::Table;
use tcpmon::clock;
use tcpmon::manager::board::{Board, Facts, Look};
use tcpmon::model::{Epoch, Failure, Name, Sample, Target, Terms, Wall, Watched, Why};
use tcpmon::record::{Body, Record};

const TARGETS: usize = 10_000;
const AGENTS: [&str; 3] = ["attic", "cellar", "loft"];
const ROUNDS: usize = 200;

fn target(n: usize) -> Watched {
    Watched::from(Target::new(
        name(&format!("target-{n:05}")),
        "192.0.2.7:443".parse().expect("an address"),
        Terms {
            retries: 1,
            ..Terms::every(Duration::from_secs(10), Duration::from_secs(3))
        },
    ))
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// One more result of every target from every agent, at `at`.
fn results(
    board: &mut Board,
    targets: &[Watched],
    at: Wall,
    seq: &mut u64,
    failure: Option<&Failure>,
) {
    for agent in AGENTS.map(name) {
        for watched in targets {
            *seq += 1;
            let sample = Sample {
                target: watched.target.name.clone(),
                at,
                us: 1_000,
                phases: Default::default(),
                failure: failure.cloned(),
                tries: 1,
                late_us: 0,
                addr: None,
                each: None,
                dns_stale: false,
                retransmit: false,
            };
            let body = Body::Result(sample);
            let record = Record {
                seq: *seq,
                at,
                body,
            };
            board.record(&agent, Epoch(1), &record, at);
        }
    }
}

/// The median of some rounds of `what`, in microseconds.
fn median(mut what: impl FnMut()) -> u64 {
    let mut took: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let began = clock::mono();
            what();
            clock::mono().0 - began.0
        })
        .collect();
    took.sort_unstable();
    took[ROUNDS / 2]
}

/// A fleet that is well, and one that is not.
pub fn board(_: &Dir, table: &mut Table) {
    let targets: Vec<Watched> = (0..TARGETS).map(target).collect();
    let mut board = Board::new();
    let fleet = AGENTS.map(|agent| (name(agent), targets.clone()));
    board.set_fleet(&fleet);
    for agent in AGENTS.map(name) {
        board.now_begin(&agent, Epoch(1), 0);
    }
    let (mut now, mut seq) = (Wall(1_000_000_000), 0);
    let failure = Failure {
        why: Why::Timeout,
        text: "connect to 192.0.2.7:443: timed out after 3s".to_string(),
    };
    for (what, failure) in [("all up", None), ("all down", Some(&failure))] {
        for _ in 0..4 {
            now = now.after(Duration::from_secs(10));
            results(&mut board, &targets, now, &mut seq, failure);
            board.settle(now, |_, _| None);
        }
        let settle = median(|| {
            board.settle(now, |_, _| None);
        });
        let page = median(|| {
            board.snapshot_page(now, 0, 20);
        });
        let unwell = median(|| {
            Look::new(&board, now).unwell();
        });
        let rows = board.row_count();
        for (figure, us) in [
            ("verdicts", settle),
            ("a page of the view", page),
            ("what is unwell", unwell),
        ] {
            table.told(
                &format!("{rows} rows, {what}: {figure}"),
                "ms",
                us as f64 / 1e3,
            );
        }
    }
}
