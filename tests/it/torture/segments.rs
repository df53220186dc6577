//! An agent whose spool somebody has been at while it was away: segments that are missing,
//! empty, there twice, under another name, of another epoch or of another agent.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Site, has_more_than_zero, own_loopback, program, run, until};

/// The segments in a directory, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = found
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    found.sort();
    found
}

/// A segment's name with these digits of its order, epoch or first number changed.
fn renamed(path: &Path, part: usize, text: &str) -> PathBuf {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let mut parts: Vec<&str> = stem.split('-').collect();
    let old = parts[part];
    let new = format!("{}{text}", &old[..old.len() - text.len()]);
    parts[part] = &new;
    path.with_file_name(format!("{}.jsonl", parts.join("-")))
}

/// What is done to the spool in `dir`, of which `middle` is one segment among others;
/// `other` is one of another agent's.
type Meddling = fn(&Path, &Path, &Path);

const MEDDLINGS: [(&str, Meddling); 9] = [
    ("missing", |_, middle, _| fs::remove_file(middle).unwrap()),
    ("empty", |_, middle, _| fs::write(middle, "").unwrap()),
    ("there twice, as a later one", |_, middle, _| {
        fs::copy(middle, renamed(middle, 0, "99")).unwrap();
    }),
    ("there twice, from another number on", |_, middle, _| {
        fs::copy(middle, renamed(middle, 2, "99999")).unwrap();
    }),
    ("under another number", |_, middle, _| {
        fs::rename(middle, renamed(middle, 2, "99999")).unwrap();
    }),
    ("under the name of another epoch", |_, middle, _| {
        fs::copy(middle, renamed(middle, 1, "abcdef")).unwrap();
    }),
    ("moved to another epoch", |_, middle, _| {
        fs::rename(middle, renamed(middle, 1, "abcdef")).unwrap();
    }),
    ("another agent's beside it", |dir, _, other| {
        fs::copy(other, dir.join(other.file_name().unwrap())).unwrap();
    }),
    ("another agent's in its place", |_, middle, other| {
        fs::copy(other, middle).unwrap();
    }),
];

/// Gaps in what is stored of alpha.
fn gaps(site: &Site) -> usize {
    let lines = site.stored().remove("alpha").unwrap_or_default();
    let gap = |line: &&String| line.contains("\"event\":\"gap\"");
    lines.iter().filter(gap).count()
}

#[test]
fn whatever_is_done_to_a_spool_all_is_sent_or_told_to_be_missing() {
    let site = Site::new(20);
    let own = format!("{}:0", own_loopback());
    let (mut other, other_at) = site.agent_of_little_room("other", &own);
    let (mut agent, at) = site.agent_of_little_room("alpha", &own);
    let agents = [("alpha", at), ("other", other_at)];
    site.fleet(&agents, 300, "100ms");
    let mut manager = site.serve(&[]);
    site.grows("other", 600);
    other.kill();
    let of_other = segments(&site.path("other/spool")).pop().unwrap();
    site.fleet(&agents[..1], 300, "100ms");
    let mut before = gaps(&site);
    for (what, meddle) in MEDDLINGS {
        manager.kill();
        let dir = site.path("alpha/spool");
        // Some that the manager has nothing of.
        let newest = segments(&dir).pop().unwrap();
        until("segments", || {
            let fresh = segments(&dir).into_iter().filter(|s| *s > newest);
            (fresh.count() >= 4).then_some(())
        });
        agent.kill();
        let of_agent = segments(&dir);
        meddle(&dir, &of_agent[of_agent.len() - 3], &of_other);
        agent = site.agent_of_little_room("alpha", &at.to_string()).0;
        manager = site.serve(&[]);
        // Only then is it known what there is to fetch.
        manager.stderr.line("agent alpha connected");
        let audit = site.audited();
        for key in ["missing", "duplicate"] {
            assert!(!has_more_than_zero(&audit, key), "{what}: {audit}");
        }
        site.grows("alpha", 300);
        assert!(agent.alive(), "{what}");
        // What is certainly gone is certainly told.
        let told = gaps(&site);
        let gone = matches!(what, "missing" | "empty");
        assert!(!gone || told > before, "{what}: {told} gaps");
        before = told;
    }
    manager.kill();
    let mut status = program("tcpmon-agent");
    status.arg("--status").arg("--data").arg(site.path("alpha"));
    run(&mut status).code(0).stdout_has("\"dropped\":0");
}
