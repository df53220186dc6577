//! What an agent has recorded, kept by the manager: the agent's own lines, epoch by
//! epoch. The cursor of an epoch is the last number in its segments, so a crash
//! between storing and acknowledging yields a resend that is recognised and passed
//! over. A line that would leave a hole is refused: it ends the session, never the truth.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::state;
#[cfg(test)]
use crate::clock::{self, simulated::Broken};
use crate::error::{Error, Result};
use crate::files;
use crate::journal::{Appender, Base, Depth, Index, Segment, SyncMode, Totals, Trust, Unsynced};
use crate::log;
use crate::model::{Epoch, Id, NAME_LEN_MAX, Name, NamesSeen, Wall};
use crate::proto::EpochRange;
use crate::record::{self, Body, GapWhy, Record, Span};

/// A segment is closed at this size.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Segments up to this size hold no more than where an epoch ended.
const STUB_BYTES_MAX: u64 = 512;
/// The file that names the agent a history belongs to.
pub const NAME_FILE: &str = "agent";

/// One agent's history, open for writing.
pub struct History {
    index: Index,
    agent: Id,
    writer: Option<Writer>,
    /// Made durable since it was last told: epochs whose last records came.
    durable: Vec<(Epoch, u64)>,
    names: NamesSeen,
}

struct Writer {
    appender: Appender,
    epoch: Epoch,
    /// Whether anything came from the agent.
    received: bool,
    lines: String,
    last: u64,
    totals: Totals,
}

/// How a line was taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is new; it will be stored with the next write.
    New(Record),
    /// All it stands for is stored already.
    Known,
}

/// The file that says whose history is that of an id.
pub fn name_file(data: &Path, id: Id) -> PathBuf {
    state::history_dir(data, id).join(NAME_FILE)
}

/// The name in such a file, when there is one.
pub fn name_in(path: &Path) -> Option<Name> {
    let bytes = files::read_bounded(path, NAME_LEN_MAX + 1).ok()?;
    std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok()
}

impl History {
    /// Opens the history of agent `id`, called `name`, in the data directory `data`.
    pub fn open(data: &Path, id: Id, name: &Name) -> Result<History> {
        let dir = state::history_dir(data, id);
        files::ensure_dir(&dir)?;
        files::replace(&dir.join(NAME_FILE), format!("{name}\n").as_bytes())?;
        History::reopen(&dir, id)
    }

    fn reopen(dir: &Path, agent: Id) -> Result<History> {
        let (index, notes) = Index::open(dir, Depth::Tails)?;
        for note in notes {
            log::line(format_args!("history: {note}"));
        }
        Ok(History {
            index,
            agent,
            writer: None,
            durable: Vec::new(),
            names: NamesSeen::default(),
        })
    }

    /// The last number taken of `epoch`; 0 when there is none.
    pub fn cursor(&self, epoch: Epoch) -> u64 {
        match &self.writer {
            Some(writer) if writer.epoch == epoch => writer.last,
            _ => self.index.epoch(epoch).map_or(0, |e| e.last()),
        }
    }

    /// The same, with all up to it made durable: to be told an agent, that takes it for
    /// acknowledged.
    pub fn durable_cursor(&mut self, epoch: Epoch, trust: Trust) -> Result<u64> {
        match &mut self.writer {
            Some(writer) if writer.epoch == epoch => writer.appender.sync()?,
            _ => self.index.secure(epoch, trust)?,
        }
        Ok(self.cursor(epoch))
    }

    /// How many records of what an agent holds are still to be fetched.
    pub fn to_fetch(&self, held: &[EpochRange]) -> u64 {
        let lacking = |r: &EpochRange| r.last.saturating_sub(self.cursor(r.epoch));
        held.iter().map(lacking).sum()
    }

    /// How many bytes it takes on disk, and what became of the numbers of all its epochs.
    pub fn account(&self) -> (u64, Totals) {
        let mut sum = Totals::default();
        for epoch in self.index.epochs() {
            sum.stored += epoch.totals.stored;
            sum.summarised += epoch.totals.summarised;
            sum.dropped += epoch.totals.dropped;
        }
        (self.index.bytes(), sum)
    }

