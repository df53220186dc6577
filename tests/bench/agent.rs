//! The agent: how punctual it is, what a probe costs, how many it manages.

use std::time::Duration;

use tcpmon::clock;

use crate::load::{Hole, Sink, Site, Stretch, bare_loop, fleet};
use crate::support::Dir;
use crate::table::Table;

/// A target's first probe comes within this time.
const FIRST_PROBES: Duration = Duration::from_secs(12);
const MIB: f64 = 1024.0;

fn peak_mib(site: &Site) -> f64 {
    site.agent.status("VmHWM").unwrap_or(0) as f64 / MIB
}

fn rss_mib(site: &Site) -> f64 {
    site.agent.status("VmRSS").unwrap_or(0) as f64 / MIB
}

/// 10,000 targets, 1,000 probes a second, for a live manager.
pub fn paced(dir: &Dir, table: &mut Table) {
    let sink = Sink::start(dir, 4, None);
    let mut site = Site::start(dir, "paced", None, &[]);
    site.manage(
        dir,
        "paced",
        &fleet(site.agent_addr, 10_000, "10s", |n| sink.ports[n % 4]),
    );
    site.until_rows(10_000);
    clock::sleep(FIRST_PROBES);
    let seen = Stretch::watch(&site, 30);
    table.at_most(
        "paced: agent's CPU, a probe",
        "µs",
        75.0,
        seen.cpu_us_per_probe(),
    );
    table.at_most("paced: lateness p50", "ms", 0.15, seen.late_ms(500));
    table.at_most("paced: lateness p99", "ms", 1.0, seen.late_ms(990));
    table.told("paced: lateness p99.9", "ms", seen.late_ms(999));
    table.at_most("paced: ticks skipped", "", 0.0, site.look().skipped as f64);
    table.at_most("paced: agent's RSS", "MiB", 7.0, rss_mib(&site));
    table.told("paced: agent's peak RSS", "MiB", peak_mib(&site));
    let manager = site.manager.as_ref().expect("started");
    table.told("paced: manager's CPU, a probe", "µs", {
        manager.cpu_ms().unwrap_or(0) as f64 * 1e3 / site.look().probes as f64
    });
    table.told(
        "paced: manager's peak RSS",
        "MiB",
        manager.status("VmHWM").unwrap_or(0) as f64 / MIB,
    );
}

/// The same with every fifth target dark, then all of them.
pub fn dark(dir: &Dir, table: &mut Table) {
    let sink = Sink::start(dir, 4, None);
    let hole = Hole::new();
    let mut site = Site::start(dir, "dark", None, &[]);
    let every_fifth = |n: usize| match n % 5 {
        0 => hole.port(),
        _ => sink.ports[n % 4],
    };
    site.manage(
        dir,
        "dark",
        &fleet(site.agent_addr, 10_000, "10s", every_fifth),
    );
    site.until_rows(10_000);
    // Until all dark ones are known to be down.
    clock::sleep(FIRST_PROBES * 2);
    let seen = Stretch::watch(&site, 20);
    table.at_most("a fifth dark: lateness p50", "ms", 0.15, seen.late_ms(500));
    table.at_most("a fifth dark: lateness p99", "ms", 1.0, seen.late_ms(990));
    table.at_most(
        "a fifth dark: ticks skipped",
        "",
        0.0,
        site.look().skipped as f64,
    );
    table.told(
        "a fifth dark: agent's CPU, a probe",
        "µs",
        seen.cpu_us_per_probe(),
    );
    table.told("a fifth dark: workers", "", site.look().workers as f64);
    table.at_most("a fifth dark: agent's RSS", "MiB", 14.0, rss_mib(&site));
    table.told("a fifth dark: agent's peak RSS", "MiB", peak_mib(&site));
    hole.answer();
    clock::sleep(Duration::from_secs(45));
    let threads = site.agent.status("Threads").unwrap_or(0);
    table.at_most("dark no more: threads 45 s later", "", 32.0, threads as f64);
    drop(site);

    let hole = Hole::new();
    let mut site = Site::start(dir, "black", None, &["--max-workers", "4096"]);
    site.manage(
        dir,
        "black",
        &fleet(site.agent_addr, 10_000, "10s", |_| hole.port()),
    );
    site.until_rows(10_000);
    clock::sleep(FIRST_PROBES * 2);
    let seen = Stretch::watch(&site, 15);
    table.told("all dark: lateness p99", "ms", seen.late_ms(990));
    table.told("all dark: workers", "", site.look().workers as f64);
    table.told("all dark: ticks skipped", "", site.look().skipped as f64);
    table.at_least("all dark: probes", "/s", 990.0, seen.rate());
    table.at_most("all dark: agent's RSS", "MiB", 45.0, rss_mib(&site));
    table.told("all dark: agent's peak RSS", "MiB", peak_mib(&site));
}

