//! The agents of a fleet file: where each is reached, or that it dials in, and which key
//! its link has. The rules that join these are here, too: exactly one of the two ways, and
//! a key for every link that leaves this machine. What a key file holds is not asked here.

use super::names::{read_names, write_names};
use super::{read_name, string};
use crate::config::check_key_file;
use crate::config::fields::{BLANK, Key, Notes, Path, Presence, Spot};
use crate::model::Name;
use crate::units::HostPort;

/// A place to probe from.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetAgent {
    pub name: Name,
    /// Where the manager connects to; `None` when the agent dials the manager.
    pub address: Option<HostPort>,
    /// The file with this agent's key, as written: relative to the fleet file. `None`
    /// where the one in the defaults is to be used.
    pub key_file: Option<String>,
    /// Targets that answer whenever this agent's own network works.
    pub anchors: Vec<Name>,
}

/// Whether an agent beyond loopback must have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRule {
    /// It must.
    Required,
    /// It need not: the program runs with `--insecure`, or opens no link by this file.
    Waived,
}

/// Why an agent at this address needs a key.
pub fn key_needed(address: &HostPort) -> String {
    let host = &address.host;
    format!("{host} is not a loopback address, so the link needs a key")
}

pub(super) static AGENT: [Key<FleetAgent>; 5] = [
    Key {
        name: "name",
        presence: Presence::Required,
        read: |agent, spot| read_name(&mut agent.name, spot, "agents", |notes| &mut notes.agents),
        write: |agent| Some(string(agent.name.as_str())),
    },
    Key {
        name: "address",
        // Unless it dials in: see `check_way`.
        presence: Presence::Optional,
        read: |agent, spot| {
            agent.address = spot.address();
            if let Some(address) = &agent.address {
                let text = address.to_string().to_ascii_lowercase();
                spot.unique("agents", |notes| &mut notes.agent_addresses, text.into());
            }
        },
        write: |agent| Some(string(&agent.address.as_ref()?.to_string())),
    },
    Key {
        name: "dials_in",
        presence: Presence::Optional,
        // What it says is in the model as an address that is not there.
        read: |_, spot| {
            spot.bool();
        },
        write: |agent| agent.address.is_none().then(|| "true".to_string()),
    },
    Key {
        name: "key_file",
        presence: Presence::Optional,
        read: |agent, spot| agent.key_file = read_key_file(spot),
        write: |agent| agent.key_file.as_deref().map(string),
    },
    Key {
        name: "anchors",
        presence: Presence::Optional,
        read: |agent, spot| {
            agent.anchors = read_names(spot, "anchor");
            spot.not_empty("an empty list holds no anchor; name a target, or leave it out");
        },
        write: |agent| write_names(&agent.anchors),
    },
];

pub(super) fn read_agent(spot: &mut Spot<'_, '_>) -> FleetAgent {
    let mut agent = FleetAgent {
        name: BLANK.0.clone(),
        address: None,
        key_file: None,
        anchors: Vec::new(),
    };
    if spot.object(&mut agent, &AGENT) {
        check_way(spot);
        note_without_key(&agent, spot);
    }
    agent
}

pub(super) fn read_key_file(spot: &mut Spot<'_, '_>) -> Option<String> {
    spot.string("a path in quotes", |text| {
        check_key_file(text).map(str::to_string)
    })
}

/// An agent has an address or dials in. A `dials_in` that could not be read is reported already.
fn check_way(spot: &mut Spot<'_, '_>) {
    let object = spot.value;
    let dials_in = object.get("dials_in");
    match (
        object.get("address"),
        dials_in.map(|value| (value, value.bool())),
    ) {
        (Some(_), Some((value, Some(true)))) => spot
            .below("dials_in", value)
            .problem(|| "an agent has an address or dials in; remove one of the two".to_string()),
        (None, Some((value, Some(false)))) => spot
            .below("dials_in", value)
            .problem(|| "an agent that does not dial in needs an \"address\"".to_string()),
        (None, None) => spot.problem(|| {
            "\"address\" is missing; if the agent dials in, write \"dials_in\": true".to_string()
        }),
        _ => {}
    }
}

/// Whether the defaults have a key is known only when they are read.
fn note_without_key(agent: &FleetAgent, spot: &mut Spot<'_, '_>) {
    let object = spot.value;
    if let (Some(address), Some(value), None) = (
        &agent.address,
        object.get("address"),
        object.get("key_file"),
    ) {
        if !address.is_loopback() {
            let index = spot.path.index();
            spot.notes
                .without_key
                .push((value.at, index, address.clone()));
        }
    }
}

/// Reports the agents that must have a key and have none, once the defaults are read.
pub(super) fn check_keys(notes: &mut Notes) {
    if notes.key_by_default {
        return;
    }
    let agents = Path::Key(&Path::Root, "agents");
    for (at, index, address) in std::mem::take(&mut notes.without_key) {
        let entry = Path::Index(&agents, index);
        notes.problems.add(at, &Path::Key(&entry, "address"), || {
            let needed = key_needed(&address);
            format!(
                "{needed}: add \"key_file\" here or in \"defaults\"; tcpmon-manager keygen makes a key"
            )
        });
    }
}
