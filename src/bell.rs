//! A bell: threads wait for news of any kind without missing any. Whoever rings
//! does not wait; whoever waits names the last ring it has heard.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::clock;
use crate::model::Mono;

/// Counts rings; see the module text.
#[derive(Debug, Default)]
pub struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// Wakes everyone who waits.
    pub fn ring(&self) {
        *self.rings.lock().expect("bell") += 1;
        self.rung.notify_all();
    }

    /// Rings so far: read it before looking for news, then wait past it.
    pub fn heard(&self) -> u64 {
        *self.rings.lock().expect("bell")
    }

    /// Blocks until there were more than `heard` rings, or until `deadline`.
    pub fn wait(&self, heard: u64, deadline: Mono) {
        let mut rings = self.rings.lock().expect("bell");
        while *rings == heard {
            let left: Duration = deadline.since(clock::mono());
            if left.is_zero() {
                return;
            }
            rings = self.rung.wait_timeout(rings, left).expect("bell").0;
        }
    }
}
