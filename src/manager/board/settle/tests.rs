//! Scripts: what each agent sees at which second, and what is told of it.

use super::*;
use crate::manager::board::{Link, Row};
use crate::manager::quiet::Cause;
use crate::model::{DownWhen, Epoch, Failure, Rules, Sample, Target, Terms, Watched, Why};
use crate::record::{Body, Record};

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn at(second: u64) -> Wall {
    Wall(1_000_000_000 + second * 1000)
}

/// Probed every 10 s; down after 3 failures, up after 2 answers.
pub fn watched(target: &str, down_when: DownWhen) -> Watched {
    Watched {
        target: Target::new(
            name(target),
            "10.0.0.7:443".parse().unwrap(),
            Terms {
                retries: 1,
                ..Terms::every(Duration::from_secs(10), Duration::from_secs(3))
            },
        ),
        rules: Rules {
            down_when,
            ..Rules::default()
        },
    }
}

/// A board and the numbers of the records that come in.
pub struct Play {
    pub board: Board,
    pub seq: u64,
    pub quiet: Option<Cause>,
}

impl Play {
    /// Every agent sees every target; all connected since second 0.
    pub fn new(agents: &[&str], targets: &[&str], down_when: DownWhen) -> Play {
        let mut board = Board::new();
        let rows = || targets.iter().map(|t| watched(t, down_when)).collect();
        let fleet: Vec<_> = agents.iter().map(|a| (name(a), rows())).collect();
        board.set_fleet(&fleet);
        let mut play = Play {
            board,
            seq: 0,
            quiet: None,
        };
        for agent in agents {
            play.link(agent, 0, true);
            play.board.now_begin(&name(agent), Epoch(1), 0);
        }
        play
    }

    pub fn depends(mut self, target: &str, parents: &[&str]) -> Play {
        let parents: Vec<Name> = parents.iter().map(|p| name(p)).collect();
        self.board.set_parents(&name(target), &parents);
        self.board.set_order();
        self
    }

    pub fn anchored(mut self, agent: &str, anchors: &[&str]) -> Play {
        let anchors = anchors.iter().map(|a| name(a)).collect();
        self.board.set_anchors(&name(agent), anchors);
        self
    }

    pub fn link(&mut self, agent: &str, second: u64, connected: bool) {
        let link = Link {
            connected,
            since: at(second),
            text: if connected { "" } else { "closed" }.to_string(),
            ..Link::default()
        };
        self.board.set_link(&name(agent), link, at(second));
    }

    /// A result of one agent, and what is settled then.
    pub fn one(&mut self, second: u64, agent: &str, target: &str, ok: bool) {
        self.failing(second, agent, target, (!ok).then_some("connect: timed out"));
    }

    fn failing(&mut self, second: u64, agent: &str, target: &str, text: Option<&str>) {
        self.seq += 1;
        let mut record = record(self.seq, second, target, text.is_none());
        if let (Body::Result(sample), Some(text)) = (&mut record.body, text) {
            sample.failure.as_mut().unwrap().text = text.to_string();
        }
        self.board
            .record(&name(agent), Epoch(1), &record, at(second));
        self.settle(second);
    }

    /// A letter for each target, in the order of their names, every ten seconds: `+`
    /// answers, `x` fails, `.` is not probed.
    pub fn rows(&mut self, from: u64, agent: &str, rows: &str) {
        let targets = self.board.targets.clone();
        for (i, letters) in (0..).zip(rows.split(' ')) {
            for (target, letter) in targets.iter().zip(letters.chars()) {
                if letter != '.' {
                    self.one(from + 10 * i, agent, target.as_str(), letter == '+');
                }
            }
        }
    }

