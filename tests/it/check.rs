//! `tcpmon-agent check`, and check_tcp beside it. `tests/data/check/cases.txt` holds what
//! check_tcp 2.3.3 printed, times and ports aside. `cargo test` compares `check` with it;
//! with `TCPMON_CHECK_TCP=/path/to/check_tcp` (`make test-check`) the plugin runs too,
//! against the same servers, and must print the same.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::{Finished, Running, program, run};

/// Cases under way at once: most of them wait.
const WORKERS: usize = 8;
/// Fewest cases that the comparison is worth its name with.
const CASES_MIN: usize = 40;
/// Between the pieces of an answer: well below the two seconds that are waited for more.
const PAUSE: Duration = Duration::from_millis(900);
/// What the cases call their servers, and how those are started, on 127.0.0.1 or, for
/// `six`, on ::1; `refused` is no server at all.
const SERVERS: [(&str, &[&str]); 14] = [
    ("echo", &[]),
    ("slow", &["--delay=1s"]),
    ("banner", &["--mode=banner", r"--banner=220 hello\r\n"]),
    ("own", &["--mode=banner", r"--banner=220 hello\r\n"]),
    (
        "lines",
        &["--mode=banner", r"--banner=220-a|b\r\n220 two\r\n\r\n"],
    ),
    ("byte", &["--mode=banner", r"--banner=x\r\n"]),
    ("blank", &["--mode=banner", r"--banner=\r\n"]),
    ("nul", &["--mode=banner", r"--banner=22\x00abc\r\n"]),
    ("discard", &["--mode=discard"]),
    ("silent", &["--mode=silent"]),
    ("close", &["--mode=close"]),
    ("late", &["--mode=close", "--delay=3s"]),
    ("garbage", &["--mode=garbage"]),
    ("six", &[]),
];

fn check(args: &[String]) -> Finished {
    run(program("tcpmon-agent").arg("check").args(args))
}

/// The plugin to compare with, when one is asked for.
fn plugin() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("TCPMON_CHECK_TCP")?);
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown}: not there; apt-get install monitoring-plugins-basic"
    );
    Some(path)
}

/// One case of the file.
struct Case {
    server: String,
    args: Vec<String>,
    code: i32,
    /// `...` for any words.
    output: String,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/check/cases.txt");
    let text = fs::read_to_string(path).unwrap();
    let told = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let lines: Vec<&str> = text.lines().filter(told).collect();
    let case = |pair: &[&str]| {
        let (server, args) = pair[0].split_once(':').unwrap();
        let (code, output) = pair[1].trim_start().split_once(' ').unwrap();
        let words = args.split_whitespace();
        Case {
            server: server.to_string(),
            args: words.map(|word| word.replace("''", "")).collect(),
            code: code.parse().unwrap(),
            output: output.to_string(),
        }
    };
    lines.chunks(2).map(case).collect()
}

impl Case {
    fn args_at(&self, port: u16) -> Vec<String> {
        let port = port.to_string();
        let place = ["-H", "127.0.0.1", "-p", &port].map(str::to_string);
        let given = self.args.iter().map(|word| {
            let word = word.replace("PORT", &port);
            word.replace("LONG", &"x".repeat(64))
        });
        match self.server.as_str() {
            "own" | "six" => given.collect(),
            _ => place.into_iter().chain(given).collect(),
        }
    }

    /// What was not as the file has it.
    fn complaint(&self, name: &str, port: u16, done: &Finished) -> Option<String> {
        let found = normal(&done.stdout, port);
        let same = match self.output.as_str() {
            "..." => !found.is_empty(),
            output => found == output,
        };
        let fine = same && done.code == Some(self.code);
        (!fine).then(|| {
            format!(
                "{name} on {}: expected {} {}, found {} {done}",
                self.server, self.code, self.output, found
            )
        })
    }
}

/// The output in one line, with `T` for the times measured and `PORT` for the port.
fn normal(stdout: &str, port: u16) -> String {
    let text = measured(stdout, " - ", " second response");
    let text = measured(&text, "|time=", "s;");
    let text = text.replace(&format!("port {port}"), "port PORT");
    let text = text.replace(&"x".repeat(64), "LONG");
    let text = text.strip_suffix('\n').unwrap_or("no end of line");
    let text = text.replace('\\', r"\\").replace('\r', r"\r");
    text.replace('\n', r"\n")
}

/// `T` for the number between `before` and `after`.
fn measured(text: &str, before: &str, after: &str) -> String {
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        (end > 0 && text[end..].starts_with(after)).then_some(end)
    };
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str(before);
        match number(part) {
            Some(end) => out.extend(["T", &part[end..]]),
            None => out.push_str(part),
        }
    }
    out
}

