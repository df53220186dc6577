//! What the running agent is asked on its control socket (see [`local`]): to forget a
//! manager, and how it gets on.

use std::path::Path;
use std::sync::Arc;

use super::Agent;
use crate::error::{Context, Error, Result};
use crate::json;
use crate::model::Name;
use crate::net::local;

const STATUS: &str = "status";

/// Answers on the control socket from now on.
pub fn listen(agent: &Arc<Agent>, dir: &Path) -> Result<()> {
    let agent = Arc::clone(agent);
    local::serve(dir, move |request| answer(&agent, request))
}

/// Asks the agent that runs on `dir` to forget a manager.
pub fn ask_to_forget(dir: &Path, name: &Name) -> Result<String> {
    ask(dir, &format!("forget {name}"))
}

/// Asks the agent that runs on `dir` how it gets on: one line of JSON.
pub fn ask_status(dir: &Path) -> Result<String> {
    ask(dir, STATUS)
}

fn ask(dir: &Path, request: &str) -> Result<String> {
    let answer = local::ask(dir, request);
    let answer = answer.context(|| format!("ask the agent on {}", dir.display()))?;
    let none = || Error::new(format!("no agent answers on {}", dir.display()));
    let answer = answer.ok_or_else(none)?;
    match answer.strip_prefix("error: ") {
        Some(text) => Err(Error::new(text)),
        None => Ok(answer),
    }
}

fn answer(agent: &Agent, request: &str) -> String {
    if request == STATUS {
        return status(agent);
    }
    let forgotten = match request.strip_prefix("forget ").map(str::parse::<Name>) {
        Some(Ok(name)) => agent.forget(&name),
        _ => Err(Error::new("not a request")),
    };
    match forgotten {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

fn status(agent: &Agent) -> String {
    let load = agent.prober.load();
    let spool = &agent.recorder.spool;
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.str("name", agent.name.as_str())
            .str("id", &agent.id.to_string())
            .u64("rows", load.rows as u64)
            .u64("workers", load.workers as u64)
            .u64("busy", load.busy as u64)
            .u64("probes", load.late.count())
            .u64("skipped", load.skipped)
            .object("late_us", |o| {
                for (key, q) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
                    if let Some(us) = load.late.quantile(q) {
                        o.u64(key, us);
                    }
                }
            })
            .array("late_counts", |a| {
                for (us, count) in load.late.counts() {
                    a.array(|pair| {
                        pair.u64(us).u64(count);
                    });
                }
            })
            .u64("spool_bytes", spool.bytes())
            .u64("dropped", spool.dropped());
        if let Some(trouble) = spool.trouble() {
            o.str("trouble", &trouble);
        }
    });
    out
}
