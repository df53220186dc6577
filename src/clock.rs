//! The only place that reads a clock, sleeps or draws random numbers. Everything
//! else takes time as an argument. A thread of the tests may have a clock of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Mono, Wall, micros, millis};

/// Monotonic time since the first call in this process.
pub fn mono() -> Mono {
    #[cfg(test)]
    if let Some(time) = simulated::mono() {
        return time;
    }
    static START: OnceLock<Instant> = OnceLock::new();
    Mono(micros(START.get_or_init(Instant::now).elapsed()))
}

/// Wall time now; 0 when the host's clock stands before 1970.
pub fn wall() -> Wall {
    #[cfg(test)]
    if let Some(time) = simulated::wall() {
        return time;
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(millis(since))
}

/// Blocks this thread for `d`.
pub fn sleep(d: Duration) {
    #[cfg(test)]
    assert!(!simulated::is_on(), "nothing sleeps in simulated time");
    std::thread::sleep(d);
}

/// 64 random bits for ids and jitter, from the system's source by way of std's
/// hash seeds. Unpredictable enough to be unique, not meant for secrets.
pub fn random() -> u64 {
    #[cfg(test)]
    if let Some(number) = simulated::random() {
        return number;
    }
    RandomState::new().hash_one(0u8)
}

#[cfg(test)]
pub mod simulated;
