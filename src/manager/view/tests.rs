//! Frames as golden files in `tests/data/view`: scenes played to a board, drawn without
//! colours, their clearing sequences taken away. `TCPMON_BLESS=1` writes them anew.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{KeyRule, parse_fleet};
use crate::manager::board::Link;
use crate::manager::quiet::Cause;
use crate::model::{Epoch, Failure, Name, Sample, Target, Terms, Watched, Why};
use crate::proto::TargetNow;
use crate::record::{Body, Record};
use crate::text;

const NOW: Wall = Wall(1_795_550_462_000);
const SMALL: Size = Size::DEFAULT;
const LARGE: Size = Size {
    columns: 120,
    rows: 40,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ago(seconds: u64) -> Wall {
    Wall(NOW.0 - seconds * 1000)
}

fn target(name_text: &str, address: &str) -> Target {
    Target::new(
        name(name_text),
        address.parse().unwrap(),
        Terms {
            retries: 1,
            ..Terms::every(Duration::from_secs(10), Duration::from_secs(3))
        },
    )
}

fn watched(targets: &[Target]) -> Vec<Watched> {
    targets.iter().cloned().map(Watched::from).collect()
}

fn link() -> Link {
    Link {
        connected: true,
        since: ago(7_300),
        last_seen: Some(ago(1)),
        clock_offset_ms: Some(12),
        revision: "r7".to_string(),
        ..Link::default()
    }
}

fn failure(target: &Target) -> Failure {
    Failure {
        why: Why::Timeout,
        text: format!("connect to {}: timed out after 3s", target.address),
    }
}

fn sample(target: &Target, at: Wall, us: u64, ok: bool) -> Sample {
    Sample {
        target: target.name.clone(),
        at,
        us,
        failure: (!ok).then(|| failure(target)),
        tries: 1,
        late_us: 0,
        addr: None,
        dns_stale: false,
        phases: Default::default(),
        retransmit: false,
        each: None,
    }
}

/// What one agent finds at one target in the last ten minutes, every ten seconds.
struct Story {
    agent: &'static str,
    target: Target,
    /// A usual latency.
    us: u64,
    /// Which of the 60 results are failures.
    fails: Vec<u64>,
    /// How many results there are before the agent falls silent.
    len: u64,
}

/// Plays stories to the board in the order of time, with what else happens before result `i`.
fn play(board: &mut Board, stories: &[Story], also: impl Fn(&mut Board, u64)) {
    let mut seed: u64 = 1;
    for i in 0..60 {
        also(board, i);
        for (phase, story) in (0..).zip(stories).filter(|(_, s)| i < s.len) {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695);
            let noise = (seed >> 33) % 60 * ((seed >> 40) % 10);
            let ok = !story.fails.contains(&i);
            let us = if ok {
                story.us + story.us * noise / 500
            } else {
                3_000_121
            };
            let at = Wall(NOW.0 - (60 - i) * 10_000 + phase * 600);
            let body = Body::Result(sample(&story.target, at, us, ok));
            let seq = i * 100 + phase + 1;
            board.record(&name(story.agent), Epoch(1), &Record { seq, at, body }, at);
            board.settle(at, |_, _| None);
        }
    }
}

fn start(board: &mut Board, agents: &[&str]) {
    for agent in agents {
        board.set_link(&name(agent), link(), ago(7_300));
        board.now_begin(&name(agent), Epoch(1), 0);
    }
}

/// Three agents, five targets: one down, one that one agent has trouble with.
fn family(attic_len: u64, also: impl Fn(&mut Board, u64)) -> Board {
    let mut board = Board::new();
    let targets = [
        target("test-server", "127.0.0.1:65433"),
        target("web", "www.example.org:443"),
        target("db", "10.0.0.7:5432"),
        target("nas", "10.0.0.12:445"),
        target("camera-yard", "10.0.3.21:554"),
    ];
    let agents = ["local", "attic", "cellar"];
    board.set_fleet(&agents.map(|a| (name(a), watched(&targets))));
    start(&mut board, &agents);
    let mut stories = Vec::new();
    for (i, target) in targets.iter().enumerate() {
        for (far, agent) in (1..).zip(agents) {
            stories.push(Story {
                agent,
                target: target.clone(),
                us: [180, 21_400, 2_300, 940, 5_600][i] * (far + 2) / 3,
                fails: match (target.name.as_str(), agent) {
                    ("db", _) => (54..60).collect(),
                    ("camera-yard", "attic") => vec![20, 21, 36, 38],
                    _ => vec![],
                },
                len: if agent == "attic" { attic_len } else { 60 },
            });
        }
    }
    play(&mut board, &stories, also);
    board
}

