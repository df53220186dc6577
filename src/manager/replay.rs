//! The histories in a data directory, read beside whoever writes them: which there are,
//! and the records of one in order.
//!
//! Nothing is ever changed or locked. Torn tails, and segments that appear, grow or
//! vanish meanwhile, are normal. Memory does not depend on how much there is to read.
//! Reading, parsing and visiting each have a thread, one a little ahead of the other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};

use super::history::NAME_FILE;
use super::state::AgentState;
use crate::error::{Context, Result};
use crate::files;
use crate::journal::{Found, SegmentName, list_segments, walk};
use crate::model::{Epoch, Id, NAME_LEN_MAX, Name, NamesSeen, Wall};
use crate::record::{LINE_BYTES_MAX, Record};

/// Lines are handed over in lots of this size, of which a few wait at most.
const LOT_BYTES: usize = 32 * 1024;
const LOTS_AHEAD: usize = 4;
const STACK_BYTES: usize = 256 * 1024;
/// How far a file's time of writing may lie before that of the records in it: file
/// systems round it, and small clock offsets are not corrected.
const SLACK_MS: u64 = 60_000;

/// Visits the records of the history in `dir`, epochs in order, numbers in order, each
/// once. Whole segments that hold nothing from `since` on are left out; what else lies
/// before `since` is visited. Lines that this version cannot read are passed over.
///
/// # Errors
/// A segment that is there cannot be read.
pub fn replay(dir: &Path, since: Wall, mut each: impl FnMut(Epoch, Record)) -> Result<()> {
    std::thread::scope(|scope| {
        let (lot, lots) = mpsc::sync_channel(LOTS_AHEAD);
        let (batch, batches) = mpsc::sync_channel(LOTS_AHEAD);
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let starting = || format!("start reading {}", dir.display());
        let reader = thread("replay")
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, move || read_lots(dir, since, &lot))
            .context(starting)?;
        thread("parse")
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, move || parse_lots(lots, &batch))
            .context(starting)?;
        for (epoch, records) in batches {
            for record in records {
                each(epoch, record);
            }
        }
        reader.join().expect("the reader does not panic")
    })
}

/// Lines of one epoch, each with a newline.
type Lot = (Epoch, Vec<u8>);

/// Reads lots of lines. Who takes them does so to the end.
fn read_lots(dir: &Path, since: Wall, sender: &SyncSender<Lot>) -> Result<()> {
    let mut lot: Option<Lot> = None;
    lines(dir, since, |epoch, line| {
        let full = |(of, text): &mut Lot| *of != epoch || text.len() >= LOT_BYTES;
        if let Some(full) = lot.take_if(full) {
            let _ = sender.send(full);
        }
        let fresh = || (epoch, Vec::with_capacity(LOT_BYTES + LINE_BYTES_MAX));
        let (_, text) = lot.get_or_insert_with(fresh);
        text.extend_from_slice(line);
        text.push(b'\n');
    })?;
    if let Some(last) = lot {
        let _ = sender.send(last);
    }
    Ok(())
}

fn parse_lots(lots: Receiver<Lot>, sender: &SyncSender<(Epoch, Vec<Record>)>) {
    let mut seen = NamesSeen::default();
    for (epoch, text) in lots {
        let lines = text.split(|byte| *byte == b'\n');
        let records = lines.filter_map(|line| Record::parse_checked(line, &mut seen).ok());
        let _ = sender.send((epoch, records.collect()));
    }
}

/// As [`replay`], with the lines as they stand, whose check is known to be good.
///
/// # Errors
/// A segment that is there cannot be read.
pub fn lines(dir: &Path, since: Wall, mut each: impl FnMut(Epoch, &[u8])) -> Result<()> {
    for segments in epochs(dir)? {
        let recent = segments
            .iter()
            .position(|s| is_recent(&dir.join(&s.name), since));
        let Some(recent) = recent else {
            continue;
        };
        let epoch = segments[0].epoch;
        walk(dir, &segments[recent..], |found| {
            if let Found::Line(_, line) = found {
                each(epoch, line);
            }
        })?;
    }
    Ok(())
}

/// Whether a segment may hold records from `since` on. One that is gone cannot.
pub(super) fn is_recent(path: &Path, since: Wall) -> bool {
    files::modified(path).is_some_and(|at| at.0.saturating_add(SLACK_MS) >= since.0)
}

/// The segments in `dir` by epoch, oldest first; none when there is no such directory.
///
/// # Errors
/// The directory cannot be read.
pub fn epochs(dir: &Path) -> Result<Vec<Vec<SegmentName>>> {
    let mut epochs: Vec<Vec<SegmentName>> = Vec::new();
    let mut known: HashMap<Epoch, usize> = HashMap::new();
    if !files::is_dir(dir) {
        return Ok(epochs);
    }
    for segment in list_segments(dir)? {
        let at = *known.entry(segment.epoch).or_insert(epochs.len());
        match epochs.get_mut(at) {
            Some(of_epoch) => of_epoch.push(segment),
            None => epochs.push(vec![segment]),
        }
    }
    Ok(epochs)
}

/// The last number that the history in `dir` holds of each epoch that `wanted` names.
///
/// # Errors
/// A segment that is there cannot be read.
pub fn last_numbers(dir: &Path, wanted: impl Fn(Epoch) -> bool) -> Result<HashMap<Epoch, u64>> {
    let mut last = HashMap::new();
    for segments in epochs(dir)?.iter().filter(|s| wanted(s[0].epoch)) {
        // The newest, and the one before: after a failed sync it may reach further.
        let from = segments.len().saturating_sub(2);
        let walked = walk(dir, &segments[from..], |_| {})?;
        last.insert(segments[0].epoch, walked.next - 1);
    }
    Ok(last)
}

/// Every history in the data directory: the agent's name in the fleet, its id, and the
/// directory. By name; of several machines that had one name, the latest comes last.
///
/// # Errors
/// A directory or a file that names an agent cannot be read.
pub fn histories(data: &Path) -> Result<Vec<(Name, Id, PathBuf)>> {
    let mut found = Vec::new();
    let root = data.join("history");
    for entry in files::names_in(&root)? {
        let Ok(id) = entry.parse() else { continue };
        let dir = root.join(entry);
        let written = epochs(&dir)?
            .iter()
            .filter_map(|segments| segments.last())
            .filter_map(|segment| files::modified(&dir.join(&segment.name)))
            .max();
        found.push((name_of(data, &dir, id)?, written, id, dir));
    }
    found.sort();
    let without_time = |(name, _, id, dir)| (name, id, dir);
    Ok(found.into_iter().map(without_time).collect())
}

/// Whose history lies in `dir`: what it says itself, else the agent with that id, else
/// the id stands for the name.
fn name_of(data: &Path, dir: &Path, id: Id) -> Result<Name> {
    let said = files::read_bounded(&dir.join(NAME_FILE), NAME_LEN_MAX + 2).ok();
    let said = said.and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(name) = said.and_then(|text| text.trim_end().parse().ok()) {
        return Ok(name);
    }
    for name in state_names(data)? {
        if AgentState::load(data, &name)?.id == Some(id) {
            return Ok(name);
        }
    }
    Ok(id.to_string().parse().expect("hex digits are a name"))
}

/// The agents of which a state is kept, in order.
///
/// # Errors
/// The directory cannot be read.
pub fn state_names(data: &Path) -> Result<Vec<Name>> {
    let mut names: Vec<Name> = files::names_in(&data.join("agents"))?
        .iter()
        .filter_map(|file| file.strip_suffix(".json"))
        .filter_map(|stem| stem.parse().ok())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
pub(super) mod tests;
