//! Scripts: what a backlog tells of, and what of it is told.

use super::super::settle::tests::{MAJORITY, Play, at, name, record, watched};
use crate::model::Epoch;

/// What is told, without how long, when an agent is back and tells of this.
fn told(mut play: Play, agent: &str, rows: &str) -> Vec<String> {
    play.catch_up(agent, 300, rows);
    let first = |text: &String| text.split(" from").next().map(str::to_string);
    play.told().iter().filter_map(first).collect()
}

#[test]
fn an_uplink_that_was_lost_tells_of_no_outage() {
    // db, gateway, web.
    let targets = ["db", "gateway", "web"];
    for (anchors, rows, expected) in [
        (vec!["gateway"], "+++ xxx xxx xxx +++ +++", vec![]),
        (
            vec![],
            "+++ xxx xxx xxx +++ +++",
            vec!["db was down", "gateway was down", "web was down"],
        ),
        (
            vec!["gateway"],
            "+++ x++ x++ x++ +++ +++",
            vec!["db was down"],
        ),
        (
            vec!["gateway", "web"],
            "+++ xx+ xx+ xx+ +++ +++",
            vec!["db was down", "gateway was down"],
        ),
    ] {
        let play = Play::new(&["a"], &targets, MAJORITY).anchored("a", &anchors);
        assert_eq!(told(play, "a", rows), expected, "{anchors:?} {rows}");
    }
}

#[test]
fn what_lay_behind_something_down_is_not_told() {
    for (rows, expected) in [
        ("++ xx xx xx ++ ++", vec!["router was down"]),
        ("++ x+ x+ x+ ++ ++", vec!["db was down"]),
    ] {
        let play = Play::new(&["a"], &["db", "router"], MAJORITY).depends("db", &["router"]);
        assert_eq!(told(play, "a", rows), expected, "{rows}");
    }
}

#[test]
fn many_are_told_as_one() {
    let targets = ["a", "b", "c", "d", "e", "f"];
    let mut play = Play::new(&["x"], &targets, MAJORITY);
    play.catch_up("x", 300, "++++++ xxxxxx xxxxxx xxxxxx ++++++ ++++++");
    assert_eq!(
        play.told(),
        ["6 outages of 6 targets are known only now: see report"]
    );
    assert_eq!(play.board.take_late().len(), 6);
}

/// Both agents were away, and tell of the time before: `a` of its target and its anchor,
/// `b` of what it sees.
fn of_two(depends: &[&str], a: (&str, &str), b: (&str, &str)) -> Vec<String> {
    let fleet = |agent: &str, target: &str| {
        (
            name(agent),
            vec![watched(target, MAJORITY), watched("gateway", MAJORITY)],
        )
    };
    let mut play = Play::new(&[], &[], MAJORITY);
    let (mut of_a, of_b) = (fleet("a", a.0), fleet("b", b.0));
    // The parent is seen by `b` alone.
    if depends.is_empty() {
        of_a.1.truncate(2);
    }
    play.board.set_fleet(&[of_a, of_b]);
    let mut play = play.depends(a.0, depends).anchored("a", &["gateway"]);
    for (agent, target, letters) in [("a", a.0, a.1), ("b", b.0, b.1)] {
        play.link(agent, 290, true);
        play.board.now_begin(&name(agent), Epoch(1), 900);
        for target in [target, "gateway"] {
            play.seq += 1_000;
            play.one(300, agent, target, true);
        }
        for (i, letter) in (0..).zip(letters.chars()) {
            let record = record(i + 1, i * 10, target, letter == '+');
            play.board.record(&name(agent), Epoch(1), &record, at(301));
        }
    }
    play.board.settle(at(306), |_, _| None);
    let first = |text: &String| text.split(" from").next().map(str::to_string);
    play.told().iter().filter_map(first).collect()
}

#[test]
fn another_agent_s_anchor_and_another_agent_s_parent() {
    // That `b` saw the gateway down excuses nothing that `a` saw.
    let got = of_two(&[], ("db", "+xxx++"), ("gateway", "+xxx++"));
    assert_eq!(got, ["db was down", "gateway was down"]);
    // What `a` does not look at is what `b` says of it.
    let got = of_two(&["router"], ("db", "+xxx++"), ("router", "+xxx++"));
    assert_eq!(got, ["router was down"]);
    let got = of_two(&["router"], ("db", "+xxx++"), ("router", "++++++"));
    assert_eq!(got, ["db was down"]);
}

#[test]
fn a_parent_s_outage_that_was_told_excuses_too() {
    let mut play = Play::new(&["a", "b"], &["db", "router"], MAJORITY).depends("db", &["router"]);
    play.link("a", 290, true);
    // What `b` saw of the router was told.
    for second in [10, 20, 30] {
        play.one(second, "b", "router", false);
    }
    play.told();
    play.link("b", 290, true);
    play.board.now_begin(&name("a"), Epoch(1), 900);
    play.seq = 900;
    play.one(300, "a", "db", true);
    for (i, letter) in (0..).zip("+xxx++".chars()) {
        let record = record(i + 1, i * 10, "db", letter == '+');
        play.board.record(&name("a"), Epoch(1), &record, at(301));
    }
    play.board.settle(at(306), |_, _| None);
    let late = play
        .told()
        .into_iter()
        .filter(|text| text.contains("was down"));
    assert_eq!(late.count(), 0);
}
