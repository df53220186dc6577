//! Windows and silences as scripts of (time, what happens, what is left alone).

use super::*;
use crate::quiet::{Weekly, When};
use crate::units::parse_moment;

fn at(text: &str) -> Wall {
    parse_moment(text, Wall(0)).unwrap()
}

fn plus(at: Wall, ms: i64) -> Wall {
    Wall(at.0.checked_add_signed(ms).unwrap())
}

fn pats(names: &[&str]) -> Vec<Pattern> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn weekly(targets: &[&str], when: &str) -> Maintenance {
    Maintenance {
        targets: pats(targets),
        when: When::Weekly(when.parse::<Weekly>().unwrap()),
        exclude: true,
    }
}

fn once(targets: &[&str], from: &str, until: &str) -> Maintenance {
    Maintenance {
        targets: pats(targets),
        when: When::Once(Span {
            from: at(from),
            until: at(until),
        }),
        exclude: false,
    }
}

fn texts(news: &[News]) -> Vec<String> {
    news.iter().map(News::to_string).collect()
}

/// Why the target is left alone, as the numbers of entries.
fn why(log: &QuietLog, target: &str, now: Wall) -> Option<u64> {
    log.active(&target.parse().unwrap(), now).map(|e| e.no)
}

/// 2026-11-29 is a Sunday.
const SUNDAY: &str = "2026-11-29T02:00Z";

#[test]
fn a_window_is_noted_once_an_occurrence_and_counts_to_the_millisecond() {
    let windows = [weekly(&["db*", "nas"], "Sun 02:00-04:00")];
    let mut log = QuietLog::default();
    let mut told = Vec::new();
    let edges = (0..42).map(|half| plus(at("2026-11-25T02:00Z"), half * 43_200_000));
    let edges = edges.flat_map(|edge| [edge, plus(edge, 7_200_000)]);
    for now in edges.flat_map(|edge| (-10..10).map(move |i| plus(edge, i * 2_000))) {
        told.extend(texts(&log.observe(&windows, now)));
        let week = (now.0 - at(SUNDAY).0.min(now.0)) % (7 * 86_400_000);
        let open = now >= at(SUNDAY) && week < 2 * 3_600_000;
        assert_eq!(why(&log, "db1", now).is_some(), open, "{}", moment(now));
        assert_eq!(why(&log, "web", now), None);
    }
    let expected = |day| {
        [
            format!("maintenance of db*, nas until 2026-{day} 04:00 UTC"),
            "maintenance of db*, nas is over".to_string(),
        ]
    };
    assert_eq!(told, ["11-29", "12-06", "12-13"].map(expected).concat());
    let (from, until) = (at(SUNDAY), at("2026-11-29T04:00Z"));
    assert_eq!(log.entries()[0].span, Span { from, until });
    for (now, no) in [
        (plus(from, -1), None),
        (from, Some(1)),
        (plus(until, -1), Some(1)),
        (until, None),
    ] {
        let mut log = QuietLog::default();
        log.observe(&windows, plus(from, -2_000));
        log.observe(&windows, plus(until, -1));
        assert_eq!(why(&log, "nas", now), no);
    }
}

#[test]
fn windows_that_touch_leave_no_moment_between_them() {
    let windows = [weekly(&["*"], "Sat,Sun 00:00-24:00")];
    let midnight = at("2026-11-29");
    let mut log = QuietLog::default();
    for ms in (-10_001..10_000).step_by(2_000) {
        let looked = plus(midnight, ms);
        log.observe(&windows, looked);
        for later in 0..2_000 {
            assert!(
                why(&log, "x", plus(looked, later)).is_some(),
                "{ms} {later}"
            );
        }
    }
    assert_eq!(log.entries().len(), 2);
}

