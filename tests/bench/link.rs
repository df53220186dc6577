//! What sealing a link costs: the channel alone, and a real agent's backlog on its way
//! into a real manager's history. Plain and sealed alternate in one run, so that a noisy
//! machine disturbs both alike; the ratio is what counts.
//!
//! The backlog is recorded once; each fetch has a copy of the agent's directory and a
//! manager without a past. The backlog is stored when the manager begins the history of
//! the agent's next run: before that it makes the run at hand durable. It is acknowledged
//! when the agent has let go of the last segment of it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{
    self, AGENT, Dir, MANAGER, NAME, Running, arg, keys, name, percentile, until,
};
use crate::table::Table;
use tcpmon::channel::{self, Channel};
use tcpmon::clock;
use tcpmon::config::agent_config_json;
use tcpmon::journal::list_segments;
use tcpmon::key::Key;
use tcpmon::model::{Epoch, Failure, Id, Name, Revision, Sample, Target, Terms, Wall, Why, micros};
use tcpmon::net::line::Step;
use tcpmon::net::resolve::Resolver;
use tcpmon::proto::{self, Hello, Message, Role, Side};
use tcpmon::record::{self, Body, Record};

/// Rounds each way through the channel alone, and fetches of the backlog.
const ROUNDS: usize = 3;
const FETCHES: usize = 5;
/// Sent through the channel alone in each round, and how much at once.
const CHANNEL_BYTES: usize = 128 << 20;
const BATCH_BYTES: usize = 64 * 1024;
/// Different batches, so that not always the same text is sealed.
const BATCHES: u64 = 16;
/// The backlog: so many records, or what there is after so long.
const BACKLOG_RECORDS: u64 = 300_000;
const BACKLOG_WITHIN: Duration = Duration::from_secs(100);
const BACKLOG_RECORDS_MIN: u64 = 30_000;
const TARGETS: usize = 1_000;
const INTERVAL: Duration = Duration::from_millis(100);
/// Ports of the test server: one alone would run out of connections.
const PORTS: usize = 20;
const SPOOL_LIMIT: &str = "256MiB";
/// Longest wait for one message, round or fetch.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for the agent to let go of what is stored; the manager acknowledges what
/// it has twice a second.
const LET_GO_WITHIN: Duration = Duration::from_secs(3);

/// One way of linking, and what it came to.
struct Way<'k> {
    what: &'static str,
    key: Option<&'k Key>,
    channel_us: Vec<u64>,
    fetches: Vec<Fetch>,
}

/// What one fetch of the whole backlog took.
struct Fetch {
    stored_us: u64,
    /// `None`: not within [`LET_GO_WITHIN`].
    let_go_us: Option<u64>,
    agent_ms: Option<u64>,
    manager_ms: Option<u64>,
}

/// What waits in the agent's spool.
struct Backlog {
    agent: Id,
    epoch: Epoch,
    records: u64,
    bytes: u64,
}

/// The channel alone, then a whole backlog, plain and sealed.
pub fn link(dir: &Dir, table: &mut Table) {
    let key = keys(dir);
    let mut ways = [("plain", None), ("sealed", Some(&key))].map(|(what, key)| Way {
        what,
        key,
        channel_us: Vec::new(),
        fetches: Vec::new(),
    });
    let (batches, records) = batches();
    for round in 0..ROUNDS * ways.len() {
        let way = &mut ways[round % 2];
        way.channel_us.push(channel_alone(way.key, &batches));
    }
    let backlog = make_backlog(dir);
    for round in 0..FETCHES * ways.len() {
        let way = &mut ways[round % 2];
        way.fetches.push(fetch(dir, &backlog, way.key.is_some()));
    }
    report(table, &ways, records, &backlog);
}

