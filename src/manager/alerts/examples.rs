//! Messages that the tests of deliveries share.

use crate::alert::Message;
use crate::json;

/// A target that is down, seen by two agents, and text from outside that would disturb.
pub const DOWN: &str = r#"{"kind":"down","target":"db","address":"10.0.0.7:5432","state":"down","was":"up","since":1764037800000,"why":"refused","text":"db down from all 2 agents: connect to 10.0.0.7:5432: refused","agents":[{"name":"attic","state":"down","why":"refused"},{"name":"cellar","state":"down","why":"refused"}]}"#;
pub const UP: &str = r#"{"kind":"up","target":"mail","address":"mx.example.org:25","state":"up","was":"down","since":1764037802000,"lasted_ms":900000,"text":"mail up from all 2 agents after 15m","agents":[{"name":"attic","state":"up"},{"name":"cellar","state":"up"}]}"#;
pub const AWAY: &str = r#"{"kind":"agent","agent":"shed","state":"away","was":"connected","since":1764037700000,"text":"agent shed away: closed by the agent","agents":[]}"#;
pub const HOSTILE: &str = r#"{"kind":"slow","target":"web","state":"slow","was":"up","since":1764037800000,"text":"banner \u001b[2J<b>\"$(id)\"&\r\n\u0000\u202eok\\","agents":[]}"#;

/// A message of these events.
pub fn message(occasion: &str, events: &[&str]) -> Message {
    let line = format!(
        r#"{{"id":"8f3a52c10e6d4b97","at":1764037810000,"alert":"ops","manager":"hq","occasion":"{occasion}","events":[{}]}}"#,
        events.join(",")
    );
    Message::parse(&json::parse(line.as_bytes()).unwrap()).expect(&line)
}

/// The example of the documentation.
pub fn example() -> Message {
    message("news", &[DOWN, UP])
}
