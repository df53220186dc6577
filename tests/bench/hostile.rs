//! What strangers cost: ten thousand hostile connections to a keyed agent that probes 500
//! targets a second for a manager, beside the same agent left alone. A goal is missed when
//! the session broke, probes came late, or the agent did not get rid of what it spent.
//!
//! An agent knows peers by their addresses, and on loopback all have the same. So where
//! `unshare` and `ip` can, all of this runs in a network namespace of its own, in which
//! the strangers have many.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::lateness::{Figures, figures};
use crate::support::{
    self, AGENT, Dir, MANAGER, NAME, Running, arg, keys, name, percentile, until,
};
use crate::table::Table;
use tcpmon::clock;
use tcpmon::model::{Id, KeyId, Mono, Wall};
use tcpmon::proto::{self, Auth, Hello, Message, Role, Side};

const TARGETS: usize = 500;
const INTERVAL_MS: i64 = 1_000;
const PORTS: usize = 10;
const CONNECTIONS: usize = 10_000;
/// Strangers at work at once, and the addresses they have among them.
const STRANGERS: usize = 64;
const ADDRESSES: u8 = 64;
/// One connection is begun after another at this distance, if a stranger is free.
const PACE: Duration = Duration::from_millis(4);
/// No stranger begins a connection after this.
const ATTACK_MAX: Duration = Duration::from_secs(100);
const WARM_UP: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(30);
/// After the strangers have gone: threads without work stay for 10 s.
const REST: Duration = Duration::from_secs(12);
/// Patience of most strangers, and of every sixteenth: longer than the agent's.
const BRIEF: Duration = Duration::from_millis(400);
const STUBBORN: Duration = Duration::from_millis(6_500);
const STUBBORN_EVERY: usize = 16;
/// A connection that is turned away is closed within this.
const TURNED_AWAY_WITHIN: Duration = Duration::from_millis(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const OVERSIZED_BYTES: usize = 5_000;
const ENDLESS_BYTES_MAX: usize = 1 << 20;
/// Goals.
const RSS_GROWTH_KIB_MAX: u64 = 4 * 1024;
const LATENESS_RATIO_MAX: u64 = 2;
const BACK_WITHIN: Duration = Duration::from_secs(10);
const GOALS: &str = "ten thousand hostile connections: goals missed";
const MET: &str = "met:   ";
const MISSED: &str = "MISSED:";
/// Set in the environment of the bench in its namespace.
const INSIDE: &str = "TCPMON_BENCH_INSIDE";
const SETUP: &str = "ip link set lo up && n=1 && while [ $n -le $1 ]; do \
    ip addr add 10.9.0.$n/32 dev lo || exit 1; n=$((n + 1)); done";

/// Runs it, where that can be in a namespace of its own.
pub fn hostile(dir: &Dir, table: &mut Table) {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && namespace(":").output().is_ok_and(|o| o.status.success()) {
        let run = "exec \"$2\" --bench hostile";
        let output = namespace(run).env(INSIDE, "1").output();
        let said = output.map_or(Vec::new(), |output| output.stdout);
        let said = String::from_utf8_lossy(&said);
        print!("{said}");
        let missed = said.lines().filter(|l| l.starts_with(MISSED)).count();
        let seen = said.lines().any(|l| l.starts_with(MET));
        return match seen {
            true => table.at_most(GOALS, "", 0.0, missed as f64),
            false => table.left_out(GOALS, "it did not run to its end"),
        };
    }
    let addresses: Vec<IpAddr> = match inside {
        true => (1..=ADDRESSES)
            .map(|n| Ipv4Addr::new(10, 9, 0, n).into())
            .collect(),
        false => vec![Ipv4Addr::LOCALHOST.into()],
    };
    let missed = run(dir, &addresses);
    table.at_most(GOALS, "", 0.0, missed as f64);
}

/// A command that sets up a namespace and goes on with `then`, which finds this program as $2.
fn namespace(then: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{SETUP} && {then}");
    command.args(["--net", "--map-root-user", "sh", "-c", &script, "sh"]);
    command.arg(ADDRESSES.to_string());
    command.arg(std::env::current_exe().expect("this program"));
    command
}

/// The agent's use of the system at one moment; zeros where it is not told.
#[derive(Clone, Copy, Default)]
struct Use {
    rss_kib: u64,
    /// The most it ever was.
    rss_peak_kib: u64,
    threads: u64,
    fds: u64,
}

impl Use {
    fn of(pid: u32) -> Use {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        };
        Use {
            rss_kib: field("VmRSS:").unwrap_or(0),
            rss_peak_kib: field("VmHWM:").unwrap_or(0),
            threads: field("Threads:").unwrap_or(0),
            fds: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |dir| dir.count() as u64),
        }
    }
}

