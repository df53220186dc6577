//! Failures that have an excuse.

use super::*;
use crate::manager::quiet::QuietLog;

/// What one agent sees: of each target the seconds before now in which it fails.
type Sees<'a> = (&'a str, &'a [(&'a str, &'a [(u64, u64)])]);

/// Every target is probed every ten seconds, for the whole window and before; `db+4` four
/// seconds after those without a number.
fn written(data: &Path, agents: &[Sees<'_>]) {
    for (id, (agent, targets)) in (7..).zip(agents) {
        let mut h = history(data, id, agent);
        for tick in (1..=110).rev().map(|tens| tens * 10) {
            for (target, times) in *targets {
                let (target, later) = target.split_once('+').unwrap_or((target, "0"));
                let left = tick - later.parse::<u64>().unwrap();
                let at = ago(left * S);
                let fails = times.iter().any(|(from, to)| left <= *from && left > *to);
                h.put(at, result(target, at, !fails));
            }
        }
    }
}

fn outages(fleet: &str, agents: &[Sees<'_>]) -> Vec<(String, Down)> {
    let data = tempfile::tempdir().unwrap();
    written(data.path(), agents);
    let fleet = parse_fleet(fleet.as_bytes(), KeyRule::Waived).unwrap();
    let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
    let targets = report.targets.iter();
    targets
        .map(|t| (t.name.to_string(), down(&t.all)))
        .collect()
}

const NONE: Down = (0, 0, 0, 0);

#[test]
fn what_an_agent_sees_that_is_cut_off_is_no_outage() {
    let fleet = |down_when: &str| {
        format!(
            r#"{{"agents":[{{"name":"attic","address":"h:1","anchors":["gateway"]}},{{"name":"cellar","address":"h:2"}}],
            "defaults":{{"interval":"10s","down_when":"{down_when}"}},
            "targets":[{{"name":"web","address":"w:80"}},{{"name":"gateway","address":"g:53"}}]}}"#
        )
    };
    let none = ("cellar", &[("web", &[][..])][..]);
    for (what, anchor, web, other, expected) in [
        (
            "both fail",
            &[(500, 300)][..],
            &[(500, 300)][..],
            none,
            NONE,
        ),
        (
            "the anchor answers",
            &[],
            &[(500, 300)],
            none,
            (1, 200, 1, 200),
        ),
        (
            "cut off for a part of it",
            &[(400, 300)],
            &[(500, 300)],
            none,
            (1, 100, 0, 0),
        ),
        // The others' word counts meanwhile.
        (
            "others see it too",
            &[(500, 300)],
            &[(500, 300)],
            ("cellar", &[("web", &[(500, 400)][..])][..]),
            (1, 100, 1, 100),
        ),
    ] {
        let attic = ("attic", &[("web", web), ("gateway", anchor)][..]);
        let got = outages(&fleet("any"), &[attic, other]);
        let mut web = got[0].1;
        // Where nobody could tell how it went on, it is not known to have ended.
        if what == "cut off for a part of it" {
            web = (web.0, web.1, 0, 0);
        }
        assert_eq!(web, expected, "{what}");
    }
}

#[test]
fn what_lies_behind_something_down_is_no_outage() {
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1"}],
        "defaults":{"interval":"10s"},
        "targets":[{"name":"db","address":"d:1","depends_on":["switch"]},
                   {"name":"switch","address":"s:1","depends_on":["router"]},
                   {"name":"router","address":"r:1"}]}"#;
    for (what, router, switch, db, expected) in [
        (
            "all fail",
            (500, 300),
            (500, 300),
            (500, 300),
            [NONE, NONE, (1, 200, 1, 200)],
        ),
        (
            "the last one longer",
            (500, 300),
            (500, 300),
            (500, 200),
            [(1, 100, 1, 100), NONE, (1, 200, 1, 200)],
        ),
        (
            "the one between alone",
            (0, 0),
            (500, 300),
            (500, 300),
            [NONE, (1, 200, 1, 200), NONE],
        ),
    ] {
        let sees: Vec<(&str, Vec<(u64, u64)>)> = vec![
            ("db", vec![db]),
            ("switch", vec![switch]),
            ("router", vec![router]),
        ];
        let sees: Vec<(&str, &[(u64, u64)])> = sees
            .iter()
            .map(|(name, times)| (*name, times.as_slice()))
            .collect();
        let got: Vec<Down> = outages(fleet, &[("attic", &sees)])
            .into_iter()
            .map(|(_, d)| d)
            .collect();
        assert_eq!(got, expected, "{what}");
    }
}

#[test]
fn a_parent_that_others_probe_counts_by_its_verdict() {
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1"},{"name":"cellar","address":"h:2"}],
        "defaults":{"interval":"10s"},
        "targets":[{"name":"db","address":"d:1","agents":["attic"],"depends_on":["router"]},
                   {"name":"router","address":"r:1","agents":["cellar"]}]}"#;
    let sees = [
        ("attic", &[("db", &[(500, 300)][..])][..]),
        ("cellar", &[("router", &[(500, 300)][..])][..]),
    ];
    let got = outages(fleet, &sees);
    assert_eq!((got[0].1, got[1].1), (NONE, (1, 200, 1, 200)));
}

