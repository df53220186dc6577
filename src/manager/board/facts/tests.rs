//! What is so of targets and agents after which news, and how it is told.

use super::super::settle::tests::{MAJORITY, Play, at, name};
use super::*;
use crate::manager::board::Link;
use crate::manager::quiet::Cause;
use crate::model::DownWhen;

fn agent() -> Subject {
    Subject::Agent(name("a"))
}

fn web() -> Subject {
    Subject::Target(name("web"))
}

fn condition(play: &Play, subject: &Subject, second: u64) -> Option<(Condition, Wall)> {
    let fact = Look::new(&play.board, at(second)).fact(subject);
    fact.map(|fact| (fact.condition, fact.since))
}

/// The line that tells of a change.
fn text(play: &Play, subject: &Subject, was: (Condition, u64), second: u64) -> String {
    let now = at(second);
    let is = Look::new(&play.board, now).fact(subject).unwrap();
    let was = (was.0, at(was.1));
    Look::new(&play.board, now).event(subject, was, is).text
}

#[test]
fn words_and_conditions_agree() {
    for (condition, word) in Condition::ALL {
        assert_eq!(condition.as_str(), word);
        assert_eq!(Condition::from_word(word), Some(condition));
    }
    assert_eq!(Condition::from_word("tired"), None);
}

#[test]
fn a_target_is_what_was_told_of_it() {
    let mut play = Play::new(&["a"], &["web"], MAJORITY);
    assert_eq!(condition(&play, &web(), 1), None);
    for (from, results, expected, since) in [
        (10, "+ +", Condition::Fine, 10),
        (30, "x x", Condition::Fine, 10),
        (50, "x", Condition::Down, 30),
        (60, "+", Condition::Down, 30),
        (70, "+", Condition::Fine, 60),
        (80, "x + x + x + x +", Condition::Flapping, 110),
    ] {
        play.rows(from, "a", results);
        let now = from + 5 * results.len() as u64;
        let got = condition(&play, &web(), now);
        assert_eq!(got, Some((expected, at(since))), "{from} {results}");
        let unwell = Look::new(&play.board, at(now)).unwell();
        let listed = unwell.contains(&web());
        assert_eq!(listed, expected != Condition::Fine);
    }
    // Of what was seen too long ago nobody knows.
    assert_eq!(condition(&play, &web(), 300), None);
    assert!(Look::new(&play.board, at(300)).unwell().is_empty());
    let gone = condition(&play, &Subject::Target(name("nowhere")), 200);
    assert_eq!(gone, Some((Condition::Gone, at(200))));
}

#[test]
fn an_agent_is_away_when_that_was_told_or_lasts() {
    let link = |connected, text: &str| Link {
        connected,
        since: at(10),
        text: text.to_string(),
        ..Link::default()
    };
    for (link, second, expected) in [
        (link(true, ""), 10, Some(Condition::Fine)),
        (link(false, "refused"), 10, Some(Condition::Away)),
        // It was never reached, and nobody tries: it dials in.
        (link(false, ""), 69, None),
        (link(false, ""), 70, Some(Condition::Away)),
    ] {
        let mut play = Play::new(&[], &[], MAJORITY);
        play.board.set_fleet(&[(name("a"), vec![])]);
        assert_eq!(condition(&play, &agent(), 10), None);
        play.board.set_link(&name("a"), link, at(10));
        let got = condition(&play, &agent(), second);
        assert_eq!(got, expected.map(|c| (c, at(10))), "{second}");
    }
    let play = Play::new(&["a"], &[], MAJORITY);
    let gone = condition(&play, &Subject::Agent(name("b")), 9);
    assert_eq!(gone, Some((Condition::Gone, at(9))));
}

