//! The agent on its own, and against managers of every kind: real, hostile, many.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use tcpmon::json;
use tcpmon::proto::Message;
use tcpmon::record::{Body, Record};

use super::support::{Peer, Running, hello, program, run, until, verdict};

fn agent(data: &Path) -> Command {
    let mut command = program("tcpmon-agent");
    command
        .args(["--listen", "127.0.0.1:0", "--name", "attic", "--data"])
        .arg(data);
    command
}

fn start(data: &Path) -> (Running, SocketAddr) {
    let mut agent = Running::start(&mut agent(data));
    let addr = agent.listening();
    (agent, addr)
}

/// A configuration of targets that all connect to `addr`.
fn targets(addr: SocketAddr, names: &[&str], interval_ms: u64) -> String {
    let targets: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"name":"{name}","address":"{addr}","interval_ms":{interval_ms},"timeout_ms":{interval_ms},"retries":0}}"#
            )
        })
        .collect();
    format!(r#"{{"targets":[{}]}}"#, targets.join(","))
}

fn parse(line: &str) -> Record {
    Record::parse(line.as_bytes()).unwrap_or_else(|damage| panic!("{line}: {damage}"))
}

#[test]
fn without_a_manager_it_goes_on_from_its_last_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Running::start(program("tcpmon-server").args(["--listen", "127.0.0.1:0"]));
    let target = server.listening();
    let (mut first, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 1);
    let answer = manager.configure(1, 1, false, &targets(target, &["web"], 200));
    assert!(verdict(&answer).is_ok());
    server.stderr.line("127.0.0.1");
    first.kill();
    drop(manager);
    server.stderr.seen();
    let (mut second, _) = start(dir.path());
    second
        .stderr
        .line("going on from configuration 1 of manager m1: 1 targets");
    // What was under way when it was killed may still be told; the second is the new one's.
    server.stderr.line("127.0.0.1");
    server.stderr.line("127.0.0.1");
}

#[test]
fn each_kind_of_bad_peer_costs_one_connection_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, addr) = start(dir.path());
    let mut good = Peer::greet(addr, 1, 1);
    let long = vec![b'x'; 5000];
    let deep = "[".repeat(4000) + "\n";
    let version = hello(2, 2).line().replace("\"version\":1", "\"version\":9");
    let role = hello(2, 2).line().replace("\"manager\"", "\"agent\"");
    let cases: [(&[u8], &str); 8] = [
        (b"GET / HTTP/1.1\r\n\r\n", "expected a hello: not JSON"),
        (b"\x00\xff\xfe\x80\n", "expected a hello: not JSON"),
        (
            b"{\"msg\":\"ack\",\"epoch\":\"0000000000000001\",\"seq\":1}\n",
            "another message came",
        ),
        (&long, "line too long"),
        (deep.as_bytes(), "expected a hello: not JSON"),
        (version.as_bytes(), "protocol version 9"),
        (role.as_bytes(), "only managers talk to it"),
        (
            b"{\"msg\":\"hello\",\"version\":1}\n",
            "role is missing or wrong",
        ),
    ];
    for (bytes, reason) in cases {
        let mut bad = Peer::connect(addr);
        bad.send(bytes);
        assert!(bad.closed());
        let line = agent.stderr.line("connection from 127.0.0.1:");
        assert!(line.contains(reason), "{line}");
        assert!(!line.contains('\u{ff}'), "{line}");
        // One that belongs clears the address, which else would have to pause.
        drop(Peer::greet(addr, 2, 2));
    }
    let half = Peer::connect(addr);
    drop(half);
    agent.stderr.line("closed before its hello");
    let mut silent = Peer::connect(addr);
    assert!(silent.closed());
    agent.stderr.line("no hello within 5 s");
    assert!(verdict(&good.configure(1, 1, false, &targets(addr, &[], 1000))).is_ok());
}

#[test]
fn after_the_hello_nonsense_ends_the_session_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, addr) = start(dir.path());
    let huge = vec![b'x'; 70_000];
    let cases: [(&[u8], &str); 5] = [
        (b"nonsense\n", "not JSON"),
        (b"{\"msg\":\"party\"}\n", "unknown message"),
        (&huge, "line too long"),
        (
            b"{\"msg\":\"ack\",\"epoch\":\"0000000000000001\",\"seq\":5}\n",
            "but only 0 was sent",
        ),
        (
            b"{\"msg\":\"epoch\",\"epoch\":\"0000000000000001\"}\n",
            "only agents send",
        ),
    ];
    for (bytes, reason) in cases {
        let mut peer = Peer::greet(addr, 1, 1);
        peer.send(bytes);
        assert!(peer.closed());
        agent.stderr.line_where(reason, |line| {
            line.contains("manager m1") && line.contains(reason)
        });
    }
}

