//! What is posted to a webhook: the message in the form that the receiver understands.
//!
//! Always: the same message in the same form is the same bytes, however often it is tried,
//! and text from outside is escaped for where it stands.

mod alertmanager;

use std::borrow::Cow;
use std::time::Duration;

use crate::alert::{Form, Message, On};
use crate::json;
use crate::text;
use crate::units::{HttpUrl, timestamp};

/// ntfy takes 4,096 bytes of text, and twice that of JSON.
const NTFY_BYTES_MAX: usize = 3_500;
const NTFY_TITLE_BYTES_MAX: usize = 250;
/// Mattermost takes 16,383 characters, Slack more.
const CHAT_BYTES_MAX: usize = 12_000;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub url: HttpUrl,
    pub content_type: &'static str,
    pub body: String,
}

/// The message as `form` has it, for the webhook at `url`. `repeat` is how often its rule
/// tells again what lasts.
pub fn post(message: &Message, url: &HttpUrl, form: &Form, repeat: Option<Duration>) -> Post {
    let mut url = url.clone();
    let (content_type, body) = match form {
        Form::Json => (JSON, message.json()),
        Form::Alertmanager => (JSON, alertmanager::alerts(message, repeat)),
        Form::Slack => (JSON, slack(message)),
        Form::Ntfy => {
            let (root, topic) = topic(&url.target);
            let body = ntfy(message, &topic);
            url.target = root.into();
            (JSON, body)
        }
        Form::Template(template) => {
            let content_type = if is_json(template) { JSON } else { TEXT };
            (content_type, fill(template, message))
        }
    };
    Post {
        url,
        content_type,
        body,
    }
}

/// The subject, and what it does not tell.
fn slack(message: &Message) -> String {
    let story = message.text_within(CHAT_BYTES_MAX);
    let text = format!("{}\n{story}", message.subject());
    let mut body = String::new();
    json::object(&mut body, |o| {
        o.str("text", &chat_escape(&text));
    });
    body
}

/// Slack's markup begins with these three characters, and only these are to be escaped.
fn chat_escape(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// The path that a topic's JSON is posted to, and the topic: `/a/topic?q` is posted to `/a/?q`.
fn topic(target: &str) -> (String, String) {
    let path_end = target.find('?').unwrap_or(target.len());
    let (path, query) = target.split_at(path_end);
    let path = path.trim_end_matches('/');
    let (before, topic) = path.rsplit_once('/').unwrap_or_default();
    (format!("{before}/{query}"), topic.to_string())
}

/// As ntfy publishes JSON: posted to the server's root.
fn ntfy(message: &Message, topic: &str) -> String {
    let well = message.events.iter().all(|event| event.is_well());
    let down = message.events.iter().any(|event| event.on == On::Down);
    let (priority, tag) = match (well, down) {
        (true, _) => (2, "green_circle"),
        (_, true) => (4, "red_circle"),
        _ => (3, "warning"),
    };
    let title = message.subject();
    let mut body = String::new();
    json::object(&mut body, |o| {
        o.str("topic", topic)
            .str("title", text::cut(&title, NTFY_TITLE_BYTES_MAX))
            .str("message", &message.text_within(NTFY_BYTES_MAX))
            .u64("priority", priority)
            .array("tags", |a| {
                a.str(tag);
            });
    });
    body
}

/// Whether a template is for JSON: begins as a list or an object does. A placeholder at the
/// beginning is no object.
fn is_json(template: &str) -> bool {
    let template = template.trim_start();
    template.starts_with('[') || template.starts_with('{') && !template.starts_with("{{")
}

/// The template with its placeholders filled in; what is between braces and no placeholder
/// stays.
fn fill(template: &str, message: &Message) -> String {
    let json = is_json(template);
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out += before;
        let named = after.split_once("}}");
        let value = named.and_then(|(name, _)| value(message, name));
        let (Some((name, after_name)), Some(value)) = (named, value) else {
            out += "{{";
            rest = after;
            continue;
        };
        out += &match json && name != "json" {
            true => inside_string(&value),
            false => value,
        };
        rest = after_name;
    }
    out + rest
}

/// `value` as it stands between the quotes of a JSON string.
fn inside_string(value: &str) -> Cow<'_, str> {
    let mut out = String::new();
    json::string(&mut out, value);
    out[1..out.len() - 1].to_string().into()
}

/// What a placeholder stands for; one for each of [`crate::alert::PLACEHOLDERS`].
fn value<'m>(message: &'m Message, name: &str) -> Option<Cow<'m, str>> {
    let event = message.events.first()?;
    let plain = |text: &'m str| text::escape(text);
    Some(match name {
        "id" => plain(&message.id),
        "alert" => message.alert.as_str().into(),
        "manager" => message.manager.as_str().into(),
        "occasion" => message.occasion.as_str().into(),
        "subject" => message.subject().into(),
        "text" => message.text().into(),
        "count" => message.events.len().to_string().into(),
        "kind" => event.on.as_str().into(),
        "target" => event.subject.name().as_str().into(),
        "state" => plain(&event.state),
        "was" => plain(&event.was),
        "why" => event.why.map_or("", |why| why.as_str()).into(),
        "since" => timestamp(event.since).into(),
        "json" => message.json().into(),
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests;
