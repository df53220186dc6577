//! One segment file: its name, its base line, and reading it front to back with
//! damage turned into gaps.

use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::files::disk::{self, ReadFile};
use crate::json;
use crate::model::{Epoch, Id};
use crate::net::line::{Line, LineError, LineReader, Step};
use crate::record::{self, GapWhy, LINE_BYTES_MAX, Span};

/// How the numbers of an epoch are accounted for, up to some point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Numbers whose own record was written.
    pub stored: u64,
    /// Numbers that a summary stands for.
    pub summarised: u64,
    /// Numbers that a gap stands for.
    pub dropped: u64,
}

impl Totals {
    /// Counts one line that stands for `span`.
    pub fn add(&mut self, span: Span, gap: Option<GapWhy>) {
        match gap {
            None => self.stored += span.count(),
            Some(GapWhy::Summarised) => self.summarised += span.count(),
            Some(_) => self.dropped += span.count(),
        }
    }
}

/// A segment's first line: where it belongs and what lies before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub agent: Id,
    pub epoch: Epoch,
    /// The epoch's place among its agent's epochs, oldest first.
    pub order: u64,
    /// The last number before this segment.
    pub last: u64,
    /// The epoch's totals before this segment.
    pub totals: Totals,
}

impl Base {
    /// The file name: sorts by epoch order, then by number.
    pub fn file_name(&self) -> String {
        format!(
            "{:08}-{}-{:020}.jsonl",
            self.order,
            self.epoch,
            self.last + 1
        )
    }

    /// Order, epoch and first number out of a file name; `None` for other files.
    pub fn parse_name(name: &str) -> Option<(u64, Epoch, u64)> {
        let mut parts = name.strip_suffix(".jsonl")?.split('-');
        let order = parts.next()?.parse().ok()?;
        let epoch = parts.next()?.parse().ok()?;
        let first = parts.next()?.parse().ok().filter(|n| *n > 0)?;
        parts.next().is_none().then_some((order, epoch, first))
    }

    /// The base line, newline included.
    pub fn line(&self) -> String {
        let mut line = String::new();
        json::object(&mut line, |o| {
            o.str("base", &self.epoch.to_string())
                .str("agent", &self.agent.to_string())
                .u64("order", self.order)
                .u64("last", self.last)
                .u64("stored", self.totals.stored)
                .u64("summarised", self.totals.summarised)
                .u64("dropped", self.totals.dropped);
        });
        record::seal(&mut line, 0);
        line
    }

    fn parse(line: &[u8]) -> Option<Base> {
        record::check_seal(line).ok()?;
        let value = json::parse(line).ok()?;
        let number = |key| value.get(key).and_then(|v| v.u64());
        Some(Base {
            agent: value.get("agent")?.str()?.parse().ok()?,
            epoch: value.get("base")?.str()?.parse().ok()?,
            order: number("order")?,
            last: number("last")?,
            totals: Totals {
                stored: number("stored")?,
                summarised: number("summarised")?,
                dropped: number("dropped")?,
            },
        })
    }
}

/// The base line of the segment at `path`; an error when it has none that is whole.
pub fn base_of(path: &Path) -> Result<Base> {
    let mut scanner = Scanner::open(path, 0)?;
    scanner
        .base()
        .ok_or_else(|| Error::new(format!("read {}: no whole base line", path.display())))
}

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole record line, without its newline, that stands for `Span`.
    Line(Span, &'a [u8]),
    /// Numbers whose lines are damaged or not there.
    Hole(Span),
    /// Nothing more, for now.
    End,
}

/// Reads a segment's lines in order, passing over numbers seen before.
#[derive(Debug)]
pub struct Scanner {
    reader: LineReader<ReadFile>,
    /// The number expected next.
    next: u64,
    /// The current line, when a hole before it was handed out first.
    held: Option<Span>,
    damaged: u64,
}

impl Scanner {
    /// Reads `path` from its start; numbers below `next` are passed over.
    pub fn open(path: &Path, next: u64) -> Result<Scanner> {
        let file = disk::open(path).context(|| format!("open {}", path.display()))?;
        Ok(Scanner {
            reader: LineReader::new(file, LINE_BYTES_MAX),
            next,
            held: None,
            damaged: 0,
        })
    }

    /// The number expected next: one past the last that was handed out.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many lines failed their check, the base line's included.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Reads the base line; only before the first [`Scanner::item`].
    pub fn base(&mut self) -> Option<Base> {
        match self.reader.next_line() {
            Ok(Line::Whole(line)) => Base::parse(line),
            _ => None,
        }
    }

    /// What comes next. A torn line at the end counts as not there yet, and a
    /// stretch too long for a line as damage.
    pub fn item(&mut self) -> Result<Item<'_>> {
        let span = match self.held.take() {
            Some(span) => span,
            None => match self.advance()? {
                Some(span) => span,
                None => return Ok(Item::End),
            },
        };
        if span.first > self.next {
            let hole = Span {
                first: self.next,
                seq: span.first - 1,
            };
            self.next = span.first;
            self.held = Some(span);
            return Ok(Item::Hole(hole));
        }
        self.next = span.seq + 1;
        Ok(Item::Line(span, self.reader.line()))
    }

    /// Gives back the line just handed out: it comes again.
    pub fn unread(&mut self, span: Span) {
        self.next = span.first;
        self.held = Some(span);
    }

    /// Goes to the next good line with news in it.
    fn advance(&mut self) -> Result<Option<Span>> {
        loop {
            match self.reader.step() {
                Ok(Step::Whole) => {}
                Ok(Step::End | Step::Torn) => return Ok(None),
                Err(LineError::TooLong) => {
                    self.damaged += 1;
                    self.reader.skip_buffered();
                    continue;
                }
                Err(error) => return Err(Error::new(format!("read segment: {error}"))),
            }
            let line = self.reader.line();
            match record::span(line) {
                Ok(span) if span.seq < self.next => {}
                Ok(span) => return Ok(Some(span)),
                Err(_) if line.starts_with(b"{\"base\":") => {}
                Err(_) => self.damaged += 1,
            }
        }
    }
}
