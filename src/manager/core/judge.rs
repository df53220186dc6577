//! The judge: works out what is so as news comes in, and has whoever is alerted hear of it.
//!
//! Always: it never waits for the disk or a receiver while it has the board locked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Core;
use crate::clock;
use crate::model::{Name, Wall};

/// Least and longest time between two looks at what is so.
const JUDGE_GAP: Duration = Duration::from_millis(100);
const JUDGE_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Works out what is so and what is told of it, as news comes in and at least once a
    /// second, for as long as the process lives.
    pub(super) fn judge(self: Arc<Core>) {
        let mut observe_at = Wall(0);
        loop {
            let heard = self.bell.heard();
            self.judge_once(&mut observe_at);
            clock::sleep(JUDGE_GAP);
            let wait = JUDGE_EVERY.min(observe_at.since(clock::wall()));
            self.bell.wait(heard, clock::mono().after(wait));
        }
    }

    /// Works out what is so now; `observe_at` is when receivers are to look again.
    pub(in crate::manager) fn judge_once(&self, observe_at: &mut Wall) {
        let now = clock::wall();
        let mut board = self.board.lock().expect("board");
        let told = {
            let quiet = self.quiet();
            let at = |target: &Name, at: Wall| match at == now {
                true => quiet.active(target, at),
                false => quiet.was(target, at),
            };
            board.settle(now, |target, time| at(target, time).map(|e| e.cause))
        };
        let looked = now >= *observe_at || told || now.after(JUDGE_EVERY) < *observe_at;
        if looked {
            let late = board.take_late();
            let next_at = self.alerts.observe(self, &board, &late, now);
            let at_last = now.after(JUDGE_EVERY);
            *observe_at = next_at.map_or(at_last, |at| at.min(at_last));
        }
        drop(board);
        if told {
            self.told_unsaved.store(true, Ordering::SeqCst);
            self.bell.ring();
        }
    }

    /// Writes what was told to disk, if that has changed.
    pub(super) fn save_told(&self) {
        if !self.told_unsaved.swap(false, Ordering::SeqCst) {
            return;
        }
        let told = self.board.lock().expect("board").told();
        if let Err(error) = told.save(self.data()) {
            self.told_unsaved.store(true, Ordering::SeqCst);
            self.notice(error.to_string());
        }
    }
}
