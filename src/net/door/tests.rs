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
    FailsQuietly,
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
        FailsQuietly => {
            pass.failed_quietly(at(ms));
            None
        }
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
fn pauses_double_up_to_the_longest() {
    for (failures, ms, proved_ms) in [
        (0, 0, 0),
        (1, 0, 0),
        (5, 0, 0),
        (6, 250, 250),
        (7, 500, 500),
        (8, 1_000, 1_000),
        (9, 2_000, 1_000),
        (12, 16_000, 1_000),
        (13, 30_000, 1_000),
        (1_000, 30_000, 1_000),
        (u32::MAX, 30_000, 1_000),
    ] {
        let pauses = [PAUSE_MAX, PAUSE_PROVED_MAX].map(|longest| pause_after(failures, longest));
        assert_eq!(
            pauses,
            [ms, proved_ms].map(Duration::from_millis),
            "{failures}"
        );
    }
}

#[test]
fn an_address_has_four_places_strangers_twelve_and_all_sixteen() {
    let door = Arc::new(Door::default());
    for from in ["10.9.0.1", "2001:db8:0:9::1"] {
        assert_eq!(visit(&door, from, 0, Proves), Ok(vec![]));
    }
    let (many, full) = (Some(Away::TooMany), Some(Away::Full));
    let mut all = Vec::new();
    for (from, taken, then) in [
        ("10.0.0.1", 4, many),
        ("::ffff:10.0.0.1", 0, many),
        ("2001:db8:0:1::1", 3, None),
        ("2001:db8:0:1:ffff::2", 1, many),
        ("10.0.0.2", 1, None),
        // One that has proved takes no stranger's place, whichever come first.
        ("10.9.0.1", 1, None),
        ("10.0.0.2", 2, None),
        ("10.0.0.3", 1, full),
        ("10.0.0.2", 0, full),
        ("10.0.0.1", 0, many),
        ("2001:db8:0:9:ffff::1", 0, None),
        ("10.9.0.1", 3, many),
        ("2001:db8:0:9::1", 0, full),
    ] {
        all.extend(holds(&door, from, taken));
        assert_eq!(door.knock(ip(from), at(0)).0.err(), then, "{from}");
    }
    assert_eq!(all.len(), WAITING_MAX);
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
fn an_address_that_proved_is_paused_for_a_second_at_most() {
    let door = Arc::new(Door::default());
    // Two prove again, so that one more takes the place of the second.
    let name = |n: usize| format!("10.0.2.{n}");
    for n in (0..PROVED_MAX).chain([0, 5, PROVED_MAX]) {
        assert_eq!(visit(&door, &name(n), 0, Proves), Ok(vec![]));
    }
    assert_eq!(door.state().proved.len(), PROVED_MAX);
    for (n, pause_ms) in [
        (0, 1_000),
        (1, 2_000),
        (2, 1_000),
        (PROVED_MAX, 1_000),
        (PROVED_MAX + 1, 2_000),
    ] {
        // A day later: it is for good.
        let visit = |ms, then| visit(&door, &name(n), 24 * 60 * MINUTE + ms, then).err();
        for ms in [0, 0, 0, 0, 0, 0, 250, 750, 1_750] {
            assert_eq!(visit(ms, FailsQuietly), None, "{n}");
        }
        assert_eq!(visit(1_749 + pause_ms, Leaves), Some(Away::Paused), "{n}");
        assert_eq!(visit(1_750 + pause_ms, Leaves), None, "{n}");
    }
}

#[test]
fn a_quiet_failure_counts_and_takes_no_counts_away() {
    let told = |n| format!("{n} connections from 10.0.0.9 were turned away");
    let pause = "connections from 10.0.0.9 are turned away for 1s";
    for (end_ms, last, expected) in [
        (
            1_000,
            ("10.0.0.9", Fails),
            format!("no hello; {}; {pause}", told(2)),
        ),
        (1_000, ("10.0.0.9", Proves), told(2)),
        (10 * MINUTE + 250, ("10.0.0.8", Leaves), told(2)),
    ] {
        let door = Arc::new(Door::default());
        let script = (0..6).map(|_| (0, FailsQuietly, None)).chain([
            (249, Fails, Some(Away::Paused)),
            (250, FailsQuietly, None),
            (749, Fails, Some(Away::Paused)),
        ]);
        for (ms, then, away) in script {
            let expected = away.map_or(Ok(vec![]), Err);
            assert_eq!(visit(&door, "10.0.0.9", ms, then), expected, "{ms}");
        }
        assert_eq!(door.state().untold.listed, 0);
        let (from, then) = last;
        assert_eq!(visit(&door, from, end_ms, then), Ok(vec![expected]));
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
    let all: Vec<_> = (1..=3)
        .flat_map(|n| holds(&door, &format!("10.0.0.{n}"), 4))
        .collect();
    let others = "12 or more others had not proved who they are";
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
            "6 connections from 2 addresses such as 10.0.0.9 were turned away",
        ),
        (
            3,
            "6 connections from 3 addresses such as 10.0.0.9 were turned away",
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
        ["1 connection that failed was not listed"]
    );
    let lines = fail(40, 20_000);
    assert_eq!(
        lines,
        ["7 connections that failed were not listed", "no hello"]
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
                2 => pass.failed_quietly(at(ms)),
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

#[test]
fn who_leaves_at_once_only_looked_and_who_held_a_place_has_failed() {
    let door = Arc::new(Door::default());
    for (from, held_ms, counts) in [("10.0.0.1", 999, false), ("10.0.0.2", 1000, true)] {
        for n in 0..6 {
            let start = n * 10_000;
            let (pass, _) = door.knock(ip(from), at(start));
            let told = pass.unwrap().left("left", at(start + held_ms)).unwrap();
            let pauses = counts && n == 5;
            assert_eq!(told.contains("turned away for 250ms"), pauses, "{told}");
        }
    }
}