#[test]
fn a_bad_configuration_is_refused_whole_and_the_old_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (_agent, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 1);
    let good = targets(addr, &["web"], 1000);
    assert!(verdict(&manager.configure(1, 1, false, &good)).is_ok());
    let bad = r#"{"targets":[{"name":"a b","address":"x"},{"name":"c","address":"h:1","interval_ms":1,"timeout_ms":5,"retries":99}]}"#;
    let problems = verdict(&manager.configure(1, 2, false, bad)).unwrap_err();
    for part in [
        "targets[0].name",
        "targets[0].address",
        "targets[1].interval_ms",
        "targets[1].retries",
    ] {
        assert!(problems.contains(part), "{part} is not in: {problems}");
    }
    let mut again = Peer::greet(addr, 1, 1);
    let beat = again.hear(|m| matches!(m, Message::Beat { .. }));
    let Message::Beat {
        status: Some(status),
        ..
    } = beat
    else {
        panic!("{beat:?}");
    };
    assert_eq!(status.revision.unwrap().counter, 1);
}

#[test]
fn the_configuration_has_one_owner_until_another_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (_agent, addr) = start(dir.path());
    let (one, two) = (targets(addr, &["a"], 1000), targets(addr, &["b"], 1000));
    let mut main = Peer::greet(addr, 1, 1);
    let mut standby = Peer::greet(addr, 2, 2);
    assert!(verdict(&main.configure(1, 5, false, &one)).is_ok());
    assert!(verdict(&standby.configure(2, 1, false, &one)).is_ok());
    let refused = verdict(&standby.configure(2, 2, false, &two)).unwrap_err();
    assert!(refused.contains("belongs to manager m1"), "{refused}");
    let lower = verdict(&main.configure(1, 4, false, &two)).unwrap_err();
    assert!(lower.contains("revision 4 is not newer than 5"), "{lower}");
    assert!(verdict(&standby.configure(2, 3, true, &two)).is_ok());
    let refused = verdict(&main.configure(1, 6, false, &one)).unwrap_err();
    assert!(refused.contains("belongs to manager m2"), "{refused}");
}

#[test]
fn a_newer_connection_replaces_and_a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, addr) = start(dir.path());
    let mut old = Peer::greet(addr, 1, 1);
    let _new = Peer::greet(addr, 1, 1);
    assert!(old.closed());
    agent.stderr.line("replaced by a newer connection");
    let mut other = Peer::connect(addr);
    other.say(&hello(1, 2));
    let line = other.line().unwrap();
    assert!(
        line.contains("\"bye\"") && line.contains("is served already"),
        "{line}"
    );
}

#[test]
fn records_wait_for_the_slowest_known_manager_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, addr) = start(dir.path());
    let mut slow = Peer::greet(addr, 1, 1);
    let mut quick = Peer::greet(addr, 2, 2);
    let last = parse(&quick.record()).seq;
    slow.record();
    let epoch = quick_epoch(dir.path());
    quick.say(&Message::Ack { epoch, seq: last });
    first.kill();
    // A third manager, new to this agent, is told what is no longer there: nothing yet.
    let (mut second, addr) = start(dir.path());
    let mut third = Peer::greet(addr, 3, 3);
    assert_eq!(parse(&third.record()).seq, 1);
    drop((slow, quick, third));
    for (name, code) in [("m1", 0), ("m3", 0), ("m9", 1)] {
        let done = run(program("tcpmon-agent")
            .args(["--forget", name, "--data"])
            .arg(dir.path()));
        done.code(code);
    }
    second.kill();
    let done = run(program("tcpmon-agent")
        .args(["--forget", "m1", "--data"])
        .arg(dir.path()));
    done.code(1).stderr_has("no such manager; known: m2");
}

