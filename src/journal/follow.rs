//! Reading an epoch's records on from some number, across segments, while it is
//! being written: what an agent sends, what a watcher shows.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::error::Result;
use crate::journal::index::Index;
use crate::journal::segment::{Item, Scanner};
use crate::model::{Epoch, Wall};
use crate::record::{self, Body, GapWhy, Record, Span};

/// A reader's place in one epoch.
#[derive(Debug)]
pub struct Follower {
    epoch: Epoch,
    next: u64,
    open: Option<(PathBuf, Scanner)>,
}

impl Follower {
    /// Reads `epoch` from number `next` on.
    pub fn new(epoch: Epoch, next: u64) -> Follower {
        Follower {
            epoch,
            next,
            open: None,
        }
    }

    /// The epoch read.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The number to be read next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Appends whole lines up to number `until`, about `bytes` of them, to `out`.
    /// What is missing or damaged on disk comes as gap records (written `now`), so
    /// the numbers handed out never have a hole. Stops early at the end of what is there.
    pub fn read(
        &mut self,
        index: &Mutex<Index>,
        until: u64,
        bytes: usize,
        now: Wall,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let end = out.len() + bytes;
        while self.next <= until && out.len() < end {
            if self.open.is_none() && !self.open_segment(index, now, out)? {
                return Ok(());
            }
            let Some((path, scanner)) = &mut self.open else {
                return Ok(());
            };
            match scanner.item() {
                Ok(Item::Line(span, line)) => {
                    if span.seq > until {
                        scanner.unread(span);
                        return Ok(());
                    }
                    push_from(out, span, line, self.next);
                    self.next = span.seq + 1;
                }
                Ok(Item::Hole(span)) => {
                    push_gap(out, span, now, GapWhy::Damaged);
                    self.next = span.seq + 1;
                }
                Ok(Item::End) => {
                    let lock = index.lock().expect("journal index");
                    let newer = lock.locate(self.epoch, self.next);
                    if newer.is_none_or(|s| s.path == *path) {
                        return Ok(());
                    }
                    drop(lock);
                    self.open = None;
                }
                Err(error) => {
                    self.open = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Opens the segment that holds the next number; what lies before the oldest is a gap.
    fn open_segment(&mut self, index: &Mutex<Index>, now: Wall, out: &mut Vec<u8>) -> Result<bool> {
        let lock = index.lock().expect("journal index");
        let Some(segment) = lock.locate(self.epoch, self.next) else {
            return Ok(false);
        };
        let (path, before) = (segment.path.clone(), segment.base.last);
        let oldest = lock
            .epoch(self.epoch)
            .is_some_and(|e| e.first() == before + 1);
        // Opened under the lock, so that the file can't be removed in between.
        let scanner = Scanner::open(&path, self.next.max(before + 1))?;
        drop(lock);
        if before >= self.next {
            let span = Span {
                first: self.next,
                seq: before,
            };
            let why = if oldest {
                GapWhy::Deleted
            } else {
                GapWhy::Damaged
            };
            push_gap(out, span, now, why);
            self.next = before + 1;
        }
        self.open = Some((path, scanner));
        Ok(true)
    }
}

/// Appends a line; of a gap or a summary that begins before `next`, the rest as a gap.
fn push_from(out: &mut Vec<u8>, span: Span, line: &[u8], next: u64) {
    if span.first < next {
        if let Ok(Record { seq, at, body }) = Record::parse(line) {
            let why = body.in_place().unwrap_or(GapWhy::Damaged);
            push_gap(out, Span { first: next, seq }, at, why);
            return;
        }
    }
    out.extend_from_slice(line);
    out.push(b'\n');
}

fn push_gap(out: &mut Vec<u8>, span: Span, at: Wall, why: GapWhy) {
    let mut line = String::new();
    let body = Body::Gap {
        first: span.first,
        why,
    };
    record::write_line(&mut line, span, at, &body);
    out.extend_from_slice(line.as_bytes());
}
