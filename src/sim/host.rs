//! The machines of a simulated fleet: a directory, a wall clock, and a program that runs
//! or does not.

use std::path::PathBuf;

use crate::clock::simulated::{self as time, Dice};
use crate::files::simulated::{self as disk, Failing};
use crate::model::{Mono, Name};

/// Wall time when a run begins, in Unix milliseconds.
const BEGINS_MS: i64 = 1_764_000_000_000;

/// A machine with a program of kind `P`.
pub struct Host<P> {
    pub name: Name,
    pub dir: PathBuf,
    /// What its wall clock says at monotonic time 0.
    pub wall_at_zero: i64,
    pub program: Option<P>,
    /// When the program is started, where it does not run.
    pub start_at: Mono,
    /// When its disk works again, where it fails.
    pub disk_fails_until: Option<Mono>,
}

impl<P> Host<P> {
    /// A machine of this name whose program is yet to be started.
    pub fn new(name: &str) -> Host<P> {
        Host {
            name: name.parse().expect("a name"),
            dir: PathBuf::from(format!("/{name}")),
            wall_at_zero: BEGINS_MS,
            program: None,
            start_at: Mono(0),
            disk_fails_until: None,
        }
    }

    /// Makes its clock the one that is read.
    pub fn enter(&self) {
        time::set_wall_at_zero(self.wall_at_zero);
    }

    /// Ends its program without a word, to be started again later.
    pub fn kill(&mut self, start_at: Mono) {
        self.program = None;
        self.start_at = start_at;
    }

    /// Cuts its power.
    pub fn cut_power(&mut self, start_at: Mono, dice: &mut Dice) {
        self.kill(start_at);
        disk::with(|disk| disk.cut_power(&self.dir, dice));
    }

    /// Has its disk fail in this way after some more operations, until then.
    pub fn fail_disk(&mut self, after: (u64, Failing), until: Mono) {
        self.disk_fails_until = Some(until);
        disk::with(|disk| disk.fail(&self.dir, Some(after)));
    }

    /// Whether its disk holds what can be read and will never be durable.
    pub fn has_lost(&self) -> bool {
        disk::with(|disk| disk.has_lost(&self.dir)).unwrap_or_default()
    }

    /// Mends its disk.
    pub fn mend_disk(&mut self) {
        self.disk_fails_until = None;
        disk::with(|disk| disk.fail(&self.dir, None));
    }
}