/// A port that refuses.
fn refused() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The servers, and the port of each by its name; without `six` where there is no IPv6.
fn start() -> (Vec<Running>, Vec<(&'static str, u16)>) {
    let no_six = TcpListener::bind("[::1]:0").is_err();
    let wanted = SERVERS
        .iter()
        .filter(|(name, _)| !(no_six && *name == "six"));
    let started = wanted.map(|(name, args)| {
        let at = if *name == "six" { "[::1]" } else { "127.0.0.1" };
        let listen = format!("--listen={at}:0");
        let mut command = program("tcpmon-server");
        let mut server = Running::start(command.args(["--quiet", &listen]).args(*args));
        let port = server.listening().port();
        (server, (*name, port))
    });
    let (servers, mut ports): (_, Vec<_>) = started.unzip();
    ports.push(("refused", refused()));
    (servers, ports)
}

#[test]
fn check_prints_and_ends_as_check_tcp_does() {
    let plugin = plugin();
    let cases = cases();
    assert!(cases.len() >= CASES_MIN);
    let (_servers, ports) = start();
    let port = |case: &Case| ports.iter().find(|p| p.0 == case.server).map(|p| p.1);
    let next = Mutex::new(cases.iter());
    let complaints = Mutex::new(Vec::new());
    let work = || {
        loop {
            let case = next.lock().unwrap().next();
            let Some(case) = case else { break };
            let Some(port) = port(case) else { continue };
            let args = case.args_at(port);
            let ours = case.complaint("check", port, &check(&args));
            let theirs = plugin.as_ref().and_then(|path| {
                let done = run(Command::new(path).args(&args));
                case.complaint("check_tcp", port, &done)
            });
            complaints
                .lock()
                .unwrap()
                .extend(ours.into_iter().chain(theirs));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    if let Some(path) = plugin {
        println!("{} cases as {} has them", cases.len(), path.display());
    }
}

#[test]
fn what_is_sent_is_what_check_tcp_sends() {
    let plugin = plugin();
    let ours: PathBuf = program("tcpmon-agent").get_program().into();
    for (words, expected) in [
        (&["-s", r"a\nb\q"][..], &br"a\nb\q"[..]),
        (&["-E", "-s", r"a\nb\q\\c\t\r"], b"a\nbq\\c\t\r"),
        (&["-q", "QUIT"], b"QUIT\r\n"),
        (&["-E", "-q", r"QUIT\n"], b"QUIT\n"),
        (&["-s", r"a\n", "-E", "-q", r"b\n"], b"a\\nb\n"),
        (&["-s", "a", "-s", "b", "-q", "c"], b"bc\r\n"),
        (&["-s", "é", "-e", "ok", "-q", "c"], "éc\r\n".as_bytes()),
        (&["-s", "", "-q", ""], b"\r\n"),
    ] {
        for (path, first) in [(Some(&ours), Some("check")), (plugin.as_ref(), None)] {
            let Some(path) = path else { continue };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let peer = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"ok\r\n").unwrap();
                // A close with the greeting unread is a reset: what came counts.
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                bytes
            });
            let mut command = Command::new(path);
            command.args(first).args(["-H", "127.0.0.1", "-p", &port]);
            run(command.args(words)).code(0);
            assert_eq!(peer.join().unwrap(), expected, "{path:?} {words:?}");
        }
    }
}

#[test]
fn verbose_tells_each_step_with_its_time() {
    let mut server = program("tcpmon-server");
    server.args([
        "--listen=127.0.0.1:0",
        "--mode=banner",
        r"--banner=220 hi\r\n",
    ]);
    let mut server = Running::start(&mut server);
    let addr = server.listening();
    let port = addr.port().to_string();
    let line = "-H 127.0.0.1 -v -s hey -e 220 -q bye -p";
    let args = line.split(' ').chain([port.as_str()]).map(str::to_string);
    let done = check(&args.collect::<Vec<_>>());
    let lines: Vec<&str> = done.code(0).stdout.lines().collect();
    let steps: Vec<&str> = lines
        .iter()
        .filter_map(|l| l.split_once(" ms "))
        .map(|s| s.1)
        .collect();
    let expected = [
        format!("connected to {addr}"),
        r#"sent 3 bytes: "hey""#.to_string(),
        r#"received 8 bytes: "220 hi\r\n""#.to_string(),
        "expectation: met".to_string(),
        r#"sent 5 bytes: "bye\r\n""#.to_string(),
    ];
    assert_eq!(steps, expected, "{done}");
    let stamped = |line: &&str| line.strip_prefix('+').is_some_and(|l| l.contains(" ms "));
    assert!(lines[..5].iter().all(stamped), "{done}");
    assert!(
        lines[5].starts_with("TCP OK - ") && lines.len() == 6,
        "{done}"
    );
}

#[test]
fn an_answer_in_pieces_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for piece in ["22", "0 h", "i\r\n"] {
            stream.write_all(piece.as_bytes()).unwrap();
            // A pause, as nothing comes meanwhile; the last one is ended by the goodbye.
            stream.set_read_timeout(Some(PAUSE)).unwrap();
            let _ = stream.read(&mut [0; 16]);
        }
    });
    let args = ["-H", "127.0.0.1", "-p", &port, "-e", "220 hi"].map(str::to_string);
    check(&args).code(0).stdout_has("[220 hi]");
    peer.join().unwrap();
}

#[test]
fn a_name_is_tried_in_the_family_asked_for() {
    let port = refused().to_string();
    for (family, other) in [("-4", "::1"), ("-6", "127.0.0.1")] {
        let args = [family, "-vH", "localhost", "-p", &port].map(str::to_string);
        let done = check(&args);
        assert!(!done.code(2).stdout.contains(other), "{done}");
    }
}

#[test]
fn check_needs_no_data_directory_and_leaves_none() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program("tcpmon-agent");
    command.env("HOME", home.path()).current_dir(home.path());
    let port = refused().to_string();
    run(command.args(["check", "-H", "127.0.0.1", "-p", &port])).code(2);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_mistake_is_told_where_monitoring_systems_look() {
    let done = check(&["-p".to_string(), "x".to_string()]);
    let expected = "tcpmon-agent check: --port: expected a whole number above 0, found \"x\"\n";
    assert!(done.code(3).stdout.starts_with(expected), "{done}");
    assert_eq!(done.stderr, "");
}
