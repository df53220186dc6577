//! What the running agent is asked on its control socket (see [`local`]): one request,
//! to forget a manager.

use std::path::Path;
use std::sync::Arc;

use super::Agent;
use crate::error::{Context, Error, Result};
use crate::model::Name;
use crate::net::local;

/// Answers on the control socket from now on.
pub fn listen(agent: &Arc<Agent>, dir: &Path) -> Result<()> {
    let agent = Arc::clone(agent);
    local::serve(dir, move |request| answer(&agent, request))
}

/// Asks the agent that runs on `dir` to forget a manager.
pub fn ask_to_forget(dir: &Path, name: &Name) -> Result<String> {
    let answer = local::ask(dir, &format!("forget {name}"));
    let answer = answer.context(|| format!("ask the agent on {}", dir.display()))?;
    let none = || Error::new(format!("no agent answers on {}", dir.display()));
    let answer = answer.ok_or_else(none)?;
    match answer.strip_prefix("error: ") {
        Some(text) => Err(Error::new(text)),
        None => Ok(answer),
    }
}

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
