//! Three agents with 500 targets each under random faults: nothing is lost, and what the
//! programs hold stays what it was. `TCPMON_SOAK_S` says for how long, `TCPMON_FAULT_S`
//! how often something happens, `TCPMON_SEED` what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Dice, setting, spooled, wait_until};
use crate::support::{Link, Proxy, Running, Site, has_more_than_zero, own_loopback, run, until};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const TARGETS: usize = 500;
/// The first agent is never killed, so that its figures are those of one long life.
const NEVER_KILLED: usize = 0;

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    rss_kib: u64,
    descriptors: u64,
    threads: u64,
}

/// What the kernel says a process holds.
fn held(program: &Running) -> Option<Held> {
    let proc = format!("/proc/{}", program.pid());
    let status = fs::read_to_string(format!("{proc}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some(Held {
        rss_kib: field("VmRSS:")?,
        descriptors: fs::read_dir(format!("{proc}/fd")).ok()?.count() as u64,
        threads: field("Threads:")?,
    })
}

/// Writes the fleet file: each agent behind its link, and so many targets.
fn fleet(site: &Site, links: &[Proxy], targets: usize, interval: &str) {
    let agents = NAMES.iter().zip(links);
    let agents: Vec<_> = agents.map(|(name, link)| (*name, link.addr)).collect();
    site.fleet(&agents, targets, interval);
}

struct Soak {
    site: Site,
    agents: Vec<Running>,
    at: Vec<SocketAddr>,
    links: Vec<Proxy>,
    manager: Running,
    interval: &'static str,
    /// Every record that was in a spool when its agent was killed.
    seen: Vec<BTreeSet<String>>,
    /// Of each program, what it held when.
    held: BTreeMap<&'static str, Vec<Held>>,
    /// What was done how often.
    faults: BTreeMap<&'static str, u64>,
}

