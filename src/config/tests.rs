//! Configurations as golden files, and rules as tables.

use std::path::{Path, PathBuf};

use super::*;
use crate::model::{Name, Target, Terms};
use crate::units::Reach;

/// Runs `outcome` over every `.json` file of a directory of golden files and compares
/// with the `.txt` beside it; with TCPMON_BLESS=1 writes those instead.
fn golden(kind: &str, files_min: usize, outcome: fn(&[u8]) -> String) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fleet");
    let entries = std::fs::read_dir(dir.join(kind)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let inputs: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .collect();
    assert!(inputs.len() >= files_min, "{} files", inputs.len());
    for input in inputs {
        let got = outcome(&std::fs::read(&input).unwrap());
        let expected = input.with_extension("txt");
        if std::env::var_os("TCPMON_BLESS").is_some() {
            std::fs::write(&expected, &got).unwrap();
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, want, "{}", input.display());
    }
}

#[test]
fn good_files_are_read_and_written_back() {
    golden("ok", 10, |text| {
        let fleet = parse_fleet(text, KeyRule::Required).unwrap();
        let written = fleet.to_json();
        let again = parse_fleet(written.as_bytes(), KeyRule::Required);
        assert_eq!(again, Ok(fleet.clone()));
        assert_eq!(fleet.problems(KeyRule::Required), []);
        for target in fleet.targets.iter().map(|target| fleet.resolved(target)) {
            assert!(target.timeout <= target.interval, "{target:?}");
        }
        written
    });
}

#[test]
fn bad_files_tell_every_problem() {
    golden("err", 30, |text| {
        let problems = parse_fleet(text, KeyRule::Required).unwrap_err();
        problems.iter().map(|p| format!("{p}\n")).collect()
    });
}

#[test]
fn the_design_example_is_written_as_it_stands() {
    let text = include_str!("../../tests/data/fleet/ok/design.json");
    let fleet = parse_fleet(text.as_bytes(), KeyRule::Required).unwrap();
    assert_eq!(fleet.to_json(), text);
}

fn fleet(text: &str) -> Fleet {
    parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap()
}

