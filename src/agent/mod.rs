//! The `tcpmon-agent` program: probes on schedule from its last good configuration,
//! records every result on disk, and serves the managers that connect.
//!
//! Starting is recovering: there is no clean shutdown, and nothing is kept only in
//! memory that a restart would need.

mod control;
mod host;
mod keys;
mod managers;
mod outward;
mod prober;
mod recorder;
mod session;
mod settings;
mod spool;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
use crate::units::{HostPort, parse_size, size_text};

use keys::Keys;
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
        "tcpmon-agent [--listen ADDR] [--key-file FILE] [--data DIR] [options]",
        "tcpmon-agent --manager HOST:PORT [--key-file FILE] [--data DIR] [options]",
        "tcpmon-agent --forget NAME [--data DIR]",
    ],
    opts: &[
        Opt {
            name: "--listen",
            value: "ADDR",
            default: LISTEN_DEFAULT,
            help: "IP:PORT to listen on for managers; port 0 picks a free one; with --manager only when given",
            repeat: false,
        },
        Opt {
            name: "--manager",
            value: "HOST:PORT",
            default: "",
            help: "dial this manager, instead of listening or beside it; repeatable",
            repeat: true,
        },
        Opt {
            name: "--key-file",
            value: "FILE",
            default: "",
            help: "a manager's key, as tcpmon-manager keygen --agent makes it; links are then sealed, and only who has a key gets in; repeatable, one for each manager",
            repeat: true,
        },
        Opt {
            name: "--name",
            value: "NAME",
            default: "the host's name",
            help: "what the agent calls itself; under a key it goes by the name in the key",
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
            help: "talk beyond loopback without a key, where anyone who connects may read and configure",
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
    /// `None` when it only dials.
    listen: Option<SocketAddr>,
    managers: Vec<HostPort>,
    keys: Keys,
    name: Name,
    spool_limit: u64,
    sync: SyncMode,
    workers_max: usize,
}

impl Options {
    fn read(args: &Args) -> std::result::Result<Options, Fail> {
        let managers = addresses(args)?;
        let listen = match args.parsed("--listen", listen::address)? {
            Some(addr) => Some(addr),
            None if managers.is_empty() => Some(LISTEN_DEFAULT.parse().expect("a valid default")),
            None => None,
        };
        let key_files: Vec<PathBuf> = args.all("--key-file").map(PathBuf::from).collect();
        check_exposure(args, listen, &managers)?;
        Ok(Options {
            listen,
            managers,
            keys: Keys::open(key_files)?,
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

fn addresses(args: &Args) -> std::result::Result<Vec<HostPort>, Fail> {
    let mut managers: Vec<HostPort> = Vec::new();
    for text in args.all("--manager") {
        let address = text
            .parse()
            .map_err(|expected: String| cli::wrong("--manager", &expected, text))?;
        if managers.contains(&address) {
            return Err(Fail::Usage(format!("--manager {address}: given twice")));
        }
        managers.push(address);
    }
    match managers.len() > outward::DIALS_MAX {
        true => Err(Fail::Usage(format!(
            "--manager: at most {} can be dialled",
            outward::DIALS_MAX
        ))),
        false => Ok(managers),
    }
}

/// Beyond loopback a link needs a key, unless the user says that it does not.
fn check_exposure(
    args: &Args,
    listen: Option<SocketAddr>,
    managers: &[HostPort],
) -> std::result::Result<(), Fail> {
    let keyed = args.get("--key-file").is_some();
    let insecure = args.flag("--insecure");
    if keyed && insecure {
        let text = "--insecure and --key-file: a side that has a key never talks without";
        return Err(Fail::Usage(text.into()));
    }
    let listens = listen.filter(|addr| !addr.ip().is_loopback());
    let dials = managers.iter().find(|m| !m.is_loopback());
    let (option, exposed) = match (listens, dials) {
        (Some(addr), _) => ("--listen", addr.to_string()),
        (None, Some(address)) => ("--manager", address.to_string()),
        (None, None) => return Ok(()),
    };
    match (keyed, insecure) {
        (true, _) => Ok(()),
        (false, true) => {
            log::line(format_args!(
                "--insecure: anyone who can reach or pose as {exposed} may read and configure this agent"
            ));
            Ok(())
        }
        (false, false) => Err(Fail::Usage(format!(
            "{option} {exposed}: beyond loopback a link needs a key, since anyone could read and configure this agent: give --key-file (tcpmon-manager keygen --agent NAME makes one), or --insecure"
        ))),
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
    keys: Keys,
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
fn run(dir: &Path, mut options: Options) -> Result<()> {
    files::ensure_dir(dir)?;
    let _lock = files::lock(dir)?;
    let listener = options.listen.map(listen::bind).transpose()?;
    let managers = std::mem::take(&mut options.managers);
    let resolver = Resolver::default();
    let agent = start(dir, options, resolver.clone())?;
    if let Err(error) = control::listen(&agent, dir) {
        log::line(format_args!("{error}; --forget will not reach this agent"));
    }
    keys::watch(&agent)?;
    match &listener {
        Some(listener) => {
            let address = listen::local_addr(listener)?;
            cli::print(&format!("listening on {address}\n"));
        }
        None => cli::print("not listening: dials its managers\n"),
    }
    for address in managers {
        outward::start(&agent, resolver.clone(), address)?;
    }
    let Some(listener) = listener else {
        loop {
            std::thread::park();
        }
    };
    let gate = Gate::new(CONNECTIONS_MAX);
    let stop = Stop::new(&listener, &gate)?;
    let handler = move |stream, peer| session::serve(&agent, stream, peer);
    listen::serve(listener, &gate, "session", handler, &stop);
    Err(Error::new("the listener ended"))
}

/// Opens the data directory and starts probing from the last good configuration.
fn start(dir: &Path, options: Options, resolver: Resolver) -> Result<Arc<Agent>> {
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
    let prober = Prober::new(resolver, Arc::clone(&recorder), options.workers_max);
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
        keys: options.keys,
        name: options.name,
        instance: Id(clock::random()),
        bell,
        recorder,
        prober,
        settings: Mutex::new(settings),
        managers: Mutex::new(managers),
    }))
}
