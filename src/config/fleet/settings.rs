//! What stands in `defaults` and in a target alike: how it is probed and how its results
//! become its state. One struct and one table for both, and the defaults themselves.

use std::time::Duration;

use super::agents::read_key_file;
use super::rules::{
    read_down_after, read_down_when, read_slow, read_up_after, write_down_after, write_down_when,
};
use super::{duration, string};
use crate::config::fields::{Key, Presence, Spot};
use crate::config::{interval, retries, timeout};
use crate::model::{DownAfter, DownWhen};
use crate::units::duration_text;

/// What a target says itself, or the defaults say for all: `None` where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    /// Longer than this is a slow answer.
    pub slow: Option<Duration>,
    pub down_after: Option<DownAfter>,
    pub up_after: Option<u32>,
    /// Time between probes while a change is not decided.
    pub retry_interval: Option<Duration>,
    pub down_when: Option<DownWhen>,
}

impl Settings {
    /// These, and where they say nothing, the usual ones.
    pub fn or(self, usual: Settings) -> Settings {
        Settings {
            interval: self.interval.or(usual.interval),
            timeout: self.timeout.or(usual.timeout),
            retries: self.retries.or(usual.retries),
            slow: self.slow.or(usual.slow),
            down_after: self.down_after.or(usual.down_after),
            up_after: self.up_after.or(usual.up_after),
            retry_interval: self.retry_interval.or(usual.retry_interval),
            down_when: self.down_when.or(usual.down_when),
        }
    }
}

/// What holds for targets, and for the links to agents, that do not say otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    pub settings: Settings,
    /// The file with the key of every agent that names none, as written.
    pub key_file: Option<String>,
}

impl AsRef<Settings> for Defaults {
    fn as_ref(&self) -> &Settings {
        &self.settings
    }
}

impl AsMut<Settings> for Defaults {
    fn as_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

/// The keys of the settings in an object that has them among others.
pub(super) const fn keys<T: AsRef<Settings> + AsMut<Settings>>() -> [Key<T>; 8] {
    [
        Key {
            name: "interval",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().interval = spot.duration(interval),
            write: |item| item.as_ref().interval.map(duration),
        },
        Key {
            name: "timeout",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().timeout = spot.duration(timeout),
            write: |item| item.as_ref().timeout.map(duration),
        },
        Key {
            name: "retries",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().retries = spot.number(retries),
            write: |item| item.as_ref().retries.map(|n| n.to_string()),
        },
        Key {
            name: "slow",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().slow = read_slow(spot),
            write: |item| item.as_ref().slow.map(duration),
        },
        Key {
            name: "down_after",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().down_after = read_down_after(spot),
            write: |item| item.as_ref().down_after.map(write_down_after),
        },
        Key {
            name: "up_after",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().up_after = read_up_after(spot),
            write: |item| item.as_ref().up_after.map(|n| n.to_string()),
        },
        Key {
            name: "retry_interval",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().retry_interval = spot.duration(interval),
            write: |item| item.as_ref().retry_interval.map(duration),
        },
        Key {
            name: "down_when",
            presence: Presence::Optional,
            read: |item, spot| item.as_mut().down_when = read_down_when(spot),
            write: |item| item.as_ref().down_when.map(write_down_when),
        },
    ]
}

pub(super) static DEFAULTS: [Key<Defaults>; 9] = {
    let [a, b, c, d, e, f, g, h] = keys();
    let key_file = Key {
        name: "key_file",
        presence: Presence::Optional,
        read: |defaults: &mut Defaults, spot| defaults.key_file = read_key_file(spot),
        write: |defaults| defaults.key_file.as_deref().map(string),
    };
    [a, b, c, d, e, f, g, h, key_file]
};

pub(super) fn read_defaults(defaults: &mut Defaults, spot: &mut Spot<'_, '_>) {
    let is_object = spot.object(defaults, &DEFAULTS);
    check_timeout_fits(&defaults.settings, spot);
    if !is_object || spot.value.get("interval").is_some() {
        spot.notes.interval = defaults.settings.interval;
    }
    spot.notes.key_by_default = !is_object || spot.value.get("key_file").is_some();
}

/// A timeout that is written beside an interval, or beside none, must not exceed the one in force.
pub(super) fn check_timeout_fits(settings: &Settings, spot: &mut Spot<'_, '_>) {
    let object = spot.value;
    let (Some(timeout), Some(value)) = (settings.timeout, object.get("timeout")) else {
        return;
    };
    let (interval, whence) = match (settings.interval, object.get("interval")) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::{Notes, Path};
    use crate::json;

    #[test]
    fn each_setting_is_a_targets_own_or_the_usual_one() {
        let read = |text: &str| {
            let value = json::parse(text.as_bytes()).unwrap();
            let mut notes = Notes::default();
            let mut spot = Spot {
                value: &value,
                path: Path::Root,
                notes: &mut notes,
            };
            let mut defaults = Defaults::default();
            read_defaults(&mut defaults, &mut spot);
            notes.problems.verdict(text.as_bytes(), defaults.settings)
        };
        let values = [
            "\"5s\"", "\"1s\"", "7", "\"2s\"", "4", "5", "\"9s\"", "\"all\"",
        ];
        let keys = keys::<Defaults>().map(|key| key.name);
        let member = |i: usize| format!("\"{}\": {}", keys[i], values[i]);
        let whole = read(&format!(
            "{{{}}}",
            (0..8).map(member).collect::<Vec<_>>().join(", ")
        ));
        let whole = whole.unwrap();
        assert_eq!(Settings::default().or(whole), whole);
        for (i, key) in keys.iter().enumerate() {
            let one = read(&format!("{{{}}}", member(i))).unwrap();
            assert_ne!(one, Settings::default(), "{key}");
            assert_eq!(one.or(Settings::default()), one, "{key}");
            assert_eq!(whole.or(one), whole);
        }
    }
}
