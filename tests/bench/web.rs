//! What it costs a manager to show itself: 3 agents of 500 targets, behind them eighty hours
//! of results, looked at by a scraper and by many who keep the page open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tcpmon::clock;
use tcpmon::model::Wall;

use crate::fake::{Fake, Waiting};
use crate::manager::{PATIENCE, age, live, serve, targets};
use crate::support::{Dir, MANAGER, Running, arg, until};
use crate::table::Table;

const MIB: f64 = 1024.0;
const HOUR_MS: u64 = 3_600_000;
const TARGETS: usize = 500;
const AGENTS: usize = 3;
/// Results of each agent in the history.
const RECORDS: u64 = 1_000_000;
const VIEWERS: usize = 30;

/// Asks for a path; the body, and how long that took.
fn get(http: SocketAddr, path: &str) -> (String, f64) {
    let began = clock::mono();
    let mut stream = TcpStream::connect(http).expect("connect");
    let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("ask");
    let mut got = String::new();
    stream.read_to_string(&mut got).expect("an answer");
    let seconds = clock::mono().since(began).as_secs_f64();
    let (head, body) = got.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("HTTP/1.1 200 ") || path == "/readyz",
        "{path}: {head}"
    );
    (body.to_string(), seconds)
}

fn http_of(manager: &Running) -> SocketAddr {
    until("http", PATIENCE, || {
        let said = manager.said();
        said.lines()
            .find_map(|line| line.strip_prefix("http on ")?.parse().ok())
    })
}

/// Starts the manager of this directory again, and has its agents greet it.
fn again(dir: &Dir, options: &[&str], waiting: &[Waiting]) -> (Running, Vec<Fake>) {
    let (config, data) = (dir.join("fleet.json"), dir.join("manager-data"));
    let args = ["serve", "--config", arg(&config), "--data", arg(&data)];
    let place = dir.join(&format!("again-{}", options.len()));
    let manager = Running::start(MANAGER, &[&args, options].concat(), &place);
    let mut agents: Vec<Fake> = waiting.iter().map(|agent| agent.greet(RECORDS)).collect();
    agents.iter_mut().for_each(|agent| agent.seq = RECORDS);
    (manager, agents)
}

/// CPU time and memory while results come in as they would every ten seconds.
fn at_work(manager: &Running, agents: &mut [Fake], seconds: u64) -> (f64, f64) {
    let names = targets(TARGETS);
    let before = manager.cpu_ms().unwrap_or(0);
    live(agents, &names, Duration::from_secs(seconds));
    let cpu_ms = (manager.cpu_ms().unwrap_or(0) - before) as f64;
    let rss = manager.status("VmRSS").unwrap_or(0) as f64 / MIB;
    (cpu_ms / seconds as f64 / 10.0, rss)
}

/// See the module text.
pub fn web(dir: &Dir, table: &mut Table) {
    let waiting: Vec<Waiting> = (0..AGENTS).map(Waiting::new).collect();
    let names = targets(TARGETS);
    let (manager, data) = serve(dir, &waiting, &names, "10s");
    let mut agents: Vec<Fake> = waiting.iter().map(|agent| agent.greet(RECORDS)).collect();
    let now = clock::wall();
    for n in 0..RECORDS {
        let at = Wall(now.0 - 80 * HOUR_MS + n * 80 * HOUR_MS / RECORDS);
        for agent in &mut agents {
            agent.result(&names[n as usize % TARGETS], at);
            if agent.waiting() > 1 << 20 || n + 1 == RECORDS {
                agent.send();
            }
        }
    }
    until("all is stored", PATIENCE, || {
        let args = ["audit", "--json", "--data", arg(&data)];
        let mut audit = Running::start(MANAGER, &args, &dir.join("audit"));
        let stored = format!("\"stored\":{RECORDS},");
        (audit.wait().matches(&stored).count() == AGENTS).then_some(())
    });
    drop((agents, manager));
    age(&data);
    let what = |figure: &str| format!("3 agents, 500 targets, 3 million results: {figure}");
    let (manager, mut agents) = again(dir, &[], &waiting);
    let (cpu, rss) = at_work(&manager, &mut agents, 10);
    table.told(&what("CPU without --http, of a core"), "%", cpu);
    table.told(&what("RSS without --http"), "MiB", rss);
    drop((agents, manager));
    let began = clock::mono();
    let (manager, mut agents) = again(dir, &["--http", "127.0.0.1:0"], &waiting);
    let http = http_of(&manager);
    until("the history is read", PATIENCE, || {
        get(http, "/readyz").0.starts_with("ok").then_some(())
    });
    table.told(
        &what("start until the page's history is read"),
        "s",
        clock::mono().since(began).as_secs_f64(),
    );
    let (cpu, rss) = at_work(&manager, &mut agents, 10);
    table.told(&what("CPU with --http, unseen"), "%", cpu);
    table.told(&what("RSS with --http"), "MiB", rss);
    for (path, goal_ms) in [
        ("/", 100.0),
        ("/metrics", 500.0),
        ("/api/v1/status", 200.0),
        ("/api/v1/targets/target-7", 100.0),
        ("/api/v1/history?target=target-7&from=80h", 3_000.0),
    ] {
        let mut took: Vec<f64> = (0..5).map(|_| get(http, path).1 * 1e3).collect();
        took.sort_by(f64::total_cmp);
        let path_only = path.split('?').next().unwrap_or(path);
        table.at_most(
            &what(&format!("{path_only}, median of five")),
            "ms",
            goal_ms,
            took[2],
        );
        let kib = get(http, path).0.len() as f64 / 1024.0;
        match path {
            "/" => table.at_most(&what("/, size"), "KiB", 60.0, kib),
            _ => table.told(&what(&format!("{path_only}, size")), "KiB", kib),
        }
    }
    let bytes = Arc::new(AtomicU64::new(0));
    for _ in 0..VIEWERS {
        let bytes = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(http).expect("connect");
            let text = "GET /stream?by=hour HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(text.as_bytes()).expect("ask");
            let mut lines = BufReader::new(stream);
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(count) if count > 0) {
                bytes.fetch_add(line.len() as u64, Ordering::Relaxed);
                line.clear();
            }
        });
    }
    at_work(&manager, &mut agents, 5);
    bytes.store(0, Ordering::Relaxed);
    let (cpu, rss) = at_work(&manager, &mut agents, 10);
    let each = bytes.load(Ordering::Relaxed) as f64 / VIEWERS as f64 / 10.0 / 1024.0;
    table.told(&what("CPU with 30 viewers of the page"), "%", cpu);
    table.told(&what("RSS with 30 viewers"), "MiB", rss);
    table.told(&what("what a viewer is sent"), "KiB/s", each);
}