#[test]
fn it_says_how_it_gets_on() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |data: &Path| {
        run(program("tcpmon-agent")
            .args(["--status", "--data"])
            .arg(data))
    };
    ask(dir.path()).code(1).stderr_has("no agent answers on");
    let both = run(program("tcpmon-agent").args(["--status", "--forget", "m1"]));
    both.code(2).stderr_has("one at a time");
    let mut server = Running::start(program("tcpmon-server").args(["--listen", "127.0.0.1:0"]));
    let target = server.listening();
    let (_agent, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 1);
    let answer = manager.configure(1, 1, false, &targets(target, &["web", "db"], 100));
    assert!(verdict(&answer).is_ok());
    let result = |line: &str| matches!(parse(line).body, Body::Result(_));
    while !result(&manager.record()) {}
    let said = ask(dir.path());
    said.code(0);
    let said = json::parse(said.stdout.as_bytes()).unwrap();
    let number = |key: &str| said.get(key).and_then(|v| v.u64()).unwrap();
    assert_eq!(said.get("name").and_then(|v| v.str()), Some("attic"));
    assert_eq!(
        (number("rows"), number("skipped"), number("dropped")),
        (2, 0, 0)
    );
    assert!(number("workers") >= number("busy") && number("workers") > 0);
    assert!(number("spool_bytes") > 0);
    let counts = said.get("late_counts").and_then(|v| v.array()).unwrap();
    let counts = counts
        .iter()
        .map(|pair| pair.array().unwrap()[1].u64().unwrap());
    assert_eq!(counts.sum::<u64>(), number("probes"));
    let late = |key: &str| said.get("late_us").and_then(|late| late.get(key)?.u64());
    assert!(late("p50").unwrap() <= late("max").unwrap());
}

fn quick_epoch(data: &Path) -> tcpmon::model::Epoch {
    let names = std::fs::read_dir(data.join("spool")).unwrap();
    let name = names
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .max()
        .unwrap();
    name.split('-').nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_everyone_has_is_deleted_and_a_newcomer_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 1);
    manager.record();
    let old = quick_epoch(dir.path());
    first.kill();
    let (_second, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 2);
    let mut last = 0;
    while let record @ 1.. = parse(&manager.record()).seq {
        if record <= last {
            break;
        }
        last = record;
    }
    // All of the old run is here; acknowledged, it goes.
    manager.say(&Message::Ack {
        epoch: old,
        seq: last,
    });
    let spool = dir.path().join("spool");
    until("the old run's segments to go", || {
        let names = std::fs::read_dir(&spool).unwrap();
        let mut names = names.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        (!names.any(|name| name.contains(&old.to_string()))).then_some(())
    });
    let mut again = Peer::greet(addr, 1, 2);
    let Message::Beat {
        status: Some(status),
        ..
    } = again.hear(|m| matches!(m, Message::Beat { .. }))
    else {
        panic!("a beat without status");
    };
    assert_eq!(status.epochs.len(), 1);
    let mut newcomer = Peer::connect(addr);
    newcomer.say(&hello(2, 3));
    newcomer.hear(|m| matches!(m, Message::Hello(_)));
    newcomer.say(&Message::Resume(vec![(status.epochs[0].epoch, 0)]));
    assert_eq!(parse(&newcomer.record()).seq, 1);
}

#[test]
fn two_starters_on_one_directory_never_both_run() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let mut racers = [
            Running::start(&mut agent(dir.path())),
            Running::start(&mut agent(dir.path())),
        ];
        let loser = loop {
            if let Some(at) = racers.iter_mut().position(|r| !r.alive()) {
                break at;
            }
            std::thread::yield_now();
        };
        racers[1 - loser].listening();
        let [a, b] = racers;
        let (lost, mut won) = if loser == 0 { (a, b) } else { (b, a) };
        lost.finish()
            .code(1)
            .stderr_has("is in use by another tcpmon-agent");
        won.kill();
    }
}

#[test]
fn it_listens_beyond_loopback_only_when_told_that_this_is_insecure() {
    let dir = tempfile::tempdir().unwrap();
    let refused = run(program("tcpmon-agent")
        .args(["--listen", "0.0.0.0:0", "--data"])
        .arg(dir.path()));
    refused
        .code(2)
        .stderr_has("beyond loopback a link needs a key")
        .stderr_has("--insecure");
    let mut allowed = Running::start(
        program("tcpmon-agent")
            .args(["--listen", "0.0.0.0:0", "--insecure", "--data"])
            .arg(dir.path()),
    );
    allowed.stderr.line("--insecure: anyone who can reach");
    allowed.listening();
}

/// Starts an agent with these `--allow` and `--deny`.
fn start_within(data: &Path, rules: &[&str]) -> (Running, SocketAddr) {
    let mut agent = Running::start(agent(data).args(rules));
    let addr = agent.listening();
    (agent, addr)
}

