//! Accounts of histories in every state that is allowed, and some that are not.

use super::*;
use crate::manager::replay::tests::made::{
    self, NOW, ONE_SEGMENT, called, ended, files, name, resumed, save,
};
use crate::model::Wall;
use crate::record::GapWhy;

const ID: Id = Id(7);
const E: Epoch = Epoch(0xe);

/// What an epoch's account is to say: last, stored, dropped, missing, duplicate, to fetch, retired.
type Expected = [u64; 7];

fn numbers(e: &EpochAudit) -> Expected {
    assert_eq!(
        e.totals.stored + e.totals.summarised + e.totals.dropped + e.missing,
        e.last,
        "{e:?}"
    );
    [
        e.last,
        e.totals.stored,
        e.totals.dropped,
        e.missing,
        e.duplicate,
        e.to_fetch,
        e.retired,
    ]
}

/// The account of a data directory whose only agent `made` wrote one epoch of.
fn account(made: impl FnOnce(&Path)) -> (Expected, Audit) {
    let data = tempfile::tempdir().unwrap();
    called(data.path(), ID, "attic");
    made(data.path());
    let audit = run(data.path(), None).unwrap();
    assert_eq!(audit.agents.len(), 1, "{audit:?}");
    (numbers(&audit.agents[0].epochs[0]), audit)
}

fn epoch(data: &Path, segment_bytes: u64) -> made::Writing {
    made::epoch(data, ID, 1, E, segment_bytes)
}

