//! The only place that reads a clock, sleeps or draws random numbers. Everything
//! else takes time as an argument.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Mono, Wall, micros, millis};

/// Monotonic time since the first call in this process.
pub fn mono() -> Mono {
    static START: OnceLock<Instant> = OnceLock::new();
    Mono(micros(START.get_or_init(Instant::now).elapsed()))
}

/// Wall time now; 0 when the host's clock stands before 1970.
pub fn wall() -> Wall {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(millis(since))
}

/// Blocks this thread for `d`.
pub fn sleep(d: Duration) {
    std::thread::sleep(d);
}

/// 64 random bits for ids and jitter, from the system's source by way of std's
/// hash seeds. Unpredictable enough to be unique, not meant for secrets.
pub fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}
