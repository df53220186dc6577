//! `keygen`, and what a key file must be for each program to take it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{INTERVAL, LISTEN, dialled};
use crate::support::{Finished, Site, program, run, secret_of};

fn keygen(site: &Site, args: &[&str]) -> Finished {
    run(at_home(site, "tcpmon-manager").arg("keygen").args(args))
}

/// A program in the site's directory, so that texts name files as they were given.
fn at_home(site: &Site, name: &str) -> Command {
    let mut command = program(name);
    command.current_dir(site.path(""));
    command
}

fn mode(site: &Site, file: &str) -> u32 {
    let meta = fs::metadata(site.path(file)).unwrap();
    meta.permissions().mode() & 0o777
}

#[test]
fn keys_are_made_for_their_owner_alone_and_never_overwritten() {
    let site = Site::new(1);
    let master = site.keygen(&[]);
    master.stdout_has("master.key: a new master key, ");
    let agent = site.keygen(&["--agent", "attic"]);
    agent.stdout_has("attic.key: the key of agent attic, ");
    let reader = site.keygen(&["--rights", "read", "--out", "reader.key"]);
    reader.stdout_has("rights read");
    for (file, start) in [
        ("master.key", "tcpmon-key master own "),
        ("attic.key", "tcpmon-key agent attic own "),
        ("reader.key", "tcpmon-key master read "),
    ] {
        assert_eq!(mode(&site, file), 0o600, "{file}");
        let text = fs::read_to_string(site.path(file)).unwrap();
        assert!(text.starts_with(start) && text.ends_with("=\n"), "{file}");
        let secret = secret_of(text.trim_end());
        assert_eq!(secret.len(), 44);
        for done in [&master, &agent, &reader] {
            let said = format!("{}{}", done.stdout, done.stderr);
            assert!(!said.contains(&secret), "{file}");
        }
        let again = match file {
            "attic.key" => keygen(&site, &["--agent", "attic"]),
            _ => keygen(&site, &["--out", file]),
        };
        again.code(1).stderr_has(&format!("{file}: file exists"));
        assert_eq!(fs::read_to_string(site.path(file)).unwrap(), text);
    }
    let shown = site.keygen(&["--agent", "attic", "--out", "-"]);
    let file = fs::read_to_string(site.path("attic.key")).unwrap();
    assert_eq!(shown.stdout, file);
    let one = site.keygen(&["--out", "-"]).stdout;
    assert!(one.starts_with("tcpmon-key master own "));
    assert_ne!(one, site.keygen(&["--out", "-"]).stdout);
}

#[test]
fn keygen_says_what_it_takes() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    for (args, code, text) in [
        (
            &["--master", "master.key"][..],
            2,
            "--master goes with --agent NAME",
        ),
        (
            &["--agent", "attic", "--rights", "read"],
            2,
            "--rights is the master key's",
        ),
        (&["--rights", "root"], 2, "expected own or read"),
        (&["--agent", "a b"], 2, "expected a name"),
        (&["--agnet", "attic"], 2, "did you mean --agent"),
        (&["attic"], 2, "attic"),
        (
            &["--agent", "porch", "--master", "none.key"],
            1,
            "key file none.key: not there; tcpmon-manager keygen makes",
        ),
        (
            &["--agent", "porch", "--master", "attic.key"],
            1,
            "key file attic.key: the key of one agent, not a master key",
        ),
        (
            &["--out", "none/master.key"],
            1,
            "none/master.key: no such file",
        ),
    ] {
        keygen(&site, args).code(code).stderr_has(text);
    }
    assert!(!site.path("porch.key").exists());
}

/// Key files that can't be used by anyone, and what is said of each after its name.
fn unusable(site: &Site) -> Vec<(&'static str, &'static str)> {
    let good = fs::read_to_string(site.path("attic.key")).unwrap();
    let short = good.replace(&secret_of(good.trim_end()), "c2VjcmV0");
    for (file, text, mode) in [
        ("group.key", good.as_str(), 0o640),
        ("world.key", &good, 0o604),
        ("empty.key", "", 0o600),
        ("broken.key", "hunter2\n", 0o600),
        ("short.key", &short, 0o600),
        ("twice.key", &good.repeat(2), 0o600),
    ] {
        fs::write(site.path(file), text).unwrap();
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(site.path(file), mode).unwrap();
    }
    vec![
        ("group.key", ": others may read it (mode 640): chmod 600 "),
        ("world.key", ": others may read it (mode 604): chmod 600 "),
        ("empty.key", ": empty"),
        ("broken.key", ": line 1: not a key"),
        ("short.key", ": line 1: its secret is not 32 bytes"),
        ("twice.key", ": line 2: the same key again"),
        ("missing.key", ": no such file or directory"),
    ]
}

/// A refusal names the file and what is wrong with it, and no secret.
fn refused(done: &Finished, secrets: &[String], file: &str, why: &str) {
    done.code(1).stderr_has(&format!("{file}{why}"));
    let said = format!("{}{}", done.stdout, done.stderr);
    for secret in secrets {
        assert!(!said.contains(secret.as_str()), "{file}");
    }
}

#[test]
fn a_key_file_that_cannot_be_used_is_named_with_the_reason() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    site.keygen(&["--agent", "cellar"]);
    let lines = ["master.key", "attic.key", "cellar.key"].map(|f| fs::read_to_string(site.path(f)));
    let mut secrets: Vec<String> = lines
        .into_iter()
        .map(|l| secret_of(l.unwrap().trim_end()))
        .collect();
    secrets.extend(["hunter2", "c2VjcmV0"].map(str::to_string));
    let agent = |file: &str| {
        let mut command = at_home(&site, "tcpmon-agent");
        run(command
            .args(LISTEN)
            .args(["--data", "d", "--key-file", file]))
    };
    let fleet = |file: &str, words: &[&str]| {
        let attic = [dialled("attic", site.ports[0], Some(file))];
        site.fleet_of(&attic, INTERVAL, 1);
        run(&mut site.manager(words))
    };
    let cases = unusable(&site);
    for (file, why) in cases.iter().chain(&[(
        "master.key",
        ": a master key, which never leaves its manager",
    )]) {
        refused(&agent(file), &secrets, file, why);
    }
    for (file, why) in cases
        .iter()
        .chain(&[("cellar.key", ": the key of agent cellar, not of attic")])
    {
        let done = fleet(file, &["serve"]);
        refused(&done, &secrets, file, why);
        done.stderr_has("fleet.json:1:")
            .stderr_has("agents[0].key_file: ");
        let fleet = site.path("fleet.json");
        let mut validate = at_home(&site, "tcpmon-manager");
        let done = run(validate.arg("validate").arg(fleet));
        refused(&done, &secrets, file, why);
        done.stderr_has("agents[0].key_file: ");
    }
    site.fleet_of(
        &[dialled("attic", site.ports[0], Some("attic.key"))],
        INTERVAL,
        1,
    );
    let mut validate = at_home(&site, "tcpmon-manager");
    run(validate.args(["validate", "fleet.json"])).code(0);
}
