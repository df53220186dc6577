//! Scripts: what comes in at which second, and what the board then says.

use std::time::Duration;

use super::*;
use crate::health::{Known, Progress, Verdict};
use crate::manager::state::{Announced, Verdicts};
use crate::model::{Failure, Rules, Sample, Target, Terms, Watched, Why};

const REFUSED: &str = "connect to 10.0.0.7:443: refused";
const E1: Epoch = Epoch(1);
const E2: Epoch = Epoch(2);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(second: u64) -> Wall {
    Wall(1_000_000_000 + second * 1000)
}

/// Probed every 10 s; down after 3 failures, up after 2 answers, slow over 200 ms.
fn target(name_text: &str, address: &str) -> Watched {
    let target = Target::new(
        name(name_text),
        address.parse().unwrap(),
        Terms {
            retries: 1,
            ..Terms::every(Duration::from_secs(10), Duration::from_secs(3))
        },
    );
    let rules = Rules {
        slow: Some(Duration::from_millis(200)),
        ..Rules::default()
    };
    Watched { target, rules }
}

fn result(seq: u64, second: u64, target: &str, ok: bool) -> Record {
    let failure = Failure {
        why: Why::Refused,
        text: REFUSED.to_string(),
    };
    Record {
        seq,
        at: at(second),
        body: Body::Result(Sample {
            target: name(target),
            at: at(second),
            us: 1_000 + seq,
            failure: (!ok).then_some(failure),
            tries: 1,
            late_us: 0,
            addr: None,
            dns_stale: false,
            phases: Default::default(),
            retransmit: false,
            each: None,
        }),
    }
}

fn entry(target: &str, ok: bool, second: u64, since: u64) -> TargetNow {
    TargetNow {
        target: name(target),
        each: None,
        ok,
        at: at(second),
        us: 5_000,
        since: at(since),
        failure: (!ok).then(|| (Why::Refused, REFUSED.to_string())),
    }
}

fn announced(target: &str, known: Known) -> Announced {
    Announced {
        target: name(target),
        each: None,
        known,
    }
}

fn linked(second: u64) -> Link {
    Link {
        connected: true,
        since: at(second),
        ..Link::default()
    }
}

fn away(second: u64, text: &str) -> Link {
    Link {
        since: at(second),
        text: text.to_string(),
        ..Link::default()
    }
}

/// One agent, one target, link up since second 0, mark at (E1, 10).
fn board() -> Board {
    let mut b = Board::new();
    b.set_fleet(&[(name("attic"), vec![target("web", "10.0.0.7:443")])]);
    b.set_link(&name("attic"), linked(0), at(0));
    b.now_begin(&name("attic"), E1, 10);
    b
}

impl Board {
    fn take(&mut self, epoch: Epoch, record: Record) {
        let now = record.at;
        self.record(&name("attic"), epoch, &record, now);
        self.settle(now, |_, _| None);
    }

    fn take_now(&mut self, agent: &Name, epoch: Epoch, seq: u64, entries: &[TargetNow], now: Wall) {
        self.now_message(agent, epoch, seq, entries, now);
        self.settle(now, |_, _| None);
    }

    /// Results of `web`, one every ten seconds from second `from` on: `+` answers, `~` does
    /// slowly, `x` fails. Their numbers follow 10.
    fn play(&mut self, from: u64, results: &str) {
        for (i, letter) in (0..).zip(results.chars()) {
            let second = from + 10 * i;
            let mut record = result(11 + second / 10, second, "web", letter != 'x');
            if let (Body::Result(sample), '~') = (&mut record.body, letter) {
                sample.us = 312_000;
            }
            self.take(E1, record);
        }
    }

    fn texts(&self) -> Vec<String> {
        let events = self.drain_events(0);
        let target_events = events.iter().filter(|e| e.target.is_some());
        target_events.map(|e| e.text.clone()).collect()
    }

    fn one(&self, second: u64) -> Row {
        self.snapshot(at(second)).rows.remove(0)
    }
}

