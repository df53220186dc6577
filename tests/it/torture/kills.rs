//! Kill -9 at random moments: while they start, probe, send, store, rotate and take
//! configurations. `TCPMON_KILLS` says how often, `TCPMON_SEED` which moments.

use std::collections::BTreeSet;

use super::{Dice, setting, some_time, spooled};
use crate::support::{Running, Site, own_loopback};

#[test]
fn killed_at_any_moment_they_lose_nothing() {
    let kills = setting("TCPMON_KILLS", 24);
    let seed = setting("TCPMON_SEED", 0x7c9);
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice::new(seed);
    let site = Site::new(4);
    let own = format!("{}:0", own_loopback());
    let (mut agent, at) = site.agent_of_little_room("alpha", &own);
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
                agent = site.agent_of_little_room("alpha", &at_text).0;
            }
            _ => {
                manager.kill();
                agent.kill();
                spooled(&site, "alpha", &mut seen);
                manager = Running::start(&mut site.manager(&["serve"]));
                agent = site.agent_of_little_room("alpha", &at_text).0;
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
