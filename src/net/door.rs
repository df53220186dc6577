//! What peers may cost that have not proved who they are: how many of them wait at
//! once, and how soon one may try again after it failed. Strangers can't lock out those
//! whose address has proved before: places are kept for these, and their pauses short.
//!
//! Pure: no sockets, no clock. Whoever accepts connections knocks for each, and says
//! how it went; every answer comes with what is to be logged, if anything. Always:
//! the memory is bounded whatever knocks; a flood makes a few lines, and whoever is
//! turned away is counted in one of them, sooner or later.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::model::Mono;
use crate::units::duration_text;

/// Most connections at once that have not proved who they are.
pub const WAITING_MAX: usize = 16;
/// Most of those from addresses that never proved; the rest are kept for the others.
pub const WAITING_STRANGERS_MAX: usize = 12;
/// Most of those from one address.
pub const WAITING_PER_ADDRESS_MAX: usize = 4;
/// A peer that leaves without a word within this time only looked whether anyone listens.
pub const LEFT_WITHIN: Duration = Duration::from_secs(1);
/// Failures of an address that cost it nothing.
pub const PARDONED: u32 = 5;
/// The pause after the first failure that is not pardoned; doubles with each further one.
pub const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause of an address that has proved: others may fail behind the same NAT.
pub const PAUSE_PROVED_MAX: Duration = Duration::from_secs(1);
/// Most addresses known to have proved, for good; beyond it the one whose last proof is
/// oldest makes room.
pub const PROVED_MAX: usize = 64;
/// An address is forgotten so long after its last failure.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Most addresses remembered; beyond it the one whose last failure is oldest makes room.
pub const REMEMBERED_MAX: usize = 1024;
/// What concerns no single address is told at most this often.
pub const TELL_EVERY: Duration = Duration::from_secs(10);
/// Most failures told one by one within [`TELL_EVERY`]; more than one address alone can
/// have. The others are counted.
pub const LISTED_MAX: usize = 32;

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// [`WAITING_MAX`] others wait, or [`WAITING_STRANGERS_MAX`] strangers and it is one.
    Full,
    /// [`WAITING_PER_ADDRESS_MAX`] others from its address wait.
    TooMany,
    /// Its address failed too often, and its pause is not over.
    Paused,
}

/// Who may come in. One for each listener, or one for several.
#[derive(Debug, Default)]
pub struct Door(Mutex<State>);

/// A place among those that wait, given back when dropped.
#[derive(Debug)]
pub struct Pass {
    door: Arc<Door>,
    source: Source,
    since: Mono,
}

impl Door {
    /// Whether a new connection from `peer` may come in; and what is to be logged now.
    pub fn knock(
        self: &Arc<Self>,
        peer: IpAddr,
        now: Mono,
    ) -> (Result<Pass, Away>, Option<String>) {
        let source = Source::of(peer);
        let mut state = self.state();
        state.forget_old(now);
        let admitted = state.admit(source, now);
        let log = state.untold.tell(now);
        let pass = admitted.map(|()| Pass {
            door: Arc::clone(self),
            source,
            since: now,
        });
        (pass, log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of the door panics")
    }
}

impl Pass {
    /// The peer has proved who it is: its address is cleared, and no stranger's from now
    /// on. What is to be logged.
    pub fn proved(self) -> Option<String> {
        let mut state = self.door.state();
        state.welcome(self.source);
        let away = state.troubles.remove(&self.source)?.away;
        (away > 0).then(|| turned_away(away, self.source))
    }

    /// Whether the peer has kept its place for longer than a look takes.
    pub fn is_held(&self, now: Mono) -> bool {
        now.since(self.since) >= LEFT_WITHIN
    }

    /// The peer has left before it said a word. That counts neither way, unless it held
    /// its place. As for [`Pass::failed`], in a flood `line` is only counted.
    pub fn left(self, line: &str, now: Mono) -> Option<String> {
        if self.is_held(now) {
            return self.failed(line, now);
        }
        let mut state = self.door.state();
        state.untold.lists(now).then(|| line.to_string())
    }

