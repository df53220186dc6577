//! The journal against torn, flipped, failing and vanishing files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::clock::simulated::Dice;
use crate::files::{self, simulated};
use crate::model::{Epoch, Id, Wall};
use crate::record::{self, Body, GapWhy, Record, Span};

const AGENT: Id = Id(7);
const EPOCH: Epoch = Epoch(0xe);
const NOW: Wall = Wall(1000);

fn line(seq: u64) -> String {
    let mut line = String::new();
    let body = Body::Ended {
        target: format!("t{seq}").parse().unwrap(),
        each: None,
    };
    record::write_line(&mut line, Span { first: seq, seq }, Wall(seq), &body);
    line
}

fn base(epoch: Epoch, order: u64) -> Base {
    Base {
        agent: AGENT,
        epoch,
        order,
        last: 0,
        totals: Totals::default(),
    }
}

fn stored(stored: u64) -> Totals {
    Totals {
        stored,
        ..Totals::default()
    }
}

/// Writes records `from..=to`, each in a write of its own, and keeps an index as the programs do.
fn append(
    appender: &mut Appender,
    index: &Mutex<Index>,
    from: u64,
    to: u64,
) -> crate::error::Result<()> {
    for seq in from..=to {
        appender.take(&mut line(seq), seq, stored(seq));
        write(appender, index)?;
    }
    appender.sync()
}

fn write(appender: &mut Appender, index: &Mutex<Index>) -> crate::error::Result<()> {
    let epoch = appender.durable().epoch;
    let written = appender.write()?;
    let mut index = index.lock().unwrap();
    if let Some(segment) = written.fresh {
        index.add(segment);
    }
    index.grow(epoch, written.last, written.bytes, stored(written.last));
    Ok(())
}

fn empty_index(dir: &Path) -> Mutex<Index> {
    Mutex::new(Index::open(dir, Depth::Everything).unwrap().0)
}

fn appender(dir: &Path, segment_bytes: u64) -> Appender {
    Appender::new(
        dir,
        base(EPOCH, 1),
        segment_bytes,
        SyncMode::Interval,
        Unsynced::Kept,
    )
}

/// What a reader from number `next` on is given, as spans and gap reasons.
fn follow(index: &Mutex<Index>, next: u64, until: u64) -> Vec<(u64, u64, Option<GapWhy>)> {
    let mut out = Vec::new();
    let mut follower = Follower::new(EPOCH, next);
    follower
        .read(index, until, usize::MAX / 2, NOW, &mut out)
        .unwrap();
    out.split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| Record::parse(l).unwrap())
        .map(|r| match r.body {
            Body::Gap { first, why } => (first, r.seq, Some(why)),
            _ => (r.seq, r.seq, None),
        })
        .collect()
}

fn whole(from: u64, to: u64) -> Vec<(u64, u64, Option<GapWhy>)> {
    (from..=to).map(|n| (n, n, None)).collect()
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn base_lines_and_file_names_read_back() {
    let base = Base {
        last: 41,
        totals: Totals {
            stored: 30,
            summarised: 1,
            dropped: 10,
        },
        ..base(EPOCH, 3)
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(base.file_name());
    fs::write(&path, base.line()).unwrap();
    assert_eq!(base_of(&path).unwrap(), base);
    assert_eq!(Base::parse_name(&base.file_name()), Some((3, EPOCH, 42)));
    for bad in [
        "x.jsonl",
        "1-2-3.jsonl",
        "00000001-000000000000000e-0.jsonl",
        "00000001-000000000000000e-1",
    ] {
        assert_eq!(Base::parse_name(bad), None, "{bad}");
    }
}

#[test]
fn records_come_back_across_segments_from_any_number() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    let mut appender = appender(dir.path(), 300);
    append(&mut appender, &index, 1, 30).unwrap();
    assert!(files_in(dir.path()).len() > 5);
    for next in 1..=31 {
        assert_eq!(follow(&index, next, 30), whole(next, 30));
    }
    assert_eq!(follow(&index, 5, 12), whole(5, 12));
    for depth in [Depth::Everything, Depth::Tails] {
        let (again, notes) = Index::open(dir.path(), depth).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(again.epochs(), index.lock().unwrap().epochs());
        assert_eq!(again.epochs()[0].totals, stored(30));
    }
}

#[test]
fn a_reader_goes_on_as_the_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    let mut appender = appender(dir.path(), 300);
    let mut follower = Follower::new(EPOCH, 1);
    let mut out = Vec::new();
    for seq in 1..=20 {
        append(&mut appender, &index, seq, seq).unwrap();
        follower
            .read(&index, seq - 1, 1 << 20, NOW, &mut out)
            .unwrap();
        assert_eq!(follower.next(), seq);
        follower.read(&index, seq, 1 << 20, NOW, &mut out).unwrap();
        assert_eq!(follower.next(), seq + 1);
    }
    let text: String = (1..=20).map(line).collect();
    assert_eq!(String::from_utf8(out).unwrap(), text);
}

