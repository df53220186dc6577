//! Clocks that are off, and that are set.

use super::*;
use crate::record::Body;

#[test]
fn a_clock_that_is_off_is_corrected() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    // Its clock is 200 s behind: what it calls 1,200 s ago was 1,000 s ago.
    probe(&mut h, 1_200, 200, true);
    let mut state = AgentState {
        id: Some(Id(7)),
        clock_offset_ms: Some(-200_000),
        ..AgentState::default()
    };
    let check = |state: &AgentState, probes| {
        save(data.path(), "attic", state);
        let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
        assert_eq!(of(&report, "web", "attic").0, probes, "{state:?}");
    };
    check(&state, 100);
    // In this epoch it was right, whatever it has come to since.
    state.sessions = vec![SessionClock {
        at: NOW,
        epoch: Epoch(0xe7),
        seq: 1,
        offset_ms: 1_000,
    }];
    check(&state, 80);
    state.sessions[0].epoch = E;
    check(&state, 100);
    // Another machine's clock says nothing about this one's.
    state.id = Some(Id(8));
    check(&state, 80);
}

#[test]
fn records_from_before_the_clock_was_set_are_placed_right() {
    let clock = |up_s: u64| Body::Clock {
        boot: "b".into(),
        up_ms: up_s * S,
    };
    // Booted 1,000 s ago, in 1970; 700 s ago the network set its clock, and 300 s ago it
    // was put back by an hour by mistake.
    let in_1970 = |left: u64| Wall((1_000 - left) * S);
    let late = |left: u64| Wall(ago(left * S).0 - 3_600 * S);
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    h.put(in_1970(990), start(None));
    h.put(in_1970(990), clock(10));
    let run_at = |h: &mut Writing, from: u64, to: u64, at: &dyn Fn(u64) -> Wall| {
        for left in (to + 1..=from).rev().filter(|left| left % 10 == 0) {
            h.put(at(left), result("web", at(left), true));
        }
        h.last()
    };
    let first = run_at(&mut h, 990, 700, &in_1970);
    h.put(ago(700 * S), clock(300));
    let second = run_at(&mut h, 700, 300, &|left| ago(left * S));
    h.put(late(300), clock(700));
    let third = run_at(&mut h, 300, 0, &late);
    made::written(&made::files(&h.dir)[0], NOW);
    // Its program began anew, in the same boot.
    let (e, again) = (Epoch(0xe7), Epoch(0xf7));
    let mut h = epoch(data.path(), Id(7), 2, again, ONE_SEGMENT);
    h.put(late(1), clock(999));
    made::written(&made::files(&h.dir)[1], NOW);
    let of_1970 = -i64::try_from(ago(1_000 * S).0).unwrap();
    // Whichever of the settings it was when the clocks were compared.
    for (epoch, seq, offset_ms) in [
        (e, first, of_1970),
        (e, second, 0),
        (e, third, -3_600_000),
        (again, 1, -3_600_000),
    ] {
        let state = AgentState {
            id: Some(Id(7)),
            sessions: vec![SessionClock {
                at: NOW,
                epoch,
                seq,
                offset_ms,
            }],
            ..AgentState::default()
        };
        save(data.path(), "attic", &state);
        let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
        let expected = (99, 99, 990, 990, 1_000);
        assert_eq!(of(&report, "web", "attic"), expected, "{state:?}");
    }
    // A run that began before the window, and of which no clock record is known.
    let mut late_only = history(data.path(), 8, "cellar");
    probe(&mut late_only, 500, 0, true);
    let state = AgentState {
        id: Some(Id(8)),
        sessions: vec![SessionClock {
            at: NOW,
            epoch: Epoch(0xe8),
            seq: 10,
            offset_ms: 100_000,
        }],
        ..AgentState::default()
    };
    save(data.path(), "cellar", &state);
    let report = run(data.path(), Some(&fleet()), SINCE, NOW, &[]).unwrap();
    assert_eq!(of(&report, "web", "cellar").0, 50);
}
