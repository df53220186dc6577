//! What the benches share: the real programs at work, a directory of one's own, what
//! `/proc` says of a process, percentiles. Whatever is started is killed and whatever
//! is made is removed when its value is dropped, so also when a bench panics.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tcpmon::clock;
use tcpmon::files;
use tcpmon::key::{Key, Rights};
use tcpmon::model::Name;

pub const AGENT: &str = env!("CARGO_BIN_EXE_tcpmon-agent");
pub const MANAGER: &str = env!("CARGO_BIN_EXE_tcpmon-manager");
const SERVER: &str = env!("CARGO_BIN_EXE_tcpmon-server");
/// The agent's name in fleets, hellos and keys.
pub const NAME: &str = "bench";
/// How long a program may take to say where it listens.
const START_WITHIN: Duration = Duration::from_secs(20);
/// Clock ticks of `/proc/PID/stat` in a second: 100 wherever Linux runs.
const TICK_MS: u64 = 10;

/// Whether `cargo bench` runs this: `cargo test --all-targets` builds and starts it, too,
/// and is not kept waiting.
pub fn asked() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// A directory below the build's own, removed when dropped.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(bench: &str) -> Dir {
        let unique = format!("{bench}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&path).expect("make a directory");
        Dir(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program at work; killed when dropped. What it says goes to files beside `place`.
pub struct Running {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Running {
    /// Starts `program`; `place` is a path that nothing else uses, for its output.
    pub fn start(program: &str, args: &[&str], place: &Path) -> Running {
        Running::start_on(None, program, args, place)
    }

    /// Starts `program` on one core only, or on any.
    pub fn start_on(core: Option<usize>, program: &str, args: &[&str], place: &Path) -> Running {
        let (out, log) = (place.with_extension("out"), place.with_extension("log"));
        let file = |path: &Path| File::create(path).expect("make a file for output");
        let mut command = match core {
            None => Command::new(program),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string(), program]);
                command
            }
        };
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(file(&out))
            .stderr(file(&log))
            .spawn();
        Running {
            child: child.unwrap_or_else(|error| panic!("{program}: {error}")),
            out,
            log,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The addresses it says it listens on, once there are `count`.
    pub fn listening(&mut self, count: usize) -> Vec<SocketAddr> {
        until("a program listens", START_WITHIN, || {
            let said = fs::read_to_string(&self.out).unwrap_or_default();
            let whole = said.split_inclusive('\n').filter(|l| l.ends_with('\n'));
            let addrs: Vec<SocketAddr> = whole
                .filter_map(|line| line.trim_end().strip_prefix("listening on ")?.parse().ok())
                .collect();
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            assert!(!ended, "a program ended early: {}", self.log());
            (addrs.len() >= count).then_some(addrs)
        })
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until it ends; what it said.
    pub fn wait(&mut self) -> String {
        let ended = self.child.wait().expect("wait for a program");
        assert!(ended.success(), "a program failed: {}", self.log());
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// CPU time it has used, where the system tells.
    pub fn cpu_ms(&self) -> Option<u64> {
        cpu_ms(self.pid())
    }

    /// A figure of `/proc/PID/status`, such as `VmHWM`, without its unit.
    pub fn status(&self, key: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let figure = line.trim_start_matches(':').split_whitespace().next()?;
        figure.parse().ok()
    }

    /// How often its threads that live now have gone to sleep.
    pub fn sleeps(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()));
        let each = tasks.into_iter().flatten().flatten().filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let line = status.lines().find(|l| l.starts_with("voluntary"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        each.sum()
    }
}

/// CPU time a process has used, where the system tells.
pub fn cpu_ms(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_MS)
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{} said: {}", self.log.display(), tail(&self.log()));
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n  ")
}

/// The test server on `count` free ports, and their addresses.
pub fn server(count: usize, place: &Path) -> (Running, Vec<SocketAddr>) {
    let listen = ["--listen", "127.0.0.1:0"].repeat(count);
    let args = [&["--quiet", "--max-connections", "4096"], &listen[..]].concat();
    let mut server = Running::start(SERVER, &args, place);
    let addrs = server.listening(count);
    (server, addrs)
}

/// A master key in `master.key` and the agent's own in `bench.key`; the agent's.
pub fn keys(dir: &Dir) -> Key {
    let master = Key::master(files::secret().expect("a secret"), Rights::Own);
    let own = master.of_agent(&name(NAME));
    for (file, key) in [("master.key", master), ("bench.key", own.clone())] {
        files::write_keys(&dir.join(file), &[key]).expect("write a key");
    }
    own
}

pub fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Looks every few milliseconds until `found` finds something; panics after `within`.
pub fn until<T>(what: &str, within: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::mono().after(within);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(clock::mono() < deadline, "waited in vain: {what}");
        clock::sleep(Duration::from_millis(5));
    }
}

/// The value below which `per_mille` thousandths of the values lie; 0 when there are none.
pub fn percentile(values: &[u64], per_mille: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = sorted.len() * per_mille / 1000;
    let last = sorted.len().saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or(0)
}
