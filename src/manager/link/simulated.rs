//! The manager's side of a session without threads and sockets.

use std::sync::Arc;

use super::intake::Intake;
use super::{Link, next_beat};
use crate::clock;
use crate::error::Result;
use crate::model::Mono;
use crate::proto::Hello;

/// See the module text.
pub struct SimLink {
    link: Arc<Link>,
    intake: Intake,
    beat_at: Mono,
    /// Rings heard when it last had nothing to say.
    bell: u64,
}

impl SimLink {
    /// Begins a session with an agent that has said `hello`.
    pub fn begin(link: &Arc<Link>, hello: &Hello) -> Result<SimLink> {
        link.admit(hello, None, clock::wall())?;
        Ok(SimLink {
            link: Arc::clone(link),
            intake: Intake::new(link),
            beat_at: next_beat(),
            bell: 0,
        })
    }

    /// Takes a line of the agent's.
    pub fn hear(&mut self, line: &[u8]) -> Result<()> {
        self.intake.line(line)
    }

    /// Does what is to be done when no more lines are at hand.
    pub fn settle(&mut self) -> Result<()> {
        self.intake.flush()?;
        self.intake.sync_if_due()
    }

    /// When something is next to be done without a line.
    pub fn next_at(&self) -> Mono {
        let now = clock::mono();
        let say = match self.link.bell.heard() == self.bell {
            true => self.beat_at,
            false => now,
        };
        self.intake.sync_at().map_or(say, |at| at.min(say))
    }

    /// What is to be said; nothing when all is said for now.
    pub fn say(&mut self) -> String {
        let heard = self.link.bell.heard();
        let out = self.link.to_say(&mut self.beat_at);
        if out.is_empty() {
            self.bell = heard;
        }
        out
    }

    /// Whether it was cut from inside the manager.
    pub fn is_over(&self) -> bool {
        let shared = self.link.shared();
        shared
            .session
            .as_ref()
            .is_none_or(|live| live.cut.is_some())
    }

    /// Ends it, as the link does when its connection is gone.
    pub fn end(mut self, why: &str) {
        let _ = self.intake.flush();
        self.link.away(why);
    }
}
