//! Latencies and availability as numbers: what a stream of results adds up to.
//!
//! Pure and small: a `Histogram` costs 4 bytes for each bucket in use, a
//! `Rolling` hour is seven of them. Answers for the arithmetic only; what counts
//! as up is decided elsewhere. Always: a quantile is within 1.6 % of the exact
//! one, and the smallest and largest latency are exact.

use std::rc::Rc;
use std::time::Duration;

use crate::model::{Wall, millis};

mod spans;

pub use spans::Spans;

/// Buckets per octave, as a power of two: 32 of them bound the error of a bucket's middle to 1/64.
const SUB_BITS: u32 = 5;
/// Length of one slot of a rolling hour.
const SLOT_MS: u64 = 10 * 60 * 1000;
/// Whole slots that make the hour; the running one comes on top.
const HOUR_SLOTS: u64 = 6;
/// Slots kept.
const SLOTS: usize = HOUR_SLOTS as usize + 1;

/// Counts of latencies in microseconds, in log-linear buckets: exact below 64 µs,
/// then 32 buckets per octave, so that a bucket's middle is within 1.6 % of all it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Sorted by bucket. Of those of one bucket, all but the first are full.
    buckets: Vec<Bucket>,
    count: u64,
    min: u64,
    max: u64,
}

/// A bucket's number, in the upper bits, and a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket(u32);

/// Bits of a count. Numbers of buckets need the other eleven.
const COUNT_BITS: u32 = 21;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

impl Bucket {
    fn new(number: u16, count: u32) -> Bucket {
        Bucket(u32::from(number) << COUNT_BITS | count)
    }

    fn number(self) -> u16 {
        (self.0 >> COUNT_BITS) as u16
    }

    fn count(self) -> u32 {
        self.0 & COUNT_MAX
    }
}

fn bucket_of(us: u64) -> u16 {
    let top = u64::BITS - 1 - (us | 1).leading_zeros();
    let shift = top.saturating_sub(SUB_BITS);
    // At most 58 * 32 + 63.
    ((shift << SUB_BITS) as u64 + (us >> shift)) as u16
}

fn middle_of(bucket: u16) -> u64 {
    let shift = (u32::from(bucket) >> SUB_BITS).saturating_sub(1);
    let low = (u64::from(bucket) - (u64::from(shift) << SUB_BITS)) << shift;
    low + ((1 << shift) >> 1)
}

impl Histogram {
    /// Counts one latency.
    pub fn add(&mut self, us: u64) {
        self.put(bucket_of(us), 1);
        self.widen(us, us, 1);
    }

    /// Counts all that `other` holds.
    pub fn merge(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        for bucket in &other.buckets {
            self.put(bucket.number(), bucket.count());
        }
        self.widen(other.min, other.max, other.count);
    }

    fn put(&mut self, number: u16, count: u32) {
        let at = self.buckets.partition_point(|b| b.number() < number);
        let same = self.buckets.get(at).filter(|b| b.number() == number);
        let sum = same.map_or(0, |b| b.count()) + count;
        match same {
            Some(_) if sum <= COUNT_MAX => self.buckets[at] = Bucket::new(number, sum),
            Some(_) => {
                self.buckets[at] = Bucket::new(number, COUNT_MAX);
                self.insert(at, Bucket::new(number, sum - COUNT_MAX));
            }
            None => self.insert(at, Bucket::new(number, sum)),
        }
    }

    /// Room for a few more at a time: there are many histograms, and they grow seldom.
    fn insert(&mut self, at: usize, bucket: Bucket) {
        if self.buckets.len() == self.buckets.capacity() {
            self.buckets.reserve_exact(self.buckets.len() / 4 + 4);
        }
        self.buckets.insert(at, bucket);
    }

    fn widen(&mut self, min: u64, max: u64, count: u64) {
        self.min = if self.count == 0 {
            min
        } else {
            self.min.min(min)
        };
        self.max = self.max.max(max);
        self.count += count;
    }