#[test]
fn a_segment_cut_at_any_byte_keeps_what_was_whole() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 1 << 20), &index, 1, 5).unwrap();
    let path = files_in(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let (index, notes) = Index::open(dir.path(), Depth::Everything).unwrap();
        assert_eq!(notes, Vec::<String>::new(), "cut at {len}");
        let lines = bytes[..len].iter().filter(|b| **b == b'\n').count() as u64;
        let last = index.epochs().first().map_or(0, |e| e.last());
        assert_eq!(last, lines.saturating_sub(1), "cut at {len}");
        assert_eq!(follow(&Mutex::new(index), 1, last), whole(1, last));
    }
}

#[test]
fn any_flipped_byte_becomes_a_gap_or_an_earlier_end() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 1 << 20), &index, 1, 5).unwrap();
    let path = files_in(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x15;
        fs::write(&path, &bad).unwrap();
        let (index, _) = Index::open(dir.path(), Depth::Everything).unwrap();
        let last = index.epochs().first().map_or(0, |e| e.last());
        // A flipped newline joins two lines: the last of them may be lost with it.
        assert!(last >= 3, "byte {at}: last is {last}");
        let got = follow(&Mutex::new(index), 1, last);
        let mut next = 1;
        for (first, seq, why) in got {
            assert_eq!(first, next, "byte {at}");
            assert!(why.is_none() || why == Some(GapWhy::Damaged));
            next = seq + 1;
        }
        assert_eq!(next, last + 1, "byte {at}");
    }
}

#[test]
fn a_missing_segment_and_a_damaged_end_become_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 300), &index, 1, 12).unwrap();
    let index = index.into_inner().unwrap();
    let segments = index.epochs()[0].segments.clone();
    fs::remove_file(&segments[1].path).unwrap();
    let third = fs::read(&segments[2].path).unwrap();
    let cut = third.len() - 3;
    fs::write(&segments[2].path, &third[..cut]).unwrap();
    let (index, _) = Index::open(dir.path(), Depth::Everything).unwrap();
    let got = follow(&Mutex::new(index), 1, 12);
    let gaps: Vec<_> = got.iter().filter(|(_, _, why)| why.is_some()).collect();
    let (hole, torn) = (&segments[1], &segments[2]);
    assert_eq!(
        gaps,
        [
            &(hole.base.last + 1, hole.last, Some(GapWhy::Damaged)),
            &(torn.last, torn.last, Some(GapWhy::Damaged)),
        ]
    );
    assert_eq!(
        got.iter()
            .map(|(first, seq, _)| seq - first + 1)
            .sum::<u64>(),
        12
    );
}

/// The directory of a simulated disk that fails after so many operations.
fn failing(operations: u64) -> (simulated::Simulated, PathBuf) {
    let disk = simulated::start();
    let dir = PathBuf::from("/journal");
    files::ensure_dir(&dir).unwrap();
    allow(Some(operations));
    (disk, dir)
}

fn allow(operations: Option<u64>) {
    simulated::with(|disk| {
        disk.fail(
            Path::new("/journal"),
            operations.map(|n| (n, simulated::Failing::Broken)),
        )
    });
}

#[test]
fn lines_that_were_let_go_of_leave_no_hole_after_a_failure() {
    for failing_at in 0..40 {
        let (_disk, dir) = failing(failing_at);
        let index = empty_index(&dir);
        let (mode, unsynced) = (SyncMode::Interval, Unsynced::LetGo);
        let mut appender = Appender::new(&dir, base(EPOCH, 1), 400, mode, unsynced);
        let mut lost = false;
        for seq in 1..=12 {
            let before = appender.is_dirty();
            appender.take(&mut line(seq), seq, stored(seq));
            let done = write(&mut appender, &index).and_then(|()| match seq % 3 {
                0 => appender.sync(),
                _ => Ok(()),
            });
            // Whoever goes on all the same is refused, unless there was nothing to lose.
            assert!(!lost || done.is_err(), "failing at {failing_at}, {seq}");
            lost |= done.is_err() && before;
            if done.is_err() {
                allow(None);
            }
        }
        let durable = appender.durable().last;
        assert_eq!(follow(&index, 1, durable), whole(1, durable));
        let (index, _) = Index::open(&dir, Depth::Everything).unwrap();
        let last = index.epoch(EPOCH).map_or(0, |e| e.last());
        assert!(last >= durable);
        assert_eq!(follow(&Mutex::new(index), 1, last), whole(1, last));
    }
}