    /// Takes a record line (without its newline) of `epoch`.
    pub fn take(&mut self, epoch: Epoch, line: &[u8]) -> Result<Taken> {
        let damaged = |damage| Error::new(format!("record: {damage}"));
        let span = record::span(line).map_err(damaged)?;
        let cursor = self.cursor(epoch);
        #[cfg(test)]
        let cursor = match clock::simulated::is_broken(Broken::NoDedupe) {
            true => cursor.min(span.first - 1),
            false => cursor,
        };
        if span.seq <= cursor {
            return Ok(Taken::Known);
        }
        if span.first != cursor + 1 {
            return Err(Error::new(format!(
                "record {} of epoch {epoch} came after {cursor}",
                span.first
            )));
        }
        let record = Record::parse_checked(line, &mut self.names).map_err(damaged)?;
        if record.span() != span {
            return Err(Error::new(format!(
                "record {} of epoch {epoch} stands for others and is neither gap nor summary",
                span.seq
            )));
        }
        let writer = self.writer_for(epoch)?;
        writer.received = true;
        writer.lines.push_str(&String::from_utf8_lossy(line));
        writer.lines.push('\n');
        writer.count(span, &record.body);
        Ok(Taken::New(record))
    }

    /// Notes that what is lacking of `epoch` up to `through` will never come.
    /// The gap is durable on return.
    pub fn give_up(&mut self, epoch: Epoch, through: u64, why: GapWhy, now: Wall) -> Result<()> {
        if through <= self.cursor(epoch) {
            return Ok(());
        }
        // The gap counts on what lies before it, which nobody may ever have made durable.
        let cursor = self.durable_cursor(epoch, Trust::Lost)?;
        let span = Span {
            first: cursor + 1,
            seq: through,
        };
        let body = Body::Gap {
            first: span.first,
            why,
        };
        let writer = self.writer_for(epoch)?;
        record::write_line(&mut writer.lines, span, now, &body);
        writer.count(span, &body);
        self.write()?;
        self.sync_writer()?;
        Ok(())
    }

    fn writer_for(&mut self, epoch: Epoch) -> Result<&mut Writer> {
        if self.writer.as_ref().is_some_and(|w| w.epoch != epoch) {
            self.write()?;
            let durable = self.sync_writer()?;
            self.durable.extend(durable);
            self.writer = None;
        }
        let base = match self.index.epoch(epoch) {
            Some(known) => known.tail(self.agent),
            None => Base {
                agent: self.agent,
                epoch,
                order: self.index.next_order(),
                last: 0,
                totals: Totals::default(),
            },
        };
        let dir = self.index.dir();
        Ok(self.writer.get_or_insert_with(|| Writer {
            appender: Appender::new(
                dir,
                base,
                SEGMENT_BYTES,
                SyncMode::Interval,
                Unsynced::LetGo,
            ),
            epoch,
            received: false,
            lines: String::new(),
            last: base.last,
            totals: base.totals,
        }))
    }

    /// Writes what was taken. After an error the history has to be opened anew: what was
    /// not stored was not acknowledged, and comes again.
    pub fn write(&mut self) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        if writer.lines.is_empty() {
            return Ok(());
        }
        writer
            .appender
            .take(&mut writer.lines, writer.last, writer.totals);
        let written = writer.appender.write()?;
        if let Some(segment) = written.fresh {
            self.index.add(segment);
        }
        self.index
            .grow(writer.epoch, written.last, written.bytes, writer.totals);
        Ok(())
    }

    /// Whether something was written that is not durable yet.
    pub fn is_dirty(&self) -> bool {
        self.writer.as_ref().is_some_and(|w| w.appender.is_dirty())
    }

    /// Makes what was written durable: the epochs and numbers to acknowledge, also of
    /// epochs that others have followed since this was last asked.
    pub fn sync(&mut self) -> Result<Vec<(Epoch, u64)>> {
        let durable = self.sync_writer()?;
        self.durable.extend(durable);
        Ok(std::mem::take(&mut self.durable))
    }

    /// The number to acknowledge, unless the agent has sent nothing of this epoch: then
    /// there is only a gap that was written here.
    fn sync_writer(&mut self) -> Result<Option<(Epoch, u64)>> {
        let Some(writer) = &mut self.writer else {
            return Ok(None);
        };
        #[cfg(test)]
        if clock::simulated::is_broken(Broken::AckBeforeSync) {
            return Ok(writer.received.then_some((writer.epoch, writer.last)));
        }
        writer.appender.sync()?;
        let durable = (writer.epoch, writer.appender.durable().last);
        Ok(writer.received.then_some(durable))
    }

    /// Removes a segment for good, with all before it in its epoch; of the newest in an
    /// epoch what stays is where the epoch ended.
    fn retire(&mut self, segment: &Segment) -> Result<()> {
        let epoch = segment.base.epoch;
        let newest = self.index.epoch(epoch).and_then(|e| e.segments.last());
        if newest.is_some_and(|s| s.path != segment.path) {
            return self.index.remove_through(epoch, segment.last, Some(epoch));
        }
        match &self.writer {
            Some(writer) if writer.epoch == epoch => Ok(()),
            _ => self.index.to_stub(self.agent, epoch),
        }
    }
}

