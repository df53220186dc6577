//! The whole product at work: agents, a manager and a test server, with each of them
//! away for a while in turn. What is stored in the end is compared with what should be.

use std::fs;

use super::support::{
    Link, Proxy, Running, Site, Way, copy_dir, has_more_than_zero, program, run, until,
};

#[test]
fn nothing_is_missing_after_each_of_them_was_away() {
    let mut site = Site::new(10);
    let (_alpha, alpha_at) = site.agent("alpha", "127.0.0.1:0");
    let (mut beta, beta_at) = site.agent("beta", "127.0.0.1:0");
    let (mut gamma, gamma_at) = site.agent("gamma", "127.0.0.1:0");
    let link = Proxy::start(beta_at);
    site.fleet(
        &[
            ("alpha", alpha_at),
            ("beta", link.addr),
            ("gamma", gamma_at),
        ],
        60,
        "500ms",
    );
    let mut manager = Running::start(&mut site.manager(&["serve"]));
    for agent in ["alpha", "beta", "gamma"] {
        site.grows(agent, 60);
    }
    // The link to beta is cut in the middle of a line, again and again.
    for bytes in [1, 997, 5003, 20_011] {
        link.cut_after(Way::Down, bytes);
        site.grows("beta", 60);
    }
    link.set(Link {
        refusing: true,
        ..Link::default()
    });
    // Gamma is killed while it probes, then goes on in a new epoch.
    copy_dir(&site.path("gamma"), &site.path("gamma-before"));
    site.grows("gamma", 60);
    gamma.kill();
    site.grows("alpha", 60);
    // The manager is killed while everyone records on.
    manager.kill();
    drop(manager);
    let (mut gamma, _) = site.agent("gamma", &gamma_at.to_string());
    gamma.stderr.line("going on from configuration");
    let mut manager = Running::start(&mut site.manager(&["serve"]));
    manager.stderr.line("agent gamma connected");
    site.grows("gamma", 60);
    link.set(Link::default());
    site.grows("beta", 60);
    // Gamma's directory goes back to what it was some records ago.
    gamma.kill();
    fs::remove_dir_all(site.path("gamma")).unwrap();
    copy_dir(&site.path("gamma-before"), &site.path("gamma"));
    let (_gamma, _) = site.agent("gamma", &gamma_at.to_string());
    site.grows("gamma", 60);
    beta.stderr.seen();

    let audit = site.audited();
    assert!(!has_more_than_zero(&audit, "missing"), "{audit}");
    assert!(!has_more_than_zero(&audit, "duplicate"), "{audit}");
    for agent in ["alpha", "beta"] {
        let lines = &site.stored()[agent];
        let skips = lines
            .iter()
            .filter(|l| l.contains("\"event\":\"skip\"") || l.contains("\"event\":\"gap\""));
        assert_eq!(skips.count(), 0, "{agent} has holes");
    }
    // The server saw each probe that is stored, and no other but those under way at a kill.
    manager.kill();
    let stored: usize = ["alpha", "beta", "gamma"]
        .iter()
        .map(|a| site.results(a))
        .sum();
    let seen = until("the server's count", || {
        let text = fs::read_to_string(site.path("server.json")).ok()?;
        let counts = text
            .split(':')
            .skip(1)
            .filter_map(|part| part.split([',', '}']).next()?.trim().parse::<usize>().ok());
        let seen = counts.sum::<usize>();
        (seen >= stored).then_some(seen)
    });
    assert!(seen >= stored, "{seen} connections for {stored} results");
    site.server.kill();
}

#[test]
fn a_changed_fleet_reaches_everyone_and_moves_nobody_off_the_grid() {
    let site = Site::new(2);
    let (_here, here_at) = site.agent("here", "127.0.0.1:0");
    let (mut there, there_at) = site.agent("there", "127.0.0.1:0");
    let agents = [("here", here_at), ("there", there_at)];
    site.fleet(&agents, 4, "400ms");
    let mut manager = Running::start(&mut site.manager(&["serve"]));
    site.grows("here", 20);
    site.grows("there", 4);
    there.kill();
    site.fleet(&agents, 6, "400ms");
    manager.stderr.line("changed on disk: loaded");
    until("the new target", || {
        let lines = site.stored().remove("here")?;
        lines
            .iter()
            .any(|l| l.contains("\"target\":\"t5\"") && l.contains("\"ok\""))
            .then_some(())
    });
    site.grows("here", 30);
    let status = site.reading(&["status", "--json"]);
    assert!(status.contains("\"pending\":true"), "{status}");
    let (_there, _) = site.agent("there", &there_at.to_string());
    until("the new target there", || {
        let lines = site.stored().remove("there")?;
        lines
            .iter()
            .any(|l| l.contains("\"target\":\"t5\"") && l.contains("\"ok\""))
            .then_some(())
    });
    let lines = &site.stored()["here"];
    for target in ["t0", "t1", "t2", "t3"] {
        let of_target = format!("\"target\":\"{target}\"");
        let mine: Vec<&String> = lines.iter().filter(|l| l.contains(&of_target)).collect();
        let began = mine
            .iter()
            .filter(|l| l.contains("\"event\":\"began\""))
            .count();
        let ended = mine
            .iter()
            .filter(|l| l.contains("\"event\":\"ended\""))
            .count();
        assert_eq!((began, ended), (1, 0), "{target} was begun anew");
        let on_grid = mine
            .iter()
            .filter_map(|l| number_after(l, "\"at\":").filter(|_| l.contains("\"ok\"")));
        let phases: Vec<u64> = on_grid.map(|at| at % 400).collect();
        let base = phases[0];
        let off = |phase: u64| (phase + 400 - base + 200) % 400;
        let near = phases
            .iter()
            .filter(|p| off(**p).abs_diff(200) <= 60)
            .count();
        assert!(near * 10 >= phases.len() * 9, "{target}: {phases:?}");
    }
}

