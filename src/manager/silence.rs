//! `tcpmon-manager silence` and `unsilence`: targets are left alone for a while, or no
//! longer. A manager that runs is asked over its control socket; where none runs, the
//! data directory is locked and its file written, so that the next one knows.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::audit::JSON;
use super::columns;
use super::control;
use super::fleet_file;
use super::quiet::{self, Entry, News, QuietLog, Which};
use super::{CONFIG, DATA, fleet_path};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::clock;
use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::files;
use crate::json;
use crate::model::Wall;
use crate::quiet::Pattern;
use crate::units::parse_utc;

/// How long somebody may hold the data directory and not listen: a manager that starts,
/// or another of these commands.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub const SILENCE: Program = Program {
    name: "tcpmon-manager silence",
    about: "Leaves targets alone for a while: they are measured and shown, and nobody is alerted.",
    usage: &[
        "tcpmon-manager silence PATTERN... [--for DURATION | --until TIME] [--note TEXT] [--config FILE] [--data DIR]",
        "tcpmon-manager silence --list [--json] [--config FILE] [--data DIR]",
    ],
    opts: &[
        Opt {
            name: "--for",
            value: "DURATION",
            default: "1h",
            help: "how long, at most 30d",
            repeat: false,
        },
        Opt {
            name: "--until",
            value: "TIME",
            default: "",
            help: "until when instead, in UTC: 2026-12-01T22:00Z",
            repeat: false,
        },
        Opt {
            name: "--note",
            value: "TEXT",
            default: "",
            help: "why, for whoever looks",
            repeat: false,
        },
        Opt {
            name: "--list",
            value: "",
            default: "",
            help: "print what is silenced, and what maintenance is open or planned",
            repeat: false,
        },
        JSON,
        CONFIG,
        DATA,
    ],
    more: "A PATTERN is a target's name, in which * stands for any characters; quote it from the shell: 'db*'. It must mean a target of the fleet file, if there is one.",
    free_max: quiet::TARGETS_MAX,
};

pub const UNSILENCE: Program = Program {
    name: "tcpmon-manager unsilence",
    about: "Lifts silences before their time is over.",
    usage: &["tcpmon-manager unsilence PATTERN|NUMBER|--all [--data DIR]"],
    opts: &[
        Opt {
            name: "--all",
            value: "",
            default: "",
            help: "lift every silence",
            repeat: false,
        },
        DATA,
    ],
    more: "NUMBER is what silence --list shows; a PATTERN is written as it was given.\nMaintenance ends when the fleet file says.",
    free_max: 1,
};

/// The command `silence`, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&SILENCE, args, |args| match args.flag("--list") {
        true => list(&args),
        false => set(&args),
    })
}

/// The command `unsilence`, with its arguments.
pub fn main_of_lifting(args: Vec<OsString>) -> ExitCode {
    cli::run(&UNSILENCE, args, |args| lift(&args))
}

fn set(args: &Args) -> std::result::Result<ExitCode, Fail> {
    if args.flag("--json") {
        return Err(Fail::Usage("--json goes with --list".into()));
    }
    let now = clock::wall();
    let targets = args.free().iter().map(|text| {
        let pattern = text.parse::<Pattern>();
        pattern.map_err(|expected| cli::wrong("PATTERN", &expected, text))
    });
    let targets = targets.collect::<std::result::Result<Vec<_>, _>>()?;
    let until = end(args, now)?;
    let note = args.get("--note").unwrap_or_default();
    quiet::check(&targets, until, note, now)?;
    let data = files::data_dir("manager", args.get("--data"))?;
    let request = control::silence(&targets, until, note);
    // The one that runs knows its fleet.
    reach(&data, &request, |log| {
        let fleet = fleet(args)?.unwrap_or_default();
        quiet::silence(log, &fleet, targets.clone(), until, note, now)
    })
}

/// Until when.
fn end(args: &Args, now: Wall) -> std::result::Result<Wall, Fail> {
    let lasting = args.parsed("--for", quiet::lasting)?;
    let until = args.parsed("--until", parse_utc)?;
    match (lasting, until) {
        (Some(_), Some(_)) => Err(Fail::Usage("--for and --until: give one of the two".into())),
        (_, Some(until)) => Ok(until),
        (lasting, None) => Ok(quiet::end(now, lasting.unwrap_or(quiet::LASTING_DEFAULT))),
    }
}

