//! What is seen over HTTP, and what goes out: real programs, asked as a browser, Prometheus
//! or a script would.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tcpmon::json::{self, Kind, Value};

use super::support::{
    Running, Sink, Site, Stream, get, get_with, own_loopback, program, run, until,
};

/// Where a program answers HTTP, by its line on stdout.
fn http_of(program: &mut Running) -> SocketAddr {
    let line = program.stdout.line("http on ");
    line.strip_prefix("http on ").unwrap().parse().unwrap()
}

/// A manager that shows itself.
fn serve(site: &Site, args: &[&str]) -> (Running, SocketAddr) {
    let all = [&["--http", "127.0.0.1:0"], args].concat();
    let mut manager = site.serve(&all);
    let http = http_of(&mut manager);
    (manager, http)
}

/// A site of one agent, `attic`, and targets t0 and t1, which is not there; `more` stands
/// in the fleet file beside them.
fn site(more: &str) -> (Site, Running) {
    let site = Site::new(1);
    let (agent, at) = site.agent("attic", "127.0.0.1:0");
    let nobody = SocketAddr::from((own_loopback(), 9));
    let text = format!(
        r#"{{"agents":[{{"name":"attic","address":"{at}"}}],"defaults":{{"interval":"200ms"}},
        "targets":[{{"name":"t0","address":"{}","group":"shop","tags":["prod"]}},
                   {{"name":"t1","address":"{nobody}","retries":0}}]{more}}}"#,
        site.ports[0]
    );
    fs::write(site.path("fleet.json"), text).unwrap();
    (site, agent)
}

