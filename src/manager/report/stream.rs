//! What one agent's records say about each target it probes, within a window.

use std::collections::HashMap;
use std::time::Duration;

use super::Numbers;
use crate::config::INTERVAL_DEFAULT;
use crate::model::{Name, Target, Wall};
use crate::record::Body;
use crate::stats::{Availability, Histogram};

/// The time reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub since: Wall,
    pub until: Wall,
}

/// The streams of one agent, by target.
#[derive(Debug)]
pub struct Streams {
    window: Window,
    /// What the fleet wants probed from here; `None` when every target seen is wanted.
    wanted: Option<HashMap<Name, Duration>>,
    streams: HashMap<Name, Stream>,
    /// The agent has started and tells which targets it takes up again.
    resuming: bool,
}

#[derive(Debug)]
struct Stream {
    availability: Availability,
    latencies: Histogram,
    interval: Duration,
    /// Since when it is to be measured; `None` when it has ended.
    asked_from: Option<Wall>,
    /// What was asked for before that.
    asked_ms: u64,
    last: Wall,
}

impl Streams {
    /// No records yet. With `targets`, those are what is wanted from this agent, else
    /// everything that it tells of.
    pub fn new(window: Window, targets: Option<Vec<Target>>) -> Streams {
        let by_name = |targets: Vec<Target>| {
            let pairs = targets.into_iter().map(|t| (t.name, t.interval));
            pairs.collect()
        };
        Streams {
            window,
            wanted: targets.map(by_name),
            streams: HashMap::new(),
            resuming: false,
        }
    }

    /// The longest interval wanted, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        let intervals = self.wanted.iter().flat_map(HashMap::values);
        let longest = intervals.max().unwrap_or(&INTERVAL_DEFAULT);
        u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes the next record, written `at` by our clock.
    pub fn record(&mut self, at: Wall, body: &Body) {
        let window = self.window;
        match body {
            Body::Result(sample) => {
                self.resuming = false;
                self.stream(&sample.target, window.since).result(
                    window,
                    at,
                    sample.ok().then_some(sample.us),
                );
            }
            Body::Began {
                target, interval, ..
            } => {
                // One that a restarted agent takes up again was to be measured all along.
                let from = if self.resuming { window.since } else { at };
                self.stream(target, from).began(at, *interval);
            }
            Body::Ended { target, .. } => self.stream(target, window.since).ended(window, at),
            Body::Start { alive, .. } => {
                self.resuming = alive.is_some();
                let streams = self.streams.values_mut();
                streams.for_each(|s| s.availability.ended(at));
            }
            _ => {}
        }
    }

    /// The target's stream; a new one is asked for from `from` on.
    fn stream(&mut self, target: &Name, from: Wall) -> &mut Stream {
        if !self.streams.contains_key(target) {
            let wanted = self.wanted.as_ref();
            let interval = wanted.and_then(|wanted| wanted.get(target)).copied();
            let stream = Stream::new(self.window, interval.unwrap_or(INTERVAL_DEFAULT), from);
            self.streams.insert(target.clone(), stream);
        }
        self.streams.get_mut(target).expect("just put there")
    }

    /// What each target's stream came to; one that is wanted and of which nothing was
    /// heard was not measured at all.
    pub fn finish(mut self) -> impl Iterator<Item = (Name, Numbers)> {
        let names = self.wanted.iter().flat_map(HashMap::keys);
        for target in names.cloned().collect::<Vec<_>>() {
            self.stream(&target, self.window.since);
        }
        let (window, wanted) = (self.window, self.wanted);
        let is_wanted = move |target: &Name| wanted.as_ref().is_none_or(|w| w.contains_key(target));
        self.streams.into_iter().map(move |(target, stream)| {
            let end = match is_wanted(&target) {
                true => window.until,
                // The fleet wants it no more, which this agent has not told us yet.
                false => stream.last_stands_until(),
            };
            (target, stream.finish(window, end))
        })
    }
}

impl Stream {
    fn new(window: Window, interval: Duration, from: Wall) -> Stream {
        Stream {
            availability: Availability::new(window.since, window.until, interval),
            latencies: Histogram::default(),
            interval,
            asked_from: Some(from),
            asked_ms: 0,
            last: from,
        }
    }

    fn result(&mut self, window: Window, at: Wall, us: Option<u64>) {
        self.availability.result(at, us.is_some());
        self.last = at;
        self.asked_from.get_or_insert(at);
        if let Some(us) = us.filter(|_| at >= window.since && at < window.until) {
            self.latencies.add(us);
        }
    }

    fn began(&mut self, at: Wall, interval: Duration) {
        self.availability.began(at, interval);
        self.interval = interval;
        self.last = self.last.max(at);
        self.asked_from.get_or_insert(at);
    }

    fn ended(&mut self, window: Window, at: Wall) {
        self.availability.ended(at);
        self.close(window, at);
    }

    /// Asks for nothing from `end` on.
    fn close(&mut self, window: Window, end: Wall) {
        if let Some(from) = self.asked_from.take() {
            let (from, end) = (from.max(window.since), end.min(window.until));
            self.asked_ms += end.0.saturating_sub(from.0);
        }
    }

    fn last_stands_until(&self) -> Wall {
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        Wall(self.last.0.saturating_add(interval_ms))
    }

    fn finish(mut self, window: Window, end: Wall) -> Numbers {
        self.close(window, end);
        let mut measured = self.availability.finish();
        measured.asked_ms = self.asked_ms;
        Numbers {
            measured,
            latencies: self.latencies,
        }
    }
}
