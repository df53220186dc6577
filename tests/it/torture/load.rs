//! More to do than there are hands: most of the workers wait for targets that never speak,
//! and many agents come at once.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use tcpmon::model::Wall;
use tcpmon::proto::Message;
use tcpmon::record::{Body, Record};

use super::{setting, wait_until};
use crate::support::{Peer, Running, Site, own_loopback, program};

/// What is known of a target: results, and ticks that passed without one.
#[derive(Debug, Default, Clone, Copy)]
struct Served {
    results: u64,
    skipped: u64,
}

#[test]
fn half_of_the_targets_silent_cost_the_others_nothing() {
    // So many targets, half of which keep a worker each until they time out, and workers.
    let crowd = setting("TCPMON_CROWD", 400) as usize;
    let workers = setting("TCPMON_CROWD_WORKERS", 8);
    let seconds = setting("TCPMON_CROWD_S", 6);
    let interval_ms = crowd as u64 * 1000 / 400;
    let timeout_ms = (interval_ms * 3 / 10).min(1000);
    let site = Site::new(20);
    let mut silent = Running::start(program("tcpmon-server").args([
        "--quiet",
        "--mode",
        "silent",
        "--listen",
        &format!("{}:0", own_loopback()),
    ]));
    let dark = silent.listening();
    let workers = workers.to_string();
    let mut agent = site.agent_with(
        "alpha",
        &[
            "--listen",
            "127.0.0.1:0",
            "--name",
            "alpha",
            "--max-workers",
            &workers,
        ],
    );
    let at = agent.listening();
    let targets: Vec<String> = (0..crowd)
        .map(|n| match n % 2 {
            0 => format!(
                r#"{{"name":"good-{n}","address":"{}"}}"#,
                site.ports[n % 20]
            ),
            _ => format!(
                r#"{{"name":"dark-{n}","address":"{dark}","script":[{{"expect":"220 "}}]}}"#
            ),
        })
        .collect();
    let fleet = format!(
        r#"{{"agents":[{{"name":"alpha","address":"{at}"}}],"defaults":{{"interval":"{interval_ms}ms","timeout":"{timeout_ms}ms","retries":0}},"targets":[{}]}}"#,
        targets.join(",")
    );
    fs::write(site.path("fleet.json"), fleet).unwrap();
    let _manager = site.serve(&[]);
    agent.stderr.line("applied");
    // At first nobody knows who is quick: each has its turn once.
    let began = Instant::now();
    let limit = Duration::from_secs(20 + crowd as u64 / 50);
    let first = loop {
        wait_until(Instant::now() + Duration::from_millis(500));
        let served = served(&site);
        if served.values().filter(|s| s.results > 0).count() == crowd {
            break served;
        }
        assert!(
            began.elapsed() < limit,
            "{} of {crowd} served",
            served.len()
        );
    };
    println!("each was probed within {:.1?}", began.elapsed());
    wait_until(Instant::now() + Duration::from_secs(seconds));
    assert!(agent.alive());
    site.audited_clean();
    let since = served(&site).into_iter().map(|(name, served)| {
        let first = first[&name];
        let since = Served {
            results: served.results - first.results,
            skipped: served.skipped - first.skipped,
        };
        (name, since)
    });
    let (good, dark): (Vec<_>, Vec<_>) = since.partition(|(name, _)| name.starts_with("good"));
    let [good, dark] = [good, dark].map(Sum::of);
    println!("since then, good: {good:?}, dark: {dark:?}");
    // Whoever answers is probed as if the others were not there.
    assert!(good.skipped * 100 <= good.results, "{good:?}");
    // The others get what is left, in turn, and what they did not get is counted.
    assert!(dark.most - dark.least <= 2, "{dark:?}");
    assert!(dark.skipped > dark.results, "{dark:?}");
}

#[test]
fn a_manager_that_does_not_read_costs_the_others_nothing() {
    let site = Site::new(20);
    let (mut agent, at) = site.agent("alpha", "127.0.0.1:0");
    // It resumes, lives, and neither reads nor acknowledges.
    let mut idle = Peer::greet(at, 7, 7);
    site.fleet(&[("alpha", at)], 400, "100ms");
    let _manager = site.serve(&[]);
    for _ in 0..10 {
        site.grows("alpha", 2000);
        idle.say(&Message::Beat {
            at: Wall(0),
            status: None,
        });
    }
    assert!(agent.alive());
    assert!(!agent.stderr.seen().contains("manager m7 from"));
    site.audited_clean();
    // Of 20,000 records it was sent only what may be ahead of acknowledgements: when it reads
    // at last, what is so comes after that little, and not after all that was.
    let mut before = 0;
    while !idle.line().expect("a line").contains("\"msg\":\"beat\"") || before == 0 {
        before += 1;
    }
    assert!(before < 1500, "{before} lines before a beat");
}

