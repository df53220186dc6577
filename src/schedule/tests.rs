//! The grid, late starts, rechecks and new lists of targets, as tables.

use super::*;
use crate::model::Terms;

const MS: u64 = 1000;
const S: u64 = 1000 * MS;

fn target(name: &str, interval_ms: u64) -> Target {
    Target::new(
        name.parse().unwrap(),
        "127.0.0.1:80".parse().unwrap(),
        Terms {
            retries: 1,
            ..Terms::every(
                Duration::from_millis(interval_ms),
                Duration::from_millis(interval_ms),
            )
        },
    )
}

fn schedule(targets: Vec<Target>) -> Schedule {
    let mut schedule = Schedule::new(1_000);
    schedule.replace(targets, Mono(0));
    schedule
}

fn take(schedule: &mut Schedule, now: u64) -> Job {
    schedule.take(Mono(now), SkipWhy::Workers).unwrap()
}

#[test]
fn probes_stay_on_the_grid_whatever_they_take() {
    let mut schedule = schedule(vec![target("web", 1000)]);
    let first = schedule.next_at().unwrap();
    let mut now = 0;
    for tick in 0..100 {
        let job = take(&mut schedule, now);
        assert_eq!(job.due.0, first.0 + tick * S);
        assert_eq!(schedule.reports(), []);
        now = job.due.0 + (tick % 7) * 100 * MS + 3;
        schedule.finish(job, true, Mono(now));
    }
}

#[test]
fn a_long_interval_has_an_early_first_probe_and_then_its_grid() {
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let mut schedule = schedule(vec![target(name, 600_000)]);
        let phase = schedule.slots[0].as_ref().unwrap().phase;
        let first = take(&mut schedule, 0);
        assert!(first.due.0 <= 10 * S, "{name}");
        let first_due = first.due;
        schedule.finish(first, true, Mono(first_due.0 + MS));
        let second = take(&mut schedule, first_due.0 + MS);
        assert_eq!((second.due.0 - phase.0) % (600 * S), 0, "{name}");
        assert!(second.due.0 - first_due.0 >= 300 * S, "{name}");
        assert!(second.due.0 - first_due.0 <= 900 * S, "{name}");
    }
}

#[test]
fn phases_are_spread_evenly() {
    let targets = (0..1000).map(|n| target(&format!("target-{n}"), 1000));
    let mut schedule = schedule(targets.collect());
    let mut buckets = [0; 10];
    for _ in 0..1000 {
        let job = take(&mut schedule, 0);
        buckets[(job.due.0 / (100 * MS)) as usize] += 1;
    }
    assert!(
        buckets.iter().all(|n| (70..=130).contains(n)),
        "{buckets:?}"
    );
}

#[test]
fn late_ticks_are_skipped_and_counted_never_bunched() {
    // (how long the probe took in ms, ticks skipped, next tick's distance in intervals)
    for (took, skipped, distance) in [
        (10, 0, 1),
        (1000, 0, 1),
        (1500, 0, 1),
        (1501, 1, 2),
        (2500, 1, 2),
        (2501, 2, 3),
        (9000, 8, 9),
    ] {
        let mut schedule = schedule(vec![target("web", 1000)]);
        let job = take(&mut schedule, 0);
        let due = job.due.0;
        let now = Mono(due + took * MS);
        schedule.finish(job, true, now);
        let next = take(&mut schedule, now.0);
        assert_eq!(next.due.0, due + distance * S, "took {took} ms");
        let reports = schedule.reports();
        let counted: u64 = reports.iter().map(|(_, s)| s.count).sum();
        assert_eq!(counted, skipped, "took {took} ms");
        assert!(reports.iter().all(|(_, s)| s.why == SkipWhy::Busy));
    }
}

#[test]
fn a_tick_no_worker_was_free_for_is_skipped_as_such() {
    let mut schedule = schedule(vec![target("web", 1000)]);
    let due = schedule.next_at().unwrap().0;
    let job = take(&mut schedule, due + 3600 * S + 10 * MS);
    assert_eq!(job.due.0, due + 3600 * S);
    let (_, skipped) = schedule.reports()[0];
    assert_eq!((skipped.count, skipped.why), (3600, SkipWhy::Workers));
}

