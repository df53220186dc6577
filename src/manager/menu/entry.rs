//! The questions about one agent, one target or the defaults, for new ones and for
//! changes alike: what holds now is the default of each question.
//!
//! Nothing is applied here. An answer is checked against the fleet as it stands; whoever
//! applies it has the whole checked again.

use std::time::Duration;

use super::ask::{Answer, Reply, Talk};
use super::tables::list;
use crate::config::{
    Defaults, Fleet, FleetAgent, FleetTarget, INTERVAL_DEFAULT, KeyRule, RETRIES_DEFAULT, Settings,
    TIMEOUT_DEFAULT, check_down_after, check_interval, check_key_file, check_retries, check_slow,
    check_timeout, check_up_after, key_needed,
};
use crate::model::{DownAfter, Name, Rules};
use crate::units::{HostPort, duration_text};

/// Where an agent listens unless told otherwise.
const AGENT_ADDRESS: &str = "127.0.0.1:65432";
/// The answer that stands for the address of an agent that dials in: no address is without a port.
const DIALS_IN: &str = "in";
/// The answer that says there is no key file, or no limit.
const NONE: &str = "none";
/// The answer that leaves a value to the defaults.
const DEFAULT: &str = "default";
/// The answer that has every agent probe a target.
const ALL: &str = "all";

/// Asks for an agent; `None` when the name is left empty.
pub(super) fn agent(
    talk: &mut Talk<'_>,
    fleet: &Fleet,
    old: Option<&FleetAgent>,
    rule: KeyRule,
) -> Answer<Option<FleetAgent>> {
    let taken = |name: &Name| fleet.agents.iter().any(|a| a.name == *name);
    let Some(name) = name(talk, "agent", taken, old.map(|a| &a.name))? else {
        return Ok(None);
    };
    let address = way(talk, fleet, old)?;
    let own = old.and_then(|a| a.key_file.clone());
    let usual = fleet.defaults.key_file.clone();
    let local = address.as_ref().is_some_and(HostPort::is_loopback);
    let key_file = match &address {
        // Where nothing has to do with keys, they are not spoken of.
        Some(_) if local && own.is_none() && usual.is_none() => None,
        Some(address) if !local && rule == KeyRule::Required => {
            let reason = key_needed(address) + "; tcpmon-manager keygen makes one";
            key_file(talk, own, usual, Some(reason))?
        }
        _ => key_file(talk, own, usual, None)?,
    };
    Ok(Some(FleetAgent {
        name,
        address,
        key_file,
        anchors: old.map_or_else(Vec::new, |a| a.anchors.clone()),
    }))
}

/// Asks for a target; `None` when the name is left empty.
pub(super) fn target(
    talk: &mut Talk<'_>,
    fleet: &Fleet,
    old: Option<&FleetTarget>,
) -> Answer<Option<FleetTarget>> {
    let taken = |name: &Name| fleet.targets.iter().any(|t| t.name == *name);
    let Some(name) = name(talk, "target", taken, old.map(|t| &t.name))? else {
        return Ok(None);
    };
    let address = address(talk, old.map(|t| &t.address))?;
    // A target that leaves everything to the defaults shows what those are.
    let mut new = FleetTarget::new(name, address);
    if let Some(old) = old {
        // What is not asked here stays.
        new = FleetTarget {
            name: new.name,
            address: new.address,
            ..old.clone()
        };
    }
    let own = new.settings;
    new.settings = unasked(own);
    let usual = fleet.resolved(&new);
    new.settings.interval = interval(talk, own.interval, usual.interval)?;
    let usual = fleet.resolved(&new);
    new.settings.timeout = timeout(talk, own.timeout, usual.timeout, usual.interval)?;
    new.settings.retries = retries(talk, own.retries, usual.retries)?;
    if !fleet.agents.is_empty() {
        new.agents = agents(talk, fleet, new.agents)?;
    }
    let usual = fleet.rules_of(&new);
    more(talk, &mut new.settings, own, usual)?;
    Ok(Some(new))
}

/// Those of the settings that are not asked for.
fn unasked(own: Settings) -> Settings {
    Settings {
        retry_interval: own.retry_interval,
        down_when: own.down_when,
        ..Settings::default()
    }
}

