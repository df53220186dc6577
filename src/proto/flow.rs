//! How much a session may have under way: enough to use the link, and so little that what
//! is urgent need not wait long behind it.
//!
//! The system takes megabytes for a connection however slow it is, and gives nothing back
//! once it has them. So bulk (records, states that are told again, parts of a
//! configuration) waits while more than the window is sent and not acknowledged. The window
//! follows how long acknowledgements take: it grows to four times what was under way while
//! they come soon, and shrinks to what the link has carried in [`SOON`] once they come late.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Mono;

/// The window of a new session, in bytes.
pub const WINDOW_START: u64 = 64 * 1024;
/// The smallest window, in bytes.
pub const WINDOW_MIN: u64 = 16 * 1024;
/// Acknowledgements that take no longer let the window grow; a manager's come half a second
/// late even where the link takes no time.
pub const SOON: Duration = Duration::from_secs(2);
/// Those that take longer make it smaller.
pub const LATE: Duration = Duration::from_secs(4);
/// What is sent within so long counts as one.
const TOGETHER: Duration = Duration::from_millis(50);

/// Bulk that is under way.
#[derive(Debug, Clone, Copy)]
struct Mark<K> {
    /// What names it when it is acknowledged.
    key: K,
    /// When the first of it was sent.
    at: Mono,
    /// All bytes sent by then.
    sent: u64,
    /// Bytes under way then.
    under_way: u64,
}

/// See the module text; `K` is what is acknowledged.
#[derive(Debug)]
pub struct Flow<K> {
    window: u64,
    /// Bytes sent, and those of them that must have arrived.
    sent: u64,
    arrived: u64,
    marks: VecDeque<Mark<K>>,
}

impl<K> Default for Flow<K> {
    fn default() -> Flow<K> {
        Flow {
            window: WINDOW_START,
            sent: 0,
            arrived: 0,
            marks: VecDeque::new(),
        }
    }
}

impl<K> Flow<K> {
    /// How many bytes of bulk may be sent now; 0 while more is under way than is worth
    /// adding to.
    pub fn room(&self) -> u64 {
        let under_way = self.under_way();
        match under_way > self.window * 3 / 4 {
            true => 0,
            false => self.window - under_way,
        }
    }

    /// Bytes that may not have arrived; nothing is known of what came after the last mark.
    fn under_way(&self) -> u64 {
        match self.marks.is_empty() {
            true => 0,
            false => self.sent - self.arrived,
        }
    }

    /// Bytes sent since the last mark, for which no acknowledgement will come.
    pub fn unmarked(&self) -> u64 {
        self.sent - self.marks.back().map_or(self.arrived, |mark| mark.sent)
    }

    /// Bytes are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// What was sent last will be acknowledged as `key`.
    pub fn mark(&mut self, key: K, now: Mono) {
        let under_way = self.sent - self.arrived;
        let last = self.marks.back_mut();
        if let Some(last) = last.filter(|last| now.since(last.at) < TOGETHER) {
            (last.key, last.sent, last.under_way) = (key, self.sent, under_way);
            return;
        }
        self.marks.push_back(Mark {
            key,
            at: now,
            sent: self.sent,
            under_way,
        });
    }

    /// All has arrived up to the last mark of which `reached` is true; whether there is room
    /// now that was not there before.
    pub fn acknowledged(&mut self, reached: impl Fn(&K) -> bool, now: Mono) -> bool {
        let was_full = self.room() == 0;
        let last = self.marks.iter().rposition(|mark| reached(&mark.key));
        let Some(mark) = last.and_then(|last| self.marks.drain(..=last).next_back()) else {
            return false;
        };
        self.arrived = match self.marks.is_empty() {
            true => self.sent,
            false => mark.sent,
        };
        let took = now.since(mark.at);
        if took <= SOON {
            self.window = self.window.max(mark.under_way.saturating_mul(4));
        } else if took > LATE {
            let carried = u128::from(mark.under_way) * SOON.as_millis() / took.as_millis();
            self.window = u64::try_from(carried).unwrap_or(u64::MAX).max(WINDOW_MIN);
        }
        was_full && self.room() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    /// Sends as much as there is room for, in pieces, and acknowledges it when a link that
    /// carries so many bytes a second has carried it, `late` ms later; for so many seconds.
    /// The window at the end, and the longest time that a byte was under way from `warm` on.
    fn over(rate: u64, late: u64, seconds: u64, warm: u64) -> (u64, u64) {
        let mut flow = Flow::default();
        let (mut free_at, mut seq, mut worst) = (0, 0, 0);
        let mut acks = VecDeque::new();
        for ms in 0..seconds * 1000 {
            let now = Mono(ms * MS);
            while acks.front().is_some_and(|(at, _)| *at <= ms) {
                let (_, acked) = acks.pop_front().unwrap();
                flow.acknowledged(|seq| *seq <= acked, now);
            }
            while flow.room() > 0 && acks.len() < 5000 {
                let bytes = flow.room().min(64 * 1024);
                seq += 1;
                free_at = free_at.max(ms) + bytes * 1000 / rate;
                flow.sent(bytes as usize);
                flow.mark(seq, now);
                acks.push_back((free_at + late, seq));
                if ms >= warm * 1000 {
                    worst = worst.max(free_at - ms);
                }
            }
        }
        (flow.window, worst)
    }

    #[test]
    fn a_slow_link_has_little_under_way_and_a_fast_one_all_it_carries() {
        // Bytes a second, ms that an acknowledgement takes beside, the least window, and ms
        // that anything may wait for what was sent before it.
        for (rate, late, least, waits) in [
            (10 * 1024, 500, WINDOW_MIN, 4_000),
            (10 * 1024, 1100, WINDOW_MIN, 4_000),
            (100 * 1024, 500, WINDOW_START, 4_000),
            (1024, 500, WINDOW_MIN, 17_000),
            (50 << 20, 500, 50 << 20, 4_000),
        ] {
            let (window, worst) = over(rate, late, 60, 20);
            assert!(window >= least, "{rate}: {window}");
            assert!(worst <= waits, "{rate}: {worst} ms");
        }
    }

    #[test]
    fn it_waits_for_acknowledgements_only_where_some_will_come() {
        let mut flow = Flow::default();
        // States alone are never acknowledged.
        flow.sent(10 * WINDOW_START as usize);
        assert_eq!(flow.room(), WINDOW_START);
        assert_eq!(flow.unmarked(), 10 * WINDOW_START);
        flow.mark(7, Mono(0));
        assert_eq!((flow.room(), flow.unmarked()), (0, 0));
        flow.sent(100);
        assert_eq!(flow.unmarked(), 100);
        assert!(!flow.acknowledged(|seq| *seq <= 6, Mono(MS)));
        assert!(flow.acknowledged(|seq| *seq <= 7, Mono(3000 * MS)));
        assert_eq!((flow.room(), flow.unmarked()), (WINDOW_START, 0));
    }

    #[test]
    fn what_goes_together_is_acknowledged_as_one() {
        let mut flow = Flow::default();
        for ms in 0..200 {
            flow.sent(10);
            flow.mark(ms, Mono(ms * MS));
        }
        assert_eq!(flow.marks.len(), 4);
        assert!(!flow.acknowledged(|seq| *seq <= 120, Mono(500 * MS)));
        assert_eq!((flow.arrived, flow.marks.len()), (1000, 2));
    }
}
