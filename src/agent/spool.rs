//! The agent's own journal: numbers records, writes them in groups, keeps them
//! until every manager has them or the limit is reached; then plain results become sums,
//! the oldest first, and only when that is not enough, the oldest become gaps.
//!
//! Numbers are given out under one lock in the order of the queue, so the epoch
//! has no hole. While the disk refuses, records wait in the bounded queue; what
//! comes when it is full is counted into one gap record, for which there is
//! always room. Probing never waits for the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::bell::Bell;
use crate::clock;
use crate::error::{Context, Result};
use crate::files;
use crate::journal::{Appender, Base, Depth, Index, SyncMode, Totals, Trust, Unsynced, thin};
use crate::log;
use crate::model::{Epoch, Id, Mono, Wall};
use crate::proto::{EPOCHS_MAX, EpochRange};
use crate::record::{self, Body, GapWhy, Span};
use crate::threads::{self, Thread};

/// Records are written within this time of their making, unless the user says otherwise.
pub const FLUSH_DEFAULT: Duration = Duration::from_millis(50);
/// Records are made durable within this time, where the mode says so.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Rest between two attempts on a disk that refuses.
pub const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Records whose lines come to so many bytes wait for no others.
const BATCH_BYTES: usize = 128 * 1024;
/// A buffer larger than this is not used again.
const SPARE_BYTES_MAX: usize = 2 * BATCH_BYTES;
/// Most records that wait for the disk.
pub const QUEUE_MAX: usize = 65_536;
/// Smallest spool limit, in bytes.
pub const LIMIT_MIN: u64 = 256 * 1024;
/// A segment is this part of the limit, within the bounds below.
const SEGMENTS_PER_LIMIT: u64 = 16;
const SEGMENT_BYTES_MIN: u64 = 16 * 1024;
const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
const STACK_BYTES: usize = 128 * 1024;

/// How a spool is kept.
pub struct Options {
    pub limit: u64,
    pub sync: SyncMode,
    /// Records are written within this time of their making.
    pub flush: Duration,
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    /// An empty buffer for the next batch's lines.
    spare: String,
    /// When its oldest record came.
    since: Mono,
    /// The number given out last.
    last: u64,
    closing: bool,
}

/// Records that wait to be written, as the lines they become.
#[derive(Default)]
struct Batch {
    lines: String,
    count: usize,
    /// The number of its last record.
    last: u64,
    /// What came after them and found no room, and when that began.
    overflow: Option<(Span, Wall)>,
}

/// What senders may know.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The last number of the current epoch that can be read.
    written: u64,
    trouble: Option<String>,
    dropped: u64,
}

/// The spool; its writer thread ends when it is dropped.
pub struct Spool {
    shared: Arc<Shared>,
    thread: Option<Thread>,
    /// When the run before was last known to live.
    pub alive: Option<Wall>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or it is time to end.
    filled: Condvar,
    index: Mutex<Index>,
    progress: Mutex<Progress>,
    /// Used by the writer's thread alone.
    writer: Mutex<Writer>,
    /// How far managers have got with each epoch.
    cursors: Mutex<BTreeMap<Epoch, Vec<u64>>>,
    bell: Arc<Bell>,
    epoch: Epoch,
    limit: u64,
    flush: Duration,
}

