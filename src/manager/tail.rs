//! Following the histories in a data directory as they grow, whoever writes them: what
//! `watch` shows, exports send and the status page counts. Reads only; segments that appear,
//! grow or vanish meanwhile are normal.
//!
//! Always: every number of an epoch is handed out once, in order, as part of a line or of a
//! hole; a place that was kept is gone on from, whatever was deleted since.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::replay::{histories, is_recent};
use crate::error::Result;
use crate::files;
use crate::journal::{Item, Scanner, SegmentName, list_segments};
use crate::model::{Epoch, Id, Name, Wall};
use crate::record::Span;

/// How far each epoch was followed: the last number handed out.
pub type Places = HashMap<(Id, Epoch), u64>;

/// Where following starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// With the segments that may hold something from this time on.
    Since(Wall),
    /// After these numbers; with epochs that are not among them from their beginning.
    After(Places),
}

/// Something that came.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// Whose it is, as the fleet names it.
    pub agent: &'a Name,
    pub id: Id,
    pub epoch: Epoch,
    pub span: Span,
    /// The record; `None` where none stands for these numbers any more.
    pub line: Option<&'a [u8]>,
}

/// Whether there is more to be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    Yes,
    No,
}

/// A place in every history of a data directory.
#[derive(Debug)]
pub struct Tail {
    data: PathBuf,
    epochs: HashMap<(Id, Epoch), EpochTail>,
    /// Where epochs begin that were there from the start: `None` once a look has opened all
    /// of them; of kept places those remain whose epochs could not be opened yet.
    start: Option<Start>,
}

/// How reading on in a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Enough,
    End,
    Failed,
}

#[derive(Debug)]
struct EpochTail {
    segment: SegmentName,
    scanner: Scanner,
    /// The segment's size when it was last read to its end.
    seen_bytes: u64,
}

impl Tail {
    /// Follows the histories in `data`.
    pub fn new(data: &Path, start: Start) -> Tail {
        Tail {
            data: data.to_path_buf(),
            epochs: HashMap::new(),
            start: Some(start),
        }
    }

