//! Scripts: what a backlog tells of, and what of it is told.

use super::super::settle::tests::{MAJORITY, Play};

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
