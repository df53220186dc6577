//! The alerts of a fleet file: who is told of what, and in which way. Whether a program is
//! there or a server answers is not asked. Targets are read before.

use std::time::Duration;

use super::names::read_patterns;
use super::{duration, list_of, read_name, string};
use crate::alert::{AlertRule, Form, On, Way, check_template};
use crate::config::fields::{BLANK, Key, Presence, Spot};
use crate::config::{
    ALERT_TIMEOUT_DEFAULT, ALERT_TIMEOUT_MAX, ALERT_TIMEOUT_MIN, GROUP_WAIT_DEFAULT,
    GROUP_WAIT_MAX, REPEAT_MAX, REPEAT_MIN, RUN_TEXT_BYTES_MAX, RUN_TEXTS_MAX, TEMPLATE_BYTES_MAX,
    within,
};
use crate::quiet::Pattern;
use crate::units::{HttpUrl, size_text};

pub(super) static ALERT: [Key<AlertRule>; 10] = [
    Key {
        name: "name",
        presence: Presence::Required,
        read: |rule, spot| read_name(&mut rule.name, spot, "alerts", |notes| &mut notes.alerts),
        write: |rule| Some(string(rule.name.as_str())),
    },
    Key {
        name: "on",
        presence: Presence::Optional,
        read: |rule, spot| rule.on = read_on(spot),
        write: |rule| (rule.on != On::ALL).then(|| list_of(&rule.on)),
    },
    Key {
        name: "targets",
        presence: Presence::Optional,
        read: |rule, spot| rule.targets = read_patterns(spot),
        write: |rule| (rule.targets != every_target()).then(|| list_of(&rule.targets)),
    },
    Key {
        name: "run",
        // This or a webhook: see `check_way`.
        presence: Presence::Optional,
        read: |rule, spot| rule.way = Way::Run(read_run(spot)),
        write: |rule| match &rule.way {
            Way::Run(texts) => Some(list_of(texts)),
            Way::Webhook { .. } => None,
        },
    },
    Key {
        name: "webhook",
        presence: Presence::Optional,
        read: |rule, spot| {
            if let Some(url) = spot.string("a URL in quotes", str::parse) {
                let body = Form::default();
                rule.way = Way::Webhook { url, body };
            }
        },
        write: |rule| match &rule.way {
            Way::Run(_) => None,
            Way::Webhook { url, .. } => Some(string(&url.to_string())),
        },
    },
    Key {
        name: "body",
        presence: Presence::Optional,
        read: |rule, spot| {
            let form = read_form(spot).unwrap_or_default();
            if let Way::Webhook { url, body } = &mut rule.way {
                check_topic(&form, url, spot);
                *body = form;
            }
        },
        write: |rule| match &rule.way {
            Way::Webhook { body, .. } if *body != Form::default() => Some(string(body.as_str())),
            _ => None,
        },
    },
    Key {
        name: "timeout",
        presence: Presence::Optional,
        read: |rule, spot| {
            let read = spot.duration(|d| within(d, ALERT_TIMEOUT_MIN, ALERT_TIMEOUT_MAX));
            rule.timeout = read.unwrap_or(ALERT_TIMEOUT_DEFAULT);
        },
        write: |rule| (rule.timeout != ALERT_TIMEOUT_DEFAULT).then(|| duration(rule.timeout)),
    },
    Key {
        name: "repeat",
        presence: Presence::Optional,
        read: |rule, spot| rule.repeat = spot.duration(|d| within(d, REPEAT_MIN, REPEAT_MAX)),
        write: |rule| rule.repeat.map(duration),
    },
    Key {
        name: "group_wait",
        presence: Presence::Optional,
        read: |rule, spot| {
            let read = spot.duration(|d| within(d, Duration::ZERO, GROUP_WAIT_MAX));
            rule.group_wait = read.unwrap_or(GROUP_WAIT_DEFAULT);
        },
        write: |rule| (rule.group_wait != GROUP_WAIT_DEFAULT).then(|| duration(rule.group_wait)),
    },
    Key {
        name: "late",
        presence: Presence::Optional,
        read: |rule, spot| rule.late = spot.bool().unwrap_or_default(),
        write: |rule| rule.late.then(|| "true".to_string()),
    },
];

