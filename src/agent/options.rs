//! The agent's command line: its options, what they may be together, and the key files
//! they name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::Keys;
use super::{outward, spool, web};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::config::{self, MODULE_DEFAULT, MODULES_BYTES_MAX, ProbeModule};
use crate::error::{Error, Result};
use crate::files;
use crate::http::access::{self, Access};
use crate::journal::SyncMode;
use crate::log;
use crate::model::Name;
use crate::net::listen;
use crate::units::{HostPort, Reach, duration_text, parse_duration, parse_size, size_text};

/// Where the agent listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:65432";
/// Most probing threads unless told otherwise, and at all.
const WORKERS_DEFAULT: usize = 2048;
const WORKERS_MAX: usize = 65_536;
/// Longest time for which records wait to be written together.
const FLUSH_MAX: Duration = Duration::from_secs(10);
const SPOOL_LIMIT_DEFAULT: u64 = 64 * 1024 * 1024;

pub const PROGRAM: Program = Program {
    name: "tcpmon-agent",
    about: "Probes TCP services as its managers say, keeps every result until they have it.",
    usage: &[
        "tcpmon-agent [--listen ADDR] [--key-file FILE] [--data DIR] [options]",
        "tcpmon-agent --manager HOST:PORT [--key-file FILE] [--data DIR] [options]",
        "tcpmon-agent --forget NAME [--data DIR]",
        "tcpmon-agent --status [--data DIR]",
        "tcpmon-agent check -H HOST -p PORT [options]",
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
            help: "dial this manager, instead of listening or beside it",
            repeat: true,
        },
        Opt {
            name: "--key-file",
            value: "FILE",
            default: "",
            help: "a manager's key, as tcpmon-manager keygen --agent makes it; links are then sealed, and only who has a key gets in; one for each manager",
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
            help: "room for what managers lack; beyond it plain results become sums, then the oldest a gap",
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
            name: "--flush",
            value: "D",
            default: "50ms",
            help: "results are written and sent within this time, together: 0 for each by itself at once, at most 10s",
            repeat: false,
        },
        Opt {
            name: "--max-workers",
            value: "N",
            default: "2048",
            help: "most probes under way at once; each costs a thread while it lasts",
            repeat: false,
        },
        Opt {
            name: "--allow",
            value: "CIDR",
            default: "anything",
            help: "probe only within this network, such as 10.0.0.0/8 or 2001:db8::/32, whatever managers say",
            repeat: true,
        },
        Opt {
            name: "--deny",
            value: "CIDR",
            default: "",
            help: "never probe within this network, even where --allow does",
            repeat: true,
        },
        access::HTTP,
        access::TOKEN_FILE,
        Opt {
            name: "--modules",
            value: "FILE",
            default: "tcp_connect alone",
            help: "what a probe on demand over HTTP says and expects, by the name of its module",
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
        Opt {
            name: "--status",
            value: "",
            default: "",
            help: "say how the running agent gets on, as one line of JSON, and end",
            repeat: false,
        },
    ],
    more: "",
    free_max: 0,
};

/// What the command line asks for.
pub struct Options {
    /// `None` when it only dials.
    pub listen: Option<SocketAddr>,
    pub managers: Vec<HostPort>,
    pub keys: Keys,
    pub name: Name,
    pub spool_limit: u64,
    pub sync: SyncMode,
    pub flush: Duration,
    pub workers_max: usize,
    /// What managers may have probed.
    pub reach: Reach,
    pub web: Option<web::Options>,
}

impl Options {
    /// Reads it, key files included.
    pub fn read(args: &Args) -> std::result::Result<Options, Fail> {
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
            flush: args
                .parsed("--flush", flush)?
                .unwrap_or(spool::FLUSH_DEFAULT),
            workers_max: args
                .parsed("--max-workers", |text| cli::count(text, WORKERS_MAX))?
                .unwrap_or(WORKERS_DEFAULT),
            reach: Reach::parse(args.all("--allow"), args.all("--deny"))?,
            web: read_web(args)?,
        })
    }
}

/// How HTTP is answered, if it is.
fn read_web(args: &Args) -> std::result::Result<Option<web::Options>, Fail> {
    let file = args.get("--modules");
    let Some(access) = Access::read(args)? else {
        return match file {
            Some(_) => Err(Fail::Usage("--modules: goes with --http".into())),
            None => Ok(None),
        };
    };
    let mut modules = match file {
        Some(path) => read_modules(path)?,
        None => Vec::new(),
    };
    if modules.iter().all(|m| m.name.as_str() != MODULE_DEFAULT) {
        let name = MODULE_DEFAULT.parse().expect("a valid name");
        modules.push(ProbeModule::new(name));
    }
    let allowed = match args.get("--allow") {
        Some(_) => Some(Reach::parse(args.all("--allow"), args.all("--deny"))?),
        None => None,
    };
    Ok(Some(web::Options {
        access,
        modules,
        allowed,
    }))
}

fn read_modules(path: &str) -> Result<Vec<ProbeModule>> {
    let bytes = files::read_bounded(Path::new(path), MODULES_BYTES_MAX)?;
    config::parse_modules(&bytes).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("{path}:{problem}"));
        Error::new(lines.collect::<Vec<_>>().join("\n"))
    })
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

fn flush(text: &str) -> std::result::Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        _ => match parse_duration(text)? {
            d if d > FLUSH_MAX => Err(format!("expected at most {}", duration_text(FLUSH_MAX))),
            d => Ok(d),
        },
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
