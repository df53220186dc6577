//! What an agent writes down: one record, one line of JSON, the same on the
//! wire, in the spool and in the history.
//!
//! A record stands for the sequence numbers `first..=seq`; only a gap stands for
//! more than one. The line's last key `c` is the CRC-32 of every byte before it.

use std::time::Duration;

use crate::model::{Epoch, Name, Sample, Wall};
use crate::units::HostPort;

/// One line of an agent's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's number, from 1, without holes within an epoch.
    pub seq: u64,
    /// When it was written; for a result, when the probe started.
    pub at: Wall,
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One probe's finding. Its `at` equals the record's.
    Result(Sample),
    /// The agent started; `alive` is the last time the run before was known to live.
    Start {
        alive: Option<Wall>,
        version: String,
    },
    /// Places wall time: written at start and after each step of the wall clock.
    Clock { boot: String, up_ms: u64 },
    /// From here on the agent probes this target.
    Began {
        target: Name,
        address: HostPort,
        interval: Duration,
    },
    /// From here on it does not.
    Ended { target: Name },
    /// Ticks of a target that passed without a probe.
    Skip {
        target: Name,
        count: u64,
        why: SkipWhy,
    },
    /// Stands for records `first..=seq` that no longer exist.
    Gap { first: u64, why: GapWhy },
    /// A whole earlier run removed unsent, because too many waited: its numbers `first..=last`.
    Lost { epoch: Epoch, first: u64, last: u64 },
}

/// Why a tick passed without a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipWhy {
    /// The probe before was still running.
    Busy,
    /// All workers were taken.
    Workers,
    /// The host slept or was stopped.
    Stall,
}

/// Why records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapWhy {
    /// The oldest were removed to keep the spool within its limit.
    SpoolLimit,
    /// Already deleted when a manager asked for them.
    Deleted,
    /// Bytes on disk no longer match their check.
    Damaged,
    /// The disk could not take them and the waiting queue was full.
    Disk,
    /// Replaced by a summary.
    Summarised,
}