    /// An agent is back: it tells how things are at `second`, then, letters as for `rows`
    /// from second 0 on, of the time before; and then of no more.
    pub fn catch_up(&mut self, agent: &str, second: u64, rows: &str) {
        let targets = self.board.targets.clone();
        self.seq += 900;
        self.board.now_begin(&name(agent), Epoch(1), self.seq);
        for target in &targets {
            self.one(second, agent, target.as_str(), true);
        }
        for (i, letters) in (0..).zip(rows.split(' ')) {
            for (seq, (target, letter)) in (1..).zip(targets.iter().zip(letters.chars())) {
                let record = record(10 * i + seq, 10 * i, target.as_str(), letter == '+');
                let now = at(second + 1);
                self.board.record(&name(agent), Epoch(1), &record, now);
            }
        }
        self.settle(second + 1);
        self.settle(second + 6);
    }

    fn settle(&mut self, second: u64) {
        let quiet = self.quiet;
        self.board.settle(at(second), |_, _| quiet);
    }

    /// What was told of targets and uplinks since this was asked last.
    pub fn told(&mut self) -> Vec<String> {
        let links = [EventKind::Connected, EventKind::Away];
        let events = self.board.drain_events(0);
        self.board.events.clear();
        let events = events.iter().filter(|e| !links.contains(&e.kind));
        events.map(|e| e.text.clone()).collect()
    }

    fn row(&self, second: u64, agent: &str, target: &str) -> Row {
        let rows = self.board.snapshot(at(second)).rows;
        let found = rows
            .into_iter()
            .find(|r| r.agent == name(agent) && r.target == name(target));
        found.unwrap()
    }

    fn verdict(&self, second: u64, target: &str) -> State {
        let snapshot = self.board.snapshot(at(second));
        let targets = snapshot.targets();
        targets
            .iter()
            .find(|t| *t.name == name(target))
            .unwrap()
            .state
    }
}