    /// Hands out everything that came since the last call. With [`Start::Now`] the first
    /// call only finds out where things end.
    pub fn poll(&mut self, each: impl FnMut(Heard<'_>)) -> Result<()> {
        self.poll_some(usize::MAX, each).map(drop)
    }

    /// The same, at most `most` lines of each epoch.
    pub fn poll_some(&mut self, most: usize, mut each: impl FnMut(Heard<'_>)) -> Result<More> {
        let histories = histories(&self.data)?;
        let (mut seen, mut more, mut is_whole) = (HashSet::new(), More::No, true);
        for (agent, id, dir) in histories {
            let segments = list_segments(&dir)?;
            for group in segments.chunk_by(|a, b| a.epoch == b.epoch) {
                let epoch = group[0].epoch;
                seen.insert((id, epoch));
                let mut left = most;
                let mut hear = |span, line: Option<&[u8]>| {
                    left -= usize::from(line.is_some());
                    each(Heard {
                        agent: &agent,
                        id,
                        epoch,
                        span,
                        line,
                    });
                    left > 0
                };
                match self.tail_of(id, &dir, group) {
                    Some(tail) => {
                        if tail.follow(&dir, group, &mut hear) == More::Yes {
                            more = More::Yes;
                        }
                    }
                    None => is_whole = false,
                }
            }
        }
        self.epochs.retain(|key, _| seen.contains(key));
        match &mut self.start {
            Some(Start::After(places)) => {
                places.retain(|key, _| seen.contains(key) && !self.epochs.contains_key(key));
            }
            Some(_) if is_whole => self.start = None,
            _ => {}
        }
        Ok(more)
    }

    /// How far each epoch was handed out.
    pub fn places(&self) -> Places {
        let mut places = match &self.start {
            Some(Start::After(places)) => places.clone(),
            _ => Places::new(),
        };
        let place = |(key, tail): (&(Id, Epoch), &EpochTail)| (*key, tail.scanner.next() - 1);
        places.extend(self.epochs.iter().map(place));
        places
    }

    /// The place in one epoch. One that can't be opened now is tried again next time.
    fn tail_of(&mut self, id: Id, dir: &Path, segments: &[SegmentName]) -> Option<&mut EpochTail> {
        let newest = segments.last()?;
        let place = match self.epochs.entry((id, newest.epoch)) {
            Entry::Occupied(known) => return Some(known.into_mut()),
            Entry::Vacant(place) => place,
        };
        let from = |first: &SegmentName| EpochTail::open(dir, first, first.first);
        let from_its_end = || {
            let mut tail = from(newest)?;
            let read = tail.read_on(dir, &mut |_, _| true);
            (read != Read::Failed).then_some(tail)
        };
        let tail = match &self.start {
            None => from(&segments[0])?,
            Some(Start::Now) => from_its_end()?,
            Some(Start::Since(since)) => {
                let recent = |s: &&SegmentName| is_recent(&dir.join(&s.name), *since);
                match segments.iter().find(recent) {
                    Some(first) => from(first)?,
                    None => from_its_end()?,
                }
            }
            Some(Start::After(places)) => match places.get(place.key()) {
                None => from(&segments[0])?,
                Some(last) => {
                    let next = last + 1;
                    let holds = segments.iter().rfind(|s| s.first <= next);
                    EpochTail::open(dir, holds.unwrap_or(&segments[0]), next)?
                }
            },
        };
        Some(place.insert(tail))
    }
}

impl EpochTail {
    fn open(dir: &Path, segment: &SegmentName, next: u64) -> Option<EpochTail> {
        Some(EpochTail {
            segment: segment.clone(),
            scanner: Scanner::open(&dir.join(&segment.name), next).ok()?,
            seen_bytes: 0,
        })
    }

    /// Reads on through the epoch's segments, until `each` says that it is enough.
    fn follow(
        &mut self,
        dir: &Path,
        segments: &[SegmentName],
        each: &mut impl FnMut(Span, Option<&[u8]>) -> bool,
    ) -> More {
        loop {
            match self.read_on(dir, each) {
                Read::Enough => return More::Yes,
                Read::End => {}
                // What is there is not passed over: it is read again from where it failed.
                Read::Failed if segments.contains(&self.segment) => {
                    let again = EpochTail::open(dir, &self.segment, self.scanner.next());
                    *self = match again {
                        Some(again) => again,
                        None => return More::No,
                    };
                    return More::No;
                }
                Read::Failed => {}
            }
            let newer = segments.iter().find(|s| s.first > self.segment.first);
            let newer = newer.and_then(|s| EpochTail::open(dir, s, self.scanner.next()));
            match newer {
                Some(newer) => *self = newer,
                None => return More::No,
            }
        }
    }

    fn read_on(&mut self, dir: &Path, each: &mut impl FnMut(Span, Option<&[u8]>) -> bool) -> Read {
        let bytes = files::stamp(&dir.join(&self.segment.name)).map_or(0, |(_, len, _)| len);
        if bytes == self.seen_bytes && bytes > 0 {
            return Read::End;
        }
        loop {
            let goes_on = match self.scanner.item() {
                Ok(Item::Line(span, line)) => each(span, Some(line)),
                Ok(Item::Hole(span)) => each(span, None),
                Ok(Item::End) => {
                    self.seen_bytes = bytes;
                    return Read::End;
                }
                Err(_) => return Read::Failed,
            };
            if !goes_on {
                return Read::Enough;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::history::History;
    use crate::record::{self, Body};

    const ID: Id = Id(7);
    const E: Epoch = Epoch(0xe);
    const F: Epoch = Epoch(0xf);

    fn history(data: &Path) -> History {
        History::open(data, ID, &"attic".parse().unwrap()).unwrap()
    }

    /// Stores numbers `from..=to`; a new writer makes a new segment.
    fn store(data: &Path, epoch: Epoch, from: u64, to: u64) {
        let mut history = history(data);
        for seq in from..=to {
            let mut line = String::new();
            let body = Body::Ended {
                target: "web".parse().unwrap(),
                each: None,
            };
            record::write_line(&mut line, Span { first: seq, seq }, Wall(1), &body);
            history.take(epoch, line.trim_end().as_bytes()).unwrap();
        }
        history.write().unwrap();
        history.sync().unwrap();
    }

    fn heard(tail: &mut Tail, most: usize) -> (Vec<String>, More) {
        let mut all = Vec::new();
        let more = tail.poll_some(most, |heard| {
            let what = if heard.line.is_some() { "" } else { "hole " };
            let Span { first, seq } = heard.span;
            let range = if first == seq {
                seq.to_string()
            } else {
                format!("{first}-{seq}")
            };
            all.push(format!("{what}{:x}:{range}", heard.epoch.0));
        });
        (all, more.unwrap())
    }

    #[test]
    fn what_comes_is_handed_out_once_in_order_and_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        store(data, E, 1, 3);
        let mut tail = Tail::new(data, Start::Now);
        assert_eq!(heard(&mut tail, 9), (vec![], More::No));
        assert_eq!(tail.places(), HashMap::from([((ID, E), 3)]));
        store(data, E, 4, 5);
        store(data, E, 6, 6);
        store(data, F, 1, 1);
        let (part, more) = heard(&mut tail, 2);
        assert_eq!(
            (part.join(" "), more),
            ("e:4 e:5 f:1".to_string(), More::Yes)
        );
        assert_eq!(tail.places()[&(ID, E)], 5);
        assert_eq!(heard(&mut tail, 2), (vec!["e:6".to_string()], More::No));
        assert_eq!(heard(&mut tail, 2), (vec![], More::No));
    }

    #[test]
    fn a_kept_place_is_gone_on_from_and_what_was_deleted_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        for (from, to) in [(1, 3), (4, 5), (6, 8)] {
            store(data, E, from, to);
        }
        store(data, F, 1, 2);
        let all = |start| heard(&mut Tail::new(data, start), 99).0.join(" ");
        let after = |seq| Start::After(HashMap::from([((ID, E), seq)]));
        assert_eq!(all(after(4)), "e:5 e:6 e:7 e:8 f:1 f:2");
        assert_eq!(all(after(8)), "f:1 f:2");
        assert_eq!(
            all(Start::Since(Wall(0))),
            "e:1 e:2 e:3 e:4 e:5 e:6 e:7 e:8 f:1 f:2"
        );
        assert_eq!(all(Start::Since(Wall(u64::MAX))), "");
        let dir = crate::manager::state::history_dir(data, ID);
        for segment in &list_segments(&dir).unwrap()[..2] {
            std::fs::remove_file(dir.join(&segment.name)).unwrap();
        }
        assert_eq!(all(after(2)), "hole e:3-5 e:6 e:7 e:8 f:1 f:2");
    }

    #[cfg(unix)]
    #[test]
    fn a_place_is_kept_while_its_epoch_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        store(data, E, 1, 3);
        let segments = list_segments(&crate::manager::state::history_dir(data, ID)).unwrap();
        let path = crate::manager::state::history_dir(data, ID).join(&segments[0].name);
        let aside = data.join("aside");
        // There by name, and not to be opened.
        std::fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink(data.join("nowhere"), &path).unwrap();
        let places = HashMap::from([((ID, E), 2)]);
        let mut tail = Tail::new(data, Start::After(places.clone()));
        let mut now = Tail::new(data, Start::Now);
        assert_eq!(heard(&mut tail, 9), (vec![], More::No));
        assert_eq!(heard(&mut now, 9), (vec![], More::No));
        assert_eq!(tail.places(), places);
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(heard(&mut tail, 9), (vec!["e:3".to_string()], More::No));
        assert_eq!(heard(&mut now, 9), (vec![], More::No));
        assert_eq!(tail.places(), HashMap::from([((ID, E), 3)]));
    }
}
