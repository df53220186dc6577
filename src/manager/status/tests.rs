//! The status out of data directories as a running, a stopped and a busy manager leave them.

use super::*;
use crate::config::{KeyRule, parse_fleet};
use crate::health::{Known, Verdict};
use crate::manager::board::State;
use crate::manager::replay::tests::made::{
    self, NOW, ONE_SEGMENT, Writing, ago, announced, called, epoch, name, result, save,
};
use crate::manager::state::Announced;
use crate::model::{ContentHash, Revision};
use crate::proto::EpochRange;

const ID: Id = Id(7);
const E: Epoch = Epoch(0xe);
const S: u64 = 1_000;

fn fleet() -> Fleet {
    let text = r#"{
      "agents": [{"name":"attic","address":"h:1"},{"name":"cellar","address":"h:2"}],
      "targets": [
        {"name":"web","address":"w:80","interval":"10s"},
        {"name":"db","address":"d:5432","interval":"10s","agents":["attic"]}]}"#;
    parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap()
}

/// A state saved two seconds ago by a manager with a standing link.
fn state(mark: u64) -> AgentState {
    AgentState {
        id: Some(ID),
        connected: true,
        since: ago(7_200 * S),
        saved: ago(2 * S),
        last_seen: Some(ago(S)),
        clock_offset_ms: Some(12),
        applied: Some(Revision {
            owner: Id(1),
            owner_name: name("home"),
            counter: 4,
            hash: ContentHash(5),
        }),
        wanted: Some((4, ContentHash(5))),
        mark: Some((E, mark)),
        states: vec![told("db", false, 85), told("web", true, 86_400)],
        announced_epochs: vec![EpochRange {
            epoch: E,
            first: 1,
            last: 4,
        }],
        ..AgentState::default()
    }
}

fn told(target: &str, ok: bool, seconds: u64) -> Announced {
    let verdict = if ok { Verdict::Up } else { Verdict::Down };
    Announced {
        target: name(target),
        each: None,
        known: Known {
            verdict,
            since: ago(seconds * S),
            flapping: false,
        },
    }
}

/// Results of both targets, the latest three seconds old.
fn history(data: &Path) -> Writing {
    called(data, ID, "attic");
    let mut h = epoch(data, ID, 1, E, ONE_SEGMENT);
    for (seconds, target, ok) in [
        (95, "db", true),
        (85, "db", false),
        (5, "db", false),
        (3, "web", true),
    ] {
        h.put(ago(seconds * S), result(target, ago(seconds * S), ok));
    }
    h
}

/// State, since (in seconds ago) and latency of a target as `attic` sees it.
fn seen(s: &Snapshot, target: &str) -> (State, Option<u64>, Option<u64>) {
    let mut rows = s.rows.iter();
    let row = rows.find(|r| r.target.as_str() == target && r.agent.as_str() == "attic");
    let row = row.unwrap();
    let since = row.since.map(|at| NOW.0.saturating_sub(at.0) / S);
    (row.state, since, row.us)
}

#[test]
fn what_a_running_manager_knows_is_told() {
    let data = tempfile::tempdir().unwrap();
    history(data.path());
    // Whether the states were last saved before or after the newest results.
    for mark in [2, 4] {
        save(data.path(), "attic", &state(mark));
        let s = run(data.path(), &fleet(), NOW).unwrap();
        assert_eq!(seen(&s, "web"), (State::Up, Some(86_400), Some(1_000)));
        assert_eq!(seen(&s, "db"), (State::Down, Some(85), Some(1_000)));
    }
}

#[test]
fn a_change_after_the_last_save_counts() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path());
    save(data.path(), "attic", &state(4));
    // The third failure in a row decides, and it is so since the first.
    for (seconds, expected) in [
        (3, (State::Up, Some(86_400), Some(1_000))),
        (2, (State::Up, Some(86_400), Some(1_000))),
        (1, (State::Down, Some(3), Some(1_000))),
    ] {
        h.put(ago(seconds * S), result("web", ago(seconds * S), false));
        let s = run(data.path(), &fleet(), NOW).unwrap();
        assert_eq!(seen(&s, "web"), expected);
    }
}

#[test]
fn so_does_a_run_that_began_since() {
    let data = tempfile::tempdir().unwrap();
    history(data.path());
    let mut next = epoch(data.path(), ID, 2, Epoch(0xf), ONE_SEGMENT);
    for seconds in [2, 1, 0] {
        next.put(ago(seconds * S), result("web", ago(seconds * S), false));
    }
    save(data.path(), "attic", &state(4));
    let s = run(data.path(), &fleet(), NOW).unwrap();
    assert_eq!(seen(&s, "web"), (State::Down, Some(2), Some(1_000)));
    assert_eq!(seen(&s, "db"), (State::Down, Some(85), Some(1_000)));
}

