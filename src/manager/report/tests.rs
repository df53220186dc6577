//! Reports over histories whose truth is known.

mod clocks;
mod excused;
mod live;
mod rows;

use std::time::Duration;

use super::*;
use crate::config::{FleetTarget, KeyRule, parse_fleet};
use crate::journal::{Depth, Index, thin};
use crate::manager::replay::tests::made::{
    self, NOW, ONE_SEGMENT, Writing, ago, began, called, ended, epoch, result, save, start,
};
use crate::manager::state::SessionClock;
use crate::model::{DownWhen, Epoch, Id, Want};
use crate::quiet::{Maintenance, Span, When};

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
    let (_, _, numbers) = agents.iter().find(|(a, ..)| a.as_str() == agent).unwrap();
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
        let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
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
    let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
    assert_eq!(of(&report, "web", "attic"), (1, 1, 900, 900, 1_000));
}

#[test]
fn without_a_fleet_all_that_is_seen_is_listed() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    h.put(ago(500 * S), began("other", TEN));
    probe(&mut h, 600, 0, true);
    let report = run(data.path(), None, SINCE, NOW, &[]).unwrap();
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
    let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
    assert_eq!(of(&report, "db", "cellar"), (2, 2, 20, 20, 30));
    h.put(ago(470 * S), result("db", ago(470 * S), false));
    h.put(ago(460 * S), result("db", ago(460 * S), false));
    h.put(ago(450 * S), result("db", ago(450 * S), false));
    let later = run(data.path(), Some(&fleet()), SINCE, ago(400 * S), &[]).unwrap();
    let db = &later.targets[1].all.outages;
    assert_eq!((db.count, db.longest_ms, db.ended), (1, 30 * S, 0));
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
    let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
    assert_eq!(of(&report, "web", "attic"), (79, 79, 790, 790, 1_000));
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
    probe(&mut cellar, 500, 300, true);
    probe(&mut cellar, 300, 260, false);
    probe(&mut cellar, 260, 0, true);
    let mut fleet = fleet();
    fleet.targets[0].settings.down_when = Some(DownWhen::Any);
    fleet.targets[0].group = Some(made::name("shop"));
    fleet.targets[0].tags = vec![made::name("public"), made::name("https")];
    fleet.targets[1].group = Some(made::name("shop"));
    run(data, Some(&fleet), SINCE, NOW, &[]).unwrap()
}

#[test]
fn a_report_reads_well() {
    let data = tempfile::tempdir().unwrap();
    let report = scene(data.path());
    made::golden("report.txt", &report.text());
    made::golden("report.json", &report.json());
    made::golden("report.csv", &report.csv());
    let empty = run(data.path(), Some(&Fleet::default()), SINCE, NOW, &[]).unwrap();
    made::golden("report-empty.txt", &empty.text());
}

/// Count, longest, ended, and seconds of those.
type Down = (u64, u64, u64, u64);

fn down(numbers: &Numbers) -> Down {
    let o = numbers.outages;
    (o.count, o.longest_ms / S, o.ended, o.ended_ms / S)
}

/// Two agents probe `web` for the whole window and before: each with the times, in
/// seconds before now, in which it fails.
fn failing(data: &Path, attic: &[(u64, u64)], cellar: &[(u64, u64)]) {
    for (id, agent, times) in [(7, "attic", attic), (8, "cellar", cellar)] {
        let mut h = history(data, id, agent);
        let mut left = 1_100;
        for (from, to) in times {
            probe(&mut h, left, *from, true);
            probe(&mut h, *from, *to, false);
            left = *to;
        }
        probe(&mut h, left, 0, true);
    }
}