#[test]
fn a_change_is_told_once_with_its_reason_and_how_long_it_was_down() {
    let mut b = board();
    assert_eq!(b.one(1).state, State::Unknown);
    for (seq, second, ok) in [
        (11, 10, true),
        (12, 20, false),
        (13, 30, false),
        (14, 40, false),
        (15, 740, true),
        (16, 750, true),
    ] {
        b.take(E1, result(seq, second, "web", ok));
        let told = [(40, 1), (740, 1), (750, 2)].iter().rev();
        let told = told.clone().find(|(from, _)| second >= *from);
        assert_eq!(b.texts().len(), told.map_or(0, |(_, told)| *told));
    }
    assert_eq!(
        b.texts(),
        [
            "web down from attic: connect to 10.0.0.7:443: refused",
            "web up from attic after 12m"
        ]
    );
    let row = b.one(755);
    assert_eq!((row.state, row.since), (State::Up, Some(at(740))));
    assert_eq!((row.us, row.why), (Some(1_016), None));
    assert_eq!(row.loss, Some(0.5));
    assert_eq!(row.recent.len(), 6);
    assert_eq!(row.recent[1], Outcome::Failed);
    assert_eq!(row.recent[5], Outcome::Answered(1_016));
}

#[test]
fn only_a_first_sight_of_down_is_an_event() {
    for (ok, events) in [(true, 0), (false, 1)] {
        let mut b = board();
        b.play(1, if ok { "+++" } else { "xxx" });
        assert_eq!(b.texts().len(), events);
        assert_eq!(b.one(21).since, Some(at(1)));
        let mut b = board();
        b.take_now(&name("attic"), E1, 10, &[entry("web", ok, 21, 1)], at(22));
        assert_eq!(b.texts().len(), events);
        assert_eq!(b.one(22).since, Some(at(1)));
    }
}

#[test]
fn history_counts_but_never_changes_the_state() {
    let mut b = board();
    b.take(E1, result(11, 100, "web", true));
    let old = [
        (E1, result(10, 101, "web", false)),
        (E1, result(11, 102, "web", false)),
        (Epoch(0), result(99, 103, "web", false)),
        (E2, result(50, 104, "web", false)),
    ];
    for (epoch, record) in old {
        b.take(epoch, record);
    }
    let row = b.one(105);
    assert_eq!((row.state, row.us), (State::Up, Some(1_011)));
    assert_eq!((row.loss, row.recent.len()), (Some(0.8), 5));
    assert_eq!(b.texts(), [""; 0]);
}

#[test]
fn without_a_mark_history_is_shown_as_stale() {
    let mut b = Board::new();
    b.set_fleet(&[(name("attic"), vec![target("web", "10.0.0.7:443")])]);
    b.take(E1, result(1, 10, "web", true));
    b.take(E1, result(2, 20, "web", false));
    let row = b.one(21);
    assert_eq!((row.state, row.since), (State::Stale, Some(at(20))));
    assert_eq!((row.us, row.why), (Some(1_002), Some(Why::Refused)));
    assert_eq!(b.texts(), [""; 0]);
}

#[test]
fn now_moves_the_mark_and_tells_the_difference() {
    let mut b = board();
    b.take(E1, result(11, 10, "web", true));
    let web_down = [entry("web", false, 500, 300), entry("gone", false, 1, 1)];
    b.take_now(&name("attic"), E2, 40, &web_down, at(505));
    assert_eq!(
        b.texts(),
        ["web down from attic: connect to 10.0.0.7:443: refused"]
    );
    assert_eq!(b.one(505).since, Some(at(300)));
    // The backlog of both runs, then something new.
    b.take(E1, result(12, 100, "web", true));
    b.take(E2, result(40, 290, "web", true));
    assert_eq!(b.one(505).state, State::Down);
    // A `now` that was overtaken by a newer result says nothing.
    b.take(E2, result(42, 510, "web", false));
    b.take_now(
        &name("attic"),
        E2,
        41,
        &[entry("web", true, 505, 505)],
        at(511),
    );
    assert_eq!(b.texts().len(), 1);
    b.take(E2, result(43, 900, "web", true));
    b.take(E2, result(44, 910, "web", true));
    assert_eq!(b.texts()[1], "web up from attic after 10m");
}