/// Asks what holds for targets that do not say otherwise.
pub(super) fn defaults(talk: &mut Talk<'_>, old: &Defaults) -> Answer<Defaults> {
    let own = old.settings;
    let mut new = unasked(own);
    new.interval = interval(talk, own.interval, INTERVAL_DEFAULT)?;
    let every = new.interval.unwrap_or(INTERVAL_DEFAULT);
    new.timeout = timeout(talk, own.timeout, TIMEOUT_DEFAULT.min(every), every)?;
    new.retries = retries(talk, own.retries, RETRIES_DEFAULT)?;
    let key_file = key_file(talk, old.key_file.clone(), None, None)?;
    more(talk, &mut new, own, Rules::default())?;
    Ok(Defaults {
        settings: new,
        key_file,
    })
}

/// Asks for what few need to change, if that is wanted; `own` is what holds now.
fn more(talk: &mut Talk<'_>, new: &mut Settings, own: Settings, usual: Rules) -> Answer<()> {
    if talk.confirm("More settings?", Reply::No)? == Reply::No {
        (new.slow, new.down_after, new.up_after) = (own.slow, own.down_after, own.up_after);
        return Ok(());
    }
    let down_after = (own.down_after, usual.down_after);
    let up_after = (own.up_after, usual.up_after);
    let failures = |after: DownAfter| after.to_string();
    let answers = |n: u32| n.to_string();
    new.slow = slow(talk, own.slow, usual.slow)?;
    let label = "Failures until it is down";
    new.down_after = setting(talk, label, down_after, failures, check_down_after)?;
    let label = "Answers until it is up";
    new.up_after = setting(talk, label, up_after, answers, check_up_after)?;
    Ok(())
}

fn slow(
    talk: &mut Talk<'_>,
    own: Option<Duration>,
    usual: Option<Duration>,
) -> Answer<Option<Duration>> {
    let label = "Slow when over";
    if let Some(usual) = usual {
        return setting(talk, label, (own, usual), duration_text, check_slow);
    }
    let prompt = match own {
        Some(_) => format!("{label}, or {NONE}"),
        None => label.to_string(),
    };
    let shown = own.map_or_else(|| NONE.to_string(), duration_text);
    talk.ask(&prompt, Some((shown, own)), |text| match text {
        NONE => Ok(None),
        _ => check_slow(text).map(Some),
    })
}

fn name(
    talk: &mut Talk<'_>,
    what: &str,
    taken: impl Fn(&Name) -> bool,
    old: Option<&Name>,
) -> Answer<Option<Name>> {
    let prompt = match old {
        Some(_) => "Name".to_string(),
        None => format!("Name of the {what}, empty to end"),
    };
    let default = (old.map(Name::to_string).unwrap_or_default(), old.cloned());
    talk.ask(&prompt, Some(default), |text| {
        let name: Name = text.parse()?;
        if old != Some(&name) && taken(&name) {
            return Err(format!("another {what} is named {name} already"));
        }
        Ok(Some(name))
    })
}

fn address(talk: &mut Talk<'_>, old: Option<&HostPort>) -> Answer<HostPort> {
    let default = old.map(|address| (address.to_string(), address.clone()));
    talk.ask("Address", default, str::parse)
}

/// Asks for an agent's address; `None` when it dials in.
fn way(talk: &mut Talk<'_>, fleet: &Fleet, old: Option<&FleetAgent>) -> Answer<Option<HostPort>> {
    let holder = |address: &HostPort| {
        let text = address.to_string();
        let same = |a: &HostPort| a.to_string().eq_ignore_ascii_case(&text);
        let mut others = fleet.agents.iter().filter(|a| Some(*a) != old);
        others.find(|a| a.address.as_ref().is_some_and(same))
    };
    let usual = || AGENT_ADDRESS.parse().ok().filter(|a| holder(a).is_none());
    let default = match old {
        Some(old) => Some(old.address.clone()),
        None => usual().map(Some),
    };
    let shown = |address: &Option<HostPort>| match address {
        Some(address) => address.to_string(),
        None => DIALS_IN.to_string(),
    };
    let default = default.map(|address| (shown(&address), address));
    let prompt = format!("Address, or \"{DIALS_IN}\" if it dials in");
    talk.ask(&prompt, default, |text| {
        if text == DIALS_IN {
            return Ok(None);
        }
        let address = text.parse()?;
        match holder(&address) {
            Some(holder) => Err(format!("agent {} has that address already", holder.name)),
            None => Ok(Some(address)),
        }
    })
}