fn lift(args: &Args) -> std::result::Result<ExitCode, Fail> {
    let which = match (args.free().first(), args.flag("--all")) {
        (None, true) => Which::All,
        (Some(text), false) => {
            let which = text.parse();
            which.map_err(|expected: String| cli::wrong("PATTERN|NUMBER", &expected, text))?
        }
        _ => {
            let text = "expected a silence's pattern or number, or --all";
            return Err(Fail::Usage(text.into()));
        }
    };
    let data = files::data_dir("manager", args.get("--data"))?;
    reach(&data, &control::unsilence(&which), |log| {
        quiet::unsilence(log, &which, clock::wall())
    })
}

/// Has the running manager do it, or does it on disk where none runs; prints what came
/// of it.
fn reach(
    data: &Path,
    request: &str,
    change: impl Fn(&mut QuietLog) -> Result<Vec<News>>,
) -> std::result::Result<ExitCode, Fail> {
    files::ensure_dir(data)?;
    let deadline = clock::mono().after(PATIENCE);
    let told = loop {
        if let Some(_lock) = files::try_lock(data)? {
            let mut log = QuietLog::load(data)?;
            let news = change(&mut log)?;
            if !news.is_empty() {
                log.save(data)?;
            }
            let shown = data.display();
            let told = quiet::told(&news);
            break format!("{told}\nno manager runs on {shown}: the next one there will know");
        }
        if let Some(told) = control::ask(data, request)? {
            break told;
        }
        if clock::mono() >= deadline {
            let shown = data.display();
            let text = format!("data directory {shown} is in use, and no manager answers there");
            return Err(Error::new(text).into());
        }
        clock::sleep(LOOK_EVERY);
    };
    cli::print(&format!("{}\n", lines(&told)));
    Ok(ExitCode::SUCCESS)
}

/// Several lines, each safe to print.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(crate::text::escape).collect();
    lines.join("\n")
}

/// The fleet of the file that is named, or of the usual one when it is there.
fn fleet(args: &Args) -> Result<Option<Fleet>> {
    let read = |path| fleet_file::read(path).map_err(|problems| Error::new(problems.join("\n")));
    fleet_path(args).as_deref().map(read).transpose()
}

fn list(args: &Args) -> std::result::Result<ExitCode, Fail> {
    let others = ["--for", "--until", "--note"];
    if !args.free().is_empty() || others.iter().any(|name| args.flag(name)) {
        let text = "--list goes with --json, --config and --data alone";
        return Err(Fail::Usage(text.into()));
    }
    let data = files::data_dir("manager", args.get("--data"))?;
    let (log, now) = (QuietLog::load(&data)?, clock::wall());
    let windows = fleet(args)?.unwrap_or_default().maintenance;
    let entries = log.open_and_planned(&windows, now);
    cli::print(&match (args.flag("--json"), entries.is_empty()) {
        (true, _) => json(&entries, now),
        (false, true) => "nothing is silenced, and no maintenance is planned\n".to_string(),
        (false, false) => table(&entries),
    });
    Ok(ExitCode::SUCCESS)
}

/// Entries for people; those that are only planned have no number.
pub fn table(entries: &[Entry]) -> String {
    let row = |entry: &Entry| {
        let no = match entry.no {
            0 => "-".to_string(),
            no => no.to_string(),
        };
        [
            no,
            quiet::names(&entry.targets),
            entry.cause.as_str().to_string(),
            quiet::moment(entry.span.from),
            quiet::moment(entry.span.until),
            entry.note.clone(),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    let titles = ["NO", "TARGETS", "WHAT", "FROM (UTC)", "UNTIL (UTC)", "NOTE"];
    columns::table(0, titles.len(), titles, &rows)
}

fn json(entries: &[Entry], now: Wall) -> String {
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.array("quiet", |a| {
            for entry in entries {
                a.object(|o| {
                    quiet::write(o, entry);
                    o.bool("open", entry.span.contains(now));
                });
            }
        });
    });
    out + "\n"
}
