//! Starts the real programs and watches them.
//!
//! ```ignore
//! let mut agent = Running::start(program("tcpmon-agent").args(["--listen", "127.0.0.1:0"]));
//! let addr = agent.listening();              // the next "listening on ADDR" on stdout
//! agent.stderr.line("manager");              // the next line on stderr with this in it
//! agent.send("1");                           // a line on its stdin
//! agent.kill();                              // as SIGKILL; dropping does the same
//! let done = run(program("tcpmon-manager").args(["validate", "x.json"]));
//! done.code(1).stderr_has("x.json:1:1");
//! ```
//!
//! Whatever is waited for has [`PATIENCE`], and then the test fails. A failing
//! test prints each of its programs: command, directory, status, stdout, stderr.
//! Files go into a `tempfile::tempdir()` of the test's own.

mod http;
mod meddler;
mod output;
mod peer;
mod proxy;
mod site;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

pub use http::{Sink, Stream, get, get_with};
pub use meddler::{Meddler, Step, Trick, Way};
pub use output::Output;
pub use peer::{Peer, hello, verdict};
pub use proxy::{Link, Proxy};
pub use site::{Site, copy_dir, has_more_than_zero, secret_of};

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A command for one of the three programs, apart from the user's environment:
/// nothing that steers colours, sizes or directories is passed on. With TCPMON_BINS they
/// are those of that directory: of another architecture, behind what runs them here.
pub fn program(name: &str) -> Command {
    let given = std::env::var_os("TCPMON_BINS").map(|dir| Path::new(&dir).join(name));
    let path = match name {
        "tcpmon-server" => env!("CARGO_BIN_EXE_tcpmon-server"),
        "tcpmon-agent" => env!("CARGO_BIN_EXE_tcpmon-agent"),
        "tcpmon-manager" => env!("CARGO_BIN_EXE_tcpmon-manager"),
        other => panic!("no program {other}"),
    };
    let mut command = Command::new(given.unwrap_or_else(|| path.into()));
    for name in [
        "NO_COLOR",
        "TERM",
        "COLUMNS",
        "LINES",
        "STATE_DIRECTORY",
        "XDG_STATE_HOME",
        "RUST_BACKTRACE",
    ] {
        command.env_remove(name);
    }
    command.env("HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A program at work. Dropping it kills it, and if the test is failing says all
/// that it said.
pub struct Running {
    /// What it says on stdout; see [`Output`] for how to wait for it.
    pub stdout: Output,
    /// What it says on stderr.
    pub stderr: Output,
    stdin: Option<ChildStdin>,
    child: Child,
    described: String,
    reported: bool,
}

impl Running {
    /// Starts the program, with pipes for all three streams.
    pub fn start(command: &mut Command) -> Running {
        let described = describe(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{described}: {error}"));
        Running {
            stdout: Output::follow("stdout", child.stdout.take().unwrap()),
            stderr: Output::follow("stderr", child.stderr.take().unwrap()),
            stdin: child.stdin.take(),
            child,
            described,
            reported: false,
        }
    }

    /// The address in the next `listening on` line.
    pub fn listening(&mut self) -> SocketAddr {
        let line = self.stdout.line("listening on ");
        let addr = line.strip_prefix("listening on ").map(str::parse);
        addr.and_then(Result::ok)
            .unwrap_or_else(|| panic!("not an address: {line}"))
    }

    /// Writes a line to its stdin.
    pub fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let written = stdin.write_all(format!("{line}\n").as_bytes());
        written.unwrap_or_else(|error| panic!("write to stdin: {error}"));
    }

    /// Ends its input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its process id, for signals and /proc.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, as a power cut would, and waits until it is gone. What it had
    /// said until then can still be read.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    pub fn finish(mut self) -> Finished {
        self.close_stdin();
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        let status = self.child.wait().expect("wait for a child");
        self.reported = true;
        Finished {
            described: std::mem::take(&mut self.described),
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let status = self.child.try_wait();
        self.kill();
        if std::thread::panicking() && !self.reported {
            let status = match status {
                Ok(Some(status)) => status.to_string(),
                _ => "was running".to_string(),
            };
            let (stdout, stderr) = (self.stdout.seen(), self.stderr.seen());
            eprintln!("{}", story(&self.described, &status, &stdout, &stderr));
        }
    }
}

/// A program that has ended, and all that it said.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    described: String,
}

impl Finished {
    /// Fails the test unless it ended with this exit code.
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Finished {
        assert_eq!(self.code, Some(expected), "exit code\n{self}");
        self
    }

    /// Fails the test unless stdout contains this.
    #[track_caller]
    pub fn stdout_has(&self, text: &str) -> &Finished {
        assert!(self.stdout.contains(text), "no {text:?} on stdout\n{self}");
        self
    }

    /// Fails the test unless stderr contains this.
    #[track_caller]
    pub fn stderr_has(&self, text: &str) -> &Finished {
        assert!(self.stderr.contains(text), "no {text:?} on stderr\n{self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = format!("exit code {:?}", self.code);
        f.write_str(&story(&self.described, &status, &self.stdout, &self.stderr))
    }
}

/// Runs a program to its end, without input.
pub fn run(command: &mut Command) -> Finished {
    run_with(command, "")
}

/// Runs a program to its end on this input; it is killed when patience ends.
pub fn run_with(command: &mut Command, input: &str) -> Finished {
    let described = describe(command);
    let mut whole = assert_cmd::Command::new(command.get_program());
    whole.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        whole.current_dir(dir);
    }
    let output = whole.write_stdin(input).timeout(PATIENCE).output();
    let output = output.unwrap_or_else(|error| panic!("{described}: {error}"));
    Finished {
        described,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A loopback address that no other test uses, for ports that go and come back: a port of
/// the usual one may be somebody else's meanwhile. Only Linux has more than one.
pub fn own_loopback() -> std::net::Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    match cfg!(target_os = "linux") {
        true => [
            127,
            1 + high % 250,
            low,
            COUNT.fetch_add(1, Ordering::SeqCst),
        ]
        .into(),
        false => std::net::Ipv4Addr::LOCALHOST,
    }
}

/// Waits until `found` finds something that no program announces, such as the
/// content of a file, looking again every few milliseconds. Prefer waiting for
/// a line.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name();
    let mut text = program.unwrap_or_default().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    let dir = command.get_current_dir().map(Path::to_path_buf);
    let dir = dir.or_else(|| std::env::current_dir().ok());
    format!("{text}\ndirectory: {}", dir.unwrap_or_default().display())
}

fn story(described: &str, status: &str, stdout: &str, stderr: &str) -> String {
    format!(
        "command: {described}\nstatus: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
    )
}

#[cfg(unix)]
#[test]
fn what_a_program_says_is_seen_to_its_end() {
    let script = "read a; printf 'name [%s]: ' $a; read b; echo; echo got $b >&2; cat; exit 3";
    let mut child = Running::start(Command::new("sh").args(["-c", script]));
    assert!(child.alive() && child.pid() > 0);
    child.send("x");
    child.stdout.text("[x]: ");
    child.send("one two");
    assert_eq!(child.stderr.line("got"), "got one two");
    child.send("tail");
    let done = child.finish();
    done.code(3).stdout_has("tail\n").stderr_has("got");
    assert_eq!(done.stdout, "name [x]: \ntail\n");
    let done = run_with(Command::new("sh").args(["-c", script]), "a\nb\nc");
    assert_eq!(done.code(3).stdout, "name [a]: \nc");
    let mut killed = Running::start(Command::new("cat").args(["-"]));
    killed.kill();
    assert!(!killed.alive());
    assert_eq!(killed.stdout.rest(), "");
}
