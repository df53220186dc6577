//! The rest between tries to reach a peer: doubling, up to half a minute, and
//! jittered, so that many of them do not come at once.

use std::time::Duration;

/// The first rest after a failed session; it doubles up to the longest.
pub const BACK_OFF_MIN: Duration = Duration::from_millis(500);
/// The longest rest, before the jitter.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// The rest after so many failures in a row: doubling, with a jitter of a quarter
/// either way out of `random`.
pub fn back_off(failures: u32, random: u64) -> Duration {
    let doubled = BACK_OFF_MIN * 2u32.saturating_pow(failures.saturating_sub(1)).min(1024);
    let base = doubled.min(BACK_OFF_MAX);
    let jitter = (random % 1001) as u32;
    base * 3 / 4 + base / 2 * jitter / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_half_a_minute_and_are_jittered() {
        for (failures, least_ms, most_ms) in [
            (1, 375, 625),
            (2, 750, 1250),
            (3, 1500, 2500),
            (7, 22_500, 37_500),
            (40, 22_500, 37_500),
        ] {
            for random in [0, 500, 1000, 12_345_678_901] {
                let ms = back_off(failures, random).as_millis();
                assert!((least_ms..=most_ms).contains(&ms), "{failures}: {ms}");
            }
        }
        assert_ne!(back_off(5, 0), back_off(5, 1000));
    }
}