#[test]
fn results_of_a_clock_that_stands_still_are_told_apart() {
    let mut b = board();
    let attic = name("attic");
    b.take_now(&attic, E1, 10, &[entry("web", true, 100, 100)], at(100));
    b.take_now(&attic, E2, 1, &[entry("web", false, 100, 100)], at(110));
    b.take(E2, result(2, 100, "web", false));
    assert_eq!(b.one(110).state, State::Up);
    b.take(E2, result(3, 100, "web", false));
    assert_eq!(b.one(110).state, State::Down);
}

#[test]
fn catching_up_corrects_since_when_the_state_holds() {
    let mut b = board();
    b.take(E1, result(11, 10, "web", true));
    b.take_now(
        &name("attic"),
        E1,
        90,
        &[entry("web", true, 900, 10)],
        at(901),
    );
    assert_eq!(b.one(902).since, Some(at(10)));
    // Too few to have been an outage, then enough.
    for (seq, second) in [(30, 300), (31, 310), (48, 480), (49, 490), (50, 500)] {
        let ok = seq == 31;
        b.take(E1, result(seq, second, "web", ok));
        let since = if second < 500 { 10 } else { 500 };
        assert_eq!(b.one(902).since, Some(at(since)), "{second}");
    }
    b.take(E1, result(40, 400, "web", false));
    let row = b.one(902);
    assert_eq!((row.state, row.since), (State::Up, Some(at(500))));
    assert_eq!(b.texts(), [""; 0]);
}

#[test]
fn announced_states_survive_a_restart() {
    let mut b = board();
    b.play(10, "xxx");
    let kept = b.known(&name("attic"));
    let known = Known {
        verdict: Verdict::Down,
        since: at(10),
        flapping: false,
    };
    assert_eq!(kept, [announced("web", known)]);
    // Whether it answers, since when, and what follows.
    for (ok, since, state, events) in [
        (false, 310, State::Down, vec![]),
        (true, 310, State::Down, vec![]),
        (true, 300, State::Up, vec!["web up from attic after 4m"]),
    ] {
        let mut b = Board::new();
        b.set_fleet(&[(name("attic"), vec![target("web", "10.0.0.7:443")])]);
        b.restore(&name("attic"), &kept[0], at(300));
        b.restore_told(&Verdicts {
            targets: kept.clone(),
            ..Verdicts::default()
        });
        let row = b.one(300);
        assert_eq!((row.state, row.since), (State::Stale, None));
        b.take_now(
            &name("attic"),
            E1,
            20,
            &[entry("web", ok, 310, since)],
            at(311),
        );
        assert_eq!(b.texts(), events);
        assert_eq!(b.one(312).state, state);
    }
}

#[test]
fn a_state_goes_stale_with_its_result_or_its_link() {
    // (link, asked at second, state) after an answer at second 100; interval 10 s.
    let cases = [
        (linked(0), 130, State::Up),
        (linked(0), 131, State::Stale),
        (away(95, "refused"), 125, State::Up),
        (away(95, "refused"), 126, State::Stale),
    ];
    for (link, second, state) in cases {
        let mut b = board();
        b.take(E1, result(11, 100, "web", true));
        b.set_link(&name("attic"), link.clone(), at(100));
        assert_eq!(b.one(second).state, state, "{link:?} at {second}");
    }
}

#[test]
fn a_clock_that_is_off_is_corrected() {
    for (offset, since) in [(None, 50), (Some(1_500), 50), (Some(-400_000), 450)] {
        let mut b = board();
        let link = Link {
            clock_offset_ms: offset,
            ..linked(0)
        };
        b.set_link(&name("attic"), link, at(0));
        let record = result(11, 50, "web", true);
        b.record(&name("attic"), E1, &record, at(460));
        let row = b.one(460);
        assert_eq!((row.state, row.since), (State::Up, Some(at(since))));
        assert_eq!(row.at, Some(at(50)));
    }
    // A clock ahead never puts anything into the future.
    let mut b = board();
    let record = result(11, 9_000, "web", true);
    b.record(&name("attic"), E1, &record, at(20));
    assert_eq!(b.one(21).since, Some(at(20)));
}

