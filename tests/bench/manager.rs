//! The manager: what many agents cost it, how soon it knows what one has found, and what
//! a long history costs those who read it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tcpmon::clock;
use tcpmon::journal::list_segments;
use tcpmon::model::{Name, Wall};
use tcpmon::record::{Body, Record};

use crate::fake::{Fake, Waiting};
use crate::load::{Sink, Site, fleet};
use crate::support::{Dir, MANAGER, Running, arg, name, percentile, until};
use crate::table::Table;

/// Longest wait for a manager.
pub const PATIENCE: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0;
const HOUR_MS: u64 = 3_600_000;

pub fn targets(count: usize) -> Vec<Name> {
    (0..count).map(|n| name(&format!("target-{n}"))).collect()
}

/// A manager of these agents, all of which are to probe all of the targets.
pub fn serve(
    dir: &Dir,
    agents: &[Waiting],
    targets: &[Name],
    interval: &str,
) -> (Running, PathBuf) {
    let agents: Vec<String> = agents.iter().map(Waiting::entry).collect();
    let targets: Vec<String> = targets
        .iter()
        .map(|t| format!(r#"{{"name":"{t}","address":"10.0.0.7:5432"}}"#))
        .collect();
    let text = format!(
        r#"{{"agents":[{}],"defaults":{{"interval":"{interval}"}},"targets":[{}]}}"#,
        agents.join(","),
        targets.join(",")
    );
    let (config, data) = (dir.join("fleet.json"), dir.join("manager-data"));
    fs::write(&config, text).expect("write the fleet file");
    let args = ["serve", "--config", arg(&config), "--data", arg(&data)];
    (Running::start(MANAGER, &args, &dir.join("manager")), data)
}

/// 200 agents with 50 probes a second each, behind them an hour of results.
pub fn many(dir: &Dir, table: &mut Table) {
    const BACKLOG: u64 = 20_000;
    let waiting: Vec<Waiting> = (0..200).map(Waiting::new).collect();
    let targets = targets(50);
    let (manager, _) = serve(dir, &waiting, &targets, "1s");
    let greeted = std::thread::scope(|scope| {
        let greet = |waiting| scope.spawn(move || Waiting::greet(waiting, BACKLOG));
        let threads: Vec<_> = waiting.iter().map(greet).collect();
        let fakes = threads.into_iter().map(|t| t.join().expect("a greeting"));
        fakes.collect::<Vec<Fake>>()
    });
    let mut agents = greeted;
    let began = clock::wall();
    for agent in &mut agents {
        for n in 0..BACKLOG {
            let at = Wall(began.0 - HOUR_MS + n * HOUR_MS / BACKLOG);
            agent.result(&targets[n as usize % targets.len()], at);
        }
        agent.send();
        agent.now();
        agent.beat();
    }
    live(&mut agents, &targets, Duration::from_secs(10));
    let (before, cpu_ms) = (clock::mono(), manager.cpu_ms().unwrap_or(0));
    let sent = live(&mut agents, &targets, Duration::from_secs(20));
    let seconds = clock::mono().since(before).as_secs_f64();
    let cpu_ms = (manager.cpu_ms().unwrap_or(0) - cpu_ms) as f64;
    table.told("200 agents: records sent", "/s", sent as f64 / seconds);
    table.at_most(
        "200 agents: manager's CPU, of a core",
        "%",
        50.0,
        cpu_ms / seconds / 10.0,
    );
    let rss = |key| manager.status(key).unwrap_or(0) as f64 / MIB;
    table.at_most("200 agents: manager's RSS", "MiB", 64.0, rss("VmRSS"));
    table.told("200 agents: manager's peak RSS", "MiB", rss("VmHWM"));
    table.told(
        "200 agents: manager's threads",
        "",
        manager.status("Threads").unwrap_or(0) as f64,
    );
}

/// Has each agent send its share of 50 results a second every 50 ms, one after another;
/// how many were sent.
pub fn live(agents: &mut [Fake], targets: &[Name], long: Duration) -> u64 {
    const STEP: Duration = Duration::from_millis(1);
    const STEPS: usize = 50;
    let (began, mut sent) = (clock::mono(), 0);
    for step in 0.. {
        let due = began.after(STEP * step);
        if due.since(began) >= long {
            return sent;
        }
        clock::sleep(due.since(clock::mono()));
        let step = step as usize;
        // Five results every two turns: fifty a second.
        let count = 2 + (step / STEPS) % 2;
        for agent in agents.iter_mut().skip(step % STEPS).step_by(STEPS) {
            for _ in 0..count {
                let target = &targets[agent.seq as usize % targets.len()];
                agent.result(target, clock::wall());
            }
            sent += count as u64;
            agent.send();
            if step / STEPS % 200 == 0 {
                agent.beat();
            }
        }
    }
    sent
}

/// From the end of a probe to the manager's history, with which the board goes.
pub fn latency(dir: &Dir, table: &mut Table) {
    for (what, options, goal_ms) in [
        ("in groups", &[][..], 60.0),
        ("with --flush 0", &["--flush", "0"][..], 5.0),
    ] {
        let sink = Sink::start(dir, 4, None);
        let place = format!("latency-{}", options.len());
        let mut site = Site::start(dir, &place, None, options);
        site.manage(
            dir,
            &place,
            &fleet(site.agent_addr, 200, "1s", |n| sink.ports[n % 4]),
        );
        site.until_rows(200);
        clock::sleep(Duration::from_secs(3));
        let late_us = arrivals(&site.manager_data.join("history"), Duration::from_secs(15));
        let ms = |per_mille| percentile(&late_us, per_mille) as f64 / 1e3;
        let what = |figure: &str| format!("probe's end to the manager's board, {what}: {figure}");
        table.told(&what("results"), "", late_us.len() as f64);
        table.told(&what("p50"), "ms", ms(500));
        table.at_most(&what("p99"), "ms", goal_ms, ms(990));
    }
}

/// How long after the end of its probe each result came into the history, in microseconds:
/// up to a millisecond too much, as records have whole ones.
fn arrivals(history: &Path, long: Duration) -> Vec<u64> {
    let agent = until("the history begins", PATIENCE, || {
        Some(fs::read_dir(history).ok()?.next()?.ok()?.path())
    });
    let over = clock::mono().after(long);
    let (mut seen, mut late_us) = (HashSet::new(), Vec::new());
    let mut skip = true;
    while clock::mono() < over {
        for segment in list_segments(&agent).unwrap_or_default() {
            let text = fs::read(agent.join(&segment.name)).unwrap_or_default();
            let now_us = wall_us();
            let lines = text.rsplit(|b| *b == b'\n').take(256);
            for record in lines.filter_map(|line| Record::parse(line).ok()) {
                let Body::Result(sample) = &record.body else {
                    continue;
                };
                if seen.insert(record.seq) && !skip {
                    late_us.push(now_us.saturating_sub(record.at.0 * 1_000 + sample.us));
                }
            }
        }
        skip = false;
        clock::sleep(Duration::from_micros(300));
    }
    late_us
}

fn wall_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Ten million records of ten days: reading them, and starting with them.
pub fn history(dir: &Dir, table: &mut Table) {
    const RECORDS: u64 = 10_000_000;
    let waiting = [Waiting::new(0)];
    let targets = targets(200);
    let (manager, data) = serve(dir, &waiting, &targets, "10s");
    let mut agent = waiting[0].greet(RECORDS);
    let now = clock::wall();
    let every_us = 10 * 24 * HOUR_MS * 1_000 / RECORDS;
    for n in 0..RECORDS {
        let at = Wall(now.0 - (RECORDS - n) * every_us / 1_000);
        agent.result(&targets[n as usize % targets.len()], at);
        if agent.waiting() > 1 << 20 || n + 1 == RECORDS {
            agent.send();
        }
    }
    until("all is stored", PATIENCE, || {
        let sizes = history_bytes(&data);
        clock::sleep(Duration::from_secs(1));
        (sizes > 0 && sizes == history_bytes(&data)).then_some(())
    });
    drop((agent, manager));
    age(&data);
    let config = dir.join("fleet.json");
    let what = |figure: &str| format!("ten million records: {figure}");
    table.told(
        &what("history"),
        "MiB",
        history_bytes(&data) as f64 / MIB / MIB,
    );
    for (command, goal_s) in [("report", Some(3.0)), ("audit", None), ("status", None)] {
        let args = [
            command,
            "--json",
            "--config",
            arg(&config),
            "--data",
            arg(&data),
        ];
        let since = if command == "report" {
            &["--since", "11d"][..]
        } else {
            &[]
        };
        let (seconds, rss_mib) = timed(&[&args, since].concat(), &dir.join(command));
        let (time, memory) = (
            what(&format!("{command}, time")),
            what(&format!("{command}, peak RSS")),
        );
        match goal_s {
            Some(goal) => {
                table.at_most(&time, "s", goal, seconds);
                table.at_most(&memory, "MiB", 64.0, rss_mib);
            }
            None => {
                table.told(&time, "s", seconds);
                table.told(&memory, "MiB", rss_mib);
            }
        }
    }
    let began = clock::mono();
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        arg(&config),
        "--data",
        arg(&data),
    ];
    let mut manager = Running::start(MANAGER, &args, &dir.join("again"));
    manager.listening(1);
    let seconds = clock::mono().since(began).as_secs_f64();
    table.at_most(&what("start until the view is filled"), "s", 1.0, seconds);
}

/// Gives each segment the time of its last record, as if it had been written then.
pub fn age(data: &Path) {
    let agents = fs::read_dir(data.join("history"))
        .into_iter()
        .flatten()
        .flatten();
    for agent in agents.map(|agent| agent.path()) {
        for segment in list_segments(&agent).expect("a history") {
            let path = agent.join(&segment.name);
            let text = fs::read(&path).expect("a segment");
            let last = text.rsplit(|b| *b == b'\n').nth(1).expect("a line");
            let Ok(record) = Record::parse(last) else {
                continue;
            };
            let at = std::time::UNIX_EPOCH + Duration::from_millis(record.at.0);
            let file = fs::File::options().write(true).open(&path);
            file.and_then(|file| file.set_modified(at))
                .expect("set a file's time");
        }
    }
}

fn history_bytes(data: &Path) -> u64 {
    let agents = fs::read_dir(data.join("history"))
        .into_iter()
        .flatten()
        .flatten();
    let files = agents.flat_map(|agent| fs::read_dir(agent.path()).into_iter().flatten().flatten());
    files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

/// How long a command takes, and the most memory it has.
fn timed(args: &[&str], place: &Path) -> (f64, f64) {
    let began = clock::mono();
    let mut command = Running::start(MANAGER, args, place);
    let mut peak_kib = 0;
    while !command.has_ended() {
        peak_kib = command.status("VmHWM").unwrap_or(0).max(peak_kib);
        clock::sleep(Duration::from_millis(2));
    }
    let seconds = clock::mono().since(began).as_secs_f64();
    command.wait();
    (seconds, peak_kib as f64 / MIB)
}
