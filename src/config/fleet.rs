//! The fleet file and its model. What a person may write, key by key, with each
//! key's reading beside its writing; the rules that join keys follow the tables.
//! Whatever [`parse_fleet`] returns is valid; a model built by hand is checked by
//! [`Fleet::problems`], which writes it and reads it again.

use std::time::Duration;

use super::fields::{Key, Notes, Path, Presence, Problem, Seen, Spot, without_mark};
use super::{
    AGENT_CONFIG_BYTES_MAX, AGENTS_MAX, ALERTS_MAX, EXPORTS_MAX, FLEET_BYTES_MAX, INTERVAL_DEFAULT,
    MAINTENANCE_MAX, RETRIES_DEFAULT, TARGETS_MAX, TIMEOUT_DEFAULT, agent_config_json,
};
use crate::alert::AlertRule;
use crate::export::ExportRule;
use crate::json::{self, SyntaxError};
use crate::model::{Name, Target, Terms, TermsSeen, Want};
use crate::quiet::Maintenance;
use crate::script::Script;
use crate::units::{duration_text, size_text};

mod agents;
mod alerts;
mod export;
mod maintenance;
mod names;
mod page;
mod rules;
mod settings;
mod targets;

use agents::{AGENT, check_keys, read_agent};
pub use agents::{FleetAgent, KeyRule, key_needed};
use alerts::{ALERT, read_alert};
use export::{EXPORT, read_export};
use maintenance::{MAINTENANCE, read_window};
use names::check_names;
pub use page::PageSettings;
use page::{PAGE, read_page};
use settings::{DEFAULTS, read_defaults};
pub use settings::{Defaults, Settings};
pub use targets::FleetTarget;
use targets::{TARGET, check_silences, read_target};

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
    /// Who gets results as they are stored.
    pub export: Vec<ExportRule>,
    pub page: PageSettings,
}

