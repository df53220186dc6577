//! Kill -9 at random moments: while they start, probe, send, store, rotate and take
//! configurations. `TCPMON_KILLS` says how often, `TCPMON_SEED` which moments.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::support::{Running, Site, own_loopback, until};

/// Pseudo-random numbers (xorshift64, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect(name))
}

/// Lets up to so many milliseconds pass.
fn some_time(dice: &mut Dice, ms: u64) {
    let at = Instant::now() + Duration::from_millis(dice.below(ms));
    until("a moment", || (Instant::now() >= at).then_some(()));
}

/// Every whole record in the agent's spool.
fn spooled(site: &Site, agent: &str, into: &mut BTreeSet<String>) {
    let Ok(segments) = fs::read_dir(site.path(agent).join("spool")) else {
        return;
    };
    for segment in segments.map(Result::unwrap) {
        let text = fs::read_to_string(segment.path()).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let records = whole.lines().filter(|line| line.starts_with("{\"seq\""));
        into.extend(records.map(str::to_string));
    }
}

#[test]
fn killed_at_any_moment_they_lose_nothing() {
    let kills = setting("TCPMON_KILLS", 24);
    let seed = setting("TCPMON_SEED", 0x7c9);
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed | 1);
    let site = Site::new(4);
    let own = format!("{}:0", own_loopback());
    let (mut agent, at) = site.agent("alpha", &own);
    let at_text = at.to_string();
    site.fleet(&[("alpha", at)], 40, "250ms");
    let mut manager = Running::start(&mut site.manager(&["serve"]));
    let mut seen = BTreeSet::new();
    for kill in 0..kills {
        some_time(&mut dice, 300);
        if kill % 5 == 4 {
            // Another configuration is under way.
            site.fleet(&[("alpha", at)], 30 + dice.below(20) as usize, "250ms");
        }
        match dice.below(3) {
            0 => {
                manager.kill();
                some_time(&mut dice, 300);
                manager = Running::start(&mut site.manager(&["serve"]));
            }
            1 => {
                agent.kill();
                spooled(&site, "alpha", &mut seen);
                some_time(&mut dice, 100);
                agent = site.agent("alpha", &at_text).0;
            }
            _ => {
                manager.kill();
                agent.kill();
                spooled(&site, "alpha", &mut seen);
                manager = Running::start(&mut site.manager(&["serve"]));
                agent = site.agent("alpha", &at_text).0;
            }
        }
    }
    site.grows("alpha", 100);
    spooled(&site, "alpha", &mut seen);
    site.audited_clean();
    let stored = site.stored().remove("alpha").unwrap_or_default();
    let stored: BTreeSet<String> = stored.into_iter().collect();
    let lost: Vec<&String> = seen.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {:?}",
        lost.len(),
        seen.len(),
        lost[0]
    );
    println!("{} records in a spool, {} stored", seen.len(), stored.len());
}
