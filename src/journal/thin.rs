//! Making a segment smaller: plain results become sums, all else stays as it is.
//!
//! A result is plain when it answered at the first try, on time, and its row had answered
//! before, or failed once only. A stretch of numbers of plain results becomes one summary line; what they come
//! to, row by row, is told for up to half an hour of them together, by the first
//! summaries of that time. So failures in between, which cut stretches short, cost little
//! more than their own lines, and whatever is kept keeps its place and its number. Where a
//! row failed twice in a row, or was not probed for a while, its sums begin anew: within
//! sums, results lie evenly in time.

use std::collections::HashMap;
use std::time::Duration;

use super::index::Segment;
use super::segment::{Item, Scanner};
use crate::error::Result;
use crate::model::{Row, Sample, Wall};
use crate::record::{self, Body, GapWhy, Record, Span, Sums};

/// Results of so long are summed up together.
const WINDOW: Duration = Duration::from_secs(1800);
/// Rows one line tells of, so that it stays well below the longest.
const SUMS_PER_LINE: usize = 100;
/// A rest of so many usual ones between two results is a hole.
const HOLE_RESTS: u64 = 3;
/// What is left of a segment has to be below this part of it, else it is not worth it.
const WORTH: (u64, u64) = (3, 4);

/// The segment's text, thinned; `None` where that is not worth it. No summary goes on
/// beyond one of the numbers `cuts`: whoever has got as far as that lacks it whole.
///
/// # Errors
/// The segment cannot be read.
pub fn thin(segment: &Segment, cuts: &[u64]) -> Result<Option<String>> {
    let text = summarised(segment, cuts)?;
    let worth = (text.len() as u64) < segment.bytes.saturating_mul(WORTH.0) / WORTH.1;
    Ok(worth.then_some(text))
}

fn summarised(segment: &Segment, cuts: &[u64]) -> Result<String> {
    let mut scanner = Scanner::open(&segment.path, segment.base.last + 1)?;
    let mut thinner = Thinner {
        out: segment.base.line(),
        failures: HashMap::new(),
        window: Window::default(),
    };
    let mut before = segment.base.last;
    loop {
        match scanner.item()? {
            Item::Line(span, line) => {
                if cuts.contains(&before) {
                    thinner.flush();
                }
                before = span.seq;
                thinner.take(span, line);
            }
            Item::Hole(span) => {
                before = span.seq;
                thinner.window.kept.push(Piece::Hole(span));
            }
            Item::End => break,
        }
    }
    thinner.flush();
    Ok(thinner.out)
}

struct Thinner {
    out: String,
    /// How often each row has failed since its last answer; nothing where it is not known.
    failures: HashMap<Row, u32>,
    window: Window,
}

/// What is summed up together, and what stands in between.
#[derive(Default)]
struct Window {
    from: Wall,
    kept: Vec<Piece>,
    rows: Vec<(Row, Vec<(Wall, u64)>)>,
    /// Where in `rows` the results go that are still to come.
    places: HashMap<Row, usize>,
}

enum Piece {
    /// A line as it is.
    Line(String),
    /// Plain results.
    Plain(Span),
    /// Numbers whose lines are damaged.
    Hole(Span),
}

impl Thinner {
    fn take(&mut self, span: Span, line: &[u8]) {
        let kept = |line| Piece::Line(String::from_utf8_lossy(line).into_owned());
        match Record::parse(line) {
            Ok(Record {
                body: Body::Result(sample),
                ..
            }) => match self.is_plain(&sample) {
                true => self.plain(span.seq, &sample),
                false => self.window.kept.push(kept(line)),
            },
            Ok(record) => {
                match record.body {
                    Body::Began { target, each, .. } | Body::Ended { target, each } => {
                        let row = Row { target, each };
                        self.failures.remove(&row);
                        self.window.places.remove(&row);
                    }
                    Body::Start { .. } => self.window.places.clear(),
                    _ => {}
                }
                self.window.kept.push(kept(line));
            }
            Err(_) => self.window.kept.push(kept(line)),
        }
    }