impl Writer {
    fn count(&mut self, span: Span, body: &Body) {
        self.totals.add(span, body.in_place());
        self.last = span.seq;
    }
}

/// What is kept at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: u64,
    pub age: Duration,
}

/// A segment as retention sees it.
struct Aged {
    history: usize,
    segment: Segment,
    modified: Wall,
}

/// Removes the oldest segments of all `histories` until what is left is within `limits`.
pub fn enforce(histories: &mut [&mut History], limits: Limits, now: Wall) -> Result<()> {
    let mut aged = Vec::new();
    for (at, history) in histories.iter().enumerate() {
        for segment in history.index.epochs().iter().flat_map(|e| &e.segments) {
            if segment.bytes > STUB_BYTES_MAX {
                aged.push(Aged {
                    history: at,
                    segment: segment.clone(),
                    modified: files::modified(&segment.path).unwrap_or(now),
                });
            }
        }
    }
    aged.sort_by_key(|a| a.modified);
    let mut bytes: u64 = histories.iter().map(|h| h.index.bytes()).sum();
    for candidate in aged {
        let age = now.since(candidate.modified);
        if age <= limits.age && bytes <= limits.bytes {
            break;
        }
        let history = &mut histories[candidate.history];
        let before = history.index.bytes();
        history.retire(&candidate.segment)?;
        bytes -= before.saturating_sub(history.index.bytes());
    }
    Ok(())
}