    /// How many latencies lie in each bucket in use, by the bucket's middle.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let one = |all: &[Bucket]| all.iter().map(|b| u64::from(b.count())).sum();
        let each = self.buckets.chunk_by(|a, b| a.number() == b.number());
        each.map(move |all| (middle_of(all[0].number()), one(all)))
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest latency, exact.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The latency that a fraction `q` (0 to 1) of all do not exceed: the middle of
    /// its bucket, exact at both ends. `None` when nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        // A fraction of a count: beyond 2^53 the rank is as good as exact.
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == 1 {
            return Some(self.min);
        }
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = 0;
        for bucket in &self.buckets {
            seen += u64::from(bucket.count());
            if seen >= rank {
                return Some(middle_of(bucket.number()).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }
}

/// How one probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered after this many microseconds.
    Answered(u64),
    Failed,
}

/// The last hour of one stream of results: the running ten minutes and the six before.
#[derive(Debug, Clone, Default)]
pub struct Rolling {
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Default)]
struct Slot {
    /// Which ten minutes since 1970 it holds.
    number: u64,
    latencies: Histogram,
    failed: u64,
}

/// What an hour adds up to. Latencies are those of probes that were answered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hour {
    pub p50_us: Option<u64>,
    pub p95_us: Option<u64>,
    /// The fraction of probes that failed; `None` when there was none.
    pub loss: Option<f64>,
}

impl Rolling {
    /// Adds a result that began at `at`, in any order: it goes to its own ten minutes.
    /// What lies before the hour is ignored; what lies ahead of `now` (clocks differ) counts as now.
    pub fn add(&mut self, at: Wall, outcome: Outcome, now: Wall) {
        let newest = now.0 / SLOT_MS;
        let number = (at.0 / SLOT_MS).min(newest);
        if number + HOUR_SLOTS < newest {
            return;
        }
        let slot = &mut self.slots[number as usize % SLOTS];
        if slot.number != number {
            *slot = Slot {
                number,
                ..Slot::default()
            };
        }
        match outcome {
            Outcome::Answered(us) => slot.latencies.add(us),
            Outcome::Failed => slot.failed += 1,
        }
    }

    /// The percentiles and loss of the hour up to `now`.
    pub fn hour(&self, now: Wall) -> Hour {
        let newest = now.0 / SLOT_MS;
        let mut all = Histogram::default();
        let mut failed = 0;
        for slot in &self.slots {
            if slot.number <= newest && slot.number + HOUR_SLOTS >= newest {
                all.merge(&slot.latencies);
                failed += slot.failed;
            }
        }
        let probes = all.count() + failed;
        Hour {
            p50_us: all.quantile(0.50),
            p95_us: all.quantile(0.95),
            loss: (probes > 0).then(|| failed as f64 / probes as f64),
        }
    }
}

/// How much of a window one (target, agent) stream of results measured, and how much
/// of that was up. A result stands for the time until the next, at most one interval.
/// What lies in a time left out is not counted at all.
#[derive(Debug, Clone)]
pub struct Availability {
    since: Wall,
    until: Wall,
    left_out: Rc<Spans>,
    interval_ms: u64,
    /// The latest result, whose time is not yet known.
    open: Option<(Wall, bool)>,
    sums: Measured,
}

/// Sums over a window; those of several streams add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    pub probes: u64,
    pub ok: u64,
    pub up_ms: u64,
    pub measured_ms: u64,
    pub asked_ms: u64,
}

impl Availability {
    /// A stream over `since..until` whose target is probed every `interval`.
    pub fn new(since: Wall, until: Wall, left_out: Rc<Spans>, interval: Duration) -> Availability {
        let whole_ms = until.0.saturating_sub(since.0);
        let sums = Measured {
            asked_ms: whole_ms - left_out.overlap_ms(since, until),
            ..Measured::default()
        };
        Availability {
            since,
            until,
            left_out,
            interval_ms: millis(interval),
            open: None,
            sums,
        }
    }

    /// From here on results come every `interval` (a `Began` record).
    pub fn began(&mut self, at: Wall, interval: Duration) {
        self.close(at);
        self.interval_ms = millis(interval);
    }

    /// No results follow `at` (an `Ended` or `Start` record).
    pub fn ended(&mut self, at: Wall) {
        self.close(at);
    }

    /// The next result of the stream. Outside the window it is not counted, yet the
    /// one just before the window still stands for the time that reaches into it.
    /// Whether it was counted.
    pub fn result(&mut self, at: Wall, ok: bool) -> bool {
        self.close(at);
        self.open = Some((at, ok));
        let counts = at >= self.since && at < self.until && !self.left_out.contains(at);
        if counts {
            self.sums.probes += 1;
            self.sums.ok += u64::from(ok);
        }
        counts
    }