/// Batches of record lines such as agents write, and how many records [`CHANNEL_BYTES`]
/// of them are.
fn batches() -> (Vec<Vec<u8>>, f64) {
    let (mut seq, mut bytes) = (100_000, 0);
    let made: Vec<Vec<u8>> = (0..BATCHES)
        .map(|_| {
            let mut text = String::new();
            loop {
                let before = text.len();
                record(seq).write(&mut text);
                if text.len() > BATCH_BYTES {
                    text.truncate(before);
                    break;
                }
                seq += 1;
            }
            bytes += text.len();
            text.into_bytes()
        })
        .collect();
    let records = (seq - 100_000) as f64 * CHANNEL_BYTES as f64 / bytes as f64;
    (made, records)
}

/// A record like those of a real agent: mostly answers, now and then a refusal.
fn record(seq: u64) -> Record {
    let noise = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let at = Wall(1_763_820_000_000 + seq * 3);
    let failure = (seq % 16 == 0).then(|| Failure {
        why: Why::Refused,
        text: format!("connect to 10.0.{}.7:5432: connection refused", noise % 256),
    });
    Record {
        seq,
        at,
        body: Body::Result(Sample {
            target: name(&format!("web-{}.example", noise % 1000)),
            at,
            us: noise % 50_000,
            failure,
            tries: 1,
            late_us: 0,
            addr: None,
            dns_stale: false,
            phases: Default::default(),
            retransmit: false,
            each: None,
        }),
    }
}

/// Sends [`CHANNEL_BYTES`] from a dialled agent to a dialling manager; how long, from the
/// first line asked for to the last one had.
fn channel_alone(key: Option<&Key>, batches: &[Vec<u8>]) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let addr = listener.local_addr().expect("its address");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let introduce = |_: &Hello| {
                let mine = hello(Role::Agent, Side::Dialled, 2, name(NAME));
                Ok((mine, key.cloned()))
            };
            let answered = channel::answer(stream, introduce, |_, _| Ok(()));
            let (mut channel, ()) = answered.expect("a greeting");
            let mut left = CHANNEL_BYTES;
            for batch in batches.iter().cycle() {
                channel.writer.write(batch).expect("write a batch");
                left = left.saturating_sub(batch.len());
                if left == 0 {
                    break;
                }
            }
            channel.writer.close();
        });
        let mut channel = dial(addr, key);
        let began = clock::mono();
        channel.reader.stream().deadline = began.after(PATIENCE);
        let mut bytes = 0;
        while channel.reader.step().expect("a line") == Step::Whole {
            bytes += channel.reader.line().len() + 1;
        }
        assert!(bytes >= CHANNEL_BYTES, "only {bytes} bytes came");
        micros(clock::mono().since(began)) * CHANNEL_BYTES as u64 / bytes as u64
    })
}

