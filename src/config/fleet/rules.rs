//! The keys that say how a target's results become its state: read, written and checked
//! the same in `defaults` and in a target.

use std::time::Duration;

use super::super::fields::Spot;
use super::super::{slow, up_after};
use super::{Fleet, FleetTarget, string};
use crate::model::{DownAfter, DownWhen, Name, Recheck, Rules, Want, Watched};

/// The time between probes while a change is not decided, where none is given: a quarter
/// of the interval, but no less than this.
const RETRY_INTERVAL_MIN: Duration = Duration::from_secs(1);
const RETRIES_IN_INTERVAL: u32 = 4;

pub(super) fn read_slow(spot: &mut Spot<'_, '_>) -> Option<Duration> {
    spot.duration(slow)
}

/// A number of failures in a row, or a text such as `3 within 5`. A number as a text is
/// none of these: one thing has one form.
pub(super) fn read_down_after(spot: &mut Spot<'_, '_>) -> Option<DownAfter> {
    let value = spot.value;
    let outcome = match (value.str(), value.u64().map(u32::try_from)) {
        (Some(text), _) if text.contains(' ') => text.parse(),
        (_, Some(Ok(n))) => DownAfter::new(n, n),
        // Says what was expected.
        _ => DownAfter::new(0, 0),
    };
    outcome.map_err(|text| spot.unexpected(&text)).ok()
}

pub(super) fn write_down_after(value: DownAfter) -> String {
    let text = value.to_string();
    match value.in_a_row() {
        true => text,
        false => string(&text),
    }
}

pub(super) fn read_up_after(spot: &mut Spot<'_, '_>) -> Option<u32> {
    spot.number(up_after)
}

pub(super) fn read_down_when(spot: &mut Spot<'_, '_>) -> Option<DownWhen> {
    let value = spot.value;
    let most = super::super::AGENTS_MAX as u64;
    let found = match (value.str(), value.u64()) {
        (Some("all"), _) => Some(DownWhen::All),
        (Some("majority"), _) => Some(DownWhen::Majority),
        (Some("any"), _) => Some(DownWhen::Any),
        (_, Some(count)) if (1..=most).contains(&count) => Some(DownWhen::AtLeast(count as u32)),
        _ => None,
    };
    if found.is_none() {
        spot.unexpected("expected \"all\", \"majority\", \"any\" or a number of agents");
    }
    found
}

pub(super) fn write_down_when(value: DownWhen) -> String {
    match value {
        DownWhen::All => string("all"),
        DownWhen::Majority => string("majority"),
        DownWhen::Any => string("any"),
        DownWhen::AtLeast(count) => count.to_string(),
    }
}

/// So many agents have to be there.
pub(super) fn check_down_when(target: &FleetTarget, spot: &mut Spot<'_, '_>) {
    let (Some(DownWhen::AtLeast(count)), Some(value)) =
        (target.settings.down_when, spot.value.get("down_when"))
    else {
        return;
    };
    let agents = target
        .agents
        .as_ref()
        .map_or(spot.notes.agents.len(), Vec::len);
    if count as usize > agents && !spot.notes.agents_unreadable {
        spot.below("down_when", value)
            .problem(|| format!("{count} agents are to see it down, and {agents} probe it"));
    }
}

impl Fleet {
    /// How a target's results become its state: its own rules, else the defaults'.
    pub fn rules_of(&self, target: &FleetTarget) -> Rules {
        let (own, usual) = (self.settings_of(target), Rules::default());
        Rules {
            // How long it takes to find a port shut says nothing of a service.
            slow: match target.want {
                Want::Open => own.slow.or(usual.slow),
                Want::Refused | Want::Closed => None,
            },
            down_after: own.down_after.unwrap_or(usual.down_after),
            up_after: own.up_after.unwrap_or(usual.up_after),
            down_when: own.down_when.unwrap_or(usual.down_when),
        }
    }

    /// How its agents probe it while a change is not decided: as often as its rules may
    /// need results for that, but no more often than its interval says anyway.
    pub(super) fn recheck_of(&self, target: &FleetTarget, interval: Duration) -> Recheck {
        let rules = self.rules_of(target);
        let usual = RETRY_INTERVAL_MIN.max(interval / RETRIES_IN_INTERVAL);
        match self.settings_of(target).retry_interval.unwrap_or(usual) {
            after if after >= interval => Recheck::default(),
            after => Recheck {
                after,
                times: rules.down_after.within().max(rules.up_after) - 1,
            },
        }
    }

    /// The targets that this agent probes, in the file's order, as the manager follows them.
    pub fn watched_by(&self, agent: &Name) -> Vec<Watched> {
        let targets = self.targets_for(agent).into_iter();
        let watched = |(target, of)| Watched {
            target,
            rules: self.rules_of(of),
        };
        targets.zip(self.probed_by(agent)).map(watched).collect()
    }
}
