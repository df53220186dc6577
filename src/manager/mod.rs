//! The `tcpmon-manager` program: keeps a link to every agent of the fleet, dialled or
//! dialling in, stores what they record, tells how things stand. A prompt-driven menu, and the same work
//! headless; commands that only read need no running manager and disturb none.

pub mod alerts;
pub mod audit;
pub mod board;
mod clocks;
pub mod columns;
mod control;
pub mod core;
mod events;
pub mod exports;
pub mod extract;
pub mod fleet_file;
mod history;
pub mod import;
pub mod keygen;
mod knock;
mod link;
pub mod live;
pub mod menu;
mod past;
pub mod quiet;
pub mod replay;
pub mod report;
mod serve;
pub mod silence;
pub mod state;
pub mod status;
mod tail;
mod trend;
pub mod validate;
pub mod view;
mod watch;
mod web;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::{self, Args, Fail, Opt, Program};
use crate::config::KeyRule;
use crate::error::{Error, Result};
use crate::files;
use crate::http::access::{self, Access};
use crate::log;
use crate::model::Name;
use crate::net::listen;
use crate::term::Lines;
use crate::text;
use crate::units::{parse_duration, parse_size};

use self::core::{Core, Options};
use self::history::Limits;

const COMMANDS: [&str; 12] = [
    "serve",
    "watch",
    "status",
    "report",
    "audit",
    "silence",
    "unsilence",
    "alert",
    "export",
    "import",
    "validate",
    "keygen",
];
/// The fleet file used when none is named and it is there.
pub const FLEET_FILE: &str = "fleet.json";
const HISTORY_LIMIT_DEFAULT: u64 = 1024 * 1024 * 1024;
const HISTORY_AGE_DEFAULT: Duration = Duration::from_secs(30 * 86_400);

pub(crate) const CONFIG: Opt = Opt {
    name: "--config",
    value: "FILE",
    default: "fleet.json, when it is there",
    help: "the fleet file",
    repeat: false,
};
pub(crate) const DATA: Opt = Opt {
    name: "--data",
    value: "DIR",
    default: "$STATE_DIRECTORY, else ~/.local/state/tcpmon/manager",
    help: "where the history is kept",
    repeat: false,
};
const NAME: Opt = Opt {
    name: "--name",
    value: "NAME",
    default: "the host's name",
    help: "what the manager calls itself to agents",
    repeat: false,
};
const TAKE_OVER: Opt = Opt {
    name: "--take-over",
    value: "",
    default: "",
    help: "replace configurations on agents that belong to another manager",
    repeat: false,
};
const HISTORY_LIMIT: Opt = Opt {
    name: "--history-limit",
    value: "SIZE",
    default: "1GiB",
    help: "beyond this the oldest history is deleted",
    repeat: false,
};
const HISTORY_AGE: Opt = Opt {
    name: "--history-age",
    value: "DURATION",
    default: "30d",
    help: "older history is deleted",
    repeat: false,
};

const LISTEN: Opt = Opt {
    name: "--listen",
    value: "ADDR",
    default: "",
    help: "IP:PORT to listen on for agents that dial in; port 0 picks a free one",
    repeat: false,
};
pub(crate) const INSECURE: Opt = Opt {
    name: "--insecure",
    value: "",
    default: "",
    help: "accept links beyond loopback without keys, where anyone may read along and pose as an agent",
    repeat: false,
};

const HTTP_PUBLIC: Opt = Opt {
    name: access::PUBLIC,
    value: "",
    default: "",
    help: "HTTP shows the status page to everyone, without addresses, agents and what \"page\" hides; the rest only with the token, if there is one",
    repeat: false,
};

/// What every mode takes that monitors.
const MONITORING: &[Opt] = &[
    CONFIG,
    DATA,
    NAME,
    LISTEN,
    TAKE_OVER,
    HISTORY_LIMIT,
    HISTORY_AGE,
    access::HTTP,
    access::TOKEN_FILE,
    HTTP_PUBLIC,
    INSECURE,
];

const MENU: Program = Program {
    name: "tcpmon-manager",
    about: "Monitors TCP services through its agents; without a command, a menu.",
    usage: &[
        "tcpmon-manager [--config FILE] [--data DIR] [options]",
        "tcpmon-manager COMMAND [options]",
    ],
    opts: MONITORING,
    more: "Commands (each with --help):\n  serve     monitor without prompts, changes of state on stderr\n  watch     the live view; into a pipe, every record as a line of JSON\n  status    what is up and down now\n  report    availability and latency over a period\n  audit     whether any record is missing\n  silence   leave targets alone for a while\n  unsilence lift a silence\n  alert     send a receiver of alerts a test\n  export    print a period of the history\n  import    add targets of a list to the fleet file\n  validate  check a fleet file\n  keygen    make keys for links",
    free_max: 0,
};
const SERVE: Program = Program {
    name: "tcpmon-manager serve",
    about: "Monitors without prompts; changes of state are told on stderr, one line each.",
    usage: &["tcpmon-manager serve [--config FILE] [--data DIR] [options]"],
    opts: MONITORING,
    more: "",
    free_max: 0,
};
const WATCH: Program = Program {
    name: "tcpmon-manager watch",
    about: "The live view; into a pipe, every record as it arrives, one line of JSON each. Beside a manager that runs on the same data directory it only reads; else it does the monitoring.",
    usage: &["tcpmon-manager watch [--config FILE] [--data DIR] [options]"],
    opts: MONITORING,
    more: "",
    free_max: 0,
};

/// The program and its commands, for manuals and completions.
pub const PROGRAMS: &[&Program] = &[
    &MENU,
    &SERVE,
    &WATCH,
    &status::PROGRAM,
    &report::PROGRAM,
    &audit::PROGRAM,
    &silence::SILENCE,
    &silence::UNSILENCE,
    &alerts::command::PROGRAM,
    &extract::PROGRAM,
    &import::PROGRAM,
    &validate::PROGRAM,
    &keygen::PROGRAM,
];