    /// The sums, the last result standing for what is left of its interval.
    pub fn finish(mut self) -> Measured {
        self.close(Wall(u64::MAX));
        self.sums
    }

    fn close(&mut self, next: Wall) {
        let Some((at, ok)) = self.open.take() else {
            return;
        };
        // An eighth more, so that a probe that starts a little late leaves no hole.
        let gap = next.0.saturating_sub(at.0);
        let stands = if gap <= self.interval_ms.saturating_add(self.interval_ms / 8) {
            gap
        } else {
            self.interval_ms
        };
        let from = at.max(self.since);
        let to = Wall(at.0.saturating_add(stands)).min(self.until);
        let ms = to.0.saturating_sub(from.0) - self.left_out.overlap_ms(from, to);
        self.sums.measured_ms += ms;
        self.sums.up_ms += if ok { ms } else { 0 };
    }
}

impl Measured {
    /// Of what was measured, how much was up.
    pub fn uptime(&self) -> Option<f64> {
        fraction(self.up_ms, self.measured_ms)
    }

    /// Of the time asked for, how much was measured.
    pub fn observed(&self) -> Option<f64> {
        fraction(self.measured_ms, self.asked_ms)
    }

    /// Adds another stream's sums.
    pub fn merge(&mut self, other: &Measured) {
        self.probes += other.probes;
        self.ok += other.ok;
        self.up_ms += other.up_ms;
        self.measured_ms += other.measured_ms;
        self.asked_ms += other.asked_ms;
    }
}