#[test]
fn what_the_manager_noted_is_left_out_whatever_the_fleet_says_now() {
    let data = tempfile::tempdir().unwrap();
    let span = Span {
        from: ago(500 * S),
        until: ago(300 * S),
    };
    let window = |exclude| Maintenance {
        targets: vec!["we*".parse().unwrap()],
        when: When::Once(span),
        exclude,
    };
    for (exclude, count) in [(true, 1), (false, 0)] {
        let mut log = QuietLog::default();
        log.observe(&[window(exclude)], ago(400 * S));
        log.save(data.path()).unwrap();
        let found = left_out(&fleet(), data.path(), SINCE, NOW).unwrap();
        assert_eq!(found.len(), count);
        if exclude {
            assert_eq!(found[0].span, span);
        }
    }
}

#[test]
fn a_cause_that_is_seen_later_and_answers_sooner_excuses_all_the_same() {
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1","anchors":["gateway"]}],
        "defaults":{"interval":"10s"},
        "targets":[{"name":"db","address":"d:1","depends_on":["router"]},
                   {"name":"router","address":"r:1"},
                   {"name":"gateway","address":"g:1"},
                   {"name":"far","address":"f:1","depends_on":["db"]}]}"#;
    let cause = [(500, 300)];
    for (what, phase, db, expected) in [
        ("after it, both times", 4, &[(500, 300)][..], NONE),
        ("seen first by a little", 4, &[(510, 300)], NONE),
        ("it takes a few more", 4, &[(510, 280)], NONE),
        ("as many as it takes", 4, &[(510, 270)], (1, 34, 1, 34)),
        // What causes it answered since it failed.
        ("failed before", 4, &[(520, 300)], (1, 16, 1, 16)),
        ("failed long before", 4, &[(600, 300)], (1, 96, 1, 96)),
        ("twice", 4, &[(510, 400), (390, 300)], NONE),
        (
            "by itself before",
            4,
            &[(900, 800), (510, 300)],
            (1, 100, 1, 100),
        ),
        (
            "by itself after",
            4,
            &[(510, 300), (200, 100)],
            (1, 100, 1, 100),
        ),
        ("still fails", 4, &[(510, 0)], (1, 300, 0, 0)),
        ("at the same moment", 0, &[(500, 300)], NONE),
    ] {
        let db_name = format!("db+{phase}");
        for (by, excuse) in [("router", "router"), ("gateway", "gateway")] {
            let other = if by == "router" { "gateway" } else { "router" };
            let sees = [
                (db_name.as_str(), db),
                ("far+8", db),
                (excuse, &cause),
                (other, &[]),
            ];
            let got = outages(fleet, &[("attic", &sees)]);
            assert_eq!(got[0].1, expected, "{what}, by {by}");
            // What lies behind db as well is excused by either.
            assert_eq!(got[3].1, NONE, "{what}, by {by}");
        }
    }
}

#[test]
fn an_outage_that_has_just_lost_its_excuse_is_none_yet() {
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1"}],
        "defaults":{"interval":"10s"},
        "targets":[{"name":"db","address":"d:1","depends_on":["router"]},
                   {"name":"router","address":"r:1"}]}"#;
    for (until, expected) in [(20, NONE), (40, (1, 40, 0, 0))] {
        let sees = [("db", &[(100, 0)][..]), ("router", &[(100, until)])];
        assert_eq!(
            outages(fleet, &[("attic", &sees)])[0].1,
            expected,
            "{until}"
        );
    }
}

#[test]
fn what_is_cut_off_is_no_excuse_for_others() {
    // attic can't tell of the bridge; so for cellar, who doesn't look at it, nothing is known.
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1","anchors":["gateway"]},{"name":"cellar","address":"h:2"}],
        "defaults":{"interval":"10s"},
        "targets":[{"name":"db","address":"d:1","agents":["cellar"],"depends_on":["bridge"]},
                   {"name":"bridge","address":"b:1","agents":["attic"],"depends_on":["router"]},
                   {"name":"router","address":"r:1","agents":["cellar"]},
                   {"name":"gateway","address":"g:1","agents":["attic"]}]}"#;
    let fails = &[(500, 300)][..];
    for (gateway, expected) in [(&[][..], NONE), (fails, (1, 200, 1, 200))] {
        let attic = [("bridge", fails), ("gateway", gateway)];
        let cellar = [("db", fails), ("router", fails)];
        let got = outages(fleet, &[("attic", &attic), ("cellar", &cellar)]);
        assert_eq!(got[0].1, expected, "{gateway:?}");
    }
}

#[test]
fn who_no_longer_probes_a_parent_goes_by_its_verdict() {
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1"},{"name":"cellar","address":"h:2"}],
        "defaults":{"interval":"10s"},
        "targets":[{"name":"db","address":"d:1","agents":["attic"],"depends_on":["router"]},
                   {"name":"router","address":"r:1","agents":["cellar"]}]}"#;
    let fleet = parse_fleet(fleet.as_bytes(), KeyRule::Waived).unwrap();
    let data = tempfile::tempdir().unwrap();
    let fails = &[(500, 300)][..];
    written(
        data.path(),
        &[
            ("attic", &[("db", fails)]),
            ("cellar", &[("router", fails)]),
        ],
    );
    // attic did once, and says that it does no longer.
    let mut h = epoch(data.path(), Id(7), 2, Epoch(0xf7), ONE_SEGMENT);
    h.put(ago(900 * S), result("router", ago(900 * S), true));
    h.put(ago(800 * S), ended("router"));
    let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
    assert_eq!(down(&report.targets[0].all), NONE);
}
