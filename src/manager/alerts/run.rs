//! Handing a message to a program: the line of JSON on its stdin, the same in `TCPMON_*`
//! variables, and what its exit code says.
//!
//! Never through a shell. Whatever the program does (reads nothing, writes without end,
//! leaves children behind that keep its streams open, hangs), the caller goes on within the
//! timeout and a moment; a program that is still there then is killed, on Unix with all of its
//! process group.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::alert::{AlertEvent, Message, Subject};
use crate::clock;
use crate::error::{Context, Error, Result, plain};
use crate::model::{Mono, Why};
use crate::text;
use crate::threads;
use crate::units::{HostPort, duration_text, timestamp};

/// Most programs whose stderr is still open: children that they left behind may keep it so
/// for ever. Beyond, stderr is thrown away.
const LISTENING_MAX: usize = 16;
static LISTENING: AtomicUsize = AtomicUsize::new(0);
/// Most bytes of what a program writes to stderr that are looked at.
const STDERR_BYTES_MAX: usize = 1024;
/// Longest line of it that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 200;
/// How long the end of stderr is waited for after the program itself has ended.
const STDERR_WAIT_MAX: Duration = Duration::from_millis(200);
/// How long a killed program may take to be gone.
const REAP_WAIT_MAX: Duration = Duration::from_secs(1);
/// Longest variable: Linux refuses a program one of 128 KiB.
const VARIABLE_BYTES_MAX: usize = 16 * 1024;
/// Rests between looks at whether the program has ended: they double.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(1);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(50);
const STACK_BYTES: usize = 64 * 1024;

/// Runs the program `argv[0]`, in `dir`, until it ends or `timeout` has passed. A relative
/// path with a `/` counts from `dir`, a bare name is looked for in `PATH`. Errors: `run
/// PROGRAM: ` and why it is not known to have taken the message.
pub fn run(argv: &[String], message: &Message, timeout: Duration, dir: &Path) -> Result<()> {
    let Some((program, args)) = argv.split_first() else {
        return Err(Error::new("run: no program is named"));
    };
    let deadline = clock::mono().after(timeout);
    let outcome = || {
        let mut child = start(program, args, message, dir)?;
        let ended = attend(&mut child, message, deadline);
        if !matches!(ended, Ok(Some(_))) {
            end(&mut child);
        }
        let (status, said) = match ended? {
            Some(ended) => ended,
            None => return Err(format!("killed after {}", duration_text(timeout))),
        };
        match status.success() {
            true => Ok(()),
            false => Err(failed(status, &first_line(&said))),
        }
    };
    outcome().context(|| format!("run {}", text::escape(program)))
}

fn start(
    program: &str,
    args: &[String],
    message: &Message,
    dir: &Path,
) -> std::result::Result<Child, String> {
    let dir = match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    };
    let mut command = Command::new(path(program, dir)?);
    command.args(args).current_dir(dir);
    let stderr = match LISTENING.load(Ordering::SeqCst) < LISTENING_MAX {
        true => Stdio::piped(),
        false => Stdio::null(),
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr);
    command.envs(variables(message));
    // So that it is left alone by a Ctrl-C that is meant for the manager, and does not
    // outlive its timeout in its children.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !dir.is_dir() => {
            let dir = dir.display().to_string();
            format!("no directory {} to run it in", text::escape(&dir))
        }
        io::ErrorKind::NotFound => "not found".to_string(),
        _ => plain(&error.to_string()),
    })
}

/// The program's path, which must not depend on whether a system looks for it before or
/// after it goes to `dir`.
fn path(program: &str, dir: &Path) -> std::result::Result<PathBuf, String> {
    let bare = Path::new(program).components().count() == 1 && !program.starts_with('.');
    match bare {
        true => Ok(program.into()),
        false => absolute(dir.join(program)).map_err(|error| plain(&error.to_string())),
    }
}

/// Feeds the program and waits for its end: its status, and the pieces of what it said
/// when that was a failure. `None` when it is still there at `deadline`.
fn attend(
    child: &mut Child,
    message: &Message,
    deadline: Mono,
) -> std::result::Result<Option<(ExitStatus, Vec<u8>)>, String> {
    let told = |error: io::Error| plain(&error.to_string());
    if let Some(stdin) = child.stdin.take() {
        feed(stdin, message.json() + "\n").map_err(told)?;
    }
    let said = match child.stderr.take() {
        Some(stderr) => listen(stderr).map_err(told)?,
        // Too many are listened to already: it fails without words.
        None => channel().1,
    };
    let Some(status) = wait(child, deadline).map_err(told)? else {
        return Ok(None);
    };
    let heard = match status.success() {
        true => Vec::new(),
        false => hear(&said),
    };
    Ok(Some((status, heard)))
}

/// Writes `line` on a thread of its own, which ends when it is read or nobody can read it
/// any more. That nobody does is fine: the program says by its exit code whether it is done.
fn feed(mut stdin: ChildStdin, line: String) -> io::Result<()> {
    spawn("alert-stdin", move || {
        let _ = stdin.write_all(line.as_bytes());
    })
}

