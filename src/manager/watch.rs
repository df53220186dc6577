//! `watch`: the live view on a terminal, every record as a line of JSON elsewhere.
//! Where a manager runs on the data directory already, it only reads what that one
//! stores; else it is the manager while it lasts.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::board::Board;
use super::core::Core;
use super::fleet_file;
use super::quiet::QuietLog;
use super::tail::{Start, Tail};
use super::{fleet_path, listen, live, load, need_fleet_path, options, show, status, write_out};
use crate::bell::Bell;
use crate::cli::{self, Args, Fail};
use crate::clock;
use crate::config::Fleet;
use crate::error::{Context, Error, Result};
use crate::http::access::Access;
use crate::log;
use crate::model::{Epoch, Mono, Name};
use crate::record::Record;
use crate::term::Lines;
use crate::threads;

/// How often another manager's files are looked at, and the rest between looks at ours.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How often the links' states are read again.
const LINKS_EVERY: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 256 * 1024;
/// The check at a record's end: it holds no longer once the agent's name is added.
const SEAL_LEN: usize = 16;

pub(super) fn main(args: Args) -> std::result::Result<ExitCode, Fail> {
    let access = Access::read(&args)?;
    let options = options(&args)?;
    let data = options.data.clone();
    let core = Core::try_start(options)?;
    let path = match core {
        Some(_) => Some(need_fleet_path(&args)?),
        None => fleet_path(&args),
    };
    if core.is_none() && access.is_some() {
        let text = "--http: the manager that runs on this data directory is the one to answer";
        return Err(Fail::Usage(text.into()));
    }
    if let (Some(core), Some(path)) = (&core, &path) {
        load(core, path)?;
        match (listen(core)?, io::stdout().is_terminal()) {
            (Some(bound), true) => cli::print(&format!("listening on {bound}\n")),
            // Into a pipe go records alone.
            (Some(bound), false) => log::line(format_args!("listening on {bound}")),
            (None, _) => {}
        }
        if let Some(bound) = show(core, access)? {
            match io::stdout().is_terminal() {
                // Where it can be seen: the view takes the whole screen.
                true => core.notice(format!("http on {bound}")),
                false => log::line(format_args!("http on {bound}")),
            }
        }
    }
    match (io::stdout().is_terminal(), core) {
        (true, Some(core)) => {
            live::run(core.board(), core.bell(), &Lines::stdin()?);
        }
        (true, None) => follow(&data, &need_fleet_path(&args)?)?,
        (false, core) => print_records(&data, core.as_ref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The live view of what another process monitors.
fn follow(data: &Path, path: &Path) -> Result<()> {
    let fleet = fleet_file::read(path).map_err(|problems| Error::new(problems.join("\n")))?;
    let follower = Arc::new(Follower {
        data: data.to_path_buf(),
        board: Mutex::new(Board::new()),
        bell: Bell::default(),
    });
    let mut tail = Tail::new(data, Start::Now);
    tail.poll(|_| {})?;
    follower.fill(&fleet)?;
    let feeding = Arc::clone(&follower);
    threads::start("follow", STACK_BYTES, move || {
        feeding.feed(&fleet, &mut tail)
    })
    .context(|| "start the following thread".to_string())?;
    live::run(&follower.board, &follower.bell, &Lines::stdin()?);
    Ok(())
}

/// A board fed from what another process writes.
struct Follower {
    data: PathBuf,
    board: Mutex<Board>,
    bell: Bell,
}

impl Follower {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().expect("board")
    }

    fn fill(&self, fleet: &Fleet) -> Result<()> {
        let mut board = self.board();
        board.show(fleet);
        status::fill(&mut board, &self.data, fleet, clock::wall()).map(drop)
    }

    /// Reads on for as long as the process lives. What can't be read now may be next time.
    fn feed(&self, fleet: &Fleet, tail: &mut Tail) {
        let mut links_at = Mono(0);
        let mut quiet = QuietLog::default();
        let mut epochs: HashMap<Name, Epoch> = HashMap::new();
        loop {
            let now = clock::wall();
            let _ = tail.poll(|heard| {
                let (agent, epoch) = (heard.agent, heard.epoch);
                if let Some(Ok(record)) = heard.line.map(Record::parse) {
                    let mut board = self.board();
                    // An agent that has started again goes on in another epoch.
                    if epochs.insert(agent.clone(), epoch) != Some(epoch) {
                        board.now_begin(agent, epoch, record.seq - 1);
                    }
                    board.record(agent, epoch, &record, now);
                }
            });
            if clock::mono() >= links_at {
                links_at = clock::mono().after(LINKS_EVERY);
                quiet = QuietLog::load(&self.data).unwrap_or_default();
                for (agent, link) in status::links(&self.data, fleet, now).unwrap_or_default() {
                    self.board().set_link(&agent, link, now);
                }
            }
            let cause = |target: &Name, at| Some(quiet.active(target, at)?.cause);
            let mut board = self.board();
            board.settle(now, cause);
            // Nobody is alerted from here.
            drop(board.take_late());
            drop(board);
            self.bell.ring();
            clock::sleep(POLL_EVERY);
        }
    }
}

/// Every record from now on as a line, until nobody reads them.
fn print_records(data: &Path, core: Option<&Arc<Core>>) -> Result<()> {
    let mut tail = Tail::new(data, Start::Now);
    tail.poll(|_| {})?;
    while print_news(&mut tail)? {
        for notice in core.map(|core| core.notices()).unwrap_or_default() {
            log::line(notice);
        }
        wait(core);
    }
    Ok(())
}

/// Until there may be more: our own bell, or a moment.
fn wait(core: Option<&Arc<Core>>) {
    let until: Mono = clock::mono().after(POLL_EVERY);
    match core {
        Some(core) => core.bell().wait(core.bell().heard(), until),
        None => clock::sleep(POLL_EVERY),
    }
}

/// Prints what came since the last call; false when nobody reads it any more.
fn print_news(tail: &mut Tail) -> Result<bool> {
    let mut out = String::new();
    tail.poll(|heard| {
        if let Some(line) = heard.line {
            push_line(&mut out, heard.agent, heard.epoch, line);
        }
    })?;
    Ok(out.is_empty() || write_out(&out))
}

/// A record with its agent's name and epoch before its own keys, and without its check.
pub(super) fn push_line(out: &mut String, agent: &Name, epoch: Epoch, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let Some(keys) = text.get(1..text.len().saturating_sub(SEAL_LEN)) else {
        return;
    };
    out.push_str(&format!(
        "{{\"agent\":\"{agent}\",\"epoch\":\"{epoch}\",{keys}}}\n"
    ));
}
