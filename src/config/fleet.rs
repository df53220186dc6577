//! The fleet file and its model. What a person may write, key by key, with each
//! key's reading beside its writing; the rules that join keys follow the tables.
//! Whatever [`parse_fleet`] returns is valid; a model built by hand is checked by
//! [`Fleet::problems`], which writes it and reads it again.

use std::collections::HashSet;
use std::time::Duration;

use super::fields::{BLANK, Key, Notes, Path, Presence, Problem, Seen, Spot, quoted, without_mark};
use super::script::{FleetScript, read_fleet_script};
use super::want::{read_family, read_want, script_of_shut, write_family, write_want};
use super::{
    AGENT_CONFIG_BYTES_MAX, AGENTS_MAX, FLEET_BYTES_MAX, INTERVAL_DEFAULT, RETRIES_DEFAULT,
    TARGETS_MAX, TIMEOUT_DEFAULT, agent_config_json, interval, retries, timeout,
};
use crate::alert::AlertRule;
use crate::json::{self, SyntaxError, Value};
use crate::model::{DownAfter, DownWhen, Name, Target, Want};
use crate::quiet::Maintenance;
use crate::script::Script;
use crate::text::nearest;
use crate::units::{Family, HostPort, duration_text, size_text};

mod agents;
mod rules;

use agents::{AGENT, check_keys, read_agent, read_key_file};
pub use agents::{FleetAgent, KeyRule, key_needed};
use rules::{
    check_down_when, read_down_after, read_down_when, read_slow, read_up_after, write_down_after,
    write_down_when,
};

/// All that is monitored, and from where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fleet {
    pub agents: Vec<FleetAgent>,
    pub defaults: Defaults,
    pub targets: Vec<FleetTarget>,
    /// When which targets are left alone.
    pub maintenance: Vec<Maintenance>,
    /// Who is alerted of what.
    pub alerts: Vec<AlertRule>,
}

/// What holds for targets, and for the links to agents, that do not say otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub slow: Option<Duration>,
    pub down_after: Option<DownAfter>,
    pub up_after: Option<u32>,
    /// Time between probes while a change is not decided.
    pub retry_interval: Option<Duration>,
    pub down_when: Option<DownWhen>,
    /// The file with the key of every agent that names none, as written.
    pub key_file: Option<String>,
}

/// A service to probe, as written: `None` where the defaults are to be used.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetTarget {
    pub name: Name,
    pub address: HostPort,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub family: Family,
    pub want: Want,
    /// What is said and expected; `None` asks for a connection alone.
    pub script: Option<FleetScript>,
    /// Longer than this is a slow answer.
    pub slow: Option<Duration>,
    pub down_after: Option<DownAfter>,
    pub up_after: Option<u32>,
    /// Time between probes while a change is not decided.
    pub retry_interval: Option<Duration>,
    pub down_when: Option<DownWhen>,
    /// Who probes it; `None` means all agents.
    pub agents: Option<Vec<Name>>,
    /// Whether each address of its name is probed by itself.
    pub each_address: bool,
    /// Targets without which it cannot be reached.
    pub depends_on: Vec<Name>,
    /// What it is reported together with.
    pub group: Option<Name>,
    pub tags: Vec<Name>,
}

impl FleetTarget {
    /// A target that leaves everything else to the defaults.
    pub fn new(name: Name, address: HostPort) -> FleetTarget {
        FleetTarget {
            name,
            address,
            interval: None,
            timeout: None,
            retries: None,
            family: Family::Any,
            want: Want::Open,
            script: None,
            slow: None,
            down_after: None,
            up_after: None,
            retry_interval: None,
            down_when: None,
            agents: None,
            each_address: false,
            depends_on: Vec::new(),
            group: None,
            tags: Vec::new(),
        }
    }
}

/// In the order of reading: a target's checks need the agents and the defaults.
static FLEET: [Key<Fleet>; 3] = [
    Key {
        name: "agents",
        presence: Presence::Optional,
        read: |fleet, spot| match spot.list(AGENTS_MAX, read_agent) {
            Some(agents) => fleet.agents = agents,
            None => spot.notes.agents_unreadable = true,
        },
        write: |fleet| Some(spread_list(&fleet.agents, &AGENT)),
    },
    Key {
        name: "defaults",
        presence: Presence::Optional,
        read: |fleet, spot| read_defaults(&mut fleet.defaults, spot),
        write: |fleet| {
            let given = fleet.defaults != Defaults::default();
            given.then(|| spread_object(&fleet.defaults, &DEFAULTS))
        },
    },
    Key {
        name: "targets",
        presence: Presence::Optional,
        read: |fleet, spot| {
            fleet.targets = spot.list(TARGETS_MAX, read_target).unwrap_or_default();
        },
        write: |fleet| Some(spread_list(&fleet.targets, &TARGET)),
    },
];