/// Runs the program with its arguments (without its own name).
pub fn main(mut args: Vec<OsString>) -> ExitCode {
    let command = args.first().and_then(|a| a.to_str()).map(str::to_string);
    let Some(command) = command.filter(|c| !c.starts_with('-')) else {
        return cli::run(&MENU, args, run_menu);
    };
    args.remove(0);
    match command.as_str() {
        "serve" => cli::run(&SERVE, args, run_serve),
        "watch" => cli::run(&WATCH, args, watch::main),
        "status" => status::main(args),
        "report" => report::main(args),
        "alert" => alerts::command::main(args),
        "audit" => audit::main(args),
        "export" => extract::main(args),
        "import" => import::main(args),
        "silence" => silence::main(args),
        "unsilence" => silence::main_of_lifting(args),
        "validate" => validate::main(args),
        "keygen" => keygen::main(args),
        _ => cli::run(&MENU, Vec::new(), |_| Err(unknown(&command))),
    }
}

fn unknown(command: &str) -> Fail {
    let hint = match text::nearest(command, COMMANDS.into_iter()) {
        Some(near) => format!(": did you mean {near}?"),
        None => format!("; there are {}", COMMANDS.join(", ")),
    };
    Fail::Usage(format!("unknown command {command}{hint}"))
}

/// The menu. A fleet file that can't be used is told, and can be mended from there.
fn run_menu(args: Args) -> std::result::Result<ExitCode, Fail> {
    let access = Access::read(&args)?;
    let core = Core::start(options(&args)?)?;
    if let Some(path) = fleet_path(&args) {
        if let Err(problems) = core.load(&path) {
            for problem in &problems {
                cli::print(&format!("{}\n", text::escape(problem)));
            }
        }
    }
    print_listening(listen(&core)?);
    print_http(show(&core, access)?);
    let lines = Lines::stdin()?;
    // A reader who is gone ends the menu as the end of input does.
    let _ = menu::run(&core, &lines, &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

fn run_serve(args: Args) -> std::result::Result<ExitCode, Fail> {
    let access = Access::read(&args)?;
    let core = Core::start(options(&args)?)?;
    load(&core, &need_fleet_path(&args)?)?;
    print_listening(listen(&core)?);
    print_http(show(&core, access)?);
    serve::run(&core)
}

/// The options of a manager that runs.
fn options(args: &Args) -> std::result::Result<Options, Fail> {
    let limits = Limits {
        bytes: args
            .parsed("--history-limit", parse_size)?
            .unwrap_or(HISTORY_LIMIT_DEFAULT),
        age: args
            .parsed("--history-age", parse_duration)?
            .unwrap_or(HISTORY_AGE_DEFAULT),
    };
    let name = args.parsed("--name", str::parse::<Name>)?;
    Ok(Options {
        data: files::data_dir("manager", args.get("--data"))?,
        name: name.unwrap_or_else(|| files::host_name("manager")),
        take_over: args.flag("--take-over"),
        limits,
        key_rule: key_rule(args),
        listen: args.parsed("--listen", listen::address)?,
    })
}

/// Whether agents beyond loopback need keys.
fn key_rule(args: &Args) -> KeyRule {
    match args.flag("--insecure") {
        true => KeyRule::Waived,
        false => KeyRule::Required,
    }
}

fn print_listening(bound: Option<SocketAddr>) {
    if let Some(bound) = bound {
        cli::print(&format!("listening on {bound}\n"));
    }
}

fn print_http(bound: Option<SocketAddr>) {
    if let Some(bound) = bound {
        cli::print(&format!("http on {bound}\n"));
    }
}

/// Answers HTTP, when that is asked for; where.
fn show(core: &Arc<Core>, access: Option<Access>) -> Result<Option<SocketAddr>> {
    access.map(|access| web::start(core, access)).transpose()
}

/// Listens for agents that dial in, when that is asked for, and says where. Beyond
/// loopback only with keys, unless the user says otherwise.
fn listen(core: &Arc<Core>) -> std::result::Result<Option<SocketAddr>, Fail> {
    if core.key_rule() == KeyRule::Waived {
        log::line(
            "--insecure: links have no keys: anyone on the way may read along, and pose as an agent",
        );
    }
    let Some(addr) = core.listens() else {
        return Ok(None);
    };
    let keyed = !core.fleet().key_files().is_empty() || core.key_rule() == KeyRule::Waived;
    if !addr.ip().is_loopback() && !keyed {
        return Err(Fail::Usage(format!(
            "--listen {addr}: beyond loopback links need keys, and the fleet file names no \"key_file\"; --insecure allows it all the same"
        )));
    }
    Ok(Some(knock::start(core, addr)?))
}

/// The fleet file that is named, or the usual one when it is there.
fn fleet_path(args: &Args) -> Option<PathBuf> {
    match args.get("--config") {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(PathBuf::from(FLEET_FILE)).filter(|path| path.is_file()),
    }
}

fn need_fleet_path(args: &Args) -> std::result::Result<PathBuf, Fail> {
    fleet_path(args).ok_or_else(|| {
        Fail::Usage(format!(
            "no fleet file: name one with --config, or put {FLEET_FILE} here"
        ))
    })
}

/// Loads a fleet file; every problem becomes a line of the error.
fn load(core: &Arc<Core>, path: &Path) -> Result<()> {
    core.load(path)
        .map_err(|problems| Error::new(problems.join("\n")))
}

/// Writes to stdout; false when nobody reads it any more.
fn write_out(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

#[cfg(test)]
pub mod simulated;