/// Asks for a key file: `own` is the one that holds now, `usual` the one of the defaults.
/// Where there is neither and one is `needed`, it is asked for until it is given.
fn key_file(
    talk: &mut Talk<'_>,
    own: Option<String>,
    usual: Option<String>,
    needed: Option<String>,
) -> Answer<Option<String>> {
    let needed = needed.filter(|_| usual.is_none());
    let none = if usual.is_some() { DEFAULT } else { NONE };
    let prompt = match (&own, &usual, &needed) {
        (Some(_), Some(usual), _) => format!("Key file (\"{DEFAULT}\" is {usual})"),
        (Some(_), None, None) => format!("Key file, or {NONE}"),
        _ => "Key file".to_string(),
    };
    let shown = own.clone().or(usual);
    let default = match &needed {
        Some(_) if own.is_none() => None,
        _ => Some((shown.unwrap_or_else(|| NONE.to_string()), own)),
    };
    talk.ask(&prompt, default, |text| match &needed {
        Some(reason) if text.is_empty() || text == none => Err(reason.clone()),
        None if text == none => Ok(None),
        _ => check_key_file(text).map(|text| Some(text.to_string())),
    })
}

fn interval(
    talk: &mut Talk<'_>,
    own: Option<Duration>,
    usual: Duration,
) -> Answer<Option<Duration>> {
    setting(
        talk,
        "Interval",
        (own, usual),
        duration_text,
        check_interval,
    )
}

/// A timeout that the interval has become too short for gives way to the default.
fn timeout(
    talk: &mut Talk<'_>,
    own: Option<Duration>,
    usual: Duration,
    interval: Duration,
) -> Answer<Option<Duration>> {
    let values = (own.filter(|own| *own <= interval), usual);
    let check = |text: &str| check_timeout(text, interval);
    setting(talk, "Timeout", values, duration_text, check)
}

fn retries(talk: &mut Talk<'_>, own: Option<u32>, usual: u32) -> Answer<Option<u32>> {
    let show = |n: u32| n.to_string();
    setting(talk, "Retries", (own, usual), show, check_retries)
}

/// Asks for a value that may be left to a default: `values` are its own, if it has one,
/// and the default.
fn setting<T: Copy>(
    talk: &mut Talk<'_>,
    label: &str,
    values: (Option<T>, T),
    show: fn(T) -> String,
    check: impl Fn(&str) -> Result<T, String>,
) -> Answer<Option<T>> {
    let (own, usual) = values;
    let prompt = match own {
        Some(_) => format!("{label} (\"{DEFAULT}\" is {})", show(usual)),
        None => label.to_string(),
    };
    let default = (show(own.unwrap_or(usual)), own);
    talk.ask(&prompt, Some(default), |text| match text {
        DEFAULT => Ok(None),
        _ => check(text).map(Some),
    })
}

fn agents(talk: &mut Talk<'_>, fleet: &Fleet, old: Option<Vec<Name>>) -> Answer<Option<Vec<Name>>> {
    let shown = old.as_deref().map_or_else(|| ALL.to_string(), list);
    let prompt = format!("Agents that probe it, or {ALL}");
    talk.ask(&prompt, Some((shown, old)), |text| {
        parse_agents(fleet, text)
    })
}

/// Names of agents between commas or spaces, each taken once; `None` for all agents.
fn parse_agents(fleet: &Fleet, text: &str) -> Result<Option<Vec<Name>>, String> {
    let mut names: Vec<Name> = Vec::new();
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    for word in words {
        let Some(agent) = fleet.agents.iter().find(|a| a.name.as_str() == word) else {
            if text == ALL {
                return Ok(None);
            }
            let known: Vec<Name> = fleet.agents.iter().map(|a| a.name.clone()).collect();
            return Err(format!(
                "no agent is named \"{word}\"; there are {}",
                list(&known)
            ));
        };
        if !names.contains(&agent.name) {
            names.push(agent.name.clone());
        }
    }
    match names.is_empty() {
        true => Err(format!("expected names of agents, or {ALL}")),
        false => Ok(Some(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KeyRule, parse_fleet};

    #[test]
    fn agents_are_named_in_any_way_that_is_clear() {
        let fleet = parse_fleet(
            br#"{"agents": [{"name": "a", "address": "h:1"}, {"name": "b", "address": "h:2"}]}"#,
            KeyRule::Waived,
        )
        .unwrap();
        for (text, expected) in [
            ("all", Ok("all")),
            ("a", Ok("a")),
            ("b,a", Ok("b, a")),
            (" a ,  b a,", Ok("a, b")),
            (",", Err("expected names of agents, or all")),
            ("a c", Err("no agent is named \"c\"; there are a, b")),
            ("a all", Err("no agent is named \"all\"; there are a, b")),
        ] {
            let got = parse_agents(&fleet, text);
            let got = got.map(|names| names.as_deref().map_or("all".to_string(), list));
            let expected = expected.map(str::to_string).map_err(str::to_string);
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
