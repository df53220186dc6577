//! The history of one target in steps, read from disk: `?target=web&from=24h&to=…&step=5m`.

use std::time::Duration;

use super::api::{name, window, write_bar};
use super::{Site, View, failed, wrong};
use crate::config::check_interval;
use crate::error::Result;
use crate::http::reply::{JSON, Reply};
use crate::http::request::Request;
use crate::json;
use crate::manager::clocks::Clocks;
use crate::manager::replay;
use crate::manager::state::AgentState;
use crate::manager::trend::Bar;
use crate::model::{Name, NamesSeen, Wall, millis};
use crate::record::{Body, Record};

/// Most steps of one answer.
const STEPS_MAX: u64 = 1_000;
/// Steps of an answer that does not say how long they are, at least.
const STEPS_USUAL: u64 = 90;
/// Steps that are taken then, in seconds.
const NICE_S: [u64; 13] = [
    1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400,
];

/// What is asked for.
struct Asked<'a> {
    target: Name,
    /// Of which agent; `None`: of all together.
    agent: Option<Name>,
    from: Wall,
    to: Wall,
    step_ms: u64,
    site: &'a Site,
}

/// The answer to such a query.
pub fn history(site: &Site, view: &View, request: &Request) -> Reply {
    let asked = match asked(site, view, request) {
        Ok(asked) => asked,
        Err(reply) => return reply,
    };
    let _reading = site.reading.lock().expect("reading");
    let bars = match asked.read() {
        Ok(bars) => bars,
        Err(error) => return failed(&error),
    };
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.str("target", asked.target.as_str())
            .u64("from", asked.from.0)
            .u64("to", asked.to.0)
            .u64("step_ms", asked.step_ms);
        if let Some(agent) = &asked.agent {
            o.str("agent", agent.as_str());
        }
        o.array("points", |a| {
            for (no, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.probes() > 0) {
                let at = Wall(asked.from.0 + no as u64 * asked.step_ms);
                a.object(|o| write_bar(o, at, bar));
            }
        });
    });
    Reply::new(JSON, out + "\n").tagged()
}

fn asked<'a>(
    site: &'a Site,
    view: &View,
    request: &Request,
) -> std::result::Result<Asked<'a>, Reply> {
    let target = request.query("target").and_then(name);
    let target = target.ok_or_else(|| wrong("target", "expected the name of a target"))?;
    let known = view.fleet.target(&target).is_some();
    if !known {
        return Err(Reply::text(404, &format!("no target is named {target}")));
    }
    let agent = match request.query("agent") {
        None => None,
        Some(text) => {
            let is_it = |name: &Name| view.fleet.agents.iter().any(|a| a.name == *name);
            let agent = name(text).filter(is_it);
            Some(agent.ok_or_else(|| Reply::text(404, "no agent has that name"))?)
        }
    };
    let (from, to) = window(request, ["from", "to"], view.now)?;
    let long = to.0 - from.0;
    let step_ms = match request.query("step").map(check_interval) {
        None => usual_step_ms(long),
        Some(Ok(step)) => millis(step),
        Some(Err(expected)) => return Err(wrong("step", &expected)),
    };
    if long.div_ceil(step_ms) > STEPS_MAX {
        return Err(wrong(
            "step",
            &format!("at most {STEPS_MAX} steps are told at once"),
        ));
    }
    Ok(Asked {
        target,
        agent,
        from,
        to,
        step_ms,
        site,
    })
}

/// The longest of the usual steps that makes enough of them.
fn usual_step_ms(long_ms: u64) -> u64 {
    let fits = |s: &&u64| long_ms / (**s * 1_000) >= STEPS_USUAL;
    NICE_S.iter().rev().find(fits).unwrap_or(&NICE_S[0]) * 1_000
}

impl Asked<'_> {
    /// The bars of all steps, read from disk.
    fn read(&self) -> Result<Vec<Bar>> {
        let count = (self.to.0 - self.from.0).div_ceil(self.step_ms);
        let mut bars = vec![Bar::default(); count as usize];
        let data = self.site.core.data();
        let wanted = format!("\"target\":\"{}\"", self.target);
        // A little more than is asked for: clocks may be off by less than is corrected.
        let since = self.from.before(Duration::from_secs(60));
        for (name, id, dir) in replay::histories(data)? {
            if self.agent.as_ref().is_some_and(|agent| *agent != name) {
                continue;
            }
            let state = AgentState::load(data, &name)?;
            let mut clocks = Clocks::read(&dir, since, &state, id)?;
            let mut names = NamesSeen::default();
            replay::lines(&dir, since, |epoch, line| {
                if !contains(line, wanted.as_bytes()) {
                    return;
                }
                if let Ok(record) = Record::parse_checked(line, &mut names) {
                    let ours = |at| clocks.ours(epoch, record.seq, at);
                    self.add(&mut bars, &record.body, record.at, ours);
                }
            })?;
        }
        Ok(bars)
    }

    fn add(&self, bars: &mut [Bar], body: &Body, at: Wall, mut ours: impl FnMut(Wall) -> Wall) {
        let mut put = |at: Wall, us: Option<u64>| {
            let at = ours(at);
            if (self.from..self.to).contains(&at) {
                let bar = &mut bars[((at.0 - self.from.0) / self.step_ms) as usize];
                match us {
                    Some(us) => bar.latencies.add(us),
                    None => bar.failed += 1,
                }
            }
        };
        match body {
            Body::Result(sample) if sample.target == self.target => {
                put(at, sample.ok().then_some(sample.us));
            }
            Body::Summary { of, .. } => {
                for sums in of.iter().filter(|sums| sums.target == self.target) {
                    sums.results().for_each(|(at, us)| put(at, Some(us)));
                }
            }
            _ => {}
        }
    }
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_usual_ones() {
        for (s, step_s) in [
            (10, 1),
            (90, 1),
            (450, 5),
            (86_400, 600),
            (90 * 3_600, 3_600),
            (90 * 86_400, 86_400),
        ] {
            assert_eq!(usual_step_ms(s * 1_000), step_s * 1_000, "{s}");
        }
    }
}
