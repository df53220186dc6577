//! The real programs under faults: short in `make test`, long in `make torture` and
//! `make soak`. Each says its seed; the same seed does the same things.

mod kills;
mod links;
mod load;
mod managers;
mod segments;
mod soak;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::Site;

/// Pseudo-random numbers (xorshift64, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A number that the environment may set.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect(name))
}

/// Lets up to so many milliseconds pass.
fn some_time(dice: &mut Dice, ms: u64) {
    wait_until(Instant::now() + Duration::from_millis(dice.below(ms)));
}

fn wait_until(at: Instant) {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
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