fn dial(addr: SocketAddr, key: Option<&Key>) -> Channel {
    let address = addr.to_string().parse().expect("an address");
    let keys = key.map(|key| vec![key.clone()]);
    let mine = |_: Option<&Key>| hello(Role::Manager, Side::Dialler, 1, name("maker"));
    channel::dial(&Resolver::default(), &address, keys, &mut 0, mine)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn hello(role: Role, side: Side, id: u64, name: Name) -> Hello {
    Hello {
        version: proto::VERSION,
        role,
        side,
        id: Id(id),
        name,
        instance: Id(id),
        at: clock::wall(),
        expects: None,
        auth: None,
    }
}

/// Has an agent probe a lot while no manager takes its results; leaves its directory in
/// `source`, known to no manager.
fn make_backlog(dir: &Dir) -> Backlog {
    let (_server, ports) = support::server(PORTS, &dir.join("server"));
    let data = dir.join("source");
    let (agent, addr) = start_agent(dir, &data, None);
    let id = configure(addr, 1, &targets(&ports));
    let spool = data.join("spool");
    let deadline = clock::mono().after(BACKLOG_WITHIN);
    while last_record(&spool, None).is_none_or(|(_, seq)| seq < BACKLOG_RECORDS)
        && clock::mono() < deadline
    {
        clock::sleep(Duration::from_millis(200));
    }
    configure(addr, 2, &[]);
    // What was under way is in the spool when nothing has come for a while.
    let mut seen = None;
    let (epoch, records) = until("the spool comes to rest", PATIENCE, || {
        let last = last_record(&spool, None);
        clock::sleep(Duration::from_secs(1));
        (std::mem::replace(&mut seen, last) == last).then_some(last)?
    });
    drop(agent);
    assert!(records >= BACKLOG_RECORDS_MIN, "only {records} records");
    let forgotten = Command::new(AGENT)
        .args(["--forget", "maker", "--data", arg(&data)])
        .output();
    assert!(forgotten.expect("run the agent").status.success());
    let size = |segment: String| fs::metadata(spool.join(segment)).map_or(0, |m| m.len());
    Backlog {
        agent: id,
        epoch,
        records,
        bytes: segments(&spool, epoch).into_iter().map(size).sum(),
    }
}

/// The agent on `data`, and where it listens.
fn start_agent(dir: &Dir, data: &Path, key_file: Option<&Path>) -> (Running, SocketAddr) {
    let mut args = vec!["--listen", "127.0.0.1:0", "--name", NAME];
    args.extend(["--spool-limit", SPOOL_LIMIT, "--data", arg(data)]);
    if let Some(path) = key_file {
        args.extend(["--key-file", arg(path)]);
    }
    let mut agent = Running::start(AGENT, &args, &dir.join("agent"));
    let addr = agent.listening(1)[0];
    (agent, addr)
}

fn targets(ports: &[SocketAddr]) -> Vec<Target> {
    let target = |n: usize| {
        Target::new(
            name(&format!("target-{n}.example")),
            ports[n % ports.len()].to_string().parse().expect("valid"),
            Terms::every(INTERVAL, INTERVAL),
        )
    };
    (0..TARGETS).map(target).collect()
}

/// Gives the agent its targets as a manager that takes no records; the agent's id.
fn configure(addr: SocketAddr, counter: u64, targets: &[Target]) -> Id {
    let mut channel = dial(addr, None);
    let text = agent_config_json(targets);
    let revision = Revision {
        owner: Id(1),
        owner_name: name("maker"),
        counter,
        hash: proto::content_hash(&text),
    };
    for part in proto::parts(&revision, false, &text) {
        let line = Message::Config(part).line();
        channel.writer.write(line.as_bytes()).expect("configure");
    }
    channel.reader.stream().deadline = clock::mono().after(PATIENCE);
    loop {
        let step = channel.reader.step().expect("an answer");
        assert_eq!(step, Step::Whole, "the agent closed the connection");
        match Message::parse(channel.reader.line()) {
            Ok(Message::Applied(_)) => return channel.peer.id,
            Ok(Message::Rejected { problems, .. }) => panic!("{problems:?}"),
            _ => {}
        }
    }
}

/// The names of an epoch's segments.
fn segments(dir: &Path, epoch: Epoch) -> Vec<String> {
    let all = list_segments(dir).unwrap_or_default();
    let of = all.into_iter().filter(|s| s.epoch == epoch);
    of.map(|s| s.name).collect()
}

/// The last record in a journal, of one epoch or of the newest.
fn last_record(dir: &Path, epoch: Option<Epoch>) -> Option<(Epoch, u64)> {
    let mut all = list_segments(dir).ok()?;
    all.retain(|s| epoch.is_none_or(|e| e == s.epoch));
    let newest = all.last()?;
    let bytes = fs::read(dir.join(&newest.name)).ok()?;
    let mut lines = bytes.rsplit(|b| *b == b'\n').skip(1);
    let span = record::span(lines.next()?).ok()?;
    Some((newest.epoch, span.seq))
}

/// Has a new manager fetch the whole backlog from a copy of the agent's directory.
fn fetch(dir: &Dir, backlog: &Backlog, sealed: bool) -> Fetch {
    let (agent_data, manager_data) = (dir.join("agent-data"), dir.join("manager-data"));
    copy(&dir.join("source"), &agent_data);
    let key_file = sealed.then(|| dir.join("bench.key"));
    let (agent, addr) = start_agent(dir, &agent_data, key_file.as_deref());
    let key = if sealed {
        r#","key_file":"master.key""#
    } else {
        ""
    };
    let fleet =
        format!(r#"{{"agents":[{{"name":"{NAME}","address":"{addr}"{key}}}],"targets":[]}}"#);
    let config = dir.join("fleet.json");
    fs::write(&config, fleet).expect("write the fleet file");
    let before_ms = agent.cpu_ms();
    let began = clock::mono();
    let args = [
        "serve",
        "--config",
        arg(&config),
        "--data",
        arg(&manager_data),
    ];
    let manager = Running::start(MANAGER, &args, &dir.join("manager"));
    let history = manager_data.join("history").join(backlog.agent.to_string());
    until("the manager has everything", PATIENCE, || {
        let stored = list_segments(&history).unwrap_or_default();
        stored
            .iter()
            .any(|s| s.epoch != backlog.epoch)
            .then_some(())
    });
    let stored_us = micros(clock::mono().since(began));
    let agent_ms = agent.cpu_ms().zip(before_ms).map(|(now, then)| now - then);
    let manager_ms = manager.cpu_ms();
    let last = Some((backlog.epoch, backlog.records));
    assert_eq!(last_record(&history, Some(backlog.epoch)), last);
    let let_go_us = until_let_go(&agent_data.join("spool"), backlog.epoch)
        .then(|| micros(clock::mono().since(began)));
    drop((agent, manager));
    for data in [agent_data, manager_data] {
        fs::remove_dir_all(data).expect("clear up");
    }
    Fetch {
        stored_us,
        let_go_us,
        agent_ms,
        manager_ms,
    }
}

/// Whether the agent soon holds nothing of the epoch any more.
fn until_let_go(spool: &Path, epoch: Epoch) -> bool {
    let deadline = clock::mono().after(LET_GO_WITHIN);
    while clock::mono() < deadline {
        if segments(spool, epoch).is_empty() {
            return true;
        }
        clock::sleep(Duration::from_millis(5));
    }
    false
}

/// Copies the files of a directory and of those in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a directory");
    for entry in fs::read_dir(from).expect("read a directory") {
        let path = entry.expect("an entry").path();
        let into = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &into);
        } else if path.is_file() {
            fs::copy(&path, into).expect("copy a file");
        }
    }
}

