//! A manager whose directory is lost, put back or copied while its agents go on.

use std::fs;

use crate::support::{Running, Site, copy_dir, has_more_than_zero, program};

/// Gaps in what is stored of alpha, that say this.
fn gaps(site: &Site, why: &str) -> usize {
    let lines = site.stored().remove("alpha").unwrap_or_default();
    let why = format!("\"why\":\"{why}\"");
    let gaps = lines
        .iter()
        .filter(|l| l.contains("\"event\":\"gap\"") && l.contains(&why));
    gaps.count()
}

#[test]
fn a_manager_put_back_gets_what_it_has_lost_again() {
    let site = Site::new(20);
    // Its segments last for most of a minute: it still has what came since.
    let (mut agent, at) = site.agent("alpha", "127.0.0.1:0");
    site.fleet(&[("alpha", at)], 100, "100ms");
    let mut manager = site.serve(&[]);
    site.grows("alpha", 300);
    manager.kill();
    copy_dir(&site.path("manager"), &site.path("backup"));
    manager = site.serve(&[]);
    site.grows("alpha", 300);
    manager.kill();
    fs::remove_dir_all(site.path("manager")).unwrap();
    copy_dir(&site.path("backup"), &site.path("manager"));
    manager = site.serve(&[]);
    site.grows("alpha", 300);
    site.audited_clean();
    assert_eq!(gaps(&site, "deleted"), 0);
    assert!(agent.alive() && manager.alive());
}

#[test]
fn a_manager_that_has_lost_what_agents_have_deleted_says_so() {
    let site = Site::new(20);
    let (mut agent, at) = site.agent_of_little_room("alpha", "127.0.0.1:0");
    site.fleet(&[("alpha", at)], 100, "100ms");
    let mut manager = site.serve(&[]);
    // The agent lets go of whole segments.
    site.grows("alpha", 3000);
    manager.kill();
    fs::remove_dir_all(site.path("manager/history")).unwrap();
    manager = site.serve(&[]);
    site.grows("alpha", 300);
    let audit = site.audited();
    for key in ["missing", "duplicate"] {
        assert!(!has_more_than_zero(&audit, key), "{audit}");
    }
    assert_eq!(gaps(&site, "deleted"), 1, "{audit}");
    assert!(agent.alive() && manager.alive());
}

#[test]
fn a_second_manager_started_on_a_copy_is_turned_away_and_disturbs_nobody() {
    let site = Site::new(2);
    let (_agent, at) = site.agent("alpha", "127.0.0.1:0");
    site.fleet(&[("alpha", at)], 10, "200ms");
    let mut manager = site.serve(&[]);
    site.grows("alpha", 20);
    copy_dir(&site.path("manager"), &site.path("copy"));
    let mut copied = program("tcpmon-manager");
    copied.args(["serve", "--name", "main", "--config"]);
    copied
        .arg(site.path("fleet.json"))
        .arg("--data")
        .arg(site.path("copy"));
    let mut copied = Running::start(&mut copied);
    copied
        .stderr
        .line("is served already, to another process with its id");
    site.grows("alpha", 20);
    assert!(!manager.stderr.seen().contains("away"));
    // An emptied fleet file changes nothing, a good one is taken up again.
    fs::write(site.path("fleet.json"), "").unwrap();
    manager
        .stderr
        .line("not loaded, the fleet before stays in force");
    site.grows("alpha", 20);
    site.fleet(&[("alpha", at)], 12, "200ms");
    manager.stderr.line("changed on disk: loaded");
    copied.kill();
    site.audited_clean();
}