type Case = (&'static str, fn(&Path), Expected);

fn check(cases: &[Case]) {
    for (what, made, expected) in cases {
        let (found, audit) = account(*made);
        assert_eq!(found, *expected, "{what}");
        let [_, _, _, missing, duplicate, ..] = found;
        assert_eq!(audit.ok(), missing + duplicate == 0, "{what}");
    }
}

#[test]
fn what_is_gone_for_a_reason_is_accounted_for() {
    check(&[
        ("plain", |d| epoch(d, 1).fill(9), [9, 9, 0, 0, 0, 0, 0]),
        (
            "gaps",
            |d| {
                let mut e = epoch(d, ONE_SEGMENT);
                e.fill(2);
                e.gap(10, GapWhy::SpoolLimit);
                e.fill(1);
                e.gap(1, GapWhy::Disk);
            },
            [14, 3, 11, 0, 0, 0, 0],
        ),
        (
            "trimmed by retention",
            |d| {
                let mut e = epoch(d, 1);
                e.fill(3);
                e.gap(4, GapWhy::Deleted);
                e.fill(3);
                for path in &files(&e.dir)[..5] {
                    std::fs::remove_file(path).unwrap();
                }
            },
            [10, 6, 4, 0, 0, 0, 4],
        ),
        (
            "down to where it ended",
            |d| {
                let mut e = epoch(d, ONE_SEGMENT);
                e.fill(8);
                std::fs::remove_file(&files(&e.dir)[0]).unwrap();
                std::fs::write(e.dir.join(e.base().file_name()), e.base().line()).unwrap();
            },
            [8, 8, 0, 0, 0, 0, 8],
        ),
    ]);
}

#[test]
fn damage_hides_numbers_without_losing_count() {
    check(&[
        (
            "damage in the middle",
            |d| {
                let mut e = epoch(d, ONE_SEGMENT);
                e.fill(9);
                made::damage(&files(&e.dir)[0], 4);
                made::damage(&files(&e.dir)[0], 5);
            },
            [9, 7, 2, 0, 0, 0, 0],
        ),
        (
            "damage at the end of a segment, and a base line",
            |d| {
                let mut e = epoch(d, 1);
                e.fill(3);
                made::damage(&files(&e.dir)[1], 1);
                made::damage(&files(&e.dir)[2], 0);
            },
            [3, 2, 1, 0, 0, 0, 0],
        ),
        (
            "the oldest base line damaged after retention",
            |d| {
                let mut e = epoch(d, 1);
                e.fill(5);
                std::fs::remove_file(&files(&e.dir)[0]).unwrap();
                std::fs::remove_file(&files(&e.dir)[0]).unwrap();
                made::damage(&files(&e.dir)[0], 0);
            },
            [5, 3, 2, 0, 0, 0, 0],
        ),
    ]);
}

#[test]
fn tails_overlaps_and_holes_are_told_apart() {
    check(&[
        (
            "a torn tail",
            |d| {
                let mut e = epoch(d, ONE_SEGMENT);
                e.fill(5);
                let path = files(&e.dir).remove(0);
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
            },
            [4, 4, 0, 0, 0, 0, 0],
        ),
        (
            "an overlap after a failed sync",
            |d| {
                let mut e = epoch(d, ONE_SEGMENT);
                e.fill(3);
                let base = e.base();
                e.fill(4);
                resumed(d, base, ONE_SEGMENT).fill(9);
            },
            [12, 12, 0, 0, 0, 0, 0],
        ),
        (
            "missing and there twice",
            |d| {
                let mut e = epoch(d, ONE_SEGMENT);
                e.fill(3);
                e.put_as(7, NOW, ended("x"));
                e.put_as(7, NOW, ended("x"));
                e.put_as(2, NOW, ended("x"));
                e.put_as(8, NOW, ended("x"));
            },
            [8, 5, 0, 3, 2, 0, 0],
        ),
        (
            "a whole segment gone from the middle",
            |d| {
                let mut e = epoch(d, 1);
                e.fill(5);
                std::fs::remove_file(&files(&e.dir)[2]).unwrap();
            },
            [5, 4, 0, 1, 0, 0, 0],
        ),
    ]);
}

#[test]
fn what_is_announced_is_still_to_fetch() {
    check(&[
        (
            "more announced",
            |d| {
                epoch(d, ONE_SEGMENT).fill(5);
                made::announced(d, "attic", ID, &[(E, 4, 25)]);
            },
            [5, 5, 0, 0, 0, 20, 0],
        ),
        (
            "less announced than stored meanwhile",
            |d| {
                epoch(d, ONE_SEGMENT).fill(5);
                made::announced(d, "attic", ID, &[(E, 1, 3)]);
            },
            [5, 5, 0, 0, 0, 0, 0],
        ),
        (
            "announced and not begun to fetch",
            |d| made::announced(d, "attic", ID, &[(E, 40, 60)]),
            [0, 0, 0, 0, 0, 60, 0],
        ),
    ]);
}

#[test]
fn damage_names_its_file() {
    let (_, audit) = account(|data| {
        let mut e = epoch(data, 1);
        e.fill(3);
        made::damage(&files(&e.dir)[1], 1);
    });
    let [damage] = &audit.damage[..] else {
        panic!("{audit:?}");
    };
    assert!(damage.path.to_string_lossy().ends_with("0002.jsonl"));
    assert_eq!((damage.lines, damage.numbers), (1, 1));
    assert!(
        audit
            .text()
            .contains(".jsonl: 1 line fails its check, 1 record lost\n")
    );
}

#[test]
fn a_summarised_gap_counts_as_such() {
    let (_, audit) = account(|data| epoch(data, 1).gap(5, GapWhy::Summarised));
    assert_eq!(audit.agents[0].epochs[0].totals.summarised, 5);
}

/// Three agents: one replaced once, one behind, one never reached.
fn fleet(data: &Path) -> Audit {
    let (old, new) = (Id(0xa), Id(0xb));
    let mut before = made::epoch(data, old, 1, Epoch(0x1234), ONE_SEGMENT);
    before.fill(3);
    made::written(&files(&before.dir)[0], Wall(NOW.0 - 86_400_000));
    let mut e = made::epoch(data, new, 1, E, 1);
    e.fill(1_200);
    for path in &files(&e.dir)[..1_000] {
        std::fs::remove_file(path).unwrap();
    }
    e.gap(70, GapWhy::Vanished);
    called(data, old, "attic");
    called(data, new, "attic");
    save(
        data,
        "attic",
        &AgentState {
            id: Some(new),
            ..AgentState::default()
        },
    );
    made::epoch(data, ID, 1, E, ONE_SEGMENT).fill(5);
    made::announced(data, "cellar", ID, &[(E, 1, 2_005), (Epoch(0xf), 1, 9)]);
    let fleet =
        r#"{"agents":[{"name":"office","address":"h:1"},{"name":"attic","address":"h:2"}]}"#;
    run(
        data,
        Some(
            &crate::config::parse_fleet(fleet.as_bytes(), crate::config::KeyRule::Waived).unwrap(),
        ),
    )
    .unwrap()
}

#[test]
fn several_agents_make_a_clear_account() {
    let data = tempfile::tempdir().unwrap();
    let audit = fleet(data.path());
    let names: Vec<_> = audit.agents.iter().map(|a| (&a.name, a.id)).collect();
    let (attic, cellar, office) = (name("attic"), name("cellar"), name("office"));
    let expected = [
        (&attic, Some(Id(0xa))),
        (&attic, Some(Id(0xb))),
        (&cellar, Some(ID)),
        (&office, None),
    ];
    assert_eq!(names, expected);
    made::golden("audit-fleet.txt", &audit.text());
    made::golden("audit-fleet.json", &audit.json());
}

#[test]
fn what_is_wrong_stands_out() {
    let data = tempfile::tempdir().unwrap();
    let mut e = made::epoch(data.path(), ID, 1, E, ONE_SEGMENT);
    e.fill(3);
    e.put_as(7, NOW, ended("x"));
    e.put_as(7, NOW, ended("x"));
    e.fill(4);
    made::damage(&files(&e.dir)[0], 7);
    called(data.path(), ID, "attic");
    made::announced(data.path(), "attic", ID, &[(E, 1, 12)]);
    let audit = run(data.path(), None).unwrap();
    let place = format!("{}{}", data.path().display(), std::path::MAIN_SEPARATOR);
    made::golden("audit-wrong.txt", &audit.text().replace(&place, "DATA/"));
    let json = audit.json().replace(&place, "DATA/");
    made::golden("audit-wrong.json", &json);
}

#[test]
fn an_empty_directory_has_nothing_missing() {
    let data = tempfile::tempdir().unwrap();
    let audit = run(data.path(), None).unwrap();
    assert_eq!(audit.json(), "{\"agents\":[],\"damage\":[],\"ok\":true}\n");
    assert_eq!(audit.text(), "No history yet, and no agents.\n");
}

#[test]
fn an_epoch_whose_segments_vanish_is_read_anew() {
    let data = tempfile::tempdir().unwrap();
    let mut e = epoch(data.path(), 1);
    e.fill(5);
    let listed = replay::epochs(&e.dir).unwrap().remove(0);
    for path in &files(&e.dir)[..2] {
        std::fs::remove_file(path).unwrap();
    }
    let (audited, _) = settled(&e.dir, listed.clone()).unwrap();
    assert_eq!(numbers(&audited), [5, 5, 0, 0, 0, 0, 2]);
    std::fs::remove_dir_all(&e.dir).unwrap();
    let (audited, _) = settled(&e.dir, listed).unwrap();
    assert_eq!(audited, EpochAudit::empty(E));
}