pub(super) fn read_alert(spot: &mut Spot<'_, '_>) -> AlertRule {
    let mut rule = AlertRule {
        name: BLANK.0.clone(),
        on: On::ALL.to_vec(),
        targets: every_target(),
        way: Way::Run(Vec::new()),
        timeout: ALERT_TIMEOUT_DEFAULT,
        repeat: None,
        group_wait: GROUP_WAIT_DEFAULT,
        late: false,
    };
    if spot.object(&mut rule, &ALERT) {
        check_way(spot);
    }
    rule
}

pub(super) fn every_target() -> Vec<Pattern> {
    vec![Pattern::any()]
}

fn read_on(spot: &mut Spot<'_, '_>) -> Vec<On> {
    let expected = "\"down\", \"up\", \"slow\", \"agent\" or \"flapping\"";
    let on = spot.each_once(On::ALL.len(), "event", |spot| {
        let word = spot.word("event", &On::ALL.map(On::as_str), expected)?;
        Some(On::ALL[word])
    });
    spot.not_empty("an empty list means nothing is told; leave \"on\" out for all events");
    let mut on = on.unwrap_or_default();
    on.sort();
    on
}

fn read_run(spot: &mut Spot<'_, '_>) -> Vec<String> {
    if spot.value.array().is_none() {
        spot.unexpected("expected a list such as [\"/path/notify\", \"argument\"]");
        return Vec::new();
    }
    let run = spot.list(RUN_TEXTS_MAX, |spot| {
        let is_program = spot.path.index() == 0;
        spot.string("a text in quotes", |text| run_text(text, is_program))
    });
    spot.not_empty("an empty list runs nothing; name a program");
    run.unwrap_or_default().into_iter().flatten().collect()
}

fn run_text(text: &str, is_program: bool) -> Result<String, String> {
    let fits = text.len() <= RUN_TEXT_BYTES_MAX && !text.contains('\0');
    match (fits, is_program && text.is_empty()) {
        (_, true) => Err("expected a program such as \"/path/notify\"".to_string()),
        (false, _) => Err(format!(
            "expected at most {RUN_TEXT_BYTES_MAX} bytes without NUL"
        )),
        _ => Ok(text.to_string()),
    }
}

/// The word of a ready form, or a template, which is known by its first placeholder.
fn read_form(spot: &mut Spot<'_, '_>) -> Option<Form> {
    let value = spot.value;
    let Some(template) = value.str().filter(|text| text.contains("{{")) else {
        let expected =
            "\"json\", \"alertmanager\", \"slack\", \"ntfy\" or a text with {{placeholders}}";
        let word = spot.word("form", &Form::READY.map(|(word, _)| word), expected)?;
        return Some(Form::READY[word].1.clone());
    };
    if template.len() > TEMPLATE_BYTES_MAX {
        let max = size_text(TEMPLATE_BYTES_MAX as u64);
        spot.problem(|| format!("a template has at most {max}"));
    }
    match check_template(template) {
        Ok(()) => Some(Form::Template(template.to_string())),
        Err(text) => {
            spot.problem(|| text);
            None
        }
    }
}

/// Where a message for ntfy goes is the last part of the path.
fn check_topic(form: &Form, url: &HttpUrl, spot: &mut Spot<'_, '_>) {
    let path = url.target.split('?').next().unwrap_or_default();
    if *form == Form::Ntfy && path.ends_with('/') {
        spot.problem(|| {
            "for \"ntfy\" the webhook ends with the topic, such as \"http://host/topic\""
                .to_string()
        });
    }
}

/// An alert runs a program or posts to a server.
fn check_way(spot: &mut Spot<'_, '_>) {
    let object = spot.value;
    let has = |key| object.get(key).is_some();
    match (has("run"), has("webhook")) {
        (true, true) => spot.problem(|| {
            "an alert has \"run\" or \"webhook\"; remove one, or make it two alerts".to_string()
        }),
        (false, false) => spot.problem(|| "\"run\" is missing, or \"webhook\"".to_string()),
        _ => {}
    }
    if let Some(body) = object.get("body").filter(|_| !has("webhook")) {
        spot.below("body", body)
            .problem(|| "\"body\" goes with \"webhook\"; a program gets the JSON".to_string());
    }
}
