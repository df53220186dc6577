//! What a journal directory holds: epochs in order, each with its segments.
//!
//! Opening reads every base line and scans what it must to know each segment's
//! last number; nothing on disk is changed by looking. Only whole segments are
//! ever removed, and the newest of an epoch only when the caller gives up the epoch.

use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::files::{disk, read_bounded, remove, replace};
use crate::journal::segment::{Base, Item, Scanner, Totals};
use crate::model::{Epoch, Id, Wall};
use crate::record::{self, Body, GapWhy, Record, Span};

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub path: PathBuf,
    pub base: Base,
    /// The last number readable in it (`base.last` when it holds none).
    pub last: u64,
    pub bytes: u64,
    /// What can be summarised is, or it is not worth it.
    pub thinned: bool,
}

/// One epoch's segments, oldest first; never without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochIndex {
    pub epoch: Epoch,
    pub order: u64,
    pub segments: Vec<Segment>,
    /// The epoch's totals up to [`EpochIndex::last`].
    pub totals: Totals,
}

impl EpochIndex {
    /// The first number its files hold.
    pub fn first(&self) -> u64 {
        self.segments[0].base.last + 1
    }

    /// The last number its files hold.
    pub fn last(&self) -> u64 {
        self.segments.iter().map(|s| s.last).max().unwrap_or(0)
    }

    /// Where to go on writing.
    pub fn tail(&self, agent: Id) -> Base {
        Base {
            agent,
            epoch: self.epoch,
            order: self.order,
            last: self.last(),
            totals: self.totals,
        }
    }
}

/// The epochs of one agent in one directory.
#[derive(Debug)]
pub struct Index {
    dir: PathBuf,
    epochs: Vec<EpochIndex>,
}

/// Whether what a sync of a file says is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Whole,
    /// One has failed before: a later one may say that all is well, and it is not.
    Lost,
}

/// More than any segment holds.
const SEGMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much of each epoch opening reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every line of every segment: damage anywhere is noted.
    Everything,
    /// Base lines, and the lines of each epoch's newest segment.
    Tails,
}

impl Index {
    /// Reads the directory; the strings tell what was damaged or out of place.
    pub fn open(dir: &Path, depth: Depth) -> Result<(Index, Vec<String>)> {
        let mut notes = Vec::new();
        let names = segment_names(dir, &mut notes)?;
        let mut index = Index {
            dir: dir.to_path_buf(),
            epochs: Vec::new(),
        };
        for (at, found) in names.iter().enumerate() {
            let next = names.get(at + 1).filter(|n| n.epoch == found.epoch);
            let known = index.epoch(found.epoch);
            let file_base = Base {
                agent: Id(0),
                epoch: found.epoch,
                order: found.order,
                last: found.first - 1,
                totals: known.map(|e| e.totals).unwrap_or_default(),
            };
            let until = match depth {
                Depth::Tails => next.map(|n| n.first - 1),
                Depth::Everything => None,
            };
            let path = dir.join(&found.name);
            if let Some((segment, totals)) = read_segment(&path, file_base, until, &mut notes)? {
                index.note(segment, totals);
            }
        }
        Ok((index, notes))
    }

    /// Takes in a segment read from disk.
    fn note(&mut self, segment: Segment, totals: Totals) {
        let last = segment.last;
        let before = self.epoch(segment.base.epoch).map(|e| (e.last(), e.totals));
        let epoch = segment.base.epoch;
        self.add(segment);
        if let Some(known) = self.epochs.iter_mut().find(|e| e.epoch == epoch) {
            known.totals = match before {
                Some((known_last, known_totals)) if known_last > last => known_totals,
                _ => totals,
            };
        }
    }

    /// The epochs, oldest first.
    pub fn epochs(&self) -> &[EpochIndex] {
        &self.epochs
    }

