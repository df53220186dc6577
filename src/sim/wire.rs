//! A connection between an agent and a manager: whole lines, in order, late, sometimes
//! twice; until it is cut, for both sides or for one that learns of it only by silence.

use std::collections::VecDeque;
use std::time::Duration;

use crate::agent::simulated::SimSession;
use crate::clock::simulated::Dice;
use crate::manager::simulated::SimLink;
use crate::model::{Epoch, Mono};
use crate::proto::SILENCE_MAX_S;

/// Lines under way beyond this keep a side from saying more.
const UNDER_WAY_MAX: usize = 128 * 1024;

/// One direction.
#[derive(Debug, Default)]
pub struct Pipe {
    lines: VecDeque<(Mono, Vec<u8>)>,
    bytes: usize,
    /// When the last line is through.
    through: Mono,
    /// Nothing gets through any more, and nobody is told.
    closed: bool,
    /// When the receiver learns that the sender is gone.
    ended_at: Option<Mono>,
}

impl Pipe {
    /// Whether more may be said.
    pub fn has_room(&self) -> bool {
        self.bytes < UNDER_WAY_MAX
    }

    /// Sends whole lines.
    pub fn send(&mut self, lines: &[u8], now: Mono, quality: &Quality, dice: &mut Dice) {
        if self.closed {
            return;
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let takes = Duration::from_micros(line.len() as u64 * 1_000_000 / quality.bytes_per_s);
            self.through = self.through.max(now).after(takes);
            let at = self.through.after(quality.delay);
            // What may come twice: TCP does not do that, and it has to be harmless.
            let harmless = [&b"{\"seq\":"[..], b"{\"ack\":", b"{\"beat\":"];
            let twice = quality.doubles && harmless.iter().any(|start| line.starts_with(start));
            for _ in 0..1 + usize::from(twice && dice.once_in(8)) {
                self.bytes += line.len();
                self.lines.push_back((at, line.to_vec()));
            }
        }
    }

    /// The next line that has arrived, without its newline.
    pub fn arrived(&mut self, now: Mono) -> Option<Vec<u8>> {
        if self.lines.front()?.0 > now {
            return None;
        }
        let mut line = self.lines.pop_front()?.1;
        self.bytes -= line.len();
        line.pop();
        Some(line)
    }

    /// When the next line arrives.
    pub fn next_at(&self) -> Option<Mono> {
        self.lines.front().map(|line| line.0).or(self.ended_at)
    }

    /// From now on nothing gets through.
    pub fn close(&mut self) {
        self.lines.clear();
        self.bytes = 0;
        self.closed = true;
    }

    /// The sender is gone; what it sent before may still arrive.
    pub fn end(&mut self, now: Mono) {
        if !self.closed {
            self.ended_at = Some(self.through.max(now));
        }
    }

    /// Whether the receiver has learnt that the sender is gone.
    pub fn is_ended(&self, now: Mono) -> bool {
        self.lines.is_empty() && self.ended_at.is_some_and(|at| at <= now)
    }

    /// Nothing arrives before `until`.
    fn stall(&mut self, until: Mono) {
        self.through = self.through.max(until);
        for line in &mut self.lines {
            line.0 = line.0.max(until);
        }
    }
}

/// What a connection is like.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    pub delay: Duration,
    pub bytes_per_s: u64,
    /// Some lines arrive twice.
    pub doubles: bool,
}

impl Quality {
    /// What it is like this time.
    pub fn any(dice: &mut Dice) -> Quality {
        let delays = [1, 1, 20, 20, 300, 2000];
        Quality {
            delay: Duration::from_millis(*dice.one_of(&delays)),
            bytes_per_s: *dice.one_of(&[10_000_000, 1_000_000, 10 * 1024]),
            doubles: dice.once_in(4),
        }
    }
}

/// A side of the connection that has not noticed its end.
pub struct Side<S> {
    pub session: S,
    pub heard_at: Mono,
}

impl<S> Side<S> {
    fn new(session: S, now: Mono) -> Side<S> {
        let heard_at = now;
        Side { session, heard_at }
    }

    /// When it gives up on a peer that says nothing.
    pub fn silent_at(&self) -> Mono {
        self.heard_at.after(Duration::from_secs(SILENCE_MAX_S))
    }
}

/// See the module text.
pub struct Wire {
    pub agent: Option<Side<SimSession>>,
    pub manager: Option<Side<SimLink>>,
    pub to_manager: Pipe,
    pub to_agent: Pipe,
    pub quality: Quality,
    /// Of what epoch the agent's records are.
    pub epoch: Option<Epoch>,
    /// When the manager tries again.
    pub dial_at: Mono,
    /// Nothing can be dialled before.
    pub dead_until: Mono,
}

impl Wire {
    pub fn new() -> Wire {
        Wire {
            agent: None,
            manager: None,
            to_manager: Pipe::default(),
            to_agent: Pipe::default(),
            quality: Quality {
                delay: Duration::from_millis(1),
                bytes_per_s: 10_000_000,
                doubles: false,
            },
            epoch: None,
            dial_at: Mono(0),
            dead_until: Mono(0),
        }
    }

    /// Both sides begin.
    pub fn connect(&mut self, agent: SimSession, manager: SimLink, now: Mono) {
        self.agent = Some(Side::new(agent, now));
        self.manager = Some(Side::new(manager, now));
        self.to_manager = Pipe::default();
        self.to_agent = Pipe::default();
        self.epoch = None;
    }

    /// When something is next to be done.
    pub fn next_at(&self) -> Mono {
        let never = Mono(u64::MAX);
        let agent = self.agent.as_ref().map_or(never, |side| {
            let say = match self.to_manager.has_room() {
                true => side.session.next_at(),
                false => never,
            };
            let hear = self.to_agent.next_at().unwrap_or(never);
            say.min(hear).min(side.silent_at())
        });
        let dial = self.dial_at.max(self.dead_until);
        let manager = self.manager.as_ref().map_or(dial, |side| {
            let say = match self.to_agent.has_room() {
                true => side.session.next_at(),
                false => never,
            };
            let hear = self.to_manager.next_at().unwrap_or(never);
            say.min(hear).min(side.silent_at())
        });
        agent.min(manager)
    }

    /// Nothing gets through before `until`; then it does, if both sides still wait.
    pub fn stall(&mut self, until: Mono) {
        self.to_manager.stall(until);
        self.to_agent.stall(until);
        self.dead_until = self.dead_until.max(until);
    }
}
