//! Reports over histories whose truth is known.

use super::*;
use crate::config::{KeyRule, parse_fleet};
use crate::manager::replay::tests::made::{
    self, NOW, ONE_SEGMENT, Writing, ago, began, called, ended, epoch, result, save, start,
};
use crate::manager::state::SessionClock;

const E: Epoch = Epoch(0xe);
const S: u64 = 1_000;
const TEN: Duration = Duration::from_secs(10);
/// What the tests ask for: the last 1,000 seconds.
const SINCE: Wall = Wall(NOW.0 - 1_000 * S);

fn fleet() -> Fleet {
    let text = r#"{
      "agents": [{"name":"attic","address":"h:1"},{"name":"cellar","address":"h:2"}],
      "targets": [
        {"name":"web","address":"w:80","interval":"10s"},
        {"name":"db","address":"d:5432","interval":"10s","agents":["attic"]}]}"#;
    parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap()
}

fn history(data: &Path, id: u64, agent: &str) -> Writing {
    called(data, Id(id), agent);
    epoch(data, Id(id), 1, Epoch(0xe0 + id), ONE_SEGMENT)
}

/// Results of `web` every ten seconds, from `from` up to before `to` seconds ago.
fn probe(h: &mut Writing, from: u64, to: u64, ok: bool) {
    let mut left = from;
    while left > to {
        h.put(ago(left * S), result("web", ago(left * S), ok));
        left = left.saturating_sub(10);
    }
}

/// Probes, those answered, seconds up, measured and asked for, of `web` from `attic`.
type Expected = (u64, u64, u64, u64, u64);

fn of(report: &Report, target: &str, agent: &str) -> Expected {
    let target = report.targets.iter().find(|t| t.name.as_str() == target);
    let agents = &target.unwrap().agents;
    let (_, numbers) = agents.iter().find(|(a, _)| a.as_str() == agent).unwrap();
    let m = numbers.measured;
    (
        m.probes,
        m.ok,
        m.up_ms / S,
        m.measured_ms / S,
        m.asked_ms / S,
    )
}

type Case = (&'static str, fn(&mut Writing), Expected);

fn check(cases: &[Case]) {
    for (what, write, expected) in cases {
        let data = tempfile::tempdir().unwrap();
        let mut h = history(data.path(), 7, "attic");
        write(&mut h);
        let report = run(data.path(), Some(&fleet()), SINCE, NOW).unwrap();
        assert_eq!(of(&report, "web", "attic"), *expected, "{what}");
    }
}

#[test]
fn a_stream_is_measured_where_there_are_results() {
    check(&[
        ("nothing heard", |_| {}, (0, 0, 0, 0, 1_000)),
        (
            "all of the window and before",
            |h| probe(h, 1_205, 0, true),
            (100, 100, 1_000, 1_000, 1_000),
        ),
        (
            "down for a while",
            |h| {
                probe(h, 1_000, 500, true);
                probe(h, 500, 400, false);
                probe(h, 400, 0, true);
            },
            (100, 90, 900, 1_000, 1_000),
        ),
        (
            "not measured for a while",
            |h| {
                probe(h, 1_000, 500, true);
                probe(h, 400, 0, true);
            },
            (90, 90, 900, 900, 1_000),
        ),
    ]);
}

#[test]
fn it_is_asked_for_while_its_target_was_to_be_probed() {
    check(&[
        (
            "began within the window",
            |h| {
                h.put(ago(900 * S), start(None));
                h.put(ago(600 * S), began("web", TEN));
                probe(h, 600, 0, true);
            },
            (60, 60, 600, 600, 600),
        ),
        (
            "began before the window",
            |h| {
                h.put(ago(1_100 * S), began("web", TEN));
                probe(h, 600, 0, true);
            },
            (60, 60, 600, 600, 1_000),
        ),
        (
            "the agent was away, then took it up again",
            |h| {
                h.put(ago(600 * S), start(Some(ago(5_000 * S))));
                h.put(ago(600 * S), began("web", TEN));
                probe(h, 600, 0, true);
            },
            (60, 60, 600, 600, 1_000),
        ),
        (
            "the agent was started again in between",
            |h| {
                probe(h, 1_000, 500, true);
                h.put(ago(505 * S), start(Some(ago(509 * S))));
                h.put(ago(505 * S), began("web", TEN));
                probe(h, 400, 0, true);
            },
            (90, 90, 895, 895, 1_000),
        ),
        (
            "new on an agent that was started again before",
            |h| {
                h.put(ago(900 * S), start(Some(ago(950 * S))));
                h.put(ago(900 * S), began("db", TEN));
                h.put(ago(900 * S), result("db", ago(900 * S), true));
                h.put(ago(300 * S), began("web", TEN));
                probe(h, 300, 0, true);
            },
            (30, 30, 300, 300, 300),
        ),
        (
            "ended, and began again later",
            |h| {
                probe(h, 1_000, 800, true);
                h.put(ago(805 * S), ended("web"));
                h.put(ago(200 * S), began("web", TEN));
                probe(h, 200, 0, true);
            },
            (40, 40, 395, 395, 395),
        ),
        (
            "ended, known by that alone",
            |h| h.put(ago(700 * S), ended("web")),
            (0, 0, 0, 0, 300),
        ),
        (
            "its interval was changed",
            |h| {
                h.put(ago(1_000 * S), began("web", Duration::from_secs(100)));
                h.put(ago(1_000 * S), result("web", ago(1_000 * S), true));
                h.put(ago(900 * S), result("web", ago(900 * S), false));
                h.put(ago(800 * S), began("web", TEN));
                h.put(ago(800 * S), result("web", ago(800 * S), true));
            },
            (3, 2, 110, 210, 1_000),
        ),
    ]);
}

#[test]
fn a_result_from_before_stands_for_the_beginning() {
    let data = tempfile::tempdir().unwrap();
    called(data.path(), Id(7), "attic");
    let mut h = epoch(data.path(), Id(7), 1, E, 1);
    h.put(ago(1_300 * S), result("web", ago(1_300 * S), true));
    h.put(ago(700 * S), result("web", ago(700 * S), true));
    made::written(&made::files(&h.dir)[0], ago(1_300 * S));
    let mut fleet = fleet();
    fleet.targets[0].settings.interval = Some(Duration::from_secs(600));
    let report = run(data.path(), Some(&fleet), SINCE, NOW).unwrap();
    assert_eq!(of(&report, "web", "attic"), (1, 1, 900, 900, 1_000));
}

#[test]
fn without_a_fleet_all_that_is_seen_is_listed() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    h.put(ago(500 * S), began("other", TEN));
    probe(&mut h, 600, 0, true);
    let report = run(data.path(), None, SINCE, NOW).unwrap();
    let names: Vec<&str> = report.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["other", "web"]);
    assert_eq!(of(&report, "other", "attic"), (0, 0, 0, 0, 500));
}

