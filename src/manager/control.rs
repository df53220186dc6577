//! What the running manager is asked on its control socket (see [`local`]), one line of
//! JSON each way: `{"ask":"silence","targets":["db*"],"until":1764021600000,"note":""}`
//! gives `{"ok":"…"}` or `{"error":"…"}`, both texts for people.

use std::path::Path;
use std::sync::Arc;

use super::core::Core;
use super::quiet::{Which, patterns};
use crate::error::{Context, Error, Result};
use crate::json::{self, Object, Value};
use crate::model::Wall;
use crate::net::local;
use crate::quiet::Pattern;

/// Answers on the control socket from now on.
pub fn listen(core: &Arc<Core>) -> Result<()> {
    let asked = Arc::clone(core);
    local::serve(core.data(), move |line| answer(carry_out(&asked, line)))
}

/// Asks the manager that runs on `data`; `None` when none listens there.
///
/// # Errors
/// What it answered, or why there is no answer.
pub fn ask(data: &Path, request: &str) -> Result<Option<String>> {
    let doing = || format!("ask the manager on {}", data.display());
    let Some(line) = local::ask(data, request).context(doing)? else {
        return Ok(None);
    };
    let answer = json::parse(line.as_bytes()).context(doing)?;
    let text = |key| answer.get(key).and_then(Value::str).map(str::to_string);
    match (text("ok"), text("error")) {
        (Some(text), _) => Ok(Some(text)),
        (None, Some(error)) => Err(Error::new(error)),
        (None, None) => Err(Error::new(format!("{}: not an answer", doing()))),
    }
}

/// The request for a silence.
pub fn silence(targets: &[Pattern], until: Wall, note: &str) -> String {
    request("silence", |o| {
        o.array("targets", |a| {
            for pattern in targets {
                a.str(pattern.as_str());
            }
        });
        o.u64("until", until.0).str("note", note);
    })
}

/// The request to lift silences.
pub fn unsilence(which: &Which) -> String {
    request("unsilence", |o| {
        match which {
            Which::Number(no) => o.u64("number", *no),
            Which::Pattern(pattern) => o.str("pattern", pattern.as_str()),
            Which::All => o.bool("all", true),
        };
    })
}

fn request(ask: &str, fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.str("ask", ask);
        fill(o);
    });
    out
}

fn answer(done: Result<String>) -> String {
    let mut out = String::new();
    json::object(&mut out, |o| {
        match done {
            Ok(text) => o.str("ok", &text),
            Err(error) => o.str("error", &error.to_string()),
        };
    });
    out
}

/// Every request that there is.
fn carry_out(core: &Arc<Core>, line: &str) -> Result<String> {
    let request = json::parse(line.as_bytes()).context(|| "read the request".to_string())?;
    let unknown = || Error::new("not a request that this manager knows");
    match request.get("ask").and_then(Value::str) {
        Some("silence") => {
            let (targets, until, note) = read_silence(&request).ok_or_else(unknown)?;
            core.silence(targets, until, &note)
        }
        Some("unsilence") => core.unsilence(&read_which(&request).ok_or_else(unknown)?),
        _ => Err(unknown()),
    }
}

fn read_silence(v: &Value<'_>) -> Option<(Vec<Pattern>, Wall, String)> {
    let note = v.get("note")?.str()?.to_string();
    let targets = patterns(v.get("targets")?)?;
    Some((targets, Wall(v.get("until")?.u64()?), note))
}

fn read_which(v: &Value<'_>) -> Option<Which> {
    let number = v.get("number").and_then(Value::u64).map(Which::Number);
    let pattern = |v: &Value<'_>| v.str()?.parse().ok().map(Which::Pattern);
    let all = || v.get("all")?.bool()?.then_some(Which::All);
    number
        .or_else(|| v.get("pattern").and_then(pattern))
        .or_else(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let targets: Vec<Pattern> = ["db*", "web"].map(|p| p.parse().unwrap()).to_vec();
        let text = silence(&targets, Wall(7), "a \"b\"\n");
        assert!(!text.contains('\n'), "{text}");
        let got = read_silence(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(got, Some((targets, Wall(7), "a \"b\"\n".to_string())));
        for which in [
            Which::Number(7),
            Which::Pattern("db*".parse().unwrap()),
            Which::All,
        ] {
            let text = unsilence(&which);
            let got = read_which(&json::parse(text.as_bytes()).unwrap());
            assert_eq!(got, Some(which), "{text}");
        }
        for bad in [
            r#"{"ask":"unsilence"}"#,
            r#"{"all":false}"#,
            r#"{"pattern":"d b"}"#,
        ] {
            assert_eq!(
                read_which(&json::parse(bad.as_bytes()).unwrap()),
                None,
                "{bad}"
            );
        }
    }
}