    /// The peer has failed to. `line` is how the caller would tell it; what is to be
    /// logged is that line with what follows from it, or nothing in a flood.
    pub fn failed(self, line: &str, now: Mono) -> Option<String> {
        let mut state = self.door.state();
        let pause = state.punish(self.source, now);
        state.tell_failure(self.source, line, pause, now)
    }

    /// The peer has failed to, and the caller has told of it before. Who was turned away
    /// of its address stays counted.
    pub fn failed_quietly(self, now: Mono) {
        self.door.state().punish(self.source, now);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.door.state();
        let place = state.waiting.iter().position(|s| *s == self.source);
        if let Some(place) = place {
            state.waiting.swap_remove(place);
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address, whose
/// other half a host picks as it likes (RFC 4291, section 2.5.1). IPv4-mapped counts
/// as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl Source {
    fn of(peer: IpAddr) -> Source {
        Source(match peer.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
            v4 => v4,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// One entry a connection.
    waiting: Vec<Source>,
    /// Those that have proved who they are, the latest last.
    proved: Vec<Source>,
    troubles: HashMap<Source, Trouble>,
    /// No trouble is old before this.
    forget_at: Mono,
    untold: Untold,
}

/// What is remembered of an address.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// The last failure; without any, when it was first turned away.
    last: Mono,
    paused_until: Mono,
    /// Turned away and not told yet.
    away: u64,
}

impl State {
    fn admit(&mut self, source: Source, now: Mono) -> Result<(), Away> {
        let paused = |t: &Trouble| now < t.paused_until;
        let same = self.waiting.iter().filter(|s| **s == source).count();
        let why = if self.troubles.get(&source).is_some_and(paused) {
            Away::Paused
        } else if same >= WAITING_PER_ADDRESS_MAX {
            Away::TooMany
        } else if self.full_for(source) {
            Away::Full
        } else {
            self.waiting.push(source);
            return Ok(());
        };
        match why {
            Away::Full => self.untold.counts.full += 1,
            Away::TooMany | Away::Paused => self.trouble(source, now).away += 1,
        }
        Err(why)
    }

    fn full_for(&self, source: Source) -> bool {
        let stranger = |s: &&Source| !self.proved.contains(s);
        let strangers = self.waiting.iter().filter(stranger).count();
        let strangers_full = strangers >= WAITING_STRANGERS_MAX;
        self.waiting.len() >= WAITING_MAX || (strangers_full && stranger(&&source))
    }

    fn welcome(&mut self, source: Source) {
        self.proved.retain(|s| *s != source);
        if self.proved.len() >= PROVED_MAX {
            self.proved.remove(0);
        }
        self.proved.push(source);
    }

    /// Counts a failure; the pause that follows from it.
    fn punish(&mut self, source: Source, now: Mono) -> Duration {
        let longest = match self.proved.contains(&source) {
            true => PAUSE_PROVED_MAX,
            false => PAUSE_MAX,
        };
        let trouble = self.trouble(source, now);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.last = trouble.last.max(now);
        let pause = pause_after(trouble.failures, longest);
        trouble.paused_until = trouble.paused_until.max(now.after(pause));
        pause
    }

    fn tell_failure(
        &mut self,
        source: Source,
        line: &str,
        pause: Duration,
        now: Mono,
    ) -> Option<String> {
        if !self.untold.lists(now) {
            return None;
        }
        let mut text = line.to_string();
        let away = std::mem::take(&mut self.trouble(source, now).away);
        if away > 0 {
            text.push_str(&format!("; {}", turned_away(away, source)));
        }
        if !pause.is_zero() {
            let pause = duration_text(pause);
            text.push_str(&format!(
                "; connections from {source} are turned away for {pause}"
            ));
        }
        Some(text)
    }

    /// What is remembered of an address, from now on if nothing was.
    fn trouble(&mut self, source: Source, now: Mono) -> &mut Trouble {
        if self.troubles.len() >= REMEMBERED_MAX && !self.troubles.contains_key(&source) {
            let oldest = self.troubles.iter().min_by_key(|(_, t)| t.last);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.forget(oldest);
            }
        }
        self.troubles.entry(source).or_insert(Trouble {
            last: now,
            ..Trouble::default()
        })
    }

    fn forget_old(&mut self, now: Mono) {
        if now < self.forget_at {
            return;
        }
        let old = |t: &Trouble| now.since(t.last) >= REMEMBERED_FOR;
        let gone = self.troubles.iter().filter(|(_, t)| old(t));
        for source in gone.map(|(source, _)| *source).collect::<Vec<_>>() {
            self.forget(source);
        }
        let oldest = self.troubles.values().map(|t| t.last).min();
        self.forget_at = oldest.unwrap_or(now).after(REMEMBERED_FOR);
    }

    fn forget(&mut self, source: Source) {
        if let Some(trouble) = self.troubles.remove(&source) {
            self.untold.counts.forget(source, trouble.away);
        }
    }
}

/// How long an address is turned away after so many failures.
fn pause_after(failures: u32, longest: Duration) -> Duration {
    match failures.checked_sub(PARDONED + 1) {
        None => Duration::ZERO,
        Some(doublings) => PAUSE_MIN
            .saturating_mul(1 << doublings.min(16))
            .min(longest),
    }
}

/// What is told apart from single addresses, and when it may be.
#[derive(Debug, Default)]
struct Untold {
    counts: Counts,
    /// No counts are told before this.
    tell_at: Mono,
    /// Failures listed until `list_anew_at`.
    listed: usize,
    list_anew_at: Mono,
}

/// What happened and is in no line yet, apart from what each [`Trouble`] counts.
#[derive(Debug, Default)]
struct Counts {
    /// Turned away because too many waited.
    full: u64,
    /// Turned away from addresses that are no longer remembered.
    forgotten: u64,
    forgotten_sources: u64,
    /// One of those addresses.
    forgotten_source: Option<Source>,
    /// Failures that were not listed.
    failures: u64,
}

impl Untold {
    /// Whether one more failure may be told; else it is counted.
    fn lists(&mut self, now: Mono) -> bool {
        if now >= self.list_anew_at {
            self.list_anew_at = now.after(TELL_EVERY);
            self.listed = 0;
        }
        if self.listed == LISTED_MAX {
            self.counts.failures += 1;
            return false;
        }
        self.listed += 1;
        true
    }

    /// All that is counted, unless there is nothing or it is too soon.
    fn tell(&mut self, now: Mono) -> Option<String> {
        if now < self.tell_at {
            return None;
        }
        let text = self.counts.text()?;
        self.counts = Counts::default();
        self.tell_at = now.after(TELL_EVERY);
        Some(text)
    }
}

impl Counts {
    fn forget(&mut self, source: Source, away: u64) {
        if away > 0 {
            self.forgotten += away;
            self.forgotten_sources += 1;
            self.forgotten_source.get_or_insert(source);
        }
    }

    fn text(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.full > 0 {
            // Of all places or of the strangers': this many are taken either way.
            let what = format!(
                "turned away: {WAITING_STRANGERS_MAX} or more others had not proved who they are"
            );
            parts.push(connections(self.full, "", &what));
        }
        match (self.forgotten_source, self.forgotten_sources) {
            (None, _) => {}
            (Some(source), 1) => parts.push(turned_away(self.forgotten, source)),
            (Some(source), n) => parts.push(turned_away(
                self.forgotten,
                format_args!("{n} addresses such as {source}"),
            )),
        }
        if self.failures > 0 {
            parts.push(connections(self.failures, " that failed", "not listed"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn turned_away(count: u64, from: impl fmt::Display) -> String {
    connections(count, format_args!(" from {from}"), "turned away")
}

fn connections(count: u64, which: impl fmt::Display, what: &str) -> String {
    match count {
        1 => format!("1 connection{which} was {what}"),
        _ => format!("{count} connections{which} were {what}"),
    }
}

#[cfg(test)]
mod tests;