/// In the order of reading: a target's checks need the agents and the defaults, and
/// those of what follows need the targets.
static FLEET: [Key<Fleet>; 7] = [
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
        read: |fleet, spot| match spot.list(TARGETS_MAX, read_target) {
            Some(targets) => fleet.targets = targets,
            None => spot.notes.targets_unreadable = true,
        },
        write: |fleet| Some(spread_list(&fleet.targets, &TARGET)),
    },
    Key {
        name: "maintenance",
        presence: Presence::Optional,
        read: |fleet, spot| {
            let windows = spot.list(MAINTENANCE_MAX, read_window);
            fleet.maintenance = windows.unwrap_or_default();
        },
        write: |fleet| {
            let given = !fleet.maintenance.is_empty();
            given.then(|| spread_list(&fleet.maintenance, &MAINTENANCE))
        },
    },
    Key {
        name: "alerts",
        presence: Presence::Optional,
        read: |fleet, spot| {
            fleet.alerts = spot.list(ALERTS_MAX, read_alert).unwrap_or_default();
        },
        write: |fleet| {
            let given = !fleet.alerts.is_empty();
            given.then(|| spread_list(&fleet.alerts, &ALERT))
        },
    },
    Key {
        name: "export",
        presence: Presence::Optional,
        read: |fleet, spot| {
            fleet.export = spot.list(EXPORTS_MAX, read_export).unwrap_or_default();
        },
        write: |fleet| {
            let given = !fleet.export.is_empty();
            given.then(|| spread_list(&fleet.export, &EXPORT))
        },
    },
    Key {
        name: "page",
        presence: Presence::Optional,
        read: |fleet, spot| read_page(&mut fleet.page, spot),
        write: |fleet| {
            let given = fleet.page != PageSettings::default();
            given.then(|| spread_object(&fleet.page, &PAGE))
        },
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
    check_names(&fleet, &value, &mut notes);
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
        let probed = targets.filter(|(target, _)| target.probed_by(&agent.name));
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

fn read_name(
    into: &mut Name,
    spot: &mut Spot<'_, '_>,
    list: &str,
    seen: fn(&mut Notes) -> &mut Seen,
) {
    if let Some(name) = spot.name() {
        spot.unique(list, seen, name.shared());
        *into = name;
    }
}

fn string(text: &str) -> String {
    let mut out = String::new();
    json::string(&mut out, text);
    out
}

fn duration(d: Duration) -> String {
    string(&duration_text(d))
}

/// The texts of these, in quotes, on one line.
fn list_of<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| string(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// An object on one line, with room to breathe.
fn spread_object<T>(item: &T, keys: &[Key<T>]) -> String {
    let member = |key: &Key<T>| Some(format!("\"{}\": {}", key.name, (key.write)(item)?));
    let members: Vec<String> = keys.iter().filter_map(member).collect();
    format!("{{ {} }}", members.join(", "))
}

/// A list with one item per line.
fn spread_list<T>(items: &[T], keys: &[Key<T>]) -> String {
    if items.is_empty() {
        return "[]".to_string();
    }
    let items: Vec<String> = items.iter().map(|item| spread_object(item, keys)).collect();
    format!("[ {} ]", items.join(",\n"))
}

impl Fleet {
    /// The fleet file for this model: one agent or target per line, a newline at the
    /// end, the same text for the same model; [`parse_fleet`] reads it back as equal.
    pub fn to_json(&self) -> String {
        let member = |key: &Key<Fleet>| {
            let name = format!("  {:<11} ", format!("\"{}\":", key.name));
            // Strings hold no line ends, so these are the ones between the items.
            let next = format!("\n{:1$}", "", name.len() + 2);
            Some(name + &(key.write)(self)?.replace('\n', &next))
        };
        let members: Vec<String> = FLEET.iter().filter_map(member).collect();
        format!("{{\n{}\n}}\n", members.join(",\n"))
    }

    /// The target of this name.
    pub fn target(&self, name: &Name) -> Option<&FleetTarget> {
        self.targets.iter().find(|target| target.name == *name)
    }

    /// What a target says itself, else what the defaults say.
    fn settings_of(&self, target: &FleetTarget) -> Settings {
        target.settings.or(self.defaults.settings)
    }

    /// What an agent is told about a target: the defaults filled in, an inherited
    /// timeout cut to the target's interval.
    pub fn resolved(&self, target: &FleetTarget) -> Target {
        let settings = self.settings_of(target);
        let interval = settings.interval.unwrap_or(INTERVAL_DEFAULT);
        Target::new(
            target.name.clone(),
            target.address.clone(),
            Terms {
                // A port that is to stay shut gains nothing by being tried again.
                retries: match target.want {
                    Want::Open => settings.retries.unwrap_or(RETRIES_DEFAULT),
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
                ..Terms::every(
                    interval,
                    settings.timeout.unwrap_or(TIMEOUT_DEFAULT).min(interval),
                )
            },
        )
    }

    /// The targets that this agent probes, in the file's order.
    pub fn targets_for(&self, agent: &Name) -> Vec<Target> {
        let mut seen = TermsSeen::default();
        let shared = |target| {
            let mut target = self.resolved(target);
            seen.share(&mut target);
            target
        };
        self.probed_by(agent).map(shared).collect()
    }

    fn probed_by(&self, agent: &Name) -> impl Iterator<Item = &FleetTarget> {
        self.targets.iter().filter(|target| target.probed_by(agent))
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
    use crate::text::nearest;

    #[test]
    fn the_manual_tells_every_key() {
        let manual = include_str!("../../docs/configuration.md");
        let rows = |section: &str, keys: &[&str]| {
            let start = manual.find(&format!("# {section}\n")).expect(section);
            let text = &manual[start..];
            let text = &text[..text.find("\n#").unwrap_or(text.len())];
            for key in keys {
                let row = format!("\n| `{key}` | ");
                assert!(text.contains(&row), "{section}: {key}");
            }
        };
        rows("Keys", &FLEET.each_ref().map(|key| key.name));
        let agent = AGENT.each_ref().map(|key| key.name);
        rows("In an entry of `agents`", &agent);
        rows("In `defaults`", &DEFAULTS.each_ref().map(|key| key.name));
        let target = TARGET.each_ref().map(|key| key.name);
        rows("In an entry of `targets`", &target);
        let window = MAINTENANCE.each_ref().map(|key| key.name);
        rows("In an entry of `maintenance`", &window);
        let alert = ALERT.each_ref().map(|key| key.name);
        rows("In an entry of `alerts`", &alert);
        let export = EXPORT.each_ref().map(|key| key.name);
        rows("In an entry of `export`", &export);
        rows("In `page`", &PAGE.each_ref().map(|key| key.name));
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
