//! Programs that take a message, and those that do anything but.

use super::*;
use crate::manager::alerts::examples::{AWAY, DOWN, HOSTILE, example, message};
use crate::manager::alerts::forms::tests::{golden, root};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// Runs a script of the shell; the rest of its arguments begins with `$1`.
fn shell(message: &Message, script: &str, args: &[&str], timeout: Duration) -> Result<()> {
    let argv = [&["/bin/sh", "-c", script, "sh"], args].concat();
    let argv: Vec<String> = argv.into_iter().map(str::to_string).collect();
    run(&argv, message, timeout, Path::new("/"))
}

fn told(outcome: Result<()>) -> String {
    match outcome {
        Ok(()) => "fine".to_string(),
        Err(error) => error.to_string(),
    }
}

/// What a script makes of a message, by way of a file.
fn written(message: &Message, script: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let script = format!("{{ {script}\n}} > \"$1\"");
    shell(message, &script, &[path.to_str().unwrap()], LONG).unwrap();
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn a_program_gets_the_line_and_nothing_else() {
    let message = message("news", &[HOSTILE, DOWN]);
    assert_eq!(written(&message, "cat"), message.json() + "\n");
    // More than a pipe holds.
    let mut large = example();
    large.events = vec![large.events[0].clone(); 2000];
    assert!(large.json().len() > 500_000);
    assert_eq!(written(&large, "cat"), large.json() + "\n");
}

#[test]
fn a_program_finds_the_message_in_its_environment() {
    let mut given = String::new();
    let messages = [
        example(),
        message("reminder", &[AWAY]),
        message("news", &[HOSTILE]),
    ];
    for message in messages {
        let mut variables = variables(&message);
        variables.sort();
        let seen = written(&message, "env");
        for (name, value) in variables {
            let first = format!("{name}={}", value.lines().next().unwrap_or_default());
            assert!(seen.lines().any(|line| line == first), "{first}: {seen}");
            given += &format!("{name}={value}\n");
        }
        given.push('\n');
        let whole = written(&message, "printf '%s' \"$TCPMON_TEXT\"");
        assert_eq!(whole, message.text());
    }
    golden("variables.txt", given.trim_end());
    for line in given.lines() {
        assert_eq!(line, text::escape(line));
    }
}

#[test]
fn variables_are_documented_and_fit() {
    let docs = std::fs::read_to_string(root().join("docs/alerts.md"));
    let docs = docs.unwrap();
    for (name, _) in variables(&example()) {
        assert!(docs.contains(&format!("| `{name}` |")), "{name}");
    }
    let mut large = example();
    large.events = (0..9000)
        .map(|i| {
            let mut event = large.events[0].clone();
            event.subject = Subject::Target(format!("target-{i}").parse().unwrap());
            event
        })
        .collect();
    large.events[0].text = "é".repeat(100_000);
    large.events[0].state = "\u{1b}é".repeat(100_000);
    for (name, value) in variables(&large) {
        assert!(value.len() <= VARIABLE_BYTES_MAX + 32, "{name}");
        assert!(
            value.lines().all(|line| line == text::escape(line)),
            "{name}"
        );
    }
    let names = some_of(&large.names());
    assert!(names.starts_with("target-0,target-1,") && names.len() > VARIABLE_BYTES_MAX - 16);
    let all = large.names().join(",");
    assert!(
        all.starts_with(&format!("{names},")),
        "the last one is whole"
    );
    assert_eq!(some_of(&["a", "b"]), "a,b");
    assert_eq!(told(shell(&large, "exit 0", &[], LONG)), "fine");
}

#[test]
fn how_it_ends_is_told() {
    let long = "x".repeat(300);
    let long_shown = format!("run /bin/sh: exit status 1: {}", "x".repeat(200));
    for (script, args, expected) in [
        ("exit 0", vec![], "fine"),
        ("echo loud; echo louder >&2; exit 0", vec![], "fine"),
        ("exit 3", vec![], "run /bin/sh: exit status 3"),
        (
            "echo only stdout; exit 3",
            vec![],
            "run /bin/sh: exit status 3",
        ),
        (
            "echo >&2; echo ' no route ' >&2; echo more >&2; exit 22",
            vec![],
            "run /bin/sh: exit status 22: no route",
        ),
        (
            "printf '\\033[31mred\\r' >&2; exit 1",
            vec![],
            "run /bin/sh: exit status 1: \\x1b[31mred",
        ),
        (
            "printf '%s' \"$1\" >&2; exit 1",
            vec![long.as_str()],
            &long_shown,
        ),
        ("kill -s KILL $$", vec![], "run /bin/sh: ended by signal 9"),
        // Arguments are not looked at by any shell.
        (
            "echo \"$1\" >&2; exit 1",
            vec!["$(id); `id` *"],
            "run /bin/sh: exit status 1: $(id); `id` *",
        ),
    ] {
        let got = told(shell(&example(), script, &args, LONG));
        assert_eq!(got, expected, "{script}");
    }
}

#[test]
fn nothing_it_does_holds_up_the_caller() {
    let mut large = example();
    large.events = vec![large.events[0].clone(); 2000];
    let killed = "run /bin/sh: killed after 200ms";
    let gone = "run /bin/sh: exit status 4: gone";
    for (script, timeout, expected) in [
        // Reads nothing: at once, and after a while.
        ("exec <&-; exit 0", LONG, "fine"),
        ("exit 0", LONG, "fine"),
        ("exec sleep 60", SHORT, killed),
        // Writes more than a pipe holds.
        (
            "cat >/dev/null; head -c 1000000 /dev/zero >&2; exit 0",
            LONG,
            "fine",
        ),
        ("while :; do echo more >&2; echo more; done", SHORT, killed),
        // Leaves somebody behind who has all of its streams.
        ("sleep 60 & exit 0", LONG, "fine"),
        ("sleep 60 & echo gone >&2; exit 4", LONG, gone),
        // Does not want to go.
        (
            "trap '' TERM INT HUP; while :; do sleep 60; done",
            SHORT,
            killed,
        ),
    ] {
        let began = clock::mono();
        assert_eq!(
            told(shell(&large, script, &[], timeout)),
            expected,
            "{script}"
        );
        let took = clock::mono().since(began);
        assert!(took < LONG / 2, "{script} took {took:?}");
    }
}

#[test]
fn what_is_killed_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let pipe = path.to_str().unwrap();
    let made = Command::new("mkfifo").arg(pipe).status().unwrap();
    assert!(made.success());
    let open = |write: bool| std::fs::File::options().read(true).write(write).open(&path);
    // Opened both ways, which waits for nobody.
    let (both, mut reader) = (open(true).unwrap(), open(false).unwrap());
    let script = "sh -c 'exec sleep 30 > \"$1\"' sh \"$1\" & wait";
    let began = clock::mono();
    let got = told(shell(&example(), script, &[pipe], SHORT));
    assert_eq!(got, "run /bin/sh: killed after 200ms");
    drop(both);
    // Ends when the child is gone, who may write to it.
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert!(clock::mono().since(began) < LONG);
}

#[test]
fn programs_are_found_where_they_are_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/sh", dir.path().join("notify")).unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let nowhere = dir.path().join("nowhere");
    let no_dir = format!("run sh: no directory {} to run it in", nowhere.display());
    for (program, dir, expected) in [
        ("./notify", dir.path(), "fine"),
        ("../notify", &dir.path().join("empty"), "fine"),
        ("sh", dir.path(), "fine"),
        ("notify", dir.path(), "run notify: not found"),
        ("./other", dir.path(), "run ./other: not found"),
        (
            "/no/such\u{1b}",
            Path::new(""),
            "run /no/such\\x1b: not found",
        ),
        ("./empty", dir.path(), "run ./empty: permission denied"),
        ("sh", &nowhere, no_dir.as_str()),
    ] {
        let argv = [program, "-c", "exit 0"].map(str::to_string);
        assert_eq!(
            told(run(&argv, &example(), LONG, dir)),
            expected,
            "{program}"
        );
    }
    let none = run(&[], &example(), LONG, Path::new("/"));
    assert_eq!(told(none), "run: no program is named");
}