/// What was seen of the agent over a while.
struct Seen {
    uses: Vec<Use>,
    from: Wall,
    to: Wall,
    cpu_ms: u64,
    log_lines: usize,
}

impl Seen {
    /// Looks ten times a second until `over`.
    fn watch(agent: &Running, mut over: impl FnMut() -> bool) -> Seen {
        let (from, cpu_ms) = (clock::wall(), agent.cpu_ms().unwrap_or(0));
        let lines = agent.log().lines().count();
        let mut uses = Vec::new();
        while !over() {
            uses.push(Use::of(agent.pid()));
            clock::sleep(Duration::from_millis(100));
        }
        Seen {
            uses,
            from,
            to: clock::wall(),
            cpu_ms: agent.cpu_ms().unwrap_or(0) - cpu_ms,
            log_lines: agent.log().lines().count() - lines,
        }
    }

    fn peak(&self, of: fn(&Use) -> u64) -> u64 {
        self.uses.iter().map(of).max().unwrap_or(0)
    }

    /// The most memory: what the system says when that is from this while.
    fn rss_peak_kib(&self) -> u64 {
        let peaks = self.uses.first().zip(self.uses.last());
        match peaks.map(|(a, z)| (a.rss_peak_kib, z.rss_peak_kib)) {
            Some((before, after)) if after > before => after,
            _ => self.peak(|u| u.rss_kib),
        }
    }

    fn median(&self, of: fn(&Use) -> u64) -> u64 {
        percentile(&self.uses.iter().map(of).collect::<Vec<_>>(), 500)
    }
}

/// Measures, and reports; how many goals are missed.
fn run(dir: &Dir, addresses: &[IpAddr]) -> usize {
    let key = keys(dir);
    let (_server, ports) = support::server(PORTS, &dir.join("server"));
    let (data, key_file) = (dir.join("agent-data"), dir.join("bench.key"));
    let args = [
        "--listen",
        "0.0.0.0:0",
        "--key-file",
        arg(&key_file),
        "--data",
        arg(&data),
    ];
    let mut agent = Running::start(AGENT, &args, &dir.join("agent"));
    let port = agent.listening(1)[0].port();
    let (config, history) = (dir.join("fleet.json"), dir.join("manager-data"));
    fs::write(&config, fleet(port, &ports)).expect("write the fleet file");
    let args = ["serve", "--config", arg(&config), "--data", arg(&history)];
    let manager = Running::start(MANAGER, &args, &dir.join("manager"));
    until(
        "the manager has configured the agent",
        Duration::from_secs(20),
        || agent.log().contains(" applied: ").then_some(()),
    );
    clock::sleep(WARM_UP);
    let quiet_over = clock::mono().after(QUIET);
    let quiet = Seen::watch(&agent, || clock::mono() >= quiet_over);
    let strangers = Strangers {
        agents: addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect(),
        key: key.id(),
        began: clock::mono(),
        next: AtomicUsize::new(0),
        left: AtomicUsize::new(STRANGERS),
        tally: Default::default(),
    };
    let hostile = attack(&strangers, &agent);
    let back_ms = back(&agent, |u| u.fds, quiet.median(|u| u.fds));
    clock::sleep(REST);
    let after = Use::of(agent.pid());
    let audit = Command::new(MANAGER)
        .args(["audit", "--config", arg(&config), "--data", arg(&history)])
        .output();
    let windows = [(quiet.from, quiet.to), (hostile.from, hostile.to)];
    Report {
        figures: figures(&history.join("history"), INTERVAL_MS, windows),
        seen: [quiet, hostile],
        after,
        back_ms,
        sessions: [
            sessions(&agent.log(), "manager "),
            sessions(&manager.log(), "agent bench "),
        ],
        audited: audit.is_ok_and(|o| o.status.success()),
    }
    .tell(&strangers, addresses.len())
}

