//! For Prometheus Alertmanager's `POST /api/v2/alerts`: which alerts fire, and which are over.
//!
//! An alert is known by its labels, so these hold the name of what is wrong (`TargetDown`),
//! never what is so now: what ends one has the labels that it fired with. One that fires needs
//! an end ahead, or Alertmanager takes it for resolved by itself after minutes; one that is
//! over has its end behind it. (Its `api/v2/openapi.yaml`, and `Merge` of its alerts.)

use std::time::Duration;

use crate::alert::{AlertEvent, Message, Occasion, Subject};
use crate::json::{self, Array};
use crate::model::Wall;
use crate::text;
use crate::units::timestamp;

/// How long what fires goes on when nothing more is said of it, where it is told again
/// (then three times as long as that takes, if that is longer): it is to outlast the day
/// for which delivering is tried.
const FIRES_FOR_MIN: Duration = Duration::from_secs(25 * 3600);
/// The same, where it is never told again.
const FIRES_FOR_ONCE: Duration = Duration::from_secs(30 * 86_400);
/// A test and a thing of the past end by themselves.
const TEST_FIRES_FOR: Duration = Duration::from_secs(600);

const TARGET_TROUBLES: [&str; 3] = ["down", "slow", "flapping"];
const AGENT_TROUBLES: [&str; 3] = ["away", "cut off", "trouble"];

/// The body: a list of alerts.
pub fn alerts(message: &Message, repeat: Option<Duration>) -> String {
    let fires_for = match (message.occasion, repeat) {
        (Occasion::Test, _) => TEST_FIRES_FOR,
        (Occasion::Late, _) => FIRES_FOR_MIN,
        (_, Some(repeat)) => FIRES_FOR_MIN.max(repeat * 3),
        (_, None) => FIRES_FOR_ONCE,
    };
    let firing_until = message.at.after(fires_for);
    // Of one target the last is what holds.
    let mut events: Vec<&AlertEvent> = message.events.iter().collect();
    events.sort_by_key(|event| event.since);
    let mut body = String::new();
    json::array(&mut body, |out| {
        for event in events {
            for word in over(event, message.occasion) {
                let span = (
                    event.since.before(event.lasted.unwrap_or_default()),
                    event.since,
                );
                write(out, message, event, &name(&event.subject, "", word), span);
            }
            if let Some(name) = firing(event, message.occasion) {
                let span = (event.since.min(message.at), firing_until);
                write(out, message, event, &name, span);
            }
        }
    });
    body
}

/// The alert that an event makes fire.
fn firing(event: &AlertEvent, occasion: Occasion) -> Option<String> {
    match occasion {
        Occasion::Test => Some("TcpmonTest".to_string()),
        // Alertmanager tells nobody of what is over before it was known.
        Occasion::Late => Some(name(&event.subject, "Was", event.trouble())),
        _ if event.is_well() => None,
        _ => Some(name(&event.subject, "", &event.state)),
    }
}

/// What an event says is over: what was told last, or, when that does not say, all that may
/// have been.
fn over(event: &AlertEvent, occasion: Occasion) -> Vec<&str> {
    let known = match event.subject {
        Subject::Target(_) => TARGET_TROUBLES,
        Subject::Agent(_) => AGENT_TROUBLES,
    };
    let was = event.was.as_str();
    match occasion {
        Occasion::Test | Occasion::Late => vec![],
        _ if was == event.state => vec![],
        _ if known.contains(&was) => vec![was],
        _ if event.is_well() => known.to_vec(),
        _ => vec![],
    }
}

/// `TargetDown`, `AgentCutOff`.
fn name(subject: &Subject, tense: &str, word: &str) -> String {
    let kind = match subject {
        Subject::Target(_) => "Target",
        Subject::Agent(_) => "Agent",
    };
    let mut out = format!("{kind}{tense}");
    for part in word.split(' ') {
        let mut chars = part.chars();
        out.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        out += chars.as_str();
    }
    text::escape(&out).into_owned()
}

fn write(
    out: &mut Array<'_>,
    message: &Message,
    event: &AlertEvent,
    name: &str,
    (starts, ends): (Wall, Wall),
) {
    out.object(|o| {
        o.object("labels", |o| {
            o.str("alertname", name);
            let key = match event.subject {
                Subject::Target(_) => "target",
                Subject::Agent(_) => "agent",
            };
            o.str(key, event.subject.name().as_str());
            o.str("manager", message.manager.as_str());
        });
        o.object("annotations", |o| {
            // No label: it may be another by the time the alert is over.
            if let Some(address) = &event.address {
                o.str("address", &address.to_string());
            }
            o.str("summary", &event.headline(message.occasion))
                .str("description", &text::escape(&event.text));
        });
        o.str("startsAt", &timestamp(starts))
            .str("endsAt", &timestamp(ends));
    });
}
