//! The `tcpmon-agent` program: probes on schedule from its last good configuration,
//! records every result on disk, and serves the managers that connect.
//!
//! Starting is recovering: there is no clean shutdown, and nothing is kept only in
//! memory that a restart would need.

mod control;
mod host;
mod managers;
mod prober;
mod recorder;
mod session;
mod settings;
mod spool;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::bell::Bell;
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::clock;
use crate::error::{Error, Result};
use crate::files;
use crate::journal::{SyncMode, create_file};
use crate::log;
use crate::model::{Id, Name};
use crate::net::listen::{self, Gate, Stop};
use crate::net::resolve::Resolver;
use crate::record::Body;
use crate::units::{parse_size, size_text};

use managers::Managers;
use prober::Prober;
use recorder::Recorder;
use settings::Settings;
use spool::Spool;

/// Where the agent listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:65432";
/// Most connections at once, of whatever kind.
const CONNECTIONS_MAX: usize = 32;
/// Most probing threads unless told otherwise, and at all.
const WORKERS_DEFAULT: usize = 1024;
const WORKERS_MAX: usize = 65_536;
const SPOOL_LIMIT_DEFAULT: u64 = 64 * 1024 * 1024;

const PROGRAM: Program = Program {
    name: "tcpmon-agent",
    about: "Probes TCP services as its managers say, keeps every result until they have it.",
    usage: &[
        "tcpmon-agent [--listen ADDR] [--name NAME] [--data DIR] [options]",
        "tcpmon-agent --forget NAME [--data DIR]",
    ],
    opts: &[
        Opt {
            name: "--listen",
            value: "ADDR",
            default: LISTEN_DEFAULT,
            help: "IP:PORT to listen on for managers; port 0 picks a free one",
            repeat: false,
        },
        Opt {
            name: "--name",
            value: "NAME",
            default: "the host's name",
            help: "what the agent calls itself",
            repeat: false,
        },
        Opt {
            name: "--data",
            value: "DIR",
            default: "$STATE_DIRECTORY, else ~/.local/state/tcpmon/agent",
            help: "where the configuration and the results are kept",
            repeat: false,
        },
        Opt {
            name: "--spool-limit",
            value: "SIZE",
            default: "64MiB",
            help: "results kept for managers that are away; beyond it the oldest become a gap record",
            repeat: false,
        },
        Opt {
            name: "--sync",
            value: "always|interval|never",
            default: "interval",
            help: "when results are made durable: before they are sent, once a second, or as the system likes",
            repeat: false,
        },
        Opt {
            name: "--max-workers",
            value: "N",
            default: "1024",
            help: "most probes under way at once; each costs a thread while it lasts",
            repeat: false,
        },
        Opt {
            name: "--insecure",
            value: "",
            default: "",
            help: "allow listening beyond loopback, where anyone who connects may read and configure",
            repeat: false,
        },
        Opt {
            name: "--forget",
            value: "NAME",
            default: "",
            help: "stop keeping results for this manager, whether the agent runs or not, and end",
            repeat: false,
        },
    ],
    more: "",
    free_max: 0,
};