pub fn record(seq: u64, second: u64, target: &str, ok: bool) -> Record {
    let failure = Failure {
        why: Why::Timeout,
        text: "connect: timed out".to_string(),
    };
    Record {
        seq,
        at: at(second),
        body: Body::Result(Sample {
            target: name(target),
            at: at(second),
            us: 1_000,
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

pub const MAJORITY: DownWhen = DownWhen::Majority;

#[test]
fn a_target_is_told_by_the_verdict_over_its_agents() {
    for (down_when, a, b, c, told) in [
        (MAJORITY, "x x x", "+ + +", "+ + +", vec![]),
        (
            MAJORITY,
            "x x x",
            "x x x",
            "+ + +",
            vec!["web down from a, b (2 of 3): connect: timed out"],
        ),
        (DownWhen::All, "x x x", "x x x", "+ + +", vec![]),
        (
            DownWhen::All,
            "x x x",
            "x x x",
            "x x x",
            vec!["web down from all 3 agents: connect: timed out"],
        ),
        (
            DownWhen::Any,
            "+ + +",
            "x x x",
            "+ + +",
            vec!["web down from b (1 of 3): connect: timed out"],
        ),
        (
            DownWhen::AtLeast(2),
            "+ + +",
            "x x x",
            "x x x",
            vec!["web down from b, c (2 of 3): connect: timed out"],
        ),
    ] {
        let mut play = Play::new(&["a", "b", "c"], &["web"], down_when);
        for agent in ["a", "b", "c"] {
            play.rows(1, agent, "+");
        }
        for (agent, rows) in [("c", c), ("b", b), ("a", a)] {
            for (i, letter) in (1..).zip(rows.split(' ')) {
                play.one(10 * i, agent, "web", letter == "+");
            }
        }
        assert_eq!(play.told(), told, "{down_when:?} {a} {b} {c}");
    }
}

#[test]
fn the_cause_is_the_latest_that_was_seen() {
    let mut play = Play::new(&["a", "b"], &["web"], DownWhen::All);
    play.rows(1, "a", "+");
    play.rows(1, "b", "+");
    for second in [10, 20, 30] {
        play.failing(second, "b", "web", Some("early"));
        play.failing(second + 1, "a", "web", Some("late"));
    }
    assert_eq!(play.told(), ["web down from all 2 agents: late"]);
}

#[test]
fn an_outage_ends_when_the_verdict_does() {
    let mut play = Play::new(&["a", "b", "c"], &["web"], MAJORITY);
    for (agent, rows) in [("c", "+ + + +"), ("a", "+ x x x"), ("b", "+ x x x")] {
        play.rows(10, agent, rows);
    }
    assert_eq!(
        play.told(),
        ["web down from a, b (2 of 3): connect: timed out"]
    );
    assert_eq!(play.verdict(41, "web"), State::Down);
    play.rows(50, "a", "+");
    assert_eq!(play.told(), [""; 0]);
    play.rows(60, "a", "+");
    assert_eq!(play.told(), ["web up from a, c (2 of 3) after 30s"]);
    // The third one says nothing new.
    play.rows(70, "b", "+ +");
    assert_eq!(play.told(), [""; 0]);
}

#[test]
fn who_can_t_tell_has_no_say() {
    let mut play = Play::new(&["a", "b"], &["web"], MAJORITY);
    play.rows(10, "a", "+");
    play.rows(10, "b", "+");
    play.link("b", 20, false);
    play.rows(30, "a", "x x");
    // One against one, while the other may still be right.
    assert_eq!(play.verdict(45, "web"), State::Up);
    play.rows(50, "a", "x");
    assert_eq!(
        play.told(),
        ["web down from a (1 of 2): connect: timed out"]
    );
    // Stale is no news.
    play.settle(500);
    assert_eq!(play.told(), [""; 0]);
    assert_eq!(play.verdict(500, "web"), State::Stale);
}

#[test]
fn an_outage_is_held_back_until_every_agent_was_heard() {
    let down = ["web down from a (1 of 2): connect: timed out"];
    // When the last failure comes after the start, and whether b is known to be away.
    for (last, away, at_once) in [(14, false, false), (15, false, true), (14, true, true)] {
        let mut play = Play::new(&["a", "b"], &["web"], MAJORITY);
        if away {
            play.link("b", 0, false);
        }
        for second in [0, 5, last] {
            play.one(second, "a", "web", false);
        }
        assert_eq!(play.told().is_empty(), !at_once, "{last} {away}");
        if !at_once {
            assert_eq!(play.verdict(last, "web"), State::Down);
            play.settle(15);
            assert_eq!(play.told(), down);
        }
    }
    // Whoever is heard in time has a say.
    let mut play = Play::new(&["a", "b"], &["web"], MAJORITY);
    play.rows(0, "a", "x x");
    play.one(12, "a", "web", false);
    play.one(14, "b", "web", true);
    play.settle(90);
    assert_eq!(play.told(), [""; 0]);
}

#[test]
fn failures_of_an_agent_that_is_cut_off_say_nothing() {
    // Targets in the order of their names: db, gateway.
    let mut play =
        Play::new(&["a", "b"], &["db", "gateway"], DownWhen::Any).anchored("a", &["gateway"]);
    play.rows(10, "a", "++");
    play.rows(10, "b", "++");
    play.rows(20, "a", "xx xx xx");
    play.rows(40, "b", "++");
    let told = play.told();
    // The anchor itself is a target as others are: seen from here alone, it says nothing either.
    assert_eq!(told, ["agent a lost its uplink: gateway down"]);
    assert_eq!(play.row(41, "a", "db").state, State::Unknown);
    assert_eq!(play.verdict(41, "db"), State::Up);
    let agents = play.board.snapshot(at(41)).agents;
    assert_eq!(agents[0].cut_off, Some(at(40)));
    // What others see is told.
    play.rows(50, "b", "x. x. x.");
    assert_eq!(play.told(), ["db down from b (1 of 2): connect: timed out"]);
    // The anchor answers; what failed while cut off has to fail as often again.
    play.rows(80, "b", "+. +.");
    play.told();
    play.rows(80, "a", "x+ x+");
    assert_eq!(play.told(), ["agent a has its uplink again after 50s"]);
    play.rows(100, "a", "x+ x+");
    assert_eq!(play.told(), [""; 0]);
    play.rows(120, "a", "x+");
    assert_eq!(play.told(), ["db down from a (1 of 2): connect: timed out"]);
}

#[test]
fn an_agent_is_cut_off_only_when_all_its_anchors_are_down() {
    // db, dns, gateway.
    let mut play =
        Play::new(&["a"], &["db", "dns", "gateway"], MAJORITY).anchored("a", &["gateway", "dns"]);
    play.rows(10, "a", "+++ xx+ xx+ xx+");
    assert_eq!(
        play.told(),
        [
            "db down from a: connect: timed out",
            "dns down from a: connect: timed out"
        ]
    );
    play.rows(50, "a", "xxx xxx xxx");
    assert_eq!(play.told(), ["agent a lost its uplink: gateway, dns down"]);
    // It stays cut off while nothing is known.
    play.settle(900);
    assert_eq!(play.told(), [""; 0]);
    play.rows(900, "a", "xx+ xx+");
    let told = play.told();
    assert_eq!(told, ["agent a has its uplink again after 14m"]);
}

#[test]
fn an_uplink_that_comes_and_goes_makes_nothing_flap() {
    let mut play = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
    let cycle = "++ ++ xx xx xx ";
    play.rows(10, "a", cycle.repeat(5).trim_end());
    let told = play.told();
    assert!(told.iter().all(|text| !text.contains("db ")), "{told:?}");
    assert!(!play.row(251, "a", "db").flapping);
    // Without an anchor it does.
    let mut play = Play::new(&["a"], &["db"], MAJORITY);
    play.rows(10, "a", "+ + x x x ".repeat(5).trim_end());
    assert!(play.row(251, "a", "db").flapping);
}

#[test]
fn an_outage_waits_for_an_anchor_that_may_be_down_too() {
    // The seconds at which the anchor is seen, and with what; when the outage is told.
    for (anchor, told_at) in [
        // It answered after the outage began.
        (vec![(10, true), (21, true)], Some(40)),
        (vec![(15, true), (45, true)], Some(45)),
        // It failed once, and answers again.
        (vec![(10, true), (21, false), (50, true)], Some(50)),
        // It fails as well, until it is down.
        (
            vec![(10, true), (21, false), (31, false), (41, false)],
            None,
        ),
        // Nobody knows of it: three intervals, then it has no say.
        (vec![(10, true)], Some(41)),
        (vec![], Some(40)),
    ] {
        let mut play = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
        let mut told = None;
        for second in 10..100 {
            for (_, ok) in anchor.iter().filter(|(at, _)| *at == second) {
                play.one(second, "a", "gateway", *ok);
            }
            if second % 10 == 0 {
                play.one(second, "a", "db", second == 10);
            }
            play.settle(second);
            let texts = play.told();
            if texts.iter().any(|text| text.starts_with("db down")) {
                told.get_or_insert(second);
            }
        }
        assert_eq!(told, told_at, "{anchor:?}");
    }
}

#[test]
fn an_outage_is_not_held_back_for_ever() {
    let mut play = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
    // An anchor that fails, and takes long to be down.
    play.board.cells[1].rules.down_after = "60".parse().unwrap();
    play.rows(10, "a", "++");
    let mut told = Vec::new();
    for second in (20..130).step_by(10) {
        play.one(second, "a", "db", false);
        play.one(second, "a", "gateway", false);
        told.extend(play.told().into_iter().map(|text| (second, text)));
    }
    assert_eq!(
        told,
        [(100, "db down from a: connect: timed out".to_string())]
    );
}

#[test]
fn what_lies_behind_something_down_is_unreachable_and_silent() {
    // db, router.
    let mut play = Play::new(&["a"], &["db", "router"], MAJORITY).depends("db", &["router"]);
    play.rows(10, "a", "++ xx xx xx");
    assert_eq!(play.told(), ["router down from a: connect: timed out"]);
    assert_eq!(play.verdict(41, "db"), State::Unreachable);
    assert_eq!(play.row(41, "a", "db").state, State::Unreachable);
    assert_eq!(play.board.snapshot(at(41)).down, 1);
    // Both come back.
    play.rows(50, "a", "x+ ++ ++");
    assert_eq!(play.told(), ["router up from a after 30s"]);
    assert_eq!(play.verdict(71, "db"), State::Up);
    // What stays down is told after as many failures as any outage takes.
    play.rows(80, "a", "xx xx xx x+ x+ x+");
    let told = play.told();
    assert_eq!(
        told,
        [
            "router down from a: connect: timed out",
            "router up from a after 30s"
        ]
    );
    play.rows(140, "a", "x+");
    assert_eq!(play.told(), [""; 0]);
    play.rows(150, "a", "x+");
    assert_eq!(play.told(), ["db down from a: connect: timed out"]);
    assert_eq!(play.row(151, "a", "db").since, Some(at(80)));
    // Once it was up again, the next outage takes no more than any.
    play.rows(160, "a", "++ ++ x+ xx xx xx x+ x+ ++ ++ ++");
    play.told();
    play.rows(300, "a", "x+ x+ x+");
    assert_eq!(play.told(), ["db down from a: connect: timed out"]);
}

#[test]
fn a_chain_of_parents_tells_of_the_first_alone() {
    // a.db, b.switch, c.router: the names' order is not the order of dependence.
    let mut play = Play::new(&["a"], &["a.db", "b.switch", "c.router"], MAJORITY)
        .depends("a.db", &["b.switch"])
        .depends("b.switch", &["c.router"]);
    play.rows(10, "a", "+++ xxx xxx xxx xxx");
    assert_eq!(play.told(), ["c.router down from a: connect: timed out"]);
    for target in ["a.db", "b.switch"] {
        assert_eq!(play.verdict(51, target), State::Unreachable);
    }
}

#[test]
fn a_child_whose_outage_is_decided_first_waits_for_its_parent() {
    // The child fails from 20 on; the parent is seen at 25, 35, 45.
    for (parent, told) in [
        ("x x x", vec!["router down from a: connect: timed out"]),
        ("+ + +", vec!["db down from a: connect: timed out"]),
        ("x + +", vec!["db down from a: connect: timed out"]),
    ] {
        let mut play = Play::new(&["a"], &["db", "router"], MAJORITY).depends("db", &["router"]);
        play.one(10, "a", "db", true);
        play.one(15, "a", "router", true);
        for (i, letter) in (0..).zip(parent.split(' ')) {
            play.one(20 + 10 * i, "a", "db", false);
            play.one(25 + 10 * i, "a", "router", letter == "+");
        }
        assert_eq!(play.told(), told, "{parent}");
    }
}

#[test]
fn a_parent_that_an_agent_does_not_probe_counts_by_its_verdict() {
    let mut board = Board::new();
    let fleet = [
        (name("a"), vec![watched("db", MAJORITY)]),
        (name("b"), vec![watched("router", MAJORITY)]),
    ];
    board.set_fleet(&fleet);
    let mut play = Play {
        board,
        seq: 0,
        quiet: None,
    }
    .depends("db", &["router"]);
    for agent in ["a", "b"] {
        play.link(agent, 0, true);
        play.board.now_begin(&name(agent), Epoch(1), 0);
    }
    for second in [10, 20, 30, 40] {
        play.one(second, "a", "db", second == 10);
        play.one(second + 1, "b", "router", second == 10);
    }
    assert_eq!(play.told(), ["router down from b: connect: timed out"]);
    assert_eq!(play.verdict(42, "db"), State::Unreachable);
}

#[test]
fn what_is_quiet_is_told_as_that() {
    let mut play = Play::new(&["a"], &["web"], MAJORITY);
    play.rows(10, "a", "+");
    for (quiet, word) in [
        (Cause::Maintenance, "maintenance"),
        (Cause::Silence, "silence"),
    ] {
        play.quiet = Some(quiet);
        play.rows(20, "a", "x x x + +");
        let told = play.told();
        assert_eq!(
            told[0],
            format!("web down from a: connect: timed out ({word})")
        );
        assert_eq!(play.row(61, "a", "web").quiet, Some(quiet));
    }
}

#[test]
fn an_outage_known_only_afterwards_is_told_late_and_once() {
    let late = "web was down from a 13:46:50\u{2013}13:47:20 UTC (30s), which is known only now";
    // Who else sees it: since when connected; whether it was told already; whether it was quiet.
    for (other, told_down, quiet, expected) in [
        (None, false, None, vec![late]),
        (Some(40), false, None, vec![late]),
        (Some(0), false, None, vec![]),
        (None, true, None, vec![]),
        (None, false, Some(Cause::Silence), vec![]),
    ] {
        let agents: &[&str] = if other.is_some() { &["a", "b"] } else { &["a"] };
        let mut play = Play::new(agents, &["web"], MAJORITY);
        if let Some(second) = other {
            play.link("b", second, true);
            play.rows(second, "b", "+");
        }
        play.rows(5, "a", if told_down { "x x x + +" } else { "+" });
        play.told();
        play.quiet = quiet;
        // It is back, and tells how things are now; then of the time between.
        play.board.now_begin(&name("a"), Epoch(1), 900);
        play.seq = 900;
        play.one(300, "a", "web", true);
        for (i, ok) in [true, false, false, false, true, true, true]
            .into_iter()
            .enumerate()
        {
            let record = record(100 + i as u64, i as u64 * 10, "web", ok);
            play.board.record(&name("a"), Epoch(1), &record, at(301));
        }
        // Not while it may tell of more.
        play.settle(305);
        assert_eq!(play.told(), [""; 0]);
        play.settle(306);
        assert_eq!(play.told(), expected, "{other:?} {told_down} {quiet:?}");
        if !expected.is_empty() {
            let since = play.board.snapshot(at(306)).targets()[0].since;
            assert_eq!(since, Some(at(40)));
        }
    }
}

#[test]
fn a_fleet_change_keeps_what_was_told() {
    let mut play = Play::new(&["a"], &["db", "web"], MAJORITY);
    play.rows(10, "a", "++ x+ x+ x+");
    assert_eq!(play.told().len(), 1);
    let fleet = [(
        name("a"),
        vec![watched("app", MAJORITY), watched("db", MAJORITY)],
    )];
    play.board.set_fleet(&fleet);
    play.settle(45);
    assert_eq!(play.told(), [""; 0]);
    play.one(50, "a", "db", true);
    play.one(60, "a", "db", true);
    assert_eq!(play.told(), ["db up from a after 30s"]);
    // One that moved is a new one.
    let mut moved = watched("db", MAJORITY);
    moved.target.address = "10.0.0.8:443".parse().unwrap();
    play.board.set_fleet(&[(name("a"), vec![moved])]);
    assert!(play.board.told().targets.is_empty());
}

#[test]
fn a_way_may_be_as_long_as_there_are_targets() {
    let names: Vec<String> = (0..50_000).map(|n| format!("t{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut play = Play::new(&["attic"], &names, DownWhen::Any);
    for pair in names.windows(2) {
        play.board.set_parents(&name(pair[0]), &[name(pair[1])]);
    }
    play.board.set_order();
    assert!(play.board.order.iter().copied().eq((0..names.len()).rev()));
}