#[test]
fn outages_are_those_of_the_verdict() {
    use DownWhen::{All, Any, AtLeast, Majority};
    for (what, attic, cellar, rule, expected) in [
        ("none", &[][..], &[][..], Any, (0, 0, 0, 0)),
        ("one failure fewer", &[(500, 480)], &[], Any, (0, 0, 0, 0)),
        (
            "as many as it takes",
            &[(500, 470)],
            &[],
            Any,
            (1, 30, 1, 30),
        ),
        ("not seen by all", &[(500, 400)], &[], All, (0, 0, 0, 0)),
        ("a tie", &[(500, 400)], &[], Majority, (0, 0, 0, 0)),
        (
            "by both in part",
            &[(500, 400)],
            &[(450, 350)],
            Majority,
            (1, 50, 1, 50),
        ),
        (
            "by either",
            &[(500, 400)],
            &[(450, 350)],
            Any,
            (1, 150, 1, 150),
        ),
        (
            "by two",
            &[(500, 400)],
            &[(450, 350)],
            AtLeast(2),
            (1, 50, 1, 50),
        ),
        (
            "twice",
            &[(500, 400), (200, 170)],
            &[],
            Any,
            (2, 100, 2, 130),
        ),
        (
            "from before the window",
            &[(1_050, 900)],
            &[],
            Any,
            (1, 100, 1, 100),
        ),
        // Its third failure is the last thing before the window.
        (
            "decided before it",
            &[(1_030, 990)],
            &[],
            Any,
            (1, 10, 1, 10),
        ),
        (
            "still under way",
            &[(500, 400), (60, 0)],
            &[],
            Any,
            (2, 100, 1, 100),
        ),
        ("not decided yet", &[(20, 0)], &[], Any, (0, 0, 0, 0)),
    ] {
        let data = tempfile::tempdir().unwrap();
        failing(data.path(), attic, cellar);
        let mut fleet = fleet();
        fleet.targets[0].settings.down_when = Some(rule);
        let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
        assert_eq!(down(&report.targets[0].all), expected, "{what}");
    }
}

#[test]
fn an_outage_is_known_from_the_results_just_before_the_window() {
    let data = tempfile::tempdir().unwrap();
    called(data.path(), Id(7), "attic");
    let mut h = epoch(data.path(), Id(7), 1, E, 1);
    // Files as old as what is in them; the slack for that is a minute.
    for left in [1_200, 1_100, 1_000, 900, 800] {
        h.put(ago(left * S), result("web", ago(left * S), left <= 900));
        let newest = made::files(&h.dir).pop().unwrap();
        made::written(&newest, ago(left * S));
    }
    let mut fleet = fleet();
    fleet.targets[0].settings.interval = Some(Duration::from_secs(100));
    let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
    assert_eq!(down(&report.targets[0].all), (1, 100, 1, 100));
}

#[test]
fn each_agent_has_the_outages_that_it_saw() {
    let data = tempfile::tempdir().unwrap();
    failing(data.path(), &[(500, 400)], &[(450, 350), (100, 50)]);
    let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
    let web = &report.targets[0];
    let agents = [0, 1].map(|i| down(&web.agents[i].2));
    assert_eq!(agents, [(1, 100, 1, 100), (2, 100, 2, 150)]);
    assert_eq!(down(&web.all), (1, 50, 1, 50));
}

#[test]
fn time_that_nobody_measured_is_no_outage() {
    type Write = fn(&mut Writing);
    let cases: [(&str, Write, Down); 5] = [
        (
            "a hole within",
            |h| {
                probe(h, 500, 450, false);
                probe(h, 300, 250, false);
                probe(h, 250, 0, true);
            },
            (1, 100, 1, 100),
        ),
        (
            "it ended in the hole",
            |h| {
                probe(h, 500, 450, false);
                probe(h, 300, 0, true);
            },
            (1, 50, 1, 50),
        ),
        (
            "nothing came after",
            |h| probe(h, 500, 450, false),
            (1, 50, 0, 0),
        ),
        (
            "the agent was away",
            |h| {
                probe(h, 500, 450, false);
                h.put(ago(425 * S), start(Some(ago(455 * S))));
                h.put(ago(425 * S), began("web", TEN));
                probe(h, 425, 375, false);
                probe(h, 375, 0, true);
            },
            (1, 100, 1, 100),
        ),
        (
            "the target was given up",
            |h| {
                probe(h, 500, 450, false);
                h.put(ago(455 * S), ended("web"));
            },
            (1, 45, 0, 0),
        ),
    ];
    for (what, write, expected) in cases {
        let data = tempfile::tempdir().unwrap();
        let mut h = history(data.path(), 7, "attic");
        probe(&mut h, 1_000, 500, true);
        write(&mut h);
        let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
        assert_eq!(down(&report.targets[0].all), expected, "{what}");
    }
}

