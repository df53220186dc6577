//! The agent's own journal: numbers records, writes them in groups, keeps them
//! until every manager has them or the limit is reached.
//!
//! Numbers are given out under one lock in the order of the queue, so the epoch
//! has no hole. While the disk refuses, records wait in the bounded queue; what
//! comes when it is full is counted into one gap record, for which there is
//! always room. Probing never waits for the disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bell::Bell;
use crate::clock;
use crate::error::{Context, Result};
use crate::files;
use crate::journal::{Appender, Base, Create, Depth, Index, SyncMode, Totals, Unsynced};
use crate::log;
use crate::model::{Epoch, Id, Mono, Wall};
use crate::proto::{EPOCHS_MAX, EpochRange};
use crate::record::{self, Body, GapWhy, Span};

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
    pub create: Create,
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
    writer: Option<JoinHandle<()>>,
    /// When the run before was last known to live.
    pub alive: Option<Wall>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or it is time to end.
    filled: Condvar,
    index: Mutex<Index>,
    progress: Mutex<Progress>,
    bell: Arc<Bell>,
    epoch: Epoch,
    limit: u64,
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
        let appender = Appender::new(
            dir,
            base,
            segment_bytes,
            options.sync,
            Unsynced::Kept,
            options.create,
        );
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            index: Mutex::new(index),
            progress: Mutex::default(),
            bell,
            epoch: base.epoch,
            limit: options.limit,
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            appender,
            flush: options.flush,
            totals: Totals::default(),
            sync_at: None,
        };
        let writer = std::thread::Builder::new()
            .name("spool".into())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run())
            .context(|| "start the spool's thread".to_string())?;
        let spool = Spool {
            shared,
            writer: Some(writer),
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
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
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

struct Writer {
    shared: Arc<Shared>,
    appender: Appender,
    flush: Duration,
    totals: Totals,
    /// When what was written is to be made durable.
    sync_at: Option<Mono>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (batch, closing) = self.wait();
            self.take(batch);
            if self.appender.is_dirty() {
                self.write();
            }
            if closing {
                let _ = self.appender.sync();
                return;
            }
        }
    }

    /// Waits until a group is ready, a sync is due, or a retry is.
    fn wait(&self) -> (Batch, bool) {
        let mut queue = lock(&self.shared.queue);
        let in_trouble = lock(&self.shared.progress).trouble.is_some();
        let retry_at = clock::mono().after(RETRY_EVERY);
        loop {
            let ready_at = match (in_trouble, queue.batch.count == 0) {
                (true, _) => Some(retry_at),
                (false, false) if queue.batch.is_full() => Some(queue.since),
                (false, false) => Some(queue.since.after(self.flush)),
                (false, true) => self.sync_at,
            };
            let left = ready_at.map(|at| at.since(clock::mono()));
            if queue.closing || left.is_some_and(|left| left.is_zero()) {
                // While the disk refuses, records wait where their number is bounded.
                let batch = match in_trouble && !queue.closing {
                    true => Batch::default(),
                    false => queue.take(),
                };
                return (batch, queue.closing);
            }
            queue = match left {
                Some(left) => {
                    let waited = self.shared.filled.wait_timeout(queue, left);
                    waited.expect("spool state").0
                }
                None => self.shared.filled.wait(queue).expect("spool state"),
            };
        }
    }

    fn take(&mut self, mut batch: Batch) {
        if batch.count == 0 {
            return;
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
        if batch.lines.capacity() <= SPARE_BYTES_MAX {
            lock(&self.shared.queue).spare = batch.lines;
        }
    }

    fn write(&mut self) {
        let outcome = self.appender.write().and_then(|written| {
            let mut index = lock(&self.shared.index);
            if let Some(segment) = written.fresh {
                index.add(segment);
            }
            index.grow(self.shared.epoch, written.last, written.bytes, self.totals);
            drop(index);
            self.sync_if_due()?;
            Ok(written.last)
        });
        match outcome {
            Ok(last) => {
                self.healthy(last);
                self.keep_within_limit();
            }
            Err(error) => self.in_trouble(error.to_string()),
        }
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

    fn healthy(&self, last: u64) {
        let mut progress = lock(&self.shared.progress);
        progress.written = last;
        // Trouble is over with the first good sync, or write where nothing is ever synced.
        if self.sync_at.is_none() && progress.trouble.take().is_some() {
            log::line("spool: writing again");
        }
        drop(progress);
        self.shared.bell.ring();
    }

    fn in_trouble(&mut self, text: String) {
        self.sync_at = None;
        let mut progress = lock(&self.shared.progress);
        if progress.trouble.is_none() {
            log::line(format_args!("spool: {text}; records wait in memory"));
        }
        progress.trouble = Some(text);
        drop(progress);
        self.shared.bell.ring();
    }

    fn keep_within_limit(&self) {
        let mut index = lock(&self.shared.index);
        while index.bytes() > self.shared.limit {
            match index.thin(self.shared.epoch, clock::wall()) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    log::line(format_args!("spool: {error}"));
                    return;
                }
            }
        }
    }
}

