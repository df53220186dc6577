//! The bodies of webhooks: as they are documented, and against text that wants out of them.
//! Golden files stand in `tests/data/alerts`.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::alert::{Occasion, PLACEHOLDERS};
use crate::json::{Value, parse};
use crate::manager::alerts::examples::{AWAY, DOWN, HOSTILE, UP, example, message};

const REPEAT: Duration = Duration::from_secs(4 * 3600);

fn posted(message: &Message, form: &Form) -> Post {
    let url = "http://10.0.0.2:8080/ops".parse().unwrap();
    post(message, &url, form, Some(REPEAT))
}

fn template(text: &str) -> Form {
    Form::Template(text.to_string())
}

#[test]
fn bodies_are_as_documented() {
    let documented = documented();
    let mut bodies = Vec::new();
    let custom = r#"{"title":"{{subject}}","body":"{{text}}","tcpmon":{{json}}}"#;
    for (file, form) in [
        ("json.json", Form::Json),
        ("slack.json", Form::Slack),
        ("ntfy.json", Form::Ntfy),
        ("alertmanager.json", Form::Alertmanager),
        ("template.json", template(custom)),
    ] {
        let post = posted(&example(), &form);
        golden(file, &post.body);
        assert_eq!(post.content_type, JSON, "{file}");
        bodies.push((file, post.body));
    }
    bodies.retain(|(file, _)| *file != "template.json");
    for (file, body) in bodies {
        assert!(
            documented.contains(&body),
            "{file} is not what docs/alerts.md shows"
        );
    }
    assert!(
        documented
            .contains(&r#"{"text":"{{subject}}","at":"{{since}}","event":{{json}}}"#.to_string())
    );
}

#[test]
fn text_from_outside_stays_where_it_stands() {
    let message = message("news", &[HOSTILE]);
    let json_template = template(r#"{"a":"{{text}}","b":{{json}}}"#);
    for form in [
        Form::Json,
        Form::Slack,
        Form::Ntfy,
        Form::Alertmanager,
        json_template,
    ] {
        let post = posted(&message, &form);
        assert_eq!(post.body, text::escape(&post.body), "{form:?}");
        parse(post.body.as_bytes()).expect(&post.body);
    }
    let plain = r#"banner \x1b[2J<b>"$(id)"&\x0d\x0a\x00\u{202e}ok\"#;
    let of = |form, key: &str| {
        let body = posted(&message, &form).body;
        parse(body.as_bytes())
            .unwrap()
            .get(key)
            .unwrap()
            .str()
            .unwrap()
            .to_string()
    };
    assert_eq!(of(Form::Ntfy, "message"), plain);
    let chat = r#"banner \x1b[2J&lt;b&gt;"$(id)"&amp;\x0d\x0a\x00\u{202e}ok\"#;
    assert_eq!(of(Form::Slack, "text"), format!("web slow\n{chat}"));
    assert_eq!(of(template(r#"{"a":"{{text}}"}"#), "a"), plain);
    assert_eq!(posted(&message, &template("{{text}}")).body, plain);
}

#[test]
fn templates_are_filled() {
    let message = example();
    let whole = message.json();
    for (text, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("{{target}} is {{state}}, was {{was}}", "db is down, was up"),
        (
            "{{id}} {{alert}} {{manager}} {{occasion}}",
            "8f3a52c10e6d4b97 ops hq news",
        ),
        (
            "{{kind}}: {{why}} since {{since}} ({{count}})",
            "down: refused since 2025-11-25T02:30:00.000Z (2)",
        ),
        ("{{subject}}", "1 down: db; 1 up: mail"),
        ("{{json}}", &whole),
        ("{{nothing}} {{target", "{{nothing}} {{target"),
        ("{{{{target}}}}", "{{db}}"),
        ("{{ target }} {target} }}", "{{ target }} {target} }}"),
        (" [\"{{target}}\"]", " [\"db\"]"),
        (r#"{"a":{"b":"{{target}}"}}"#, r#"{"a":{"b":"db"}}"#),
        (r#"{"a":{{count}}}"#, r#"{"a":2}"#),
        (r#"{"a":{{json}}}"#, &format!(r#"{{"a":{whole}}}"#)),
    ] {
        assert_eq!(posted(&message, &template(text)).body, expected, "{text}");
    }
    let escaped = posted(&message, &template(r#"["{{text}}"]"#)).body;
    assert!(escaped.contains("refused\\nmail"), "{escaped}");
    for (text, content_type) in [
        ("{\"a\":1}", JSON),
        ("\n [1]", JSON),
        ("{{json}}", TEXT),
        ("{{subject}}", TEXT),
        ("", TEXT),
        ("x{", TEXT),
    ] {
        let post = posted(&message, &template(text));
        assert_eq!(post.content_type, content_type, "{text}");
    }
}

#[test]
fn every_placeholder_stands_for_something() {
    for name in PLACEHOLDERS {
        assert!(
            value(&example(), name).is_some_and(|v| !v.is_empty()),
            "{name}"
        );
    }
    assert_eq!(value(&example(), "address"), None);
}

#[test]
fn a_topic_is_the_last_part_of_the_path() {
    for (target, root, name) in [
        ("/ops", "/", "ops"),
        ("/ops/", "/", "ops"),
        ("/a/ops", "/a/", "ops"),
        ("/ops?auth=x/y", "/?auth=x/y", "ops"),
        ("/", "/", ""),
    ] {
        let expected = (root.to_string(), name.to_string());
        assert_eq!(topic(target), expected, "{target}");
    }
    let post = posted(&example(), &Form::Ntfy);
    assert_eq!(post.url.to_string(), "http://10.0.0.2:8080/");
    let post = posted(&example(), &Form::Slack);
    assert_eq!(post.url.to_string(), "http://10.0.0.2:8080/ops");
}

#[test]
fn ntfy_is_told_how_urgent_it_is_and_no_more_than_it_takes() {
    let many = vec![DOWN; 500];
    for (events, priority, tag) in [
        (vec![DOWN, UP], 4, "red_circle"),
        (vec![UP], 2, "green_circle"),
        (vec![AWAY, UP], 3, "warning"),
        (vec![HOSTILE], 3, "warning"),
        (many, 4, "red_circle"),
    ] {
        let body = posted(&message("news", &events), &Form::Ntfy).body;
        let value = parse(body.as_bytes()).unwrap();
        assert_eq!(value.get("priority").unwrap().u64(), Some(priority));
        let tags = value.get("tags").unwrap().array().unwrap();
        assert_eq!((tags[0].str(), tags.len()), (Some(tag), 1));
        assert!(value.get("message").unwrap().str().unwrap().len() <= 4096);
        assert!(body.len() <= 2 * 4096);
    }
}

/// What an Alertmanager's alerts say: `-` before those that are over when the message is
/// made, the name, and whose it is.
fn alerts(message: &Message) -> Vec<String> {
    let body = posted(message, &Form::Alertmanager).body;
    let value = parse(body.as_bytes()).unwrap();
    let tell = |alert: &Value<'_>| {
        let of = |value: &Value<'_>, key: &str| {
            value
                .get(key)
                .and_then(Value::str)
                .unwrap_or_default()
                .to_string()
        };
        let labels = alert.get("labels").unwrap();
        let (starts, ends) = (of(alert, "startsAt"), of(alert, "endsAt"));
        assert!(starts <= ends, "{body}");
        let sign = if ends <= timestamp(message.at) {
            "-"
        } else {
            ""
        };
        let whose = of(labels, "target") + &of(labels, "agent");
        format!("{sign}{} {whose}", of(labels, "alertname"))
    };
    value.array().unwrap().iter().map(tell).collect()
}

/// The occasion, what it is about, its state, what it was; then the alerts.
const FIRED: &str = "
news target down up: TargetDown
news target down unknown: TargetDown
news target down slow: -TargetSlow TargetDown
news target slow down: -TargetDown TargetSlow
news target slow up: TargetSlow
news target flapping down: -TargetDown TargetFlapping
news target up down: -TargetDown
news target up slow: -TargetSlow
news target up flapping: -TargetFlapping
news target up unknown: -TargetDown -TargetSlow -TargetFlapping
news agent away connected: AgentAway
news agent cut_off away: -AgentAway AgentCutOff
news agent trouble connected: AgentTrouble
news agent connected cut_off: -AgentCutOff
reminder target down down: TargetDown
reminder target down up: TargetDown
late target up down: TargetWasDown
late target down up: TargetWasDown
test target down up: TcpmonTest
test target up down: TcpmonTest
";

#[test]
fn what_fired_is_ended_by_name() {
    for row in FIRED.trim().lines() {
        let (given, expected) = row.split_once(": ").unwrap();
        let words: Vec<String> = given.split(' ').map(|w| w.replace('_', " ")).collect();
        let [occasion, of, state, was] = &words[..] else {
            panic!("{row}");
        };
        let kind = match (of.as_str(), On::from_word(state)) {
            ("target", Some(on)) => on.as_str(),
            _ => "agent",
        };
        let event = format!(
            r#"{{"kind":"{kind}","{of}":"x","state":"{state}","was":"{was}","since":1764037800000,"lasted_ms":60000,"text":"","agents":[]}}"#
        );
        let got = alerts(&message(occasion, &[&event]));
        let expected: Vec<String> = expected.split(' ').map(|a| format!("{a} x")).collect();
        assert_eq!(got, expected, "{row}");
    }
    // The newest last, however important: it is what holds.
    let earlier = UP
        .replace("mail", "db")
        .replace("1764037802000", "1764037799000");
    assert_eq!(
        alerts(&message("news", &[DOWN, &earlier])),
        ["-TargetDown db", "TargetDown db"]
    );
}

#[test]
fn what_ends_an_alert_has_its_labels() {
    let labels = |event: &str| {
        let body = posted(&message("news", &[event]), &Form::Alertmanager).body;
        let (_, rest) = body.split_once(r#""labels":{"#).unwrap();
        rest.split_once('}').unwrap().0.to_string()
    };
    let up = DOWN.replace(r#""kind":"down""#, r#""kind":"up""#);
    let up = up.replace(
        r#""state":"down","was":"up""#,
        r#""state":"up","was":"down""#,
    );
    assert_ne!(up, DOWN);
    assert_eq!(labels(&up), labels(DOWN));
    assert_eq!(
        labels(DOWN),
        r#""alertname":"TargetDown","target":"db","manager":"hq""#
    );
}

#[test]
fn what_fires_ends_late_enough() {
    let hours = |h: u64| Some(Duration::from_secs(h * 3600));
    for (occasion, repeat, ends) in [
        (Occasion::News, hours(4), "2025-11-26T03:30:10.000Z"),
        (Occasion::News, hours(8), "2025-11-26T03:30:10.000Z"),
        (Occasion::Reminder, hours(9), "2025-11-26T05:30:10.000Z"),
        (Occasion::News, None, "2025-12-25T02:30:10.000Z"),
        (Occasion::Late, None, "2025-11-26T03:30:10.000Z"),
        (Occasion::Test, hours(9), "2025-11-25T02:40:10.000Z"),
    ] {
        let message = message(occasion.as_str(), &[DOWN]);
        let body = alertmanager::alerts(&message, repeat);
        let expected = format!(r#""startsAt":"2025-11-25T02:30:00.000Z","endsAt":"{ends}""#);
        assert!(body.contains(&expected), "{expected} {body}");
    }
    let body = posted(&message("news", &[UP]), &Form::Alertmanager).body;
    let over = r#""startsAt":"2025-11-25T02:15:02.000Z","endsAt":"2025-11-25T02:30:02.000Z""#;
    assert!(body.contains(over), "{body}");
}

/// Compares with a golden file in `tests/data/alerts`; `TCPMON_BLESS=1` writes it anew.
pub fn golden(file: &str, text: &str) {
    let path = root().join("tests/data/alerts").join(file);
    if std::env::var_os("TCPMON_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{text}\n")).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        format!("{text}\n") == expected,
        "{file} differs; it is now:\n{text}"
    );
}

pub fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// What the documentation shows in blocks marked as JSON, without the space between tokens.
pub fn documented() -> Vec<String> {
    let docs = fs::read_to_string(root().join("docs/alerts.md")).unwrap();
    let blocks = docs.split("```json\n").skip(1);
    let blocks = blocks.map(|block| block.split("\n```").next().unwrap_or_default());
    blocks.map(compact).collect()
}

fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut out = String::new();
    for char in json.chars() {
        if !quoted && char.is_whitespace() {
            continue;
        }
        quoted ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        out.push(char);
    }
    out
}
