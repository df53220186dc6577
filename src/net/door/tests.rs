//! The door as scripts: who knocks when, how it goes on, what is logged.

use super::*;

const MINUTE: u64 = 60_000;

fn at(ms: u64) -> Mono {
    Mono(ms * 1000)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How a connection that was let in goes on.
enum Then {
    Fails,
    Proves,
    Leaves,
}
use Then::*;

/// One connection from its start to its end: the log, or why it was turned away.
fn visit(door: &Arc<Door>, from: &str, ms: u64, then: Then) -> Result<Vec<String>, Away> {
    let (pass, told) = door.knock(ip(from), at(ms));
    let pass = pass?;
    let ended = match then {
        Fails => pass.failed("no hello", at(ms)),
        Proves => pass.proved(),
        Leaves => None,
    };
    Ok(told.into_iter().chain(ended).collect())
}

fn holds(door: &Arc<Door>, from: &str, count: usize) -> Vec<Pass> {
    (0..count)
        .map(|_| door.knock(ip(from), at(0)).0.unwrap())
        .collect()
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    for (failures, ms) in [
        (0, 0),
        (1, 0),
        (5, 0),
        (6, 250),
        (7, 500),
        (12, 16_000),
        (13, 30_000),
        (14, 30_000),
        (1_000, 30_000),
        (u32::MAX, 30_000),
    ] {
        assert_eq!(
            pause_after(failures),
            Duration::from_millis(ms),
            "{failures}"
        );
    }
}

#[test]
fn an_address_has_four_places_and_all_have_sixteen() {
    let door = Arc::new(Door::default());
    let verdict = |from: &str| door.knock(ip(from), at(0)).0.err();
    let mut all = holds(&door, "10.0.0.1", 4);
    assert_eq!(verdict("10.0.0.1"), Some(Away::TooMany));
    assert_eq!(verdict("::ffff:10.0.0.1"), Some(Away::TooMany));
    assert_eq!(verdict("10.0.0.2"), None);
    all.extend(holds(&door, "2001:db8:0:1::1", 3));
    all.extend(holds(&door, "2001:db8:0:1:ffff::2", 1));
    assert_eq!(verdict("2001:db8:0:1::3"), Some(Away::TooMany));
    all.extend(holds(&door, "2001:db8:0:2::1", 4));
    all.extend(holds(&door, "10.0.0.3", 3));
    let last = holds(&door, "10.0.0.4", 1);
    assert_eq!(verdict("10.0.0.5"), Some(Away::Full));
    assert_eq!(verdict("10.0.0.1"), Some(Away::TooMany));
    drop(last);
    assert_eq!(verdict("10.0.0.5"), None);
    drop(all);
    assert!(door.state().waiting.is_empty());
}

#[test]
fn every_end_gives_the_place_back() {
    let door = Arc::new(Door::default());
    for then in [Fails, Proves, Leaves] {
        assert!(visit(&door, "10.0.0.1", 0, then).is_ok());
        assert!(door.state().waiting.is_empty());
    }
}

#[test]
fn failures_cost_pauses_and_a_success_clears_them() {
    let door = Arc::new(Door::default());
    let from = "10.0.0.9";
    let pause = |d: &str| format!("no hello; connections from {from} are turned away for {d}");
    let pardoned = |ms| (ms, Fails, Ok("no hello".to_string()));
    let mut script: Vec<_> = (0..5).map(pardoned).collect();
    script.extend([
        (5, Leaves, Ok(String::new())),
        (6, Fails, Ok(pause("250ms"))),
        (255, Fails, Err(Away::Paused)),
        (
            256,
            Fails,
            Ok(pause("500ms").replacen("; ", "; 1 connection from 10.0.0.9 was turned away; ", 1)),
        ),
        (755, Fails, Err(Away::Paused)),
        (755, Proves, Err(Away::Paused)),
        (756, Leaves, Ok(String::new())),
        (
            757,
            Proves,
            Ok("2 connections from 10.0.0.9 were turned away".to_string()),
        ),
        (758, Proves, Ok(String::new())),
    ]);
    script.extend((760..765).map(pardoned));
    script.push((770, Fails, Ok(pause("250ms"))));
    for (ms, then, expected) in script {
        let found = visit(&door, from, ms, then).map(|lines| lines.join("\n"));
        assert_eq!(found, expected, "{ms}");
        assert_eq!(visit(&door, "10.0.0.8", ms, Leaves), Ok(vec![]), "{ms}");
    }
}

#[test]
fn those_let_in_before_a_pause_lengthen_it_when_they_fail_too() {
    let door = Arc::new(Door::default());
    for _ in 0..3 {
        assert!(visit(&door, "10.0.0.9", 0, Fails).is_ok());
    }
    for pass in holds(&door, "10.0.0.9", 4) {
        pass.failed("no hello", at(100));
    }
    let verdict = |ms| visit(&door, "10.0.0.9", ms, Leaves);
    assert_eq!(verdict(599), Err(Away::Paused));
    assert_eq!(verdict(600), Ok(vec![]));
}

#[test]
fn a_failure_is_forgotten_after_ten_minutes_and_what_it_hid_is_told() {
    let door = Arc::new(Door::default());
    for _ in 0..6 {
        assert!(visit(&door, "10.0.0.9", 0, Fails).is_ok());
    }
    let lines = visit(&door, "10.0.0.9", 10 * MINUTE - 1, Fails).unwrap();
    assert!(lines[0].ends_with("for 500ms"), "{lines:?}");
    let verdict = visit(&door, "10.0.0.9", 10 * MINUTE, Leaves);
    assert_eq!(verdict, Err(Away::Paused));
    let told = "1 connection from 10.0.0.9 was turned away";
    let lines = visit(&door, "10.0.0.8", 20 * MINUTE - 1, Leaves).unwrap();
    assert_eq!(lines, [told]);
    let lines = visit(&door, "10.0.0.9", 20 * MINUTE, Fails).unwrap();
    assert_eq!(lines, ["no hello"]);
}

#[test]
fn a_full_house_is_told_every_ten_seconds_at_most() {
    let door = Arc::new(Door::default());
    let all: Vec<_> = (1..=4)
        .flat_map(|n| holds(&door, &format!("10.0.0.{n}"), 4))
        .collect();
    let others = "16 others had not proved who they are";
    for (ms, expected) in [
        (
            1_000,
            Some(format!("1 connection was turned away: {others}")),
        ),
        (1_001, None),
        (10_999, None),
        (
            11_000,
            Some(format!("3 connections were turned away: {others}")),
        ),
        (
            21_000,
            Some(format!("1 connection was turned away: {others}")),
        ),
        (22_000, None),
    ] {
        let (pass, told) = door.knock(ip("10.0.0.9"), at(ms));
        assert_eq!(pass.err(), Some(Away::Full));
        assert_eq!(told, expected, "{ms}");
    }
    drop(all);
    let lines = visit(&door, "10.0.0.9", 31_000, Leaves).unwrap();
    assert_eq!(lines, [format!("1 connection was turned away: {others}")]);
}

#[test]
fn the_address_that_failed_longest_ago_makes_room() {
    let door = Arc::new(Door::default());
    let name = |n: usize| format!("10.1.{}.{}", n / 256, n % 256);
    for _ in 0..6 {
        assert!(visit(&door, &name(0), 0, Fails).is_ok());
        assert!(visit(&door, &name(1), 1, Fails).is_ok());
    }
    assert_eq!(visit(&door, &name(1), 2, Leaves), Err(Away::Paused));
    assert_eq!(visit(&door, &name(0), 2, Leaves), Err(Away::Paused));
    // The first fails once more, so that the second is the oldest.
    assert!(visit(&door, &name(0), 300, Fails).is_ok());
    for n in 2..=REMEMBERED_MAX {
        assert!(visit(&door, &name(n), 301, Fails).is_ok());
    }
    let state = door.state();
    assert_eq!(state.troubles.len(), REMEMBERED_MAX);
    assert!(!state.troubles.contains_key(&Source::of(ip(&name(1)))));
    assert!(state.troubles.contains_key(&Source::of(ip(&name(0)))));
    drop(state);
    let lines = visit(&door, "10.0.0.9", 10_400, Leaves).unwrap();
    let forgotten = "1 connection from 10.1.0.1 was turned away";
    assert!(lines[0].starts_with(forgotten), "{lines:?}");
    for n in 0..3 * REMEMBERED_MAX {
        let _ = visit(&door, &name(n), 10_500, Fails);
    }
    assert_eq!(door.state().troubles.len(), REMEMBERED_MAX);
}

#[test]
fn forgotten_addresses_are_told_together() {
    for (sources, expected) in [
        (1, "6 connections from 10.0.0.9 were turned away"),
        (
            2,
            "6 connections from 10.0.0.9 and 1 other address were turned away",
        ),
        (
            3,
            "6 connections from 10.0.0.9 and 2 other addresses were turned away",
        ),
    ] {
        let mut counts = Counts::default();
        counts.forget(Source::of(ip("10.0.0.7")), 0);
        for n in 0..sources {
            let source = Source::of(ip(&format!("10.0.0.{}", 9 + n)));
            counts.forget(source, 6 / sources);
        }
        assert_eq!(counts.text().unwrap(), expected);
    }
    assert_eq!(Counts::default().text(), None);
}

#[test]
fn failures_from_everywhere_are_listed_in_part_and_counted() {
    let door = Arc::new(Door::default());
    let fail = |n: u64, ms| visit(&door, &format!("10.0.0.{n}"), ms, Fails).unwrap();
    let lines: Vec<String> = (0..40).flat_map(|n| fail(n, 1_000 + n)).collect();
    let listed = lines.iter().filter(|line| *line == "no hello").count();
    assert_eq!(listed, LISTED_MAX);
    assert_eq!(
        lines[LISTED_MAX..],
        ["1 more failed connection is not listed"]
    );
    let lines = fail(40, 20_000);
    assert_eq!(
        lines,
        ["7 more failed connections are not listed", "no hello"]
    );
}

/// The number that each part of a line about those turned away starts with.
fn counted(line: &str) -> u64 {
    let parts = line
        .split("; ")
        .filter(|part| part.contains(" turned away"));
    let numbers = parts.filter_map(|part| part.split(' ').next()?.parse::<u64>().ok());
    numbers.sum()
}

#[test]
fn a_flood_from_one_address_is_a_few_lines_that_count_it_all() {
    let door = Arc::new(Door::default());
    let mut lines = Vec::new();
    let mut let_in = 0;
    // 10,000 within 10 s; four at a time stay until they are told to go.
    let mut held = Vec::new();
    for n in 0..10_000 {
        let now = at(1_000 + n);
        let (pass, told) = door.knock(ip("10.0.0.9"), now);
        lines.extend(told);
        held.extend(pass);
        if n % 10 == 9 {
            let_in += held.len() as u64;
            lines.extend(
                held.drain(..)
                    .filter_map(|pass| pass.failed("garbage", now)),
            );
        }
        let state = door.state();
        assert!(state.waiting.len() <= WAITING_PER_ADDRESS_MAX);
        assert_eq!(state.troubles.len(), usize::from(n >= 4));
    }
    assert!(lines.len() < 16, "{} lines", lines.len());
    let away = 10_000 - let_in;
    let told: u64 = lines.iter().map(|line| counted(line)).sum();
    assert!(told < away);
    let last = visit(&door, "10.0.0.9", 100_000, Proves).unwrap();
    assert_eq!(told + counted(&last.join("; ")), away);
    assert!(door.state().troubles.is_empty());
}

#[test]
fn whatever_happens_nobody_is_turned_away_uncounted() {
    let door = Arc::new(Door::default());
    let (mut away, mut told, mut failures, mut listed) = (0, 0, 0, 0);
    let mut held: Vec<Pass> = Vec::new();
    let mut whys = std::collections::HashSet::new();
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    let mut hear = |line: Option<String>| {
        let line = line.unwrap_or_default();
        told += counted(&line);
        listed += line.matches("garbage").count() as u64;
        let more = line.split("; ").find(|part| part.ends_with("not listed"));
        let more = more.and_then(|part| part.split(' ').next()?.parse::<u64>().ok());
        listed += more.unwrap_or(0);
    };
    let mut ms = 0;
    for _ in 0..50_000 {
        ms += next(30);
        // Half from a few, half from more than are remembered.
        let network = match next(2) {
            0 => next(5),
            _ => 5 + next(3_000),
        };
        let from = Ipv6Addr::from_bits(u128::from(network) << 64);
        let (pass, line) = door.knock(from.into(), at(ms));
        hear(line);
        match pass {
            Ok(pass) => held.push(pass),
            Err(why) => {
                away += 1;
                whys.insert(format!("{why:?}"));
            }
        }
        if held.len() as u64 > next(20) {
            let pass = held.swap_remove(next(held.len() as u64) as usize);
            match next(8) {
                0 => hear(pass.proved()),
                1 => drop(pass),
                _ => {
                    failures += 1;
                    hear(pass.failed("garbage", at(ms)));
                }
            }
        }
    }
    drop(held);
    hear(door.knock(ip("::1"), at(ms + 60 * MINUTE)).1);
    assert_eq!(whys.len(), 3, "{whys:?}");
    assert_eq!((told, listed), (away, failures));
}
