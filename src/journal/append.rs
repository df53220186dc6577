//! Writing one epoch's records to segments.
//!
//! Lines are kept in memory until they are durable. The first failed write or
//! sync closes the segment for good; the next attempt opens a new one that starts
//! after the last durable number and holds all that waited. Where nobody is told of a line
//! before it is durable, the closed segment is cut off after what is: after a failed sync
//! a later one may say that all is well, and is not to be believed. Who can have the lines again
//! from elsewhere need not keep them; then nothing can be written after a failure.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::files::disk::{self, WriteFile};
use crate::journal::index::Segment;
use crate::journal::segment::{Base, Totals};

/// Lines beyond this that were written are made durable at once, whatever the mode.
pub const UNSYNCED_BYTES_MAX: usize = 1024 * 1024;
/// Memory kept for waiting lines once they are durable.
const WAITING_BYTES_KEPT: usize = 16 * 1024;

/// When records are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// After every group of records, before anyone is told of them.
    Always,
    /// Once a second.
    Interval,
    /// Never by us: left to the operating system.
    Never,
}

/// What becomes of lines that are written and not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// They are kept, and written again after a failure.
    Kept,
    /// They can be had again from where they came.
    LetGo,
}

struct Open {
    file: WriteFile,
    path: PathBuf,
    bytes: u64,
    /// So many of them are durable.
    durable_bytes: u64,
    /// The directory does not durably know the file yet.
    fresh: bool,
}

/// Appends the records of one epoch.
pub struct Appender {
    dir: PathBuf,
    mode: SyncMode,
    unsynced: Unsynced,
    segment_bytes_max: u64,
    /// Agent, epoch and order, with the last durable number and the totals up to it.
    durable: Base,
    last: u64,
    totals: Totals,
    /// Lines after `durable.last`.
    waiting: String,
    /// How much of `waiting` the open segment holds.
    written: usize,
    /// Bytes written since what was written was durable.
    unsynced_bytes: usize,
    open: Option<Open>,
}

impl Appender {
    /// Appends after `base`, to segments of about `segment_bytes_max` in `dir`.
    pub fn new(
        dir: &Path,
        base: Base,
        segment_bytes_max: u64,
        mode: SyncMode,
        unsynced: Unsynced,
    ) -> Appender {
        Appender {
            dir: dir.to_path_buf(),
            mode,
            unsynced,
            segment_bytes_max,
            durable: base,
            last: base.last,
            totals: base.totals,
            waiting: String::new(),
            written: 0,
            unsynced_bytes: 0,
            open: None,
        }
    }

    /// The epoch written to, and where its durable part ends.
    pub fn durable(&self) -> Base {
        self.durable
    }

    /// The last number taken, durable or not.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether anything waits to be written or made durable.
    pub fn is_dirty(&self) -> bool {
        self.last != self.durable.last
    }

    /// Takes whole lines that end with number `last`, `totals` being the epoch's
    /// up to it. They are kept until they are written, or longer: see [`Unsynced`].
    /// `lines` is empty on return.
    pub fn take(&mut self, lines: &mut String, last: u64, totals: Totals) {
        if self.waiting.is_empty() {
            std::mem::swap(&mut self.waiting, lines);
        } else {
            self.waiting.push_str(lines);
            lines.clear();
        }
        self.last = last;
        self.totals = totals;
    }

    /// Writes what was taken, and makes it durable where the mode asks for that now.
    pub fn write(&mut self) -> Result<Written> {
        let written = match self.try_write() {
            Ok(written) => written,
            Err(error) => {
                self.fail();
                return Err(error);
            }
        };
        let full = written.bytes >= self.segment_bytes_max;
        match self.mode {
            SyncMode::Never => self.settle(),
            SyncMode::Always => self.sync()?,
            SyncMode::Interval if full || self.unsynced_bytes > UNSYNCED_BYTES_MAX => {
                self.sync()?;
            }
            SyncMode::Interval => {}
        }
        if full {
            self.close();
        }
        Ok(written)
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let synced = open
            .file
            .sync()
            .context(|| format!("sync {}", open.path.display()));
        let synced = synced.and_then(|()| match std::mem::take(&mut open.fresh) {
            true => disk::sync_dir(&self.dir).context(|| format!("sync {}", self.dir.display())),
            false => Ok(()),
        });
        match synced {
            Ok(()) => self.settle(),
            Err(_) => self.fail(),
        }
        synced
    }

    /// Counts what was written as durable.
    fn settle(&mut self) {
        if self.written == self.waiting.len() {
            self.durable.last = self.last;
            self.durable.totals = self.totals;
            self.unsynced_bytes = 0;
            if let Some(open) = &mut self.open {
                open.durable_bytes = open.bytes;
            }
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(WAITING_BYTES_KEPT);
        self.written = 0;
    }

    fn try_write(&mut self) -> Result<Written> {
        let mut fresh = None;
        if self.open.is_none() {
            fresh = Some(self.begin()?);
        }
        let open = self.open.as_mut().expect("just opened");
        let part = &self.waiting.as_bytes()[self.written..];
        open.file
            .write_all(part)
            .context(|| format!("write {}", open.path.display()))?;
        open.bytes += part.len() as u64;
        let bytes = open.bytes;
        self.unsynced_bytes += part.len();
        match self.unsynced {
            Unsynced::Kept => self.written = self.waiting.len(),
            Unsynced::LetGo => self.let_go(),
        }
        Ok(Written {
            fresh,
            last: self.last,
            bytes,
        })
    }

    fn begin(&mut self) -> Result<Segment> {
        let path = self.dir.join(self.durable.file_name());
        if self.unsynced == Unsynced::LetGo && self.unsynced_bytes > 0 {
            let path = path.display();
            let text = format!("create {path}: what was to be in it is gone after a failure");
            return Err(Error::new(text));
        }
        let line = self.durable.line();
        let mut file = disk::create(&path).context(|| format!("create {}", path.display()))?;
        file.write_all(line.as_bytes())
            .context(|| format!("write {}", path.display()))?;
        let bytes = line.len() as u64;
        let segment = Segment {
            path: path.clone(),
            base: self.durable,
            last: self.durable.last,
            bytes,
            thinned: false,
        };
        self.open = Some(Open {
            file,
            path,
            bytes,
            durable_bytes: bytes,
            fresh: true,
        });
        self.written = 0;
        Ok(segment)
    }

    /// Gives up the segment after a failure.
    fn fail(&mut self) {
        let reported_once_durable =
            self.mode == SyncMode::Always || self.unsynced == Unsynced::LetGo;
        if let (Some(open), true) = (&self.open, reported_once_durable) {
            // Where that fails too, readers see lines that come again in the next segment.
            let _ = open.file.cut_off(open.durable_bytes);
        }
        self.close();
    }

    fn close(&mut self) {
        self.open = None;
        self.written = 0;
    }
}

/// What a write came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The segment, when this write began it.
    pub fresh: Option<Segment>,
    /// The last number now readable.
    pub last: u64,
    /// The segment's size.
    pub bytes: u64,
}
