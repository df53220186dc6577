//! How many workers are worth having. One more helps where those there are wait for the
//! network; where they wait for the CPU it only makes them wait longer. A probe under way
//! for a while is *blocked*: it waits for the network, and its worker counts for nothing.
//! Of others there are a few; more only as long as more probes get done that way.
//!
//! Time is an argument. Always: blocked probes never keep a worker from being wanted.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Mono;

/// A probe that takes longer is blocked.
const BLOCKED_AFTER: Duration = Duration::from_millis(5);
/// So many workers that are not blocked there may always be.
const LIMIT_MIN: usize = 16;
/// How long it takes to see whether more workers get more done.
const TRIAL: Duration = Duration::from_millis(100);
/// And how much more it has to be, of half as many workers more.
const GAIN_MIN: f64 = 1.1;
/// How long after that was in vain it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The probes under way, and how many workers they are worth; see the module text.
pub struct Crew {
    /// Probes begun within [`BLOCKED_AFTER`]: when, and whether they are over.
    recent: VecDeque<(Mono, bool)>,
    /// How many were begun before those.
    earlier: u64,
    /// And are not over.
    blocked: usize,
    /// Most workers that are not blocked.
    limit: usize,
    /// When the limit was last looked at, and how many probes had begun by then.
    looked: (Mono, u64),
    look_at: Mono,
    /// Probes a second before the limit was raised, while that is being tried.
    rate_before: Option<f64>,
}

impl Default for Crew {
    fn default() -> Crew {
        Crew {
            recent: VecDeque::new(),
            earlier: 0,
            blocked: 0,
            limit: LIMIT_MIN,
            looked: (Mono(0), 0),
            look_at: Mono(0),
            rate_before: None,
        }
    }
}

impl Crew {
    /// A probe begins; the number it is to end with. Times don't go back.
    pub fn begin(&mut self, now: Mono) -> u64 {
        self.pass(now);
        self.recent.push_back((now, false));
        self.begun() - 1
    }

    /// It is over.
    pub fn end(&mut self, number: u64) {
        match number.checked_sub(self.earlier) {
            Some(at) => self.recent[at as usize].1 = true,
            None => self.blocked -= 1,
        }
    }

    /// Whether one more worker would help when probes wait for one. Of the `workers`,
    /// `back` are done with their probe, however long that was.
    pub fn wants_more(&mut self, workers: usize, back: usize, now: Mono) -> bool {
        let unblocked = self.unblocked(workers, back, now);
        if unblocked >= self.limit && now >= self.look_at {
            self.look(now);
        }
        unblocked < self.limit
    }

    /// Whether there are more workers than help.
    pub fn wants_fewer(&mut self, workers: usize, back: usize, now: Mono) -> bool {
        self.unblocked(workers, back, now) > self.limit
    }

    fn unblocked(&mut self, workers: usize, back: usize, now: Mono) -> usize {
        self.pass(now);
        // Those that are back may all have been blocked before.
        workers.saturating_sub(self.blocked.saturating_sub(back))
    }

    /// Raises the limit to see whether that helps, or lowers it if that did not.
    fn look(&mut self, now: Mono) {
        let begun = self.begun();
        let (then, begun_then) = std::mem::replace(&mut self.looked, (now, begun));
        let rate = (begun - begun_then) as f64 / now.since(then).as_secs_f64();
        match self.rate_before.take() {
            Some(before) if rate < before * GAIN_MIN => {
                self.limit = (self.limit / 2).max(LIMIT_MIN);
                self.look_at = now.after(AGAIN_AFTER);
            }
            _ => {
                self.rate_before = Some(rate);
                self.limit += self.limit / 2;
                self.look_at = now.after(TRIAL);
            }
        }
    }

    fn begun(&self) -> u64 {
        self.earlier + self.recent.len() as u64
    }

    fn pass(&mut self, now: Mono) {
        while let Some((begun, over)) = self.recent.front() {
            if now.since(*begun) < BLOCKED_AFTER {
                return;
            }
            self.blocked += usize::from(!over);
            self.earlier += 1;
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;

    #[test]
    fn what_has_not_ended_in_time_is_blocked_until_it_ends() {
        let mut crew = Crew::default();
        let blocked = |crew: &mut Crew, at| {
            crew.pass(Mono(at));
            crew.blocked
        };
        let quick = crew.begin(Mono(0));
        let slow = crew.begin(Mono(10));
        let late = crew.begin(Mono(4 * MS));
        crew.end(quick);
        assert_eq!(blocked(&mut crew, 5 * MS + 9), 0);
        assert_eq!(blocked(&mut crew, 5 * MS + 10), 1);
        assert_eq!(blocked(&mut crew, 9 * MS), 2);
        crew.end(slow);
        assert_eq!(blocked(&mut crew, 9 * MS), 1);
        let next = crew.begin(Mono(9 * MS + 1));
        crew.end(late);
        crew.end(next);
        assert_eq!(blocked(&mut crew, 60 * MS), 0);
    }

    #[test]
    fn blocked_workers_never_keep_others_from_coming() {
        let mut crew = Crew::default();
        for workers in 0..1_000 {
            let now = Mono(workers as u64 * 6 * MS);
            assert!(crew.wants_more(workers, 0, now), "{workers}");
            crew.begin(now);
        }
        assert!(!crew.wants_fewer(1_000, 0, Mono(6_000 * MS)));
        assert!(!crew.wants_fewer(1_000, LIMIT_MIN, Mono(6_000 * MS)));
        // They are done with their probes and wait to say so.
        assert!(crew.wants_fewer(1_000, 999, Mono(6_000 * MS)));
    }

    #[test]
    fn a_worker_that_is_back_soon_is_no_two() {
        let mut crew = Crew::default();
        assert!(crew.wants_more(LIMIT_MIN - 1, LIMIT_MIN - 1, Mono(MS)));
        assert!(!crew.wants_fewer(LIMIT_MIN, LIMIT_MIN, Mono(MS)));
    }

    /// A host on which so many workers get so many probes done in a millisecond, all
    /// waited for; how many workers there are at the end of each second.
    fn played(seconds: u64, done_in_ms: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut crew = Crew::default();
        let mut workers = 0;
        let mut seen = Vec::new();
        for ms in 1..=seconds * 1_000 {
            let now = Mono(ms * MS);
            for _ in 0..done_in_ms(workers) {
                let number = crew.begin(now);
                crew.end(number);
            }
            workers += usize::from(crew.wants_more(workers, 0, now));
            workers -= usize::from(crew.wants_fewer(workers, 0, now));
            if ms % 1_000 == 0 {
                seen.push(workers);
            }
        }
        seen
    }

    #[test]
    fn more_workers_come_as_long_as_they_get_more_done() {
        // Each probe waits 4 ms for its network.
        let far = played(3, |workers| workers / 4);
        assert!(far[0] >= 60 && far[2] >= 1_000, "{far:?}");
    }

    #[test]
    fn workers_that_get_no_more_done_go_again() {
        let busy = played(20, |workers| workers.min(8) * 3);
        assert!(busy.iter().all(|w| *w <= LIMIT_MIN * 3 / 2), "{busy:?}");
        assert!(busy[10..].iter().all(|w| *w == LIMIT_MIN), "{busy:?}");
    }
}
