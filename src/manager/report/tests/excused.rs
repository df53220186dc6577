//! Failures that have an excuse, and addresses that are probed by themselves.

use std::net::IpAddr;

use super::*;
use crate::manager::quiet::QuietLog;
use crate::model::Sample;
use crate::record::Body;

/// What one agent sees: of each target the seconds before now in which it fails.
type Sees<'a> = (&'a str, &'a [(&'a str, &'a [(u64, u64)])]);

/// Every target is probed every ten seconds, for the whole window and before.
fn written(data: &Path, agents: &[Sees<'_>]) {
    for (id, (agent, targets)) in (7..).zip(agents) {
        let mut h = history(data, id, agent);
        for left in (0..110).rev().map(|tens| tens * 10) {
            for (target, times) in *targets {
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
            "targets":[{{"name":"web","address":"w:80"}},{{"name":"gateway","address":"g:53","agents":["attic"]}}]}}"#
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

/// A body about one address of `web`.
fn each(body: Body, last: u8) -> Body {
    let ip = Some(IpAddr::from([192, 0, 2, last]));
    match body {
        Body::Result(sample) => Body::Result(Sample { each: ip, ..sample }),
        Body::Began {
            target,
            address,
            interval,
            ..
        } => Body::Began {
            target,
            each: ip,
            address,
            interval,
        },
        other => other,
    }
}

#[test]
fn each_address_is_a_stream_of_its_own() {
    let fleet = r#"{"agents":[{"name":"attic","address":"h:1"}],
        "targets":[{"name":"web","address":"w:80","interval":"10s","each_address":true,"down_when":"any"}]}"#;
    let fleet = parse_fleet(fleet.as_bytes(), KeyRule::Waived).unwrap();
    for starts_again in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let mut h = history(data.path(), 7, "attic");
        for left in (0..110).rev().map(|tens| tens * 10) {
            let at = ago(left * S);
            if starts_again && left == 600 {
                // The name is probed for a moment, then its addresses again.
                h.put(at, start(Some(ago(601 * S))));
                h.put(at, began("web", TEN));
                h.put(at, ended("web"));
                h.put(at, each(began("web", TEN), 7));
                h.put(at, each(began("web", TEN), 8));
            }
            h.put(at, each(result("web", at, true), 7));
            let fails = (200..400).contains(&left);
            h.put(at, each(result("web", at, !fails), 8));
        }
        let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
        let web = &report.targets[0];
        let rows = web.agents.iter().filter(|(_, each, _)| each.is_some());
        let rows: Vec<_> = rows.map(|(.., n)| (n.measured.ok, down(n).0)).collect();
        assert_eq!(rows, [(100, 0), (80, 1)]);
        assert_eq!(down(&web.all), (1, 200, 1, 200));
        assert_eq!(web.all.measured.probes, 200);
        // Nothing was asked for beside the addresses.
        assert_eq!(web.all.measured.asked_ms / S, 2_000, "{starts_again}");
        let json = report.json();
        assert!(json.contains(r#""each":"192.0.2.8"}"#), "{json}");
        assert!(report.csv().contains("\r\nweb,attic at 192.0.2.8,100,80,"));
    }
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