#[test]
fn a_window_edited_while_it_is_open_is_another_one() {
    let (until3, until4) = ("2026-11-29T03:00Z", "2026-11-29T04:00Z");
    let plan = |until| vec![once(&["db"], SUNDAY, until)];
    let other = vec![once(&["web"], SUNDAY, until4)];
    // Minutes after it opened, what is planned by then, the news, and what is left alone.
    let steps = [
        (
            5,
            plan(until4),
            "maintenance of db until 2026-11-29 04:00 UTC",
            Some(1),
        ),
        (6, plan(until4), "", Some(1)),
        (
            10,
            vec![],
            "maintenance of db is over: it is not planned any more",
            None,
        ),
        (
            20,
            plan(until4),
            "maintenance of db until 2026-11-29 04:00 UTC",
            Some(2),
        ),
        (
            30,
            plan(until3),
            "maintenance of db is over: it is not planned any more; maintenance of db until 2026-11-29 03:00 UTC",
            Some(3),
        ),
        (
            40,
            other,
            "maintenance of db is over: it is not planned any more; maintenance of web until 2026-11-29 04:00 UTC",
            None,
        ),
        (120, vec![], "maintenance of web is over", None),
    ];
    let mut log = QuietLog::default();
    for (minutes, windows, told, active) in steps {
        let now = plus(at(SUNDAY), minutes * 60_000);
        assert_eq!(texts(&log.observe(&windows, now)).join("; "), told);
        assert_eq!(why(&log, "db", now), active, "after {minutes} min");
    }
    // What was so stays on record.
    let untils = log.entries().iter().map(|e| e.span.until);
    let minutes = untils.map(|until| (until.0 - at(SUNDAY).0) / 60_000);
    assert_eq!(minutes.collect::<Vec<_>>(), [10, 30, 40, 120]);
}

#[test]
fn a_window_given_up_just_before_it_opens_was_never_open() {
    let windows = [weekly(&["db"], "Sun 02:00-04:00")];
    let mut log = QuietLog::default();
    let before = plus(at(SUNDAY), -3_000);
    assert_eq!(log.observe(&windows, before).len(), 1);
    log.observe(&[], plus(before, 1_000));
    assert_eq!(why(&log, "db", plus(before, 4_000)), None);
    assert_eq!(excluded(&log, Wall(0), Wall(u64::MAX)).count(), 0);
}

#[test]
fn a_window_planned_twice_is_noted_once_and_stays() {
    let longer = once(&["db"], SUNDAY, "2026-11-29T05:00Z");
    let windows = [once(&["db"], SUNDAY, "2026-11-29T04:00Z"), longer];
    let windows = [&windows[..], &windows[..]].concat();
    let mut log = QuietLog::default();
    assert_eq!(log.observe(&windows, at(SUNDAY)).len(), 2);
    for seconds in 1..10 {
        let news = log.observe(&windows, plus(at(SUNDAY), seconds * 1_000));
        assert_eq!(news, []);
    }
    // Of several reasons, the one that ends last.
    assert_eq!(why(&log, "db", at(SUNDAY)), Some(2));
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let windows = [weekly(&["db"], "Sun 02:00-04:00")];
    let mut log = QuietLog::default();
    let now = plus(at(SUNDAY), 60_000);
    log.observe(&windows, now);
    let note = "a \"note\"\n\u{1b}";
    let until = plus(now, 7_200_000);
    log.silence(pats(&["web", "x*"]), until, note, now).unwrap();
    log.save(dir.path()).unwrap();
    let now = plus(now, 60_000);
    let mut read = QuietLog::load_at(dir.path(), now).unwrap();
    assert_eq!(read, log);
    assert_eq!(
        [why(&read, "db", now), why(&read, "x1", now)],
        [Some(1), Some(2)]
    );
    assert_eq!(read.observe(&windows, now), []);
    // Or one so long after that all is over: nobody is told, and numbers go on.
    let late = plus(now, 86_400_000);
    let mut read = QuietLog::load_at(dir.path(), late).unwrap();
    assert_eq!(read.observe(&windows, late), []);
    assert_eq!(why(&read, "web", late), None);
    assert!(read.prune(late) && read.entries().is_empty());
    read.save(dir.path()).unwrap();
    let mut read = QuietLog::load(dir.path()).unwrap();
    let third = read.silence(pats(&["web"]), plus(late, 1), "", late);
    assert_eq!(third.unwrap().no, 3);
}

