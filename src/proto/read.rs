//! Messages out of JSON; every error names the message and the key.

use std::str::FromStr;

use super::{Auth, ConfigPart, EpochRange, Hello, Message, Role, Side, Status, TargetNow};
use crate::crypto::base64_decode;
use crate::json::{self, Value};
use crate::model::{Revision, Wall, Why};
use crate::text::cut;

/// Bytes shown of a message's name that is not known.
const NAME_SHOWN_MAX: usize = 64;

pub(super) fn message(line: &[u8]) -> Result<Message, String> {
    let value = json::parse(line).map_err(|error| format!("not JSON: {error}"))?;
    let Some(name) = value.get("msg").and_then(Value::str) else {
        return Err("not a message".to_string());
    };
    read(name, &value).map_err(|text| match text.is_empty() {
        true => format!("unknown message {:?}", cut(name, NAME_SHOWN_MAX)),
        false => format!("{name}: {text}"),
    })
}

/// An empty error stands for an unknown name.
fn read(name: &str, v: &Value<'_>) -> Result<Message, String> {
    Ok(match name {
        "hello" => Message::Hello(hello(v)?),
        "proof" => Message::Proof(bytes32(v, "proof")?),
        "beat" => Message::Beat {
            at: Wall(number(v, "at")?),
            status: v.get("epochs").map(|_| status(v)).transpose()?,
        },
        "resume" => Message::Resume(list(v, "epochs", |v| {
            Ok((parsed(v, "epoch")?, number(v, "seq")?))
        })?),
        "ack" => Message::Ack {
            epoch: parsed(v, "epoch")?,
            seq: number(v, "seq")?,
        },
        "epoch" => Message::Epoch(parsed(v, "epoch")?),
        "now" => Message::Now {
            epoch: parsed(v, "epoch")?,
            seq: number(v, "seq")?,
            targets: list(v, "targets", target_now)?,
        },
        "config" => Message::Config(ConfigPart {
            revision: revision(need(v.get("revision"), "revision")?)?,
            take_over: v.get("take_over").and_then(Value::bool).unwrap_or(false),
            part: number(v, "part")?,
            of: number(v, "of")?,
            text: text(v, "text")?.to_string(),
        }),
        "taken" => Message::Taken {
            hash: parsed(v, "hash")?,
            part: number(v, "part")?,
        },
        "applied" => Message::Applied(revision(need(v.get("revision"), "revision")?)?),
        "rejected" => Message::Rejected {
            hash: parsed(v, "hash")?,
            problems: list(v, "problems", |v| {
                need(v.str(), "problems").map(str::to_string)
            })?,
            current: v.get("current").map(revision).transpose()?,
        },
        "bye" => Message::Bye {
            text: text(v, "text")?.to_string(),
        },
        _ => return Err(String::new()),
    })
}

fn hello(v: &Value<'_>) -> Result<Hello, String> {
    Ok(Hello {
        version: number(v, "version")?,
        role: match text(v, "role")? {
            "agent" => Role::Agent,
            "manager" => Role::Manager,
            _ => return need(None, "role"),
        },
        side: match text(v, "side")? {
            "dialler" => Side::Dialler,
            "dialled" => Side::Dialled,
            _ => return need(None, "side"),
        },
        id: parsed(v, "id")?,
        name: parsed(v, "name")?,
        instance: parsed(v, "instance")?,
        at: Wall(number(v, "at")?),
        expects: v.get("expects").map(|_| parsed(v, "expects")).transpose()?,
        auth: v.get("key").map(|_| auth(v)).transpose()?,
    })
}

fn auth(v: &Value<'_>) -> Result<Auth, String> {
    Ok(Auth {
        key: parsed(v, "key")?,
        nonce: bytes32(v, "nonce")?,
    })
}

fn bytes32(v: &Value<'_>, key: &str) -> Result<[u8; 32], String> {
    let mut bytes = Vec::new();
    let decoded = base64_decode(text(v, key)?.as_bytes(), &mut bytes);
    need(bytes.try_into().ok().filter(|_| decoded), key)
}

fn status(v: &Value<'_>) -> Result<Status, String> {
    Ok(Status {
        epochs: list(v, "epochs", |v| {
            Ok(EpochRange {
                epoch: parsed(v, "epoch")?,
                first: number(v, "first")?,
                last: number(v, "last")?,
            })
        })?,
        revision: v.get("revision").map(revision).transpose()?,
        trouble: v.get("trouble").and_then(Value::str).map(str::to_string),
        dropped: v.get("dropped").and_then(Value::u64).unwrap_or(0),
    })
}

/// Reads a revision's keys.
pub fn revision(v: &Value<'_>) -> Result<Revision, String> {
    Ok(Revision {
        owner: parsed(v, "owner")?,
        owner_name: parsed(v, "owner_name")?,
        counter: number(v, "counter")?,
        hash: parsed(v, "hash")?,
    })
}

fn target_now(v: &Value<'_>) -> Result<TargetNow, String> {
    let ok = need(v.get("ok").and_then(Value::bool), "ok")?;
    let failure = match ok {
        true => None,
        false => {
            let why = need(Why::from_word(text(v, "why")?), "why")?;
            Some((why, text(v, "text")?.to_string()))
        }
    };
    Ok(TargetNow {
        target: parsed(v, "target")?,
        each: v.get("each").map(|_| parsed(v, "each")).transpose()?,
        ok,
        at: Wall(number(v, "at")?),
        us: number(v, "us")?,
        since: Wall(number(v, "since")?),
        failure,
    })
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("{key} is missing or wrong"))
}

fn text<'v>(v: &'v Value<'_>, key: &str) -> Result<&'v str, String> {
    need(v.get(key).and_then(Value::str), key)
}

fn number(v: &Value<'_>, key: &str) -> Result<u64, String> {
    need(v.get(key).and_then(Value::u64), key)
}

fn parsed<T: FromStr>(v: &Value<'_>, key: &str) -> Result<T, String> {
    need(text(v, key)?.parse().ok(), key)
}

fn list<T>(
    v: &Value<'_>,
    key: &str,
    each: impl Fn(&Value<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    need(v.get(key).and_then(Value::array), key)?
        .iter()
        .map(each)
        .collect()
}