impl Spool {
    /// Opens the spool in `dir` for a new epoch of `agent`; rings `bell` when there is more to read.
    pub fn open(dir: &Path, agent: Id, options: Options, bell: Arc<Bell>) -> Result<Spool> {
        files::ensure_dir(dir)?;
        let (mut index, notes) = Index::open(dir, Depth::Everything)?;
        for note in notes {
            log::line(format_args!("spool: {note}"));
        }
        let alive = last_alive(&index);
        if let (SyncMode::Always, Some(newest)) = (options.sync, index.epochs().last()) {
            // Its writer may have died before it could.
            index.secure(newest.epoch, Trust::Whole)?;
        }
        let lost = drop_surplus_epochs(&mut index)?;
        let base = Base {
            agent,
            epoch: Epoch(clock::random()),
            order: index.next_order(),
            last: 0,
            totals: Totals::default(),
        };
        let segment_bytes =
            (options.limit / SEGMENTS_PER_LIMIT).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let appender = Appender::new(dir, base, segment_bytes, options.sync, Unsynced::Kept);
        let writer = Writer {
            appender,
            totals: Totals::default(),
            sync_at: None,
            retry_at: None,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            index: Mutex::new(index),
            progress: Mutex::default(),
            writer: Mutex::new(writer),
            cursors: Mutex::default(),
            bell,
            epoch: base.epoch,
            limit: options.limit,
            flush: options.flush,
        });
        let writing = Arc::clone(&shared);
        let thread = threads::start("spool", STACK_BYTES, move || writing.run())
            .context(|| "start the spool's thread".to_string())?;
        let spool = Spool {
            shared,
            thread: Some(thread),
            alive,
        };
        for body in lost {
            spool.push(clock::wall(), &body);
        }
        Ok(spool)
    }

    /// Takes a record; its number. Never blocks on the disk.
    pub fn push(&self, at: Wall, body: &Body) -> u64 {
        let mut queue = lock(&self.shared.queue);
        queue.last += 1;
        let seq = queue.last;
        if queue.batch.count >= QUEUE_MAX {
            queue.batch.drop_one(seq, at);
            drop(queue);
            lock(&self.shared.progress).dropped += 1;
            return seq;
        }
        let was_empty = queue.batch.count == 0;
        if was_empty {
            queue.since = clock::mono();
        }
        let was_full = queue.batch.is_full();
        queue.batch.push(seq, at, body);
        let is_ready = was_empty || queue.batch.is_full() != was_full;
        drop(queue);
        if is_ready {
            self.shared.filled.notify_one();
        }
        seq
    }

    /// The current epoch.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The number given out last.
    pub fn last(&self) -> u64 {
        lock(&self.shared.queue).last
    }

    /// For followers.
    pub fn index(&self) -> &Mutex<Index> {
        &self.shared.index
    }

    /// What is held, oldest epoch first, the current one last.
    pub fn ranges(&self) -> Vec<EpochRange> {
        let written = lock(&self.shared.progress).written;
        let index = lock(&self.shared.index);
        let current = self.shared.epoch;
        let mut ranges: Vec<EpochRange> = index
            .epochs()
            .iter()
            .filter(|e| e.epoch != current)
            .map(|e| EpochRange {
                epoch: e.epoch,
                first: e.first(),
                last: e.last(),
            })
            .collect();
        ranges.push(EpochRange {
            epoch: current,
            first: index.epoch(current).map_or(1, |e| e.first()),
            last: written,
        });
        ranges
    }

    /// What it takes on disk.
    pub fn bytes(&self) -> u64 {
        lock(&self.shared.index).bytes()
    }

    /// What keeps it from writing, if anything.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.progress).trouble.clone()
    }

    /// Records dropped since the start.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.progress).dropped
    }

    /// How far managers have got with `epoch`: what is summarised goes on beyond none of
    /// these numbers.
    pub fn note_cursors(&self, epoch: Epoch, cursors: Vec<u64>) {
        lock(&self.shared.cursors).insert(epoch, cursors);
    }

    /// Removes what everyone who needs `epoch` has up to `through`.
    pub fn acknowledged(&self, epoch: Epoch, through: u64) {
        let mut index = lock(&self.shared.index);
        let removed = index.remove_through(epoch, through, Some(self.shared.epoch));
        if let Err(error) = removed {
            log::line(format_args!("spool: {error}"));
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closing = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

impl Queue {
    fn take(&mut self) -> Batch {
        let next = Batch {
            lines: std::mem::take(&mut self.spare),
            ..Batch::default()
        };
        std::mem::replace(&mut self.batch, next)
    }
}

impl Batch {
    fn push(&mut self, seq: u64, at: Wall, body: &Body) {
        record::write_line(&mut self.lines, Span { first: seq, seq }, at, body);
        self.count += 1;
        self.last = seq;
    }

    /// Whether it is not to wait for more.
    fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_BYTES
    }

    /// Counts one record into the gap at the end.
    fn drop_one(&mut self, seq: u64, at: Wall) {
        let first = Span { first: seq, seq };
        self.overflow.get_or_insert((first, at)).0.seq = seq;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("spool state")
}

/// When the newest record on disk was written.
fn last_alive(index: &Index) -> Option<Wall> {
    files::modified(&index.epochs().last()?.segments.last()?.path)
}

/// Removes the oldest epochs beyond what one list can name; each leaves a record.
fn drop_surplus_epochs(index: &mut Index) -> Result<Vec<Body>> {
    let mut lost = Vec::new();
    while index.epochs().len() >= EPOCHS_MAX {
        if let Some(gone) = index.drop_oldest_epoch()? {
            log::line(format_args!(
                "spool: more than {EPOCHS_MAX} runs waited unsent, the oldest ({}) is dropped",
                gone.epoch
            ));
            lost.push(Body::Lost {
                epoch: gone.epoch,
                first: gone.first(),
                last: gone.last(),
            });
        }
    }
    Ok(lost)
}

/// What has been written, and how far that is durable.
struct Writer {
    appender: Appender,
    totals: Totals,
    /// When what was written is to be made durable.
    sync_at: Option<Mono>,
    /// While the disk refuses, when to try again.
    retry_at: Option<Mono>,
}

impl Shared {
    fn run(&self) {
        while !self.turn(self.wait()) {}
    }

    /// Waits until a group is ready, a sync is due, or a retry is.
    fn wait(&self) -> (Batch, bool) {
        let mut queue = lock(&self.queue);
        loop {
            let left = self.due(&queue).map(|at| at.since(clock::mono()));
            if queue.closing || left.is_some_and(|left| left.is_zero()) {
                return self.take(&mut queue);
            }
            queue = match left {
                Some(left) => {
                    let waited = self.filled.wait_timeout(queue, left);
                    waited.expect("spool state").0
                }
                None => self.filled.wait(queue).expect("spool state"),
            };
        }
    }

    /// When the writer has something to do.
    fn due(&self, queue: &Queue) -> Option<Mono> {
        let writer = lock(&self.writer);
        match (writer.retry_at, queue.batch.count == 0) {
            (Some(at), _) => Some(at),
            (None, false) if queue.batch.is_full() => Some(queue.since),
            (None, false) => Some(queue.since.after(self.flush)),
            (None, true) => writer.sync_at,
        }
    }

    /// What is to be written, and whether that is the last. While the disk refuses,
    /// records wait where their number is bounded.
    fn take(&self, queue: &mut Queue) -> (Batch, bool) {
        let in_trouble = lock(&self.writer).retry_at.is_some();
        let batch = match in_trouble && !queue.closing {
            true => Batch::default(),
            false => queue.take(),
        };
        (batch, queue.closing)
    }

    /// Writes a group; whether it was the last.
    fn turn(&self, (batch, closing): (Batch, bool)) -> bool {
        let mut writer = lock(&self.writer);
        if let Some(spare) = writer.take(batch) {
            lock(&self.queue).spare = spare;
        }
        if writer.appender.is_dirty() {
            self.write(&mut writer);
        }
        if closing {
            let _ = writer.appender.sync();
        }
        closing
    }

    fn write(&self, writer: &mut Writer) {
        let outcome = writer.appender.write().and_then(|written| {
            let mut index = lock(&self.index);
            if let Some(segment) = written.fresh {
                index.add(segment);
            }
            index.grow(self.epoch, written.last, written.bytes, writer.totals);
            drop(index);
            writer.sync_if_due()?;
            Ok(written.last)
        });
        match outcome {
            Ok(last) => {
                self.healthy(writer, last);
                self.keep_within_limit();
            }
            Err(error) => self.in_trouble(writer, error.to_string()),
        }
    }

    fn healthy(&self, writer: &mut Writer, last: u64) {
        let mut progress = lock(&self.progress);
        progress.written = last;
        // Trouble is over with the first good sync, or write where nothing is ever synced.
        if writer.sync_at.is_some() {
            writer.retry_at = writer.retry_at.map(|_| clock::mono().after(RETRY_EVERY));
        } else if progress.trouble.take().is_some() {
            writer.retry_at = None;
            log::line("spool: writing again");
        }
        drop(progress);
        self.bell.ring();
    }

    fn in_trouble(&self, writer: &mut Writer, text: String) {
        writer.sync_at = None;
        writer.retry_at = Some(clock::mono().after(RETRY_EVERY));
        let mut progress = lock(&self.progress);
        if progress.trouble.is_none() {
            log::line(format_args!("spool: {text}; records wait in memory"));
        }
        progress.trouble = Some(text);
        drop(progress);
        self.bell.ring();
    }

    fn keep_within_limit(&self) {
        loop {
            match self.make_room() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    log::line(format_args!("spool: {error}"));
                    return;
                }
            }
        }
    }

    /// Makes the oldest segment smaller, or a gap where none can be; whether there may be
    /// more to do.
    fn make_room(&self) -> Result<bool> {
        let mut index = lock(&self.index);
        if index.bytes() <= self.limit {
            return Ok(false);
        }
        let Some(segment) = index.oldest_whole(self.epoch).cloned() else {
            return index.drop_oldest(self.epoch, clock::wall());
        };
        // Nobody waits for this.
        drop(index);
        let cuts = lock(&self.cursors).get(&segment.base.epoch).cloned();
        let text = thin(&segment, &cuts.unwrap_or_default())?;
        lock(&self.index).put_thinned(&segment, text.as_deref())?;
        Ok(true)
    }
}

