//! What is known of the link to an agent, and which of its changes people are told.

use super::EventKind;
use crate::model::{Id, Name, Wall};
use crate::units::age_text;

/// A clock that is further off than this is shown, and its times are corrected, in milliseconds.
pub const CLOCK_OFF_MS: i64 = 2_000;

/// The link to one agent, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    pub connected: bool,
    /// Since when it is connected or away.
    pub since: Wall,
    /// The last error while away; empty when there was none yet.
    pub text: String,
    pub id: Option<Id>,
    pub last_seen: Option<Wall>,
    /// The agent's clock minus the manager's, as of this session.
    pub clock_offset_ms: Option<i64>,
    /// Records that the agent holds and the manager does not yet.
    pub to_fetch: u64,
    /// Records that the agent holds, fetched or not.
    pub held: u64,
    /// What is applied on the agent; empty when nothing is.
    pub revision: String,
    /// A configuration waits to be applied.
    pub pending: bool,
    /// Why the agent refused its configuration.
    pub rejected: Option<String>,
    /// The agent's own trouble with its spool; empty when there is none.
    pub spool: String,
}

impl Link {
    /// How far the agent's clock is off, when that is worth saying.
    pub fn clock_off_ms(&self) -> Option<i64> {
        let far = |ms: &i64| ms.unsigned_abs() > CLOCK_OFF_MS.unsigned_abs();
        self.clock_offset_ms.filter(far)
    }
}

/// What people were last told about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Told {
    #[default]
    Nothing,
    Connected,
    Away,
}

/// What to tell when a link becomes `new`. While an agent is away, each failed try is
/// not news; before the first try has ended there is nothing to say.
pub(super) fn stories(
    agent: &Name,
    old: Option<&Link>,
    new: &Link,
    told: &mut Told,
    now: Wall,
) -> Vec<(EventKind, String)> {
    let mut out = Vec::new();
    let away = *told == Told::Connected || !new.text.is_empty();
    if new.connected && *told != Told::Connected {
        let after = match old {
            Some(old) if *told == Told::Away => format!(" after {}", age(old.since, now)),
            _ => String::new(),
        };
        *told = Told::Connected;
        out.push((
            EventKind::Connected,
            format!("agent {agent} connected{after}"),
        ));
    } else if !new.connected && away && *told != Told::Away {
        *told = Told::Away;
        let text = with_cause(format!("agent {agent} away"), &new.text);
        out.push((EventKind::Away, text));
    }
    let rejected = |link: &Link| link.rejected.clone().unwrap_or_default();
    for (before, after, what, over) in [
        (
            old.map(rejected).unwrap_or_default(),
            rejected(new),
            "rejected its configuration",
            "takes its configuration again",
        ),
        (
            old.map(|l| l.spool.clone()).unwrap_or_default(),
            new.spool.clone(),
            "cannot store results",
            "stores results again",
        ),
    ] {
        if before == after {
            continue;
        }
        out.push(match after.is_empty() {
            true => (EventKind::Recovered, format!("agent {agent} {over}")),
            false => (
                EventKind::Trouble,
                with_cause(format!("agent {agent} {what}"), &after),
            ),
        });
    }
    out
}

/// `agent attic lost its uplink: gateway, dns down`.
pub(super) fn lost_uplink(agent: &Name, anchors: &[&str]) -> String {
    format!("agent {agent} lost its uplink: {} down", anchors.join(", "))
}

pub(super) fn with_cause(what: String, cause: &str) -> String {
    match cause {
        "" => what,
        cause => format!("{what}: {cause}"),
    }
}

fn age(since: Wall, now: Wall) -> String {
    age_text(now.since(since))
}