#[test]
fn each_target_s_own_rules_say_what_is_down() {
    type Set = fn(&mut FleetTarget);
    let rules: [(&str, Set, Down); 4] = [
        ("the usual", |_| {}, (1, 30, 1, 30)),
        (
            "slow is not down",
            |t| t.settings.slow = Some(Duration::from_micros(10)),
            (1, 30, 1, 30),
        ),
        (
            "one more",
            |t| t.settings.down_after = "4".parse().ok(),
            (0, 0, 0, 0),
        ),
        (
            "a port that is to stay shut",
            |t| {
                t.want = Want::Closed;
                t.settings.slow = Some(Duration::from_micros(10));
            },
            (1, 30, 1, 30),
        ),
    ];
    for (what, set, expected) in rules {
        let data = tempfile::tempdir().unwrap();
        failing(data.path(), &[(500, 470)], &[(500, 470)]);
        let mut fleet = fleet();
        set(&mut fleet.targets[0]);
        let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
        assert_eq!(down(&report.targets[0].all), expected, "{what}");
    }
}

#[test]
fn groups_and_tags_are_the_sums_of_their_targets() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    let mut put = |target: &str, from: u64, to: u64, ok: bool| {
        for left in (to + 1..=from).rev().filter(|left| left % 10 == 0) {
            h.put(ago(left * S), result(target, ago(left * S), ok));
        }
    };
    for (target, down) in [("web", 100), ("db", 50), ("mail", 0)] {
        put(target, 1_000, 500, true);
        put(target, 500, 500 - down, false);
        put(target, 500 - down, 0, true);
    }
    let mut fleet = fleet();
    fleet.agents.truncate(1);
    let mail = FleetTarget::new(made::name("mail"), "m:25".parse().unwrap());
    fleet.targets.push(mail);
    for (target, group, tags) in [(0, "shop", "a"), (1, "shop", "a b"), (2, "office", "b")] {
        fleet.targets[target].group = Some(made::name(group));
        fleet.targets[target].tags = tags.split(' ').map(made::name).collect();
    }
    let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
    let shown = |(name, n): &(Name, Numbers)| {
        let m = n.measured;
        let text = format!("{name} {}/{} {:?}", m.ok, m.probes, down(n));
        (text, n.outages.mttr_ms().map(|ms| ms / S), m.asked_ms / S)
    };
    let row = |text: &str, mttr, asked| (text.to_string(), mttr, asked);
    let groups: Vec<_> = report.groups.iter().map(shown).collect();
    let shop = row("shop 185/200 (2, 100, 2, 150)", Some(75), 2_000);
    assert_eq!(
        groups,
        [row("office 100/100 (0, 0, 0, 0)", None, 1_000), shop]
    );
    let tags: Vec<_> = report.tags.iter().map(shown).collect();
    let a = row("a 185/200 (2, 100, 2, 150)", Some(75), 2_000);
    assert_eq!(tags, [a, row("b 195/200 (1, 50, 1, 50)", Some(50), 2_000)]);
    assert_eq!(report.groups[1].1.latencies.count(), 185);
}