    /// Whether a result tells no more than that it was as before.
    fn is_plain(&mut self, sample: &Sample) -> bool {
        let row = row_of(sample);
        let before = self.failures.get(&row).copied();
        let failures = match sample.ok() {
            true => 0,
            false => before.unwrap_or(0) + 1,
        };
        if failures > 1 {
            self.window.places.remove(&row);
        }
        self.failures.insert(row, failures);
        let usual = sample.tries == 1 && sample.late_us == 0;
        // An answer after a single failure is nothing that has changed.
        let as_before = before.is_some_and(|failures| failures < 2);
        as_before && sample.ok() && usual && !sample.retransmit && !sample.dns_stale
    }

    fn plain(&mut self, seq: u64, sample: &Sample) {
        let goes_on = sample.at >= self.window.from && sample.at < self.window.from.after(WINDOW);
        if !goes_on && !self.window.rows.is_empty() {
            self.flush();
        }
        let window = &mut self.window;
        if window.rows.is_empty() {
            window.from = sample.at;
        }
        match window.kept.last_mut() {
            Some(Piece::Plain(span)) => span.seq = seq,
            _ => window.kept.push(Piece::Plain(Span { first: seq, seq })),
        }
        let row = row_of(sample);
        let place = window.places.get(&row).copied();
        if place.is_some_and(|place| is_hole(&window.rows[place].1, sample.at)) {
            window.places.remove(&row);
        }
        let place = *window.places.entry(row.clone()).or_insert_with(|| {
            window.rows.push((row, Vec::new()));
            window.rows.len() - 1
        });
        window.rows[place].1.push((sample.at, sample.us));
    }

    /// Writes the window, and begins another.
    fn flush(&mut self) {
        let window = std::mem::take(&mut self.window);
        let sums = window.rows.into_iter().map(|(row, mut results)| {
            // The wall clock may have been set back by less than a window.
            results.sort_by_key(|result| result.0);
            Sums::of(row, &results)
        });
        let sums: Vec<Sums> = sums.collect();
        let mut lots = sums.chunks(SUMS_PER_LINE);
        let is_plain = |piece: &&Piece| matches!(piece, Piece::Plain(_));
        let mut stretches = window.kept.iter().filter(is_plain).count();
        for piece in &window.kept {
            match piece {
                Piece::Line(line) => {
                    self.out.push_str(line);
                    self.out.push('\n');
                }
                Piece::Hole(span) => self.write(*span, Wall(0), |first| Body::Gap {
                    first,
                    why: GapWhy::Damaged,
                }),
                Piece::Plain(span) => {
                    let mut span = *span;
                    // There are as many numbers as rows, so all lots find a line.
                    while lots.len() > stretches && span.first < span.seq {
                        let one = Span {
                            first: span.first,
                            seq: span.first,
                        };
                        span.first += 1;
                        self.summary(one, window.from, lots.next());
                    }
                    stretches -= 1;
                    self.summary(span, window.from, lots.next());
                }
            }
        }
    }

    fn summary(&mut self, span: Span, at: Wall, of: Option<&[Sums]>) {
        let of = of.unwrap_or_default().to_vec();
        let at = if of.is_empty() { Wall(0) } else { at };
        self.write(span, at, |first| Body::Summary { first, of });
    }

    fn write(&mut self, span: Span, at: Wall, body: impl FnOnce(u64) -> Body) {
        record::write_line(&mut self.out, span, at, &body(span.first));
    }
}

/// Whether the next result comes after a hole.
fn is_hole(results: &[(Wall, u64)], next: Wall) -> bool {
    let (Some(first), Some(last)) = (results.first(), results.last()) else {
        return false;
    };
    let rests = results.len() as u64 - 1;
    let all_ms = last.0.0.saturating_sub(first.0.0);
    let rest_ms = next.0.saturating_sub(last.0.0);
    rests > 0 && rest_ms.saturating_mul(rests) > HOLE_RESTS.saturating_mul(all_ms)
}

