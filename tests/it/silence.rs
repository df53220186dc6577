//! Silences, from the command line: through the control socket of a manager that runs,
//! into the data directory where none does, and over restarts.

use std::fs;

use super::support::{Finished, Running, Site, program, run, until};

/// The manager's command on the site's data directory, without a fleet file.
fn bare(site: &Site, words: &[&str]) -> Finished {
    let mut command = program("tcpmon-manager");
    command.args(words).arg("--data").arg(site.path("manager"));
    run(command.current_dir(site.path("")))
}

fn list(site: &Site) -> String {
    let done = bare(site, &["silence", "--list", "--json"]);
    done.code(0);
    done.stdout
}

/// A site with two targets, t0 and t1, of an agent that is not there.
fn site() -> Site {
    let site = Site::new(1);
    let nobody = site.ports[0];
    site.fleet(&[("away", nobody)], 2, "1s");
    site
}

/// A manager whose control socket is there.
fn serve(site: &Site) -> Running {
    let mut manager = site.serve(&[]);
    manager.stderr.line("monitoring 2 targets");
    manager
}

#[test]
fn a_silence_can_be_set_before_any_manager_runs_and_outlives_its_restarts() {
    let site = site();
    fs::rename(site.path("fleet.json"), site.path("later.json")).unwrap();
    let done = bare(&site, &["silence", "t*", "--note", "moving house"]);
    done.code(0).stdout_has("1: silence of t* until ");
    done.stdout_has(" UTC: moving house\nno manager runs on ");
    fs::rename(site.path("later.json"), site.path("fleet.json")).unwrap();
    for _ in 0..2 {
        let mut manager = serve(&site);
        let text = list(&site);
        assert!(text.contains(r#""targets":["t*"]"#), "{text}");
        assert!(text.contains(r#""open":true"#), "{text}");
        manager.kill();
    }
    bare(&site, &["unsilence", "2"])
        .code(1)
        .stderr_has("no silence has the number 2; there are 1 (t*)");
    bare(&site, &["unsilence", "t*"])
        .code(0)
        .stdout_has("1: silence of t* is lifted\n");
    bare(&site, &["silence", "--list"])
        .code(0)
        .stdout_has("nothing is silenced");
    bare(&site, &["unsilence", "--all"])
        .code(0)
        .stdout_has("nothing is silenced\n");
}

#[test]
fn without_a_manager_the_fleet_file_says_what_there_is() {
    let site = site();
    let reading = |words: &[&str]| run(&mut site.reading_command(words));
    reading(&["silence", "t5"])
        .code(1)
        .stderr_has("no target is named t5: did you mean t0?");
    reading(&["silence", "db*"])
        .code(1)
        .stderr_has("no target is named db*; there are t0, t1");
    // In its directory the usual file is found.
    bare(&site, &["silence", "db*"]).code(1);
    fs::write(site.path("fleet.json"), "{").unwrap();
    bare(&site, &["silence", "t0"])
        .code(1)
        .stderr_has("fleet.json:1:2: ");
    assert!(!site.path("manager/quiet.json").exists());
}

#[cfg(unix)]
#[test]
fn a_manager_that_runs_is_asked_over_a_socket_of_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let site = site();
    let mut manager = serve(&site);
    let mode = |name| fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("manager"), mode("manager/control")], [0o700, 0o600]);
    bare(&site, &["silence", "t0", "t1", "--until", "2999-01-01"])
        .code(2)
        .stderr_has("at most 30 days ahead");
    let done = bare(&site, &["silence", "t0", "t1", "--for", "2h"]);
    done.code(0).stdout_has("1: silence of t0, t1 until ");
    assert!(!done.stdout.contains("no manager"), "{done}");
    manager.stderr.line("silence of t0, t1 until ");
    // It is on disk when it is answered for.
    assert!(list(&site).contains(r#""targets":["t0","t1"]"#));
    let other = site.path("other.json");
    fs::write(&other, r#"{"targets":[{"name":"x","address":"h:1"}]}"#).unwrap();
    for words in [&["silence", "x"][..], &["silence", "t0", "tt2"]] {
        let done = run(program("tcpmon-manager")
            .args(words)
            .arg("--data")
            .arg(site.path("manager"))
            .arg("--config")
            .arg(&other));
        // The one that runs knows better than the file named here.
        done.code(1).stderr_has("no target is named ");
    }
    bare(&site, &["unsilence", "t0"])
        .code(0)
        .stdout_has("1: silence of t0, t1 is lifted\n2: silence of t1 until ");
    manager.stderr.line("silence of t0, t1 is lifted");
    bare(&site, &["unsilence", "7"])
        .code(1)
        .stderr_has("no silence has the number 7; there are 2 (t1)");
    // Killed, with its socket file left behind: the next command does it on disk, and
    // the next manager listens again.
    manager.kill();
    bare(&site, &["silence", "t0", "--for", "1s"])
        .code(0)
        .stdout_has("3: ");
    let mut manager = serve(&site);
    bare(&site, &["unsilence", "--all"])
        .code(0)
        .stdout_has("2: ");
    manager.stderr.line("silence of t1 is lifted");
}

#[cfg(unix)]
#[test]
fn nothing_is_lost_when_many_ask_at_once_while_a_manager_starts() {
    const MANY: usize = 12;
    let site = site();
    let ask = |_| {
        let mut command = program("tcpmon-manager");
        command.args(["silence", "t0", "--data"]);
        Running::start(command.arg(site.path("manager")))
    };
    let mut asking: Vec<Running> = (0..MANY / 2).map(ask).collect();
    // It is refused while one of them has the directory.
    let manager = until("a manager that starts", || {
        let mut manager = site.serve(&[]);
        let line = manager.stderr.line_where("its first words", |_| true);
        line.contains("monitoring").then_some(manager)
    });
    asking.extend((0..MANY / 2).map(ask));
    for asked in asking {
        asked.finish().code(0).stdout_has(": silence of t0 until ");
    }
    for no in 1..=MANY {
        let no = format!("\"no\":{no},");
        assert!(list(&site).contains(&no), "{no}");
    }
    drop(manager);
}

#[test]
fn the_end_of_a_silence_is_told() {
    let site = site();
    let mut manager = serve(&site);
    bare(&site, &["silence", "t1", "--for", "1s"]).code(0);
    manager.stderr.line("silence of t1 until ");
    manager.stderr.line("silence of t1 is over");
    until("a list without it", || {
        (!list(&site).contains("t1")).then_some(())
    });
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start_by_its_name() {
    let site = site();
    fs::create_dir(site.path("manager")).unwrap();
    fs::write(site.path("manager/quiet.json"), "{}\n").unwrap();
    run(&mut site.manager(&["serve"]))
        .code(1)
        .stderr_has("manager/quiet.json: not a list of silences");
    bare(&site, &["silence", "t0"])
        .code(1)
        .stderr_has("manager/quiet.json: not a list of silences");
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let site = site();
    for (words, told) in [
        (
            &["silence"][..],
            "expected 1 to 100 names or patterns of targets",
        ),
        (&["silence", "d b"], "PATTERN: expected a target's name"),
        (
            &["silence", "t0", "--for", "31d"],
            "--for: expected a duration from 1s to 30d",
        ),
        (
            &["silence", "t0", "--until", "24h"],
            "--until: expected a time in UTC",
        ),
        (&["silence", "t0", "--until", "2020-01-01"], "still to come"),
        (
            &["silence", "t0", "--for", "1h", "--until", "2020-01-01"],
            "give one of the two",
        ),
        (&["silence", "t0", "--json"], "--json goes with --list"),
        (&["silence", "t0", "--list"], "--list goes with"),
        (
            &["unsilence"],
            "expected a silence's pattern or number, or --all",
        ),
        (&["unsilence", "1", "--all"], "or --all"),
        (&["unsilence", "d b"], "PATTERN|NUMBER: expected"),
        (&["silense"], "did you mean silence?"),
    ] {
        bare(&site, words).code(2).stderr_has(told);
    }
}