fn fraction(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::quiet::Span;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut h = Histogram::default();
        values.into_iter().for_each(|us| h.add(us));
        h
    }

    #[test]
    fn a_bucket_s_middle_is_within_a_64th() {
        let mut us = 0u64;
        let mut before = 0;
        while us < u64::MAX / 3 {
            let bucket = bucket_of(us);
            assert!(bucket >= before, "{us}");
            before = bucket;
            let off = middle_of(bucket).abs_diff(us) as f64;
            assert!(off <= us as f64 / 64.0, "{us} became {}", middle_of(bucket));
            us += 1 + us / 97;
        }
        assert_eq!(bucket_of(u64::MAX), 58 * 32 + 63);
        for exact in 0..64 {
            assert_eq!(middle_of(bucket_of(exact)), exact);
        }
    }

    #[test]
    fn quantiles_are_near_and_the_ends_exact() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().max(), None);
        let one = histogram([777_777]);
        for q in [0.0, 0.5, 1.0, 9.0, f64::NAN] {
            assert_eq!(one.quantile(q), Some(777_777), "{q}");
        }
        let h = histogram((1..=100_000).rev());
        assert_eq!((h.count(), h.max()), (100_000, Some(100_000)));
        for (q, exact) in [(0.0, 1), (0.5, 50_000), (0.95, 95_000), (0.99, 99_000)] {
            let got = h.quantile(q).unwrap();
            assert!(got.abs_diff(exact) * 64 <= exact, "{q}: {got}");
        }
        assert_eq!(h.quantile(1.0), Some(100_000));
    }

    #[test]
    fn merging_equals_adding_all() {
        let mut left = histogram([5, 900, 70_000]);
        left.merge(&histogram([900, 3, 1 << 40]));
        left.merge(&Histogram::default());
        assert_eq!(left, histogram([5, 900, 70_000, 900, 3, 1 << 40]));
        let mut empty = Histogram::default();
        empty.merge(&histogram([9]));
        assert_eq!(empty, histogram([9]));
    }

    #[test]
    fn a_full_bucket_goes_on_in_another() {
        let mut h = histogram([5, 9]);
        for _ in 0..3 {
            h.put(bucket_of(7), COUNT_MAX);
            h.put(bucket_of(7), 2);
        }
        let seven = 3 * u64::from(COUNT_MAX) + 6;
        assert_eq!(h.counts().collect::<Vec<_>>(), [(5, 1), (7, seven), (9, 1)]);
        let full = h.buckets.iter().filter(|b| b.count() == COUNT_MAX);
        assert_eq!((full.count(), h.buckets.len()), (3, 6));
        let mut twice = h.clone();
        twice.merge(&h);
        assert_eq!(twice.counts().nth(1), Some((7, 2 * seven)));
    }

    const MINUTE: u64 = 60_000;

    fn minute(n: u64) -> Wall {
        Wall(1_000 * SLOT_MS + n * MINUTE)
    }

    #[test]
    fn an_hour_takes_results_in_any_order_and_forgets() {
        let mut r = Rolling::default();
        assert_eq!(r.hour(minute(0)), Hour::default());
        let now = minute(65);
        r.add(minute(64), Outcome::Answered(50), now);
        r.add(minute(1), Outcome::Failed, now);
        r.add(minute(40), Outcome::Answered(10), now);
        r.add(
            Wall(minute(0).0 - 15 * MINUTE),
            Outcome::Answered(9_999),
            now,
        );
        r.add(minute(900), Outcome::Answered(30), now);
        let hour = r.hour(now);
        assert_eq!(hour.loss, Some(0.25));
        assert_eq!((hour.p50_us, hour.p95_us), (Some(30), Some(50)));
        for (at, loss, p50) in [
            (70, Some(0.0), Some(30)),
            (110, Some(0.0), Some(30)),
            (125, Some(0.0), Some(30)),
            (135, None, None),
        ] {
            let hour = r.hour(minute(at));
            assert_eq!((hour.loss, hour.p50_us), (loss, p50), "minute {at}");
        }
        // A slot taken over by a later hour starts empty.
        r.add(minute(65 + 70), Outcome::Failed, minute(65 + 70));
        assert_eq!(r.hour(minute(65 + 70)).loss, Some(1.0));
        // A clock set back: what lies ahead is not counted.
        assert_eq!(r.hour(minute(0)).loss, Some(1.0));
    }

    fn availability(
        window: Range<u64>,
        interval: Duration,
        left_out: &[(u64, u64)],
    ) -> Availability {
        let span = |&(from, until): &(u64, u64)| Span {
            from: Wall(from),
            until: Wall(until),
        };
        let left_out = Rc::new(Spans::new(left_out.iter().map(span).collect()));
        Availability::new(Wall(window.start), Wall(window.end), left_out, interval)
    }

    /// (results as (second, ok), up ms, measured ms) over seconds 100..200, every 10 s.
    type Case = (&'static [(u64, bool)], u64, u64);

    #[test]
    fn a_result_stands_until_the_next_but_no_longer_than_an_interval() {
        let cases: [Case; 7] = [
            (&[], 0, 0),
            (&[(100, true)], 10_000, 10_000),
            (&[(100, true), (110, true), (111, false)], 11_000, 21_000),
            (&[(100, true), (150, false)], 10_000, 20_000),
            (&[(95, true), (195, true)], 10_000, 10_000),
            (&[(130, true), (141, true)], 21_000, 21_000),
            (&[(130, true), (120, true)], 10_000, 10_000),
        ];
        for (results, up, measured) in cases {
            let interval = Duration::from_secs(10);
            let mut a = availability(100_000..200_000, interval, &[]);
            for &(second, ok) in results {
                a.result(Wall(second * 1000), ok);
            }
            let m = a.finish();
            assert_eq!((m.up_ms, m.measured_ms), (up, measured), "{results:?}");
        }
    }

    #[test]
    fn a_time_left_out_is_neither_asked_for_nor_measured() {
        let out = [(45_000, 55_000), (90_000, 500_000)];
        let mut a = availability(0..100_000, Duration::from_secs(10), &out);
        let counted = (0..10).map(|i| a.result(Wall(i * 10_000), i != 4));
        let counted: Vec<bool> = counted.collect();
        let m = a.finish();
        assert_eq!((m.probes, m.ok, m.asked_ms), (8, 7, 80_000));
        assert_eq!((m.up_ms, m.measured_ms), (75_000, 80_000));
        assert_eq!(counted.iter().position(|c| !c), Some(5));
    }

    #[test]
    fn intervals_change_and_streams_end() {
        let mut a = availability(0..100_000, Duration::from_secs(10), &[]);
        a.result(Wall(0), true);
        a.began(Wall(4_000), Duration::from_secs(40));
        a.result(Wall(4_000), false);
        a.result(Wall(44_000), true);
        a.ended(Wall(50_000));
        let mut m = a.finish();
        assert_eq!((m.probes, m.ok), (3, 2));
        assert_eq!((m.up_ms, m.measured_ms), (10_000, 50_000));
        assert_eq!((m.uptime(), m.observed()), (Some(0.2), Some(0.5)));
        m.merge(&availability(0..100_000, Duration::from_secs(1), &[]).finish());
        assert_eq!(m.observed(), Some(0.25));
        assert_eq!(Measured::default().uptime(), None);
    }
}
