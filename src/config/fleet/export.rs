//! The exports of a fleet file: which time-series databases get results as they are stored.
//! Whether one answers is not asked. Targets are read before.

use std::time::Duration;

use super::agents::read_key_file;
use super::alerts::every_target;
use super::names::read_patterns;
use super::{duration, list_of, read_name, string};
use crate::config::fields::{BLANK, Key, Presence, Spot};
use crate::config::{
    EXPORT_SINCE_MAX, EXPORT_TIMEOUT_DEFAULT, EXPORT_TIMEOUT_MAX, EXPORT_TIMEOUT_MIN, within,
};
use crate::export::{ExportRule, PREFIX_DEFAULT, Receiver, check_prefix};

pub(super) static EXPORT: [Key<ExportRule>; 8] = [
    Key {
        name: "name",
        presence: Presence::Required,
        read: |rule, spot| read_name(&mut rule.name, spot, "export", |notes| &mut notes.exports),
        write: |rule| Some(string(rule.name.as_str())),
    },
    Key {
        name: "influx",
        presence: Presence::Optional,
        read: |rule, spot| {
            if let Some(url) = spot.string("a URL in quotes", str::parse) {
                let token_file = None;
                rule.receiver = Receiver::Influx { url, token_file };
            }
        },
        write: |rule| match &rule.receiver {
            Receiver::Influx { url, .. } => Some(string(&url.to_string())),
            Receiver::Graphite { .. } => None,
        },
    },
    Key {
        name: "token_file",
        presence: Presence::Optional,
        read: |rule, spot| {
            let path = read_key_file(spot);
            match &mut rule.receiver {
                Receiver::Influx { token_file, .. } => *token_file = path,
                Receiver::Graphite { .. } => spot.problem(|| {
                    "\"token_file\" goes with \"influx\"; Graphite takes no token".to_string()
                }),
            }
        },
        write: |rule| match &rule.receiver {
            Receiver::Influx { token_file, .. } => token_file.as_deref().map(string),
            Receiver::Graphite { .. } => None,
        },
    },
    Key {
        name: "graphite",
        presence: Presence::Optional,
        read: |rule, spot| {
            if let Some(address) = spot.address() {
                let prefix = PREFIX_DEFAULT.to_string();
                rule.receiver = Receiver::Graphite { address, prefix };
            }
        },
        write: |rule| match &rule.receiver {
            Receiver::Influx { .. } => None,
            Receiver::Graphite { address, .. } => Some(string(&address.to_string())),
        },
    },
    Key {
        name: "prefix",
        presence: Presence::Optional,
        read: |rule, spot| {
            let given = spot.string("a name in quotes", check_prefix);
            match (&mut rule.receiver, given) {
                (Receiver::Graphite { prefix, .. }, Some(given)) => *prefix = given,
                (Receiver::Influx { .. }, Some(_)) => spot.problem(|| {
                    "\"prefix\" goes with \"graphite\"; the measurement is \"tcpmon\"".to_string()
                }),
                (_, None) => {}
            }
        },
        write: |rule| match &rule.receiver {
            Receiver::Graphite { prefix, .. } if prefix != PREFIX_DEFAULT => Some(string(prefix)),
            _ => None,
        },
    },
    Key {
        name: "targets",
        presence: Presence::Optional,
        read: |rule, spot| rule.targets = read_patterns(spot),
        write: |rule| (rule.targets != every_target()).then(|| list_of(&rule.targets)),
    },
    Key {
        name: "since",
        presence: Presence::Optional,
        read: |rule, spot| {
            rule.since = spot.duration(|d| within(d, Duration::from_secs(1), EXPORT_SINCE_MAX));
        },
        write: |rule| rule.since.map(duration),
    },
    Key {
        name: "timeout",
        presence: Presence::Optional,
        read: |rule, spot| {
            let read = spot.duration(|d| within(d, EXPORT_TIMEOUT_MIN, EXPORT_TIMEOUT_MAX));
            rule.timeout = read.unwrap_or(EXPORT_TIMEOUT_DEFAULT);
        },
        write: |rule| (rule.timeout != EXPORT_TIMEOUT_DEFAULT).then(|| duration(rule.timeout)),
    },
];

pub(super) fn read_export(spot: &mut Spot<'_, '_>) -> ExportRule {
    let mut rule = ExportRule {
        name: BLANK.0.clone(),
        receiver: Receiver::Graphite {
            address: BLANK.1.clone(),
            prefix: PREFIX_DEFAULT.to_string(),
        },
        targets: every_target(),
        since: None,
        timeout: EXPORT_TIMEOUT_DEFAULT,
    };
    if spot.object(&mut rule, &EXPORT) {
        let object = spot.value;
        let has = |key| object.get(key).is_some();
        match (has("influx"), has("graphite")) {
            (true, true) => spot.problem(|| {
                "an export has \"influx\" or \"graphite\"; remove one, or make it two exports"
                    .to_string()
            }),
            (false, false) => spot.problem(|| "\"influx\" is missing, or \"graphite\"".to_string()),
            _ => {}
        }
    }
    rule
}
