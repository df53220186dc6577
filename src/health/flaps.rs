//! Flapping: whether a target changes between answering and failing too often to be
//! relied on. The weighted formula of Nagios ("Detection and Handling of State Flapping"
//! in its manual): of the latest 21 results, the 20 possible changes weigh from 0.8, the
//! oldest, to 1.2, the newest; their sum in percent of 20 starts it above one bound and
//! ends it below a lower one. Always whole numbers: a weight's unit is 1/95.

/// Changes looked at: one less than results.
const CHANGES: u32 = 20;
/// Weight of the oldest change, 0.8, and what each newer one weighs more, up to 1.2.
const OLDEST: u32 = 76;
const STEP: u32 = 2;
/// Weight of all changes together, divided by 100.
const PERCENT: u32 = 19;
/// Above this it starts, below that it ends, in percent.
const START_ABOVE: u32 = 30;
const STOP_BELOW: u32 = 25;

/// The latest changes of one target.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flaps {
    /// A bit for each, the oldest lowest.
    changes: u32,
    failed: Option<bool>,
    flapping: bool,
}

impl Flaps {
    /// Takes a result, and says nothing yet. Before the first there were no changes.
    pub fn remember(&mut self, failed: bool) {
        let changed = self.failed.replace(failed).is_some_and(|was| was != failed);
        self.changes = self.changes >> 1 | u32::from(changed) << (CHANGES - 1);
    }

    /// Takes a result, and decides.
    pub fn push(&mut self, failed: bool) {
        self.remember(failed);
        let weight = self.weight();
        self.flapping = match self.flapping {
            true => weight >= STOP_BELOW * PERCENT,
            false => weight > START_ABOVE * PERCENT,
        };
    }

    /// The failures since the latest answer had an excuse: they are no change.
    pub fn excuse(&mut self) {
        if self.failed == Some(true) {
            let newest = self.changes.checked_ilog2();
            self.changes &= !newest.map_or(0, |bit| 1 << bit);
            self.failed = Some(false);
        }
    }

    /// Whether there was any result.
    pub fn any(&self) -> bool {
        self.failed.is_some()
    }

    pub fn flapping(&self) -> bool {
        self.flapping
    }

    /// Takes back what was so before a restart.
    pub fn set(&mut self, flapping: bool) {
        self.flapping = flapping;
    }

    /// How much it changes, rounded.
    pub fn percent(&self) -> u32 {
        (self.weight() + PERCENT / 2) / PERCENT
    }

    fn weight(&self) -> u32 {
        let weighed = (0..CHANGES).filter(|i| self.changes >> i & 1 == 1);
        weighed.map(|i| OLDEST + STEP * i).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_with_an_excuse_are_no_change() {
        let mut flaps = Flaps::default();
        for failed in [false, true, true] {
            flaps.push(failed);
        }
        assert!(flaps.weight() > 0);
        flaps.excuse();
        assert_eq!(flaps.weight(), 0);
        flaps.push(false);
        assert_eq!(flaps.weight(), 0);
        // Without failures there is nothing to excuse.
        flaps.push(true);
        flaps.push(false);
        let before = flaps.weight();
        flaps.excuse();
        assert_eq!(flaps.weight(), before);
    }

    /// After 21 results, with changes at these places: 0 is the oldest, 19 the newest.
    fn with(changes: &[u32], flapping: bool) -> Flaps {
        let mut flaps = Flaps::default();
        let mut failed = false;
        flaps.push(failed);
        for i in 0..CHANGES {
            failed ^= changes.contains(&i);
            // What comes before is no matter.
            flaps.set(flapping);
            flaps.push(failed);
        }
        flaps
    }

    #[test]
    fn changes_weigh_from_four_fifths_to_six_fifths() {
        let weight = |changes: &[u32]| with(changes, false).weight();
        // In units of 1/95.
        assert_eq!((weight(&[0]), weight(&[19])), (76, 114));
        assert_eq!(weight(&(0..20).collect::<Vec<_>>()), 20 * 95);
        for (changes, percent) in [
            (&[][..], 0),
            (&[0], 4),
            (&[19], 6),
            (&[17, 18, 19], 18),
            (&(0..20).collect::<Vec<_>>(), 100),
        ] {
            assert_eq!(with(changes, false).percent(), percent, "{changes:?}");
        }
    }

    #[test]
    fn it_starts_above_thirty_and_ends_below_twenty_five_percent() {
        // 30 % are 570, 25 % are 475, and every weight is even.
        for (changes, weight, before, after) in [
            (&[7, 8, 9, 10, 11, 12][..], 570, false, false),
            (&[7, 8, 9, 10, 11, 13], 572, false, true),
            (&[7, 8, 9, 10, 11, 12], 570, true, true),
            (&[7, 8, 9, 10, 14], 476, true, true),
            (&[7, 8, 9, 10, 13], 474, true, false),
            (&[7, 8, 9, 10, 14], 476, false, false),
        ] {
            let flaps = with(changes, before);
            assert_eq!(flaps.weight(), weight, "{changes:?}");
            assert_eq!(flaps.flapping(), after, "{changes:?} {before}");
        }
    }

    #[test]
    fn a_change_is_forgotten_after_twenty_more_results() {
        let mut flaps = Flaps::default();
        assert!(!flaps.any());
        for failed in [false, true] {
            flaps.push(failed);
        }
        for left in (0..CHANGES).rev() {
            let old = flaps.weight();
            assert_eq!(old, OLDEST + STEP * left);
            flaps.push(true);
        }
        assert_eq!((flaps.weight(), flaps.any()), (0, true));
    }
}
