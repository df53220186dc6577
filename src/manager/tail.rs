//! Following the histories in a data directory as they grow, whoever writes them:
//! what `watch` shows. Reads only; segments that appear, grow or vanish meanwhile
//! are normal.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use super::replay::histories;
use crate::error::Result;
use crate::files;
use crate::journal::{Item, Scanner, SegmentName, list_segments};
use crate::model::{Epoch, Id, Name};

/// Where following starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With what comes from now on.
    End,
    /// With all there is.
    Beginning,
}

/// A place in every history of a data directory.
#[derive(Debug)]
pub struct Tail {
    data: PathBuf,
    epochs: HashMap<(Id, Epoch), EpochTail>,
    started: bool,
}

#[derive(Debug)]
struct EpochTail {
    segment: SegmentName,
    scanner: Scanner,
    /// The segment's size when it was last read to its end.
    seen_bytes: u64,
}

impl Tail {
    /// Follows the histories in `data` from now on.
    pub fn new(data: &Path) -> Tail {
        Tail {
            data: data.to_path_buf(),
            epochs: HashMap::new(),
            started: false,
        }
    }

    /// Hands out every record line that came since the last call, with the agent's
    /// fleet name and the epoch. The first call only finds out where things end.
    pub fn poll(&mut self, mut each: impl FnMut(&Name, Epoch, &[u8])) -> Result<()> {
        let start = match std::mem::replace(&mut self.started, true) {
            false => Start::End,
            true => Start::Beginning,
        };
        for (name, id, dir) in histories(&self.data)? {
            let segments = list_segments(&dir)?;
            for group in segments.chunk_by(|a, b| a.epoch == b.epoch) {
                self.poll_epoch(id, &dir, group, start, |epoch, line| {
                    each(&name, epoch, line)
                });
            }
        }
        Ok(())
    }

    /// Reads one epoch on; a segment that can't be read now is tried again next time.
    fn poll_epoch(
        &mut self,
        id: Id,
        dir: &Path,
        segments: &[SegmentName],
        start: Start,
        mut each: impl FnMut(Epoch, &[u8]),
    ) {
        let Some(newest) = segments.last() else {
            return;
        };
        let tail = match self.epochs.entry((id, newest.epoch)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let first = match start {
                    Start::End => newest,
                    Start::Beginning => &segments[0],
                };
                let Some(mut tail) = EpochTail::open(dir, first, first.first) else {
                    return;
                };
                if start == Start::End {
                    tail.read_on(dir, |_| {});
                }
                place.insert(tail)
            }
        };
        tail.read_on(dir, |line| each(newest.epoch, line));
        while let Some(segment) = segments.iter().find(|s| s.first > tail.segment.first) {
            let Some(newer) = EpochTail::open(dir, segment, tail.scanner.next()) else {
                return;
            };
            *tail = newer;
            tail.read_on(dir, |line| each(newest.epoch, line));
        }
    }
}

impl EpochTail {
    fn open(dir: &Path, segment: &SegmentName, next: u64) -> Option<EpochTail> {
        Some(EpochTail {
            segment: segment.clone(),
            scanner: Scanner::open(&dir.join(&segment.name), next).ok()?,
            seen_bytes: 0,
        })
    }

    fn read_on(&mut self, dir: &Path, mut each: impl FnMut(&[u8])) {
        let bytes = files::stamp(&dir.join(&self.segment.name)).map_or(0, |(_, len, _)| len);
        if bytes == self.seen_bytes {
            return;
        }
        self.seen_bytes = bytes;
        loop {
            match self.scanner.item() {
                Ok(Item::Line(_, line)) => each(line),
                Ok(Item::Hole(_)) => {}
                Ok(Item::End) | Err(_) => return,
            }
        }
    }
}