/// The spool's directory within an agent's data directory.
pub fn dir_in(data: &Path) -> PathBuf {
    data.join("spool")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Follower, SegmentFile};
    use crate::record::Record;
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A disk that is full while its flag is set.
    struct Disk(std::fs::File, Arc<AtomicBool>);

    impl Disk {
        fn check(&self) -> io::Result<()> {
            match self.1.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.check()?;
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl SegmentFile for Disk {
        fn sync(&mut self) -> io::Result<()> {
            self.check()
        }
    }

    struct Rig {
        spool: Spool,
        full: Arc<AtomicBool>,
        bell: Arc<Bell>,
    }

    impl Rig {
        fn new(dir: &Path, limit: u64) -> Rig {
            Rig::flushing(dir, limit, FLUSH_DEFAULT)
        }

        fn flushing(dir: &Path, limit: u64, flush: Duration) -> Rig {
            let full = Arc::new(AtomicBool::new(false));
            let bell = Arc::new(Bell::default());
            let shared = Arc::clone(&full);
            let create: Create = Box::new(move |path| {
                Ok(Box::new(Disk(
                    std::fs::File::create(path)?,
                    Arc::clone(&shared),
                )))
            });
            let sync = SyncMode::Interval;
            let options = Options {
                limit,
                sync,
                flush,
                create,
            };
            let spool = Spool::open(dir, Id(1), options, Arc::clone(&bell)).unwrap();
            Rig { spool, full, bell }
        }

        fn push(&self, count: u64) {
            for _ in 0..count {
                let target = "web".parse().unwrap();
                let each = None;
                self.spool.push(Wall(1), &Body::Ended { target, each });
            }
        }

        fn until(&self, what: impl Fn(&Spool) -> bool) {
            let deadline = clock::mono().after(Duration::from_secs(20));
            loop {
                let heard = self.bell.heard();
                if what(&self.spool) {
                    return;
                }
                assert!(clock::mono() < deadline, "waited in vain");
                self.bell.wait(heard, deadline);
            }
        }

        fn written(&self) -> u64 {
            self.spool.ranges().last().unwrap().last
        }

        fn read(&self) -> Vec<Record> {
            let mut out = Vec::new();
            let mut follower = Follower::new(self.spool.epoch(), 1);
            follower
                .read(
                    self.spool.index(),
                    self.written(),
                    1 << 30,
                    Wall(9),
                    &mut out,
                )
                .unwrap();
            let lines = out.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            lines.map(|l| Record::parse(l).unwrap()).collect()
        }
    }

    #[test]
    fn a_full_disk_is_said_what_overflows_is_one_gap_and_then_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::new(dir.path(), 64 << 20);
        rig.push(10);
        rig.until(|s| s.ranges()[0].last == 10);
        rig.full.store(true, Ordering::SeqCst);
        rig.push(1);
        rig.until(|s| s.trouble().is_some());
        let overflow = 1000;
        let room = QUEUE_MAX as u64;
        rig.push(room + overflow);
        assert_eq!(rig.spool.dropped(), overflow);
        rig.full.store(false, Ordering::SeqCst);
        rig.until(|s| s.trouble().is_none() && s.ranges()[0].last == s.last());
        rig.push(5);
        let total = 10 + 1 + room + overflow + 5;
        rig.until(|s| s.ranges()[0].last == total);
        let records = rig.read();
        let gaps: Vec<_> = records
            .iter()
            .filter(|r| matches!(r.body, Body::Gap { .. }))
            .collect();
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            gaps[0].span(),
            Span {
                first: total - 5 - overflow + 1,
                seq: total - 5
            }
        );
        assert_eq!(records.iter().map(|r| r.span().count()).sum::<u64>(), total);
    }

    #[test]
    fn what_waits_is_written_early_when_it_is_much() {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::flushing(dir.path(), 64 << 20, Duration::from_secs(3600));
        let mut line = String::new();
        let span = Span { first: 1, seq: 1 };
        let body = Body::Ended {
            target: "web".parse().unwrap(),
            each: None,
        };
        record::write_line(&mut line, span, Wall(1), &body);
        // Lines get no shorter.
        let enough = BATCH_BYTES / line.len() + 1;
        rig.push(enough as u64);
        rig.until(|_| rig.written() > 0);
    }

    #[test]
    fn beyond_its_limit_the_oldest_becomes_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::new(dir.path(), LIMIT_MIN);
        for round in 1..=10 {
            rig.push(1000);
            rig.until(|s| s.ranges()[0].last == round * 1000);
        }
        let records = rig.read();
        assert!(matches!(
            records[0].body,
            Body::Gap {
                first: 1,
                why: GapWhy::SpoolLimit
            }
        ));
        assert_eq!(
            records.iter().map(|r| r.span().count()).sum::<u64>(),
            10_000
        );
        let bytes = lock(rig.spool.index()).bytes();
        assert!(
            bytes <= LIMIT_MIN + 2 * SEGMENT_BYTES_MIN + 100_000,
            "{bytes}"
        );
    }

    #[test]
    fn every_run_is_an_epoch_of_its_own_and_too_many_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = Vec::new();
        for _ in 0..EPOCHS_MAX + 2 {
            let rig = Rig::new(dir.path(), 64 << 20);
            epochs.push(rig.spool.epoch());
            rig.push(2);
        }
        let rig = Rig::new(dir.path(), 64 << 20);
        rig.push(1);
        rig.until(|s| s.ranges().last().unwrap().last > 0);
        assert!(rig.spool.alive.is_some());
        let ranges = rig.spool.ranges();
        assert_eq!(ranges.len(), EPOCHS_MAX);
        assert!(!epochs.contains(&rig.spool.epoch()));
        let records = rig.read();
        assert!(
            matches!(records[0].body, Body::Lost { first: 1, .. }),
            "{records:?}"
        );
    }
}
