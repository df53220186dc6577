//! The targets of a fleet file: what is probed, how, and by whom. Names of other targets
//! are checked when all are known: see `names`.

use super::names::{Named, check_known, entries, read_names, write_names};
use super::rules::check_down_when;
use super::settings::{self, Settings, check_timeout_fits};
use super::{Fleet, list_of, read_name, string};
use crate::config::AGENTS_MAX;
use crate::config::fields::{BLANK, Key, Notes, Path, Presence, Spot};
use crate::config::script::{FleetScript, read_fleet_script};
use crate::config::want::{read_family, read_want, script_of_shut, write_family, write_want};
use crate::json::Value;
use crate::model::{Name, Want};
use crate::units::{Family, HostPort, duration_text};

/// A service to probe, as written.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetTarget {
    pub name: Name,
    pub address: HostPort,
    /// Where it says nothing, the defaults are used.
    pub settings: Settings,
    pub family: Family,
    pub want: Want,
    /// What is said and expected; `None` asks for a connection alone.
    pub script: Option<FleetScript>,
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
            settings: Settings::default(),
            family: Family::Any,
            want: Want::Open,
            script: None,
            agents: None,
            each_address: false,
            depends_on: Vec::new(),
            group: None,
            tags: Vec::new(),
        }
    }

    /// Whether this agent probes it.
    pub fn probed_by(&self, agent: &Name) -> bool {
        self.agents.as_ref().is_none_or(|list| list.contains(agent))
    }
}

impl AsRef<Settings> for FleetTarget {
    fn as_ref(&self) -> &Settings {
        &self.settings
    }
}

impl AsMut<Settings> for FleetTarget {
    fn as_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

pub(super) static TARGET: [Key<FleetTarget>; 18] = {
    let [interval, timeout, retries, slow, down, up, retry, when] = settings::keys();
    let [name, address] = PLACE;
    let [family, want, script] = PROBE;
    let [agents, each_address, depends_on, group, tags] = RELATIONS;
    [
        name,
        address,
        interval,
        timeout,
        retries,
        family,
        want,
        script,
        slow,
        down,
        up,
        retry,
        when,
        agents,
        each_address,
        depends_on,
        group,
        tags,
    ]
};

const PLACE: [Key<FleetTarget>; 2] = [
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
];

const PROBE: [Key<FleetTarget>; 3] = [
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
];

const RELATIONS: [Key<FleetTarget>; 5] = [
    Key {
        name: "agents",
        presence: Presence::Optional,
        read: |target, spot| target.agents = read_agent_names(spot),
        write: |target| target.agents.as_deref().map(list_of),
    },
    Key {
        name: "each_address",
        presence: Presence::Optional,
        read: |target, spot| target.each_address = read_each_address(&target.address, spot),
        write: |target| target.each_address.then(|| "true".to_string()),
    },
    Key {
        name: "depends_on",
        presence: Presence::Optional,
        read: |target, spot| target.depends_on = read_names(spot, "target"),
        write: |target| write_names(&target.depends_on),
    },
    Key {
        name: "group",
        presence: Presence::Optional,
        read: |target, spot| target.group = spot.name(),
        write: |target| target.group.as_ref().map(|name| string(name.as_str())),
    },
    Key {
        name: "tags",
        presence: Presence::Optional,
        read: |target, spot| target.tags = read_names(spot, "tag"),
        write: |target| write_names(&target.tags),
    },
];

pub(super) fn read_target(spot: &mut Spot<'_, '_>) -> FleetTarget {
    let mut target = FleetTarget::new(BLANK.0.clone(), BLANK.1.clone());
    spot.object(&mut target, &TARGET);
    check_timeout_fits(&target.settings, spot);
    check_down_when(&target, spot);
    target
}

fn read_agent_names(spot: &mut Spot<'_, '_>) -> Option<Vec<Name>> {
    let names = spot.each_once(AGENTS_MAX, "agent", |spot| {
        let name = spot.name()?;
        check_known(spot, Named::Agent);
        Some(name)
    });
    spot.not_empty(
        "an empty list means no agent probes this; name one, or leave \"agents\" out for all",
    );
    names
}

fn read_each_address(address: &HostPort, spot: &mut Spot<'_, '_>) -> bool {
    let each = spot.bool().unwrap_or_default();
    if let Some(literal) = address.literal().filter(|_| each) {
        let ip = literal.ip();
        spot.problem(|| format!("{ip} is an address already; a name may have several"));
    }
    each
}

/// The silence that a script expects has to fit the target's timeout, wherever that is
/// written.
pub(super) fn check_silences(fleet: &Fleet, root: &Value<'_>, notes: &mut Notes) {
    let written = entries(root, "targets");
    for (index, (target, value)) in fleet.targets.iter().zip(written).enumerate() {
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