static DEFAULTS: [Key<Defaults>; 9] = [
    Key {
        name: "interval",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.interval = spot.duration(interval),
        write: |defaults| defaults.interval.map(duration),
    },
    Key {
        name: "timeout",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.timeout = spot.duration(timeout),
        write: |defaults| defaults.timeout.map(duration),
    },
    Key {
        name: "retries",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.retries = spot.number(retries),
        write: |defaults| defaults.retries.map(|n| n.to_string()),
    },
    Key {
        name: "slow",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.slow = read_slow(spot),
        write: |defaults| defaults.slow.map(duration),
    },
    Key {
        name: "down_after",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.down_after = read_down_after(spot),
        write: |defaults| defaults.down_after.map(write_down_after),
    },
    Key {
        name: "up_after",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.up_after = read_up_after(spot),
        write: |defaults| defaults.up_after.map(|n| n.to_string()),
    },
    Key {
        name: "retry_interval",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.retry_interval = spot.duration(interval),
        write: |defaults| defaults.retry_interval.map(duration),
    },
    Key {
        name: "down_when",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.down_when = read_down_when(spot),
        write: |defaults| defaults.down_when.map(write_down_when),
    },
    Key {
        name: "key_file",
        presence: Presence::Optional,
        read: |defaults, spot| defaults.key_file = read_key_file(spot),
        write: |defaults| defaults.key_file.as_deref().map(string),
    },
];

static TARGET: [Key<FleetTarget>; 14] = [
    Key {
        name: "name",
        presence: Presence::Required,
        read: |target, spot| {
            read_name(&mut target.name, spot, "targets", |notes| {
                &mut notes.targets
            });
        },
        write: |target| Some(string(target.name.as_str())),
    },
    Key {
        name: "address",
        presence: Presence::Required,
        read: |target, spot| {
            if let Some(address) = spot.address() {
                target.address = address;
            }
        },
        write: |target| Some(string(&target.address.to_string())),
    },
    Key {
        name: "interval",
        presence: Presence::Optional,
        read: |target, spot| target.interval = spot.duration(interval),
        write: |target| target.interval.map(duration),
    },
    Key {
        name: "timeout",
        presence: Presence::Optional,
        read: |target, spot| target.timeout = spot.duration(timeout),
        write: |target| target.timeout.map(duration),
    },
    Key {
        name: "retries",
        presence: Presence::Optional,
        read: |target, spot| target.retries = spot.number(retries),
        write: |target| target.retries.map(|n| n.to_string()),
    },
    Key {
        name: "family",
        presence: Presence::Optional,
        read: |target, spot| target.family = read_family(&target.address, spot),
        write: |target| write_family(target.family),
    },
    Key {
        name: "want",
        presence: Presence::Optional,
        read: |target, spot| target.want = read_want(spot),
        write: |target| write_want(target.want),
    },
    Key {
        name: "script",
        presence: Presence::Optional,
        read: |target, spot| {
            target.script = read_fleet_script(spot);
            if target.want != Want::Open {
                spot.problem(|| script_of_shut(target.want));
            }
        },
        write: |target| target.script.as_ref().map(FleetScript::json),
    },
    Key {
        name: "slow",
        presence: Presence::Optional,
        read: |target, spot| target.slow = read_slow(spot),
        write: |target| target.slow.map(duration),
    },
    Key {
        name: "down_after",
        presence: Presence::Optional,
        read: |target, spot| target.down_after = read_down_after(spot),
        write: |target| target.down_after.map(write_down_after),
    },
    Key {
        name: "up_after",
        presence: Presence::Optional,
        read: |target, spot| target.up_after = read_up_after(spot),
        write: |target| target.up_after.map(|n| n.to_string()),
    },
    Key {
        name: "retry_interval",
        presence: Presence::Optional,
        read: |target, spot| target.retry_interval = spot.duration(interval),
        write: |target| target.retry_interval.map(duration),
    },
    Key {
        name: "down_when",
        presence: Presence::Optional,
        read: |target, spot| target.down_when = read_down_when(spot),
        write: |target| target.down_when.map(write_down_when),
    },
    Key {
        name: "agents",
        presence: Presence::Optional,
        read: |target, spot| target.agents = read_agent_names(spot),
        write: |target| target.agents.as_deref().map(names),
    },
];