    /// One epoch.
    pub fn epoch(&self, epoch: Epoch) -> Option<&EpochIndex> {
        self.epochs.iter().find(|e| e.epoch == epoch)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes durable what the epoch's files hold: who wrote them may have died before it
    /// could. With [`Trust::Lost`], or where a sync fails, the newest is written anew.
    pub fn secure(&self, epoch: Epoch, trust: Trust) -> Result<()> {
        let Some(newest) = self.epoch(epoch).and_then(|e| e.segments.last()) else {
            return Ok(());
        };
        let path = &newest.path;
        let sync = || disk::sync_file(path).and_then(|()| disk::sync_dir(&self.dir));
        if trust == Trust::Whole && sync().is_ok() {
            return Ok(());
        }
        let bytes = read_bounded(path, SEGMENT_BYTES_MAX)?;
        replace(path, &bytes)
    }

    /// The order number for an epoch that begins now.
    pub fn next_order(&self) -> u64 {
        self.epochs.iter().map(|e| e.order + 1).max().unwrap_or(1)
    }

    /// Bytes in all segments.
    pub fn bytes(&self) -> u64 {
        self.segments().map(|s| s.bytes).sum()
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.epochs.iter().flat_map(|e| &e.segments)
    }

    /// Notes a segment that was begun.
    pub fn add(&mut self, segment: Segment) {
        let base = segment.base;
        match self.epochs.iter_mut().find(|e| e.epoch == base.epoch) {
            Some(known) => {
                known.segments.retain(|s| s.path != segment.path);
                known.segments.push(segment);
            }
            None => self.epochs.push(EpochIndex {
                epoch: base.epoch,
                order: base.order,
                segments: vec![segment],
                totals: base.totals,
            }),
        }
    }

    /// Notes that the epoch's newest segment now ends with `last` and holds `bytes`.
    pub fn grow(&mut self, epoch: Epoch, last: u64, bytes: u64, totals: Totals) {
        if let Some(known) = self.epochs.iter_mut().find(|e| e.epoch == epoch) {
            known.totals = totals;
            if let Some(segment) = known.segments.last_mut() {
                segment.last = last;
                segment.bytes = bytes;
            }
        }
    }

    /// The segment to read for number `seq`: the newest that holds it, else the first
    /// after it, else (it is yet to be written) the epoch's newest.
    pub fn locate(&self, epoch: Epoch, seq: u64) -> Option<&Segment> {
        let segments = &self.epoch(epoch)?.segments;
        segments
            .iter()
            .rfind(|s| s.base.last < seq && seq <= s.last)
            .or_else(|| segments.iter().find(|s| s.base.last >= seq))
            .or_else(|| segments.last())
    }

    /// Removes the segments that end at or before `through`; the newest of `live` stays.
    /// An epoch without segments is forgotten.
    pub fn remove_through(
        &mut self,
        epoch: Epoch,
        through: u64,
        live: Option<Epoch>,
    ) -> Result<()> {
        let Some(at) = self.epochs.iter().position(|e| e.epoch == epoch) else {
            return Ok(());
        };
        let keep = usize::from(live == Some(epoch));
        let segments = &mut self.epochs[at].segments;
        while segments.len() > keep && segments[0].last <= through {
            remove(&segments[0].path)?;
            segments.remove(0);
        }
        if segments.is_empty() {
            self.epochs.remove(at);
        }
        Ok(())
    }

    /// The oldest segment that may be made smaller without losing what counts: not the
    /// newest of `live`.
    pub fn oldest_whole(&self, live: Epoch) -> Option<&Segment> {
        let spare = |e: &EpochIndex| e.segments.len() - usize::from(e.epoch == live);
        let mut spare = self.epochs.iter().flat_map(|e| &e.segments[..spare(e)]);
        spare.find(|segment| !segment.thinned)
    }

    /// Notes that a segment was looked at, and has this text now, if another; one that is
    /// gone meanwhile stays so.
    pub fn put_thinned(&mut self, thinned: &Segment, text: Option<&str>) -> Result<()> {
        let mut all = self.epochs.iter_mut().flat_map(|e| &mut e.segments);
        let Some(segment) = all.find(|s| s.path == thinned.path) else {
            return Ok(());
        };
        segment.thinned = true;
        if let Some(text) = text {
            replace(&segment.path, text.as_bytes())?;
            segment.bytes = text.len() as u64;
        }
        Ok(())
    }

    /// Makes room: the oldest segment becomes a gap record, joined with the gap before it.
    /// False when nothing can go but the newest segment of `live`.
    pub fn drop_oldest(&mut self, live: Epoch, now: Wall) -> Result<bool> {
        let position = self.epochs.iter().position(|e| {
            let spare = e.segments.len() - usize::from(e.epoch == live);
            e.segments[..spare].iter().any(|s| !is_gap(s))
        });
        let Some(at) = position else {
            return Ok(false);
        };
        let segments = &mut self.epochs[at].segments;
        let victim = segments.iter().position(|s| !is_gap(s)).unwrap_or(0);
        let last = segments[victim].last;
        if last == segments[victim].base.last {
            // Its writer died before it held anything.
            remove(&segments[victim].path)?;
            segments.remove(victim);
            if segments.is_empty() {
                self.epochs.remove(at);
            }
            return Ok(true);
        }
        let from = victim.saturating_sub(1);
        let first = segments[from].base;
        let segment = replace_by_gap(&self.dir, first, last, now)?;
        if victim > from {
            remove(&segments[victim].path)?;
        }
        segments.splice(from..=victim, [segment]);
        Ok(true)
    }

    /// Forgets the oldest epoch and removes its files; its last number is given back.
    pub fn drop_oldest_epoch(&mut self) -> Result<Option<EpochIndex>> {
        let Some(epoch) = self.epochs.first() else {
            return Ok(None);
        };
        for segment in &epoch.segments {
            remove(&segment.path)?;
        }
        Ok(Some(self.epochs.remove(0)))
    }

    /// Replaces an epoch's files by one that holds only where it ended.
    pub fn to_stub(&mut self, agent: Id, epoch: Epoch) -> Result<()> {
        let Some(known) = self.epochs.iter_mut().find(|e| e.epoch == epoch) else {
            return Ok(());
        };
        let base = known.tail(agent);
        let line = base.line();
        let path = self.dir.join(base.file_name());
        replace(&path, line.as_bytes())?;
        for segment in known.segments.iter().filter(|s| s.path != path) {
            remove(&segment.path)?;
        }
        known.segments = vec![Segment {
            path,
            base,
            last: base.last,
            bytes: line.len() as u64,
            thinned: false,
        }];
        Ok(())
    }
}

/// A segment file's name and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentName {
    pub name: String,
    pub order: u64,
    pub epoch: Epoch,
    /// The first number it is to hold.
    pub first: u64,
}