#[test]
fn whatever_write_or_sync_fails_every_record_is_kept_once() {
    for mode in [SyncMode::Always, SyncMode::Interval, SyncMode::Never] {
        for failing_at in 0..40 {
            let (_disk, dir) = failing(failing_at);
            let index = empty_index(&dir);
            let mut appender = Appender::new(&dir, base(EPOCH, 1), 400, mode, Unsynced::Kept);
            let mut failures = 0;
            for seq in 1..=12 {
                appender.take(&mut line(seq), seq, stored(seq));
                if write(&mut appender, &index).is_err()
                    || (seq % 3 == 0 && appender.sync().is_err())
                {
                    failures += 1;
                    allow((failures < 3).then_some(2));
                }
            }
            allow(None);
            write(&mut appender, &index).unwrap();
            appender.sync().unwrap();
            assert_eq!(appender.durable().last, 12);
            assert_eq!(
                follow(&index, 1, 12),
                whole(1, 12),
                "{mode:?} failing at {failing_at}"
            );
            let (index, notes) = Index::open(&dir, Depth::Everything).unwrap();
            assert_eq!(index.epochs()[0].totals, stored(12), "{notes:?}");
            assert_eq!(follow(&Mutex::new(index), 1, 12), whole(1, 12));
        }
    }
}

#[test]
fn what_was_durable_outlives_a_power_cut() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let (_disk, dir) = failing(dice.below(30));
        let index = empty_index(&dir);
        let mode = *dice.one_of(&[SyncMode::Always, SyncMode::Interval]);
        let mut appender = Appender::new(&dir, base(EPOCH, 1), 400, mode, Unsynced::Kept);
        for seq in 1..=1 + dice.below(12) {
            appender.take(&mut line(seq), seq, stored(seq));
            let failed = write(&mut appender, &index).is_err();
            if failed || (dice.once_in(3) && appender.sync().is_err()) {
                allow(dice.once_in(2).then_some(3));
            }
        }
        let durable = appender.durable().last;
        drop(appender);
        simulated::with(|disk| disk.cut_power(&dir, &mut dice));
        let (index, _) = Index::open(&dir, Depth::Everything).unwrap();
        let last = index.epoch(EPOCH).map_or(0, |e| e.last());
        assert!(
            last >= durable,
            "seed {seed}: {durable} durable, {last} there"
        );
        assert_eq!(follow(&Mutex::new(index), 1, durable), whole(1, durable));
    }
}

#[test]
fn the_oldest_segments_become_one_gap() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 300), &index, 1, 30).unwrap();
    let mut thinned = 0;
    while index.lock().unwrap().drop_oldest(EPOCH, NOW).unwrap() {
        thinned += 1;
        let got = follow(&index, 1, 30);
        let (first, last, why) = got[0];
        assert_eq!((first, why), (1, Some(GapWhy::SpoolLimit)));
        assert_eq!(got[1..], whole(last + 1, 30));
        assert_eq!(follow(&index, 2, 30)[0], (2, last, why));
        let (again, _) = Index::open(dir.path(), Depth::Everything).unwrap();
        assert_eq!(follow(&Mutex::new(again), 1, 30), got);
    }
    assert!(thinned > 5);
    assert_eq!(files_in(dir.path()).len(), 2);
}

#[test]
fn a_segment_that_holds_nothing_does_not_stay_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let empty = base(Epoch(0xa), 1);
    fs::write(dir.path().join(empty.file_name()), empty.line()).unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 300), &index, 1, 3).unwrap();
    let mut lock = index.lock().unwrap();
    assert_eq!(lock.epochs()[0].epoch, Epoch(0xa));
    assert!(lock.drop_oldest(EPOCH, NOW).unwrap());
    assert_eq!((lock.epochs().len(), lock.epochs()[0].epoch), (1, EPOCH));
}

#[test]
fn acknowledged_segments_go_and_the_live_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 300), &index, 1, 30).unwrap();
    let mut lock = index.lock().unwrap();
    let second = lock.epochs()[0].segments[1].clone();
    lock.remove_through(EPOCH, second.last, Some(EPOCH))
        .unwrap();
    assert_eq!(lock.epochs()[0].first(), second.last + 1);
    drop(lock);
    let got = follow(&index, 1, 30);
    assert_eq!(got[0], (1, second.last, Some(GapWhy::Deleted)));
    let mut lock = index.lock().unwrap();
    lock.remove_through(EPOCH, 30, Some(EPOCH)).unwrap();
    assert_eq!(lock.epochs()[0].segments.len(), 1);
    lock.remove_through(EPOCH, 30, None).unwrap();
    assert!(lock.epochs().is_empty() && files_in(dir.path()).is_empty());
}

#[test]
fn a_stub_keeps_where_an_epoch_ended() {
    let dir = tempfile::tempdir().unwrap();
    let index = empty_index(dir.path());
    append(&mut appender(dir.path(), 300), &index, 1, 30).unwrap();
    let mut lock = index.lock().unwrap();
    lock.to_stub(AGENT, EPOCH).unwrap();
    let (again, notes) = Index::open(dir.path(), Depth::Tails).unwrap();
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(again.epochs(), lock.epochs());
    assert_eq!(
        (again.epochs()[0].last(), again.epochs()[0].totals),
        (30, stored(30))
    );
    assert_eq!(files_in(dir.path()).len(), 1);
}