/// Reads a fleet file. Errors: all problems in the order of the text, at most
/// [`super::PROBLEMS_MAX`] and then one that counts the others; a text that is not
/// JSON has that problem alone. A byte order mark at the start is passed over.
/// `rule` says whether an agent beyond loopback without a key is one of the problems.
pub fn parse_fleet(text: &[u8], rule: KeyRule) -> Result<Fleet, Vec<Problem>> {
    let text = without_mark(text);
    let value = json::parse(text).map_err(|error| vec![not_json(text, &error)])?;
    let mut fleet = Fleet::default();
    let mut notes = Notes {
        interval: Some(INTERVAL_DEFAULT),
        ..Notes::default()
    };
    let mut root = Spot {
        value: &value,
        path: Path::Root,
        notes: &mut notes,
    };
    root.object(&mut fleet, &FLEET);
    check_silences(&fleet, &value, &mut notes);
    if rule == KeyRule::Required {
        check_keys(&mut notes);
    }
    let fleet = notes.problems.verdict(text, fleet)?;
    match too_large(&fleet) {
        Some(problem) => Err(vec![problem]),
        None => Ok(fleet),
    }
}

/// The first agent whose configuration would be too large to send, scripts expanded.
fn too_large(fleet: &Fleet) -> Option<Problem> {
    let size = |target| agent_config_json(&[fleet.resolved(target)]).len();
    let sizes: Vec<usize> = fleet.targets.iter().map(size).collect();
    if sizes.iter().sum::<usize>() <= AGENT_CONFIG_BYTES_MAX {
        return None;
    }
    let of_agent = |agent: &&FleetAgent| {
        let targets = fleet.targets.iter().zip(&sizes);
        let probed =
            targets.filter(|(t, _)| t.agents.as_ref().is_none_or(|a| a.contains(&agent.name)));
        probed.map(|(_, size)| size).sum::<usize>() > AGENT_CONFIG_BYTES_MAX
    };
    let agent = &fleet.agents.iter().find(of_agent)?.name;
    let limit = size_text(AGENT_CONFIG_BYTES_MAX as u64);
    Some(Problem::whole(format!(
        "the configuration of agent {agent} would exceed {limit}: fewer targets, or shorter scripts"
    )))
}

fn not_json(source: &[u8], error: &SyntaxError) -> Problem {
    let problem = Problem::syntax(source, error);
    let hint = match source.get(error.at) {
        Some(b'/' | b'#') => " (JSON has no comments)",
        Some(b'\'') => " (JSON has double quotes only)",
        _ if source.trim_ascii().is_empty() => " (an empty fleet is {})",
        _ => "",
    };
    let text = format!("not valid JSON: {}{hint}", problem.text);
    Problem { text, ..problem }
}

fn read_defaults(defaults: &mut Defaults, spot: &mut Spot<'_, '_>) {
    let is_object = spot.object(defaults, &DEFAULTS);
    check_timeout_fits(defaults.timeout, defaults.interval, spot);
    if !is_object || spot.value.get("interval").is_some() {
        spot.notes.interval = defaults.interval;
    }
    spot.notes.key_by_default = !is_object || spot.value.get("key_file").is_some();
}

fn read_target(spot: &mut Spot<'_, '_>) -> FleetTarget {
    let mut target = FleetTarget::new(BLANK.0.clone(), BLANK.1.clone());
    spot.object(&mut target, &TARGET);
    check_timeout_fits(target.timeout, target.interval, spot);
    check_down_when(&target, spot);
    target
}

