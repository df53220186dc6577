//! Something to probe, and an agent that does: listeners that take every connection and
//! let go of it at once, a black hole, fleets, and what a running agent says of itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tcpmon::clock;
use tcpmon::json::{self, Value};
use tcpmon::model::Mono;

use crate::support::{AGENT, Dir, MANAGER, NAME, Running, arg, cpu_ms, until};

/// Connections that wait to be taken, per listener; std asks for so many.
const BACKLOG: usize = 4096;
/// The argument that makes a bench program a sink; see [`Sink`].
const BE_A_SINK: &str = "--be-a-sink";
/// And the one that makes it a loop; see [`bare_loop`].
const BE_A_LOOP: &str = "--be-a-loop";
const TAKEN_SO_FAR: &str = "taken ";
const LOOP_FOR: Duration = Duration::from_secs(3);

/// A process of its own that listens on all addresses at some ports, takes every
/// connection and closes it at once. So any 127.x.y.z with such a port is a target.
pub struct Sink {
    process: Running,
    pub ports: Vec<u16>,
}

impl Sink {
    /// Starts one with `count` ports, on one core only or on any.
    pub fn start(dir: &Dir, count: usize, core: Option<usize>) -> Sink {
        let own = std::env::current_exe().expect("this program's path");
        let args = [BE_A_SINK, &count.to_string()];
        let mut process = Running::start_on(core, arg(&own), &args, &dir.join("sink"));
        let addrs = process.listening(count);
        let ports = addrs.iter().map(SocketAddr::port).collect();
        Sink { process, ports }
    }

    pub fn cpu_ms(&self) -> u64 {
        self.process.cpu_ms().unwrap_or(0)
    }

    /// Connections it has taken so far, as it said up to a tenth of a second ago.
    pub fn taken(&self) -> u64 {
        let said = self.process.said();
        let last = said
            .lines()
            .rev()
            .find_map(|l| l.strip_prefix(TAKEN_SO_FAR));
        last.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

/// How many connections a second one thread makes that does nothing but connect and
/// close, on one core only or on any.
pub fn bare_loop(dir: &Dir, sink: &Sink, core: Option<usize>) -> f64 {
    let own = std::env::current_exe().expect("this program's path");
    let ports: Vec<String> = sink.ports.iter().map(u16::to_string).collect();
    let args = [BE_A_LOOP, &ports.join(",")];
    let mut process = Running::start_on(core, arg(&own), &args, &dir.join("loop"));
    process.wait().trim().parse().expect("a rate")
}

/// Is a sink for ever, or a loop for a while, where the arguments say so: to be called first.
pub fn be_what_is_asked() {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some(BE_A_SINK), Some(count)) => sink(count.parse().expect("a number")),
        (Some(BE_A_LOOP), Some(ports)) => {
            let ports = ports.split(',').map(|port| port.parse().expect("a port"));
            println!("{}", connect_for_a_while(&ports.collect::<Vec<u16>>()));
        }
        _ => return,
    }
    std::process::exit(0);
}