/// Opens the histories in `data` that belong to none of `ids`: for retention alone.
pub fn others(data: &Path, ids: &[Id]) -> Result<Vec<History>> {
    let root = data.join("history");
    let found = files::names_in(&root)?;
    let found = found
        .iter()
        .filter_map(|name| Some((name, name.parse::<Id>().ok()?)));
    found
        .filter(|(_, id)| !ids.contains(id))
        .map(|(name, id)| History::reopen(&root.join(name), id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(0xe);
    const F: Epoch = Epoch(0xf);

    fn line(first: u64, seq: u64) -> Vec<u8> {
        let mut line = String::new();
        let body = match first == seq {
            true => Body::Ended {
                target: "x".repeat(100).parse().unwrap(),
                each: None,
            },
            false => Body::Gap {
                first,
                why: GapWhy::Deleted,
            },
        };
        record::write_line(&mut line, Span { first, seq }, Wall(1), &body);
        line.trim_end().into()
    }

    fn open(dir: &Path) -> History {
        History::open(dir, Id(7), &"attic".parse().unwrap()).unwrap()
    }

    fn store(history: &mut History, epoch: Epoch, from: u64, to: u64) {
        for seq in from..=to {
            assert!(matches!(
                history.take(epoch, &line(seq, seq)).unwrap(),
                Taken::New(_)
            ));
        }
        history.write().unwrap();
        assert_eq!(history.sync().unwrap().last(), Some(&(epoch, to)));
    }

    #[test]
    fn an_epoch_is_acknowledged_though_another_has_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        for (epoch, seq) in [(E, 1), (E, 2), (F, 1)] {
            let taken = history.take(epoch, &line(seq, seq)).unwrap();
            assert!(matches!(taken, Taken::New(_)));
        }
        history.write().unwrap();
        assert_eq!(history.sync().unwrap(), [(E, 2), (F, 1)]);
        assert_eq!(history.sync().unwrap(), [(F, 1)]);
        // What the agent never sent is not acknowledged: that would end the session.
        history.give_up(E, 9, GapWhy::Vanished, Wall(1)).unwrap();
        assert_eq!(history.sync().unwrap(), [(F, 1)]);
    }

    #[test]
    fn what_is_stored_is_known_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        store(&mut history, E, 1, 5);
        store(&mut history, F, 1, 3);
        store(&mut history, E, 6, 6);
        drop(history);
        let mut history = open(dir.path());
        assert_eq!((history.cursor(E), history.cursor(F)), (6, 3));
        assert_eq!(history.take(E, &line(6, 6)).unwrap(), Taken::Known);
        assert!(matches!(
            history.take(E, &line(7, 9)).unwrap(),
            Taken::New(_)
        ));
        assert_eq!(history.cursor(E), 9);
    }

    #[test]
    fn only_a_gap_stands_for_several_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        store(&mut history, E, 1, 5);
        let fields = r#"{"seq":9,"first":6,"at":1,"event":"ended","target":"web"}"#;
        let mut line = fields.to_string();
        record::seal(&mut line, 0);
        let error = history.take(E, line.trim_end().as_bytes()).unwrap_err();
        let said =
            format!("record 9 of epoch {E} stands for others and is neither gap nor summary");
        assert_eq!(error.to_string(), said);
        assert_eq!(history.cursor(E), 5);
    }

    #[test]
    fn a_hole_or_an_overlap_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        store(&mut history, E, 1, 5);
        let error = history.take(E, &line(7, 7)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("record 7 of epoch {E} came after 5")
        );
        assert!(history.take(E, &line(4, 8)).is_err());
        assert!(history.take(E, b"{\"seq\":6}").is_err());
        store(&mut history, E, 6, 6);
    }

    #[test]
    fn what_was_taken_but_not_synced_is_not_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        store(&mut history, E, 1, 2);
        history.take(E, &line(3, 3)).unwrap();
        history.write().unwrap();
        assert!(history.is_dirty());
        assert_eq!(history.writer.as_ref().unwrap().appender.durable().last, 2);
    }

    #[test]
    fn a_gap_lies_after_nothing_that_a_power_cut_takes() {
        use crate::clock::simulated::Dice;
        let dir = Path::new("/manager");
        for seed in 1..=20 {
            let _time = clock::simulated::start(seed);
            let _disk = files::simulated::start();
            crate::files::ensure_dir(dir).unwrap();
            // Whoever took these was killed before they were made durable.
            let mut history = open(dir);
            for seq in 1..=3 {
                history.take(E, &line(seq, seq)).unwrap();
            }
            history.write().unwrap();
            drop(history);
            let mut history = open(dir);
            let gap = history.give_up(E, 9, GapWhy::Vanished, Wall(5));
            gap.unwrap();
            drop(history);
            files::simulated::with(|disk| disk.cut_power(dir, &mut Dice::new(seed)));
            assert_eq!(open(dir).cursor(E), 9, "seed {seed}");
            let path = dir.join("history").join(Id(7).to_string());
            let names = crate::journal::list_segments(&path).unwrap();
            let mut numbers = Vec::new();
            let walked = crate::journal::walk(&path, &names, |found| {
                if let crate::journal::Found::Line(span, _) = found {
                    numbers.push((span.first, span.seq));
                }
            });
            walked.unwrap();
            assert_eq!(numbers, [(1, 1), (2, 2), (3, 3), (4, 9)], "seed {seed}");
        }
    }

    #[test]
    fn what_will_never_come_is_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        store(&mut history, E, 1, 2);
        history.give_up(E, 9, GapWhy::Vanished, Wall(5)).unwrap();
        history.give_up(E, 9, GapWhy::Vanished, Wall(5)).unwrap();
        drop(history);
        let history = open(dir.path());
        let epoch = history.index.epoch(E).unwrap();
        assert_eq!(
            (epoch.last(), epoch.totals.stored, epoch.totals.dropped),
            (9, 2, 7)
        );
    }

    #[test]
    fn retention_takes_the_oldest_and_leaves_every_cursor() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        store(&mut history, E, 1, 50);
        drop(history);
        let mut history = open(dir.path());
        store(&mut history, E, 51, 100);
        store(&mut history, F, 1, 100);
        let now = Wall(files::modified(dir.path()).unwrap().0 + 3_600_000);
        let far = Duration::from_secs(7200);
        let bytes = history.index.bytes();
        let keep_all = Limits { bytes, age: far };
        enforce(&mut [&mut history], keep_all, now).unwrap();
        assert_eq!(history.index.bytes(), bytes);
        let fewer = Limits {
            bytes: bytes - 1,
            age: far,
        };
        enforce(&mut [&mut history], fewer, now).unwrap();
        assert_eq!(history.index.epoch(E).unwrap().first(), 51);
        let none = Limits {
            bytes: 0,
            age: Duration::ZERO,
        };
        enforce(&mut [&mut history], none, now).unwrap();
        // The segment being written stays, the old epoch is down to its end.
        assert_eq!(history.index.epoch(E).unwrap().first(), 101);
        assert_eq!(history.index.epoch(F).unwrap().first(), 1);
        drop(history);
        let history = open(dir.path());
        assert_eq!((history.cursor(E), history.cursor(F)), (100, 100));
        assert_eq!(history.index.epoch(E).unwrap().totals.stored, 100);
    }
}
