//! The same work by others, side by side in one run: 10,000 targets every ten seconds, by an
//! agent with its manager, by HAProxy's health checker, and by Prometheus with
//! blackbox_exporter; then one check at a time by check_tcp. All against the same kind of
//! [`Sink`], one after another.
//!
//! What was set: every target has a loopback address of its own, at one of eight ports, so
//! that neither ports nor connections in TIME_WAIT are scarce; HAProxy runs one thread, which
//! costs it least, and a frontend that nobody asks; Prometheus stores, and scrapes each target through
//! blackbox_exporter's tcp_connect. Probes are counted where they arrive, but for HAProxy's,
//! which never do: it resets before the handshake is complete. Those are the connections
//! that this system has begun.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tcpmon::clock;

use crate::load::{Sink, Site, Stretch, fleet, target_ip};
use crate::support::{Dir, Running, arg};
use crate::table::Table;

const TARGETS: usize = 10_000;
const PORTS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(20);
const SEEN: Duration = Duration::from_secs(20);
const CHECKS: u64 = 300;
const CHECK_TCP: &str = "/usr/lib/nagios/plugins/check_tcp";
const MIB: f64 = 1024.0;

/// CPU a probe, memory, probes a second.
struct Cost {
    cpu_us: f64,
    rss_mib: f64,
    rate: f64,
}

/// Ours, then each of the others that is there.
pub fn peers(dir: &Dir, table: &mut Table) {
    let (agent, whole) = ours(dir, table);
    if let Some(haproxy) = haproxy(dir, table) {
        let ratio = agent.cpu_us / haproxy.cpu_us;
        table.at_most("tcpmon-agent to HAProxy: CPU a probe", "", 1.5, ratio);
    }
    if let Some(prometheus) = prometheus(dir, table) {
        let cpu = whole.cpu_us / prometheus.cpu_us;
        table.at_most(
            "tcpmon to Prometheus with blackbox_exporter: CPU a probe",
            "",
            1.0 / 7.0,
            cpu,
        );
        let memory = whole.rss_mib / prometheus.rss_mib;
        table.at_most(
            "tcpmon to Prometheus with blackbox_exporter: memory",
            "",
            1.0 / 20.0,
            memory,
        );
    }
    check_tcp(dir, table);
}

fn tell(table: &mut Table, who: &str, cost: &Cost) {
    table.told(&format!("{who}: CPU, a probe"), "µs", cost.cpu_us);
    table.told(&format!("{who}: memory"), "MiB", cost.rss_mib);
    table.told(&format!("{who}: probes"), "/s", cost.rate);
}

/// What these processes cost from now on, by `probes` made.
fn watch(probes: impl Fn() -> u64, processes: &[&Running]) -> Cost {
    let cpu_ms = || processes.iter().filter_map(|p| p.cpu_ms()).sum::<u64>();
    let (began, cpu_before, before) = (clock::mono(), cpu_ms(), probes());
    clock::sleep(SEEN);
    let probes = (probes() - before) as f64;
    assert!(probes > 0.0, "no probe was made");
    let rss_kib: u64 = processes.iter().filter_map(|p| p.status("VmRSS")).sum();
    Cost {
        cpu_us: (cpu_ms() - cpu_before) as f64 * 1e3 / probes,
        rss_mib: rss_kib as f64 / MIB,
        rate: probes / clock::mono().since(began).as_secs_f64(),
    }
}

/// The agent alone, and with its manager.
fn ours(dir: &Dir, table: &mut Table) -> (Cost, Cost) {
    let sink = Sink::start(dir, PORTS, None);
    let mut site = Site::start(dir, "ours", None, &[]);
    let port = |n: usize| sink.ports[n % PORTS];
    site.manage(dir, "ours", &fleet(site.agent_addr, TARGETS, "10s", port));
    site.until_rows(TARGETS as u64);
    clock::sleep(WARM_UP);
    let before = site.look();
    let manager = site.manager.as_ref().expect("started");
    let whole = watch(|| sink.taken(), &[&site.agent, manager]);
    let seen = Stretch::between(&before, &site.look());
    let agent = Cost {
        cpu_us: seen.cpu_us_per_probe(),
        rss_mib: site.agent.status("VmRSS").unwrap_or(0) as f64 / MIB,
        rate: seen.rate(),
    };
    tell(table, "tcpmon-agent", &agent);
    table.told("tcpmon-agent: lateness p99", "ms", seen.late_ms(990));
    tell(
        table,
        "tcpmon-agent with tcpmon-manager, stored twice",
        &whole,
    );
    (agent, whole)
}

/// Whether a program is there; else the table says what to install.
fn there(table: &mut Table, program: &str, package: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", program])
        .output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        table.left_out(
            program,
            &format!("not there; Debian's package {package} has it"),
        );
    }
    found
}