impl Soak {
    fn new(interval: &'static str) -> Soak {
        let site = Site::new(50);
        let own = format!("{}:0", own_loopback());
        let (agents, at): (Vec<_>, Vec<_>) = NAMES.iter().map(|n| site.agent(n, &own)).unzip();
        let links: Vec<Proxy> = at.iter().map(|at| Proxy::start(*at)).collect();
        fleet(&site, &links, TARGETS, interval);
        let manager = Running::start(&mut site.manager(&["serve"]));
        Soak {
            site,
            agents,
            at,
            links,
            manager,
            interval,
            seen: vec![BTreeSet::new(); NAMES.len()],
            held: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    fn look(&mut self) {
        let agents = NAMES.iter().zip(&self.agents);
        for (name, program) in agents.chain([(&"manager", &self.manager)]) {
            if let Some(held) = held(program) {
                self.held.entry(name).or_default().push(held);
            }
        }
    }

    /// Does something to somebody, and undoes it before `within` is over; a link may be
    /// silent for three times as long.
    fn fault(&mut self, dice: &mut Dice, within: Duration) {
        let now = Instant::now();
        let mut undo = now + within * (10 + dice.below(80) as u32) / 100;
        let who = dice.below(3) as usize;
        let link = Link::default();
        let (what, link) = match dice.below(11) {
            0 if who != NEVER_KILLED => ("agent killed", None),
            1 => ("manager killed", None),
            2 => ("agent stopped", None),
            3 => ("manager stopped", None),
            4 => ("server away", None),
            5 => (
                "link silent",
                Some(Link {
                    stalled: true,
                    ..link
                }),
            ),
            6 => (
                "link shut",
                Some(Link {
                    refusing: true,
                    ..link
                }),
            ),
            7 => {
                let delay = Duration::from_millis(300);
                ("link late", Some(Link { delay, ..link }))
            }
            8 => {
                let rate = Some(10 * 1024);
                ("link slow", Some(Link { rate, ..link }))
            }
            9 => ("fleet changed", None),
            _ => ("link cut", None),
        };
        *self.faults.entry(what).or_default() += 1;
        match what {
            "agent killed" => {
                self.agents[who].kill();
                spooled(&self.site, NAMES[who], &mut self.seen[who]);
                wait_until(undo);
                self.agents[who] = self.site.agent(NAMES[who], &self.at[who].to_string()).0;
            }
            "manager killed" => {
                self.manager.kill();
                wait_until(undo);
                self.manager = Running::start(&mut self.site.manager(&["serve"]));
            }
            "agent stopped" => stopped(&self.agents[who], undo),
            "manager stopped" => stopped(&self.manager, undo),
            "server away" => {
                self.site.server.kill();
                wait_until(undo);
                self.site.server_again();
            }
            "link cut" => self.links[who].cut(),
            "fleet changed" => {
                let targets = TARGETS - dice.below(20) as usize;
                fleet(&self.site, &self.links, targets, self.interval);
            }
            _ => {
                if what == "link silent" {
                    undo += (undo - now) * 2;
                }
                self.links[who].set(link.expect("a link"));
                wait_until(undo);
                self.links[who].set(Link::default());
            }
        }
        wait_until(now + within);
    }

    /// Everything is there, once.
    fn nothing_is_lost(&self) {
        let audit = self.site.audited();
        for key in ["missing", "duplicate", "dropped"] {
            assert!(!has_more_than_zero(&audit, key), "{audit}");
        }
        let mut stored = self.site.stored();
        for (name, seen) in NAMES.iter().zip(&self.seen) {
            let lines = stored.remove(*name).unwrap_or_default();
            let gaps = lines.iter().filter(|l| l.contains("\"event\":\"gap\""));
            assert_eq!(gaps.count(), 0, "{name} has gaps");
            let (count, lines) = (lines.len(), BTreeSet::from_iter(lines));
            assert_eq!(lines.len(), count, "{name}: a line is there twice");
            let lost = seen.difference(&lines).count();
            assert_eq!(lost, 0, "{name}: of {} seen", seen.len());
            println!(
                "{name}: {count} records stored, {} were seen in its spool",
                seen.len()
            );
        }
    }

    /// What the programs hold, by thirds of the time. In a long run no program may mostly hold
    /// more in the last than in the first, but for some slack; a short one tells nothing.
    fn nothing_grows(&self, long: bool) {
        for (name, held) in &self.held {
            let third = held.len() / 3;
            for (what, slack, of) in [
                ("KiB", 1024, (|h| h.rss_kib) as fn(&Held) -> u64),
                ("descriptors", 4, |h| h.descriptors),
                ("threads", 4, |h| h.threads),
            ] {
                let sorted = |part: &[Held]| {
                    let mut values: Vec<u64> = part.iter().map(of).collect();
                    values.sort_unstable();
                    values
                };
                let thirds = [&held[..third], &held[third..2 * third], &held[2 * third..]];
                let thirds = thirds.map(sorted);
                let [first, second, last] = thirds.each_ref().map(|part| part[part.len() / 2]);
                let most = thirds.iter().flatten().max().unwrap_or(&0);
                println!("{name}: mostly {first}, {second}, {last} {what}; at most {most}");
                let grows = long && last > first + first / 10 + slack;
                assert!(!grows, "{name} grows: {what}");
            }
        }
    }
}

/// Stops a program, and lets it go on then.
fn stopped(program: &Running, until: Instant) {
    let pid = program.pid().to_string();
    run(std::process::Command::new("kill").args(["-STOP", &pid])).code(0);
    wait_until(until);
    run(std::process::Command::new("kill").args(["-CONT", &pid])).code(0);
}

#[cfg(target_os = "linux")]
#[test]
fn under_random_faults_nothing_is_lost_and_nothing_grows() {
    let seconds = setting("TCPMON_SOAK_S", 24);
    let every = Duration::from_secs(setting("TCPMON_FAULT_S", 2));
    let seed = setting("TCPMON_SEED", 0x50a);
    println!("seed {seed}, {seconds} s, a fault every {every:?}");
    let mut dice = Dice::new(seed);
    let interval = if seconds > 60 { "10s" } else { "2s" };
    let mut soak = Soak::new(interval);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        soak.fault(&mut dice, every);
        soak.look();
    }
    // Calm: whoever waits before trying again may wait half a minute.
    for name in NAMES {
        until(&format!("{name} to be connected"), || {
            let status = soak.site.reading(&["status", "--json"]);
            let own = format!("\"name\":\"{name}\",\"connected\":true");
            status.contains(&own).then_some(())
        });
    }
    println!("faults: {:?}", soak.faults);
    soak.nothing_is_lost();
    soak.nothing_grows(seconds >= 1200);
}
