//! One epoch front to back over its segments, by anyone, while it may be being written:
//! what the reading commands see.
//!
//! Every number is handed out once: as a line, or as part of a hole. Of numbers that a
//! failed sync left in two segments the newer segment's count; where the newer one ends
//! early (its writer died), the older one's do. A segment that is gone is passed over.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::files::disk;
use crate::journal::index::SegmentName;
use crate::net::line::{LineError, LineReader, Step};
use crate::record::{self, LINE_BYTES_MAX, Span};

/// Read from a segment at once.
const READ_BYTES: usize = 64 * 1024;

/// What an epoch's history holds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole line, without its newline; of those it stands for, these are new.
    Line(Span, &'a [u8]),
    /// No line stands for these numbers.
    Hole(Span, Cause),
    /// So many numbers came a second time.
    Again(u64),
}

/// Why there is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Lines that fail their check stand where the numbers should.
    Damage,
    Nothing,
}

/// Lines of a segment that fail their check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub lines: u64,
    /// The numbers that were lost with them.
    pub numbers: u64,
}

/// What a walk came by, beside what it handed out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// One past the last number.
    pub next: u64,
    pub damage: Vec<Damage>,
    /// A segment that was listed was gone when it was to be read.
    pub vanished: bool,
}

/// Walks over `segments`, all of one epoch in `dir`, in order.
///
/// # Errors
/// A segment that is there cannot be read.
pub fn walk(
    dir: &Path,
    segments: &[SegmentName],
    mut each: impl FnMut(Found<'_>),
) -> Result<Walked> {
    let mut walk = Walk {
        dir,
        suspect: 0,
        surplus: Vec::new(),
        walked: Walked {
            next: segments.first().map_or(1, |s| s.first),
            ..Walked::default()
        },
    };
    for (at, segment) in segments.iter().enumerate() {
        let until = segments.get(at + 1).map_or(u64::MAX, |s| s.first - 1);
        walk.bridge(segment.first - 1, &mut each)?;
        walk.hole_before(segment.first, &mut each);
        walk.read(segment, until, Pass::First, &mut each)?;
    }
    walk.bridge(u64::MAX, &mut each)?;
    Ok(walk.walked)
}

/// Which time a segment is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    First,
    /// Only for what is still lacking.
    Again,
}

struct Walk<'s> {
    dir: &'s Path,
    /// Damaged lines since the last good one.
    suspect: u64,
    /// Segments that go on beyond where the next one begins.
    surplus: Vec<&'s SegmentName>,
    walked: Walked,
}

impl<'s> Walk<'s> {
    /// Takes what is lacking up to `until` from older segments, the newest first.
    fn bridge(&mut self, until: u64, each: &mut impl FnMut(Found<'_>)) -> Result<()> {
        for segment in std::mem::take(&mut self.surplus).into_iter().rev() {
            match self.walked.next <= until {
                true => self.read(segment, until, Pass::Again, each)?,
                false => self.surplus.push(segment),
            }
        }
        self.surplus.sort_by_key(|segment| segment.first);
        Ok(())
    }

    fn read(
        &mut self,
        segment: &'s SegmentName,
        until: u64,
        pass: Pass,
        each: &mut impl FnMut(Found<'_>),
    ) -> Result<()> {
        let path = self.dir.join(&segment.name);
        let file = match disk::open(&path) {
            Ok(file) => BufReader::with_capacity(READ_BYTES, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.walked.vanished = true;
                return Ok(());
            }
            Err(error) => return Err(error).context(|| format!("open {}", path.display())),
        };
        let mut reader = LineReader::new(file, LINE_BYTES_MAX);
        loop {
            match reader.step() {
                Ok(Step::Whole) => {}
                Ok(Step::End | Step::Torn) => return Ok(()),
                Err(LineError::TooLong) => {
                    reader.skip_buffered();
                    self.damaged(&path, pass);
                    continue;
                }
                Err(error) => return Err(Error::new(format!("read {}: {error}", path.display()))),
            }
            let line = reader.line();
            match record::span(line) {
                Ok(span) if span.first > until => {
                    self.surplus.push(segment);
                    return Ok(());
                }
                Ok(span) => self.line(span, until, line, pass, each),
                Err(_) if is_base(line) => {}
                Err(_) => self.damaged(&path, pass),
            }
        }
    }

    fn line(
        &mut self,
        span: Span,
        until: u64,
        line: &[u8],
        pass: Pass,
        each: &mut impl FnMut(Found<'_>),
    ) {
        let next = self.walked.next;
        let known = next.min(span.seq.saturating_add(1)).max(span.first) - span.first;
        if known > 0 && pass == Pass::First {
            each(Found::Again(known));
        }
        if span.seq < next {
            return;
        }
        self.hole_before(span.first, each);
        let span = Span {
            first: span.first.max(next),
            seq: span.seq.min(until),
        };
        each(Found::Line(span, line));
        self.walked.next = span.seq.saturating_add(1);
        self.suspect = 0;
    }

    /// Hands out what is lacking before `first` as a hole.
    fn hole_before(&mut self, first: u64, each: &mut impl FnMut(Found<'_>)) {
        if first <= self.walked.next {
            return;
        }
        let span = Span {
            first: self.walked.next,
            seq: first - 1,
        };
        let cause = match self.walked.damage.last_mut() {
            Some(damage) if self.suspect > 0 => {
                damage.numbers += span.count();
                Cause::Damage
            }
            _ => Cause::Nothing,
        };
        self.suspect = 0;
        self.walked.next = first;
        each(Found::Hole(span, cause));
    }

    fn damaged(&mut self, path: &Path, pass: Pass) {
        if pass == Pass::Again {
            return;
        }
        self.suspect += 1;
        match self.walked.damage.last_mut() {
            Some(damage) if damage.path == path => damage.lines += 1,
            _ => self.walked.damage.push(Damage {
                path: path.to_path_buf(),
                lines: 1,
                numbers: 0,
            }),
        }
    }
}

fn is_base(line: &[u8]) -> bool {
    line.starts_with(b"{\"base\":") && record::check_seal(line).is_ok()
}