/// Runs the program with its arguments (without its own name).
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, |args| {
        let options = Options::read(&args)?;
        let dir = files::data_dir("agent", args.get("--data"))?;
        match args.parsed("--forget", |text| text.parse::<Name>())? {
            Some(name) => forget(&dir, &name)?,
            None => run(&dir, options)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

struct Options {
    listen: SocketAddr,
    name: Name,
    spool_limit: u64,
    sync: SyncMode,
    workers_max: usize,
}

impl Options {
    fn read(args: &Args) -> std::result::Result<Options, Fail> {
        let listen = args.parsed("--listen", listen::address)?;
        let listen = listen.unwrap_or_else(|| LISTEN_DEFAULT.parse().expect("a valid default"));
        let insecure = args.flag("--insecure");
        if !listen.ip().is_loopback() && !insecure {
            return Err(Fail::Usage(format!(
                "--listen {listen}: only loopback is allowed while links have no keys, since anyone who connects may read and configure this agent; --insecure allows it all the same"
            )));
        }
        if !listen.ip().is_loopback() {
            log::line(format_args!(
                "--insecure: anyone who can reach {listen} may read and configure this agent"
            ));
        }
        Ok(Options {
            listen,
            name: args
                .parsed("--name", str::parse)?
                .unwrap_or_else(|| files::host_name("agent")),
            spool_limit: args
                .parsed("--spool-limit", spool_limit)?
                .unwrap_or(SPOOL_LIMIT_DEFAULT),
            sync: args
                .parsed("--sync", sync_mode)?
                .unwrap_or(SyncMode::Interval),
            workers_max: args
                .parsed("--max-workers", |text| cli::count(text, WORKERS_MAX))?
                .unwrap_or(WORKERS_DEFAULT),
        })
    }
}

fn spool_limit(text: &str) -> std::result::Result<u64, String> {
    match parse_size(text)? {
        limit if limit < spool::LIMIT_MIN => {
            Err(format!("expected at least {}", size_text(spool::LIMIT_MIN)))
        }
        limit => Ok(limit),
    }
}

fn sync_mode(text: &str) -> std::result::Result<SyncMode, String> {
    match text {
        "always" => Ok(SyncMode::Always),
        "interval" => Ok(SyncMode::Interval),
        "never" => Ok(SyncMode::Never),
        _ => Err("expected always, interval or never".to_string()),
    }
}

/// What every part of the running agent shares.
struct Agent {
    id: Id,
    name: Name,
    /// Made anew by every process.
    instance: Id,
    /// Rings when there is something to send.
    bell: Arc<Bell>,
    recorder: Arc<Recorder>,
    prober: Prober,
    settings: Mutex<Settings>,
    managers: Mutex<Managers>,
}

impl Agent {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("settings")
    }

    fn managers(&self) -> MutexGuard<'_, Managers> {
        self.managers.lock().expect("managers")
    }

    /// Forgets a manager and lets go of what only it lacked.
    #[cfg(unix)]
    fn forget(&self, name: &Name) -> Result<String> {
        self.managers().forget(name)?;
        for range in self.recorder.spool.ranges() {
            let floor = self.managers().floor(range.epoch);
            self.recorder.spool.acknowledged(range.epoch, floor);
        }
        self.bell.ring();
        Ok(forgotten(name))
    }
}

fn forgotten(name: &Name) -> String {
    format!("manager {name} is forgotten")
}

/// Forgets a manager, through the running agent or, when none runs, on disk.
fn forget(dir: &Path, name: &Name) -> Result<()> {
    files::ensure_dir(dir)?;
    let text = match files::try_lock(dir)? {
        Some(_lock) => {
            Managers::open(dir)?.forget(name)?;
            forgotten(name)
        }
        None => control::ask_to_forget(dir, name)?,
    };
    cli::print(&format!("{text}\n"));
    Ok(())
}

/// Recovers what is in `dir`, then probes and serves for ever.
fn run(dir: &Path, options: Options) -> Result<()> {
    files::ensure_dir(dir)?;
    let _lock = files::lock(dir)?;
    let listener = listen::bind(options.listen)?;
    let address = listen::local_addr(&listener)?;
    let agent = start(dir, options)?;
    if let Err(error) = control::listen(&agent, dir) {
        log::line(format_args!("{error}; --forget will not reach this agent"));
    }
    cli::print(&format!("listening on {address}\n"));
    let gate = Gate::new(CONNECTIONS_MAX);
    let stop = Stop::new(&listener, &gate)?;
    let serving = Arc::clone(&agent);
    let handler = move |stream, peer| session::serve(&serving, stream, peer);
    listen::serve(listener, &gate, "session", handler, &stop);
    Err(Error::new(format!("listener on {address} ended")))
}

/// Opens the data directory and starts probing from the last good configuration.
fn start(dir: &Path, options: Options) -> Result<Arc<Agent>> {
    let id = files::own_id(dir)?;
    let bell = Arc::new(Bell::default());
    let spool_options = spool::Options {
        limit: options.spool_limit,
        sync: options.sync,
        create: create_file(),
    };
    let spool = Spool::open(&spool::dir_in(dir), id, spool_options, Arc::clone(&bell))?;
    let alive = spool.alive;
    let recorder = Arc::new(Recorder::new(Arc::new(spool)));
    let version = env!("CARGO_PKG_VERSION").to_string();
    recorder.event(clock::wall(), Body::Start { alive, version });
    recorder.clock(clock::wall(), clock::mono());
    let prober = Prober::new(
        Resolver::default(),
        Arc::clone(&recorder),
        options.workers_max,
    );
    let managers = Managers::open(dir)?;
    let (settings, targets) = Settings::open(dir);
    if let Some(revision) = settings.revision() {
        let (counter, owner, count) = (revision.counter, &revision.owner_name, targets.len());
        log::line(format_args!(
            "going on from configuration {counter} of manager {owner}: {count} targets"
        ));
    }
    prober.replace(targets);
    Ok(Arc::new(Agent {
        id,
        name: options.name,
        instance: Id(clock::random()),
        bell,
        recorder,
        prober,
        settings: Mutex::new(settings),
        managers: Mutex::new(managers),
    }))
}