#[test]
fn a_worker_that_overslept_waits_for_the_next_tick() {
    let mut schedule = schedule(vec![target("web", 1000)]);
    let job = take(&mut schedule, 0);
    let due = job.due.0;
    let in_time = schedule.overslept(job, Mono(due + 400 * MS));
    let given_back = schedule.overslept(in_time.unwrap(), Mono(due + 3700 * MS));
    assert_eq!(given_back, None);
    assert_eq!(schedule.next_at(), Some(Mono(due + 4 * S)));
    let (_, skipped) = schedule.reports()[0];
    assert_eq!((skipped.count, skipped.why), (4, SkipWhy::Stall));
}

#[test]
fn unchanged_targets_keep_their_grid_and_changed_ones_begin_anew() {
    let mut schedule = schedule(vec![
        target("a", 1000),
        target("b", 1000),
        target("c", 1000),
    ]);
    let due_of = |schedule: &mut Schedule| -> HashMap<String, u64> {
        let jobs: Vec<Job> = std::iter::from_fn(|| schedule.take(Mono(0), SkipWhy::Busy)).collect();
        let dues = jobs
            .iter()
            .map(|j| (j.target.name.to_string(), j.due.0))
            .collect();
        for job in jobs {
            schedule
                .unsure
                .push(Reverse((job.due, job.slot, job.generation)));
        }
        dues
    };
    let before = due_of(&mut schedule);
    let held = take(&mut schedule, 0);
    let changed = if &*held.target.name.to_string() == "a" {
        "b"
    } else {
        "a"
    };
    let mut list: Vec<Target> = ["a", "b", "d"].map(|n| target(n, 1000)).into();
    list.iter_mut()
        .find(|t| t.name.as_str() == changed)
        .unwrap()
        .retries = 0;
    if held.target.name.as_str() == "c" {
        list.push(target("c", 1000));
    }
    let changes = schedule.replace(list, Mono(5 * S));
    assert!(
        changes
            .iter()
            .any(|c| matches!(c, Change::Ended { target, .. } if target.name.as_str() == changed))
    );
    assert!(
        changes
            .iter()
            .any(|c| matches!(c, Change::Began(t) if t.name.as_str() == "d"))
    );
    assert!(schedule.wanted(&held));
    let name = held.target.name.to_string();
    assert_eq!(held.due.0, before[&name]);
    let due = held.due.0;
    schedule.finish(held, true, Mono(due));
    let after = due_of(&mut schedule);
    assert_eq!(after[&name], before[&name] + S);
}

#[test]
fn a_removed_target_is_neither_probed_nor_put_back() {
    let mut schedule = schedule(vec![target("a", 1000)]);
    let job = take(&mut schedule, 0);
    assert_eq!(
        schedule.replace(Vec::new(), Mono(1)),
        [Change::Ended {
            place: job.slot,
            target: Arc::new(target("a", 1000))
        }]
    );
    assert!(!schedule.wanted(&job));
    schedule.finish(job, true, Mono(2));
    assert_eq!(schedule.next_at(), None);
    assert!(schedule.is_empty());
}

#[test]
fn a_target_that_is_never_served_still_reports_its_skips() {
    let mut schedule = schedule(vec![target("a", 1000), target("b", 1000)]);
    let starved = take(&mut schedule, 0).target.name.clone();
    let other = schedule.next_at().unwrap();
    let named = |slot: &Option<Slot>| slot.as_ref().unwrap().target.name != starved;
    let slot = schedule.slots.iter().position(named).unwrap() as u32;
    let (mut due, mut counted) = (other, 0);
    for minute in 1..=10 {
        let now = Mono(other.0 + minute * 60 * S + 600 * MS);
        due = schedule.skip_to(slot, due, now, SkipWhy::Workers);
        counted += schedule.reports().iter().map(|(_, s)| s.count).sum::<u64>();
    }
    assert!((480..=601).contains(&counted), "{counted}");
}