fn home() -> Board {
    family(60, |_, _| {})
}

fn troubled() -> Board {
    let mut board = family(41, |board, i| {
        let away = Link {
            connected: false,
            since: ago(190),
            last_seen: Some(ago(190)),
            text: "connect to 10.0.4.2:65432: no route to host".to_string(),
            pending: true,
            ..link()
        };
        if i == 41 {
            board.set_link(&name("attic"), away, ago(190));
        }
    });
    let behind = Link {
        to_fetch: 1_234,
        clock_offset_ms: Some(-5_300),
        spool: "write spool: no space left on device".to_string(),
        ..link()
    };
    board.set_link(&name("cellar"), behind, ago(45));
    let refused = Link {
        rejected: Some("targets[3].interval: expected a duration such as \"10s\"".to_string()),
        ..link()
    };
    board.set_link(&name("local"), refused, ago(12));
    board
}

fn all_down() -> Board {
    let mut board = Board::new();
    let targets = [
        target("db", "10.0.0.7:5432"),
        target("web", "www.example.org:443"),
    ];
    board.set_fleet(&[(name("local"), watched(&targets))]);
    start(&mut board, &["local"]);
    let story = |target: Target| Story {
        agent: "local",
        target,
        us: 500,
        fails: (0..60).collect(),
        len: 60,
    };
    play(&mut board, &targets.map(story), |_, _| {});
    board
}

fn long_names() -> Board {
    let mut board = Board::new();
    let long = "rack-12.datacentre-frankfurt.customer-portal.production.example";
    let targets = [
        target(
            long,
            "customer-portal.frankfurt.production.example.org:8443",
        ),
        target("v6", "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:443"),
    ];
    let agent = name("vantage-point-in-the-attic-of-the-old-house");
    board.set_fleet(&[(agent.clone(), watched(&targets))]);
    start(&mut board, &[agent.as_str()]);
    let entries = [TargetNow {
        target: name(long),
        each: None,
        ok: false,
        at: ago(3),
        us: 1_234,
        since: ago(4_000_000),
        failure: Some((
            Why::Mismatch,
            "expected \u{1b}[31m220\u{1b}[0m, found 漢字かな\u{202e}gnihton\r\n".to_string(),
        )),
    }];
    board.now_message(&agent, Epoch(1), 5, &entries, NOW);
    board.settle(NOW, |_, _| None);
    board
}

fn many() -> Board {
    let mut board = Board::new();
    let host = |i: usize| target(&format!("host-{i:03}"), &format!("10.1.0.{i}:22"));
    let targets: Vec<Target> = (1..=40).map(host).collect();
    board.set_fleet(&[(name("local"), watched(&targets))]);
    start(&mut board, &["local"]);
    let entries = targets.iter().enumerate().map(|(i, t)| TargetNow {
        target: t.name.clone(),
        each: None,
        ok: i % 17 != 3,
        at: ago(2),
        us: 400 + 37 * i as u64,
        since: ago(100_000),
        failure: (i % 17 == 3)
            .then(|| (Why::Refused, format!("connect to {}: refused", t.address))),
    });
    let entries: Vec<TargetNow> = entries.collect();
    board.now_message(&name("local"), Epoch(1), 5, &entries, ago(2));
    board.settle(ago(2), |_, _| None);
    board
}

