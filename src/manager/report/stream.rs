//! What one agent's records say about each target it probes, or each address of it, within a
//! window.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::Numbers;
use super::course::{Course, Window};
use super::excuses::Said;
use super::left_out::{ByTarget, LeftOut};
use super::outages::Outages;
use crate::config::{Fleet, INTERVAL_DEFAULT};
use crate::model::{DownWhen, Name, Row, Rules, Target, Wall, Watched, millis};
use crate::quiet::Span;
use crate::record::{Body, Record};
use crate::stats::{Availability, Histogram, Spans};

/// What holds for each target, whichever agent tells of it.
#[derive(Debug)]
pub struct Terms {
    pub window: Window,
    rules: HashMap<Name, Rules>,
    left_out: ByTarget,
}

impl Terms {
    /// By the rules of `fleet`, else by those that hold where nothing is said.
    pub fn new(window: Window, fleet: Option<&Fleet>, left_out: &[LeftOut]) -> Terms {
        let of = |fleet: &Fleet| {
            let rules = fleet.targets.iter();
            let rules = rules.map(|target| (target.name.clone(), fleet.rules_of(target)));
            rules.collect()
        };
        let rules = fleet.map(of).unwrap_or_default();
        Terms {
            window,
            rules,
            left_out: ByTarget::new(left_out),
        }
    }

    fn rules(&self, target: &Name) -> Rules {
        self.rules.get(target).copied().unwrap_or_default()
    }

    /// How many rows have to see a target down.
    pub fn down_when(&self, target: &Name) -> DownWhen {
        self.rules(target).down_when
    }

    /// The outages of a target, out of its verdict.
    pub fn outages(&mut self, target: &Name, verdict: &Said) -> Outages {
        let left_out = self.left_out.of(target);
        Outages::of(self.window, &left_out, &verdict.course)
    }
}

/// The streams of one agent, by target and address.
#[derive(Debug)]
pub struct Streams {
    /// What the fleet wants probed from here, and how often; `None` when every target seen
    /// is wanted.
    wanted: Option<HashMap<Name, Wanted>>,
    /// How far back results matter.
    lookback: Duration,
    /// Where in `streams` a row's is.
    places: HashMap<Row, usize>,
    streams: Vec<Stream>,
    /// Where those of a target's addresses are.
    addresses: HashMap<Name, Vec<usize>>,
    /// The agent has started and tells which targets it takes up again.
    resuming: bool,
    /// Of those, names whose addresses it is still to find, and of which none is known.
    taken_up: HashSet<Name>,
    /// How often it has started.
    starts: u32,
    /// There were summaries.
    summaries: bool,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    interval: Duration,
    /// Each address is to have a stream of its own.
    each: bool,
}

#[derive(Debug)]
struct Stream {
    availability: Availability,
    latencies: Histogram,
    course: Course,
    interval: Duration,
    left_out: Rc<Spans>,
    /// Since when it is to be measured; `None` when it has ended.
    asked_from: Option<Wall>,
    /// What was asked for before that, within the window.
    asked: Vec<Span>,
    last: Wall,
    /// What summaries tell of, not taken yet.
    summarised: VecDeque<(Wall, u64)>,
    /// How often the agent had started when this was told of last.
    starts: u32,
}

/// What a stream came to.
pub struct Seen {
    pub numbers: Numbers,
    pub said: Said,
}

impl Streams {
    /// No records yet. With `targets`, those are what is wanted from this agent, else
    /// everything that it tells of.
    pub fn new(targets: Option<Vec<Watched>>) -> Streams {
        let watched = targets.iter().flatten();
        let lookback = watched.map(|w| lookback(w.target.interval, &w.rules)).max();
        let by_name = |targets: Vec<Watched>| {
            let wanted = |target: Target| {
                let (interval, each) = (target.interval, target.each_address);
                (target.name, Wanted { interval, each })
            };
            targets.into_iter().map(|w| wanted(w.target)).collect()
        };
        Streams {
            lookback: lookback.unwrap_or(lookback_usual()),
            wanted: targets.map(by_name),
            places: HashMap::new(),
            streams: Vec::new(),
            addresses: HashMap::new(),
            resuming: false,
            taken_up: HashSet::new(),
            starts: 0,
            summaries: false,
        }
    }

    /// How far before the window results still say what was so at its beginning.
    pub fn lookback(&self) -> Duration {
        self.lookback
    }

