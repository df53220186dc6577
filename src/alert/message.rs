//! A message's words for people, and its one line of JSON: what receivers get, and what a
//! queue on disk keeps.
//!
//! Always: `parse` gives back what `json` was given, to the millisecond. Nothing that a
//! terminal would obey, or that turns the reading direction, stands in the words or in the
//! line: in the words it is written as [`text::escape`] does, in the line as JSON's `\u`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::str::FromStr;
use std::time::Duration;

use super::{AlertEvent, Message, Occasion, On, Subject, Voice};
use crate::json::{self, Array, Object, Value};
use crate::model::{Wall, Why, millis};
use crate::text;
use crate::units::duration_text;

/// Most names in a subject.
const NAMES_MAX: usize = 5;

impl Subject {
    /// Which key its name has.
    fn key(&self) -> &'static str {
        match self {
            Subject::Target(_) => "target",
            Subject::Agent(_) => "agent",
        }
    }
}

impl AlertEvent {
    /// Whether nothing is the matter now: what is not in the fleet any more is nobody's matter.
    pub fn is_well(&self) -> bool {
        matches!(self.state.as_str(), "up" | "connected" | "gone")
    }

    /// What is wrong, or was until all was well.
    pub fn trouble(&self) -> &str {
        match self.is_well() {
            true => &self.was,
            false => &self.state,
        }
    }

    /// The event in a few words: `db down: refused`, `db up, was down for 15m`.
    pub fn headline(&self, occasion: Occasion) -> String {
        let name = self.subject.name();
        let mut out = match occasion {
            Occasion::Late => format!("{name} was {}", phrase(self.trouble())),
            Occasion::Reminder => format!("{name} still {}", phrase(&self.state)),
            Occasion::News | Occasion::Test => format!("{name} {}", phrase(&self.state)),
        };
        if let Some(why) = self.why.filter(|_| !self.is_well()) {
            out += &format!(": {}", why.as_str());
        }
        if let Some(lasted) = self.lasted.map(lasted_text) {
            match occasion {
                Occasion::Late => out += &format!(" for {lasted}"),
                _ if self.is_well() => {
                    out += &format!(", was {} for {lasted}", phrase(&self.was));
                }
                _ => {}
            }
        }
        text::escape(&out).into_owned()
    }
}

/// A state as it follows a name.
fn phrase(state: &str) -> &str {
    match state {
        "trouble" => "in trouble",
        state => state,
    }
}

/// As people think of it: to the second, where it has any.
fn lasted_text(lasted: Duration) -> String {
    match lasted.as_secs() {
        0 => duration_text(lasted),
        s => duration_text(Duration::from_secs(s)),
    }
}

impl Message {
    /// One line for people: of one event what it is, of several how many are what, with up
    /// to five names.
    pub fn subject(&self) -> String {
        if self.occasion == Occasion::Test {
            return format!("test of alert {} by {}", self.alert, self.manager);
        }
        match &self.events[..] {
            [event] => event.headline(self.occasion),
            events => text::escape(&counted(events, self.occasion)).into_owned(),
        }
    }

    /// The whole story, a line an event.
    pub fn text(&self) -> String {
        self.text_within(usize::MAX)
    }

    /// [`Message::text`] in that many bytes: the lines that do not fit are counted in one
    /// more, and a first line that is too long by itself is cut.
    pub fn text_within(&self, bytes_max: usize) -> String {
        let mut out = String::new();
        for (index, event) in self.events.iter().enumerate() {
            let line = text::escape(&event.text);
            let line = cut(&line, bytes_max);
            if index > 0 {
                if out.len() + 1 + line.len() > bytes_max {
                    let more = self.events.len() - index;
                    return out + &format!("\nand {more} more");
                }
                out.push('\n');
            }
            out.push_str(&line);
        }
        out
    }

    /// All names, each once, in the order of the events.
    pub fn names(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let names = self.events.iter().map(|e| e.subject.name().as_str());
        names.filter(|name| seen.insert(*name)).collect()
    }

    /// The message as one line, without a newline.
    pub fn json(&self) -> String {
        let mut out = String::new();
        json::object(&mut out, |o| {
            o.str("id", &self.id)
                .u64("at", self.at.0)
                .str("alert", self.alert.as_str())
                .str("manager", self.manager.as_str())
                .str("occasion", self.occasion.as_str())
                .str("subject", &self.subject())
                .str("text", &self.text())
                .u64("count", self.events.len() as u64)
                .array("events", |a| {
                    self.events.iter().for_each(|event| write_event(a, event));
                });
        });
        plain_line(out)
    }

    /// Reads what [`Message::json`] wrote; `None` when it is anything else.
    pub fn parse(value: &Value<'_>) -> Option<Message> {
        let events = value.get("events")?.array()?.iter().map(read_event);
        let events: Option<Vec<AlertEvent>> = events.collect();
        Some(Message {
            id: value.get("id")?.str()?.to_string(),
            at: Wall(value.get("at")?.u64()?),
            alert: parsed(value, "alert")?,
            manager: parsed(value, "manager")?,
            occasion: Occasion::from_word(value.get("occasion")?.str()?)?,
            events: events.filter(|events| !events.is_empty())?,
        })
    }
}

