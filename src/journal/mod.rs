//! The append-only record store: an agent's spool and a manager's history alike.
//!
//! A journal is a directory of segments, each a file of lines that opens with a
//! base line (agent, epoch, last number before it, totals so far) and holds the
//! records of one epoch in order. A segment is appended to only by the process
//! that created it and closed for good by the first failed write or sync; what it
//! did not make durable goes to the next one, so segments may overlap, and
//! readers pass over numbers they have seen. Whatever is on disk is valid at
//! every byte: a torn tail is ignored, damage becomes a gap.

mod append;
mod follow;
mod index;
mod segment;
mod thin;
mod walk;

pub use append::{Appender, SyncMode, Unsynced};
pub use follow::Follower;
pub use index::{Depth, EpochIndex, Index, Segment, SegmentName, Trust, gap_of, list_segments};
pub use segment::{Base, Item, Scanner, Totals, base_of};
pub use thin::thin;
pub use walk::{Cause, Damage, Found, Walked, walk};

#[cfg(test)]
mod tests;
