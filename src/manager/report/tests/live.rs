//! The report beside the live verdict: the same results come in to both, while one thing at
//! a time breaks. Where several overlap they may differ: the report knows how it ended.

use super::*;
use crate::manager::board::{Board, EventKind, Link};
use crate::record::Record;

/// Seconds that are played; the report is on all of them.
const LONG: u64 = 3_600;
const ROUNDS: usize = 10;
const FLEET: &str = r#"{"agents":[{"name":"attic","address":"h:1","anchors":["gateway"]},{"name":"cellar","address":"h:2"}],
    "defaults":{"interval":"10s"},
    "targets":[{"name":"gateway","address":"g:1","agents":["attic"]},
               {"name":"router","address":"r:1"},
               {"name":"db","address":"d:1","depends_on":["router"]},
               {"name":"far","address":"f:1","agents":["attic"],"depends_on":["db"]},
               {"name":"hut","address":"i:1","agents":["cellar"],"depends_on":["far"]}]}"#;

/// What breaks, and when: seconds from the beginning.
type Fault = (&'static str, u64, u64);

fn answers(agent: &str, target: &str, second: u64, faults: &[Fault]) -> bool {
    let on_the_way: &[&str] = match target {
        "db" => &["db", "router"],
        "far" => &["far", "db", "router"],
        "hut" => &["hut", "far", "db", "router"],
        "gateway" => &["gateway"],
        _ => &["router"],
    };
    let broken = |what: &str| {
        let mut of = faults.iter().filter(|fault| fault.0 == what);
        of.any(|(_, from, to)| (*from..*to).contains(&second))
    };
    !on_the_way.iter().any(|what| broken(what)) && !broken(agent)
}

/// So many outages of each target were told live, and are reported.
fn both(phase: impl Fn(&str, &str) -> u64, faults: &[Fault]) -> Vec<(String, usize, usize)> {
    let fleet = parse_fleet(FLEET.as_bytes(), KeyRule::Waived).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut board = Board::new();
    board.show(&fleet);
    let mut agents: Vec<(Name, Vec<Name>, Writing, u64)> = Vec::new();
    for (id, agent) in (7..).zip(&fleet.agents) {
        let link = Link {
            connected: true,
            since: ago(LONG * S),
            ..Link::default()
        };
        board.set_link(&agent.name, link, ago(LONG * S));
        board.now_begin(&agent.name, E, 0);
        let targets = fleet.targets.iter().filter(|t| t.probed_by(&agent.name));
        let targets = targets.map(|t| t.name.clone()).collect();
        let h = history(data.path(), id, agent.name.as_str());
        agents.push((agent.name.clone(), targets, h, 0));
    }
    let (mut no, mut told) = (0, Vec::new());
    for second in 0..LONG {
        let at = ago((LONG - second) * S);
        for (agent, targets, h, seq) in &mut agents {
            for target in targets.iter() {
                let phase = phase(agent.as_str(), target.as_str());
                if second % 10 == phase {
                    let ok = answers(agent.as_str(), target.as_str(), second, faults);
                    let body = result(target.as_str(), at, ok);
                    *seq += 1;
                    h.put(at, body.clone());
                    board.record(
                        agent,
                        E,
                        &Record {
                            seq: *seq,
                            at,
                            body,
                        },
                        at,
                    );
                }
            }
        }
        board.settle(at, |_, _| None);
        for event in board.drain_events(no) {
            no = event.no;
            assert_ne!(event.kind, EventKind::Flapping, "{}", event.text);
            if event.kind == EventKind::Down {
                told.push(event.target.clone().unwrap());
            }
        }
    }
    let report = run(data.path(), Some(&fleet), ago(LONG * S), NOW, &[]).unwrap();
    let count = |t: &TargetReport| {
        let told = told.iter().filter(|name| **name == t.name).count();
        (t.name.to_string(), told, t.all.outages.count as usize)
    };
    report.targets.iter().map(count).collect()
}

#[test]
fn as_many_outages_are_reported_as_were_told() {
    let what_breaks = ["gateway", "router", "db", "far", "hut", "attic", "cellar"];
    // Any numbers, the same each time.
    let mut random = 7_u64;
    let mut below = |n: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % n
    };
    let mut told_of_all = 0;
    for _ in 0..ROUNDS {
        let phases: Vec<u64> = (0..10).map(|_| below(10)).collect();
        let mut faults: Vec<Fault> = Vec::new();
        let mut second = 100;
        while second < LONG - 300 {
            let what = what_breaks[below(7) as usize];
            let to = second + 5 + below(200);
            faults.push((what, second, to));
            // Rarely enough that nothing flaps.
            second = to + 400 + below(200);
        }
        let phase = |agent: &str, target: &str| phases[(agent.len() + 3 * target.len()) % 10];
        for (target, told, reported) in both(phase, &faults) {
            told_of_all += told;
            assert_eq!(told, reported, "{target}: {faults:?} {phases:?}");
        }
    }
    assert!(told_of_all > 2 * ROUNDS, "{told_of_all}");
}