/// A listener of the test's own; [`untouched`] says that nobody came.
fn trap() -> (TcpListener, SocketAddr) {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let addr = trap.local_addr().unwrap();
    (trap, addr)
}

#[track_caller]
fn untouched(trap: &TcpListener) {
    let came = trap.accept().map(|(_, peer)| peer);
    assert_eq!(came.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// The text of the next failure of `target`, whose cause must be the agent's own.
#[track_caller]
fn refusal(manager: &mut Peer, target: &str) -> String {
    let name = format!("\"target\":\"{target}\"");
    loop {
        let line = manager.record();
        if line.contains(&name) && line.contains("\"ok\":") {
            assert!(line.contains("\"ok\":false"), "{line}");
            assert!(line.contains("\"why\":\"local\""), "{line}");
            return line;
        }
    }
}

#[test]
fn a_target_out_of_reach_is_a_problem_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let rules = ["--allow", "127.0.0.0/8", "--deny=127.9.0.0/16"];
    let (_agent, addr) = start_within(dir.path(), &rules);
    let mut manager = Peer::greet(addr, 1, 1);
    let target = |name: &str, address: &str, interval: &str| {
        format!(
            r#"{{"name":"{name}","address":"{address}","interval_ms":{interval},"timeout_ms":500,"retries":0}}"#
        )
    };
    let text = format!(
        "{{\"targets\":[{},\n{},\n{}]}}",
        target("a", "10.0.0.7:5432", "1000"),
        target("b", "127.0.0.1:1", "1"),
        target("c", "[::ffff:127.9.0.1]:1", "1000"),
    );
    let problems = verdict(&manager.configure(1, 1, false, &text)).unwrap_err();
    let expected = "1:35: targets[0].address: 10.0.0.7 is within no --allow; \
        2:51: targets[1].interval_ms: expected 100ms to 7d, found 1; \
        3:23: targets[2].address: 127.9.0.1 is within --deny 127.9.0.0/16";
    assert_eq!(problems, expected);
    let good = format!("{{\"targets\":[{}]}}", target("b", "127.0.0.1:1", "1000"));
    assert!(verdict(&manager.configure(1, 2, false, &good)).is_ok());
}

#[test]
fn a_name_that_resolves_out_of_reach_fails_without_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let rules = ["--deny", "127.0.0.0/8", "--deny", "::1"];
    let (_agent, addr) = start_within(dir.path(), &rules);
    let (trap, target) = trap();
    let mut manager = Peer::greet(addr, 1, 1);
    let named = targets(target, &["db"], 100).replace("127.0.0.1", "localhost");
    assert!(verdict(&manager.configure(1, 1, false, &named)).is_ok());
    for _ in 0..2 {
        let line = refusal(&mut manager, "db");
        let text = format!("\"text\":\"connect to localhost:{}: ", target.port());
        assert!(line.contains(&text), "{line}");
        assert!(line.contains(" is within --deny "), "{line}");
    }
    untouched(&trap);
}

#[test]
fn a_rule_that_is_new_holds_for_the_configuration_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, addr) = start(dir.path());
    let (trap, target) = trap();
    let mut server = Running::start(program("tcpmon-server").args(["--listen", "127.0.0.2:0"]));
    let elsewhere = server.listening();
    let (denied, free) = (
        targets(target, &["db"], 100),
        targets(elsewhere, &["web"], 100),
    );
    let mut manager = Peer::greet(addr, 1, 1);
    let both = denied.replace("]}", ",") + free.trim_start_matches(r#"{"targets":["#);
    assert!(verdict(&manager.configure(1, 1, false, &both)).is_ok());
    until("a first probe", || trap.accept().ok());
    first.kill();
    while trap.accept().is_ok() {}
    server.stderr.seen();
    let (mut second, addr) = start_within(dir.path(), &["--deny", "127.0.0.1"]);
    second
        .stderr
        .line("going on from configuration 1 of manager m1: 2 targets");
    let mut manager = Peer::greet(addr, 1, 2);
    let text = format!("\"text\":\"connect to {target}: 127.0.0.1 is within --deny 127.0.0.1/32\"");
    until("a failure that says why", || {
        Some(manager.record()).filter(|line| line.contains(&text))
    });
    refusal(&mut manager, "db");
    untouched(&trap);
    // The other one is probed as before. (Of the first agent one probe may still be told.)
    server.stderr.line("closed by the peer");
    server.stderr.line("closed by the peer");
}