/// Plays results of one target at 10 s with a timeout of 3 s, rechecked after 2.5 s: when
/// each probe is due, in seconds from its first tick, for each result in turn.
fn probed_at(results: &[bool], took_ms: u64) -> Vec<f64> {
    let mut schedule = Schedule::new(1_000);
    let mut target = target("a", 10_000);
    target.timeout = Duration::from_secs(3);
    target.recheck = crate::model::Recheck {
        after: Duration::from_millis(2_500),
        times: 2,
    };
    schedule.replace(vec![target], Mono(0));
    let first = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
    let start = schedule.slots[0].as_ref().unwrap().next_tick(first.due);
    schedule.finish(first.clone(), true, first.due);
    let mut dues = Vec::new();
    for answered in results {
        let job = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
        dues.push((job.due.0 as f64 - start.0 as f64) / 1e6);
        let end = job.due.after(Duration::from_millis(took_ms));
        schedule.finish(job, *answered, end);
    }
    dues
}

#[test]
fn a_change_is_checked_again_before_the_next_tick() {
    for (results, took_ms, expected) in [
        (vec![true, true, true], 10, vec![0.0, 10.0, 20.0]),
        // Down for good: two rechecks decide it, then the grid goes on.
        (
            vec![false, false, false, false, false],
            10,
            vec![0.0, 2.5, 5.0, 10.0, 20.0],
        ),
        (
            vec![false, false, false, false],
            3000,
            vec![0.0, 3.0, 6.0, 10.0],
        ),
        // One failure alone: the answer is a change again, and is checked again, but not
        // where a probe might still be under way at the tick.
        (vec![false, true, true, true], 10, vec![0.0, 2.5, 5.0, 10.0]),
    ] {
        assert_eq!(probed_at(&results, took_ms), expected, "{results:?}");
    }
}

#[test]
fn other_rechecks_do_not_end_a_target() {
    let mut schedule = Schedule::new(1_000);
    schedule.replace(vec![target("a", 10_000)], Mono(0));
    let mut other = target("a", 10_000);
    other.recheck.times = 2;
    assert_eq!(schedule.replace(vec![other.clone()], Mono(1)), []);
    let job = schedule.take(Mono(1), SkipWhy::Workers).unwrap();
    assert_eq!(*job.target, other);
}

#[test]
fn a_missed_recheck_is_no_skipped_tick() {
    let mut schedule = Schedule::new(1_000);
    let mut target = target("a", 10_000);
    target.timeout = Duration::from_secs(1);
    target.recheck = crate::model::Recheck {
        after: Duration::from_millis(2_500),
        times: 2,
    };
    schedule.replace(vec![target], Mono(0));
    let first = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
    let tick = schedule.slots[0].as_ref().unwrap().next_tick(first.due);
    schedule.finish(first.clone(), true, first.due);
    let job = schedule.take(tick, SkipWhy::Workers).unwrap();
    schedule.finish(job, false, tick);
    let late = tick.after(Duration::from_secs(5));
    let next = schedule.take(late, SkipWhy::Workers).unwrap();
    assert_eq!(next.due, tick.after(Duration::from_secs(10)));
    assert_eq!(schedule.reports(), []);
}

/// Also before the first tick of the grid, which a first probe may come close to.
#[test]
fn rechecks_push_no_tick_away() {
    for name in "abcdefghijklmnopqrstuvwxyz".chars() {
        let mut schedule = Schedule::new(1_000);
        let mut target = target(&name.to_string(), 600_000);
        target.timeout = Duration::from_secs(3);
        target.recheck = crate::model::Recheck {
            after: Duration::from_secs(150),
            times: 2,
        };
        let interval = target.interval;
        schedule.replace(vec![target], Mono(0));
        let mut before = None;
        for n in 0..6 {
            let job = schedule.take(Mono(0), SkipWhy::Workers).unwrap();
            let due = job.due;
            schedule.finish(job, false, due);
            let gap = due.since(before.replace(due).unwrap_or(due));
            assert!(n < 2 || gap <= interval, "{name}: probe {n} after {gap:?}");
        }
    }
}