#[test]
fn an_agent_s_own_trouble_is_a_condition_with_a_beginning_and_an_end() {
    let mut play = Play::new(&["a"], &[], MAJORITY);
    for (second, spool, rejected, expected, since) in [
        (10, "", None, Condition::Fine, 0),
        (20, "disk full", None, Condition::Trouble, 20),
        (30, "disk full", Some("no"), Condition::Trouble, 20),
        (40, "", Some("no"), Condition::Trouble, 20),
        (50, "", None, Condition::Fine, 50),
    ] {
        let link = Link {
            connected: true,
            since: at(0),
            spool: spool.to_string(),
            rejected: rejected.map(str::to_string),
            ..Link::default()
        };
        play.board.set_link(&name("a"), link, at(second));
        assert_eq!(
            condition(&play, &agent(), second),
            Some((expected, at(since))),
            "{second}"
        );
        if expected == Condition::Trouble {
            let told = text(&play, &agent(), (Condition::Fine, 0), second);
            let cause = match spool {
                "" => "rejected its configuration: no",
                _ => "cannot store results: disk full",
            };
            assert_eq!(told, format!("agent a {cause}"));
        }
    }
    let told = text(&play, &agent(), (Condition::Trouble, 20), 50);
    assert_eq!(told, "agent a well again after 30s");
}

#[test]
fn what_is_told_of_an_agent_says_what_it_was() {
    let mut play = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
    play.rows(10, "a", "++ xx xx xx");
    assert_eq!(
        condition(&play, &agent(), 40),
        Some((Condition::CutOff, at(40)))
    );
    let told = text(&play, &agent(), (Condition::Fine, 0), 40);
    assert_eq!(told, "agent a lost its uplink: gateway down");
    play.rows(50, "a", "++ ++");
    assert_eq!(
        condition(&play, &agent(), 60),
        Some((Condition::Fine, at(60)))
    );
    let told = text(&play, &agent(), (Condition::CutOff, 40), 60);
    assert_eq!(told, "agent a has its uplink again after 20s");
    // Being away matters more than what it saw.
    play.rows(70, "a", "xx xx xx");
    play.link("a", 100, false);
    let told = text(&play, &agent(), (Condition::CutOff, 90), 101);
    assert_eq!(told, "agent a away: closed");
    play.link("a", 160, true);
    play.rows(160, "a", "++ ++");
    let told = text(&play, &agent(), (Condition::Away, 100), 170);
    assert_eq!(told, "agent a connected again after 1m");
}

#[test]
fn what_was_told_before_a_restart_is_no_fact_until_it_is_seen() {
    let mut before = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
    before.rows(10, "a", "++ x+ x+ x+");
    let (told, known) = (before.board.told(), before.board.known(&name("a")));
    let db = Subject::Target(name("db"));
    let mut play = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
    play.board.restore_told(&told);
    for state in &known {
        play.board.restore(&name("a"), state, at(50));
    }
    assert_eq!(condition(&play, &db, 50), None);
    // Nor does anybody know whether the agent is cut off.
    assert_eq!(condition(&play, &agent(), 50), None);
    play.one(60, "a", "gateway", true);
    assert_eq!(
        condition(&play, &agent(), 60),
        Some((Condition::Fine, at(0)))
    );
    play.one(60, "a", "db", false);
    assert_eq!(condition(&play, &db, 60), Some((Condition::Down, at(20))));
}

#[test]
fn an_uplink_is_left_alone_with_its_anchors() {
    let mut play = Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway"]);
    play.rows(10, "a", "++");
    play.quiet = Some(Cause::Maintenance);
    play.rows(20, "a", "xx xx xx");
    let fact = Look::new(&play.board, at(41)).fact(&agent()).unwrap();
    assert_eq!(
        (fact.condition, fact.quiet),
        (Condition::CutOff, Some(Cause::Maintenance))
    );
    // With all of them.
    let mut play =
        Play::new(&["a"], &["db", "gateway"], MAJORITY).anchored("a", &["gateway", "db"]);
    play.rows(10, "a", "++ xx xx xx");
    let gateway = |target: &Name, _| (target.as_str() == "gateway").then_some(Cause::Silence);
    play.board.settle(at(42), gateway);
    let fact = Look::new(&play.board, at(42)).fact(&agent()).unwrap();
    assert_eq!((fact.condition, fact.quiet), (Condition::CutOff, None));
}