#[test]
fn many_agents_come_at_once() {
    // All from one address, as behind NAT; half of them dial in, the others are dialled.
    let count = setting("TCPMON_AGENTS", 40) as usize;
    let limit = Duration::from_secs(20 + count as u64 / 5);
    let site = Site::new(1);
    let listen = format!("{}:0", own_loopback());
    site.keygen(&["--out", "master.key"]);
    let dials_in = |n: usize| n % 2 == 0;
    for n in (0..count).filter(|n| dials_in(*n)) {
        let (name, out) = (format!("agent-{n}"), format!("{n}.key"));
        site.keygen(&["--agent", &name, "--master", "master.key", "--out", &out]);
    }
    let mut agents: Vec<Running> = Vec::new();
    let mut listed = Vec::new();
    for n in (0..count).filter(|n| !dials_in(*n)) {
        let (agent, at) = site.agent(&format!("agent-{n}"), "127.0.0.1:0");
        listed.push(format!(r#"{{"name":"agent-{n}","address":"{at}"}}"#));
        agents.push(agent);
    }
    listed.extend(
        (0..count)
            .filter(|n| dials_in(*n))
            .map(|n| format!(r#"{{"name":"agent-{n}","dials_in":true,"key_file":"master.key"}}"#)),
    );
    site.fleet_of(&listed, r#""interval":"2s""#, 1);
    let mut manager = site.serve(&["--listen", &listen]);
    let at = manager.listening().to_string();
    for n in (0..count).filter(|n| dials_in(*n)) {
        let data = format!("agent-{n}");
        let key = format!("{n}.key");
        agents.push(site.agent_with(&data, &["--key-file", &key, "--manager", &at]));
    }
    all_there(&mut manager, count, limit);
    for round in 1..=2 {
        manager.kill();
        // Long enough for all to have tried in vain.
        wait_until(Instant::now() + Duration::from_secs(3));
        manager = site.serve(&["--listen", &at]);
        let began = Instant::now();
        all_there(&mut manager, count, limit);
        println!(
            "{round}: {count} agents are back after {:.1?}",
            began.elapsed()
        );
    }
    for agent in &mut agents {
        assert!(agent.alive());
    }
    site.audited_clean();
}

/// Waits until the manager has said of so many agents that they are connected.
fn all_there(manager: &mut Running, count: usize, limit: Duration) {
    let began = Instant::now();
    loop {
        let said = manager.stderr.seen();
        // Of very many at once it says how many it leaves out.
        let there: usize = said.lines().map(connections_on).sum();
        if there >= count {
            return;
        }
        assert!(began.elapsed() < limit, "{there} of {count} are there");
        wait_until(Instant::now() + Duration::from_millis(100));
    }
}

/// How many agents a line of the manager's says are connected.
fn connections_on(line: &str) -> usize {
    let text = line.split_once(' ').map_or("", |(_, text)| text);
    match text.split_once(" events are left out") {
        Some((count, _)) => count.parse().unwrap(),
        None => usize::from(text.starts_with("agent ") && text.contains(" connected")),
    }
}

/// What is stored of each target.
fn served(site: &Site) -> BTreeMap<String, Served> {
    let mut served: BTreeMap<String, Served> = BTreeMap::new();
    for line in site.stored().remove("alpha").unwrap_or_default() {
        // The last one may be half written.
        match Record::parse(line.as_bytes()).map(|record| record.body) {
            Ok(Body::Result(sample)) => {
                served.entry(sample.target.to_string()).or_default().results += 1;
            }
            Ok(Body::Skip { target, count, .. }) => {
                served.entry(target.to_string()).or_default().skipped += count;
            }
            _ => {}
        }
    }
    served
}

/// What targets of a kind got.
#[derive(Debug, Default)]
struct Sum {
    results: u64,
    skipped: u64,
    least: u64,
    most: u64,
}

impl Sum {
    fn of(served: Vec<(String, Served)>) -> Sum {
        let results = served.iter().map(|(_, served)| served.results);
        Sum {
            results: results.clone().sum(),
            skipped: served.iter().map(|(_, served)| served.skipped).sum(),
            least: results.clone().min().unwrap_or(0),
            most: results.max().unwrap_or(0),
        }
    }
}