#[test]
fn what_is_no_such_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let entry = r#"{"no":1,"cause":"silence","targets":["a"],"from":1,"until":2,"exclude":false,"note":""}"#;
    let fine = format!(r#"{{"next":2,"entries":[{entry}]}}"#);
    for text in [
        "",
        "{}",
        r#"{"next":1,"entries":[7]}"#,
        &fine.replace("silence", "holiday"),
        &fine.replace("\"a\"", "\"a b\""),
        &fine.replace("\"next\":2", "\"next\":1"),
        &fine.replace(entry, &format!("{entry},{entry}")),
    ] {
        std::fs::write(path(dir.path()), text).unwrap();
        let error = QuietLog::load(dir.path()).unwrap_err().to_string();
        let named = format!("read {}: ", path(dir.path()).display());
        assert!(error.starts_with(&named), "{error}");
    }
    std::fs::write(path(dir.path()), fine).unwrap();
    assert_eq!(QuietLog::load(dir.path()).unwrap().entries().len(), 1);
}

#[test]
fn a_silence_ends_by_itself_or_is_lifted() {
    let start = at("2026-11-25T02:00Z");
    let mut log = QuietLog::default();
    let hour = plus(start, 3_600_000);
    for (targets, until) in [
        (&["db*"][..], hour),
        (&["web", "nas"], plus(hour, 5)),
        (&["web"], hour),
    ] {
        log.silence(pats(targets), until, "", start).unwrap();
    }
    let windows = [once(&["web"], "2026-11-25T02:00Z", "2026-11-25T02:30Z")];
    log.observe(&windows, start);
    let is = |log: &QuietLog, now| ["db1", "web", "nas"].map(|target| why(log, target, now));
    assert_eq!(is(&log, start), [Some(1), Some(2), Some(2)]);
    assert_eq!(is(&log, plus(hour, -1)), [Some(1), Some(2), Some(2)]);
    assert_eq!(is(&log, hour), [None, Some(2), Some(2)]);
    let later = plus(start, 60_000);
    // What is lifted, the numbers that ended, and who is left alone by what afterwards.
    for (which, ended, after) in [
        ("1", vec![1], [None, Some(2), Some(2)]),
        ("db*", vec![1], [None, Some(2), Some(2)]),
        ("db1", vec![], [Some(1), Some(2), Some(2)]),
        ("web", vec![2, 3], [Some(1), Some(4), Some(5)]),
        ("nas", vec![2], [Some(1), Some(5), None]),
        ("4", vec![], [Some(1), Some(2), Some(2)]),
        ("9", vec![], [Some(1), Some(2), Some(2)]),
        ("", vec![1, 2, 3], [None, Some(4), None]),
    ] {
        let mut log = log.clone();
        let which = which.parse().unwrap_or(Which::All);
        let got = log.unsilence(&which, later);
        assert_eq!(
            got.iter().map(|e| e.no).collect::<Vec<_>>(),
            ended,
            "{which:?}"
        );
        assert!(got.iter().all(|e| e.span.until == later));
        assert_eq!(is(&log, later), after, "{which:?}");
        assert_eq!(log.unsilence(&which, later), [], "{which:?}");
    }
    let over = texts(&log.observe(&windows, plus(hour, 1_000)));
    assert_eq!(
        over,
        [
            "silence of db* is over",
            "silence of web, nas is over",
            "silence of web is over",
            "maintenance of web is over"
        ]
    );
}

#[test]
fn a_clock_set_back_opens_again_what_it_goes_back_into() {
    let windows = [weekly(&["db"], "Sun 02:00-04:00")];
    let mut log = QuietLog::default();
    let end = at("2026-11-29T04:00Z");
    log.observe(&windows, plus(end, -1_000));
    log.observe(&windows, plus(end, 1_000));
    assert_eq!(why(&log, "db", end), None);
    assert_eq!(log.observe(&windows, plus(end, -500)), []);
    assert_eq!(why(&log, "db", plus(end, -500)), Some(1));
    assert_eq!(log.entries().len(), 1);
}

#[test]
fn what_was_over_before_a_time_is_forgotten() {
    let start = at("2026-11-25T02:00Z");
    let mut log = QuietLog::default();
    for (target, hours) in [("a", 1), ("b", 4), ("c", 2), ("d", 9)] {
        let until = plus(start, hours * 3_600_000);
        log.silence(pats(&[target]), until, "", start).unwrap();
    }
    let now = plus(start, 5 * 3_600_000);
    log.observe(&[], now);
    assert!(!log.prune(start));
    assert!(log.prune(plus(start, 3 * 3_600_000)));
    let left = log.entries().iter().map(|e| e.no);
    assert_eq!(left.collect::<Vec<_>>(), [2, 4]);
    assert_eq!([why(&log, "b", now), why(&log, "d", now)], [None, Some(4)]);
}