#[test]
fn defaults_fill_in_what_a_target_leaves_out() {
    // defaults, target, and the interval, timeout (both in ms) and retries in force
    let cases = [
        ("", "", (10_000, 3_000, 1)),
        ("", r#", "interval": "1s""#, (1_000, 1_000, 1)),
        (
            "",
            r#", "interval": "1m", "timeout": "1m""#,
            (60_000, 60_000, 1),
        ),
        (r#""interval": "2s""#, "", (2_000, 2_000, 1)),
        (r#""timeout": "9s""#, "", (10_000, 9_000, 1)),
        (
            r#""timeout": "9s""#,
            r#", "interval": "5s""#,
            (5_000, 5_000, 1),
        ),
        (
            r#""timeout": "9s""#,
            r#", "timeout": "4s""#,
            (10_000, 4_000, 1),
        ),
        (r#""retries": 3"#, "", (10_000, 3_000, 3)),
        (r#""retries": 3"#, r#", "retries": 0"#, (10_000, 3_000, 0)),
    ];
    for (defaults, more, want) in cases {
        let target = format!(r#"{{"name": "t", "address": "h:1"{more}}}"#);
        let text = format!(r#"{{"defaults": {{{defaults}}}, "targets": [{target}]}}"#);
        let fleet = fleet(&text);
        let got = fleet.resolved(&fleet.targets[0]);
        let ms = |d: Duration| d.as_millis();
        assert_eq!(
            (ms(got.interval), ms(got.timeout), got.retries),
            want,
            "{text}"
        );
    }
}

#[test]
fn rules_are_a_targets_own_or_the_defaults() {
    // defaults, target, and what is in force
    let cases = [
        ("", "", (None, "3", 2)),
        (
            r#""slow": "1s", "down_after": 5, "up_after": 1"#,
            "",
            (Some(1_000), "5", 1),
        ),
        (
            r#""slow": "1s", "down_after": 5, "up_after": 1"#,
            r#", "slow": "20ms", "down_after": "2 within 4", "up_after": 3"#,
            (Some(20), "2 within 4", 3),
        ),
        ("", r#", "slow": "1d""#, (Some(86_400_000), "3", 2)),
        (r#""up_after": 7"#, r#", "down_after": 1"#, (None, "1", 7)),
    ];
    for (defaults, more, want) in cases {
        let text = format!(
            r#"{{"agents": [{{"name": "a", "address": "h:1"}}], "defaults": {{{defaults}}},
                "targets": [{{"name": "t", "address": "h:1"{more}}}]}}"#
        );
        let fleet = fleet(&text);
        let watched = fleet.watched_by(&fleet.agents[0].name);
        assert_eq!(watched.len(), 1);
        assert_eq!(watched[0].target, fleet.resolved(&fleet.targets[0]));
        let rules = watched[0].rules;
        let slow = rules.slow.map(|d| d.as_millis());
        let got = (slow, rules.down_after.to_string(), rules.up_after);
        assert_eq!(got, (want.0, want.1.to_string(), want.2), "{text}");
    }
}

#[test]
fn an_agent_gets_the_targets_that_name_it_or_nobody() {
    let fleet = fleet(
        r#"{"agents": [{"name": "a", "address": "h:1"}, {"name": "b", "address": "h:2"}],
            "targets": [{"name": "all", "address": "h:3"},
                        {"name": "one", "address": "h:3", "agents": ["a"]},
                        {"name": "both", "address": "h:3", "agents": ["b", "a"]}]}"#,
    );
    for (agent, want) in [("a", "all one both"), ("b", "all both"), ("c", "all")] {
        let targets = fleet.targets_for(&agent.parse().unwrap());
        let names: Vec<&str> = targets.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names.join(" "), want, "{agent}");
    }
}

#[test]
fn a_model_built_by_hand_gets_the_same_checks() {
    let mut fleet = fleet(r#"{"targets": [{"name": "t", "address": "h:1"}]}"#);
    let nobody: Name = "nobody".parse().unwrap();
    fleet.targets[0].agents = Some(vec![nobody]);
    fleet.targets[0].settings.interval = Some(Duration::from_millis(1));
    fleet.targets.push(fleet.targets[0].clone());
    fleet.targets[1].agents = None;
    let got: Vec<String> = fleet
        .problems(KeyRule::Required)
        .iter()
        .map(|p| p.to_string())
        .collect();
    let want = [
        r#"targets[0].interval: expected 100ms to 7d, found "1ms""#,
        r#"targets[0].agents[0]: no agent is named "nobody""#,
        r#"targets[1].name: targets[0] has "t" already"#,
        r#"targets[1].interval: expected 100ms to 7d, found "1ms""#,
    ];
    assert_eq!(got, want);
}

#[test]
fn an_agent_beyond_loopback_needs_a_key_unless_that_is_waived() {
    let own = r#", "key_file": "own""#;
    // What is beside the address, the defaults, and whether there is a problem.
    for (address, more, defaults, wrong) in [
        ("10.0.0.7:1", "", "{}", true),
        ("pi.example.org:1", "", r#"{"retries": 0}"#, true),
        ("10.0.0.7:1", own, "{}", false),
        ("10.0.0.7:1", "", r#"{"key_file": "all"}"#, false),
        ("10.0.0.7:1", own, r#"{"key_file": "all"}"#, false),
        ("127.0.0.1:1", "", "{}", false),
        ("[::1]:1", own, "{}", false),
        ("attic.localhost:1", "", "{}", false),
    ] {
        let agents = format!(r#""agents": [{{"name": "a", "address": "{address}"{more}}}]"#);
        for text in [
            format!(r#"{{{agents}, "defaults": {defaults}}}"#),
            format!(r#"{{"defaults": {defaults}, {agents}}}"#),
        ] {
            let got = parse_fleet(text.as_bytes(), KeyRule::Required);
            assert_eq!(got.is_err(), wrong, "{text}");
            let fleet = parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap();
            let problems = fleet.problems(KeyRule::Required);
            assert_eq!(problems.len(), usize::from(wrong), "{text}");
            assert!(problems.iter().all(|p| p.path == "agents[0].address"));
            assert_eq!(fleet.problems(KeyRule::Waived), [], "{text}");
        }
    }
}

#[test]
fn an_agents_key_file_is_its_own_or_the_defaults() {
    let mut fleet = fleet(
        r#"{"agents": [{"name": "a", "dials_in": true}, {"name": "b", "dials_in": true, "key_file": "b.key"}],
            "defaults": {"key_file": "all.key"}}"#,
    );
    let files = |fleet: &Fleet| -> Vec<Option<String>> {
        let of = |agent| fleet.key_file_of(agent).map(str::to_string);
        fleet.agents.iter().map(of).collect()
    };
    let some = |text: &str| Some(text.to_string());
    assert_eq!(files(&fleet), [some("all.key"), some("b.key")]);
    let name = fleet.agents[1].name.clone();
    let all = ("defaults.key_file".to_string(), "all.key", None);
    let own = ("agents[1].key_file".to_string(), "b.key", Some(&name));
    assert_eq!(fleet.key_files(), [own.clone(), all]);
    let text = fleet.to_json();
    for (path, ..) in fleet.key_files() {
        assert!(place(text.as_bytes(), &path).is_some(), "{path}");
    }
    fleet.defaults.key_file = None;
    assert_eq!(files(&fleet), [None, some("b.key")]);
    assert_eq!(fleet.key_files(), [own]);
}

#[test]
fn a_key_file_is_a_path_that_an_operating_system_takes() {
    let longest = "x".repeat(KEY_FILE_LEN_MAX);
    let longer = "é".repeat(KEY_FILE_LEN_MAX / 2) + "x";
    for good in ["k", "../keys/a b.key", "/etc/k", r"C:\k", &longest] {
        assert_eq!(check_key_file(good), Ok(good));
    }
    for bad in ["", "a\0b", &longer] {
        let got = check_key_file(bad).unwrap_err();
        assert_eq!(got, "expected a path of 1 to 4096 bytes without NUL");
    }
}

#[test]
fn a_fleet_has_a_size() {
    let entries = |count: usize| {
        let entry = |i| format!(r#"{{"name": "n{i}", "address": "h{i}:1"}}"#);
        let list: Vec<String> = (0..count).map(entry).collect();
        list.join(",")
    };
    for (list, max) in [("agents", AGENTS_MAX), ("targets", TARGETS_MAX)] {
        let fits = format!("{{\"{list}\": [{}]}}", entries(max));
        assert!(parse_fleet(fits.as_bytes(), KeyRule::Waived).is_ok());
        let exceeds = format!("{{\"{list}\": [{}]}}", entries(max + 1));
        let problems = parse_fleet(exceeds.as_bytes(), KeyRule::Waived).unwrap_err();
        let want = format!("expected at most {max} entries, found {}", max + 1);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].text, want);
    }
}

#[test]
fn the_first_problems_by_position_are_kept_whatever_the_order_of_reading() {
    let bad: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    let bad = bad.join(",");
    // Agents are read before targets, wherever they stand.
    for text in [
        format!("{{\"targets\": [{bad}], \"agents\": [{bad}]}}"),
        format!("{{\"agents\": [{bad}], \"targets\": [{bad}]}}"),
    ] {
        let first = &text[2..8];
        let problems = parse_fleet(text.as_bytes(), KeyRule::Waived).unwrap_err();
        assert_eq!(problems.len(), PROBLEMS_MAX + 1);
        for (index, problem) in problems[..PROBLEMS_MAX].iter().enumerate() {
            assert!(problem.path.starts_with(first), "{problem}");
            assert!(problem.path.ends_with(&format!("[{index}]")), "{problem}");
        }
        let last = problems[PROBLEMS_MAX].to_string();
        assert_eq!(last, "1900 more problems are not listed");
    }
}

#[test]
fn single_answers_are_checked() {
    type Check = fn(&str) -> Result<String, String>;
    let interval: Check = |text| check_interval(text).map(duration_text);
    let timeout: Check = |text| check_timeout(text, Duration::from_secs(60)).map(duration_text);
    let retries: Check = |text| check_retries(text).map(|n| n.to_string());
    let slow: Check = |text| check_slow(text).map(duration_text);
    let down_after: Check = |text| check_down_after(text).map(|after| after.to_string());
    let up_after: Check = |text| check_up_after(text).map(|n| n.to_string());
    let no_duration = "expected a duration such as \"10s\"";
    let cases: [(Check, &str, Result<&str, &str>); 21] = [
        (slow, "1ms", Ok("1ms")),
        (slow, "0ms", Err("expected 1ms to 7d")),
        (down_after, "3", Ok("3")),
        (down_after, "3 within 5", Ok("3 within 5")),
        (up_after, "64", Ok("64")),
        (up_after, "65", Err("expected a whole number from 1 to 64")),
        (up_after, "0", Err("expected a whole number from 1 to 64")),
        (interval, "100ms", Ok("100ms")),
        (interval, "7d", Ok("7d")),
        (interval, "99ms", Err("expected 100ms to 7d")),
        (interval, "10", Err(no_duration)),
        (timeout, "60s", Ok("1m")),
        (timeout, "10ms", Ok("10ms")),
        (timeout, "9ms", Err("expected 10ms to 1m, the interval")),
        (timeout, "1m1ms", Err("expected 10ms to 1m, the interval")),
        (timeout, "", Err(no_duration)),
        (retries, "0", Ok("0")),
        (retries, "10", Ok("10")),
        (retries, "11", Err("expected a whole number from 0 to 10")),
        (retries, "+1", Err("expected a whole number from 0 to 10")),
        (retries, "", Err("expected a whole number from 0 to 10")),
    ];
    for (check, text, want) in cases {
        let want = want.map(str::to_string).map_err(str::to_string);
        assert_eq!(check(text), want, "{text:?}");
    }
}

fn targets(count: usize) -> Vec<Target> {
    let target = |i| {
        Target::new(
            format!("target-{i}").parse().unwrap(),
            format!("[2001:db8::{:x}]:443", i % 0xffff).parse().unwrap(),
            Terms {
                retries: 2,
                ..Terms::every(Duration::from_millis(1_500), Duration::from_millis(250))
            },
        )
    };
    (0..count).map(target).collect()
}

#[test]
fn an_agents_configuration_has_one_fixed_form() {
    let text = concat!(
        r#"{"targets":[{"name":"target-0","address":"[2001:db8::]:443","#,
        r#""interval_ms":1500,"timeout_ms":250,"retries":2}]}"#
    );
    assert_eq!(agent_config_json(&targets(1)), text);
    assert_eq!(agent_config_json(&[]), r#"{"targets":[]}"#);
    let mut each = targets(1);
    each[0].each_address = true;
    let text = agent_config_json(&each);
    assert!(
        text.ends_with(r#""retries":2,"each_address":true}]}"#),
        "{text}"
    );
    let read = parse_agent_config(text.as_bytes(), &Reach::default());
    assert_eq!(read, Ok(each));
    for count in [0, 1, 2, TARGETS_MAX] {
        let sent = targets(count);
        let text = agent_config_json(&sent);
        assert_eq!(
            parse_agent_config(text.as_bytes(), &Reach::default()),
            Ok(sent)
        );
    }
    let text = agent_config_json(&targets(TARGETS_MAX + 1));
    let problems = parse_agent_config(text.as_bytes(), &Reach::default()).unwrap_err();
    let want = "1:12: targets: expected at most 100000 entries, found 100001";
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string(), want);
}

#[test]
fn an_agent_checks_its_configuration_whole() {
    let good = r#"{"name":"a","address":"h:1","interval_ms":1000,"timeout_ms":500,"retries":0}"#;
    let with = |from: &str, to: &str| format!(r#"{{"targets":[{}]}}"#, good.replacen(from, to, 1));
    let cases = [
        (r#"{"targets":["#.to_string(), "1:13: unexpected end"),
        (r#"{"targets":{}}"#.to_string(), "1:12: expected a list"),
        ("[]".to_string(), "1:1: expected an object"),
        ("{}".to_string(), "1:1: \"targets\" is missing"),
        (
            r#"{"targets":[],"script":""}"#.to_string(),
            "1:24: unknown key \"script\"",
        ),
        (
            r#"{"targets":[],"targets":[]}"#.to_string(),
            "1:25: \"targets\" is given twice",
        ),
        (
            r#"{"targets":[7]}"#.to_string(),
            "1:13: targets[0]: expected an object, found 7",
        ),
        (
            format!(r#"{{"targets":[{good},{good}]}}"#),
            "1:98: targets[1].name: targets[0] has \"a\" already",
        ),
        (
            with("\"a\"", "\"a b\""),
            "1:21: targets[0].name: expected a name of 1 to 128 letters, digits, '.', '_' or '-', found \"a b\"",
        ),
        (
            with("h:1", "h:0"),
            "1:35: targets[0].address: expected HOST:PORT with a port from 1 to 65535, found \"h:0\"",
        ),
        (
            with("1000", "99"),
            "1:55: targets[0].interval_ms: expected 100ms to 7d, found 99",
        ),
        (
            with("1000", "\"1s\""),
            "1:55: targets[0].interval_ms: expected whole milliseconds, found \"1s\"",
        ),
        (
            with("500", "9"),
            "1:73: targets[0].timeout_ms: expected 10ms to 7d, found 9",
        ),
        (
            with("500", "1001"),
            "1:73: targets[0].timeout_ms: 1s1ms is longer than the interval of 1s",
        ),
        (
            with(r#""retries":0"#, r#""retries":11"#),
            "1:87: targets[0].retries: expected a whole number from 0 to 10, found 11",
        ),
        (
            with(r#":0"#, r#":0,"each_address":1"#),
            "1:104: targets[0].each_address: expected true or false, found 1",
        ),
        (
            with(r#","retries":0"#, ""),
            "1:13: targets[0]: \"retries\" is missing",
        ),
        (
            with("retries", "entries"),
            "1:13: targets[0]: \"retries\" is missing",
        ),
    ];
    for (text, want) in cases {
        let problems = parse_agent_config(text.as_bytes(), &Reach::default()).unwrap_err();
        assert_eq!(problems[0].to_string(), want, "{text}");
    }
}
#[test]
fn a_port_that_is_to_stay_shut_is_tried_once_and_never_slow() {
    let fleet = fleet(
        r#"{"defaults": {"slow": "50ms", "retries": 3}, "targets": [
            {"name": "open", "address": "h:1"},
            {"name": "refused", "address": "h:1", "want": "refused"},
            {"name": "closed", "address": "h:1", "want": "closed", "retries": 2}]}"#,
    );
    let of = |t| (fleet.resolved(t).retries, fleet.rules_of(t).slow.is_some());
    let all: Vec<_> = fleet.targets.iter().map(of).collect();
    assert_eq!(all, [(3, true), (0, false), (0, false)]);
}

#[test]
fn rechecks_follow_from_the_rules_and_never_outnumber_ticks() {
    let fleet = fleet(
        r#"{"defaults": {"interval": "10s"}, "targets": [
            {"name": "usual", "address": "h:1"},
            {"name": "short", "address": "h:1", "interval": "2s"},
            {"name": "none", "address": "h:1", "interval": "1s"},
            {"name": "own", "address": "h:1", "retry_interval": "500ms", "down_after": "3 within 5"},
            {"name": "one", "address": "h:1", "down_after": 1, "up_after": 1},
            {"name": "off", "address": "h:1", "retry_interval": "10s"}]}"#,
    );
    let of = |t| {
        let recheck = fleet.resolved(t).recheck;
        (recheck.after.as_millis(), recheck.times)
    };
    let all: Vec<_> = fleet.targets.iter().map(of).collect();
    assert_eq!(
        all,
        [(2500, 2), (1000, 2), (0, 0), (500, 4), (2500, 0), (0, 0)]
    );
}

#[test]
fn a_configuration_too_large_to_send_is_refused() {
    let target = |n| format!(r#"{{"name":"t{n}","address":"h:1","script":"mysql"}}"#);
    let fleet = |count| {
        let targets: Vec<String> = (0..count).map(target).collect();
        let agents = r#"[{"name":"a","dials_in":true}]"#;
        format!(r#"{{"agents":{agents},"targets":[{}]}}"#, targets.join(","))
    };
    assert!(parse_fleet(fleet(10_000).as_bytes(), KeyRule::Waived).is_ok());
    let problems = parse_fleet(fleet(50_000).as_bytes(), KeyRule::Waived).unwrap_err();
    let text = problems[0].to_string();
    assert!(
        text.starts_with("the configuration of agent a would exceed 16MiB"),
        "{text}"
    );
}

#[test]
fn every_address_out_of_reach_is_a_problem_beside_the_others() {
    let target = |name: &str, address: &str, retries: u32| {
        format!(
            r#"{{"name":"{name}","address":"{address}","interval_ms":1000,"timeout_ms":500,"retries":{retries}}}"#
        )
    };
    let text = format!(
        "{{\"targets\":[{},\n{},\n{},\n{}]}}",
        target("a", "10.0.0.7:1", 0),
        target("b", "10.1.0.7:1", 11),
        target("c", "[::ffff:10.0.0.8]:1", 0),
        target("d", "db.example:1", 0),
    );
    let reach = Reach::parse(["10.0.0.0/15"].into_iter(), ["10.0.0.0/24"].into_iter());
    let problems = parse_agent_config(text.as_bytes(), &reach.unwrap()).unwrap_err();
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let expected = [
        "1:35: targets[0].address: 10.0.0.7 is within --deny 10.0.0.0/24",
        "2:82: targets[1].retries: expected a whole number from 0 to 10, found 11",
        "3:23: targets[2].address: 10.0.0.8 is within --deny 10.0.0.0/24",
    ];
    assert_eq!(problems, expected);
    let none = Reach::parse(["::/0"].into_iter(), [].into_iter()).unwrap();
    let problems = parse_agent_config(text.as_bytes(), &none).unwrap_err();
    assert_eq!(problems.len(), 4);
    let want = "2:23: targets[1].address: 10.1.0.7 is within no --allow";
    assert_eq!(problems[1].to_string(), want);
}