#[test]
fn a_backlog_does_not_hide_the_present() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path());
    h.put(ago(2 * S), result("web", ago(2 * S), false));
    let mut saved = state(5_000);
    saved.announced_epochs[0].last = 5_005;
    save(data.path(), "attic", &saved);
    let s = run(data.path(), &fleet(), NOW).unwrap();
    // What the history tells of is older than what the agent said of itself.
    assert_eq!(seen(&s, "web"), (State::Up, Some(86_400), None));
    assert_eq!(seen(&s, "db"), (State::Down, Some(85), None));
    assert_eq!(s.agents[0].link.as_ref().unwrap().to_fetch, 5_000);
    // As it was then: slow, and flapping, with nothing known of how slow.
    saved.states[1].known.verdict = Verdict::Slow;
    saved.states[0].known.flapping = true;
    save(data.path(), "attic", &saved);
    let s = run(data.path(), &fleet(), NOW).unwrap();
    assert_eq!(seen(&s, "web"), (State::Slow, Some(86_400), None));
    let flapping = s.rows.iter().map(|r| (r.target.as_str(), r.flapping));
    assert_eq!(
        flapping.collect::<Vec<_>>(),
        [("db", true), ("web", false), ("web", false)]
    );
    saved.states = state(4).states;
    // Nor does one of runs before.
    saved.mark = Some((Epoch(0xf), 3));
    save(data.path(), "attic", &saved);
    let s = run(data.path(), &fleet(), NOW).unwrap();
    assert_eq!(seen(&s, "web"), (State::Up, Some(86_400), None));
}

#[test]
fn without_a_manager_it_is_told_as_past() {
    let data = tempfile::tempdir().unwrap();
    history(data.path());
    save(data.path(), "attic", &state(4));
    let later = Wall(NOW.0 + 600 * S);
    let s = run(data.path(), &fleet(), later).unwrap();
    assert_eq!(seen(&s, "web").0, State::Stale);
    assert_eq!(s.rows[0].since, Some(ago(5 * S)));
    let link = s.agents[0].link.as_ref().unwrap();
    assert_eq!((link.connected, link.since), (false, ago(2 * S)));
    assert_eq!(link.text, "no manager is running");
}

#[test]
fn a_clock_that_is_off_does_not_make_results_stale() {
    for offset_s in [-500i64, 500] {
        let data = tempfile::tempdir().unwrap();
        called(data.path(), ID, "attic");
        let mut h = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
        let theirs = Wall(NOW.0.saturating_add_signed(offset_s * 1_000 - 3_000));
        h.put(theirs, result("web", theirs, true));
        let mut saved = state(1);
        saved.states.clear();
        saved.clock_offset_ms = Some(offset_s * 1_000);
        save(data.path(), "attic", &saved);
        let s = run(data.path(), &fleet(), NOW).unwrap();
        assert_eq!(
            seen(&s, "web"),
            (State::Up, Some(3), Some(1_000)),
            "{offset_s}"
        );
    }
}

#[test]
fn a_target_probed_rarely_is_not_forgotten() {
    let data = tempfile::tempdir().unwrap();
    called(data.path(), ID, "attic");
    let mut h = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    let at = ago(5 * 3_600 * S);
    h.put(at, result("web", at, true));
    made::written(&made::files(&h.dir)[0], at);
    save(data.path(), "attic", &state(1));
    let mut fleet = fleet();
    fleet.targets[0].settings.interval = Some(Duration::from_secs(6 * 3_600));
    let s = run(data.path(), &fleet, NOW).unwrap();
    assert_eq!(seen(&s, "web").0, State::Up);
}

#[test]
fn the_status_reads_well() {
    let data = tempfile::tempdir().unwrap();
    history(data.path());
    let mut saved = state(4);
    saved.announced_epochs[0].last = 1_238;
    saved.trouble = "write spool: no space left on device".into();
    save(data.path(), "attic", &saved);
    let s = run(data.path(), &fleet(), NOW).unwrap();
    made::golden("status.txt", &plain_table(&s));
    made::golden("status.json", &json(&s, &[], &[]));
}

/// A target that is slow, one that flaps, and one that failed twice.
#[test]
fn doubts_are_told_with_the_status() {
    let data = tempfile::tempdir().unwrap();
    called(data.path(), ID, "attic");
    let mut h = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    for i in 0..12 {
        let at = ago((120 - 10 * i) * S);
        h.put(at, result("db", at, i % 2 == 0));
        h.put(at, result("web", at, i < 10));
        h.put(at, result("slow", at, true));
    }
    let mut saved = state(36);
    saved.states.clear();
    save(data.path(), "attic", &saved);
    let mut fleet = fleet();
    let mut slow = fleet.targets[1].clone();
    slow.name = name("slow");
    slow.settings.slow = Some(Duration::from_micros(999));
    fleet.targets.push(slow);
    let s = run(data.path(), &fleet, NOW).unwrap();
    made::golden("status-doubts.txt", &plain_table(&s));
    made::golden("status-doubts.json", &json(&s, &[], &[]));
}

#[test]
fn before_anything_is_known_everything_is_unknown() {
    let data = tempfile::tempdir().unwrap();
    let s = run(data.path(), &fleet(), NOW).unwrap();
    made::golden("status-unknown.txt", &plain_table(&s));
    made::golden("status-unknown.json", &json(&s, &[], &[]));
    announced(data.path(), "cellar", ID, &[]);
    let s = run(data.path(), &fleet(), NOW).unwrap();
    assert!(s.agents.iter().all(|a| a.link.is_none()));
}