#[test]
fn bad_options_say_what_was_expected() {
    for (args, text) in [
        (["--spool-limit", "x"], "expected a size"),
        (["--spool-limit", "1KiB"], "expected at least 256KiB"),
        (["--sync", "often"], "expected always, interval or never"),
        (["--max-workers", "0"], "expected a whole number from 1"),
        (["--listen", "here"], "expected IP:PORT"),
        (["--name", "a b"], "expected a name"),
        (["--lisen", "x"], "did you mean --listen"),
        (["--allow", "10.0.0.0/33"], "expected a network such as"),
        (["--deny", "10.0.0.7/8"], "did you mean 10.0.0.0/8?"),
    ] {
        run(program("tcpmon-agent").args(args))
            .code(2)
            .stderr_has(text);
    }
}

/// Reads the next record of a row, or of a target, as a word and what it is of.
fn next_event(peer: &mut Peer) -> (&'static str, Option<IpAddr>) {
    loop {
        match parse(&peer.record()).body {
            Body::Result(sample) if sample.ok() => return ("ok", sample.each),
            Body::Result(sample) => return ("failed", sample.each),
            Body::Began { each, .. } => return ("began", each),
            Body::Ended { each, .. } => return ("ended", each),
            Body::Start { .. } => return ("start", None),
            _ => {}
        }
    }
}

/// `localhost` has one address on some machines and two on others: whatever it has here.
#[test]
fn each_address_of_a_name_is_a_row_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Running::start(program("tcpmon-server").args(["--listen", "127.0.0.1:0"]));
    let port = server.listening().port();
    let addrs = ("localhost", port).to_socket_addrs().unwrap();
    let addrs: BTreeSet<IpAddr> = addrs.map(|addr| addr.ip()).collect();
    let config = |each: &str| {
        format!(
            r#"{{"targets":[{{"name":"web","address":"localhost:{port}","interval_ms":200,"timeout_ms":200,"retries":0{each}}}]}}"#
        )
    };
    let (mut first, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 1);
    let each = config(r#","each_address":true"#);
    assert!(verdict(&manager.configure(1, 1, false, &each)).is_ok());
    // By its name until that is resolved.
    assert_eq!(next_event(&mut manager), ("start", None));
    assert_eq!(next_event(&mut manager), ("began", None));
    let by_name = |event: &(&str, Option<IpAddr>)| matches!(event, ("ok" | "failed", None));
    let mut events = std::iter::from_fn(|| Some(next_event(&mut manager))).skip_while(by_name);
    assert_eq!(events.next(), Some(("ended", None)));
    let mut began = BTreeSet::new();
    let mut measured = BTreeMap::new();
    while !measured.keys().eq(&addrs) {
        match events.next().unwrap() {
            ("began", Some(each)) => assert!(began.insert(each)),
            (word @ ("ok" | "failed"), Some(each)) => drop(measured.insert(each, word)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(began, addrs);
    let listening: IpAddr = "127.0.0.1".parse().unwrap();
    assert!(measured.get(&listening).is_none_or(|word| *word == "ok"));
    let Message::Now { targets, .. } =
        Peer::greet(addr, 2, 2).hear(|message| matches!(message, Message::Now { .. }))
    else {
        panic!("no states");
    };
    let states: BTreeSet<IpAddr> = targets.iter().filter_map(|target| target.each).collect();
    assert_eq!((states, targets.len()), (addrs.clone(), addrs.len()));
    first.kill();
    let (_second, addr) = start(dir.path());
    let mut manager = Peer::greet(addr, 1, 2);
    // The records of the first run come again, then those of the second.
    let (mut starts, mut rows) = (0, BTreeSet::new());
    let mut until = |wanted: &BTreeSet<Option<IpAddr>>| {
        while starts < 2 || rows != *wanted {
            match next_event(&mut manager) {
                ("start", _) => {
                    starts += 1;
                    rows.clear();
                }
                ("began", each) => assert!(rows.insert(each)),
                ("ended", each) => assert!(rows.remove(&each)),
                _ => {}
            }
        }
    };
    until(&addrs.into_iter().map(Some).collect());
    let answer = Peer::greet(addr, 3, 3).configure(1, 2, false, &config(""));
    assert!(verdict(&answer).is_ok(), "{answer:?}");
    until(&BTreeSet::from([None]));
}
