//! Scripts: results a second apart, and what is decided and undecided after each.

use super::*;
use crate::model::DownAfter;

fn at(second: u64) -> Wall {
    Wall(1_000_000_000 + second * 1000)
}

fn rules(down_after: &str, up_after: u32) -> Rules {
    Rules {
        slow: Some(Duration::from_millis(200)),
        down_after: down_after.parse().unwrap(),
        up_after,
        ..Rules::default()
    }
}

/// `+` answers, `~` answers slowly, `x` fails.
fn answer(letter: char) -> Option<u64> {
    match letter {
        '+' => Some(200_000),
        '~' => Some(200_001),
        'x' => None,
        _ => panic!("{letter}"),
    }
}

fn run(letter: char, second: u64) -> Run {
    Run {
        answered_us: answer(letter),
        times: 1,
        since: at(second),
        seen: at(second),
    }
}

const EVERY: Duration = Duration::from_secs(1);

/// A letter for the state, and how far a change of it has come: `U1/3`, `D`.
fn after(health: &Health, rules: &Rules, now: Wall) -> String {
    let state = health.state(EVERY, None, now);
    let letter = state.as_str()[..1].to_uppercase();
    let undecided = health.undecided(rules).map(|p| p.to_string());
    letter + &undecided.unwrap_or_default()
}

