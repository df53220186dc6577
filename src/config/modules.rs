//! The modules of an agent's probe endpoint: what is said and expected under which name.

use std::time::Duration;

use super::fields::{BLANK, Key, Notes, Path, Presence, Problem, Spot, without_mark};
use super::script::{FleetScript, read_fleet_script};
use super::want::{read_family, read_want, script_of_shut, write_family, write_want};
use super::{TIMEOUT_MIN, within};
use crate::json;
use crate::model::{Name, Want};
use crate::units::{Family, duration_text};

/// Most modules of a file, and the largest file.
pub const MODULES_MAX: usize = 1_000;
pub const MODULES_BYTES_MAX: usize = 1 << 20;
/// Longest timeout of a module.
pub const MODULE_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// The module that is there without a file: a connection, and nothing more.
pub const MODULE_DEFAULT: &str = "tcp_connect";

/// How a target is probed that is asked for by name of this.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeModule {
    pub name: Name,
    /// `None`: as long as who asks is ready to wait.
    pub timeout: Option<Duration>,
    pub family: Family,
    pub want: Want,
    pub script: Option<FleetScript>,
}

impl ProbeModule {
    /// A connection, and nothing more.
    pub fn new(name: Name) -> ProbeModule {
        ProbeModule {
            name,
            timeout: None,
            family: Family::Any,
            want: Want::Open,
            script: None,
        }
    }

    /// It as its file has it, on one line.
    pub fn json(&self) -> String {
        let member =
            |key: &Key<ProbeModule>| Some(format!("\"{}\": {}", key.name, (key.write)(self)?));
        let members: Vec<String> = MODULE.iter().filter_map(member).collect();
        format!("{{ {} }}", members.join(", "))
    }
}

static MODULE: [Key<ProbeModule>; 5] = [
    Key {
        name: "name",
        presence: Presence::Required,
        read: |module, spot| {
            if let Some(name) = spot.name() {
                spot.unique("modules", |notes| &mut notes.targets, name.shared());
                module.name = name;
            }
        },
        write: |module| Some(format!("\"{}\"", module.name)),
    },
    Key {
        name: "timeout",
        presence: Presence::Optional,
        read: |module, spot| {
            module.timeout = spot.duration(|d| within(d, TIMEOUT_MIN, MODULE_TIMEOUT_MAX));
        },
        write: |module| module.timeout.map(|d| format!("\"{}\"", duration_text(d))),
    },
    Key {
        name: "family",
        presence: Presence::Optional,
        read: |module, spot| module.family = read_family(&BLANK.1, spot),
        write: |module| write_family(module.family),
    },
    Key {
        name: "want",
        presence: Presence::Optional,
        read: |module, spot| module.want = read_want(spot),
        write: |module| write_want(module.want),
    },
    Key {
        name: "script",
        presence: Presence::Optional,
        read: |module, spot| {
            module.script = read_fleet_script(spot);
            if module.want != Want::Open {
                spot.problem(|| script_of_shut(module.want));
            }
        },
        write: |module| module.script.as_ref().map(FleetScript::json),
    },
];

static FILE: [Key<Vec<ProbeModule>>; 1] = [Key {
    name: "modules",
    presence: Presence::Required,
    read: |modules, spot| {
        let read = spot.list(MODULES_MAX, |spot| {
            let mut module = ProbeModule::new(BLANK.0.clone());
            spot.object(&mut module, &MODULE);
            module
        });
        *modules = read.unwrap_or_default();
    },
    write: |_| None,
}];

/// Reads a file of modules. Errors: all problems in the order of the text.
pub fn parse_modules(text: &[u8]) -> Result<Vec<ProbeModule>, Vec<Problem>> {
    let text = without_mark(text);
    let value = json::parse(text).map_err(|error| vec![Problem::syntax(text, &error)])?;
    let mut modules = Vec::new();
    let mut notes = Notes::default();
    let mut root = Spot {
        value: &value,
        path: Path::Root,
        notes: &mut notes,
    };
    root.object(&mut modules, &FILE);
    notes.problems.verdict(text, modules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_read_and_shown() {
        let text = r#"{"modules": [
            {"name": "ssh", "script": "ssh", "timeout": "5s", "family": "4"},
            {"name": "shut", "want": "closed"},
            {"name": "web", "script": {"preset": "http", "path": "/health"}}]}"#;
        let shown: Vec<String> = parse_modules(text.as_bytes())
            .unwrap()
            .iter()
            .map(ProbeModule::json)
            .collect();
        assert_eq!(
            shown,
            [
                r#"{ "name": "ssh", "timeout": "5s", "family": "4", "script": "ssh" }"#,
                r#"{ "name": "shut", "want": "closed" }"#,
                r#"{ "name": "web", "script": { "preset": "http", "path": "/health" } }"#,
            ]
        );
    }

    #[test]
    fn every_problem_of_a_file_is_told() {
        let text = r#"{"modules": [{"name": "a", "timeout": "1h"},
{"name": "a", "scrip": "ssh"},
{"want": "closed", "script": "ssh"}], "more": 1}"#;
        let problems = parse_modules(text.as_bytes()).unwrap_err();
        let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            problems,
            [
                "1:39: modules[0].timeout: expected 10ms to 2m, found \"1h\"",
                "2:10: modules[1].name: modules[0] has \"a\" already",
                "2:15: modules[1]: unknown key \"scrip\"; did you mean \"script\"?",
                "3:1: modules[2]: \"name\" is missing",
                "3:30: modules[2].script: a port that is to be closed has nobody to talk to; remove one of the two",
                "3:39: unknown key \"more\"; the keys here are modules",
            ]
        );
        assert!(parse_modules(b"{").is_err());
    }
}