#[test]
fn only_so_much_is_kept_and_what_is_open_always() {
    let mut log = QuietLog::default();
    let all_day = plus(Wall(0), 86_400_000);
    log.silence(pats(&["kept"]), all_day, "", Wall(0)).unwrap();
    let span = |ms| Span {
        from: Wall(ms),
        until: Wall(ms + 1),
    };
    for ms in 0..ENTRIES_MAX as u64 + 4 {
        log.push(Entry::silence(pats(&["x"]), span(ms), ""));
    }
    let now = Wall(ENTRIES_MAX as u64 + 4);
    log.silence(pats(&["x"]), plus(now, 1), "", now).unwrap();
    assert_eq!(log.entries().len(), ENTRIES_MAX);
    assert_eq!(log.entries()[0].no, 1);
    assert_eq!(log.entries()[1].no, 2 + 6);
    // Bytes count, too: 8 MiB are some 600 of these.
    let long = format!("x{}", "y".repeat(127));
    let many = vec![long.as_str(); TARGETS_MAX];
    for ms in 0..700 {
        log.push(Entry::silence(pats(&many), span(20_000 + ms), ""));
    }
    let now = Wall(30_000);
    log.silence(pats(&["x"]), plus(now, 1), "", now).unwrap();
    assert!(log.entries().len() < 700, "{}", log.entries().len());
    assert_eq!(why(&log, "kept", Wall(30_000)), Some(1));
    let now = Wall(40_000);
    for _ in 1..SILENCES_MAX {
        log.silence(pats(&["x"]), plus(now, 9), "", now).unwrap();
    }
    let error = log
        .silence(pats(&["x"]), plus(now, 9), "", now)
        .unwrap_err();
    assert_eq!(error.to_string(), "there are 1,000 silences already");
}

#[test]
fn a_report_leaves_out_what_is_excluded() {
    let windows = [
        weekly(&["db*"], "Sun 02:00-04:00"),
        once(&["web"], SUNDAY, "2026-11-29T04:00Z"),
    ];
    let mut log = QuietLog::default();
    log.observe(&windows, at(SUNDAY));
    log.silence(pats(&["nas"]), plus(at(SUNDAY), 1), "", at(SUNDAY))
        .unwrap();
    // The window of the report; what is left out, in minutes from two on.
    for (since, until, expected) in [
        (-60, 180, Some((0, 120))),
        (-60, 30, Some((0, 30))),
        (60, 180, Some((60, 120))),
        (-60, 0, None),
        (120, 180, None),
    ] {
        let moment = |minutes: i64| plus(at(SUNDAY), minutes * 60_000);
        let got: Vec<_> = excluded(&log, moment(since), moment(until)).collect();
        let targets = pats(&["db*"]);
        let expected = expected.map(|(from, until)| {
            let (from, until) = (moment(from), moment(until));
            (&*targets, Span { from, until })
        });
        assert_eq!(got, Vec::from_iter(expected), "{since} {until}");
    }
}

#[test]
fn the_next_occurrences_are_listed_behind_what_is_open() {
    let windows = [
        weekly(&["later"], "Mon 02:00-04:00"),
        weekly(&["open"], "Sun 02:00-04:00"),
        once(&["past"], "2026-11-01", "2026-11-02"),
    ];
    let mut log = QuietLog::default();
    log.silence(pats(&["now"]), plus(at(SUNDAY), 1_000), "", at(SUNDAY))
        .unwrap();
    log.observe(&windows, at(SUNDAY));
    let listed = log.open_and_planned(&windows, at(SUNDAY));
    let listed = listed.iter().map(|e| (e.no, names(&e.targets)));
    let expected = [(1, "now"), (2, "open"), (0, "later")];
    assert_eq!(
        listed.collect::<Vec<_>>(),
        expected.map(|(no, t)| (no, t.to_string()))
    );
}