/// As many targets at 1 s as it takes, results recorded; beside what a bare loop of
/// connects manages on the same core in the same minute.
pub fn flat(dir: &Dir, table: &mut Table) {
    const PORTS: usize = 64;
    let sink = Sink::start(dir, PORTS, Some(1));
    let bare = bare_loop(dir, &sink, Some(0));
    let mut site = Site::start(dir, "one", Some(0), &["--spool-limit", "256MiB"]);
    let many = fleet(site.agent_addr, 60_000, "1s", |n| sink.ports[n % PORTS]);
    site.configure(dir, "one", &many, 60_000);
    clock::sleep(Duration::from_secs(3));
    let seen = Stretch::watch(&site, 10);
    let what = |figure: &str| format!("flat out, one core: {figure}");
    let rate = seen.rate();
    table.at_least(&what("probes recorded"), "/s", 40_000.0, rate);
    table.told(&what("a bare loop of connects"), "/s", bare);
    table.at_least(
        &what("probes, to the bare loop's"),
        "",
        40.0 / 57.5,
        rate / bare,
    );
    table.told(&what("agent's CPU, a probe"), "µs", seen.cpu_us_per_probe());
    table.told(&what("workers"), "", site.look().workers as f64);
    table.told(&what("agent's peak RSS"), "MiB", peak_mib(&site));
    drop((site, sink));

    let sink = Sink::start(dir, PORTS, None);
    let mut site = Site::start(dir, "two", None, &["--spool-limit", "256MiB"]);
    let many = fleet(site.agent_addr, 90_000, "1s", |n| sink.ports[n % PORTS]);
    site.configure(dir, "two", &many, 90_000);
    clock::sleep(Duration::from_secs(3));
    let before = sink.cpu_ms();
    let seen = Stretch::watch(&site, 10);
    let listener_s = (sink.cpu_ms() - before) as f64 / 1e3;
    let share = 1.0 - listener_s / (seen.seconds * 2.0);
    let (rate, apart) = (seen.rate(), seen.rate() / share);
    let what = |figure: &str| format!("flat out, two cores: {figure}");
    table.told(&what("probes recorded, beside the listener"), "/s", rate);
    table.told(&what("the listener's share"), "%", (1.0 - share) * 100.0);
    table.at_least(
        &what("probes recorded, the listener counted apart"),
        "/s",
        70_000.0,
        apart,
    );
    let goal = 70.0 / (2.0 * 57.5);
    table.at_least(
        &what("the same, to two bare loops"),
        "",
        goal,
        apart / (2.0 * bare),
    );
    table.told(&what("agent's CPU, a probe"), "µs", seen.cpu_us_per_probe());
}

/// The same probe rate with ever more targets.
pub fn growth(dir: &Dir, table: &mut Table) {
    let sink = Sink::start(dir, 4, None);
    let mut base = None;
    for (targets, interval, settle_s) in [
        (100, "100ms", 5),
        (1_000, "1s", 5),
        (10_000, "10s", 12),
        // Its first probes came within ten seconds, the grid's follow half an interval later.
        (100_000, "100s", 60),
    ] {
        let name = format!("growth-{targets}");
        let mut site = Site::start(dir, &name, None, &[]);
        let text = fleet(site.agent_addr, targets, interval, |n| sink.ports[n % 4]);
        let began = clock::mono();
        site.manage(dir, &name, &text);
        site.until_rows(targets as u64);
        let applied = clock::mono().since(began);
        clock::sleep(Duration::from_secs(settle_s));
        let seen = Stretch::watch(&site, 15);
        let what = |figure: &str| format!("{targets} targets: {figure}");
        let (cpu_us, rss) = (seen.cpu_us_per_probe(), rss_mib(&site));
        table.told(&what("agent's CPU, a probe"), "µs", cpu_us);
        table.told(&what("lateness p99"), "ms", seen.late_ms(990));
        table.told(&what("agent's RSS"), "MiB", rss);
        let (base_cpu_us, base_rss) = *base.get_or_insert((cpu_us, rss));
        if targets == 100_000 {
            table.at_most(
                &what("CPU a probe, to that of 100"),
                "",
                1.15,
                cpu_us / base_cpu_us,
            );
            let bytes = (rss - base_rss) * MIB * MIB / (targets - 100) as f64;
            table.at_most(
                &what("agent's memory beyond that of 100, a target"),
                "bytes",
                400.0,
                bytes,
            );
            table.at_most(
                &what("validated, sent and applied"),
                "s",
                1.0,
                applied.as_secs_f64(),
            );
        }
    }
}

/// Fifty targets at 30 s for an hour.
pub fn rest(dir: &Dir, table: &mut Table) {
    let sink = Sink::start(dir, 1, None);
    let mut site = Site::start(dir, "rest", None, &[]);
    site.manage(
        dir,
        "rest",
        &fleet(site.agent_addr, 50, "30s", |_| sink.ports[0]),
    );
    site.until_rows(50);
    clock::sleep(Duration::from_secs(60));
    let before = site.look();
    clock::sleep(Duration::from_secs(3540));
    let after = site.look();
    let seen = Stretch::between(&before, &after);
    let sleeps = (after.sleeps - before.sleeps) as f64;
    table.at_most(
        "at rest: agent's RSS after an hour",
        "MiB",
        3.0,
        rss_mib(&site),
    );
    table.at_most(
        "at rest: agent's CPU, of a core",
        "%",
        0.1,
        seen.cpu_ms / seen.seconds / 10.0,
    );
    table.told("at rest: wake-ups", "/s", sleeps / seen.seconds);
    table.told("at rest: wake-ups, a probe", "", sleeps / seen.probes);
}
