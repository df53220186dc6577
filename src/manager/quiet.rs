//! When targets were and are left alone: each maintenance window that came about and each
//! silence that was asked for, as numbered entries in the file `quiet.json` of the data
//! directory, beside the history and never inside it.
//!
//! Pure but for loading and saving: time is an argument. What is over stays until
//! retention, whatever the fleet file says by then. What being left alone means is decided
//! by those who ask for [`QuietLog::active`].

mod asked;
mod entry;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::json::{self, Value};
use crate::model::{Name, Wall};
use crate::quiet::{Maintenance, Pattern, Span};
use crate::units::count_text;

pub use asked::{
    LASTING_DEFAULT, NOTE_LEN_MAX, TARGETS_MAX, Which, check, end, lasting, silence, stray, told,
    unsilence,
};
pub use entry::{Cause, Entry, News, moment, names, patterns, write};

/// Most entries kept, and most bytes of them; beyond, the oldest of those that are over go.
pub const ENTRIES_MAX: usize = 10_000;
const ENTRIES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest file: the above, and as much again as windows of the largest fleet file take.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most silences at a time.
pub const SILENCES_MAX: usize = 1_000;
/// How long before it opens a window is noted, so that its first second counts, too:
/// longer than the time between two looks.
const AHEAD: Duration = Duration::from_secs(5);

/// All entries that are kept, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietLog {
    entries: Vec<Entry>,
    /// Where the entries are that are not over, as of the last change.
    open: Vec<usize>,
    /// The number of the entry that comes next.
    next: u64,
}

impl Default for QuietLog {
    fn default() -> QuietLog {
        QuietLog {
            entries: Vec::new(),
            open: Vec::new(),
            next: 1,
        }
    }
}

impl QuietLog {
    /// Reads the file of a data directory; without one, nothing was ever left alone.
    ///
    /// # Errors
    /// The file is there and cannot be read, or holds something else.
    pub fn load(data: &Path) -> Result<QuietLog> {
        QuietLog::load_at(data, clock::wall())
    }

    fn load_at(data: &Path, now: Wall) -> Result<QuietLog> {
        let path = path(data);
        if files::stamp(&path).is_none() {
            return Ok(QuietLog::default());
        }
        let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
        let doing = || format!("read {}", path.display());
        let value = json::parse(&bytes).context(doing)?;
        let mut log = parse(&value)
            .ok_or_else(|| Error::new(format!("{}: not a list of silences", doing())))?;
        log.reopen(now);
        Ok(log)
    }

    /// Replaces the file of a data directory.
    pub fn save(&self, data: &Path) -> Result<()> {
        let mut text = String::new();
        json::object(&mut text, |o| {
            o.u64("next", self.next).array("entries", |a| {
                for entry in &self.entries {
                    a.object(|o| write(o, entry));
                }
            });
        });
        text.push('\n');
        files::replace(&path(data), text.as_bytes())
    }

    /// Notes the windows that open about now, each occurrence once and with its planned
    /// span, and ends those that are open and planned no longer. Gives back all that began
    /// and ended, silences whose time is over among it.
    pub fn observe(&mut self, windows: &[Maintenance], now: Wall) -> Vec<News> {
        let soon = now.after(AHEAD);
        let planned = occurrences(windows, [now, soon]);
        let over = self.open.iter().map(|i| &self.entries[*i]);
        let over = over.filter(|e| e.span.until <= now).cloned();
        let mut news: Vec<News> = over.map(News::Over).collect();
        self.reopen(now);
        for at in self.open.clone() {
            let entry = &mut self.entries[at];
            let stays = planned.iter().any(|(w, span)| entry.is_of(w, *span));
            if entry.cause == Cause::Maintenance && !stays {
                entry.span.until = now.max(entry.span.from);
                news.push(News::Ended(entry.clone()));
            }
        }
        self.reopen(now);
        for (window, span) in planned {
            let mut open = self.open.iter().map(|i| &self.entries[*i]);
            if span.from <= soon && !open.any(|e| e.is_of(window, span)) {
                let entry = self.push(Entry::planned(window, span));
                news.push(News::Began(entry));
            }
        }
        self.settle(now);
        news
    }