#[test]
fn who_does_not_hear_of_slow_is_told_who_sees_it_up() {
    let mut play = Play::new(&["a", "b"], &["web"], MAJORITY);
    play.board.cells[0].rules.slow = Some(Duration::from_micros(10));
    play.board.cells[1].rules.slow = Some(Duration::from_micros(10));
    for agent in ["a", "b"] {
        play.rows(10, agent, "+ x x x + +");
    }
    let is = Look::new(&play.board, at(61)).fact(&web()).unwrap();
    assert_eq!(is.condition, Condition::Slow);
    let is = Fact {
        condition: Condition::Fine,
        ..is
    };
    let event = Look::new(&play.board, at(61)).event(&web(), (Condition::Down, at(20)), is);
    assert_eq!(event.text, "web up from all 2 agents after 30s");
}

#[test]
fn what_is_watched_no_more_is_told_as_that() {
    let play = Play::new(&["a"], &["web"], MAJORITY);
    for subject in [web(), agent(), Subject::Target(name("nowhere"))] {
        let is = Fact {
            condition: Condition::Gone,
            since: at(90),
            quiet: None,
        };
        let event = Look::new(&play.board, at(90)).event(&subject, (Condition::Down, at(30)), is);
        let (Subject::Target(name) | Subject::Agent(name)) = &subject;
        assert_eq!(event.text, format!("{name} is not watched any more"));
        assert_eq!((event.state.as_str(), event.was.as_str()), ("gone", "down"));
        assert_eq!(event.lasted.map(|d| d.as_secs()), Some(60));
    }
}

#[test]
fn an_event_tells_who_sees_what() {
    let mut play = Play::new(&["a", "b", "c"], &["web"], DownWhen::AtLeast(2));
    for agent in ["a", "b", "c"] {
        play.rows(10, agent, "+");
    }
    play.rows(20, "a", "x x x");
    play.rows(21, "b", "x x x");
    play.rows(40, "c", "+");
    let is = Look::new(&play.board, at(42)).fact(&web()).unwrap();
    let event = Look::new(&play.board, at(42)).event(&web(), (Condition::Fine, at(10)), is);
    assert_eq!(
        event.text,
        "web down from a, b (2 of 3): connect: timed out"
    );
    assert_eq!(
        (event.on, event.state.as_str(), event.was.as_str()),
        (On::Down, "down", "up")
    );
    assert_eq!(event.why.map(|why| why.as_str()), Some("timeout"));
    assert_eq!((event.since, event.lasted), (at(21), None));
    assert_eq!(event.address.unwrap().to_string(), "10.0.0.7:443");
    let voices: Vec<_> = event
        .voices
        .iter()
        .map(|v| (v.agent.as_str(), v.state.as_str(), v.why.is_some()))
        .collect();
    assert_eq!(
        voices,
        [("a", "down", true), ("b", "down", true), ("c", "up", false)]
    );
    // A reminder tells of nothing that is over.
    let event = Look::new(&play.board, at(42)).event(&web(), (Condition::Down, at(21)), is);
    assert_eq!((event.was.as_str(), event.lasted), ("down", None));
    play.rows(50, "a", "+ +");
    let is = Look::new(&play.board, at(62)).fact(&web()).unwrap();
    let event = Look::new(&play.board, at(62)).event(&web(), (Condition::Down, at(21)), is);
    assert_eq!(event.text, "web up from a, c (2 of 3) after 29s");
    assert_eq!(event.lasted.map(|d| d.as_secs()), Some(29));
    assert_eq!(event.why, None);
}