#[test]
fn a_fleet_change_keeps_unchanged_rows() {
    let mut b = board();
    b.take(E1, result(11, 10, "web", true));
    let mut slower = target("web", "10.0.0.7:443");
    slower.target.interval = Duration::from_secs(60);
    let fleet = [
        (name("cellar"), vec![target("db", "10.0.0.8:5432")]),
        (name("attic"), vec![slower, target("db", "10.0.0.8:5432")]),
    ];
    b.set_fleet(&fleet);
    let s = b.snapshot(at(50));
    let rows: Vec<_> = s
        .rows
        .iter()
        .map(|r| (r.target.as_str(), r.agent.as_str(), r.state))
        .collect();
    assert_eq!(
        rows,
        [
            ("db", "attic", State::Unknown),
            ("db", "cellar", State::Unknown),
            ("web", "attic", State::Up)
        ]
    );
    assert_eq!((s.up, s.down, s.total, s.connected()), (1, 0, 2, 1));
    let agents: Vec<_> = s.agents.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(agents, ["cellar", "attic"]);
    // The link and the mark stay with the agent.
    for (seq, second) in [(12, 55), (13, 65), (14, 75)] {
        b.take(E1, result(seq, second, "db", false));
    }
    assert_eq!(b.texts().len(), 1);
    // A target that moved is a new one.
    b.set_fleet(&[(name("attic"), vec![target("web", "10.0.0.9:443")])]);
    assert_eq!(b.one(50).state, State::Unknown);
    assert_eq!(b.one(50).recent, []);
}

#[test]
fn links_tell_of_changes_and_not_of_each_try() {
    let mut b = Board::new();
    b.set_fleet(&[(name("attic"), vec![])]);
    let trouble = |spool: &str, rejected: Option<&str>| Link {
        spool: spool.to_string(),
        rejected: rejected.map(str::to_string),
        ..linked(200)
    };
    for (second, link) in [
        (0, away(0, "")),
        (1, away(0, "refused")),
        (2, away(0, "timed out")),
        (20, linked(20)),
        (30, linked(20)),
        (31, away(31, "")),
        (32, away(31, "closed by the agent")),
        (200, linked(200)),
        (201, trouble("disk full", Some("targets[0].name: empty"))),
        (202, trouble("disk full", None)),
        (203, trouble("", None)),
    ] {
        b.set_link(&name("attic"), link, at(second));
    }
    b.set_link(&name("nobody"), linked(1), at(204));
    let told: Vec<_> = b.drain_events(0).iter().map(|e| e.text.clone()).collect();
    assert_eq!(
        told,
        [
            "agent attic away: refused",
            "agent attic connected after 20s",
            "agent attic away",
            "agent attic connected after 2m",
            "agent attic rejected its configuration: targets[0].name: empty",
            "agent attic cannot store results: disk full",
            "agent attic takes its configuration again",
            "agent attic stores results again",
        ]
    );
}

#[test]
fn events_are_numbered_bounded_and_drained_once() {
    let mut b = board();
    for seq in 11..11 + EVENTS_MAX as u64 + 50 {
        b.take(E1, result(seq, seq, "web", true));
        b.note(format!("note {seq}"), at(seq));
    }
    let events = b.drain_events(0);
    assert_eq!(events.len(), EVENTS_MAX);
    let last = events[EVENTS_MAX - 1].no;
    assert_eq!(events[0].no, last + 1 - EVENTS_MAX as u64);
    assert_eq!(b.drain_events(last - 2).len(), 2);
    assert!(b.drain_events(last).is_empty());
    assert_eq!(b.one(9_999).recent.len(), RECENT_MAX);
}

#[test]
fn rows_are_listed_worst_first_and_in_pages() {
    let mut b = Board::new();
    let targets = ["a", "b", "c", "d", "e"].map(|n| target(n, "10.0.0.7:443"));
    b.set_fleet(&[(name("attic"), targets.to_vec())]);
    b.set_link(&name("attic"), linked(0), at(0));
    let told = Known {
        verdict: Verdict::Up,
        since: at(1),
        flapping: false,
    };
    b.restore(&name("attic"), &announced("b", told), at(1));
    b.now_begin(&name("attic"), E1, 0);
    let results = "adedede".chars().map(String::from);
    for (seq, target) in (1..).zip(results) {
        b.take(E1, result(seq, 5, &target, target == "a"));
    }
    let names = |s: &Snapshot| -> String { s.rows.iter().map(|r| r.target.as_str()).collect() };
    assert_eq!(names(&b.snapshot(at(6))), "debca");
    let page = b.snapshot_page(at(6), 1, 2);
    assert_eq!(
        (names(&page).as_str(), page.first, page.row_total),
        ("eb", 1, 5)
    );
    assert_eq!(b.snapshot_page(at(6), 9, 2).rows, []);
}