    /// Takes the next record; `ours` tells what an agent's time is by our clock.
    pub fn record(
        &mut self,
        terms: &mut Terms,
        record: &Record,
        mut ours: impl FnMut(Wall) -> Wall,
    ) {
        let since = terms.window.since;
        let at = ours(record.at);
        match &record.body {
            Body::Result(sample) => {
                self.catch_up(terms, &sample.target, sample.each, at);
                let us = sample.ok().then_some(sample.us);
                self.result(terms, &sample.target, sample.each, at, us);
            }
            Body::Summary { of, .. } => {
                self.summaries = true;
                for sums in of {
                    let stream = self.stream(terms, &sums.target, sums.each, since);
                    let results = sums.results().map(|(at, us)| (ours(at), us));
                    stream.summarised.extend(results);
                }
            }
            Body::Began {
                target,
                each,
                interval,
                ..
            } => {
                self.catch_up(terms, target, *each, at);
                let from = self.began(terms.window, at, target, *each);
                self.stream(terms, target, *each, from).began(at, *interval);
            }
            Body::Ended { target, each } => {
                let window = terms.window;
                self.catch_up(terms, target, *each, at);
                self.stream(terms, target, *each, since).ended(window, at);
            }
            Body::Start { alive, .. } => {
                self.catch_up_all(terms, at);
                self.resuming = alive.is_some();
                self.starts += 1;
                self.streams.iter_mut().for_each(|s| s.pause(at));
            }
            _ => {}
        }
    }

    /// Takes a result of a row: an answer after so many microseconds, or none.
    fn result(
        &mut self,
        terms: &mut Terms,
        target: &Name,
        each: Option<IpAddr>,
        at: Wall,
        us: Option<u64>,
    ) {
        self.resuming = false;
        if each.is_some() && !self.taken_up.is_empty() {
            self.taken_up.remove(target);
        }
        let tells = each.is_some() || !self.addresses_tell(target, at);
        let stream = self.stream(terms, target, each, terms.window.since);
        stream.result(at, us);
        if tells {
            stream.course.result(stream.interval, at, us);
        }
    }

    /// Takes what summaries tell of a row before `at`: they come before what was kept of
    /// their time.
    fn catch_up(&mut self, terms: &mut Terms, target: &Name, each: Option<IpAddr>, at: Wall) {
        if !self.summaries {
            return;
        }
        let target = target.clone();
        let row = Row { target, each };
        let Some(place) = self.places.get(&row).copied() else {
            return;
        };
        let target = &row.target;
        let next = |streams: &[Stream]| streams[place].summarised.front().copied();
        while let Some((at, us)) = next(&self.streams).filter(|result| result.0 < at) {
            self.streams[place].summarised.pop_front();
            self.result(terms, target, each, at, Some(us));
        }
    }

    fn catch_up_all(&mut self, terms: &mut Terms, at: Wall) {
        let behind = |(_, place): &(&Row, &usize)| !self.streams[**place].summarised.is_empty();
        let rows = self.places.iter().filter(behind);
        let rows: Vec<Row> = rows.map(|(row, _)| row.clone()).collect();
        for row in rows {
            self.catch_up(terms, &row.target, row.each, at);
        }
    }

    /// From when on a row was asked for that begins now, if it is a new one. What a restarted
    /// agent takes up again was to be measured all along. Where each address is probed it
    /// takes up the name, for a moment, and then addresses in place of those it knew.
    fn began(&mut self, window: Window, at: Wall, target: &Name, each: Option<IpAddr>) -> Wall {
        if !self.is_by_address(target) {
            return if self.resuming { window.since } else { at };
        }
        let known = self.addresses.get(target).map_or(&[][..], Vec::as_slice);
        for place in known {
            let stream = &mut self.streams[*place];
            if stream.starts < self.starts {
                stream.ended(window, at);
            }
        }
        match each {
            Some(_) if self.taken_up.contains(target) => window.since,
            None if self.resuming && known.is_empty() => {
                self.taken_up.insert(target.clone());
                at
            }
            _ => at,
        }
    }

    /// Whether the fleet wants each address of a target probed by itself.
    fn is_by_address(&self, target: &Name) -> bool {
        let wanted = self.wanted.as_ref().and_then(|w| w.get(target));
        wanted.is_some_and(|wanted| wanted.each)
    }

    /// Whether something is known of a target's addresses, so that its name has no say.
    fn addresses_tell(&self, target: &Name, at: Wall) -> bool {
        let addresses = self.addresses.get(target).into_iter().flatten();
        let mut streams = addresses.map(|place| &self.streams[*place]);
        streams.any(|stream| stream.course.tells(stream.interval, at))
    }

    /// The row's stream; a new one is asked for from `from` on.
    fn stream(
        &mut self,
        terms: &mut Terms,
        target: &Name,
        each: Option<IpAddr>,
        from: Wall,
    ) -> &mut Stream {
        let row = Row {
            target: target.clone(),
            each,
        };
        let place = match self.places.get(&row) {
            Some(place) => *place,
            None => {
                let wanted = self.wanted.as_ref();
                let wanted = wanted.and_then(|wanted| wanted.get(target));
                let interval = wanted.map_or(INTERVAL_DEFAULT, |wanted| wanted.interval);
                self.streams
                    .push(Stream::new(terms, target, interval, from));
                let place = self.places.len();
                if each.is_some() {
                    let addresses = self.addresses.entry(target.clone());
                    addresses.or_default().push(place);
                }
                self.places.insert(row, place);
                place
            }
        };
        let stream = &mut self.streams[place];
        stream.starts = self.starts;
        stream
    }