    /// Leaves targets alone from now on.
    ///
    /// # Errors
    /// There are too many silences, or one of this kind is not allowed: see the limits.
    pub fn silence(
        &mut self,
        targets: Vec<Pattern>,
        until: Wall,
        note: &str,
        now: Wall,
    ) -> Result<&Entry> {
        check(&targets, until, note, now).map_err(Error::new)?;
        if self.silences(now).count() >= SILENCES_MAX {
            let most = count_text(SILENCES_MAX as u64);
            return Err(Error::new(format!("there are {most} silences already")));
        }
        let span = Span { from: now, until };
        let no = self.push(Entry::silence(targets, span, note)).no;
        self.settle(now);
        let at = self.entries.binary_search_by_key(&no, |e| e.no);
        Ok(&self.entries[at.expect("an open entry is kept")])
    }

    /// Ends silences; those that ended. Where one of several patterns of a silence is
    /// lifted, the others go on under a new number.
    pub fn unsilence(&mut self, which: &Which, now: Wall) -> Vec<Entry> {
        let meant = |entry: &Entry| match which {
            Which::All => true,
            Which::Number(no) => entry.no == *no,
            Which::Pattern(pattern) => entry.targets.contains(pattern),
        };
        let nos: Vec<u64> = self
            .silences(now)
            .filter(|e| meant(e))
            .map(|e| e.no)
            .collect();
        let (mut ended, mut rests) = (Vec::new(), Vec::new());
        for entry in self.entries.iter_mut().filter(|e| nos.contains(&e.no)) {
            rests.extend(rest_of(entry, which));
            entry.span.until = now.max(entry.span.from);
            ended.push(entry.clone());
        }
        for (targets, until, note) in rests {
            let span = Span { from: now, until };
            self.push(Entry::silence(targets, span, &note));
        }
        self.settle(now);
        ended
    }

    /// Why this target is left alone now: of several reasons the one that ends last.
    pub fn active(&self, target: &Name, now: Wall) -> Option<&Entry> {
        let open = self.open.iter().map(|i| &self.entries[*i]);
        let meant = |e: &&Entry| e.targets.iter().any(|p| p.matches(target.as_str()));
        open.filter(|e| e.span.contains(now))
            .filter(meant)
            .max_by_key(|e| e.span.until)
    }

    /// Why this target was left alone at some time, also one long past.
    pub fn was(&self, target: &Name, at: Wall) -> Option<&Entry> {
        let meant = |e: &&Entry| e.targets.iter().any(|p| p.matches(target.as_str()));
        let mut entries = self.entries.iter().rev();
        entries.find(|e| e.span.contains(at) && meant(e))
    }

    /// All of them, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those that are not over, oldest first.
    pub fn open(&self, now: Wall) -> impl Iterator<Item = &Entry> {
        let open = self.open.iter().map(|i| &self.entries[*i]);
        open.filter(move |e| e.span.until > now)
    }