/// Waits until both targets are decided.
fn decided(http: SocketAddr) {
    for state in [r#""name":"t0","#, r#""state":"down""#] {
        until(state, || {
            get(http, "/api/v1/status")
                .body
                .contains(state)
                .then_some(())
        });
    }
    until("t0 up", || {
        let body = get(http, "/api/v1/targets/t0").body;
        let shown = body.contains(r#""state":"up""#) && body.contains(r#""hours":[{"#);
        (shown && body.contains(r#""complete":true"#)).then_some(())
    });
}

/// How the second of two documents differs from the first in its keys, their order and the
/// kinds of their values. `null` and an empty list are like anything; the items of a list are
/// as the first one's first.
fn difference(told: &Value<'_>, got: &Value<'_>, at: &str) -> Option<String> {
    match (&told.kind, &got.kind) {
        (Kind::Null, _) | (_, Kind::Null) => None,
        (Kind::Object(told), Kind::Object(got)) => {
            // Where a target belongs is told of those that belong somewhere.
            let optional = |m: &&json::Member<'_>| !matches!(&*m.key, "group" | "tags");
            let (told, got) = (told.iter().filter(optional), got.iter().filter(optional));
            let keys = |o: Vec<&json::Member<'_>>| -> Vec<String> {
                o.iter().map(|m| m.key.to_string()).collect()
            };
            let both = (keys(told.clone().collect()), keys(got.clone().collect()));
            if both.0 != both.1 {
                return Some(format!("{at}: {:?} or {:?}", both.0, both.1));
            }
            let mut pairs = told.zip(got);
            pairs.find_map(|(a, b)| difference(&a.value, &b.value, &format!("{at}.{}", a.key)))
        }
        (Kind::Array(told), Kind::Array(got)) => {
            let first = told.first()?;
            got.iter()
                .find_map(|item| difference(first, item, &format!("{at}[]")))
        }
        (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => None,
        (a, b) => Some(format!("{at}: {a:?} or {b:?}")),
    }
}

/// The same of texts.
fn differ(told: &str, got: &str) -> Option<String> {
    let (told, got) = (json::parse(told.as_bytes()), json::parse(got.as_bytes()));
    difference(&told.expect("JSON"), &got.expect("JSON"), "")
}

#[test]
fn the_api_is_as_documented() {
    let gone = SocketAddr::from((own_loopback(), 9));
    let more = format!(
        r#","alerts":[{{"name":"ops","run":["true"],"on":["flapping"]}}],"export":[{{"name":"metrics","influx":"http://{gone}/write"}}]"#
    );
    let (site, _agent) = site(&more);
    let (_manager, http) = serve(&site, &[]);
    decided(http);
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md"));
    let manual = manual.unwrap();
    let mut paths = BTreeSet::new();
    for part in manual.split("```http\nGET ").skip(1) {
        let (path, rest) = part.split_once("\n```\n```json\n").unwrap();
        let (example, _) = rest.split_once("\n```").unwrap();
        let answer = get(http, path);
        answer.status(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            differ(example, &answer.body),
            None,
            "{path}\n{}",
            answer.body
        );
        paths.insert(path.split('?').next().unwrap().to_string());
    }
    assert!(paths.len() >= 7, "{paths:?}");
    // What the commands print is the same.
    let status = get(http, "/api/v1/status").body;
    let printed = site.reading(&["status", "--json"]);
    assert_eq!(differ(&status, &printed), None);
}

#[test]
fn documents_that_differ_are_told_apart() {
    let full = r#"{"a":[{"b":1,"c":null}],"d":"x"}"#;
    for (text, expected) in [
        (r#"{"a":[{"b":2,"c":"y"}],"d":"z"}"#, true),
        (r#"{"a":[],"d":null}"#, true),
        (r#"{"a":[{"b":2,"c":"y"}]}"#, false),
        (r#"{"a":[{"b":2}],"d":"z"}"#, false),
        (r#"{"a":[{"b":"2","c":1}],"d":"z"}"#, false),
        (r#"{"a":[],"e":null}"#, false),
        (r#"{"d":"x","a":[]}"#, false),
    ] {
        assert_eq!(differ(full, text).is_none(), expected, "{text}");
        assert_eq!(differ(text, full).is_none(), expected, "{text}");
    }
}

#[test]
fn the_page_tells_how_things_are_and_what_changes() {
    let (mut site, _agent) = site(r#","page":{"title":"A <b>"}"#);
    let (mut manager, http) = serve(&site, &[]);
    decided(http);
    let page = get(http, "/");
    page.status(200)
        .has("<title>✗ 1 down of 2 targets · A &lt;b&gt;</title>")
        .has("<span class=\"b down\">✗ down</span> <b>t1</b>: connect to ")
        .has("<a class=\"t\" href=\"/target/t0?by=hour\">t0</a>")
        .has("shop <small>1 of 1 answer</small>")
        .has("agent attic connected")
        .lacks("A <b>");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    // Nothing is loaded; the name space of the icon is no request.
    assert_eq!(page.body.matches("http:").count(), 1);
    page.lacks("https:")
        .lacks(" src=")
        .lacks("=\"//")
        .lacks("url(h")
        .lacks("@import");
    get(http, "/?state=up").has("t-t0").lacks("t-t1");
    get(http, "/?q=SHO").has("t-t0").lacks("t-t1");
    get(http, "/?tag=prod&by=day")
        .has("t-t0")
        .lacks("t-t1")
        .has("last 90 days");
    get(http, "/?q=nothing").has("No target is like that.");
    for (wrong, name) in [
        ("/?state=odd", "state"),
        ("/?by=week", "by"),
        ("/?page=0", "page"),
    ] {
        get(http, wrong).status(400).has(name);
    }
    get(http, "/target/t0?by=day")
        .status(200)
        .has("class=\"p50\"")
        .has("<th scope=\"row\">attic</th>");
    get(http, "/target/none").status(404);
    let badge = get(http, "/badge/t1.svg");
    badge.status(200).has("t1: down");
    assert_eq!(badge.header("content-type"), Some("image/svg+xml"));
    let tag = badge.header("etag").unwrap();
    get_with(http, "/badge/t1.svg", &[("If-None-Match", tag)])
        .status(304)
        .lacks("svg");
    let mut stream = Stream::open(http, "/stream?by=hour");
    stream.event(r#""id":"targets""#);
    site.server.kill();
    stream.event("t0</b>: connect to");
    site.server_again();
    let row = stream.event(r#"✓ up"#);
    assert!(row.contains("t-t0"), "{row}");
    // What was told outlives the manager.
    let up = "t0 up from attic after ";
    until("events are kept", || {
        let kept = fs::read_to_string(site.path("manager/events.json")).ok()?;
        kept.contains(up).then_some(())
    });
    manager.kill();
    let (_manager, http) = serve(&site, &[]);
    get(http, "/").has(up);
    let events = get(http, "/api/v1/events").body;
    assert!(events.starts_with(r#"{"events":[{"no":1,"#), "{events}");
}

#[test]
fn a_large_fleet_has_a_page_of_at_most_60_kib() {
    let site = Site::new(1);
    let (_agent, at) = site.agent("attic", "127.0.0.1:0");
    // Each is probed once: the order does not change from one page to the next.
    site.fleet(&[("attic", at)], 300, "1h");
    let (_manager, http) = serve(&site, &[]);
    until("all up", || {
        let page = get(http, "/").body;
        let told = |after| Some(page.split_once(after)?.1.split(['"', '·']).next()?.trim());
        let verdict = told("data-title=\"").expect("a verdict");
        // Whatever is kept for a moment, the title is of the same one.
        assert_eq!(told("<title>"), Some(verdict));
        verdict.contains("all 300 targets up").then_some(())
    });
    let mut seen = BTreeSet::new();
    let mut path = "/?by=hour".to_string();
    for no in 1.. {
        let page = get(http, &path);
        assert!(page.body.len() <= 60 * 1024, "{} bytes", page.body.len());
        for row in page.body.split("<tr id=\"t-").skip(1) {
            let new = seen.insert(row.split('"').next().unwrap().to_string());
            assert!(new, "a row twice");
        }
        match page.body.contains(">next page</a>") {
            true => path = format!("/?by=hour&page={}", no + 1),
            false => break,
        }
    }
    assert_eq!(seen.len(), 300);
}

#[test]
fn rows_with_much_to_say_are_fewer_on_a_page_of_at_most_60_kib() {
    let site = Site::new(1);
    let (_agent, at) = site.agent("attic", "127.0.0.1:0");
    let nobody = SocketAddr::from((own_loopback(), 9));
    let targets: Vec<String> = (0..60)
        .map(|no| format!(r#"{{"name":"{no:0>128}","address":"{nobody}"}}"#))
        .collect();
    let text = format!(
        r#"{{"agents":[{{"name":"attic","address":"{at}"}}],"defaults":{{"interval":"1s","retries":0}},"targets":[{}]}}"#,
        targets.join(",")
    );
    fs::write(site.path("fleet.json"), text).unwrap();
    let (_manager, http) = serve(&site, &[]);
    let page = until("all down", || {
        let page = get(http, "/").body;
        page.contains("60 down of 60 targets").then_some(page)
    });
    let rows = page.matches("<tr id=\"t-").count();
    assert!((1..40).contains(&rows), "{rows} rows");
    assert!(page.len() <= 60 * 1024, "{} bytes", page.len());
}

#[test]
fn metrics_tell_of_every_target_in_both_formats() {
    let (site, _agent) = site("");
    let (_manager, http) = serve(&site, &[]);
    decided(http);
    let failures = "tcpmon_probe_failures_total{target=\"t1\",agent=\"attic\",reason=\"refused\"} ";
    until("failures counted", || {
        let text = get(http, "/metrics").body;
        let line = text.lines().find_map(|l| l.strip_prefix(failures))?;
        (line != "0").then_some(())
    });
    let text = get(http, "/metrics");
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    text.has("\ntcpmon_target_up{target=\"t0\",group=\"shop\"} 1\n")
        .has("\ntcpmon_target_up{target=\"t1\"} 0\n")
        .has("\ntcpmon_target_state{target=\"t1\",state=\"down\"} 1\n")
        .has("\ntcpmon_agent_connected{agent=\"attic\"} 1\n")
        .has("\ntcpmon_history_records{agent=\"attic\",kind=\"stored\"} ")
        .has("\ntcpmon_probe_duration_seconds_bucket{target=\"t0\",agent=\"attic\",le=\"+Inf\"} ");
    let open = [(
        "Accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    )];
    let open = get_with(http, "/metrics", &open);
    assert!(
        open.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(open.body.ends_with("\n# EOF\n"));
    // Each family once, and each series once.
    let lines: Vec<&str> = text.body.lines().collect();
    let series = |l: &&&str| !l.starts_with('#');
    let names: BTreeSet<&str> = lines
        .iter()
        .filter(series)
        .map(|l| l.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(names.len(), lines.iter().filter(series).count());
    let types: Vec<&&str> = lines.iter().filter(|l| l.starts_with("# TYPE ")).collect();
    for file in ["alerts.yml", "grafana.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integrations");
        let used = fs::read_to_string(path.join(file)).unwrap();
        let names = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: BTreeSet<&str> = names.filter(|name| name.starts_with("tcpmon_")).collect();
        assert!(names.len() > 8, "{file}: {names:?}");
        for name in names {
            let suffixes = ["_bucket", "_count", "_sum"];
            let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
            let is_told = |name| types.iter().any(|t| t.split(' ').nth(2) == Some(name));
            assert!(is_told(name) || base.is_some_and(is_told), "{file}: {name}");
        }
    }
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len());
}

#[test]
fn who_may_see_what_is_for_the_options_to_say() {
    let (site, mut agent) = site(r#","page":{"hide":["t0"]}"#);
    let refused = |args: &[&str], text: &str| {
        let done = run(site.manager(&["serve"]).args(args));
        done.code(2).stderr_has(text);
    };
    refused(
        &["--http", "0.0.0.0:0"],
        "beyond loopback everyone could read it",
    );
    refused(&["--http-public"], "--http-public: goes with --http");
    refused(&["--http", "nowhere"], "--http: expected IP:PORT");
    let token = site.path("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    restrict(&token);
    let args = [
        "--http-public",
        "--http-token-file",
        token.to_str().unwrap(),
    ];
    let (mut manager, http) = serve(&site, &args);
    until("t1 down for all", || {
        get(http, "/")
            .body
            .contains("1 down of 1 targets")
            .then_some(())
    });
    for path in ["/", "/target/t1", "/stream-not"] {
        let page = get_with(http, path, &[("Host", "status.example")]);
        for secret in ["attic", "127.", "t0", "connect to"] {
            page.lacks(secret);
        }
    }
    get(http, "/")
        .has("<td class=\"why\">refused</td>")
        .has("1 down of 1");
    for hidden in [
        "/metrics",
        "/api/v1/status",
        "/api/v1/events",
        "/target/t0",
        "/badge/t0.svg",
    ] {
        get(http, hidden).status(404);
    }
    get(http, "/badge/t1.svg").status(200);
    get(http, "/healthz").status(200);
    let bearer = [("Authorization", "Bearer 0123456789abcdef")];
    get_with(http, "/api/v1/status", &bearer)
        .status(200)
        .has("attic");
    get_with(http, "/", &bearer).has("t-t0").lacks("/login");
    get(http, "/").has("<a href=\"/login\">log in</a>");
    let asked = get(http, "/login");
    asked.status(401);
    assert!(
        asked
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
    assert_eq!(
        get_with(http, "/login", &bearer)
            .status(303)
            .header("location"),
        Some("/")
    );
    let wrong = get_with(http, "/", &[("Authorization", "Bearer 0123456789abcdeX")]);
    wrong.status(401).lacks("t1");
    manager.kill();
    // Beside no token, whoever is meant for another host is turned away.
    let (mut manager, http) = serve(&site, &[]);
    get_with(http, "/", &[("Host", "evil.example")])
        .status(421)
        .lacks("t1");
    get_with(http, "/metrics", &[("Host", "127.0.0.1:80")]).status(200);
    manager.kill();
    agent.kill();
}

#[cfg(unix)]
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn restrict(_: &Path) {}

/// Times and values of what line protocol tells of t0.
fn points(text: &str) -> BTreeSet<String> {
    let of_t0 = text
        .lines()
        .filter(|line| line.starts_with("tcpmon,agent=attic,target=t0"));
    of_t0.map(str::to_string).collect()
}

/// The same of what is stored.
fn stored_points(site: &Site) -> BTreeSet<String> {
    let done = run(program("tcpmon-manager")
        .args(["export", "--format", "csv", "--target", "t0", "--data"])
        .arg(site.path("manager")));
    done.code(0);
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let (us, at) = (cells[5], cells[15]);
        let parts = ["dns", "connect", "first_byte", "match", "close"];
        let parts = parts
            .iter()
            .zip(&cells[8..13])
            .filter(|(_, us)| !us.is_empty());
        let parts: String = parts
            .map(|(name, us)| format!(",{name}_us={us}i"))
            .collect();
        format!("tcpmon,agent=attic,target=t0,group=shop up=1i,us={us}i{parts} {at}000000")
    };
    done.stdout.lines().skip(1).map(line).collect()
}

#[test]
fn an_export_goes_on_where_it_was_whoever_was_away() {
    let at = SocketAddr::from((own_loopback(), 0));
    let first = Sink::start(at, Some("204 No Content"), 3);
    let more = format!(
        r#","export":[{{"name":"vm","influx":"http://{}/write?db=x","targets":["t0"],"timeout":"5s"}}]"#,
        first.addr
    );
    let (site, _agent) = site(&more);
    let (mut manager, http) = serve(&site, &[]);
    let mut got = BTreeSet::new();
    got.extend(first.deliveries.iter().flat_map(|text| points(&text)));
    // It is gone; what is measured meanwhile waits, over a restart of the manager too.
    manager.stderr.line("export vm: post to ");
    until("a backlog", || {
        let status = get(http, "/api/v1/status").body;
        (status.contains("\"failing\":\"") && !status.contains("\"backlog\":0")).then_some(())
    });
    site.reading_command(&["status"]);
    manager.kill();
    site.grows("attic", 0);
    let (mut manager, http) = serve(&site, &[]);
    site.grows("attic", 20);
    let before = stored_points(&site);
    let again = Sink::start(first.addr, Some("204 No Content"), usize::MAX);
    until("it works again", || {
        let status = get(http, "/api/v1/status").body;
        (status.contains("\"failing\":null") && status.contains("\"backlog\":0")).then_some(())
    });
    got.extend(again.deliveries.try_iter().flat_map(|text| points(&text)));
    assert!(before.is_subset(&got), "no backlog, and not all of it");
    let wanted = stored_points(&site);
    until("every stored result", || {
        got.extend(again.deliveries.try_iter().flat_map(|text| points(&text)));
        wanted.is_subset(&got).then_some(())
    });
    let mut later = wanted;
    until("nothing that is not stored", || {
        later.extend(stored_points(&site));
        got.is_subset(&later).then_some(())
    });
    let status = site.reading(&["status", "--json"]);
    assert!(status.contains(r#""missed":0,"refused":0"#), "{status}");
    manager.kill();
}

#[test]
fn what_a_receiver_refuses_for_good_is_counted_and_passed_over() {
    let at = SocketAddr::from((own_loopback(), 0));
    let sink = Sink::start(at, Some("400 Bad Request"), usize::MAX);
    let plain = Sink::start(at, None, usize::MAX);
    let more = format!(
        r#","export":[{{"name":"bad","influx":"http://{}/"}},{{"name":"carbon","graphite":"{}","prefix":"x.y"}}]"#,
        sink.addr, plain.addr
    );
    let (site, _agent) = site(&more);
    let (mut manager, http) = serve(&site, &[]);
    manager.stderr.line("export bad: ");
    until("refused results", || {
        let text = get(http, "/metrics").body;
        let line = "tcpmon_export_refused_results_total{export=\"bad\"} ";
        let count = text.lines().find_map(|l| l.strip_prefix(line))?;
        (count != "0").then_some(())
    });
    let text: String = until("a delivery", || {
        let text = plain.deliveries.recv().ok()?;
        text.contains("x.y.attic.t0.up 1 ").then_some(text)
    });
    assert!(text.contains("x.y.attic.t1.up 0 "), "{text}");
}

#[test]
fn an_agent_answers_probes_as_blackbox_exporter_does() {
    let site = Site::new(1);
    let port = site.ports[0];
    let modules = r#"{"modules":[{"name":"echo","timeout":"2s","script":[{"send":"hi\n"},{"expect":"hi"}]},
        {"name":"wrong","timeout":"300ms","script":[{"send":"hi\n"},{"expect":"SSH-"}]}]}"#;
    fs::write(site.path("modules.json"), modules).unwrap();
    let allow = [
        "--http",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--modules",
        "modules.json",
        "--allow",
        "127.0.0.0/8",
    ];
    let mut agent = site.agent_with("attic", &allow);
    let http = http_of(&mut agent);
    let probe = |query: &str| get(http, &format!("/probe?{query}"));
    probe(&format!("target={port}&module=echo"))
        .status(200)
        .has("\nprobe_success 1\n")
        .has("\nprobe_ip_protocol 4\n")
        .has("\nprobe_failed_due_to_regex 0\n")
        .has("probe_tcp_duration_seconds{phase=\"match\"} ");
    probe(&format!("target={port}&module=wrong"))
        .has("\nprobe_success 0\n")
        .has("\nprobe_failed_due_to_regex 1\n")
        .has("probe_failure_reason{reason=\"mismatch\"} 1\n");
    let nobody = SocketAddr::from((own_loopback(), 9));
    probe(&format!("target={nobody}"))
        .has("\nprobe_success 0\n")
        .has("probe_failure_reason{reason=\"refused\"} 1\n");
    probe(&format!("target={port}&module=echo&debug=true"))
        .has("connected to ")
        .has("received 3 bytes: hi\\x0a")
        .has("Metrics that would have been returned:\n# HELP");
    probe("target=10.0.0.1:1").has("probe_failure_reason{reason=\"local\"} 1\n");
    for wrong in ["", "module=echo", "target=x", "target=h:1&module=none"] {
        probe(wrong).status(400);
    }
    let late = [("X-Prometheus-Scrape-Timeout-Seconds", "soon")];
    get_with(http, &format!("/probe?target={port}"), &late).status(400);
    drop(agent);
    // Without --allow only what is configured.
    let mut agent = site.agent_with(
        "cellar",
        &["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
    );
    let at = agent.listening();
    let http = http_of(&mut agent);
    let probe = |target: SocketAddr| get(http, &format!("/probe?target={target}"));
    probe(port).status(403).has("is not configured here");
    site.fleet(&[("cellar", at)], 1, "200ms");
    let _manager = site.serve(&[]);
    until("it is configured", || {
        (probe(port).status == 200).then_some(())
    });
    probe(nobody).status(403);
    until("it is counted", || {
        let text = get(http, "/metrics").body;
        text.contains("\ntcpmon_probe_up{target=\"t0\"} 1\n")
            .then_some(())
    });
}

#[test]
fn a_file_of_modules_that_is_wrong_is_told_whole() {
    let site = Site::new(1);
    fs::write(site.path("m.json"), r#"{"modules":[{"nam":"x"}]}"#).unwrap();
    let mut command = program("tcpmon-agent");
    command.args([
        "--http",
        "127.0.0.1:0",
        "--modules",
        "m.json",
        "--data",
        "d",
    ]);
    let done = run(command.current_dir(site.path("")));
    done.code(1)
        .stderr_has("m.json:1:13: modules[0]: \"name\" is missing")
        .stderr_has("m.json:1:14: modules[0]: unknown key \"nam\"");
    let mut command = program("tcpmon-agent");
    run(command.args(["--modules", "m.json"]))
        .code(2)
        .stderr_has("--modules: goes with --http");
}

#[test]
fn the_history_is_printed_whole() {
    let (site, _agent) = site("");
    let mut manager = site.serve(&[]);
    site.grows("attic", 10);
    manager.kill();
    let export = |args: &[&str]| {
        let mut command = program("tcpmon-manager");
        command
            .arg("export")
            .args(args)
            .arg("--data")
            .arg(site.path("manager"));
        run(&mut command)
    };
    let all = export(&[]);
    let stored: Vec<String> = site.stored().remove("attic").unwrap();
    assert_eq!(all.code(0).stdout.lines().count(), stored.len());
    for line in all.stdout.lines() {
        let value = json::parse(line.as_bytes()).unwrap();
        assert_eq!(value.get("agent").and_then(Value::str), Some("attic"));
    }
    let csv = export(&["--format", "csv", "--target", "t*"]);
    assert_eq!(
        csv.code(0).stdout.lines().count(),
        1 + site.results("attic")
    );
    assert_eq!(export(&["--target", "none"]).stdout, "");
    assert_eq!(export(&["--agent", "none"]).stdout, "");
    assert_eq!(export(&["--until", "1h", "--since", "2h"]).stdout, "");
    export(&["--format", "xml"])
        .code(2)
        .stderr_has("expected csv or jsonl");
    export(&["--since", "1h", "--until", "2h"])
        .code(2)
        .stderr_has("is not before");
}

#[test]
fn a_list_of_targets_becomes_a_fleet_file() {
    let site = Site::new(1);
    let import = |args: &[&str]| {
        let mut command = program("tcpmon-manager");
        run(command.arg("import").args(args).current_dir(site.path("")))
    };
    let sd = r#"[{"targets":["10.0.0.7:5432"],"labels":{"job":"db","dc":"x"}}]"#;
    fs::write(site.path("sd.json"), sd).unwrap();
    fs::write(site.path("list"), "web w.example:80\n").unwrap();
    fs::write(site.path("bad"), "web elsewhere:80\nx\n").unwrap();
    import(&["sd.json", "--dry-run"])
        .code(0)
        .stdout_has("\"name\": \"10.0.0.7-5432\"");
    assert!(!site.path("fleet.json").exists());
    import(&["sd.json"])
        .code(0)
        .stdout_has("fleet.json: 1 targets added, 0 there already\n")
        .stdout_has("labels that nothing was made of: dc\n");
    import(&["list"]).code(0).stdout_has("1 targets added");
    import(&["list"])
        .code(0)
        .stdout_has("0 targets added, 1 there already");
    let before = fs::read(site.path("fleet.json")).unwrap();
    import(&["bad"])
        .code(1)
        .stderr_has("bad:2:1: expected a name and HOST:PORT on a line");
    fs::write(site.path("bad"), "web elsewhere:80\n").unwrap();
    import(&["bad"])
        .code(1)
        .stderr_has("bad:1:1: target web is there already");
    import(&[]).code(2).stderr_has("no list");
    import(&["none"])
        .code(1)
        .stderr_has("read none: no such file");
    assert_eq!(fs::read(site.path("fleet.json")).unwrap(), before);
    let done = run(program("tcpmon-manager")
        .args(["validate"])
        .current_dir(site.path("")));
    done.code(0);
}