/// A timeout that is written beside an interval, or beside none, must not exceed the one in force.
fn check_timeout_fits(timeout: Option<Duration>, own: Option<Duration>, spot: &mut Spot<'_, '_>) {
    let object = spot.value;
    let (Some(timeout), Some(value)) = (timeout, object.get("timeout")) else {
        return;
    };
    let (interval, whence) = match (own, object.get("interval")) {
        (Some(own), _) => (Some(own), ""),
        // It could not be read, which is reported already.
        (None, Some(_)) => (None, ""),
        (None, None) => (spot.notes.interval, " that holds by default"),
    };
    let Some(interval) = interval.filter(|interval| timeout > *interval) else {
        return;
    };
    let (timeout, interval) = (duration_text(timeout), duration_text(interval));
    spot.below("timeout", value)
        .problem(|| format!("{timeout} is longer than the interval of {interval}{whence}"));
}

/// The silence that a script expects has to fit the target's timeout, wherever that is
/// written.
fn check_silences(fleet: &Fleet, root: &Value<'_>, notes: &mut Notes) {
    let written = root.get("targets").and_then(Value::array);
    for (index, (target, value)) in fleet.targets.iter().zip(written.unwrap_or(&[])).enumerate() {
        let Some(script) = value.get("script").filter(|_| target.script.is_some()) else {
            continue;
        };
        let resolved = fleet.resolved(target);
        let (silence, timeout) = (resolved.script.silence(), resolved.timeout);
        if silence >= timeout {
            let (list, silence) = (Path::Key(&Path::Root, "targets"), duration_text(silence));
            let path = Path::Index(&list, index);
            notes
                .problems
                .add(script.at, &Path::Key(&path, "script"), || {
                    let timeout = duration_text(timeout);
                    format!("a silence of {silence} does not fit the timeout of {timeout}")
                });
        }
    }
}

fn read_name(
    into: &mut Name,
    spot: &mut Spot<'_, '_>,
    list: &str,
    seen: fn(&mut Notes) -> &mut Seen,
) {
    if let Some(name) = spot.name() {
        spot.unique(list, seen, name.to_string());
        *into = name;
    }
}

fn read_agent_names(spot: &mut Spot<'_, '_>) -> Option<Vec<Name>> {
    let mut seen = HashSet::new();
    let names = spot.list(AGENTS_MAX, |spot| {
        let name = spot.name()?;
        check_agent_known(&name, spot);
        if !seen.insert(name.clone()) {
            spot.problem(|| format!("agent \"{name}\" is listed twice"));
        }
        Some(name)
    })?;
    if names.is_empty() {
        spot.problem(|| {
            "an empty list means no agent probes this; name one, or leave \"agents\" out for all"
                .to_string()
        });
    }
    Some(names.into_iter().flatten().collect())
}

fn check_agent_known(name: &Name, spot: &mut Spot<'_, '_>) {
    if spot.notes.agents_unreadable || spot.notes.agents.contains_key(name.as_str()) {
        return;
    }
    let Notes {
        problems, agents, ..
    } = &mut *spot.notes;
    problems.add(spot.value.at, &spot.path, || {
        let text = format!("no agent is named {}", quoted(name.as_str()));
        match nearest(name.as_str(), agents.keys().map(String::as_str)) {
            Some(near) => format!("{text}; did you mean \"{near}\"?"),
            None => text,
        }
    });
}

fn string(text: &str) -> String {
    let mut out = String::new();
    json::string(&mut out, text);
    out
}

fn duration(d: Duration) -> String {
    string(&duration_text(d))
}

fn names(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|name| string(name.as_str())).collect();
    format!("[{}]", names.join(", "))
}

/// An object on one line, with room to breathe.
fn spread_object<T>(item: &T, keys: &[Key<T>]) -> String {
    let member = |key: &Key<T>| Some(format!("\"{}\": {}", key.name, (key.write)(item)?));
    let members: Vec<String> = keys.iter().filter_map(member).collect();
    format!("{{ {} }}", members.join(", "))
}

/// A list with one item per line, aligned behind the longest key of the file.
fn spread_list<T>(items: &[T], keys: &[Key<T>]) -> String {
    if items.is_empty() {
        return "[]".to_string();
    }
    let items: Vec<String> = items.iter().map(|item| spread_object(item, keys)).collect();
    format!("[ {} ]", items.join(",\n                "))
}

impl Fleet {
    /// The fleet file for this model: one agent or target per line, a newline at the
    /// end, the same text for the same model; [`parse_fleet`] reads it back as equal.
    pub fn to_json(&self) -> String {
        let member = |key: &Key<Fleet>| {
            let name = format!("\"{}\":", key.name);
            Some(format!("  {name:<11} {}", (key.write)(self)?))
        };
        let members: Vec<String> = FLEET.iter().filter_map(member).collect();
        format!("{{\n{}\n}}\n", members.join(",\n"))
    }

