//! What the history adds up to, for who looks at the manager from outside: trends of
//! targets, and counts of rows since this process began.
//!
//! One thread follows the histories on disk, from their last ninety days on, as anyone could:
//! nothing that stores or shows results waits for it. Until it has read what was there at the
//! start, trends are incomplete and said to be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::clocks::Clocks;
use super::core::Core;
use super::replay;
use super::state::{AgentState, history_dir};
use super::tail::{More, Places, Start, Tail};
use super::trend::{BARS, By, Trend};
use crate::clock;
use crate::error::{Context, Result};
use crate::log;
use crate::metrics::Tally;
use crate::model::{Epoch, Id, Name, NamesSeen, Wall};
use crate::record::{Body, Record};
use crate::stats::Outcome;
use crate::threads;

/// How often the histories are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Records of an epoch that are taken at a time.
const LOT: usize = 2_000;
const STACK_BYTES: usize = 256 * 1024;

/// A target, or an address of it, as one agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seat {
    pub agent: Name,
    pub target: Name,
    pub each: Option<IpAddr>,
}

/// What is known so far.
#[derive(Debug, Default)]
pub struct Sums {
    pub trends: HashMap<Name, Trend>,
    pub tallies: HashMap<Seat, Tally>,
    /// All that was there at the start has been read.
    pub is_complete: bool,
    /// Records read.
    pub records: u64,
    /// Numbers between them that no record stands for.
    pub missing: u64,
}

/// See the module text.
#[derive(Debug, Default)]
pub struct Past(Mutex<Sums>);

impl Past {
    /// What is known now; held for a moment only.
    pub fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().expect("past")
    }

    /// Follows the histories of this manager from now on.
    pub fn start(core: &Arc<Core>) -> Result<Arc<Past>> {
        let past = Arc::new(Past::default());
        let (core, following) = (Arc::clone(core), Arc::clone(&past));
        threads::start("past", STACK_BYTES, move || following.follow(&core))
            .context(|| "start the thread that reads the history".to_string())?;
        Ok(past)
    }

    fn follow(&self, core: &Core) {
        let since = clock::wall().before(Duration::from_millis(By::Day.ms() * BARS as u64));
        let mut reader = Reader {
            // What is there by now is not counted: it was before this process began.
            before: last_places(core).unwrap_or_default(),
            tail: Tail::new(core.data(), Start::Since(since)),
            clocks: HashMap::new(),
            names: NamesSeen::default(),
            since,
        };
        let mut troubled = false;
        loop {
            match reader.read(core, self) {
                Ok(More::Yes) => continue,
                Ok(More::No) => {
                    troubled = false;
                    self.sums().is_complete = true;
                    // From here on a record's time is told by the link it comes over.
                    reader.clocks.clear();
                }
                Err(error) if !troubled => {
                    troubled = true;
                    log::line(format_args!("reading the history: {error}; trying again"));
                }
                Err(_) => {}
            }
            clock::sleep(LOOK_EVERY);
        }
    }
}

/// The last number of every epoch on disk.
fn last_places(core: &Core) -> Result<Places> {
    let mut places = Places::new();
    for (_, id, dir) in replay::histories(core.data())? {
        let last = replay::last_numbers(&dir, |_| true)?;
        places.extend(last.into_iter().map(|(epoch, last)| ((id, epoch), last)));
    }
    Ok(places)
}

struct Reader {
    before: Places,
    tail: Tail,
    /// Of the histories that were there at the start, while they are read.
    clocks: HashMap<Id, Option<Clocks>>,
    names: NamesSeen,
    since: Wall,
}

/// A record that was read and is to be counted.
struct Taken {
    agent: Name,
    record: Record,
    /// When it was made, by the manager's clock.
    at: Wall,
    /// It came since this process began.
    is_new: bool,
}