    /// Those that are not over, and the next occurrence of each window that is not among
    /// them, as an entry without a number; by beginning.
    pub fn open_and_planned(&self, windows: &[Maintenance], now: Wall) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.open(now).cloned().collect();
        for (window, span) in occurrences(windows, [now, now]) {
            if !entries.iter().any(|e| e.is_of(window, span)) {
                entries.push(Entry::planned(window, span));
            }
        }
        entries.sort_by_key(|e| (e.span, e.no));
        entries
    }

    /// Forgets what was over before this time; whether there was any.
    pub fn prune(&mut self, before: Wall) -> bool {
        let open: Vec<u64> = self.open.iter().map(|i| self.entries[*i].no).collect();
        let count = self.entries.len();
        self.entries.retain(|e| e.span.until >= before);
        let is_open = |(at, e): (usize, &Entry)| open.contains(&e.no).then_some(at);
        self.open = self
            .entries
            .iter()
            .enumerate()
            .filter_map(is_open)
            .collect();
        self.entries.len() < count
    }

    fn silences(&self, now: Wall) -> impl Iterator<Item = &Entry> {
        self.open(now).filter(|e| e.cause == Cause::Silence)
    }

    /// Gives an entry its number and keeps it.
    fn push(&mut self, mut entry: Entry) -> Entry {
        entry.no = self.next;
        self.next += 1;
        self.open.push(self.entries.len());
        self.entries.push(entry.clone());
        entry
    }

    /// Keeps the limits, then [`QuietLog::reopen`].
    fn settle(&mut self, now: Wall) {
        let mut many = self.entries.len().saturating_sub(ENTRIES_MAX);
        let bytes = self.entries.iter().map(Entry::bytes).sum::<usize>();
        let mut bytes = bytes.saturating_sub(ENTRIES_BYTES_MAX);
        if many > 0 || bytes > 0 {
            self.entries.retain(|entry| {
                let stays = entry.span.until > now || (many == 0 && bytes == 0);
                if !stays {
                    many = many.saturating_sub(1);
                    bytes = bytes.saturating_sub(entry.bytes());
                }
                stays
            });
        }
        self.reopen(now);
    }

    /// Finds the entries that are not over: anew, as clocks may be set back.
    fn reopen(&mut self, now: Wall) {
        let all = self.entries.iter().enumerate();
        let open = all.filter(|(_, e)| e.span.until > now);
        self.open = open.map(|(at, _)| at).collect();
    }
}

/// The spans with availability left out that touch `since..until`, cut to it.
pub fn excluded(
    log: &QuietLog,
    since: Wall,
    until: Wall,
) -> impl Iterator<Item = (&[Pattern], Span)> {
    let entries = log.entries.iter().filter(|e| e.exclude);
    entries.filter_map(move |e| {
        let span = Span {
            from: e.span.from.max(since),
            until: e.span.until.min(until),
        };
        (span.from < span.until).then_some((&*e.targets, span))
    })
}

/// What goes on of a silence of which one pattern is lifted.
fn rest_of(entry: &Entry, which: &Which) -> Option<(Vec<Pattern>, Wall, String)> {
    let Which::Pattern(lifted) = which else {
        return None;
    };
    let mut rest = entry.targets.clone();
    rest.retain(|pattern| pattern != lifted);
    (!rest.is_empty()).then(|| (rest, entry.span.until, entry.note.clone()))
}

/// The occurrences that are the next ones at any of these times, each once.
fn occurrences(windows: &[Maintenance], times: [Wall; 2]) -> Vec<(&Maintenance, Span)> {
    let of = |window| times.map(|at| next_of(window, at));
    let mut found: Vec<(&Maintenance, Span)> = Vec::new();
    for (window, span) in windows.iter().flat_map(of).flatten() {
        if found.last() != Some(&(window, span)) {
            found.push((window, span));
        }
    }
    found
}

fn next_of(window: &Maintenance, at: Wall) -> Option<(&Maintenance, Span)> {
    window.when.next(at).map(|span| (window, span))
}

fn path(data: &Path) -> PathBuf {
    data.join("quiet.json")
}

fn parse(value: &Value<'_>) -> Option<QuietLog> {
    let entries = value.get("entries")?.array()?.iter().map(entry::read);
    let entries: Vec<Entry> = entries.collect::<Option<_>>()?;
    let next = value.get("next")?.u64()?;
    let numbers = entries.iter().map(|e| e.no).chain([next]);
    numbers.is_sorted_by(|a, b| a < b).then_some(QuietLog {
        entries,
        open: Vec::new(),
        next,
    })
}

#[cfg(test)]
mod tests;