fn fleet(port: u16, servers: &[SocketAddr]) -> String {
    let target = |n: usize| {
        let address = servers[n % servers.len()];
        format!(r#"{{"name":"t{n}","address":"{address}","interval":"{INTERVAL_MS}ms"}}"#)
    };
    let targets = (0..TARGETS).map(target).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"agents":[{{"name":"{NAME}","address":"127.0.0.1:{port}","key_file":"master.key"}}],"targets":[{targets}]}}"#
    )
}

/// Lets all strangers loose and watches until the last has given up.
fn attack(strangers: &Strangers, agent: &Running) -> Seen {
    std::thread::scope(|scope| {
        for _ in 0..STRANGERS {
            scope.spawn(|| {
                strangers.work();
                strangers.left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        Seen::watch(agent, || strangers.left.load(Ordering::SeqCst) == 0)
    })
}

/// How many milliseconds until what the agent uses is no more than this; `None` when
/// longer than [`BACK_WITHIN`].
fn back(agent: &Running, of: fn(&Use) -> u64, most: u64) -> Option<u128> {
    let began = clock::mono();
    loop {
        let took = clock::mono().since(began);
        if of(&Use::of(agent.pid())) <= most {
            return Some(took.as_millis());
        }
        if took > BACK_WITHIN {
            return None;
        }
        clock::sleep(Duration::from_millis(10));
    }
}

/// How many lines of a log, each after its time, begin so; each tells of a session that
/// began or ended.
fn sessions(log: &str, beginning: &str) -> usize {
    let told = |line: &&str| {
        line.split_once(' ')
            .is_some_and(|(_, text)| text.starts_with(beginning))
    };
    log.lines().filter(told).count()
}

/// What a stranger does with its connection.
#[derive(Clone, Copy)]
enum Kind {
    Silent,
    Slow,
    Oversized,
    Endless,
    Garbage,
    UnknownKey,
    NoProof,
    WrongProof,
    Leave,
}

const KINDS: [Kind; 9] = [
    Kind::Silent,
    Kind::Slow,
    Kind::Oversized,
    Kind::Endless,
    Kind::Garbage,
    Kind::UnknownKey,
    Kind::NoProof,
    Kind::WrongProof,
    Kind::Leave,
];

/// How a stranger fared.
#[derive(Clone, Copy)]
enum Fate {
    /// No connection came about.
    Unreached,
    /// Closed by the agent at once.
    TurnedAway,
    /// The agent said something.
    Answered,
    /// Closed by the agent without a word, but not at once.
    Dropped,
    /// It gave up first.
    Left,
}

const FATES: usize = 5;

struct Strangers {
    /// The agent at each of the addresses from which it is reached.
    agents: Vec<SocketAddr>,
    /// The key that the agent has.
    key: KeyId,
    began: Mono,
    next: AtomicUsize,
    /// Strangers still at work.
    left: AtomicUsize,
    tally: [AtomicUsize; FATES],
}

impl Strangers {
    /// Makes one connection after another until all are made.
    fn work(&self) {
        loop {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            let now = clock::mono();
            if n >= CONNECTIONS || now.since(self.began) > ATTACK_MAX {
                return;
            }
            clock::sleep(self.began.after(PACE * n as u32).since(now));
            let fate = self.connect(n);
            self.tally[fate as usize].fetch_add(1, Ordering::SeqCst);
        }
    }

    fn count(&self, fate: Fate) -> usize {
        self.tally[fate as usize].load(Ordering::SeqCst)
    }

    fn connect(&self, n: usize) -> Fate {
        let kind = KINDS[n % KINDS.len()];
        // By another number, so that every address sees every kind.
        let agent = self.agents[n / KINDS.len() % self.agents.len()];
        let stubborn = (n / KINDS.len()) % STUBBORN_EVERY == 0;
        let patience = if stubborn { STUBBORN } else { BRIEF };
        let Ok(stream) = TcpStream::connect_timeout(&agent, CONNECT_WITHIN) else {
            return Fate::Unreached;
        };
        if matches!(kind, Kind::Leave) {
            return Fate::Left;
        }
        let _ = stream.set_write_timeout(Some(CONNECT_WITHIN));
        let mut line = Line { stream, heard: 0 };
        if line.closes(TURNED_AWAY_WITHIN) {
            return Fate::TurnedAway;
        }
        let closed = self.trouble(kind, &mut line, patience);
        match (line.heard, closed) {
            (1.., _) => Fate::Answered,
            (0, true) => Fate::Dropped,
            (0, false) => Fate::Left,
        }
    }

    /// Does its worst; whether the agent closed the connection.
    fn trouble(&self, kind: Kind, line: &mut Line, patience: Duration) -> bool {
        match kind {
            Kind::Silent | Kind::Leave => {}
            Kind::Slow => return line.drip(hello(self.key).as_bytes(), patience),
            Kind::Oversized => line.say(&[b'x'; OVERSIZED_BYTES]),
            Kind::Endless => {
                for _ in 0..ENDLESS_BYTES_MAX / 4096 {
                    if !line.say_all(&[b'x'; 4096]) {
                        return true;
                    }
                }
            }
            Kind::Garbage => {
                let mut bytes: Vec<u8> = (0..32)
                    .flat_map(|_| clock::random().to_le_bytes())
                    .collect();
                bytes.push(b'\n');
                line.say(&bytes);
            }
            Kind::UnknownKey => line.say(hello(KeyId(clock::random())).as_bytes()),
            Kind::NoProof => line.say(hello(self.key).as_bytes()),
            Kind::WrongProof => {
                line.say(hello(self.key).as_bytes());
                line.say(Message::Proof([7; 32]).line().as_bytes());
            }
        }
        line.closes(patience)
    }
}

/// A hello that names this key.
fn hello(key: KeyId) -> String {
    let nonce = [clock::random().to_le_bytes(); 4].concat();
    Message::Hello(Hello {
        version: proto::VERSION,
        role: Role::Manager,
        side: Side::Dialler,
        id: Id(clock::random()),
        name: name("stranger"),
        instance: Id(clock::random()),
        at: clock::wall(),
        expects: Some(name(NAME)),
        auth: Some(Auth {
            key,
            nonce: nonce.try_into().expect("32 bytes"),
        }),
    })
    .line()
}

/// A stranger's end of a connection.
struct Line {
    stream: TcpStream,
    /// Bytes that came.
    heard: usize,
}

impl Line {
    fn say(&mut self, bytes: &[u8]) {
        self.say_all(bytes);
    }

    /// Whether the connection took all of it.
    fn say_all(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// A byte a second; whether the agent closed the connection.
    fn drip(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let deadline = clock::mono().after(patience);
        for byte in bytes {
            self.say(&[*byte]);
            let left = deadline.since(clock::mono());
            if self.closes(left.min(Duration::from_secs(1))) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
        false
    }

    /// Reads for so long; whether the agent closed the connection.
    fn closes(&mut self, within: Duration) -> bool {
        let deadline = clock::mono().after(within);
        let mut bytes = [0; 4096];
        loop {
            let left = deadline.since(clock::mono());
            if left.is_zero() {
                return false;
            }
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(len) => self.heard += len,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }
}

/// All that was measured; of the quiet run, then of the hostile one.
struct Report {
    figures: [Figures; 2],
    seen: [Seen; 2],
    after: Use,
    back_ms: Option<u128>,
    /// Lines about sessions in the agent's log and in the manager's: one when it began.
    sessions: [usize; 2],
    audited: bool,
}

impl Report {
    /// Prints it; how many goals are missed.
    fn tell(&self, strangers: &Strangers, addresses: usize) -> usize {
        let count = |fate| strangers.count(fate);
        let made: usize = strangers
            .tally
            .iter()
            .map(|n| n.load(Ordering::SeqCst))
            .sum();
        let seconds = self.seen[1].to.0.saturating_sub(self.seen[1].from.0) as f64 / 1e3;
        println!(
            "{made} hostile connections in {seconds:.0} s from {addresses} addresses: {} turned away at once, {} answered, {} dropped, {} left first, {} came to no connection",
            count(Fate::TurnedAway),
            count(Fate::Answered),
            count(Fate::Dropped),
            count(Fate::Left),
            count(Fate::Unreached),
        );
        println!("{:40}{:>12}{:>12}", "", "quiet", "hostile");
        let [quiet, hostile] = &self.figures;
        let row =
            |what: &str, [quiet, hostile]: [u64; 2]| println!("{what:40}{quiet:>12}{hostile:>12}");
        let late = |per_mille| [quiet, hostile].map(|f| percentile(&f.late_ms, per_mille));
        row("probes", [quiet, hostile].map(|f| f.late_ms.len() as u64));
        row("lateness p50, ms", late(500));
        row("lateness p99, ms", late(990));
        row("lateness p99.9, ms", late(999));
        row("ticks skipped", [quiet, hostile].map(|f| f.skipped));
        row("probes that failed", [quiet, hostile].map(|f| f.failed));
        row("agent's RSS at most, KiB", self.both(Seen::rss_peak_kib));
        row(
            "agent's threads at most",
            self.both(|s| s.peak(|u| u.threads)),
        );
        row(
            "agent's descriptors, median",
            self.both(|s| s.median(|u| u.fds)),
        );
        row(
            "agent's descriptors at most",
            self.both(|s| s.peak(|u| u.fds)),
        );
        row("agent's CPU, ms", self.both(|s| s.cpu_ms));
        row(
            "lines in the agent's log",
            self.both(|s| s.log_lines as u64),
        );
        let Use {
            rss_kib,
            threads,
            fds,
            ..
        } = self.after;
        println!(
            "{REST:?} later: RSS {rss_kib} KiB, {threads} threads, {fds} descriptors in the agent"
        );
        self.goals(made, late(990))
    }

    fn both(&self, of: impl Fn(&Seen) -> u64) -> [u64; 2] {
        [of(&self.seen[0]), of(&self.seen[1])]
    }

    fn goals(&self, made: usize, [quiet, hostile]: [u64; 2]) -> usize {
        let [before, peak] = self.both(Seen::rss_peak_kib);
        let growth = peak.saturating_sub(before);
        // Starts are recorded in whole milliseconds.
        let late_max = LATENESS_RATIO_MAX * quiet.max(1);
        let back = self
            .back_ms
            .map_or("no".to_string(), |ms| format!("after {ms} ms"));
        let sessions = self.sessions.map(|n| n.to_string()).join(" and ");
        let goals = [
            (
                format!("all {CONNECTIONS} connections made: {made}"),
                made == CONNECTIONS,
            ),
            (
                format!("one session throughout: {sessions} lines about it in the logs"),
                self.sessions == [1, 1],
            ),
            (
                format!("audit of the history clean: {}", self.audited),
                self.audited,
            ),
            (
                format!("lateness p99 at most {late_max} ms, twice the quiet run's: {hostile} ms"),
                hostile <= late_max,
            ),
            (
                format!("RSS grows by less than {RSS_GROWTH_KIB_MAX} KiB: {growth} KiB"),
                growth < RSS_GROWTH_KIB_MAX,
            ),
            (
                format!("descriptors back to the quiet median within {BACK_WITHIN:?}: {back}"),
                self.back_ms.is_some(),
            ),
        ];
        // What an agent uses is read from /proc.
        let told = if self.after.fds > 0 {
            goals.len()
        } else {
            goals.len() - 2
        };
        for (text, met) in &goals[..told] {
            println!("{} {text}", if *met { MET } else { MISSED });
        }
        if told < goals.len() {
            println!("memory and descriptors are not told by this system");
        }
        goals[..told].iter().filter(|(_, met)| !met).count()
    }
}