#[test]
fn what_the_fleet_wants_no_more_is_asked_for_until_its_last_result() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 8, "cellar");
    h.put(ago(500 * S), began("db", TEN));
    h.put(ago(500 * S), result("db", ago(500 * S), true));
    h.put(ago(480 * S), result("db", ago(480 * S), true));
    let mut gone = history(data.path(), 9, "gone");
    probe(&mut gone, 1_000, 0, true);
    let report = run(data.path(), Some(&fleet()), SINCE, NOW).unwrap();
    assert_eq!(of(&report, "db", "cellar"), (2, 2, 20, 20, 30));
    // An agent that left the fleet does not count.
    assert_eq!(report.targets[0].agents.len(), 2);
}

#[test]
fn a_replaced_machine_goes_on_with_the_stream() {
    let data = tempfile::tempdir().unwrap();
    let mut old = history(data.path(), 7, "attic");
    probe(&mut old, 1_000, 500, true);
    made::written(&made::files(&old.dir)[0], ago(500 * S));
    let mut new = history(data.path(), 3, "attic");
    new.put(ago(300 * S), start(None));
    new.put(ago(290 * S), began("web", TEN));
    probe(&mut new, 290, 0, true);
    made::written(&made::files(&new.dir)[0], NOW);
    let report = run(data.path(), Some(&fleet()), SINCE, NOW).unwrap();
    assert_eq!(of(&report, "web", "attic"), (79, 79, 790, 790, 1_000));
}

#[test]
fn a_clock_that_is_off_is_corrected() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    // Its clock is 200 s behind: what it calls 1,200 s ago was 1,000 s ago.
    probe(&mut h, 1_200, 200, true);
    let mut state = AgentState {
        id: Some(Id(7)),
        clock_offset_ms: Some(-200_000),
        ..AgentState::default()
    };
    let check = |state: &AgentState, probes| {
        save(data.path(), "attic", state);
        let report = run(data.path(), Some(&fleet()), SINCE, NOW).unwrap();
        assert_eq!(of(&report, "web", "attic").0, probes, "{state:?}");
    };
    check(&state, 100);
    // In this epoch it was right, whatever it has come to since.
    state.sessions = vec![SessionClock {
        at: NOW,
        epoch: Epoch(0xe7),
        offset_ms: 1_000,
    }];
    check(&state, 80);
    state.sessions[0].epoch = E;
    check(&state, 100);
    // Another machine's clock says nothing about this one's.
    state.id = Some(Id(8));
    check(&state, 80);
}

/// Two agents that saw the same differently.
fn scene(data: &Path) -> Report {
    let mut attic = history(data, 7, "attic");
    for i in 0..100u64 {
        let at = ago((1_000 - 10 * i) * S);
        let mut body = result("web", at, i % 33 != 5);
        if let crate::record::Body::Result(sample) = &mut body {
            sample.us = 900 + 700 * i;
        }
        attic.put(at, body);
    }
    let mut cellar = history(data, 8, "cellar");
    probe(&mut cellar, 500, 0, true);
    run(data, Some(&fleet()), SINCE, NOW).unwrap()
}

#[test]
fn a_report_reads_well() {
    let data = tempfile::tempdir().unwrap();
    let report = scene(data.path());
    made::golden("report.txt", &report.text());
    made::golden("report.json", &report.json());
    made::golden("report.csv", &report.csv());
    let empty = run(data.path(), Some(&Fleet::default()), SINCE, NOW).unwrap();
    made::golden("report-empty.txt", &empty.text());
}

#[test]
fn only_what_was_always_up_is_wholly_up() {
    for (part, text) in [
        (None, "-"),
        (Some(1.0), "100.00 %"),
        (Some(0.999_999), "99.99 %"),
        (Some(0.9995), "99.95 %"),
        (Some(0.07), "7.00 %"),
        (Some(0.0), "0.00 %"),
    ] {
        assert_eq!(percent(part), text);
    }
}
