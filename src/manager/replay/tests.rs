//! Histories as crashes, failed syncs, retention and bad disks leave them; and what
//! makes them, for the tests of all commands that read.

use std::fs;

use super::*;
use crate::journal::{Cause, Walked};
use crate::record::{GapWhy, Span};
use made::{NOW, ONE_SEGMENT, ago, ended, epoch, files, name, resumed};

const ID: Id = Id(7);
const E: Epoch = Epoch(0xe);
const F: Epoch = Epoch(0xf);

fn replayed(dir: &Path, since: Wall) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    replay(dir, since, |epoch, record| out.push((epoch.0, record.seq))).unwrap();
    out
}

/// What a walk hands out, short: `1` `2-3?` (a hole) `4-5!` (damage) `x2` (twice).
fn walked(dir: &Path) -> (Vec<String>, Walked) {
    let segments = epochs(dir).unwrap().remove(0);
    let mut out = Vec::new();
    let walked = walk(dir, &segments, |found| {
        out.push(match found {
            Found::Line(Span { first, seq }, _) if first == seq => format!("{seq}"),
            Found::Line(Span { first, seq }, _) => format!("{first}-{seq}"),
            Found::Hole(Span { first, seq }, Cause::Nothing) => format!("{first}-{seq}?"),
            Found::Hole(Span { first, seq }, Cause::Damage) => format!("{first}-{seq}!"),
            Found::Again(count) => format!("x{count}"),
        });
    });
    (out, walked.unwrap())
}

fn shown(dir: &Path) -> String {
    walked(dir).0.join(" ")
}

#[test]
fn epochs_and_numbers_come_in_order_and_once() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, 1);
    let mut f = epoch(data.path(), ID, 2, F, 1);
    f.fill(2);
    e.fill(3);
    assert_eq!(
        replayed(&e.dir, Wall(0)),
        [(0xe, 1), (0xe, 2), (0xe, 3), (0xf, 1), (0xf, 2)]
    );
    assert_eq!(replayed(&data.path().join("none"), Wall(0)), []);
}

#[test]
fn segments_from_before_are_left_out_whole() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, 1);
    e.fill(3);
    let segments = files(&e.dir);
    made::written(&segments[0], ago(7_200_000));
    made::written(&segments[1], ago(3_600_000));
    made::written(&segments[2], NOW);
    assert_eq!(replayed(&e.dir, ago(3_600_000)), [(0xe, 2), (0xe, 3)]);
    assert_eq!(replayed(&e.dir, Wall(NOW.0 + 3_600_000)), []);
}

#[test]
fn a_torn_tail_is_not_there_yet() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    e.fill(3);
    let segment = files(&e.dir).remove(0);
    let whole = fs::read(&segment).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for len in 0..=whole.len() {
        fs::write(&segment, &whole[..len]).unwrap();
        let (found, walked) = walked(&e.dir);
        assert_eq!(
            (found.len() as u64, walked.damage.len()),
            (walked.next - 1, 0)
        );
        lengths.insert(found.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn what_a_failed_sync_left_twice_counts_once() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    e.fill(5);
    let at_five = e.base();
    e.fill(5);
    // The sync of 6 to 10 failed: they come again in a new segment, and more with them.
    let mut again = resumed(data.path(), at_five, ONE_SEGMENT);
    again.fill(7);
    assert_eq!(shown(&e.dir), "1 2 3 4 5 6 7 8 9 10 11 12");
    // The writer died after three of them: the old segment's 9 and 10 are all there is.
    let second = files(&e.dir).remove(1);
    let text = fs::read_to_string(&second).unwrap();
    let four_lines: Vec<&str> = text.split_inclusive('\n').take(4).collect();
    fs::write(&second, four_lines.concat()).unwrap();
    assert_eq!(shown(&e.dir), "1 2 3 4 5 6 7 8 9 10");
    // And the next run went on from there.
    let mut at_ten = at_five;
    at_ten.last = 10;
    resumed(data.path(), at_ten, ONE_SEGMENT).fill(2);
    assert_eq!(shown(&e.dir), "1 2 3 4 5 6 7 8 9 10 11 12");
    assert_eq!(last_numbers(&e.dir, |_| true).unwrap()[&E], 12);
    // A segment that died before it held a number supersedes nothing.
    fs::write(&second, four_lines[0]).unwrap();
    assert_eq!(shown(&e.dir), "1 2 3 4 5 6 7 8 9 10 11 12");
}

#[test]
fn holes_repeats_and_damage_are_told_apart() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    e.fill(2);
    e.put_as(5, NOW, ended("x"));
    e.put_as(5, NOW, ended("x"));
    e.gap(3, GapWhy::Disk);
    e.put_as(7, NOW, ended("x"));
    e.fill(5);
    assert_eq!(shown(&e.dir), "1 2 3-4? 5 x1 6-8 x1 x1 9 10 11 12");
    let segment = files(&e.dir).remove(0);
    made::damage(&segment, 2);
    made::damage(&segment, 8);
    made::damage(&segment, 0);
    made::damage(&segment, 11);
    let (found, walked) = walked(&e.dir);
    assert_eq!(found.join(" "), "1 2-4! 5 x1 6-8 x1 x1 9-9! 10 11");
    assert_eq!((walked.damage[0].lines, walked.damage[0].numbers), (4, 4));
}

