//! What people are alerted of, and how: the rules of a fleet file's receivers, and the
//! messages that they get.
//!
//! Nouns, their words for people and their line of JSON: when something is told is decided
//! by the manager, how it travels too.

use std::fmt;
use std::time::Duration;

use crate::model::{NAME_LEN_MAX, Name, Wall, Why};
use crate::quiet::Pattern;
use crate::text::{cut, escape, nearest};
use crate::units::{HostPort, HttpUrl};

mod message;

/// What a webhook's template may hold between `{{` and `}}`. What belongs to an event is
/// that of the message's first.
pub const PLACEHOLDERS: [&str; 14] = [
    "id", "alert", "manager", "occasion", "subject", "text", "count", "kind", "target", "state",
    "was", "why", "since", "json",
];

/// Kinds of events that a receiver may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    Down,
    Up,
    Slow,
    /// An agent is away, cut off from its anchors, in trouble, or well again.
    Agent,
    Flapping,
}

impl On {
    /// In the order in which they are written.
    pub const ALL: [On; 5] = [On::Down, On::Up, On::Slow, On::Agent, On::Flapping];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            On::Down => "down",
            On::Up => "up",
            On::Slow => "slow",
            On::Agent => "agent",
            On::Flapping => "flapping",
        }
    }

    /// The kind that a word names.
    pub fn from_word(word: &str) -> Option<On> {
        On::ALL.into_iter().find(|on| on.as_str() == word)
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a message gets to its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A program and its arguments, never through a shell.
    Run(Vec<String>),
    Webhook {
        url: HttpUrl,
        body: Form,
    },
}

/// What a webhook is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Form {
    /// The message as [`Message::json`] has it.
    #[default]
    Json,
    /// For Alertmanager's `POST /api/v2/alerts`.
    Alertmanager,
    /// For Slack and what understands the same (Mattermost, Rocket.Chat).
    Slack,
    /// For ntfy: the topic is the last part of the URL's path.
    Ntfy,
    /// A text with `{{placeholders}}`: see [`check_template`].
    Template(String),
}

impl Form {
    /// The forms that have a word.
    pub const READY: [(&str, Form); 4] = [
        ("json", Form::Json),
        ("alertmanager", Form::Alertmanager),
        ("slack", Form::Slack),
        ("ntfy", Form::Ntfy),
    ];

    /// The word for it, or the template itself.
    pub fn as_str(&self) -> &str {
        match self {
            Form::Json => "json",
            Form::Alertmanager => "alertmanager",
            Form::Slack => "slack",
            Form::Ntfy => "ntfy",
            Form::Template(text) => text,
        }
    }
}

/// Whether each `{{` of a template begins one of the [`PLACEHOLDERS`], which the next `}}`
/// ends; a `}}` elsewhere is text. Errors: what is wrong with the first that does not.
pub fn check_template(template: &str) -> Result<(), String> {
    for part in template.split("{{").skip(1) {
        let Some((name, _)) = part.split_once("}}") else {
            return Err("{{ begins a placeholder and nothing ends it; write it as {{text}}".into());
        };
        if !PLACEHOLDERS.contains(&name) {
            let found = cut(name, NAME_LEN_MAX);
            let found = escape(found);
            return Err(match nearest(name, PLACEHOLDERS.into_iter()) {
                Some(near) => {
                    format!("unknown placeholder {{{{{found}}}}}; did you mean {{{{{near}}}}}?")
                }
                None => {
                    let known = PLACEHOLDERS.join(", ");
                    format!("unknown placeholder {{{{{found}}}}}; there are {known}")
                }
            });
        }
    }
    Ok(())
}

/// A receiver of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    pub name: Name,
    /// Each at most once, in order; never empty.
    pub on: Vec<On>,
    /// Which targets; for the events of agents it does not matter.
    pub targets: Vec<Pattern>,
    pub way: Way,
    /// Longest time that one delivery may take.
    pub timeout: Duration,
    /// How often what lasts is told again.
    pub repeat: Option<Duration>,
    /// What happens within this time after the first is one message.
    pub group_wait: Duration,
    /// Whether outages are told that were over before they were known.
    pub late: bool,
}

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Something has changed.
    News,
    /// It still is so.
    Reminder,
    /// It was so, and is over, and was not known.
    Late,
    /// Somebody wants to see whether it arrives.
    Test,
}

impl Occasion {
    const ALL: [Occasion; 4] = [
        Occasion::News,
        Occasion::Reminder,
        Occasion::Late,
        Occasion::Test,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::News => "news",
            Occasion::Reminder => "reminder",
            Occasion::Late => "late",
            Occasion::Test => "test",
        }
    }

    /// The occasion that a word names.
    pub fn from_word(word: &str) -> Option<Occasion> {
        let mut all = Occasion::ALL.into_iter();
        all.find(|occasion| occasion.as_str() == word)
    }
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Target(Name),
    Agent(Name),
}

impl Subject {
    /// The target's or agent's name.
    pub fn name(&self) -> &Name {
        match self {
            Subject::Target(name) | Subject::Agent(name) => name,
        }
    }
}

/// What somebody who sees a target says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    pub agent: Name,
    /// `up`, `down`, `unknown`, …
    pub state: String,
    pub why: Option<Why>,
}

/// One thing that a message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertEvent {
    pub on: On,
    pub subject: Subject,
    /// Where the target is.
    pub address: Option<HostPort>,
    /// What it is now: `down`, `up`, `slow`, `flapping`; of an agent `away`, `cut off`,
    /// `trouble`, `connected`.
    pub state: String,
    /// What it was when that was told last.
    pub was: String,
    /// Since when it is what it is.
    pub since: Wall,
    /// How long what is over has lasted.
    pub lasted: Option<Duration>,
    pub why: Option<Why>,
    /// The whole story in one line. Holds text from outside, not escaped.
    pub text: String,
    /// Who sees what; empty for agents.
    pub voices: Vec<Voice>,
}

/// What a receiver gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same for every try to deliver it.
    pub id: String,
    pub at: Wall,
    /// The rule's name.
    pub alert: Name,
    /// The manager's.
    pub manager: Name,
    pub occasion: Occasion,
    /// At least one, most important first.
    pub events: Vec<AlertEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_hold_known_placeholders_alone() {
        for good in [
            "",
            "no {placeholder}",
            "}}",
            "{{text}}}}",
            "{\"a\":{\"b\":\"{{why}}\"}}",
        ] {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        for name in PLACEHOLDERS {
            assert_eq!(check_template(&format!("a {{{{{name}}}}} b")), Ok(()));
        }
        for (bad, want) in [
            ("{{", "nothing ends it"),
            ("{{text}", "nothing ends it"),
            ("{{text}} {{why", "nothing ends it"),
            (
                "{{{text}}}",
                "unknown placeholder {{{text}}; did you mean {{text}}?",
            ),
            ("{{sate}}", "did you mean {{state}}?"),
            ("{{TEXT}}", "did you mean {{text}}?"),
            ("{{}}", "there are id, alert,"),
            ("{{text}}{{\n}}", "unknown placeholder {{\\x0a}}"),
        ] {
            let got = check_template(bad).unwrap_err();
            assert!(got.contains(want), "{bad}: {got}");
        }
    }

    #[test]
    fn forms_and_events_have_words() {
        for (word, form) in Form::READY {
            assert_eq!(form.as_str(), word);
        }
        assert_eq!(Form::Template("{{text}}".to_string()).as_str(), "{{text}}");
        assert!(On::ALL.is_sorted());
        assert_eq!(format!("{:>5}", On::Up), "   up");
    }
}
