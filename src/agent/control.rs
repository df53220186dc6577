//! Reaching the running agent from its own host: a Unix socket in the data
//! directory, for its owner only, bound after the directory's lock is taken.
//! One line in, one line out. Where there are no such sockets the agent has to be
//! stopped for what would be asked here.

use std::path::Path;
use std::sync::Arc;

use super::Agent;
use crate::error::{Error, Result};
use crate::model::Name;

/// The socket's name within the data directory.
pub const SOCKET: &str = "control";

/// Answers on the control socket from now on.
#[cfg(unix)]
pub fn listen(agent: &Arc<Agent>, dir: &Path) -> Result<()> {
    let agent = Arc::clone(agent);
    crate::net::local::serve(&dir.join(SOCKET), move |request| answer(&agent, request))
}

/// No control socket here.
#[cfg(not(unix))]
pub fn listen(_agent: &Arc<Agent>, _dir: &Path) -> Result<()> {
    Ok(())
}

/// Asks the agent that runs on `dir` to forget a manager.
pub fn ask_to_forget(dir: &Path, name: &Name) -> Result<String> {
    let answer = ask(dir, &format!("forget {name}"))?;
    match answer.strip_prefix("error: ") {
        Some(text) => Err(Error::new(text)),
        None => Ok(answer),
    }
}

#[cfg(unix)]
fn ask(dir: &Path, request: &str) -> Result<String> {
    crate::net::local::ask(&dir.join(SOCKET), request)
}

#[cfg(not(unix))]
fn ask(_dir: &Path, _request: &str) -> Result<String> {
    Err(Error::new(
        "the agent is running: stop it first, it can't be asked on this system",
    ))
}

#[cfg(unix)]
fn answer(agent: &Agent, request: &str) -> String {
    let forgotten = match request.strip_prefix("forget ").map(str::parse::<Name>) {
        Some(Ok(name)) => agent.forget(&name),
        _ => Err(Error::new("not a request")),
    };
    match forgotten {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}
