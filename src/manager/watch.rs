//! `watch`: the live view on a terminal, every record as a line of JSON elsewhere.
//! Where a manager runs on the data directory already, it only reads what that one
//! stores; else it is the manager while it lasts.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::tail::Tail;
use super::{load, need_fleet_path, options, write_out};
use crate::cli::{Args, Fail};
use crate::clock;
use crate::error::Result;
use crate::model::{Epoch, Mono, Name};

/// How often another manager's files are looked at, and the rest between looks at ours.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// The check at a record's end: it holds no longer once the agent's name is added.
const SEAL_LEN: usize = 16;

pub(super) fn main(args: Args) -> std::result::Result<ExitCode, Fail> {
    let options = options(&args)?;
    let data = options.data.clone();
    let core = Core::try_start(options)?;
    if let Some(core) = &core {
        load(core, &need_fleet_path(&args)?)?;
    }
    let mut tail = Tail::new(&data);
    tail.poll(|_, _, _| {})?;
    while print_news(&mut tail)? {
        wait(core.as_ref());
    }
    Ok(ExitCode::SUCCESS)
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
    tail.poll(|agent, epoch, line| push_line(&mut out, agent, epoch, line))?;
    Ok(out.is_empty() || write_out(&out))
}

/// A record with its agent's name and epoch before its own keys, and without its check.
fn push_line(out: &mut String, agent: &Name, epoch: Epoch, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let Some(keys) = text.get(1..text.len().saturating_sub(SEAL_LEN)) else {
        return;
    };
    out.push_str(&format!(
        "{{\"agent\":\"{agent}\",\"epoch\":\"{epoch}\",{keys}}}\n"
    ));
}
