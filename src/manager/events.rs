//! Events that outlive the manager: the latest of them in a file, for who looks at the status
//! page or asks the API after a restart. Numbers go on where they were.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::board::{EVENTS_MAX, Event, EventKind};
use crate::error::{Context, Error, Result};
use crate::files;
use crate::json::{self, Object, Value};
use crate::model::Wall;

/// Largest file, in bytes.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

fn path(data: &Path) -> PathBuf {
    data.join("events.json")
}

/// The events that were kept, oldest first; none when there is no file.
///
/// # Errors
/// The file is there and cannot be read, or holds something else.
pub fn load(data: &Path) -> Result<Vec<Arc<Event>>> {
    let path = path(data);
    if files::stamp(&path).is_none() {
        return Ok(Vec::new());
    }
    let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
    let doing = || format!("read {}", path.display());
    let value = json::parse(&bytes).context(doing)?;
    let list = value.get("events").and_then(Value::array);
    let events = list.and_then(|list| list.iter().map(read).collect());
    events.ok_or_else(|| Error::new(format!("{}: not a list of events", doing())))
}

/// Keeps the latest of these.
pub fn save(data: &Path, events: &[Arc<Event>]) -> Result<()> {
    let skip = events.len().saturating_sub(EVENTS_MAX);
    files::replace(&path(data), list(&events[skip..]).as_bytes())
}

/// Events as one JSON document, a newline at its end.
pub fn list(events: &[Arc<Event>]) -> String {
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.array("events", |a| {
            for event in events {
                a.object(|o| write(o, event));
            }
        });
    });
    out + "\n"
}

fn write(o: &mut Object<'_>, event: &Event) {
    o.u64("no", event.no)
        .u64("at", event.at.0)
        .str("kind", event.kind.as_str())
        .str("text", &event.text);
    for (key, name) in [("target", &event.target), ("agent", &event.agent)] {
        match name {
            Some(name) => o.str(key, name.as_str()),
            None => o.null(key),
        };
    }
}

fn read(v: &Value<'_>) -> Option<Arc<Event>> {
    let name = |key| {
        v.get(key)
            .and_then(Value::str)
            .and_then(|name| name.parse().ok())
    };
    Some(Arc::new(Event {
        no: v.get("no")?.u64()?,
        at: Wall(v.get("at")?.u64()?),
        kind: EventKind::from_word(v.get("kind")?.str()?)?,
        text: v.get("text")?.str()?.to_string(),
        target: name("target"),
        agent: name("agent"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), []);
        let event = |no: u64| {
            Arc::new(Event {
                no,
                at: Wall(no * 1000),
                kind: EventKind::ALL[no as usize % EventKind::ALL.len()],
                text: format!("\"{no}\"\u{1b}"),
                target: (no % 2 == 0).then(|| "web".parse().unwrap()),
                agent: None,
            })
        };
        let events: Vec<_> = (1..=EVENTS_MAX as u64 + 30).map(event).collect();
        save(dir.path(), &events).unwrap();
        assert_eq!(load(dir.path()).unwrap(), events[30..]);
        std::fs::write(path(dir.path()), "{}").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("events.json: not a list of events"),
            "{error}"
        );
    }
}