/// Also where the first probe comes close to a tick that is therefore left out.
#[test]
fn a_first_failure_is_checked_again_soon() {
    for name in "abcdefghijklmnopqrstuvwxyz".chars() {
        let mut schedule = Schedule::new(1_000);
        let mut target = target(&name.to_string(), 20_000);
        target.timeout = Duration::from_secs(3);
        target.recheck = crate::model::Recheck {
            after: Duration::from_secs(5),
            times: 2,
        };
        schedule.replace(vec![target], Mono(0));
        let dues = [(); 3].map(|()| {
            let job = take(&mut schedule, 0);
            let due = job.due;
            schedule.finish(job, false, due);
            due
        });
        // Or by a tick that a recheck would come too close to.
        let took = dues[2].since(dues[0]).as_secs();
        assert!(took <= 16, "{name}: three failures within {took} s");
    }
}

/// A row of this name, with this address.
fn row(name: &str, each: &str) -> Target {
    let mut row = target(name, 1000);
    row.address = format!("{each}:80").parse().unwrap();
    row.each_address = true;
    row
}

/// When the next probe of each row is due, once, by name and address.
fn dues(schedule: &mut Schedule) -> HashMap<String, u64> {
    let jobs: Vec<Job> = std::iter::from_fn(|| schedule.take(Mono(0), SkipWhy::Busy)).collect();
    let of = |job: &Job| {
        (
            format!("{} {}", job.target.name, job.target.address),
            job.due.0,
        )
    };
    let dues = jobs.iter().map(of).collect();
    let again = |job: Job| Reverse((job.due, job.slot, job.generation));
    schedule.unsure.extend(jobs.into_iter().map(again));
    dues
}

#[test]
fn the_rows_of_a_name_have_a_phase_each_which_never_moves() {
    let addresses = ["h", "127.0.0.1", "[::1]"];
    let mut schedule = schedule(addresses.map(|each| row("web", each)).into());
    assert_eq!(schedule.len(), 3);
    let expected = PHASES.map(|(row, due)| (row.to_string(), due));
    assert_eq!(dues(&mut schedule), HashMap::from(expected));
}

/// Worked out apart from this code: the first 64 bits of SHA-256 over `web`,
/// `web 127.0.0.1` and `web ::1`, as a fraction of a second.
const PHASES: [(&str, u64); 3] = [
    ("web h:80", 294_408),
    ("web 127.0.0.1:80", 734_647),
    ("web [::1]:80", 817_205),
];

#[test]
fn an_address_that_stays_keeps_its_grid_when_others_come_and_go() {
    let other = target("other", 1000);
    let mut unexpanded = target("web", 1000);
    unexpanded.address = "web.example:80".parse().unwrap();
    unexpanded.each_address = true;
    let mut schedule = schedule(vec![unexpanded.clone(), other]);
    let other = dues(&mut schedule)["other 127.0.0.1:80"];
    let unexpanded = unexpanded.row();
    let (a, b, c) = (
        row("web", "10.0.0.1"),
        row("web", "10.0.0.2"),
        row("web", "10.0.0.3"),
    );
    let began = |target: &Target| Change::Began(Arc::new(target.clone()));
    let changes = schedule.replace_rows(
        std::slice::from_ref(&unexpanded),
        vec![a.clone(), b.clone()],
        Mono(0),
    );
    let ended = |changes: &[Change], gone: &Row| matches!(&changes[0], Change::Ended { target, .. } if target.row() == *gone);
    assert!(ended(&changes, &unexpanded), "{changes:?}");
    assert_eq!(changes[1..], [began(&a), began(&b)]);
    let before = dues(&mut schedule);
    let changes = schedule.replace_rows(&[a.row(), b.row()], vec![b.clone(), c.clone()], Mono(S));
    assert!(ended(&changes, &a.row()), "{changes:?}");
    assert_eq!(changes[1..], [began(&c)]);
    let after = dues(&mut schedule);
    assert_eq!(after.len(), 3);
    assert_eq!(after["web 10.0.0.2:80"], before["web 10.0.0.2:80"]);
    assert_eq!(after["other 127.0.0.1:80"], other);
}