fn report(table: &mut Table, ways: &[Way<'_>; 2], channel_records: f64, backlog: &Backlog) {
    let (records, bytes) = (backlog.records as f64, backlog.bytes as f64);
    let fetched = records * FETCHES as f64;
    for (way, goal) in ways.iter().zip([200_000.0, 150_000.0]) {
        let what = |figure: &str| format!("link, {}: {figure}", way.what);
        let alone_s = percentile(&way.channel_us, 500) as f64 / 1e6;
        table.told(
            &what("the channel alone, records"),
            "/s",
            channel_records / alone_s,
        );
        let of_fetches = |pick: fn(&Fetch) -> u64| {
            percentile(&way.fetches.iter().map(pick).collect::<Vec<_>>(), 500) as f64 / 1e6
        };
        let stored_s = of_fetches(|f| f.stored_us);
        table.at_least(
            &what("backlog stored, records"),
            "/s",
            goal,
            records / stored_s,
        );
        table.told(&what("backlog stored"), "MB/s", bytes / stored_s / 1e6);
        let cpu_us = |pick: fn(&Fetch) -> Option<u64>| {
            way.fetches.iter().filter_map(pick).sum::<u64>() as f64 * 1e3 / fetched
        };
        table.told(&what("agent's CPU, a record"), "µs", cpu_us(|f| f.agent_ms));
        table.told(
            &what("manager's CPU, a record"),
            "µs",
            cpu_us(|f| f.manager_ms),
        );
        match way.fetches.iter().all(|f| f.let_go_us.is_some()) {
            true => {
                let let_go = of_fetches(|f| f.let_go_us.unwrap_or(0));
                table.told(&what("backlog acknowledged and let go of"), "s", let_go);
            }
            false => table.left_out(&what("backlog let go of"), "not within three seconds"),
        }
    }
}