fn sink(ports: usize) {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    for _ in 0..ports {
        let listener = TcpListener::bind("0.0.0.0:0").expect("listen");
        println!("listening on {}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            loop {
                drop(listener.accept());
                TAKEN.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    loop {
        clock::sleep(Duration::from_millis(100));
        println!("{TAKEN_SO_FAR}{}", TAKEN.load(Ordering::Relaxed));
    }
}

fn connect_for_a_while(ports: &[u16]) -> f64 {
    let began = clock::mono();
    let mut made = 0;
    while clock::mono().since(began) < LOOP_FOR {
        for _ in 0..100 {
            let addr = SocketAddr::from((target_ip(made), ports[made % ports.len()]));
            drop(TcpStream::connect_timeout(&addr, Duration::from_secs(3)).expect("connect"));
            made += 1;
        }
    }
    made as f64 / clock::mono().since(began).as_secs_f64()
}

/// A port whose queue of connections is full: whoever connects hears nothing.
pub struct Hole {
    listener: TcpListener,
    /// What fills the queue.
    _held: Vec<TcpStream>,
}

impl Hole {
    /// Fills the queue until a connection gets no answer.
    pub fn new() -> Hole {
        let listener = TcpListener::bind("0.0.0.0:0").expect("listen");
        let port = listener.local_addr().expect("bound").port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(500)) {
            held.push(stream);
            assert!(held.len() <= 2 * BACKLOG, "the queue does not fill");
        }
        Hole {
            listener,
            _held: held,
        }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    /// Takes all connections from now on, until the program ends.
    pub fn answer(self) {
        std::thread::spawn(move || {
            loop {
                drop(self.listener.accept());
            }
        });
    }
}

/// Each target has a loopback address of its own.
pub fn target_ip(n: usize) -> Ipv4Addr {
    let octet = |n: usize| n as u8;
    let (a, b, c) = (1 + n / 62_500 % 250, n / 250 % 250, 1 + n % 250);
    Ipv4Addr::new(127, octet(a), octet(b), octet(c))
}

/// A fleet of one agent with so many targets, each an address of its own at the port that
/// `port` gives for it.
pub fn fleet(
    agent: SocketAddr,
    targets: usize,
    interval: &str,
    port: impl Fn(usize) -> u16,
) -> String {
    let mut text = format!(
        r#"{{"agents":[{{"name":"{NAME}","address":"{agent}"}}],"defaults":{{"interval":"{interval}"}},"targets":["#
    );
    for n in 0..targets {
        let comma = if n > 0 { "," } else { "" };
        let (ip, port) = (target_ip(n), port(n));
        let _ = write!(
            text,
            "{comma}\n{{\"name\":\"target-{n}\",\"address\":\"{ip}:{port}\"}}"
        );
    }
    text.push_str("]}\n");
    text
}

/// An agent at work, for a manager if there is one.
pub struct Site {
    pub agent: Running,
    pub agent_data: PathBuf,
    pub agent_addr: SocketAddr,
    pub manager: Option<Running>,
    pub manager_data: PathBuf,
}

impl Site {
    /// An agent without a manager yet, on one core only or on any.
    pub fn start(dir: &Dir, name: &str, core: Option<usize>, options: &[&str]) -> Site {
        let agent_data = dir.join(&format!("{name}-agent-data"));
        let mut args = vec!["--listen", "127.0.0.1:0", "--name", NAME, "--data"];
        args.push(arg(&agent_data));
        args.extend(options);
        let place = dir.join(&format!("{name}-agent"));
        let mut agent = Running::start_on(core, AGENT, &args, &place);
        let agent_addr = agent.listening(1)[0];
        Site {
            agent,
            agent_addr,
            agent_data,
            manager: None,
            manager_data: dir.join(&format!("{name}-manager-data")),
        }
    }

    /// Gives it a manager that serves `fleet`.
    pub fn manage(&mut self, dir: &Dir, name: &str, fleet: &str) {
        let config = dir.join(&format!("{name}-fleet.json"));
        std::fs::write(&config, fleet).expect("write the fleet file");
        let args = [
            "serve",
            "--config",
            arg(&config),
            "--data",
            arg(&self.manager_data),
        ];
        let place = dir.join(&format!("{name}-manager"));
        self.manager = Some(Running::start(MANAGER, &args, &place));
    }

    /// Lets it have its configuration, then do without the manager again.
    pub fn configure(&mut self, dir: &Dir, name: &str, fleet: &str, rows: u64) {
        self.manage(dir, name, fleet);
        self.until_rows(rows);
        self.manager = None;
    }

    pub fn until_rows(&self, rows: u64) {
        until("the agent has its targets", Duration::from_secs(60), || {
            (self.look().rows == rows).then_some(())
        });
    }

    /// What the agent says of itself, and what the system says of it.
    pub fn look(&self) -> AgentLook {
        look(&self.agent, &self.agent_data)
    }
}

/// An agent at one moment.
pub struct AgentLook {
    pub at: Mono,
    pub cpu_ms: u64,
    pub sleeps: u64,
    pub rows: u64,
    pub workers: u64,
    pub probes: u64,
    pub skipped: u64,
    pub late: BTreeMap<u64, u64>,
}

/// See [`Site::look`].
pub fn look(agent: &Running, data: &Path) -> AgentLook {
    let asked = Command::new(AGENT)
        .args(["--status", "--data", arg(data)])
        .output();
    let said = asked.expect("run the agent").stdout;
    let said =
        json::parse(&said).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&said)));
    let figure = |value: &Value<'_>, key: &str| value.get(key).and_then(Value::u64).unwrap_or(0);
    let pairs = said
        .get("late_counts")
        .and_then(Value::array)
        .unwrap_or_default();
    let late = pairs.iter().filter_map(|pair| {
        let [us, count] = pair.array()? else {
            return None;
        };
        Some((us.u64()?, count.u64()?))
    });
    AgentLook {
        at: clock::mono(),
        cpu_ms: cpu_ms(agent.pid()).unwrap_or(0),
        sleeps: agent.sleeps(),
        rows: figure(&said, "rows"),
        workers: figure(&said, "workers"),
        probes: figure(&said, "probes"),
        skipped: figure(&said, "skipped"),
        late: late.collect(),
    }
}

/// What an agent did between two looks.
pub struct Stretch {
    pub seconds: f64,
    pub probes: f64,
    pub cpu_ms: f64,
    late: Vec<(u64, u64)>,
}

impl Stretch {
    pub fn between(before: &AgentLook, after: &AgentLook) -> Stretch {
        let since = |us: &u64| before.late.get(us).copied().unwrap_or(0);
        Stretch {
            seconds: after.at.since(before.at).as_secs_f64(),
            probes: (after.probes - before.probes) as f64,
            cpu_ms: (after.cpu_ms - before.cpu_ms) as f64,
            late: after
                .late
                .iter()
                .map(|(us, n)| (*us, n - since(us)))
                .collect(),
        }
    }

    /// What the agent does from now on for so long.
    pub fn watch(site: &Site, seconds: u64) -> Stretch {
        let before = site.look();
        clock::sleep(Duration::from_secs(seconds));
        Stretch::between(&before, &site.look())
    }

    pub fn cpu_us_per_probe(&self) -> f64 {
        self.cpu_ms * 1e3 / self.probes
    }

    pub fn rate(&self) -> f64 {
        self.probes / self.seconds
    }

    /// The lateness that so many thousandths of the probes stay under, in milliseconds.
    pub fn late_ms(&self, per_mille: u64) -> f64 {
        let all: u64 = self.late.iter().map(|(_, n)| n).sum();
        let mut left = (all * per_mille).div_ceil(1000);
        for (us, n) in &self.late {
            if *n >= left {
                return *us as f64 / 1e3;
            }
            left -= n;
        }
        0.0
    }
}