#[test]
fn a_line_too_long_is_damage() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    e.fill(3);
    let segment = files(&e.dir).remove(0);
    let text = fs::read_to_string(&segment).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_string).collect();
    lines[2] = format!("{}\n", "x".repeat(200_000));
    fs::write(&segment, lines.concat()).unwrap();
    assert_eq!(shown(&e.dir), "1 2-2! 3");
}

#[test]
fn a_segment_that_vanished_is_passed_over() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), ID, 1, E, 1);
    e.fill(4);
    let segments = epochs(&e.dir).unwrap().remove(0);
    fs::remove_file(&files(&e.dir)[1]).unwrap();
    let mut seen = 0;
    let walked = walk(&e.dir, &segments, |found| {
        seen += u64::from(matches!(found, Found::Line(..)));
    });
    assert_eq!((seen, walked.unwrap().vanished), (3, true));
}

#[test]
fn histories_know_their_agents_and_the_latest_comes_last() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    assert_eq!(histories(data).unwrap(), []);
    for (id, at) in [(Id(1), 300), (Id(2), 100), (Id(3), 200), (Id(4), 50)] {
        let mut e = epoch(data, id, 1, E, ONE_SEGMENT);
        e.fill(1);
        made::written(&files(&e.dir)[0], Wall(at));
    }
    made::called(data, Id(1), "attic");
    made::called(data, Id(2), "attic");
    made::announced(data, "cellar", Id(3), &[]);
    fs::create_dir(data.join("history").join("lost+found")).unwrap();
    let found = histories(data).unwrap();
    let found: Vec<_> = found.iter().map(|(n, id, _)| (n.as_str(), id.0)).collect();
    let nameless = ("0000000000000004", 4);
    assert_eq!(found, [nameless, ("attic", 2), ("attic", 1), ("cellar", 3)]);
    assert_eq!(state_names(data).unwrap(), [name("cellar")]);
}

