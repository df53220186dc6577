//! Messages as people read them, and their way to JSON and back.

use super::*;
use crate::json::parse;

const DB: &str = r#"{"kind":"down","target":"db","address":"10.0.0.7:5432","state":"down","was":"up","since":1763820000123,"why":"refused","text":"db (10.0.0.7:5432) is down","agents":[{"name":"attic","state":"down","why":"refused"},{"name":"cellar","state":"unknown"}]}"#;

/// A message of these events, as its line has them.
fn message(occasion: &str, events: &[&str]) -> Message {
    let line = format!(
        r#"{{"id":"00000000000000ff-7","at":1763820010000,"alert":"ops","manager":"hq","occasion":"{occasion}","events":[{}]}}"#,
        events.join(",")
    );
    Message::parse(&parse(line.as_bytes()).unwrap()).expect(&line)
}

/// An event in its shortest form: `down target db was up`, and what follows its text.
fn event(kind: &str, subject: (&str, &str), (state, was): (&str, &str), more: &str) -> String {
    let (key, name) = subject;
    format!(
        r#"{{"kind":"{kind}","{key}":"{name}","state":"{state}","was":"{was}","since":1,"text":"{name} tells",{more}"agents":[]}}"#
    )
}

fn target(name: &str, state: &str, was: &str, more: &str) -> String {
    let kind = On::from_word(state).map_or("up", On::as_str);
    event(kind, ("target", name), (state, was), more)
}

fn agent(name: &str, state: &str, was: &str, more: &str) -> String {
    event("agent", ("agent", name), (state, was), more)
}

fn subject(occasion: &str, events: &[String]) -> String {
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    message(occasion, &events).subject()
}