    /// What an agent is told about a target: the defaults filled in, an inherited
    /// timeout cut to the target's interval.
    pub fn resolved(&self, target: &FleetTarget) -> Target {
        let defaults = &self.defaults;
        let interval = target.interval.or(defaults.interval);
        let interval = interval.unwrap_or(INTERVAL_DEFAULT);
        let timeout = target.timeout.or(defaults.timeout);
        let retries = target.retries.or(defaults.retries);
        Target {
            name: target.name.clone(),
            address: target.address.clone(),
            interval,
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT).min(interval),
            // A port that is to stay shut gains nothing by being tried again.
            retries: match target.want {
                Want::Open => retries.unwrap_or(RETRIES_DEFAULT),
                Want::Refused | Want::Closed => 0,
            },
            family: target.family,
            want: target.want,
            script: match &target.script {
                Some(script) => script.expand(&target.address),
                None => Script::default(),
            },
            recheck: self.recheck_of(target, interval),
            each_address: target.each_address,
        }
    }

    /// The targets that this agent probes, in the file's order.
    pub fn targets_for(&self, agent: &Name) -> Vec<Target> {
        let targets = self.probed_by(agent);
        targets.map(|target| self.resolved(target)).collect()
    }

    fn probed_by(&self, agent: &Name) -> impl Iterator<Item = &FleetTarget> {
        let probes = |t: &&FleetTarget| t.agents.as_ref().is_none_or(|list| list.contains(agent));
        self.targets.iter().filter(probes)
    }

    /// The file with the key of the link to this agent, as written: its own, else the
    /// one in the defaults.
    pub fn key_file_of<'a>(&'a self, agent: &'a FleetAgent) -> Option<&'a str> {
        let own = agent.key_file.as_deref();
        own.or(self.defaults.key_file.as_deref())
    }

    /// Every key file that is named: where in the file (such as `agents[1].key_file`), as
    /// written, and by which agent; `None` for the one in the defaults, which comes last.
    pub fn key_files(&self) -> Vec<(String, &str, Option<&Name>)> {
        let agents = self.agents.iter().enumerate();
        let own = agents.filter_map(|(index, agent)| {
            let path = format!("agents[{index}].key_file");
            Some((path, agent.key_file.as_deref()?, Some(&agent.name)))
        });
        let default = self.defaults.key_file.as_deref();
        let default = default.map(|text| ("defaults.key_file".to_string(), text, None));
        own.chain(default).collect()
    }

    /// What [`parse_fleet`] would find wrong with this model's file, without positions.
    pub fn problems(&self, rule: KeyRule) -> Vec<Problem> {
        let text = self.to_json();
        let mut problems = parse_fleet(text.as_bytes(), rule).err().unwrap_or_default();
        for problem in &mut problems {
            (problem.line, problem.column) = (0, 0);
        }
        if text.len() > FLEET_BYTES_MAX {
            let limit = size_text(FLEET_BYTES_MAX as u64);
            problems.push(Problem::whole(format!("its file would exceed {limit}")));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_tells_every_key() {
        let manual = include_str!("../../docs/configuration.md");
        let rows = |keys: &[&str]| {
            for key in keys {
                assert!(manual.contains(&format!("\n| `{key}` | ")), "{key}");
            }
        };
        rows(&FLEET.each_ref().map(|key| key.name));
        rows(&AGENT.each_ref().map(|key| key.name));
        rows(&DEFAULTS.each_ref().map(|key| key.name));
        rows(&TARGET.each_ref().map(|key| key.name));
    }

    #[test]
    fn a_misspelling_finds_the_nearest_name() {
        let names = [
            "name", "address", "interval", "timeout", "retries", "agents",
        ];
        let cases = [
            ("adress", Some("address")),
            ("INTERVAL", Some("interval")),
            ("time_out", Some("timeout")),
            ("agent", Some("agents")),
            ("nme", Some("name")),
            ("host", None),
            ("", None),
            (&"a".repeat(200), None),
        ];
        for (word, want) in cases {
            assert_eq!(nearest(word, names.into_iter()), want, "{word}");
        }
    }
}