/// Data directories made for tests: histories written through the journal's own writer,
/// then torn, flipped and cut.
pub(in crate::manager) mod made {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, UNIX_EPOCH};

    use crate::journal::{Appender, Base, SyncMode, Totals, Unsynced, list_segments};
    use crate::manager::state::{self, AgentState};
    use crate::model::{Epoch, Failure, Id, Name, Sample, Wall, Why};
    use crate::proto::EpochRange;
    use crate::record::{Body, GapWhy, Record};

    /// A segment large enough for anything a test writes.
    pub const ONE_SEGMENT: u64 = 1 << 30;
    /// A moment to count from: 2026-11-24 20:01:02 UTC.
    pub const NOW: Wall = Wall(1_795_550_462_000);

    pub fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A moment `ms` milliseconds before [`NOW`].
    pub fn ago(ms: u64) -> Wall {
        Wall(NOW.0 - ms)
    }

    /// A result of target `target` that took 1 ms and began `at`.
    pub fn result(target: &str, at: Wall, ok: bool) -> Body {
        Body::Result(Sample {
            target: name(target),
            at,
            us: 1_000,
            failure: (!ok).then(|| Failure {
                why: Why::Refused,
                text: "connect to 10.0.0.7:5432: connection refused".into(),
            }),
            tries: 1,
            late_us: 0,
            addr: None,
            dns_stale: false,
            phases: Default::default(),
            retransmit: false,
            each: None,
        })
    }

    pub fn began(target: &str, interval: Duration) -> Body {
        Body::Began {
            target: name(target),
            each: None,
            address: "127.0.0.1:9000".parse().unwrap(),
            interval,
        }
    }

    pub fn ended(target: &str) -> Body {
        Body::Ended {
            target: name(target),
            each: None,
        }
    }

    pub fn start(alive: Option<Wall>) -> Body {
        Body::Start {
            alive,
            version: "0.1.0".into(),
        }
    }

    /// One epoch being written into a history.
    pub struct Writing {
        pub dir: PathBuf,
        appender: Appender,
        /// The segment written to.
        segment: PathBuf,
        seq: u64,
        totals: Totals,
    }

    /// Begins epoch `epoch`, its agent's number `order`, in the history of `id`.
    pub fn epoch(data: &Path, id: Id, order: u64, epoch: Epoch, segment_bytes: u64) -> Writing {
        let base = Base {
            agent: id,
            epoch,
            order,
            last: 0,
            totals: Totals::default(),
        };
        resumed(data, base, segment_bytes)
    }

    /// Goes on after `base`, in a new segment.
    pub fn resumed(data: &Path, base: Base, segment_bytes: u64) -> Writing {
        let dir = state::history_dir(data, base.agent);
        fs::create_dir_all(&dir).unwrap();
        Writing {
            appender: Appender::new(&dir, base, segment_bytes, SyncMode::Never, Unsynced::Kept),
            dir,
            segment: PathBuf::new(),
            seq: base.last,
            totals: base.totals,
        }
    }

    impl Writing {
        /// Where the epoch stands.
        pub fn base(&self) -> Base {
            self.appender.durable()
        }

        /// Writes the next record.
        pub fn put(&mut self, at: Wall, body: Body) {
            let seq = self.seq + 1;
            self.put_as(seq, at, body);
        }

        /// The number of the last record.
        pub fn last(&self) -> u64 {
            self.seq
        }

        /// Writes a gap over the next `count` numbers.
        pub fn gap(&mut self, count: u64, why: GapWhy) {
            let first = self.seq + 1;
            self.put_as(self.seq + count, NOW, Body::Gap { first, why });
        }

        /// Writes a record with a number of the test's own choice.
        pub fn put_as(&mut self, seq: u64, at: Wall, body: Body) {
            let gap = match body {
                Body::Gap { why, .. } => Some(why),
                _ => None,
            };
            let record = Record { seq, at, body };
            let mut line = String::new();
            record.write(&mut line);
            self.totals.add(record.span(), gap);
            self.seq = seq;
            self.appender.take(&mut line, seq, self.totals);
            if let Some(fresh) = self.appender.write().unwrap().fresh {
                self.segment = fresh.path;
            }
            // Whatever the host's clock says.
            written(&self.segment, NOW);
        }

        /// Writes `count` plain records.
        pub fn fill(&mut self, count: u64) {
            for _ in 0..count {
                self.put(NOW, ended("x"));
            }
        }
    }

    /// The files of a history, in the order of their records.
    pub fn files(dir: &Path) -> Vec<PathBuf> {
        let segments = list_segments(dir).unwrap();
        segments.iter().map(|s| dir.join(&s.name)).collect()
    }

    /// Damages one line (0 is the base line) of a segment.
    pub fn damage(path: &Path, line: usize) {
        let mut bytes = fs::read(path).unwrap();
        let mut starts = vec![0];
        let newlines = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
        starts.extend(newlines.map(|(at, _)| at + 1));
        bytes[starts[line] + 5] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    /// Makes a segment look as if it was last written then.
    pub fn written(path: &Path, at: Wall) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_millis(at.0))
            .unwrap();
    }

    /// Says whose history it is.
    pub fn called(data: &Path, id: Id, text: &str) {
        let dir = state::history_dir(data, id);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("agent"), format!("{text}\n")).unwrap();
    }

    /// Saves an agent's state that announces `epochs`, as (epoch, first, last).
    pub fn announced(data: &Path, agent: &str, id: Id, epochs: &[(Epoch, u64, u64)]) {
        let range = |&(epoch, first, last): &(Epoch, u64, u64)| EpochRange { epoch, first, last };
        let state = AgentState {
            id: Some(id),
            announced_epochs: epochs.iter().map(range).collect(),
            ..AgentState::default()
        };
        save(data, agent, &state);
    }

    pub fn save(data: &Path, agent: &str, state: &AgentState) {
        fs::create_dir_all(data.join("agents")).unwrap();
        state.save(data, &name(agent)).unwrap();
    }

    /// Compares with a golden file in `tests/data/manager`; `TCPMON_BLESS=1` writes it anew.
    pub fn golden(file: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manager");
        let path = path.join(file);
        if std::env::var_os("TCPMON_BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{file} differs; it is now:\n{text}");
    }
}