fn haproxy(dir: &Dir, table: &mut Table) -> Option<Cost> {
    if !there(table, "haproxy", "haproxy") {
        return None;
    }
    let sink = Sink::start(dir, PORTS, None);
    // It does not start without a frontend.
    let mut text = format!(
        "global\n nbthread 1\n maxconn 1000\ndefaults\n mode tcp\n timeout connect 3s\n timeout client 3s\n timeout server 3s\nfrontend none\n bind 127.0.0.1:{}\nbackend all\n default-server check inter 10s\n",
        free_port()
    );
    for n in 0..TARGETS {
        let (ip, port) = (target_ip(n), sink.ports[n % PORTS]);
        let _ = writeln!(text, " server target-{n} {ip}:{port}");
    }
    let config = dir.join("haproxy.cfg");
    fs::write(&config, text).expect("write its configuration");
    let mut haproxy = Running::start(
        "haproxy",
        &["-db", "-f", arg(&config)],
        &dir.join("haproxy"),
    );
    clock::sleep(WARM_UP);
    assert!(!haproxy.has_ended(), "haproxy ended: {}", haproxy.log());
    let cost = watch(active_opens, &[&haproxy]);
    tell(table, "HAProxy's checks, kept nowhere", &cost);
    Some(cost)
}

/// Connections that this system has begun so far (`ActiveOpens` of RFC 4022).
fn active_opens() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut rows = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (rows.next().unwrap_or(""), rows.next().unwrap_or(""));
    let at = names
        .split_whitespace()
        .position(|name| name == "ActiveOpens");
    let value = at.and_then(|at| values.split_whitespace().nth(at));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    listener.local_addr().expect("bound").port()
}

fn prometheus(dir: &Dir, table: &mut Table) -> Option<Cost> {
    let there = there(table, "prometheus", "prometheus")
        && there(
            table,
            "prometheus-blackbox-exporter",
            "prometheus-blackbox-exporter",
        );
    if !there {
        return None;
    }
    let sink = Sink::start(dir, PORTS, None);
    let exporter_at = format!("127.0.0.1:{}", free_port());
    let modules = dir.join("blackbox.yml");
    fs::write(
        &modules,
        "modules:\n  tcp_connect:\n    prober: tcp\n    timeout: 3s\n",
    )
    .expect("write its modules");
    let args = [
        &format!("--config.file={}", modules.display()),
        &format!("--web.listen-address={exporter_at}"),
        "--log.level=error",
    ];
    let exporter = Running::start(
        "prometheus-blackbox-exporter",
        &args.map(|a| a as &str),
        &dir.join("exporter"),
    );
    let config = dir.join("prometheus.yml");
    fs::write(&config, scrapes(&sink, &exporter_at)).expect("write its configuration");
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{}", free_port()),
        "--log.level=error".to_string(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let prometheus = Running::start("prometheus", &args, &dir.join("prometheus"));
    clock::sleep(WARM_UP);
    let cost = watch(|| sink.taken(), &[&exporter, &prometheus]);
    tell(table, "Prometheus with blackbox_exporter", &cost);
    Some(cost)
}

fn scrapes(sink: &Sink, exporter: &str) -> String {
    let mut text = String::from(
        "global:\n  scrape_interval: 10s\n  scrape_timeout: 5s\nscrape_configs:\n- job_name: tcp\n  metrics_path: /probe\n  params:\n    module: [tcp_connect]\n  static_configs:\n  - targets:\n",
    );
    for n in 0..TARGETS {
        let _ = writeln!(text, "    - {}:{}", target_ip(n), sink.ports[n % PORTS]);
    }
    let _ = write!(
        text,
        "  relabel_configs:\n  - source_labels: [__address__]\n    target_label: __param_target\n  - source_labels: [__param_target]\n    target_label: instance\n  - target_label: __address__\n    replacement: {exporter}\n"
    );
    text
}

/// One after another, as a scheduler would start them.
fn check_tcp(dir: &Dir, table: &mut Table) {
    if !Path::new(CHECK_TCP).exists() {
        return table.left_out(
            "check_tcp",
            "not there; Debian's package monitoring-plugins-basic has it",
        );
    }
    let sink = Sink::start(dir, 1, None);
    let (began, before_ms) = (clock::mono(), children_cpu_ms());
    for n in 0..CHECKS {
        let (ip, port) = (target_ip(n as usize).to_string(), sink.ports[0].to_string());
        let checked = Command::new(CHECK_TCP)
            .args(["-H", &ip, "-p", &port])
            .output();
        assert!(
            checked.is_ok_and(|output| output.status.success()),
            "check_tcp failed"
        );
    }
    let seconds = clock::mono().since(began).as_secs_f64();
    let cpu_us = (children_cpu_ms() - before_ms) as f64 * 1e3 / CHECKS as f64;
    table.told("check_tcp, one after another: CPU, a check", "µs", cpu_us);
    table.told(
        "check_tcp, one after another: checks",
        "/s",
        CHECKS as f64 / seconds,
    );
}

/// CPU time of children that have ended: fields 16 and 17 of `/proc/self/stat`.
fn children_cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(13).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        * 10
}