#[test]
fn what_cannot_be_is_told_in_words() {
    let now = at(SUNDAY);
    let ahead = |ms| plus(now, ms);
    let names = |n| vec!["x".parse().unwrap(); n];
    for (targets, until, note, expected) in [
        (1, ahead(1), NOTE_LEN_MAX, ""),
        (TARGETS_MAX, ahead(30 * 86_400_000), 0, ""),
        (
            0,
            ahead(1),
            0,
            "expected 1 to 100 names or patterns of targets",
        ),
        (
            101,
            ahead(1),
            0,
            "expected 1 to 100 names or patterns of targets",
        ),
        (1, now, 0, "expected an end that is still to come"),
        (
            1,
            ahead(30 * 86_400_000 + 1),
            0,
            "expected an end at most 30 days ahead",
        ),
        (1, ahead(1), 201, "expected a note of at most 200 bytes"),
    ] {
        let got = check(&names(targets), until, &"n".repeat(note), now);
        assert_eq!(got.err().unwrap_or_default(), expected);
    }
    let mut log = QuietLog::default();
    let window = once(&["db"], SUNDAY, "2026-11-29T04:00Z");
    let no = |log: &mut QuietLog, which: Which| {
        let done = unsilence(log, &which, now);
        done.map(|news| told(&news))
            .unwrap_or_else(|error| error.to_string())
    };
    log.observe(&[window], now);
    assert_eq!(no(&mut log, Which::All), "nothing is silenced");
    assert_eq!(
        no(&mut log, Which::Number(7)),
        "no silence has the number 7: nothing is silenced"
    );
    assert_eq!(
        no(&mut log, Which::Number(1)),
        "number 1 is maintenance, which ends when the fleet file says"
    );
    log.silence(pats(&["a", "b"]), ahead(9), "", now).unwrap();
    assert_eq!(
        no(&mut log, "c".parse().unwrap()),
        "no silence is of c; there are 2 (a, b)"
    );
    assert_eq!(
        no(&mut log, "b".parse().unwrap()),
        "2: silence of a, b is lifted\n3: silence of a until 2026-11-29 02:00 UTC"
    );
    assert!("d b".parse::<Which>().is_err());
    assert_eq!(
        lasting("1h30m").map(|d| end(Wall(0), d)),
        Ok(Wall(5_400_000))
    );
    for bad in ["", "999ms", "30d1ms", "soon"] {
        assert!(lasting(bad).is_err(), "{bad}");
    }
    assert_eq!(moment(plus(now, 7_999)), "2026-11-29 02:00:07");
    let many: Vec<String> = (0..10).map(|i| format!("t{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        super::names(&pats(&many)),
        "t0, t1, t2, t3, t4, t5, t6, t7 and 2 more"
    );
}

#[test]
fn a_pattern_has_to_mean_a_target_of_the_fleet() {
    use crate::config::{Fleet, FleetTarget};
    let address: crate::units::HostPort = "h:1".parse().unwrap();
    let target = |name: &str| FleetTarget::new(name.parse().unwrap(), address.clone());
    let fleet = Fleet {
        targets: ["web-1", "db-1"].map(target).to_vec(),
        ..Fleet::default()
    };
    let now = Wall(1);
    for (pattern, fleet, expected) in [
        ("web*", &fleet, ""),
        ("*", &fleet, ""),
        (
            "wbe-1",
            &fleet,
            "no target is named wbe-1: did you mean web-1?",
        ),
        (
            "web-2*",
            &fleet,
            "no target is named web-2*: did you mean web-1?",
        ),
        (
            "mail*",
            &fleet,
            "no target is named mail*; there are web-1, db-1",
        ),
        ("mail*", &Fleet::default(), ""),
    ] {
        let mut log = QuietLog::default();
        let targets = pats(&["*", pattern]);
        let done = silence(&mut log, fleet, targets, Wall(9), "", now);
        let got = done.err().map(|error| error.to_string());
        assert_eq!(got.unwrap_or_default(), expected);
    }
}

#[test]
fn what_is_over_is_still_known() {
    let mut log = QuietLog::default();
    let db: Name = "db1".parse().unwrap();
    let targets = vec!["db*".parse().unwrap()];
    log.silence(targets, Wall(2_000), "", Wall(1_000)).unwrap();
    log.unsilence(&Which::All, Wall(1_500));
    for (at, was) in [(999, false), (1_000, true), (1_499, true), (1_500, false)] {
        let got = log.was(&db, Wall(at)).map(|entry| entry.cause);
        assert_eq!(got, was.then_some(Cause::Silence), "{at}");
        assert!(log.was(&"web".parse().unwrap(), Wall(at)).is_none());
    }
}