fn row_of(sample: &Sample) -> Row {
    Row {
        target: sample.target.clone(),
        each: sample.each,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::simulated::Dice;
    use crate::journal::{Appender, Base, Depth, Follower, Index, SyncMode, Totals, Unsynced};
    use crate::model::{Epoch, Failure, Id, Phases, Why};
    use std::path::Path;
    use std::sync::Mutex;

    const BASE: Base = Base {
        agent: Id(1),
        epoch: Epoch(0xe),
        order: 1,
        last: 0,
        totals: Totals {
            stored: 0,
            summarised: 0,
            dropped: 0,
        },
    };

    fn result(target: &str, at: u64, ok: bool) -> Body {
        Body::Result(Sample {
            target: target.parse().unwrap(),
            at: Wall(at),
            us: 1000 + at % 1000,
            phases: Phases::default(),
            failure: (!ok).then(|| Failure {
                why: Why::Refused,
                text: "refused".into(),
            }),
            tries: 1,
            late_us: 0,
            addr: None,
            dns_stale: false,
            retransmit: false,
            each: None,
        })
    }

    /// Writes records to one segment of a directory; what the index tells of it.
    fn written(dir: &Path, records: &[(u64, Body)]) -> Index {
        let (mode, unsynced) = (SyncMode::Never, Unsynced::Kept);
        let mut appender = Appender::new(dir, BASE, u64::MAX, mode, unsynced);
        let mut lines = String::new();
        for (seq, (at, body)) in (1..).zip(records) {
            record::write_line(&mut lines, Span { first: seq, seq }, Wall(*at), body);
        }
        appender.take(&mut lines, records.len() as u64, Totals::default());
        appender.write().unwrap();
        Index::open(dir, Depth::Everything).unwrap().0
    }

    /// One result a second of each target; `f` fails, `.` answers.
    fn results(courses: &[(&str, &str)]) -> Vec<(u64, Body)> {
        let length = courses[0].1.len();
        let at = |i: usize| 1_000_000 + i as u64 * 1000;
        let second = |i: usize| {
            let of = courses.iter().map(move |(target, course)| {
                let ok = course.as_bytes()[i] == b'.';
                (at(i), result(target, at(i), ok))
            });
            of.collect::<Vec<_>>()
        };
        (0..length).flat_map(second).collect()
    }

    fn thinned(dir: &Path, index: &mut Index, cuts: &[u64]) -> Vec<Record> {
        let segment = index.oldest_whole(Epoch(0)).unwrap().clone();
        let text = summarised(&segment, cuts).unwrap();
        index.put_thinned(&segment, Some(&text)).unwrap();
        let (again, notes) = Index::open(dir, Depth::Everything).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert!(
            again.oldest_whole(Epoch(0)).is_none(),
            "it is known to be thinned"
        );
        assert_eq!(again.bytes(), index.bytes());
        read(index, 1)
    }

    fn read(index: &Index, next: u64) -> Vec<Record> {
        let last = index.epochs()[0].last();
        let index = Index::open(index.dir(), Depth::Tails).unwrap().0;
        let mut out = Vec::new();
        let mut follower = Follower::new(BASE.epoch, next);
        let index = Mutex::new(index);
        follower
            .read(&index, last, usize::MAX / 2, Wall(9), &mut out)
            .unwrap();
        let lines = out.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Record::parse(line).unwrap()).collect()
    }

    /// What records stand for: `s3-9` a summary, `g` a gap, `f7` a failure, `k8` another.
    fn shown(records: &[Record]) -> String {
        let one = |record: &Record| {
            let Span { first, seq } = record.span();
            match &record.body {
                Body::Summary { of, .. } if of.is_empty() => format!("s{first}-{seq}"),
                Body::Summary { of, .. } => format!("S{first}-{seq}:{}", of.len()),
                Body::Gap { why, .. } => format!("g{first}-{seq}:{}", why.as_str()),
                Body::Result(sample) if !sample.ok() => format!("f{seq}"),
                _ => format!("k{seq}"),
            }
        };
        records.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn failures_and_changes_stay_and_the_rest_becomes_sums() {
        for (courses, cuts, expected) in [
            (&[("a", ".........")][..], &[][..], "k1 S2-9:1"),
            // Twice in a row ends the sums that went before.
            (&[("a", "....ff.......")], &[], "k1 S2-4:2 f5 f6 k7 s8-13"),
            (&[("a", "....f........")], &[], "k1 S2-4:1 f5 s6-13"),
            (
                &[("a", "......"), ("b", "..f...")],
                &[],
                "k1 k2 S3-5:2 f6 s7-12",
            ),
            // Whoever has got as far as 5 lacks the second summary whole.
            (&[("a", "..........")], &[5], "k1 S2-5:1 S6-10:1"),
            (&[("a", "..........")], &[1, 10, 77], "k1 S2-10:1"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut index = written(dir.path(), &results(courses));
            let records = thinned(dir.path(), &mut index, cuts);
            assert_eq!(shown(&records), expected);
        }
    }

    #[test]
    fn whoever_is_within_a_summary_is_told_that_the_rest_was_summarised() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = written(dir.path(), &results(&[("a", ".......f........")]));
        let whole = thinned(dir.path(), &mut index, &[]);
        assert_eq!(shown(&whole), "k1 S2-7:1 f8 s9-16");
        assert_eq!(shown(&read(&index, 5)), "g5-7:summarised f8 s9-16");
        assert_eq!(shown(&read(&index, 12)), "g12-16:summarised");
    }

    #[test]
    fn a_window_of_half_an_hour_is_told_of_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = written(dir.path(), &results(&[("a", &".".repeat(4000))]));
        let records = thinned(dir.path(), &mut index, &[]);
        assert_eq!(shown(&records), "k1 S2-1801:1 S1802-3601:1 S3602-4000:1");
    }

    #[test]
    fn more_rows_than_fit_a_line_are_told_of_by_several() {
        let names: Vec<String> = (0..250).map(|n| format!("target-{n}")).collect();
        let courses: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "......")).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut index = written(dir.path(), &results(&courses));
        let records = thinned(dir.path(), &mut index, &[]);
        let told = shown(&records);
        assert!(
            told.ends_with("k250 S251-251:100 S252-252:100 S253-1500:50"),
            "{told}"
        );
    }

    #[test]
    fn what_would_not_get_smaller_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let index = written(dir.path(), &results(&[("a", "f.f.f.f.f.f.f.f")]));
        let segment = index.oldest_whole(Epoch(0)).unwrap();
        assert_eq!(thin(segment, &[]).unwrap(), None);
    }

    /// Every number stands once, in order, what is kept is unchanged, and the sums are those
    /// of what is not.
    #[test]
    fn whatever_is_thinned_adds_up() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let mut at = 1_000_000;
            let count = 200 + dice.below(400);
            let records: Vec<(u64, Body)> = (0..count)
                .map(|_| {
                    at += dice.below(60_000);
                    let target = *dice.one_of(&["a", "b", "c"]);
                    let body = match dice.once_in(40) {
                        true => Body::Ended {
                            target: target.parse().unwrap(),
                            each: None,
                        },
                        false => result(target, at, !dice.once_in(30)),
                    };
                    (at, body)
                })
                .collect();
            let dir = tempfile::tempdir().unwrap();
            let mut index = written(dir.path(), &records);
            let cuts = [dice.below(count), dice.below(count)];
            let got = thinned(dir.path(), &mut index, &cuts);
            let (mut next, mut summarised, mut told) = (1, (0, 0), (0, 0));
            for record in got {
                let span = record.span();
                assert_eq!(span.first, next, "seed {seed}");
                next = span.seq + 1;
                let was = &records[span.first as usize - 1..span.seq as usize];
                let Body::Summary { of, .. } = record.body else {
                    assert_eq!((record.at.0, record.body), was[0].clone(), "seed {seed}");
                    continue;
                };
                assert!(cuts.iter().all(|cut| *cut < span.first || *cut >= span.seq));
                for (_, body) in was {
                    let Body::Result(sample) = body else {
                        panic!("{body:?} was summarised");
                    };
                    assert!(sample.ok());
                    summarised = (summarised.0 + 1, summarised.1 + sample.us);
                }
                for sums in of {
                    told = (told.0 + sums.count, told.1 + sums.mean_us * sums.count);
                }
            }
            assert_eq!(next, count + 1);
            assert_eq!(told.0, summarised.0, "seed {seed}");
            assert!(
                summarised.1 - told.1 <= summarised.0,
                "rounded down, seed {seed}"
            );
        }
    }
}
