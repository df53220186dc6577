//! What travels to an agent: its targets with every default filled in. The agent
//! trusts none of it and checks the whole again, one target in memory at a time,
//! for its host may be small.

use std::time::Duration;

use super::fields::{BLANK, Key, Notes, Path, Presence, Problem, Spot, quoted};
use super::script::{read_script, script_json};
use super::want::{read_family, read_want, script_of_shut, write_family, write_want};
use super::{TARGETS_MAX, interval, retries, timeout};
use crate::json::{self, Reader, SyntaxError};
use crate::model::{RESULTS_MAX, Recheck, Target, Terms, TermsSeen, Want};
use crate::units::{Reach, duration_text};

static TARGET: [Key<Target>; 11] = [
    Key {
        name: "name",
        presence: Presence::Required,
        read: |target, spot| {
            if let Some(name) = spot.name() {
                spot.unique("targets", |notes| &mut notes.targets, name.shared());
                target.name = name;
            }
        },
        write: |target| Some(format!("\"{}\"", target.name)),
    },
    Key {
        name: "address",
        presence: Presence::Required,
        read: |target, spot| {
            if let Some(address) = spot.address() {
                target.address = address;
            }
        },
        write: |target| Some(format!("\"{}\"", target.address)),
    },
    Key {
        name: "interval_ms",
        presence: Presence::Required,
        read: |target, spot| read_ms(&mut target.interval, spot, interval),
        write: |target| Some(target.interval.as_millis().to_string()),
    },
    Key {
        name: "timeout_ms",
        presence: Presence::Required,
        read: |target, spot| read_ms(&mut target.timeout, spot, timeout),
        write: |target| Some(target.timeout.as_millis().to_string()),
    },
    Key {
        name: "retries",
        presence: Presence::Required,
        read: |target, spot| target.retries = spot.number(retries).unwrap_or_default(),
        write: |target| Some(target.retries.to_string()),
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
            target.script = read_script(spot).unwrap_or_default();
            if target.want != Want::Open {
                spot.problem(|| script_of_shut(target.want));
            }
        },
        write: |target| {
            let given = !target.script.steps.is_empty();
            given.then(|| script_json(&target.script))
        },
    },
    Key {
        name: "recheck_ms",
        presence: Presence::Optional,
        read: |target, spot| read_ms(&mut target.recheck.after, spot, interval),
        write: |target| {
            let Recheck { after, times } = target.recheck;
            (times > 0).then(|| after.as_millis().to_string())
        },
    },
    Key {
        name: "rechecks",
        presence: Presence::Optional,
        read: |target, spot| target.recheck.times = spot.number(rechecks).unwrap_or_default(),
        write: |target| (target.recheck.times > 0).then(|| target.recheck.times.to_string()),
    },
    Key {
        name: "each_address",
        presence: Presence::Optional,
        read: |target, spot| target.each_address = spot.bool().unwrap_or_default(),
        write: |target| target.each_address.then(|| "true".to_string()),
    },
];

fn rechecks(number: Option<u64>) -> Result<u32, String> {
    let max = u64::from(RESULTS_MAX);
    let fits = number.filter(|n| (1..max).contains(n));
    let expected = || format!("expected a whole number from 1 to {}", max - 1);
    fits.map(|n| n as u32).ok_or_else(expected)
}

fn read_ms(
    into: &mut Duration,
    spot: &mut Spot<'_, '_>,
    check: fn(Duration) -> Result<Duration, String>,
) {
    let whole = |ms: Option<u64>| ms.ok_or_else(|| "expected whole milliseconds".to_string());
    if let Some(d) = spot.number(|ms| check(Duration::from_millis(whole(ms)?))) {
        *into = d;
    }
}

/// The configuration of an agent with these targets, in the order given: compact
/// JSON, the same text for the same targets.
pub fn agent_config_json(targets: &[Target]) -> String {
    let mut out = String::new();
    json::object(&mut out, |config| {
        config.array("targets", |list| {
            for target in targets {
                list.object(|object| {
                    for key in &TARGET {
                        if let Some(text) = (key.write)(target) {
                            object.raw(key.name, &text);
                        }
                    }
                });
            }
        });
    });
    out
}

/// Reads what [`agent_config_json`] writes, checking all of it; an address that stands
/// there as an IP address must lie within `reach`. Errors: as for [`super::parse_fleet`].
pub fn parse_agent_config(text: &[u8], reach: &Reach) -> Result<Vec<Target>, Vec<Problem>> {
    let mut notes = Notes::default();
    match read(text, reach, &mut notes) {
        Ok(targets) => notes.problems.verdict(text, targets),
        Err(error) => Err(vec![Problem::syntax(text, &error)]),
    }
}

fn read(text: &[u8], reach: &Reach, notes: &mut Notes) -> Result<Vec<Target>, SyntaxError> {
    let mut reader = Reader::new(text);
    let start = reader.at();
    let mut targets = None;
    reader.object(|reader, key| {
        if key == "targets" && targets.is_none() {
            targets = Some(read_targets(reader, reach, notes)?);
            return Ok(());
        }
        let text = || match &*key {
            "targets" => "\"targets\" is given twice".to_string(),
            _ => format!("unknown key {}", quoted(&key)),
        };
        notes.problems.add(reader.at(), &Path::Root, text);
        reader.skip()
    })?;
    reader.end()?;
    if targets.is_none() {
        let text = || "\"targets\" is missing".to_string();
        notes.problems.add(start, &Path::Root, text);
    }
    Ok(targets.unwrap_or_default())
}

fn read_targets(
    reader: &mut Reader<'_>,
    reach: &Reach,
    notes: &mut Notes,
) -> Result<Vec<Target>, SyntaxError> {
    let list = Path::Key(&Path::Root, "targets");
    let at = reader.at();
    let mut targets = Vec::new();
    let mut seen = TermsSeen::default();
    let mut count = 0;
    reader.array(|reader| {
        let value = reader.value()?;
        if count < TARGETS_MAX {
            let path = Path::Index(&list, count);
            let mut spot = Spot {
                value: &value,
                path,
                notes,
            };
            let mut target = read_target(&mut spot, reach);
            seen.share(&mut target);
            targets.push(target);
        }
        count += 1;
        Ok(())
    })?;
    if count > TARGETS_MAX {
        let text = || format!("expected at most {TARGETS_MAX} entries, found {count}");
        notes.problems.add(at, &list, text);
    }
    Ok(targets)
}

fn read_target(spot: &mut Spot<'_, '_>, reach: &Reach) -> Target {
    let mut target = Target::new(
        BLANK.0.clone(),
        BLANK.1.clone(),
        Terms::every(Duration::ZERO, Duration::ZERO),
    );
    spot.object(&mut target, &TARGET);
    let literal = target.address.literal();
    if let Some(refusal) = literal.and_then(|addr| reach.refusal(addr.ip())) {
        if let Some(value) = spot.value.get("address") {
            spot.below("address", value).problem(|| refusal);
        }
    }
    let (timeout, interval) = (target.timeout, target.interval);
    if let Some(value) = spot.value.get("timeout_ms") {
        // Zero means that the interval could not be read, which is reported already.
        if timeout > interval && !interval.is_zero() {
            let (timeout, interval) = (duration_text(timeout), duration_text(interval));
            spot.below("timeout_ms", value)
                .problem(|| format!("{timeout} is longer than the interval of {interval}"));
        }
    }
    target
}