/// At most that many bytes of `line`, which then ends with an ellipsis.
fn cut(line: &str, bytes_max: usize) -> Cow<'_, str> {
    if line.len() <= bytes_max {
        return Cow::Borrowed(line);
    }
    let room = bytes_max.saturating_sub('…'.len_utf8());
    Cow::Owned(format!("{}…", text::cut(line, room)))
}

/// `3 down: db, web, mail; 1 up: cache`.
fn counted(events: &[AlertEvent], occasion: Occasion) -> String {
    let state = |event: &AlertEvent| match occasion {
        Occasion::Late => phrase(event.trouble()).to_string(),
        _ => phrase(&event.state).to_string(),
    };
    let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
    for event in events {
        let (state, name) = (state(event), event.subject.name().as_str());
        match kinds.iter_mut().find(|(known, _)| *known == state) {
            Some((_, names)) => names.push(name),
            None => kinds.push((state, vec![name])),
        }
    }
    let mut room = NAMES_MAX;
    let parts = kinds.into_iter().map(|(state, names)| {
        let between = match (occasion, names.len()) {
            (Occasion::Reminder, _) => "still ",
            (Occasion::Late, 1) => "was ",
            (Occasion::Late, _) => "were ",
            _ => "",
        };
        let shown = names.len().min(room);
        room -= shown;
        let mut part = format!("{} {between}{state}", names.len());
        if shown > 0 {
            part += &format!(": {}", names[..shown].join(", "));
            if shown < names.len() {
                part += &format!(" and {} more", names.len() - shown);
            }
        }
        part
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn write_event(out: &mut Array<'_>, event: &AlertEvent) {
    out.object(|o| {
        o.str("kind", event.on.as_str())
            .str(event.subject.key(), event.subject.name().as_str());
        if let Some(address) = &event.address {
            o.str("address", &address.to_string());
        }
        o.str("state", &event.state)
            .str("was", &event.was)
            .u64("since", event.since.0);
        if let Some(lasted) = event.lasted {
            o.u64("lasted_ms", millis(lasted));
        }
        write_why(o, event.why);
        o.str("text", &event.text).array("agents", |a| {
            for voice in &event.voices {
                a.object(|o| {
                    o.str("name", voice.agent.as_str())
                        .str("state", &voice.state);
                    write_why(o, voice.why);
                });
            }
        });
    });
}

fn write_why(out: &mut Object<'_>, why: Option<Why>) {
    if let Some(why) = why {
        out.str("why", why.as_str());
    }
}

fn read_event(value: &Value<'_>) -> Option<AlertEvent> {
    let string = |key| Some(value.get(key)?.str()?.to_string());
    let subject = match value.get("target") {
        Some(_) => Subject::Target(parsed(value, "target")?),
        None => Subject::Agent(parsed(value, "agent")?),
    };
    let voices = value.get("agents")?.array()?.iter().map(|voice| {
        Some(Voice {
            agent: parsed(voice, "name")?,
            state: voice.get("state")?.str()?.to_string(),
            why: read_why(voice)?,
        })
    });
    Some(AlertEvent {
        on: On::from_word(value.get("kind")?.str()?)?,
        subject,
        address: optional(value.get("address"), |v| v.str()?.parse().ok())?,
        state: string("state")?,
        was: string("was")?,
        since: Wall(value.get("since")?.u64()?),
        lasted: optional(value.get("lasted_ms"), Value::u64)?.map(Duration::from_millis),
        why: read_why(value)?,
        text: string("text")?,
        voices: voices.collect::<Option<_>>()?,
    })
}

fn read_why(value: &Value<'_>) -> Option<Option<Why>> {
    optional(value.get("why"), |v| Why::from_word(v.str()?))
}

/// What may be absent, but not wrong.
fn optional<'v, 'a, T>(
    value: Option<&'v Value<'a>>,
    read: impl FnOnce(&'v Value<'a>) -> Option<T>,
) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

fn parsed<T: FromStr>(value: &Value<'_>, key: &str) -> Option<T> {
    value.get(key)?.str()?.parse().ok()
}

/// A line of JSON, in which what would disturb its reader is written as `\uHHHH`. Such
/// characters stand only within its strings, and all of them below U+10000.
fn plain_line(line: String) -> String {
    let disturbs = |text: &str| matches!(text::escape(text), Cow::Owned(_));
    if !disturbs(&line) {
        return line;
    }
    let mut out = String::with_capacity(line.len() + 16);
    for char in line.chars() {
        match disturbs(char.encode_utf8(&mut [0; 4])) {
            true => out += &format!("\\u{:04x}", u32::from(char)),
            false => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests;