/// One that is listened to, while this lives.
struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads stderr to its end on a thread of its own, so that nobody who writes to it is held
/// up; gives on the first of it.
fn listen(mut stderr: ChildStderr) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = channel();
    LISTENING.fetch_add(1, Ordering::SeqCst);
    let listening = Listening;
    spawn("alert-stderr", move || {
        let _listening = listening;
        let mut room = STDERR_BYTES_MAX;
        let mut buffer = [0; STDERR_BYTES_MAX];
        loop {
            match stderr.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let kept = count.min(room);
                    room -= kept;
                    // Nobody may be there to hear it any more.
                    let _ = sender.send(buffer[..kept].to_vec());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(receiver)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    threads::start(name, STACK_BYTES, work).map(drop)
}

/// What was said, up to its end, as much as is looked at, or a moment's silence: a child
/// left behind may keep stderr open for ever.
fn hear(said: &Receiver<Vec<u8>>) -> Vec<u8> {
    let until = clock::mono().after(STDERR_WAIT_MAX);
    let mut bytes = Vec::new();
    while bytes.len() < STDERR_BYTES_MAX {
        match said.recv_timeout(until.since(clock::mono())) {
            Ok(piece) => bytes.extend(piece),
            Err(_) => break,
        }
    }
    bytes
}

fn first_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    let line = text::escape(line.unwrap_or_default());
    text::cut(&line, SHOWN_BYTES_MAX).to_string()
}

/// The exit status once there is one; `None` when there is none at `deadline`.
fn wait(child: &mut Child, deadline: Mono) -> io::Result<Option<ExitStatus>> {
    let mut rest = LOOK_EVERY_MIN;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.since(clock::mono());
        if left.is_zero() {
            return Ok(None);
        }
        clock::sleep(rest.min(left));
        rest = (rest * 2).min(LOOK_EVERY_MAX);
    }
}

/// Kills the program and what it has started. One that even so does not go away (a dead
/// network file system can do that) is left to the system.
fn end(child: &mut Child) {
    #[cfg(unix)]
    kill_group(child.id());
    let _ = child.kill();
    let _ = wait(child, clock::mono().after(REAP_WAIT_MAX));
}

/// std can signal a child, but not its group; any shell can. The group's number is the
/// child's, which is not given to another before it is waited for.
#[cfg(unix)]
fn kill_group(group: u32) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -s KILL -- \"-$1\"", "sh", &group.to_string()]);
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _ = quiet.status();
}

/// `exit status 3: what it said`.
fn failed(status: ExitStatus, said: &str) -> String {
    let ended = match status.code() {
        Some(code) => format!("exit status {code}"),
        None => by_signal(status),
    };
    match said {
        "" => ended,
        said => format!("{ended}: {said}"),
    }
}

#[cfg(unix)]
fn by_signal(status: ExitStatus) -> String {
    match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(signal) => format!("ended by signal {signal}"),
        None => status.to_string(),
    }
}

#[cfg(not(unix))]
fn by_signal(status: ExitStatus) -> String {
    status.to_string()
}

/// What a program finds in its environment: the message, and its first event. Every one is
/// there, be it empty, so that none is inherited from elsewhere; escaped, and cut where a
/// system would refuse it.
pub fn variables(message: &Message) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("TCPMON_ID", message.id.clone()),
        ("TCPMON_ALERT", message.alert.to_string()),
        ("TCPMON_MANAGER", message.manager.to_string()),
        ("TCPMON_OCCASION", message.occasion.as_str().to_string()),
        ("TCPMON_SUBJECT", message.subject()),
        ("TCPMON_COUNT", message.events.len().to_string()),
        ("TCPMON_TARGETS", some_of(&message.names())),
    ];
    all.extend(message.events.first().map(of_event).into_iter().flatten());
    for (_, value) in &mut all {
        *value = text::cut(&text::escape(value), VARIABLE_BYTES_MAX).to_string();
    }
    // Has lines, and nothing else that is not plain.
    all.push(("TCPMON_TEXT", message.text_within(VARIABLE_BYTES_MAX)));
    all
}

fn of_event(event: &AlertEvent) -> [(&'static str, String); 8] {
    let (target, agent) = match &event.subject {
        Subject::Target(name) => (name.to_string(), String::new()),
        Subject::Agent(name) => (String::new(), name.to_string()),
    };
    let address = event.address.as_ref().map(HostPort::to_string);
    [
        ("TCPMON_KIND", event.on.as_str().to_string()),
        ("TCPMON_TARGET", target),
        ("TCPMON_AGENT", agent),
        ("TCPMON_ADDRESS", address.unwrap_or_default()),
        ("TCPMON_STATE", event.state.clone()),
        ("TCPMON_WAS", event.was.clone()),
        ("TCPMON_WHY", event.why.map_or("", Why::as_str).to_string()),
        ("TCPMON_SINCE", timestamp(event.since)),
    ]
}

/// As many names as fit whole, with commas between them.
fn some_of(names: &[&str]) -> String {
    let all = names.join(",");
    match all.len() > VARIABLE_BYTES_MAX {
        true => {
            let fits = text::cut(&all, VARIABLE_BYTES_MAX);
            let end = fits.rfind(',').unwrap_or(0);
            fits[..end].to_string()
        }
        false => all,
    }
}

#[cfg(all(test, unix))]
mod tests;