/// What nobody is alerted of: an agent cut off, a target behind one that is down, and one
/// in maintenance.
fn excused() -> Board {
    let fleet = r#"{
        "agents": [{"name": "attic", "address": "127.0.0.1:1", "anchors": ["gateway"]},
                   {"name": "local", "address": "127.0.0.1:2"}],
        "targets": [{"name": "gateway", "address": "10.0.0.1:53", "agents": ["attic"]},
                    {"name": "db", "address": "10.0.0.7:5432"},
                    {"name": "router", "address": "10.0.9.1:22", "agents": ["local"]},
                    {"name": "nas", "address": "10.0.9.2:445", "agents": ["local"], "depends_on": ["router"]},
                    {"name": "tape", "address": "10.0.9.3:22", "agents": ["local"]}]}"#;
    let fleet = parse_fleet(fleet.as_bytes(), KeyRule::Waived).unwrap();
    let mut board = Board::new();
    board.show(&fleet);
    start(&mut board, &["attic", "local"]);
    let story = |agent, name: &str, fails: std::ops::Range<u64>| Story {
        agent,
        target: fleet.resolved(fleet.target(&name.parse().unwrap()).unwrap()),
        us: 6_000,
        fails: fails.collect(),
        len: 60,
    };
    let stories = [
        story("attic", "gateway", 50..60),
        story("attic", "db", 50..60),
        story("local", "db", 0..0),
        story("local", "router", 40..60),
        story("local", "nas", 40..60),
        story("local", "tape", 30..60),
    ];
    play(&mut board, &stories, |_, _| {});
    let tape = |target: &Name, _| (target.as_str() == "tape").then_some(Cause::Maintenance);
    board.settle(NOW, tape);
    board
}

/// A row of each kind: decided, undecided, flapping.
fn doubts() -> Board {
    let mut board = Board::new();
    let kinds: [(&str, Vec<u64>, u64); 8] = [
        ("db", vec![57, 58, 59], 60),
        ("web", vec![58, 59], 60),
        ("new-host", vec![], 0),
        ("camera", (30..60).filter(|i| i % 3 == 0).collect(), 60),
        ("mail", (50..59).collect(), 60),
        ("nas", vec![], 40),
        ("tape", vec![], 60),
        ("dns", vec![], 60),
    ];
    let mut watched = Vec::new();
    let mut stories = Vec::new();
    for (i, (name, fails, len)) in kinds.into_iter().enumerate() {
        let target = target(name, &format!("10.0.0.{i}:80"));
        let mut row = Watched::from(target.clone());
        row.rules.slow = (name == "tape").then_some(Duration::from_millis(5));
        watched.push(row);
        stories.push(Story {
            agent: "local",
            us: 6_000,
            target,
            fails,
            len,
        });
    }
    let first_failure = target("new-host", "10.0.0.2:80");
    board.set_fleet(&[(name("local"), watched)]);
    start(&mut board, &["local"]);
    play(&mut board, &stories, |_, _| {});
    let body = Body::Result(sample(&first_failure, ago(1), 900, false));
    let (seq, at) = (9_999, ago(1));
    board.record(&name("local"), Epoch(1), &Record { seq, at, body }, at);
    board
}

/// The frame as a person sees it.
fn seen(frame: &str) -> String {
    let inner = frame.strip_prefix("\x1b[H").unwrap();
    let inner = inner.strip_suffix("\x1b[J").unwrap();
    inner.replace("\x1b[K", "") + "\n"
}

fn golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/view");
    let path = path.join(file);
    if std::env::var_os("TCPMON_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{file} differs; it is now:\n{text}");
}

#[test]
fn frames_look_as_they_should() {
    let scenes: [(&str, Board, Size, usize); 14] = [
        ("home-80x24.txt", home(), SMALL, 0),
        ("home-120x40.txt", home(), LARGE, 0),
        ("troubled-80x24.txt", troubled(), SMALL, 0),
        ("troubled-120x40.txt", troubled(), LARGE, 0),
        ("empty-80x24.txt", Board::new(), SMALL, 0),
        ("all-down-80x24.txt", all_down(), SMALL, 0),
        ("long-names-80x24.txt", long_names(), SMALL, 0),
        ("long-names-120x40.txt", long_names(), LARGE, 0),
        ("excused-80x24.txt", excused(), SMALL, 0),
        ("doubts-80x24.txt", doubts(), SMALL, 0),
        ("doubts-120x40.txt", doubts(), LARGE, 0),
        ("many-80x24.txt", many(), SMALL, 0),
        ("many-last-80x24.txt", many(), SMALL, 9),
        (
            "home-40x10.txt",
            home(),
            Size {
                columns: 40,
                rows: 10,
            },
            0,
        ),
    ];
    for (file, board, size, page) in scenes {
        golden(file, &seen(&draw(&board, NOW, size, page, Colour::Off)));
    }
}