impl Writer {
    /// Takes a group; the buffer it came in, where that is of use again.
    fn take(&mut self, mut batch: Batch) -> Option<String> {
        if batch.count == 0 {
            return None;
        }
        self.totals.stored += batch.count as u64;
        if let Some((span, at)) = batch.overflow {
            let why = GapWhy::Disk;
            let first = span.first;
            self.totals.add(span, Some(why));
            record::write_line(&mut batch.lines, span, at, &Body::Gap { first, why });
            batch.last = span.seq;
        }
        self.appender
            .take(&mut batch.lines, batch.last, self.totals);
        (batch.lines.capacity() <= SPARE_BYTES_MAX).then_some(batch.lines)
    }

    fn sync_if_due(&mut self) -> Result<()> {
        let now = clock::mono();
        if !self.appender.is_dirty() {
            self.sync_at = None;
            return Ok(());
        }
        if now < *self.sync_at.get_or_insert(now.after(SYNC_EVERY)) {
            return Ok(());
        }
        self.sync_at = None;
        self.appender.sync()
    }
}

/// The spool's directory within an agent's data directory.
pub fn dir_in(data: &Path) -> PathBuf {
    data.join("spool")
}

#[cfg(test)]
impl Spool {
    /// When its thread would have something to do.
    pub fn due(&self) -> Option<Mono> {
        let queue = lock(&self.shared.queue);
        self.shared.due(&queue)
    }

    /// Does what its thread would do now.
    pub fn turn(&self) {
        let work = self.shared.take(&mut lock(&self.shared.queue));
        self.shared.turn(work);
    }
}

#[cfg(test)]
mod tests;