fn number_after(line: &str, key: &str) -> Option<u64> {
    let rest = line.split(key).nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let site = Site::new(1);
    let (_agent, at) = site.agent("local", "127.0.0.1:0");
    site.fleet(&[("local", at)], 2, "200ms");
    let _manager = Running::start(&mut site.manager(&["serve"]));
    site.grows("local", 4);
    run(&mut site.manager(&["serve"]))
        .code(1)
        .stderr_has("in use by another tcpmon-manager");
    let mut watch = Running::start(&mut site.manager(&["watch"]));
    let line = watch.stdout.line("\"ok\":true");
    assert!(
        line.starts_with("{\"agent\":\"local\",\"epoch\":\""),
        "{line}"
    );
    assert!(!line.contains("\"c\":"), "{line}");
    for (words, told) in [
        (
            vec!["report", "--since", "2030-01-01"],
            "is not before --until",
        ),
        (
            vec!["report", "--since", "soon"],
            "expected a duration back from now",
        ),
        (vec!["report", "--json", "--csv"], "give one of the two"),
    ] {
        run(&mut site.reading_command(&words))
            .code(2)
            .stderr_has(told);
    }
    for words in [
        ["status", "--json"],
        ["report", "--json"],
        ["audit", "--json"],
    ] {
        let text = site.reading(&words);
        assert!(text.starts_with('{') && text.ends_with("}\n"), "{text}");
    }
}

#[test]
fn one_agent_under_two_names_is_refused_loudly() {
    let site = Site::new(1);
    let (_agent, at) = site.agent("local", "127.0.0.1:0");
    let other = Proxy::start(at);
    site.fleet(&[("one", at), ("two", other.addr)], 1, "200ms");
    let mut manager = Running::start(&mut site.manager(&["serve"]));
    manager.stderr.line("the same agent under two names");
}

#[test]
fn a_target_is_told_down_after_enough_failures_and_once() {
    let mut site = Site::new(1);
    let (_agent, at) = site.agent("local", "127.0.0.1:0");
    let agents = [format!(r#"{{"name":"local","address":"{at}"}}"#)];
    site.fleet_of(&agents, r#""interval":"200ms","down_after":4"#, 1);
    let mut manager = site.serve(&[]);
    site.grows("local", 3);
    site.server.kill();
    manager.stderr.line("t0 down from local: connect to ");
    let failed = |line: &&String| line.contains("\"ok\":false");
    let failures = site.stored()["local"].iter().filter(failed).count();
    assert!(failures >= 4, "{failures}");
    // A restart does not repeat it, once it is on the disk.
    until("the state on the disk", || {
        let state = fs::read_to_string(site.path("manager/agents/local.json")).ok()?;
        state.contains("\"ok\":false").then_some(())
    });
    manager.kill();
    let mut manager = site.serve(&[]);
    manager.stderr.line("agent local connected");
    site.grows("local", 8);
    let status = site.reading(&["status", "--json"]);
    assert!(status.contains("\"state\":\"down\""), "{status}");
    let port = site.ports[0].to_string();
    let _server =
        Running::start(program("tcpmon-server").args(["--quiet", "--listen", port.as_str()]));
    manager.stderr.line("t0 up from local after ");
    let said = manager.stderr.seen();
    assert!(!said.contains("t0 down"), "{said}");
    let status = site.reading(&["status", "--json"]);
    assert!(status.contains("\"state\":\"up\""), "{status}");
}

#[test]
fn a_broken_fleet_file_leaves_what_runs_alone() {
    let site = Site::new(1);
    let (_agent, at) = site.agent("local", "127.0.0.1:0");
    site.fleet(&[("local", at)], 1, "200ms");
    let mut manager = Running::start(&mut site.manager(&["serve"]));
    site.grows("local", 2);
    fs::write(site.path("fleet.json"), "{\"agents\": [{]}").unwrap();
    manager
        .stderr
        .line("not loaded, the fleet before stays in force");
    manager.stderr.line("fleet.json:1:");
    site.grows("local", 4);
    let empty = run(&mut site.manager(&["serve"]));
    empty.code(1);
}

#[test]
fn the_menu_monitors_from_piped_answers() {
    let site = Site::new(1);
    let (_agent, at) = site.agent("local", "127.0.0.1:0");
    let mut menu = Running::start(
        program("tcpmon-manager")
            .arg("--data")
            .arg(site.path("manager")),
    );
    let fleet = site.path("made.json");
    for answer in ["1", "1", "local", &at.to_string(), ""] {
        menu.send(answer);
    }
    let port = site.ports[0].to_string();
    for answer in ["web", &port, "200ms", "", "", "", "", ""] {
        menu.send(answer);
    }
    menu.send(fleet.to_str().unwrap());
    site.grows("local", 3);
    menu.send("3");
    menu.stdout.text("web");
    menu.send("");
    menu.send("4");
    let done = menu.finish();
    done.code(0);
    let text = fs::read_to_string(fleet).unwrap();
    assert!(
        text.contains("\"interval\":\"200ms\"") || text.contains("\"interval\": \"200ms\""),
        "{text}"
    );
}