    /// What each row's stream came to; a target that is wanted and of which nothing was
    /// heard was not measured at all.
    pub fn finish(mut self, terms: &mut Terms) -> Vec<(Row, Seen)> {
        self.catch_up_all(terms, Wall(u64::MAX));
        let names = self.wanted.iter().flat_map(HashMap::keys);
        let heard: HashSet<Name> = self.places.keys().map(|row| row.target.clone()).collect();
        let silent = names.filter(|name| !heard.contains(*name));
        for target in silent.cloned().collect::<Vec<_>>() {
            self.stream(terms, &target, None, terms.window.since);
        }
        let mut rows: Vec<(Row, usize)> = self.places.into_iter().collect();
        rows.sort_unstable_by_key(|(_, place)| *place);
        let wanted = self.wanted;
        let finish = |((row, _), stream): ((Row, usize), Stream)| {
            let wanted = wanted.as_ref().is_none_or(|w| w.contains_key(&row.target));
            // Else the fleet wants it no more, which this agent has not told us yet.
            let end = (!wanted).then(|| stream.last_stands_until());
            let rules = terms.rules(&row.target);
            (row, stream.finish(terms.window, &rules, end))
        };
        rows.into_iter().zip(self.streams).map(finish).collect()
    }
}

/// So many results decide a state, and the one before may stand for when they began.
fn lookback(interval: Duration, rules: &Rules) -> Duration {
    let results = rules.down_after.within().max(rules.up_after);
    interval.saturating_mul(results + 1)
}

fn lookback_usual() -> Duration {
    lookback(INTERVAL_DEFAULT, &Rules::default())
}

impl Stream {
    fn new(terms: &mut Terms, target: &Name, interval: Duration, from: Wall) -> Stream {
        let window = terms.window;
        let left_out = terms.left_out.of(target);
        Stream {
            availability: Availability::new(window.since, window.until, left_out.clone(), interval),
            latencies: Histogram::default(),
            course: Course::new(window, terms.rules(target)),
            interval,
            left_out,
            asked_from: Some(from),
            asked: Vec::new(),
            last: from,
            summarised: VecDeque::new(),
            starts: 0,
        }
    }

    fn result(&mut self, at: Wall, us: Option<u64>) {
        let counted = self.availability.result(at, us.is_some());
        self.last = at;
        self.asked_from.get_or_insert(at);
        if let Some(us) = us.filter(|_| counted) {
            self.latencies.add(us);
        }
    }

    fn began(&mut self, at: Wall, interval: Duration) {
        self.course.pause(self.interval, at);
        self.availability.began(at, interval);
        self.interval = interval;
        self.last = self.last.max(at);
        self.asked_from.get_or_insert(at);
    }

    fn ended(&mut self, window: Window, at: Wall) {
        self.pause(at);
        self.close(window, at);
    }

    /// No results follow for now.
    fn pause(&mut self, at: Wall) {
        self.course.pause(self.interval, at);
        self.availability.ended(at);
    }

    /// Asks for nothing from `end` on.
    fn close(&mut self, window: Window, end: Wall) {
        if let Some(from) = self.asked_from.take() {
            let (from, until) = (from.max(window.since), end.min(window.until));
            if from < until {
                self.asked.push(Span { from, until });
            }
        }
    }

    fn last_stands_until(&self) -> Wall {
        self.last.after(self.interval)
    }

    /// With `end`, nothing was to be measured from there on.
    fn finish(mut self, window: Window, rules: &Rules, end: Option<Wall>) -> Seen {
        match end {
            Some(end) => self.course.pause(self.interval, end),
            None => self.course.until(self.interval, window.until),
        }
        self.close(window, end.unwrap_or(window.until));
        let mut measured = self.availability.finish();
        let left_out = &self.left_out;
        let asked_ms = |s: &Span| s.until.0 - s.from.0 - left_out.overlap_ms(s.from, s.until);
        measured.asked_ms = self.asked.iter().map(asked_ms).sum();
        let said = Said {
            course: self.course.changes(),
            asked: self.asked,
            interval_ms: millis(self.interval),
            decides_ms: millis(self.interval * rules.down_after.failures()),
        };
        // One agent's course is the verdict on it.
        let outages = Outages::of(window, left_out, &said.course);
        let numbers = Numbers {
            measured,
            latencies: self.latencies,
            outages,
        };
        Seen { numbers, said }
    }
}
