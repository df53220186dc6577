//! How far an agent's clock was off, record by record: a session compares it with the
//! manager's, and `clock` records tell how far it moved between that and any other record of
//! the same boot. So the records of a host that began in 1970 are placed right, also those
//! from before the network set its clock.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use crate::error::Result;
use crate::manager::replay;
use crate::manager::state::{AgentState, SessionClock};
use crate::model::{Epoch, Id, Wall};
use crate::record::{Body, Record};

/// A clock offset up to this is left alone, so that times agree with the records'.
const OFFSET_MS_MAX: u64 = crate::manager::board::CLOCK_OFF_MS.unsigned_abs();
/// Changes of a clock that are followed in one history; after them it counts as unchanged.
const SECTIONS_MAX: usize = 65_536;

/// Records up to the next section, over which the clock was not set.
struct Section {
    from: u64,
    boot: Box<str>,
    /// What the wall clock said when that boot began.
    base_ms: i128,
}

/// See the module text.
pub struct Clocks {
    /// As far as they are known, in order.
    sections: HashMap<Epoch, Vec<Section>>,
    sessions: Vec<SessionClock>,
    /// As the latest session of all found, where it was this agent's.
    latest: Option<i64>,
    /// The last answer, and for which records it holds.
    known: Option<(Epoch, Range<u64>, i64)>,
}

impl Clocks {
    /// What is known of the clock of the agent whose history, from `since` on, is in `dir`.
    ///
    /// # Errors
    /// A segment that is there cannot be read.
    pub fn read(dir: &Path, since: Wall, state: &AgentState, id: Id) -> Result<Clocks> {
        let mut clocks = Clocks {
            sections: HashMap::new(),
            sessions: state.sessions.clone(),
            latest: state.clock_offset_ms.filter(|_| state.id == Some(id)),
            known: None,
        };
        let mut count = 0;
        replay::lines(dir, since, |epoch, line| {
            if count < SECTIONS_MAX && is_clock(line) {
                let record = Record::parse(line).ok();
                count += usize::from(record.is_some_and(|record| clocks.note(epoch, record)));
            }
        })?;
        Ok(clocks)
    }

    fn note(&mut self, epoch: Epoch, record: Record) -> bool {
        let Body::Clock { boot, up_ms } = record.body else {
            return false;
        };
        self.sections.entry(epoch).or_default().push(Section {
            from: record.seq,
            boot: boot.into(),
            base_ms: i128::from(record.at.0) - i128::from(up_ms),
        });
        true
    }

    /// What the manager's clock said when the agent's said `at` in this record.
    pub fn ours(&mut self, epoch: Epoch, seq: u64, at: Wall) -> Wall {
        let known = self.known.take();
        let holds =
            |(of, range, _): &(Epoch, Range<u64>, i64)| *of == epoch && range.contains(&seq);
        let known = known.filter(holds).unwrap_or_else(|| {
            let offset = self.offset_ms(epoch, seq);
            let small = offset.unsigned_abs() <= OFFSET_MS_MAX;
            (
                epoch,
                self.section_at(epoch, seq).1,
                if small { 0 } else { offset },
            )
        });
        let ours = Wall(at.0.saturating_add_signed(known.2.saturating_neg()));
        self.known = Some(known);
        ours
    }

    /// The section that a record lies in, if that is known, and its numbers.
    fn section_at(&self, epoch: Epoch, seq: u64) -> (Option<&Section>, Range<u64>) {
        let sections = self.sections.get(&epoch).map_or(&[][..], Vec::as_slice);
        let next = sections.partition_point(|section| section.from <= seq);
        let section = next.checked_sub(1).map(|at| &sections[at]);
        let from = section.map_or(0, |section| section.from);
        let until = sections.get(next).map_or(u64::MAX, |section| section.from);
        (section, from..until)
    }

    /// The agent's clock minus the manager's at a record: by a session under the same
    /// setting of the clock; by one of the same boot and how far the clock was set between;
    /// by one of the same run; by the latest of all.
    fn offset_ms(&self, epoch: Epoch, seq: u64) -> i64 {
        let (section, range) = self.section_at(epoch, seq);
        let in_epoch = |s: &&SessionClock| s.epoch == epoch;
        let sessions = || self.sessions.iter().rev();
        if let Some(same) = sessions().filter(in_epoch).find(|s| range.contains(&s.seq)) {
            return same.offset_ms;
        }
        let moved = |s: &SessionClock| -> Option<i64> {
            let (section, then) = (section?, self.section_at(s.epoch, s.seq).0?);
            // Where boots have no names, that of the same run is the same.
            let same = s.epoch == epoch || !section.boot.is_empty();
            let by = section.base_ms - then.base_ms + i128::from(s.offset_ms);
            (same && section.boot == then.boot).then_some(i64::try_from(by).ok()?)
        };
        let elsewhere = sessions().filter(in_epoch).find_map(moved);
        let elsewhere = elsewhere.or_else(|| sessions().find_map(moved));
        let in_run = || sessions().find(in_epoch).map(|s| s.offset_ms);
        elsewhere.or_else(in_run).or(self.latest).unwrap_or(0)
    }
}

/// Whether a record's line is a clock record, told without reading it.
fn is_clock(line: &[u8]) -> bool {
    let digits = |line: &[u8]| line.iter().take_while(|b| b.is_ascii_digit()).count();
    let event = || {
        let line = line.strip_prefix(b"{\"seq\":")?;
        let line = line[digits(line)..].strip_prefix(b",\"at\":")?;
        Some(line[digits(line)..].starts_with(b",\"event\":\"clock\""))
    };
    event().unwrap_or(false)
}