/// The segments in `dir`, by epoch order, then by number. Other files are passed over.
pub fn list_segments(dir: &Path) -> Result<Vec<SegmentName>> {
    let mut notes = Vec::new();
    segment_names(dir, &mut notes)
}

fn segment_names(dir: &Path, notes: &mut Vec<String>) -> Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    let found = disk::names(dir).context(|| format!("read {}", dir.display()))?;
    for name in &found {
        match Base::parse_name(name) {
            Some((order, epoch, first)) => names.push(SegmentName {
                name: name.to_string(),
                order,
                epoch,
                first,
            }),
            None if name.ends_with(".jsonl") => {
                let path = dir.join(name);
                notes.push(format!(
                    "{}: not a segment's name, left alone",
                    path.display()
                ));
            }
            None => {}
        }
    }
    names.sort_by_key(|s| (s.order, s.epoch, s.first));
    Ok(names)
}

/// Reads one segment; `None` when its writer died before it held anything.
/// With `until`, its last number is taken to be that, unread.
fn read_segment(
    path: &Path,
    file_base: Base,
    until: Option<u64>,
    notes: &mut Vec<String>,
) -> Result<Option<(Segment, Totals)>> {
    let first = file_base.last + 1;
    let mut scanner = Scanner::open(path, first)?;
    let seen = disk::look(path).context(|| format!("look at {}", path.display()))?;
    let fits = |b: &Base| b.epoch == file_base.epoch && b.last == file_base.last;
    let base = match scanner.base().filter(fits) {
        Some(base) => base,
        None => {
            scanner = Scanner::open(path, first)?;
            if matches!(scanner.item()?, Item::End) {
                return Ok(None);
            }
            notes.push(format!("{}: base line damaged", path.display()));
            scanner = Scanner::open(path, first)?;
            file_base
        }
    };
    let (last, totals, thinned) = match until {
        Some(last) => (last, base.totals, false),
        None => scan_to_end(&mut scanner, &base)?,
    };
    if scanner.damaged() > 0 {
        let count = scanner.damaged();
        notes.push(format!("{}: {count} damaged lines", path.display()));
    }
    let segment = Segment {
        path: path.to_path_buf(),
        base,
        last,
        bytes: seen.bytes,
        thinned,
    };
    Ok(Some((segment, totals)))
}

/// Reads to the end: the last number and the totals up to it, damage counted as dropped,
/// and whether there are summaries.
fn scan_to_end(scanner: &mut Scanner, base: &Base) -> Result<(u64, Totals, bool)> {
    let mut totals = base.totals;
    let mut thinned = false;
    loop {
        match scanner.item()? {
            Item::Line(span, line) => {
                let in_place = gap_of(span, line);
                thinned |= in_place == Some(GapWhy::Summarised);
                totals.add(span, in_place);
            }
            Item::Hole(span) => totals.add(span, Some(GapWhy::Damaged)),
            Item::End => break,
        }
    }
    Ok((scanner.next() - 1, totals, thinned))
}

/// The reason why a line stands for others. Only a line that opens with `first` can be one.
pub fn gap_of(span: Span, line: &[u8]) -> Option<GapWhy> {
    let prefix = format!("{{\"seq\":{},\"first\":", span.seq);
    if !line.starts_with(prefix.as_bytes()) {
        return None;
    }
    Record::parse(line).ok()?.body.in_place()
}

/// Whether the segment is no more than a gap record already.
fn is_gap(segment: &Segment) -> bool {
    segment.bytes < GAP_SEGMENT_BYTES_MAX && {
        let mut scanner = match Scanner::open(&segment.path, segment.base.last + 1) {
            Ok(scanner) => scanner,
            Err(_) => return false,
        };
        match scanner.item() {
            Ok(Item::Line(span, line)) => gap_of(span, line).is_some() && span.seq == segment.last,
            _ => false,
        }
    }
}

/// A base line and one gap record are shorter than this.
const GAP_SEGMENT_BYTES_MAX: u64 = 512;

fn replace_by_gap(dir: &Path, base: Base, last: u64, now: Wall) -> Result<Segment> {
    let path = dir.join(base.file_name());
    let mut text = base.line();
    let span = Span {
        first: base.last + 1,
        seq: last,
    };
    let body = Body::Gap {
        first: span.first,
        why: GapWhy::SpoolLimit,
    };
    record::write_line(&mut text, span, now, &body);
    replace(&path, text.as_bytes())?;
    Ok(Segment {
        path,
        base,
        last,
        bytes: text.len() as u64,
        thinned: true,
    })
}
