//! The `tcpmon-agent` program: probes on schedule from its last good configuration,
//! records every result on disk, and serves the managers that connect or that it dials.
//! `check` is one probe now, with none of that.
//!
//! Starting is recovering: there is no clean shutdown, and nothing is kept only in
//! memory that a restart would need.

mod check;
mod control;
mod crew;
mod host;
mod keys;
mod managers;
mod options;
mod outward;
mod prober;
mod recorder;
mod rows;
mod session;
mod settings;
mod spool;
mod web;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::bell::Bell;
use crate::cli::{self, Fail, Program};
use crate::clock;
use crate::error::{Error, Result};
use crate::files;
use crate::log;
use crate::model::{Id, Name};
use crate::net::door::Door;
use crate::net::listen::{self, Gate, Stop};
use crate::net::resolve::Resolver;
use crate::record::Body;

use keys::Keys;
use managers::Managers;
use options::{Options, PROGRAM};
use prober::Prober;
use recorder::Recorder;
use settings::Settings;
use spool::Spool;

/// Most connections at once, of whatever kind.
const CONNECTIONS_MAX: usize = 32;

/// The program and its command, for manuals and completions.
pub const PROGRAMS: &[&Program] = &[&PROGRAM, &check::PROGRAM];

/// Runs the program with its arguments (without its own name).
pub fn main(mut args: Vec<OsString>) -> ExitCode {
    if args.first().is_some_and(|first| first == "check") {
        return check::main(args.split_off(1));
    }
    cli::run(&PROGRAM, args, |args| {
        let options = Options::read(&args)?;
        let dir = files::data_dir("agent", args.get("--data"))?;
        if args.flag("--status") {
            if args.get("--forget").is_some() {
                return Err(Fail::Usage("--status and --forget: one at a time".into()));
            }
            cli::print(&format!("{}\n", control::ask_status(&dir)?));
            return Ok(ExitCode::SUCCESS);
        }
        match args.parsed("--forget", |text| text.parse::<Name>())? {
            Some(name) => forget(&dir, &name)?,
            None => run(&dir, options)?,
        }
        Ok(ExitCode::SUCCESS)
    })
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
    let web = options.web.take();
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
    if let Some(web) = web {
        let bound = web::start(&agent, resolver.clone(), web)?;
        cli::print(&format!("http on {bound}\n"));
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
    let door = Arc::new(Door::default());
    let handler = move |stream, peer| session::serve(&agent, &door, stream, peer);
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
        flush: options.flush,
    };
    let spool = Spool::open(&spool::dir_in(dir), id, spool_options, Arc::clone(&bell))?;
    let alive = spool.alive;
    let recorder = Arc::new(Recorder::new(Arc::new(spool)));
    let version = env!("CARGO_PKG_VERSION").to_string();
    let start = Body::Start { alive, version };
    recorder.spool.push(clock::wall(), &start);
    recorder.clock(clock::wall(), clock::mono());
    let prober = Prober::start(
        resolver,
        options.reach.clone(),
        Arc::clone(&recorder),
        options.workers_max,
    )?;
    let managers = Managers::open(dir)?;
    let (settings, targets) = Settings::open(dir, options.reach);
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

#[cfg(test)]
pub mod simulated;