impl Reader {
    /// Reads on, a lot of each history.
    fn read(&mut self, core: &Core, past: &Past) -> Result<More> {
        let (now, since) = (clock::wall(), self.since);
        let (before, clocks, names) = (&self.before, &mut self.clocks, &mut self.names);
        let offsets = core.board().lock().expect("board").clock_offsets();
        let (mut lot, mut missing): (Vec<Taken>, u64) = (Vec::new(), 0);
        let more = self.tail.poll_some(LOT, |heard| {
            let Some(line) = heard.line else {
                missing += heard.span.count();
                return;
            };
            let Ok(record) = Record::parse_checked(line, names) else {
                return;
            };
            let known = before.get(&(heard.id, heard.epoch));
            let is_new = known.is_none_or(|last| record.seq > *last);
            let at = match is_new {
                true => {
                    let offset: i64 = offsets.get(heard.agent).copied().unwrap_or(0);
                    Wall(record.at.0.saturating_add_signed(offset.saturating_neg()))
                }
                false => {
                    let known = clocks
                        .entry(heard.id)
                        .or_insert_with(|| read_clocks(core, heard.agent, heard.id, since));
                    placed(known, heard.epoch, &record)
                }
            };
            lot.push(Taken {
                agent: heard.agent.clone(),
                record,
                at,
                is_new,
            });
        })?;
        count(core, past, lot, now);
        past.sums().missing += missing;
        Ok(more)
    }
}

fn read_clocks(core: &Core, agent: &Name, id: Id, since: Wall) -> Option<Clocks> {
    let state = AgentState::load(core.data(), agent).ok()?;
    Clocks::read(&history_dir(core.data(), id), since, &state, id).ok()
}

fn placed(clocks: &mut Option<Clocks>, epoch: Epoch, record: &Record) -> Wall {
    match clocks {
        Some(clocks) => clocks.ours(epoch, record.seq, record.at),
        None => record.at,
    }
}

/// Adds a lot to the sums.
fn count(core: &Core, past: &Past, lot: Vec<Taken>, now: Wall) {
    // Asked before the sums are locked: whoever holds one waits for no other.
    let quiet: Vec<bool> = {
        let log = core.quiet();
        let fails = |taken: &Taken| match &taken.record.body {
            Body::Result(sample) => !sample.ok() && log.was(&sample.target, taken.at).is_some(),
            _ => false,
        };
        lot.iter().map(fails).collect()
    };
    let mut sums = past.sums();
    sums.records += lot.len() as u64;
    for (taken, is_quiet) in lot.into_iter().zip(quiet) {
        sums.take(taken, is_quiet, now);
    }
}

impl Sums {
    fn take(&mut self, taken: Taken, is_quiet: bool, now: Wall) {
        let Taken {
            agent,
            record,
            at,
            is_new,
        } = taken;
        let seat = |target: &Name, each| Seat {
            agent: agent.clone(),
            target: target.clone(),
            each,
        };
        match &record.body {
            Body::Result(sample) => {
                let outcome = match sample.ok() {
                    true => Outcome::Answered(sample.us),
                    false => Outcome::Failed,
                };
                self.trend(&sample.target).add(at, outcome, is_quiet, now);
                if is_new {
                    let seat = seat(&sample.target, sample.each);
                    self.tallies.entry(seat).or_default().add(sample);
                }
            }
            Body::Summary { of, .. } => {
                let moved = at.0.wrapping_sub(record.at.0);
                for sums in of {
                    let trend = self.trend(&sums.target);
                    for (at, us) in sums.results() {
                        let at = Wall(at.0.wrapping_add(moved));
                        trend.add(at, Outcome::Answered(us), false, now);
                    }
                }
            }
            Body::Skip {
                target,
                each,
                count,
                why,
            } if is_new => {
                let tally = self.tallies.entry(seat(target, *each)).or_default();
                tally.skip(*count, *why);
            }
            Body::Ended { target, each } => {
                self.tallies.remove(&seat(target, *each));
            }
            _ => {}
        }
    }

    fn trend(&mut self, target: &Name) -> &mut Trend {
        // Looked up by reference first: names are cheap to clone, not free.
        if !self.trends.contains_key(target) {
            self.trends.insert(target.clone(), Trend::default());
        }
        self.trends.get_mut(target).expect("it was put there")
    }
}