#[test]
fn states_have_colours() {
    let drawn = draw(&doubts(), NOW, SMALL, 0, Colour::On);
    for (code, word) in [
        ("1;31", "down"),
        ("1;31", "down 1/2"),
        ("33", "flapping"),
        ("33", "slow"),
        ("33", "stale"),
        ("2", "? 1/3"),
        ("33", "up 2/3"),
        ("32", "up"),
        ("33", "1 slow  "),
    ] {
        let piece = format!("\x1b[{code}m{word}\x1b[0m");
        assert!(drawn.contains(&piece), "{word}: {drawn:?}");
    }
}

#[test]
fn tables_look_as_they_should() {
    golden("status.txt", &plain_table(&troubled().snapshot(NOW)));
    golden("status-doubts.txt", &plain_table(&doubts().snapshot(NOW)));
    golden("status-excused.txt", &plain_table(&excused().snapshot(NOW)));
    golden(
        "status-long-names.txt",
        &plain_table(&long_names().snapshot(NOW)),
    );
    golden(
        "status-empty.txt",
        &plain_table(&Board::new().snapshot(NOW)),
    );
}

/// Takes away SGR sequences.
fn without_colours(frame: &str) -> String {
    let mut parts = frame.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.split_once('m') {
            Some((code, rest)) if code.bytes().all(|b| b.is_ascii_digit() || b == b';') => {
                out += rest;
            }
            _ => out += &format!("\x1b[{part}"),
        }
    }
    out
}

#[test]
fn no_size_wraps_scrolls_or_panics() {
    for board in [
        home(),
        troubled(),
        long_names(),
        many(),
        doubts(),
        Board::new(),
    ] {
        for columns in [0, 1, 2, 7, 16, 39, 40, 61, 79, 80, 99, 100, 121, 250] {
            for rows in [0, 1, 2, 3, 4, 5, 7, 10, 17, 24, 60] {
                let size = Size { columns, rows };
                let frame = draw(&board, NOW, size, 0, Colour::Off);
                let lines = frame.split('\n').count();
                assert!(lines <= rows.saturating_sub(1).max(1), "{size:?}");
                for line in seen(&frame).lines() {
                    assert!(text::width(line) <= columns, "{size:?}: {line}");
                }
                let coloured = draw(&board, NOW, size, 0, Colour::On);
                assert_eq!(without_colours(&coloured), frame, "{size:?}");
            }
        }
    }
}

#[test]
fn pages_show_every_row_once() {
    let board = many();
    let whole = board.snapshot(NOW);
    let mut found = Vec::new();
    for page in 0..pages(board.row_count(), SMALL) {
        let drawn = draw(&board, NOW, SMALL, page, Colour::Off);
        assert_eq!(drawn, frame(&whole, SMALL, page, Colour::Off));
        let rows = seen(&drawn);
        let rows = rows
            .lines()
            .filter(|l| l.starts_with("host-") && l.contains("10.1.0."));
        found.extend(rows.map(|l| l[..8].to_string()));
    }
    assert_eq!(found.len(), 40);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 40);
}

#[test]
fn clearing_never_takes_the_last_column() {
    let drawn = draw(&long_names(), NOW, SMALL, 0, Colour::Off);
    let mut full = 0;
    for line in drawn.split('\n') {
        if text::width(line.trim_start_matches("\x1b[H")) == SMALL.columns {
            full += 1;
            assert!(!line.contains("\x1b[K"));
        }
    }
    assert!(full > 0);
    let last = drawn.split('\n').next_back().unwrap();
    assert!(last.ends_with("\x1b[K\x1b[J"));
}
