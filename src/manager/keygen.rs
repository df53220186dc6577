//! `tcpmon-manager keygen`: makes a master key, or the key of one agent out of it.
//! Files are made for their owner alone and never overwritten.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{self, Args, Fail, Opt, Program};
use crate::error::{Error, Result};
use crate::files;
use crate::key::{Key, Rights};
use crate::model::Name;
use crate::text;

/// The master key's file unless another is named.
const MASTER_FILE: &str = "master.key";

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager keygen",
    about: "Makes keys for links: a master key, which never leaves the manager, and out of it each agent's own.",
    usage: &[
        "tcpmon-manager keygen [--rights own|read] [--out FILE]",
        "tcpmon-manager keygen --agent NAME [--master FILE] [--out FILE]",
    ],
    opts: &[
        Opt {
            name: "--agent",
            value: "NAME",
            default: "",
            help: "make the key of this agent, as the fleet file names it, out of the master key",
            repeat: false,
        },
        Opt {
            name: "--master",
            value: "FILE",
            default: MASTER_FILE,
            help: "with --agent: the master key's file",
            repeat: false,
        },
        Opt {
            name: "--rights",
            value: "own|read",
            default: "own",
            help: "for a master key: whether its manager may configure agents, or only receive results",
            repeat: false,
        },
        Opt {
            name: "--out",
            value: "FILE",
            default: "master.key, or NAME.key",
            help: "the file to make, readable by its owner alone; - writes to stdout",
            repeat: false,
        },
    ],
    more: "The agent's file goes to its host, by a way you trust (scp), and is named there by tcpmon-agent --key-file. The fleet file names the master key's as \"key_file\".",
    free_max: 0,
};

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let rights = args.parsed("--rights", str::parse::<Rights>)?;
    let agent = args.parsed("--agent", str::parse::<Name>)?;
    match agent {
        None if args.flag("--master") => {
            return Err(Fail::Usage("--master goes with --agent NAME".into()));
        }
        None => make_master(&args, rights.unwrap_or(Rights::Own))?,
        Some(_) if rights.is_some() => {
            let text = "--rights is the master key's: an agent's key has those of its master";
            return Err(Fail::Usage(text.into()));
        }
        Some(agent) => make_agents(&args, &agent)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn make_master(args: &Args, rights: Rights) -> Result<()> {
    let key = Key::master(files::secret()?, rights);
    let (id, rights) = (key.id(), rights.as_str());
    put(args, MASTER_FILE, &[key], |file| {
        format!(
            "{file}: a new master key, {id}, rights {rights}\nkeep it on this manager; the fleet file takes it as \"defaults\": {{ \"key_file\": \"{file}\" }}\n"
        )
    })
}

/// Every key of the master's file gives one, so that an agent can be ready for a new
/// master key before the manager uses it.
fn make_agents(args: &Args, agent: &Name) -> Result<()> {
    let path = PathBuf::from(args.get("--master").unwrap_or(MASTER_FILE));
    if !path.exists() {
        let shown = path.display();
        let text = format!("key file {shown}: not there; tcpmon-manager keygen makes a master key");
        return Err(Error::new(text));
    }
    let masters = files::read_keys(&path)?;
    if masters.iter().any(|key| key.agent().is_some()) {
        return Err(Error::new(format!(
            "key file {}: the key of one agent, not a master key",
            path.display()
        )));
    }
    let keys: Vec<Key> = masters.iter().map(|key| key.of_agent(agent)).collect();
    let ids: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
    let ids = ids.join(" and ");
    put(args, &format!("{agent}.key"), &keys, |file| {
        format!(
            "{file}: the key of agent {agent}, {ids}\nmove it to the agent's host: tcpmon-agent --key-file {file}\n"
        )
    })
}

fn put(args: &Args, usual: &str, keys: &[Key], told: impl Fn(&str) -> String) -> Result<()> {
    let out = args.get("--out").unwrap_or(usual);
    if out == "-" {
        let lines: String = keys.iter().map(Key::line).collect();
        cli::print(&lines);
        return Ok(());
    }
    files::write_keys(Path::new(out), keys)?;
    cli::print(&told(&text::escape(out)));
    Ok(())
}