#[test]
fn one_event_is_told_as_it_is() {
    let lasted = |ms: u64| format!(r#""lasted_ms":{ms},"#);
    let was = |name, state, was, ms| target(name, state, was, &lasted(ms));
    let down = || DB.to_string();
    let trouble = agent("pi", "trouble", "connected", "");
    let well = agent("pi", "connected", "trouble", &lasted(60_000));
    for (occasion, event, expected) in [
        ("news", target("db", "down", "up", ""), "db down"),
        ("news", down(), "db down: refused"),
        ("reminder", down(), "db still down: refused"),
        ("test", down(), "test of alert ops by hq"),
        (
            "news",
            was("db", "up", "down", 900_250),
            "db up, was down for 15m",
        ),
        (
            "news",
            was("db", "up", "slow", 250),
            "db up, was slow for 250ms",
        ),
        ("news", target("db", "up", "down", ""), "db up"),
        ("news", was("db", "slow", "down", 9_000), "db slow"),
        ("news", target("db", "flapping", "down", ""), "db flapping"),
        (
            "late",
            was("db", "up", "down", 900_000),
            "db was down for 15m",
        ),
        (
            "late",
            was("db", "down", "up", 900_000),
            "db was down for 15m",
        ),
        ("news", agent("pi", "away", "connected", ""), "pi away"),
        (
            "news",
            agent("pi", "cut off", "connected", ""),
            "pi cut off",
        ),
        ("news", trouble, "pi in trouble"),
        ("news", well, "pi connected, was in trouble for 1m"),
    ] {
        assert_eq!(subject(occasion, &[event]), expected);
    }
}

#[test]
fn several_events_are_counted() {
    let up = |name: &str| target(name, "up", "down", "");
    let down = |name: &str| target(name, "down", "up", "");
    let two = [down("db"), down("web")];
    let pi = agent("pi", "trouble", "connected", "");
    let mixed = [&two[..], &[up("mail"), pi]].concat();
    let many: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"].map(down).into();
    let crowd = [many.clone(), vec![up("x"), up("y")]].concat();
    let past = vec![up("db"), target("web", "up", "slow", "")];
    for (occasion, events, expected) in [
        ("news", two.to_vec(), "2 down: db, web"),
        ("reminder", two.to_vec(), "2 still down: db, web"),
        ("test", two.to_vec(), "test of alert ops by hq"),
        ("late", vec![up("db"), up("web")], "2 were down: db, web"),
        ("late", past, "1 was down: db; 1 was slow: web"),
        (
            "news",
            mixed,
            "2 down: db, web; 1 up: mail; 1 in trouble: pi",
        ),
        ("news", many, "7 down: a, b, c, d, e and 2 more"),
        ("news", crowd, "7 down: a, b, c, d, e and 2 more; 2 up"),
    ] {
        assert_eq!(subject(occasion, &events), expected);
    }
}

#[test]
fn texts_are_lines_and_end_where_there_is_no_more_room() {
    let events = ["a", "bb", "ccc"].map(|name| target(name, "down", "up", ""));
    let events = events.each_ref().map(String::as_str);
    let three = message("news", &events);
    assert_eq!(three.names(), ["a", "bb", "ccc"]);
    // Their lines are 7, 8 and 9 bytes long.
    for (bytes_max, expected) in [
        (usize::MAX, "a tells\nbb tells\nccc tells"),
        (26, "a tells\nbb tells\nccc tells"),
        (25, "a tells\nbb tells\nand 1 more"),
        (15, "a tells\nand 2 more"),
        (7, "a tells\nand 2 more"),
        (6, "a t…\nand 2 more"),
        (0, "…\nand 2 more"),
    ] {
        assert_eq!(three.text_within(bytes_max), expected, "{bytes_max}");
    }
}

#[test]
fn what_is_cut_ends_on_a_character() {
    for (line, bytes_max, expected) in [
        ("水水水", 9, "水水水"),
        ("水水水水", 9, "水水…"),
        ("水水水水", 8, "水…"),
        ("é", 1, "…"),
    ] {
        assert_eq!(cut(line, bytes_max), expected);
    }
}

#[test]
fn a_message_comes_back_as_it_was() {
    let hostile = "a\u{1b}[2J \"q\" \\ \n\r\t\0\u{7f}\u{9b}1m \u{202e}fdp\u{2028}é水😀";
    let lasted = target("db", "up", "down", r#""lasted_ms":1,"#);
    let pi = agent("pi", "cut off", "connected", "");
    for occasion in Occasion::ALL {
        for events in [vec![DB], vec![&lasted], vec![&pi, DB, &lasted]] {
            let mut message = message(occasion.as_str(), &events);
            message.events[0].text = hostile.to_string();
            message.id = format!("{hostile}7");
            let line = message.json();
            assert_eq!(line, text::escape(&line), "nothing in it disturbs");
            let value = parse(line.as_bytes()).unwrap();
            assert_eq!(Message::parse(&value), Some(message.clone()));
            let shown =
                [value.get("subject"), value.get("text")].map(|v| v.unwrap().str().unwrap());
            assert_eq!(shown, [message.subject(), message.text()]);
            let count = value.get("count").unwrap().u64();
            assert_eq!(count, Some(events.len() as u64));
            for line in message.text().lines() {
                assert_eq!(line, text::escape(line));
            }
            assert_eq!(message.text().lines().count(), events.len());
        }
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let good = message("news", &[DB]).json();
    let read = |line: &str| Message::parse(&parse(line.as_bytes()).unwrap());
    assert!(read(&good).is_some());
    for (part, instead) in [
        (r#""id":"00000000000000ff-7","#, ""),
        (r#""at":1763820010000"#, r#""at":"now""#),
        (r#""alert":"ops""#, r#""alert":"o p s""#),
        (r#""occasion":"news""#, r#""occasion":"whim""#),
        (r#""kind":"down""#, r#""kind":"sideways""#),
        (r#""target":"db""#, r#""targets":"db""#),
        (r#""target":"db""#, r#""target":7"#),
        (r#""address":"10.0.0.7:5432""#, r#""address":"10.0.0.7""#),
        (r#""state":"down","was""#, r#""was""#),
        (r#""since":1763820000123"#, r#""since":-1"#),
        (r#""why":"refused","text""#, r#""why":"tired","text""#),
        (r#""name":"attic""#, r#""name":"""#),
    ] {
        let bad = good.replacen(part, instead, 1);
        assert_ne!(bad, good, "{part}");
        assert_eq!(read(&bad), None, "{bad}");
    }
    let (before, _) = good.split_once(r#""events":["#).unwrap();
    assert_eq!(read(&format!(r#"{before}"events":[]}}"#)), None);
    assert_eq!(read("null"), None);
}
