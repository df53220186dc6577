//! Alerts from end to end: what breaks is told once, over restarts of whatever is on the
//! way, to programs and to webhooks.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};

use tcpmon::alert::{AlertEvent, On, Subject};
use tcpmon::config::{KeyRule, parse_fleet};
use tcpmon::manager::alerts::receiver::{QUEUE_MAX, Receiver};
use tcpmon::model::Name;

use super::support::{Running, Site, own_loopback, program, run, until};

/// Waits until it is on disk that `ops` was told something. A message is delivered once at
/// least: one whose delivery was not noted comes again after a kill.
fn noted(site: &Site) {
    let ops = r#""name":"ops","queued":0,"delivered":1"#;
    until("the delivery to be noted", || {
        let status = site.reading(&["status", "--json"]);
        status.contains(ops).then_some(())
    });
}

/// A server of the test's own that can go and come back at the same address.
struct Service {
    addr: SocketAddr,
    running: Option<Running>,
}

impl Service {
    fn start() -> Service {
        let mut running = Service::at(&format!("{}:0", own_loopback()));
        Service {
            addr: running.listening(),
            running: Some(running),
        }
    }

    fn at(addr: &str) -> Running {
        let mut command = program("tcpmon-server");
        Running::start(command.args(["--quiet", "--listen", addr]))
    }

    fn stop(&mut self) {
        self.running = None;
    }

    fn back(&mut self) {
        let mut running = Service::at(&self.addr.to_string());
        running.listening();
        self.running = Some(running);
    }
}

