//! Links that are slow, late, silent or cut at any byte.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Dice, setting, wait_until};
use crate::support::{
    Link, Proxy, Running, Site, Way, has_more_than_zero, own_loopback, program, run, until,
};

/// A target is probed every five seconds; so much later at most people are told of it.
const PRESENT_WITHIN: Duration = Duration::from_secs(20);

/// A server for one target that comes and goes.
fn one_server(at: &str) -> (Running, SocketAddr) {
    let mut server = Running::start(program("tcpmon-server").args(["--quiet", "--listen", at]));
    let addr = server.listening();
    (server, addr)
}

/// A fleet of one agent with `targets` targets every `interval`, and `odd` every five seconds.
fn fleet(site: &Site, agent: SocketAddr, targets: usize, interval: &str, odd: SocketAddr) {
    let targets = (0..targets).map(|n| {
        let addr = site.ports[n % site.ports.len()];
        format!(r#"{{"name":"target-{n}","address":"{addr}"}}"#)
    });
    let odd = format!(r#"{{"name":"odd","address":"{odd}","interval":"5s","down_after":1}}"#);
    let targets: Vec<String> = targets.chain([odd]).collect();
    let text = format!(
        r#"{{"agents":[{{"name":"alpha","address":"{agent}"}}],"defaults":{{"interval":"{interval}"}},"targets":[{}]}}"#,
        targets.join(",")
    );
    fs::write(site.path("fleet.json"), text).unwrap();
}

#[test]
fn over_a_slow_link_the_present_comes_before_a_backlog_and_a_configuration() {
    let targets = setting("TCPMON_SLOW_TARGETS", 300) as usize;
    let site = Site::new(20);
    let own = format!("{}:0", own_loopback());
    let (mut server, odd) = one_server(&own);
    let (_agent, at) = site.agent("alpha", "127.0.0.1:0");
    let link = Proxy::start(at);
    // A backlog that takes minutes.
    fleet(&site, link.addr, 400, "100ms", odd);
    let mut manager = site.serve(&[]);
    site.grows("alpha", 400);
    manager.kill();
    until("a backlog", || {
        let mut status = program("tcpmon-agent");
        status.arg("--status").arg("--data").arg(site.path("alpha"));
        let text = run(&mut status).stdout;
        let probes = text.split("\"probes\":").nth(1)?;
        let probes: u64 = probes.split(',').next()?.parse().ok()?;
        (probes > 20_000).then_some(())
    });
    link.set(Link {
        rate: Some(10 * 1024),
        ..Link::default()
    });
    fleet(&site, link.addr, targets, "600s", odd);
    let mut manager = site.serve(&[]);
    manager.stderr.line("agent alpha connected");
    let began = Instant::now();
    until("the odd one to be up", || {
        let status = site.reading(&["status", "--json"]);
        let odd = status.split("\"name\":\"odd\"").nth(1)?;
        odd.contains("\"state\":\"up\"").then_some(())
    });
    println!("{:.1?}: known to be up", began.elapsed());
    let mut tells = |server: &mut Running, up: bool| {
        match up {
            true => *server = one_server(&odd.to_string()).0,
            false => server.kill(),
        }
        let at = Instant::now();
        manager.stderr.line(if up {
            "odd up from alpha"
        } else {
            "odd down from alpha"
        });
        let after = at.elapsed();
        println!("{:.1?}: up {up} told after {after:.1?}", began.elapsed());
        assert!(after < PRESENT_WITHIN, "told after {after:?}");
    };
    // While the configuration is under way, and the backlog, too.
    tells(&mut server, false);
    tells(&mut server, true);
    let limit = Duration::from_secs(60 + targets as u64 / 20);
    while !site
        .reading(&["status", "--json"])
        .contains("\"pending\":false")
    {
        assert!(began.elapsed() < limit, "no configuration within {limit:?}");
        wait_until(Instant::now() + Duration::from_millis(200));
    }
    println!("{:.1?}: {targets} targets configured", began.elapsed());
    tells(&mut server, false);
    let status = site.reading(&["status", "--json"]);
    assert!(has_more_than_zero(&status, "to_fetch"), "{status:.1000}");
}

#[test]
fn a_late_link_holds_and_tells_all() {
    let site = Site::new(10);
    let (mut server, odd) = one_server(&format!("{}:0", own_loopback()));
    let (_agent, at) = site.agent("alpha", "127.0.0.1:0");
    let link = Proxy::start(at);
    link.set(Link {
        delay: Duration::from_millis(300),
        ..Link::default()
    });
    fleet(&site, link.addr, 50, "500ms", odd);
    let mut manager = site.serve(&[]);
    site.grows("alpha", 500);
    server.kill();
    manager.stderr.line("odd down from alpha");
    site.audited_clean();
    let (connections, _) = link.passed();
    assert_eq!(connections, 1);
}

/// The bytes of a session that cuts are tried at, up (from the manager) and down.
const UP_BYTES: u64 = 500;
const DOWN_BYTES: u64 = 2600;

/// Each agent's sessions are cut one after another, at the bytes that are its own; between
/// two of them is one that works, so that the manager does not wait longer and longer.
#[test]
fn a_session_may_be_cut_at_any_byte() {
    // Every so many bytes; in the long form at each.
    let stride = setting("TCPMON_STRIDE", 61);
    let count = setting("TCPMON_LINKS", 16) as usize;
    let first = Dice::new(setting("TCPMON_SEED", 1)).below(stride);
    let up = (first..UP_BYTES)
        .step_by(stride as usize)
        .map(|at| (Way::Up, at));
    let down = (first..DOWN_BYTES)
        .step_by(stride as usize)
        .map(|at| (Way::Down, at));
    let cuts: Vec<(Way, u64)> = up.chain(down).collect();
    println!(
        "{} cuts, every {stride} bytes from {first} on, over {count} links",
        cuts.len()
    );
    let site = Site::new(4);
    let names: Vec<String> = (0..count).map(|n| format!("agent-{n}")).collect();
    let started: Vec<_> = names
        .iter()
        .map(|name| site.agent(name, "127.0.0.1:0"))
        .collect();
    let links: Vec<Proxy> = started.iter().map(|(_, at)| Proxy::start(*at)).collect();
    let agents: Vec<_> = names
        .iter()
        .zip(&links)
        .map(|(n, l)| (n.as_str(), l.addr))
        .collect();
    site.fleet(&agents, 3, "200ms");
    let _manager = site.serve(&[]);
    std::thread::scope(|scope| {
        for (n, link) in links.iter().enumerate() {
            let cuts = cuts.iter().skip(n).step_by(count);
            scope.spawn(move || cuts.for_each(|(way, at)| cut_at(link, *way, *at)));
        }
    });
    for name in &names {
        site.grows(name, 6);
    }
    site.audited_clean();
    for (name, lines) in site.stored() {
        let gaps = lines
            .iter()
            .filter(|line| line.contains("\"event\":\"gap\""));
        assert_eq!(gaps.count(), 0, "{name} has gaps");
    }
}

/// Waits for a session that works, and has the one after it cut at this byte.
fn cut_at(link: &Proxy, way: Way, at: u64) {
    // Longer than any that is cut: it has acknowledged records.
    let works = |[up, down]: [u64; 2]| up > UP_BYTES && down > DOWN_BYTES;
    until("a session that works", || {
        works(link.passed().1).then_some(())
    });
    let (before, _) = link.passed();
    link.cut();
    link.cut_after(way, at);
    until("the cut", || {
        let (connections, passed) = link.passed();
        (connections > before + 1 || connections > before && passed[way as usize] >= at)
            .then_some(())
    });
}