#[test]
fn each_row_is_held_given_back_and_late_by_itself() {
    let mut schedule = schedule(vec![row("web", "10.0.0.1"), row("web", "10.0.0.2")]);
    let first = take(&mut schedule, 0);
    let second = take(&mut schedule, 0);
    assert_eq!(schedule.next_at(), None);
    let due = second.due;
    let late = due.after(Duration::from_millis(3_700));
    let row = second.target.row();
    assert_eq!(schedule.overslept(second, late), None);
    assert_eq!(schedule.next_at(), Some(Mono(due.0 + 4 * S)));
    let reports = schedule.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!((&reports[0].0, reports[0].1.count), (&row, 4));
    let next = first.due.0 + S;
    schedule.finish(first, true, Mono(next));
    assert_eq!(schedule.next_at(), Some(Mono(next)));
}

#[test]
fn what_the_host_could_not_make_is_a_tick_skipped_and_no_recheck() {
    let mut schedule = Schedule::new(1);
    schedule.replace(vec![target("web", 1000)], Mono(0));
    let job = take(&mut schedule, 0);
    let due = job.due.0;
    schedule.missed(&job, Mono(due + MS), SkipWhy::Host);
    // Its worker has room for another, and its grid goes on.
    let job = take(&mut schedule, due + MS);
    assert_eq!(job.due.0, due + S);
    let reports = schedule.reports();
    assert_eq!((reports[0].1.count, reports[0].1.why), (1, SkipWhy::Host));
    schedule.replace(Vec::new(), Mono(due + MS));
    schedule.missed(&job, Mono(due + S), SkipWhy::Host);
    assert_eq!((schedule.next_at(), schedule.unsure_out), (None, 0));
}

#[test]
fn what_has_not_proved_quick_is_never_out_all_at_once() {
    let mut schedule = Schedule::new(1);
    let list = ["a", "b", "c"].map(|name| target(name, 1000));
    schedule.replace(list.into(), Mono(0));
    let first = take(&mut schedule, 0);
    let name = first.target.name.clone();
    assert_eq!(schedule.next_at(), None, "the others have not proved quick");
    let due = first.due.0;
    schedule.finish(first, true, Mono(due + MS));
    // Held by a worker until after the next tick of the first.
    let dark = take(&mut schedule, due);
    assert_eq!(schedule.next_at(), Some(Mono(due + S)));
    let quick = take(&mut schedule, due + S);
    assert_eq!(quick.target.name, name);
    schedule.finish(quick, true, Mono(due + S + MS));
    let then = dark.due.0 + 900 * MS;
    schedule.finish(dark, false, Mono(then));
    // A quick target's turn does not come out of the others' share, and one that was not
    // quick is one of those again.
    let unsure = take(&mut schedule, then);
    assert_ne!(unsure.target.name, name);
    assert_eq!(schedule.next_at(), Some(Mono(due + 2 * S)));
}

#[test]
fn those_that_are_not_quick_are_probed_in_turn_where_they_are_too_many() {
    // Workers, and how long each probe takes, in ms.
    for (workers, takes) in [(1, 600), (6, 600), (5, 750)] {
        let mut schedule = Schedule::new(workers);
        let list = (0..100).map(|n| target(&format!("dark-{n}"), 1000));
        schedule.replace(list.collect(), Mono(0));
        let mut probes: HashMap<String, u64> = HashMap::new();
        let mut held: Vec<(u64, Job)> = Vec::new();
        for now in (0..60_000).map(|ms| ms * MS) {
            while let Some(at) = held.iter().position(|(end, _)| *end <= now) {
                let (_, job) = held.remove(at);
                *probes.entry(job.target.name.to_string()).or_default() += 1;
                schedule.finish(job, false, Mono(now));
            }
            while let Some(mut job) = schedule.take(Mono(now), SkipWhy::Workers) {
                job.started = job.due.max(Mono(now));
                held.push((job.started.0 + takes * MS, job));
            }
        }
        let list = schedule.slots.iter().flatten();
        list.for_each(|slot| *probes.entry(slot.target.name.to_string()).or_default() += 0);
        let (least, most) = (probes.values().min(), probes.values().max());
        let apart = most.unwrap() - least.unwrap();
        assert!(apart <= 2, "{workers} workers: {least:?} to {most:?}");
    }
}