/// Writes a fleet whose targets are probed every 200 ms, and decided within about as long.
fn fleet(site: &Site, agents: &[(&str, SocketAddr)], targets: &str, alerts: &str) {
    let agents = agents
        .iter()
        .map(|(name, addr)| format!(r#"{{"name":"{name}","address":"{addr}"}}"#));
    let agents = agents.collect::<Vec<_>>().join(",");
    let text = format!(
        r#"{{"agents":[{agents}],"defaults":{{"interval":"200ms","retry_interval":"100ms","retries":0}},"targets":[{targets}],"alerts":[{alerts}]}}"#
    );
    fs::write(site.path("fleet.json"), text).unwrap();
}

fn target(name: &str, addr: SocketAddr) -> String {
    format!(r#"{{"name":"{name}","address":"{addr}"}}"#)
}

/// A receiver that writes what it gets to the file `got` beside the fleet file.
fn ops(more: &str) -> String {
    let run = r#"["/bin/sh", "-c", "cat >> got; echo $TCPMON_OCCASION $TCPMON_SUBJECT >> told"]"#;
    format!(r#"{{"name":"ops","group_wait":"0s","run":{run}{more}}}"#)
}

/// What `ops` was told, once it is so much.
fn told(site: &Site, count: usize) -> Vec<String> {
    until(&format!("{count} messages"), || {
        let text = fs::read_to_string(site.path("told")).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[cfg(unix)]
#[test]
fn an_outage_is_told_once_over_restarts_of_the_manager() {
    let site = Site::new(1);
    let mut db = Service::start();
    let (_a, a) = site.agent("a", "127.0.0.1:0");
    let (_b, b) = site.agent("b", "127.0.0.1:0");
    let targets = [target("db", db.addr), target("web", site.ports[0])].join(",");
    fleet(&site, &[("a", a), ("b", b)], &targets, &ops(""));
    let mut manager = site.serve(&[]);
    site.grows("a", 4);
    site.grows("b", 4);
    db.stop();
    assert_eq!(told(&site, 1), ["news db down: refused"]);
    manager
        .stderr
        .line("db down from all 2 agents: connect to ");
    // Whoever was told is not told again by the next process.
    noted(&site);
    manager.kill();
    let mut manager = site.serve(&[]);
    site.grows("a", 10);
    site.grows("b", 10);
    // What ends while nobody looks is told by the next one.
    manager.kill();
    db.back();
    let _manager = site.serve(&[]);
    let lines = told(&site, 2);
    assert!(
        lines[1].starts_with("news db up, was down for "),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2);
    let got = fs::read_to_string(site.path("got")).unwrap();
    for part in [
        r#""alert":"ops","manager":"main","occasion":"news""#,
        r#""kind":"down","target":"db""#,
        r#""agents":[{"name":"a","state":"down","why":"refused"},{"name":"b","state":"down","why":"refused"}]"#,
    ] {
        assert!(got.contains(part), "{part} in {got}");
    }
    let status = site.reading(&["status", "--json"]);
    let log = r#""alerts":[{"name":"ops","queued":0,"delivered":2,"dropped":0,"log":[{"#;
    until("the delivery log", || {
        site.reading(&["status", "--json"])
            .contains(log)
            .then_some(())
    });
    drop(status);
}

#[cfg(unix)]
#[test]
fn what_is_silenced_is_told_when_that_is_over() {
    let site = Site::new(1);
    let mut db = Service::start();
    let (_a, a) = site.agent("a", "127.0.0.1:0");
    let targets = [target("db", db.addr), target("web", site.ports[0])].join(",");
    fleet(&site, &[("a", a)], &targets, &ops(""));
    let mut manager = site.serve(&[]);
    site.grows("a", 4);
    let command = |words: &[&str]| run(&mut site.reading_command(words));
    command(&["silence", "db*"]).code(0);
    db.stop();
    manager.stderr.line("(silence)");
    let status = site.reading(&["status", "--json"]);
    assert!(status.contains(r#""quiet":"silence""#), "{status}");
    db.back();
    manager.stderr.line("db up from a");
    db.stop();
    manager.stderr.line("db down from a");
    let mut lift = program("tcpmon-manager");
    lift.args(["unsilence", "db*", "--data"])
        .arg(site.path("manager"));
    run(&mut lift).code(0);
    assert_eq!(told(&site, 1), ["news db down: refused"]);
}

#[cfg(unix)]
#[test]
fn what_hangs_on_a_target_that_is_down_is_not_told() {
    let site = Site::new(1);
    let mut router = Service::start();
    let mut db = Service::start();
    let (_a, a) = site.agent("a", "127.0.0.1:0");
    let behind = format!(
        r#"{{"name":"db","address":"{}","depends_on":["router"]}}"#,
        db.addr
    );
    let targets = [behind, target("router", router.addr)].join(",");
    fleet(&site, &[("a", a)], &targets, &ops(""));
    let _manager = site.serve(&[]);
    site.grows("a", 8);
    db.stop();
    router.stop();
    assert_eq!(told(&site, 1), ["news router down: refused"]);
    let unreachable = r#""name":"db","address":"#;
    until("db to be unreachable", || {
        let status = site.reading(&["status", "--json"]);
        let db = status.split(unreachable).nth(1)?;
        db.split("},{")
            .next()?
            .contains(r#""state":"unreachable""#)
            .then_some(())
    });
    router.back();
    db.back();
    let lines = told(&site, 2);
    assert!(lines[1].starts_with("news router up"), "{lines:?}");
    // What stays down when its parent is back is told, too.
    db.stop();
    assert_eq!(told(&site, 3)[2], "news db down: refused");
}

#[cfg(unix)]
#[test]
fn an_agent_that_is_gone_is_told_and_its_targets_are_not() {
    let site = Site::new(1);
    let (mut gone, a) = site.agent("a", &format!("{}:0", own_loopback()));
    fleet(&site, &[("a", a)], &target("web", site.ports[0]), &ops(""));
    let _manager = site.serve(&[]);
    site.grows("a", 4);
    gone.kill();
    assert_eq!(told(&site, 1), ["news a away"]);
    let (_a, _) = site.agent("a", &a.to_string());
    let lines = told(&site, 2);
    assert!(
        lines[1].starts_with("news a connected, was away for "),
        "{lines:?}"
    );
}

/// Takes one request: its first line and its body. Answers with `status`.
fn request(listener: &TcpListener, status: &str) -> (String, String) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut len) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            len = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    (
        first.trim_end().to_string(),
        String::from_utf8(body).unwrap(),
    )
}

#[cfg(unix)]
#[test]
fn a_webhook_that_fails_is_tried_again_and_keeps_nobody_waiting() {
    let site = Site::new(1);
    let mut db = Service::start();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hooks/db", hook.local_addr().unwrap());
    let (_a, a) = site.agent("a", "127.0.0.1:0");
    let chat = format!(
        r#"{{"name":"chat","group_wait":"0s","webhook":"{url}","body":"slack","on":["down"]}}"#
    );
    let alerts = format!("{chat},{}", ops(""));
    fleet(&site, &[("a", a)], &target("db", db.addr), &alerts);
    let mut manager = site.serve(&[]);
    site.grows("a", 4);
    db.stop();
    // The one is told while the other waits for its webhook.
    assert_eq!(told(&site, 1), ["news db down: refused"]);
    let (first, body) = request(&hook, "503 Service Unavailable");
    assert_eq!(first, "POST /hooks/db HTTP/1.1");
    manager.stderr.line("alert chat: post to ");
    // It is kept over a restart, and says the same again.
    noted(&site);
    manager.kill();
    let mut manager = site.serve(&[]);
    let (_, again) = request(&hook, "200 OK");
    assert_eq!(again, body);
    assert!(body.starts_with(r#"{"text":"#), "{body}");
    manager.stderr.line("alert chat: delivered after 2 tries");
    assert_eq!(told(&site, 1).len(), 1);
}

#[cfg(unix)]
#[test]
fn a_receiver_can_be_tested_without_a_manager() {
    let site = Site::new(1);
    let nobody = site.ports[0];
    let bad = r#"{"name":"bad","run":["/bin/sh","-c","echo no such room >&2; exit 3"]}"#;
    let alerts = format!("{},{bad}", ops(""));
    fleet(&site, &[("a", nobody)], &target("web", nobody), &alerts);
    let test = |words: &[&str]| {
        let mut command = program("tcpmon-manager");
        command
            .args(words)
            .arg("--config")
            .arg(site.path("fleet.json"));
        run(&mut command)
    };
    test(&["alert", "test", "ops"])
        .code(0)
        .stdout_has("alert ops: delivered in ");
    assert_eq!(told(&site, 1).len(), 1);
    assert!(told(&site, 1)[0].starts_with("test test of alert ops by "));
    test(&["alert", "test", "bad"])
        .code(1)
        .stderr_has("run /bin/sh: exit status 3: no such room");
    test(&["alert", "test", "opps"])
        .code(1)
        .stderr_has("no alert is named opps: did you mean ops?");
    for words in [
        &["alert"][..],
        &["alert", "test"],
        &["alert", "rest", "ops"],
    ] {
        test(words).code(2);
    }
}

#[cfg(unix)]
#[test]
fn a_message_given_up_because_too_many_waited_is_told() {
    let site = Site::new(1);
    let (mut db, (_a, a)) = (Service::start(), site.agent("a", "127.0.0.1:0"));
    db.stop();
    let fails = r#"{"name":"ops","group_wait":"0s","late":true,"run":["/bin/sh","-c","exit 1"]}"#;
    fleet(&site, &[("a", a)], &target("db", db.addr), fails);
    // As many as may wait, since a moment ago.
    let text = fs::read(site.path("fleet.json")).unwrap();
    let rule = parse_fleet(&text, KeyRule::Waived)
        .unwrap()
        .alerts
        .remove(0);
    let name: Name = "main".parse().unwrap();
    let mut full = Receiver::new(rule);
    let now = tcpmon::clock::wall();
    let event = AlertEvent {
        on: On::Down,
        subject: Subject::Target("db".parse().unwrap()),
        address: None,
        state: "up".into(),
        was: "down".into(),
        since: now,
        lasted: None,
        why: None,
        text: "db was down".into(),
        voices: Vec::new(),
    };
    for n in 0..QUEUE_MAX {
        full.late(std::slice::from_ref(&event), &name, now, format!("m{n}"));
    }
    fs::create_dir_all(site.path("manager/alerts")).unwrap();
    fs::write(site.path("manager/alerts/ops.json"), full.json()).unwrap();
    let mut manager = site.serve(&[]);
    let told = "alert ops: gave up on a message, the oldest: too many waited";
    manager.stderr.line(told);
    until("the count of it", || {
        let status = site.reading(&["status", "--json"]);
        status.contains(r#""dropped":1"#).then_some(())
    });
}