#[test]
fn a_target_s_row_speaks_for_those_who_agree() {
    let mut b = Board::new();
    let web = || vec![target("web", "10.0.0.7:443")];
    let agents = ["a", "b", "c"].map(name);
    b.set_fleet(&agents.clone().map(|a| (a, web())));
    for (agent, ok, second) in [(0, false, 10), (1, false, 12), (2, true, 15)] {
        let entries = [entry("web", ok, second + 30, second)];
        b.take_now(&agents[agent], E1, 1, &entries, at(second + 30));
    }
    let snapshot = b.snapshot(at(46));
    let targets = snapshot.targets();
    assert_eq!(targets.len(), 1);
    let t = &targets[0];
    assert_eq!((t.state, t.since), (State::Down, Some(at(12))));
    assert_eq!(
        (t.why, t.text, t.agents.len()),
        (Some(Why::Refused), REFUSED, 3)
    );
}

#[test]
fn what_may_change_a_state_is_shown_with_it() {
    let progress = |have, need| Some(Progress { have, need });
    let mut b = board();
    for (second, results, state, undecided) in [
        (10, "x", State::Unknown, progress(1, 3)),
        (20, "+", State::Up, None),
        (30, "xx", State::Up, progress(2, 3)),
        (50, "x", State::Down, None),
        (60, "+", State::Down, progress(1, 2)),
        (70, "+", State::Up, None),
        (80, "~", State::Up, progress(1, 2)),
        (90, "~", State::Slow, None),
    ] {
        b.play(second, results);
        let row = b.one(second + 15);
        assert_eq!((row.state, row.undecided), (state, undecided), "{second}");
    }
    b.play(100, "x");
    assert_eq!(b.one(131).state, State::Stale);
    assert_eq!(b.one(131).undecided, None);
}

#[test]
fn slow_is_told_with_how_long_it_took() {
    let mut b = board();
    b.play(10, "+~~~++xxx~~");
    assert_eq!(
        b.texts(),
        [
            "web slow from attic: 312ms, over 200ms",
            "web up from attic after 30s slow",
            "web down from attic: connect to 10.0.0.7:443: refused",
            "web slow from attic: 312ms, over 200ms, after 30s down",
        ]
    );
    let s = b.snapshot(at(120));
    assert_eq!((s.up, s.slow, s.down, s.total), (0, 1, 0, 1));
}

#[test]
fn a_flapping_target_is_told_once() {
    let mut b = board();
    b.play(10, "+x+x+x+x+x+x+x+x");
    let flapping = "web flapping from attic: 34% of its latest results were changes";
    assert_eq!(b.texts(), [flapping]);
    let row = b.one(170);
    assert_eq!((row.state, row.flapping), (State::Up, true));
    b.play(170, "xx");
    // It is down by now, and not a word.
    let row = b.one(190);
    assert_eq!((row.state, row.flapping), (State::Down, true));
    assert!(!b.one(9_999).flapping);
    assert_eq!(b.texts().len(), 1);
    b.play(190, "xxxxxxxxxxxxx");
    assert_eq!(
        b.texts()[1..],
        [
            "web steady again from attic",
            "web down from attic: connect to 10.0.0.7:443: refused"
        ]
    );
    let row = b.one(320);
    assert_eq!((row.state, row.since), (State::Down, Some(at(160))));
}

