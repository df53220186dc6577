//! Addresses that are probed by themselves.

use std::net::IpAddr;

use super::*;
use crate::model::Sample;
use crate::record::Body;

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
        Body::Ended { target, .. } => Body::Ended { target, each: ip },
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
        assert!(json.contains(r#""address":"192.0.2.8:80"}"#), "{json}");
        assert!(report.csv().contains("\r\nweb,attic at 192.0.2.8,100,80,"));
    }
}

fn web() -> Fleet {
    let text = r#"{"agents":[{"name":"attic","address":"h:1"}],"defaults":{"interval":"10s"},
        "targets":[{"name":"web","address":"w:80","each_address":true},
                   {"name":"db","address":"d:1","depends_on":["web"]}]}"#;
    parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap()
}

/// Results of one address every ten seconds, from `from` up to before `to` seconds ago.
fn answers(h: &mut Writing, last: u8, from: u64, to: u64, ok: bool) {
    for left in (to + 1..=from).rev().filter(|left| left % 10 == 0) {
        h.put(ago(left * S), each(result("web", ago(left * S), ok), last));
    }
}

/// The agent starts again, and finds these addresses once the name was probed.
fn starts_again(h: &mut Writing, left: u64, found: &[u8]) {
    let at = ago(left * S);
    h.put(at, start(Some(ago((left + 5) * S))));
    h.put(at, began("web", TEN));
    h.put(at, result("web", at, true));
    finds(h, left - 3, found);
}

/// Addresses of the name that is probed so far.
fn finds(h: &mut Writing, left: u64, found: &[u8]) {
    let at = ago(left * S);
    h.put(at, ended("web"));
    for last in found {
        h.put(at, each(began("web", TEN), *last));
    }
}

fn asked_s(report: &Report) -> Vec<u64> {
    let agents = report.targets[0].agents.iter();
    agents.map(|(.., n)| n.measured.asked_ms / S).collect()
}

#[test]
fn an_address_that_is_gone_has_no_say_any_more() {
    for down_when in [DownWhen::AtLeast(2), DownWhen::Majority] {
        let data = tempfile::tempdir().unwrap();
        let mut h = history(data.path(), 7, "attic");
        answers(&mut h, 7, 1_100, 500, true);
        answers(&mut h, 8, 1_100, 800, true);
        h.put(ago(800 * S), each(ended("web"), 8));
        answers(&mut h, 7, 500, 300, false);
        answers(&mut h, 7, 300, 0, true);
        for left in (1..110).rev().map(|tens| tens * 10) {
            let ok = !(301..=500).contains(&left);
            h.put(ago(left * S), result("db", ago(left * S), ok));
        }
        let mut fleet = web();
        fleet.targets[0].settings.down_when = Some(down_when);
        let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
        // Two have to see it, or as many as there are.
        assert_eq!(
            down(&report.targets[0].all),
            (1, 200, 1, 200),
            "{down_when:?}"
        );
        // And what hangs on it is behind it.
        assert_eq!(down(&report.targets[1].all), (0, 0, 0, 0), "{down_when:?}");
    }
}

#[test]
fn what_a_restarted_agent_finds_takes_the_place_of_what_it_knew() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    answers(&mut h, 7, 1_100, 600, true);
    answers(&mut h, 8, 1_100, 600, true);
    starts_again(&mut h, 600, &[8, 9]);
    answers(&mut h, 8, 590, 500, true);
    answers(&mut h, 9, 590, 500, true);
    answers(&mut h, 8, 500, 400, false);
    answers(&mut h, 9, 500, 400, false);
    answers(&mut h, 8, 400, 0, true);
    answers(&mut h, 9, 400, 0, true);
    let report = run(data.path(), Some(&web()), SINCE, NOW, &[]).unwrap();
    // The name, for a moment; then the addresses.
    assert_eq!(asked_s(&report), [3, 400, 997, 597]);
    let fleet = {
        let mut fleet = web();
        fleet.targets[0].settings.down_when = Some(DownWhen::AtLeast(3));
        fleet
    };
    let report = run(data.path(), Some(&fleet), SINCE, NOW, &[]).unwrap();
    assert_eq!(down(&report.targets[0].all), (1, 100, 1, 100));
}

#[test]
fn all_addresses_were_asked_for_while_the_agent_was_away() {
    for (before, asked) in [
        (&[][..], [3, 1_000, 1_000, 300]),
        (&[7, 8], [3, 997, 997, 300]),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut h = history(data.path(), 7, "attic");
        for last in before {
            answers(&mut h, *last, 1_010, 900, true);
        }
        starts_again(&mut h, 600, &[7, 8]);
        answers(&mut h, 7, 590, 300, true);
        answers(&mut h, 8, 590, 300, true);
        // A new one.
        h.put(ago(300 * S), each(began("web", TEN), 9));
        for last in 7..10 {
            answers(&mut h, last, 290, 0, true);
        }
        let report = run(data.path(), Some(&web()), SINCE, NOW, &[]).unwrap();
        assert_eq!(asked_s(&report), asked, "{before:?}");
    }
}

#[test]
fn a_new_target_was_asked_for_since_it_is_there() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    h.put(ago(500 * S), began("web", TEN));
    finds(&mut h, 497, &[7, 8]);
    answers(&mut h, 7, 490, 0, true);
    answers(&mut h, 8, 490, 0, true);
    let report = run(data.path(), Some(&web()), SINCE, NOW, &[]).unwrap();
    assert_eq!(asked_s(&report), [3, 497, 497]);
}

#[test]
fn a_name_says_nothing_while_its_addresses_are_known() {
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    for last in [7, 8] {
        answers(&mut h, last, 1_100, 500, true);
        answers(&mut h, last, 500, 405, false);
    }
    // It finds the one that answers, which ends no outage.
    starts_again(&mut h, 400, &[7, 8]);
    for last in [7, 8] {
        answers(&mut h, last, 399, 300, false);
        answers(&mut h, last, 300, 0, true);
    }
    let report = run(data.path(), Some(&web()), SINCE, NOW, &[]).unwrap();
    assert_eq!(down(&report.targets[0].all).0, 1);
    // Where nothing is known of them it is all there is.
    let data = tempfile::tempdir().unwrap();
    let mut h = history(data.path(), 7, "attic");
    answers(&mut h, 7, 1_100, 900, true);
    h.put(ago(600 * S), start(Some(ago(890 * S))));
    h.put(ago(600 * S), began("web", TEN));
    probe(&mut h, 600, 0, false);
    let report = run(data.path(), Some(&web()), SINCE, NOW, &[]).unwrap();
    assert_eq!(down(&report.targets[0].all), (1, 600, 0, 0));
    assert_eq!(asked_s(&report), [600, 400]);
}