/// What is so after each of the results, the first at second 1.
fn played(rules: &Rules, results: &str) -> String {
    let mut health = Health::default();
    let each = (1..).zip(results.chars()).map(|(second, letter)| {
        health.take(rules, run(letter, second));
        after(&health, rules, at(second))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn so_many_results_decide() {
    for (down_after, up_after, results, expected) in [
        // The first answer decides at once, the first failure does not.
        ("3", 2, "+", "U"),
        ("3", 2, "~", "S"),
        ("3", 2, "xxx", "U1/3 U2/3 D"),
        ("3", 2, "xx+", "U1/3 U2/3 U"),
        // Exactly so many in a row, and one answer in between.
        ("3", 2, "+xxx", "U U1/3 U2/3 D"),
        ("3", 2, "+xx+xx", "U U1/3 U2/3 U U1/3 U2/3"),
        ("1", 1, "+x+x", "U D U D"),
        ("2", 1, "+xx+", "U U1/2 D U"),
        // The way back, with a failure in between.
        ("1", 2, "x++", "D D1/2 U"),
        ("1", 2, "x+x+xx++", "D D1/2 D D1/2 D D D1/2 U"),
        ("1", 3, "x+++", "D D1/3 D2/3 U"),
        // What came before an outage or its end counts for nothing after it.
        ("2", 2, "+xx+x++x", "U U1/2 D D1/2 D D1/2 U U1/2"),
        // So many among the latest.
        ("3 within 5", 2, "+x+x+x", "U U1/3 U1/3 U2/3 U2/3 D"),
        ("3 within 5", 2, "+xx++x", "U U1/3 U2/3 U2/3 U2/3 D"),
        (
            "3 within 5",
            2,
            "+xx+++x",
            "U U1/3 U2/3 U2/3 U2/3 U2/3 U2/3",
        ),
        (
            "3 within 5",
            2,
            "x++x++xx",
            "U1/3 U1/3 U1/3 U2/3 U2/3 U1/3 U2/3 D",
        ),
        ("2 within 3", 2, "+x++x", "U U1/2 U1/2 U1/2 U1/2"),
        ("2 within 3", 9, "+x++x", "U U1/2 U1/2 U1/2 U1/2"),
        ("2 within 3", 2, "+x+x++x", "U U1/2 U1/2 D D1/2 U U1/2"),
    ] {
        let got = played(&rules(down_after, up_after), results);
        assert_eq!(got, expected, "{down_after} {up_after} {results}");
    }
}

#[test]
fn slow_is_longer_than_the_limit_and_decided_by_as_many_as_up() {
    let limit = Duration::from_millis(200);
    for (us, slow, expected) in [
        (200_000, Some(limit), Verdict::Up),
        (200_001, Some(limit), Verdict::Slow),
        (u64::MAX, None, Verdict::Up),
    ] {
        let rules = Rules {
            slow,
            ..Rules::default()
        };
        assert_eq!(Verdict::of(Some(us), &rules), expected);
        assert_eq!(Verdict::of(None, &rules), Verdict::Down);
    }
    for (results, expected) in [
        ("+~+~~", "U U1/2 U U1/2 S"),
        ("~+~++", "S S1/2 S S1/2 U"),
        // Failures say nothing about that, and break the row.
        ("+~x~", "U U1/2 U1/3 U1/2"),
        ("~xxx", "S S1/3 S2/3 D"),
        // An outage ends with answers of either kind, the newest says which.
        ("xxx+~", "U1/3 U2/3 D D1/2 S"),
        ("xxx~+", "U1/3 U2/3 D D1/2 U"),
        // Becoming slow does not forget failures.
        ("+xx~~", "U U1/3 U2/3 U1/2 S"),
    ] {
        assert_eq!(played(&rules("3", 2), results), expected, "{results}");
    }
    let got = played(&rules("3 within 5", 2), "+x~~xx");
    assert_eq!(got, "U U1/3 U1/3 S1/3 S2/3 D");
}

#[test]
fn a_state_began_with_the_first_result_that_led_to_it() {
    for (down_after, results, since) in [
        ("3", "+++", 1),
        ("3", "+xxx", 2),
        ("3", "+x+xxxx", 4),
        ("3", "xxx+x++", 6),
        ("3 within 5", "+x+x+x", 2),
        ("3 within 5", "+x++x+xx", 5),
        ("3", "+~+~~", 4),
    ] {
        let mut health = Health::default();
        for (second, letter) in (1..).zip(results.chars()) {
            health.take(&rules(down_after, 2), run(letter, second));
        }
        assert_eq!(health.since(), Some(at(since)), "{down_after} {results}");
        assert_eq!(health.known().map(|t| t.since), health.since());
    }
}

#[test]
fn results_in_a_row_may_come_as_one() {
    for (times, state, undecided) in [
        (1, State::Up, Some("1/3")),
        (2, State::Up, Some("2/3")),
        (3, State::Down, None),
        (u32::MAX, State::Down, None),
    ] {
        let rules = rules("3", 2);
        let mut health = Health::default();
        health.take(&rules, run('+', 1));
        let failures = Run {
            times,
            since: at(2),
            ..run('x', 90)
        };
        health.take(&rules, failures);
        assert_eq!(health.state(EVERY, None, at(91)), state, "{times}");
        let got = health.undecided(&rules).map(|p| p.to_string());
        assert_eq!(got.as_deref(), undecided, "{times}");
        let since = if times < 3 { 1 } else { 2 };
        assert_eq!(health.since(), Some(at(since)));
    }
}

#[test]
fn a_state_is_stale_after_three_intervals() {
    let rules = rules("3", 2);
    let later = |ms: u64| Wall(at(100).0 + ms);
    // Interval and age of the last result in ms, since when the agent is away, and the state.
    for (interval, age, away, state) in [
        (10_000, 29_999, None, State::Up),
        (10_000, 30_000, None, State::Up),
        (10_000, 30_001, None, State::Stale),
        (10_000, 10_000, Some(at(80)), State::Up),
        (10_000, 10_001, Some(at(80)), State::Stale),
        // Two seconds at least.
        (100, 2_000, None, State::Up),
        (100, 2_001, None, State::Stale),
    ] {
        let mut health = Health::default();
        health.take(&rules, run('+', 100));
        let got = health.state(Duration::from_millis(interval), away, later(age));
        assert_eq!(got, state, "{interval} {age} {away:?}");
        health.confirm(later(age));
        health.confirm(at(99));
        let got = health.state(Duration::from_millis(interval), None, later(age));
        assert_eq!(got, State::Up);
    }
    // Failures that decide nothing grow old, too; a result before now makes nothing newer.
    let mut health = Health::default();
    assert_eq!(health.state(EVERY, None, at(1)), State::Unknown);
    health.take(&rules, run('x', 1));
    assert_eq!(health.state(EVERY, None, at(4)), State::Unknown);
    assert_eq!(health.state(EVERY, None, at(5)), State::Stale);
    assert_eq!(health.state(EVERY, None, at(0)), State::Unknown);
}

#[test]
fn late_results_change_nothing_but_since_when() {
    let rules = rules("3", 2);
    // Up since 1 as far as known until 100; what arrives late from second 50 on, and the
    // second since when it is up.
    for (late, since) in [
        ("++++", 1),
        ("xx+xx", 1),
        ("xxx", 52),
        ("xxx++", 52),
        ("xxx+x++", 54),
    ] {
        let mut health = Health::default();
        health.take(&rules, run('+', 1));
        health.take(&rules, run('+', 100));
        for (second, letter) in (50..).zip(late.chars()) {
            health.late(&rules, answer(letter), at(second));
        }
        assert_eq!(health.state(EVERY, None, at(100)), State::Up);
        assert_eq!(health.undecided(&rules), None);
        assert_eq!(health.since(), Some(at(since)), "{late}");
    }
    // The next time an agent catches up begins anew.
    let mut health = Health::default();
    health.take(&rules, run('+', 1));
    health.take(&rules, run('+', 100));
    for second in [50, 51, 52] {
        health.late(&rules, None, at(second));
    }
    health.take(&rules, run('+', 200));
    health.late(&rules, None, at(150));
    assert_eq!(health.since(), Some(at(52)));
    // From before it began, or after the newest result, they say nothing.
    for start in [0, 101] {
        let mut health = Health::default();
        health.take(&rules, run('+', 10));
        health.take(&rules, run('+', 100));
        for second in start..start + 9 {
            health.late(&rules, None, at(second));
        }
        assert_eq!(health.since(), Some(at(10)), "{start}");
    }
}

#[test]
fn rules_that_become_stricter_wait_for_the_next_failure() {
    let (lax, strict) = (rules("5 within 9", 4), rules("2", 1));
    let mut health = Health::default();
    for (second, letter) in (1..).zip("+xxx".chars()) {
        health.take(&lax, run(letter, second));
    }
    let need = DownAfter::new(2, 2).unwrap().failures();
    let all = Some(Progress { have: need, need });
    assert_eq!(health.undecided(&strict), all);
    health.take(&strict, run('x', 5));
    assert_eq!(health.state(EVERY, None, at(5)), State::Down);
}

#[test]
fn an_outage_that_only_late_results_tell_of_is_given_back_when_it_is_over() {
    let rules = rules("2", 2);
    for (late, outages) in [
        ("++++", vec![]),
        ("xx+xx", vec![]),
        ("+x+x+", vec![]),
        ("+xx++", vec![(51, 53)]),
        ("xx++xxx++", vec![(50, 52), (54, 57)]),
    ] {
        let mut health = Health::default();
        health.take(&rules, run('+', 1));
        health.take(&rules, run('+', 100));
        let each = (50..).zip(late.chars());
        let got: Vec<_> = each
            .filter_map(|(second, letter)| health.late(&rules, answer(letter), at(second)))
            .collect();
        let expected: Vec<_> = outages.iter().map(|(a, b)| (at(*a), at(*b))).collect();
        assert_eq!(got, expected, "{late}");
    }
}

#[test]
fn what_is_known_survives_a_restart() {
    let rules = rules("2", 2);
    for (verdict, results, expected) in [
        (Verdict::Up, "+", "U"),
        (Verdict::Up, "xx", "U1/2 D"),
        (Verdict::Down, "x", "D"),
        (Verdict::Down, "++", "D1/2 U"),
        (Verdict::Slow, "~", "S"),
        (Verdict::Slow, "++", "S1/2 U"),
    ] {
        let mut health = Health::default();
        let known = Known {
            verdict,
            since: at(0),
            flapping: false,
        };
        health.restore(known);
        assert_eq!(health.known(), Some(known));
        assert_eq!(health.state(EVERY, None, at(1)), State::Stale);
        let each = (1..).zip(results.chars()).map(|(second, letter)| {
            health.take(&rules, run(letter, second));
            after(&health, &rules, at(second))
        });
        let got = each.collect::<Vec<_>>().join(" ");
        assert_eq!(got, expected, "{verdict:?}");
        health.restore(known);
        assert_eq!(health.state(EVERY, None, at(1)), State::Stale);
    }
    // Results of a time before do not make a state older.
    let mut health = Health::default();
    health.restore(Known {
        verdict: Verdict::Down,
        since: at(50),
        flapping: false,
    });
    health.take(&rules, run('+', 10));
    health.take(&rules, run('+', 11));
    assert_eq!(health.since(), Some(at(50)));
}