#[test]
fn a_flapping_row_is_listed_with_the_slow_ones() {
    let mut b = Board::new();
    let targets = ["a", "web"].map(|n| target(n, "10.0.0.7:443"));
    b.set_fleet(&[(name("attic"), targets.to_vec())]);
    b.now_begin(&name("attic"), E1, 0);
    b.take(E1, result(1, 1, "a", true));
    b.play(10, "+x+x+x+x+x+");
    let rows = b.snapshot(at(111)).rows;
    assert_eq!((rows[0].target.as_str(), rows[0].flapping), ("web", true));
}

#[test]
fn a_now_message_counts_what_is_new_in_it() {
    // What was live at which second (results every ten), then the entry's last probe and
    // since when it is so; the failures counted.
    for (live, last, since, failures) in [
        ("+", 20, 20, 1),
        ("+", 30, 20, 2),
        ("+", 34, 20, 2),
        ("+", 36, 20, 3),
        ("+", 40, 20, 3),
        // The same result again, a later one of the same run, and one a run later.
        ("+x", 20, 20, 1),
        ("+x", 24, 20, 2),
        ("+x", 30, 20, 2),
        ("+x", 41, 20, 3),
        ("+x", 60, 60, 2),
        ("+xx", 40, 20, 3),
    ] {
        let mut b = board();
        b.play(10, live);
        let seq = 11 + last / 10;
        let entries = [entry("web", false, last, since)];
        b.take_now(&name("attic"), E1, seq, &entries, at(last + 1));
        let row = b.one(last + 1);
        let have = row.undecided.map_or(3, |p| p.have);
        assert_eq!(have, failures, "{live} {last} {since}");
        assert_eq!(row.state == State::Down, failures == 3);
        assert_eq!(b.texts().len(), usize::from(failures == 3));
    }
}

#[test]
fn one_slow_answer_told_after_a_while_is_one() {
    let mut b = board();
    b.play(10, "+++");
    let mut slow = entry("web", true, 90, 10);
    slow.us = 312_000;
    b.take_now(&name("attic"), E1, 20, &[slow], at(91));
    let row = b.one(91);
    assert_eq!(row.state, State::Up);
    assert_eq!(row.undecided, Some(Progress { have: 1, need: 2 }));
    assert_eq!(b.texts(), [""; 0]);
}

#[test]
fn a_result_that_was_only_replayed_is_still_new() {
    let mut b = Board::new();
    b.set_fleet(&[(name("attic"), vec![target("web", "10.0.0.7:443")])]);
    let told = Known {
        verdict: Verdict::Up,
        since: at(0),
        flapping: false,
    };
    b.restore(&name("attic"), &announced("web", told), at(1));
    b.play(10, "+xxx");
    assert_eq!(b.texts(), [""; 0]);
    let entries = [entry("web", false, 40, 20)];
    b.take_now(&name("attic"), E1, 15, &entries, at(41));
    assert_eq!(b.one(41).state, State::Down);
    assert_eq!(b.texts().len(), 1);
}

#[test]
fn only_what_was_put_back_is_confirmed() {
    let mut b = Board::new();
    let targets = ["known", "web"].map(|n| target(n, "10.0.0.7:443"));
    b.set_fleet(&[(name("attic"), targets.to_vec())]);
    let told = Known {
        verdict: Verdict::Slow,
        since: at(0),
        flapping: false,
    };
    b.restore(&name("attic"), &announced("known", told), at(1));
    b.play(10, "+");
    b.confirm(&name("attic"), at(20));
    b.confirm(&name("nobody"), at(20));
    let rows = b.snapshot(at(21)).rows;
    let states: Vec<_> = rows.iter().map(|r| (r.target.as_str(), r.state)).collect();
    assert_eq!(states, [("known", State::Slow), ("web", State::Stale)]);
}

#[test]
fn replayed_failures_never_decide() {
    let mut b = board();
    b.play(10, "+");
    b.take_now(
        &name("attic"),
        E1,
        90,
        &[entry("web", true, 900, 10)],
        at(901),
    );
    b.play(20, "xxxxxxxxxxxxxxxxxxxx");
    assert_eq!(b.one(902).state, State::Up);
    assert_eq!(b.one(902).undecided, None);
    b.take(E1, result(91, 910, "web", false));
    assert_eq!(b.one(911).undecided, Some(Progress { have: 1, need: 3 }));
    assert_eq!(b.texts(), [""; 0]);
}