#[test]
fn times_left_out_count_for_nothing() {
    let out = |targets: &str, from: u64, to: u64| LeftOut {
        targets: vec![targets.parse().unwrap()],
        span: Span {
            from: ago(from * S),
            until: ago(to * S),
        },
    };
    // Fails for 100 seconds, from 500 seconds ago on.
    for (what, left_out, expected, outages) in [
        (
            "none",
            vec![],
            (100, 90, 900, 1_000, 1_000),
            (1, 100, 1, 100),
        ),
        (
            "of others",
            vec![out("db*", 500, 400)],
            (100, 90, 900, 1_000, 1_000),
            (1, 100, 1, 100),
        ),
        (
            "all of it",
            vec![out("w*", 500, 400)],
            (90, 90, 900, 900, 900),
            (0, 0, 0, 0),
        ),
        (
            "its middle",
            vec![out("web", 470, 430)],
            (96, 90, 900, 960, 960),
            (1, 60, 1, 60),
        ),
        (
            "its end",
            vec![out("*", 450, 300)],
            (85, 80, 800, 850, 850),
            (1, 50, 1, 50),
        ),
        (
            "overlapping",
            vec![out("*", 500, 440), out("w*", 460, 430)],
            (93, 90, 900, 930, 930),
            (1, 30, 1, 30),
        ),
        (
            "across a result",
            vec![out("*", 505, 485)],
            (98, 90, 895, 980, 980),
            (1, 85, 1, 85),
        ),
        (
            "around the window",
            vec![out("*", 5_000, 0)],
            (0, 0, 0, 0, 0),
            (0, 0, 0, 0),
        ),
    ] {
        let data = tempfile::tempdir().unwrap();
        failing(data.path(), &[(500, 400)], &[(500, 400)]);
        let report = run(data.path(), Some(&fleet()), SINCE, NOW, &left_out).unwrap();
        assert_eq!(of(&report, "web", "attic"), expected, "{what}");
        let web = &report.targets[0];
        assert_eq!(down(&web.all), outages, "{what}");
        let answered: u64 = web.agents.iter().map(|(.., n)| n.measured.ok).sum();
        assert_eq!(web.all.latencies.count(), answered, "{what}");
    }
}

#[test]
fn maintenance_that_is_excluded_is_left_out() {
    for (exclude, outages) in [(true, 0), (false, 1)] {
        let data = tempfile::tempdir().unwrap();
        failing(data.path(), &[(500, 400)], &[(500, 400)]);
        let mut fleet = fleet();
        let span = Span {
            from: ago(500 * S),
            until: ago(400 * S),
        };
        fleet.maintenance = vec![Maintenance {
            targets: vec!["web".parse().unwrap()],
            when: When::Once(span),
            exclude,
        }];
        let out = left_out(&fleet, data.path(), SINCE, NOW).unwrap();
        let report = run(data.path(), Some(&fleet), SINCE, NOW, &out).unwrap();
        assert_eq!(report.targets[0].all.outages.count, outages, "{exclude}");
    }
}

#[test]
fn sums_tell_what_the_results_did_that_they_stand_for() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    h.put(ago(2_000 * S), began("web", TEN));
    probe(&mut h, 2_000, 800, true);
    probe(&mut h, 800, 760, false);
    probe(&mut h, 760, 500, true);
    // Nobody measured for a while.
    h.put(ago(400 * S), start(Some(ago(500 * S))));
    h.put(ago(400 * S), began("web", TEN));
    probe(&mut h, 400, 90, true);
    probe(&mut h, 90, 80, false);
    probe(&mut h, 80, 0, true);
    let ask = || run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
    let before = ask();
    let mut index = Index::open(&h.dir, Depth::Everything).unwrap().0;
    let segment = index.oldest_whole(Epoch(0)).unwrap().clone();
    let text = thin(&segment, &[]).unwrap().expect("worth it");
    assert!(text.len() < segment.bytes as usize / 3);
    index.put_thinned(&segment, Some(&text)).unwrap();
    let after = ask();
    let told = |report: &Report| {
        let (probes, ok, _, measured, asked) = of(report, "web", "attic");
        let outages = report.targets[0].all.outages;
        (probes, ok, measured, asked, outages)
    };
    assert_eq!(told(&after), told(&before));
    // A failure on its own stands for less than an interval where results lie evenly.
    let up = |report: &Report| of(report, "web", "attic").2;
    assert!(up(&after).abs_diff(up(&before)) <= 5);
    let quantile = |report: &Report| report.targets[0].all.latencies.quantile(0.95);
    assert_eq!(quantile(&after), quantile(&before));
}
