//! Agents that dial in: monitored like the others, through cuts and restarts of either
//! side; and those that do not belong, who are told of once.

use super::{INTERVAL, LISTEN, dialled, dials_in, times, welcome_a_guest};
use crate::support::{Meddler, Running, Site, Step, Trick, Way};

fn outward(site: &Site, data: &str, key_file: &str, to: &Meddler) -> Running {
    let to = to.addr.to_string();
    let mut agent = site.agent_with(data, &["--key-file", key_file, "--manager", &to]);
    let first = agent.stdout.line("");
    assert_eq!(first, "not listening: dials its managers");
    agent
}

fn keyed(interval: &str) -> String {
    format!(r#"{interval},"key_file":"master.key""#)
}

/// Cuts of the link in the middle of a line, either way.
fn cuts() -> Vec<Step> {
    let cut = |(way, line)| Step {
        way,
        line,
        trick: Trick::Truncate,
    };
    [
        (Way::Up, 1),
        (Way::Up, 4),
        (Way::Down, 3),
        (Way::Up, 2),
        (Way::Up, 30),
        (Way::Down, 5),
    ]
    .map(cut)
    .to_vec()
}

#[test]
fn an_agent_that_dials_in_is_monitored_like_one_that_is_dialled() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    site.keygen(&["--agent", "cellar"]);
    let mut cellar = site.agent_with(
        "cellar",
        &[&LISTEN[..], &["--key-file", "cellar.key"]].concat(),
    );
    let agents = [
        dials_in("attic", None),
        dialled("cellar", cellar.listening(), None),
    ];
    site.fleet_of(&agents, &keyed(INTERVAL), 2);
    let mut manager = site.serve(&LISTEN);
    let at = manager.listening();
    let link = Meddler::start(at, cuts());
    let mut attic = outward(&site, "attic", "attic.key", &link);
    for n in 0..cuts().len() {
        link.over(n);
    }
    for name in ["attic", "cellar"] {
        site.grows(name, 5);
    }
    assert!(times(&mut manager, "closed by the agent within a line") >= 2);
    // Everything that either side has is where it was when the manager comes back.
    manager.kill();
    attic.stderr.line("closed by the manager");
    let mut manager = site.serve(&["--listen", &at.to_string()]);
    manager.stderr.line("agent attic connected");
    site.grows("attic", 5);
    // So it is when the agent does.
    attic.kill();
    let mut attic = outward(&site, "attic", "attic.key", &link);
    attic
        .stderr
        .line("going on from configuration 1 of manager main");
    manager.stderr.line("agent attic connected after");
    site.grows("attic", 5);
    site.audited_clean();
    let status = site.reading(&["status", "--json"]);
    assert!(!status.contains(r#""pending":true"#), "{status}");
    assert!(!status.contains(r#""state":"unknown""#), "{status}");
    site.keeps_secrets(&mut [&mut attic, &mut cellar, &mut manager]);
}

#[test]
fn who_does_not_belong_is_told_of_once_however_often_it_knocks() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--out", "others.key"]);
    for name in ["attic-pi", "cellar", "porch", "guest"] {
        site.keygen(&["--agent", name]);
    }
    site.keygen(&[
        "--agent",
        "porch",
        "--master",
        "others.key",
        "--out",
        "stray.key",
    ]);
    let agents = [
        dialled("cellar", site.ports[0], None),
        dials_in("porch", None),
        dials_in("guest", None),
    ];
    site.fleet_of(&agents, &keyed(INTERVAL), 1);
    let mut manager = site.serve(&LISTEN);
    let at = manager.listening();
    let knocks = [
        (
            "attic-pi.key",
            "attic-pi is knocking, not in the fleet file",
        ),
        (
            "stray.key",
            "porch is knocking, with a key that is not known here",
        ),
        (
            "cellar.key",
            "cellar is knocking, which the fleet file has an address for",
        ),
    ];
    for (key_file, text) in knocks {
        let link = Meddler::start(at, Vec::new());
        let mut agent = outward(&site, key_file.trim_end_matches(".key"), key_file, &link);
        link.over(2);
        let line = agent.stderr.line("manager at");
        assert!(line.ends_with("refused: authentication failed"), "{line}");
        let text = format!("an agent named {text}");
        manager.stderr.line(&text);
        assert_eq!(times(&mut agent, "manager at"), 1);
        agent.kill();
        welcome_a_guest(&site, &mut manager, at);
    }
    let log = manager.stderr.seen();
    assert_eq!(log.matches("is knocking").count(), 3, "{log}");
    // Who belongs comes in all the same.
    let link = Meddler::start(at, Vec::new());
    let _porch = outward(&site, "porch", "porch.key", &link);
    manager.stderr.line("agent porch connected");
}

#[test]
fn a_second_process_of_one_agent_is_refused_while_the_first_is_served() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    site.fleet_of(&[dials_in("attic", None)], &keyed(INTERVAL), 1);
    let mut manager = site.serve(&LISTEN);
    let link = Meddler::start(manager.listening(), Vec::new());
    let mut first = outward(&site, "first", "attic.key", &link);
    site.grows("attic", 2);
    let mut second = outward(&site, "second", "attic.key", &link);
    let line = second.stderr.line("manager at");
    assert!(
        line.contains("another process of that name is connected"),
        "{line}"
    );
    manager
        .stderr
        .line("attic is knocking, while another process");
    site.grows("attic", 2);
    assert_eq!(times(&mut first, "main connected"), 1);
    assert_eq!(times(&mut second, "main connected"), 0);
}
