//! The messages between manager and agent: one JSON object a line, `"msg"` first.
//!
//! Records travel as they stand in the journal, so a line is a record when it
//! opens with `{"seq":` and a message otherwise. Unknown keys are passed over,
//! unknown messages end the session. `docs/protocol.md` tells who says what when.

pub mod flow;
pub mod handshake;
mod read;
pub mod seal;

use std::net::IpAddr;

use crate::crypto::base64_encode;
use crate::json::{self, Object};
use crate::model::{ContentHash, Epoch, Id, KeyId, Name, Revision, Wall, Why};

/// The protocol's version; both sides must speak the same.
pub const VERSION: u64 = 1;
/// Most bytes a side may send before it has proved who it is.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;
/// Longest line after that, in bytes; sealed it is longer, see [`seal`].
pub const LINE_BYTES_MAX: usize = crate::record::LINE_BYTES_MAX;
pub use crate::config::AGENT_CONFIG_BYTES_MAX as CONFIG_BYTES_MAX;
/// Bytes of a configuration in one part: escaped they still fit a line.
pub const PART_BYTES: usize = 24 * 1024;
/// Most epochs an agent keeps, so that a list of them fits a line.
pub const EPOCHS_MAX: usize = 256;
/// States of targets in one `now` message, so that they fit a line.
pub const NOW_TARGETS_MAX: usize = 64;

/// Seconds within which a handshake must be through.
pub const HELLO_WITHIN_S: u64 = 5;
/// Seconds between beats.
pub const BEAT_EVERY_S: u64 = 10;
/// Seconds without a byte after which the other side counts as gone.
pub const SILENCE_MAX_S: u64 = 30;

/// Which program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Agent,
    Manager,
}

impl Role {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Manager => "manager",
        }
    }
}

/// Which end of the connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Dialler,
    Dialled,
}

impl Side {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Dialler => "dialler",
            Side::Dialled => "dialled",
        }
    }
}

/// What a hello says towards proving who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth {
    /// The key that is meant.
    pub key: KeyId,
    /// Never the same twice.
    pub nonce: [u8; 32],
}

/// The first message of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub version: u64,
    pub role: Role,
    pub side: Side,
    /// Made once, kept in the data directory.
    pub id: Id,
    pub name: Name,
    /// Made anew by every process: tells two that share an id apart.
    pub instance: Id,
    /// The sender's clock.
    pub at: Wall,
    /// The name the other side is to have.
    pub expects: Option<Name>,
    /// With a pre-shared key.
    pub auth: Option<Auth>,
}

/// The numbers an agent still holds of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRange {
    pub epoch: Epoch,
    pub first: u64,
    pub last: u64,
}

/// What an agent says of itself with each beat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What it holds, oldest first; the last one is the current epoch.
    pub epochs: Vec<EpochRange>,
    /// The configuration in force.
    pub revision: Option<Revision>,
    /// What keeps it from writing, as text for people.
    pub trouble: Option<String>,
    /// Results dropped since it started, for want of disk.
    pub dropped: u64,
}

/// The latest state of one target, or of one address of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetNow {
    pub target: Name,
    pub each: Option<IpAddr>,
    pub ok: bool,
    /// When its last probe started.
    pub at: Wall,
    pub us: u64,
    /// Since when it is so, as far as this run of the agent knows.
    pub since: Wall,
    /// Why not, with a text for people, when it is not ok.
    pub failure: Option<(Why, String)>,
}

/// A part of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPart {
    pub revision: Revision,
    /// Whether it replaces another manager's.
    pub take_over: bool,
    /// From 1 to `of`.
    pub part: u64,
    pub of: u64,
    pub text: String,
}

/// Everything that is said besides records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Hello(Hello),
    /// That the sender has the key its hello names.
    Proof([u8; 32]),
    /// Alive; from an agent also how it is.
    Beat {
        at: Wall,
        status: Option<Status>,
    },
    /// Manager: how far it has got with each epoch it knows.
    Resume(Vec<(Epoch, u64)>),
    /// Manager: all up to `seq` is stored durably.
    Ack {
        epoch: Epoch,
        seq: u64,
    },
    /// Agent: the records that follow are of this epoch.
    Epoch(Epoch),
    /// Agent: the latest state of targets, every result up to `seq` told.
    Now {
        epoch: Epoch,
        seq: u64,
        targets: Vec<TargetNow>,
    },
    Config(ConfigPart),
    /// Agent: this configuration is in force and kept.
    /// A part of the configuration with this hash has arrived, and is not the last.
    Taken {
        hash: ContentHash,
        part: u64,
    },
    Applied(Revision),
    /// Agent: it is not, and why; `current` is what stays in force.
    Rejected {
        hash: ContentHash,
        problems: Vec<String>,
        current: Option<Revision>,
    },
    /// The last message of a side that ends the session.
    Bye {
        text: String,
    },
}

impl Message {
    /// The message's line, newline included.
    pub fn line(&self) -> String {
        let mut out = String::new();
        json::object(&mut out, |o| self.write(o));
        out.push('\n');
        out
    }

    /// The message a line holds.
    pub fn parse(line: &[u8]) -> Result<Message, String> {
        read::message(line)
    }

    fn write(&self, o: &mut Object<'_>) {
        match self {
            Message::Hello(hello) => write_hello(o, hello),
            Message::Proof(proof) => {
                o.str("msg", "proof").str("proof", &base64(proof));
            }
            Message::Beat { at, status } => {
                o.str("msg", "beat").u64("at", at.0);
                if let Some(status) = status {
                    write_status(o, status);
                }
            }
            Message::Resume(cursors) => {
                o.str("msg", "resume").array("epochs", |a| {
                    for (epoch, seq) in cursors {
                        a.object(|o| {
                            o.str("epoch", &epoch.to_string()).u64("seq", *seq);
                        });
                    }
                });
            }
            Message::Ack { epoch, seq } => {
                o.str("msg", "ack")
                    .str("epoch", &epoch.to_string())
                    .u64("seq", *seq);
            }
            Message::Epoch(epoch) => {
                o.str("msg", "epoch").str("epoch", &epoch.to_string());
            }
            Message::Now {
                epoch,
                seq,
                targets,
            } => {
                o.str("msg", "now")
                    .str("epoch", &epoch.to_string())
                    .u64("seq", *seq)
                    .array("targets", |a| {
                        for target in targets {
                            a.object(|o| write_target_now(o, target));
                        }
                    });
            }
            Message::Config(part) => write_part(o, part),
            Message::Taken { hash, part } => {
                o.str("msg", "taken")
                    .str("hash", &hash.to_string())
                    .u64("part", *part);
            }
            Message::Applied(revision) => {
                o.str("msg", "applied")
                    .object("revision", |o| write_revision(o, revision));
            }
            Message::Rejected {
                hash,
                problems,
                current,
            } => {
                o.str("msg", "rejected")
                    .str("hash", &hash.to_string())
                    .array("problems", |a| {
                        for problem in problems {
                            a.str(problem);
                        }
                    });
                if let Some(current) = current {
                    o.object("current", |o| write_revision(o, current));
                }
            }
            Message::Bye { text } => {
                o.str("msg", "bye").str("text", text);
            }
        }
    }
}

fn write_hello(o: &mut Object<'_>, hello: &Hello) {
    o.str("msg", "hello")
        .u64("version", hello.version)
        .str("role", hello.role.as_str())
        .str("side", hello.side.as_str())
        .str("id", &hello.id.to_string())
        .str("name", hello.name.as_str())
        .str("instance", &hello.instance.to_string())
        .u64("at", hello.at.0);
    if let Some(expects) = &hello.expects {
        o.str("expects", expects.as_str());
    }
    if let Some(auth) = &hello.auth {
        o.str("key", &auth.key.to_string())
            .str("nonce", &base64(&auth.nonce));
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    base64_encode(bytes, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn write_status(o: &mut Object<'_>, status: &Status) {
    o.array("epochs", |a| {
        for range in &status.epochs {
            a.object(|o| {
                o.str("epoch", &range.epoch.to_string())
                    .u64("first", range.first)
                    .u64("last", range.last);
            });
        }
    });
    if let Some(revision) = &status.revision {
        o.object("revision", |o| write_revision(o, revision));
    }
    if let Some(trouble) = &status.trouble {
        o.str("trouble", trouble);
    }
    if status.dropped > 0 {
        o.u64("dropped", status.dropped);
    }
}

/// Writes a revision's keys; also what an agent keeps on disk.
pub fn write_revision(o: &mut Object<'_>, revision: &Revision) {
    o.str("owner", &revision.owner.to_string())
        .str("owner_name", revision.owner_name.as_str())
        .u64("counter", revision.counter)
        .str("hash", &revision.hash.to_string());
}

pub use read::revision as read_revision;

fn write_target_now(o: &mut Object<'_>, now: &TargetNow) {
    o.str("target", now.target.as_str());
    if let Some(each) = now.each {
        o.str("each", &each.to_string());
    }
    o.bool("ok", now.ok)
        .u64("at", now.at.0)
        .u64("us", now.us)
        .u64("since", now.since.0);
    if let Some((why, text)) = &now.failure {
        o.str("why", why.as_str()).str("text", text);
    }
}

fn write_part(o: &mut Object<'_>, part: &ConfigPart) {
    o.str("msg", "config")
        .object("revision", |o| write_revision(o, &part.revision))
        .u64("part", part.part)
        .u64("of", part.of);
    if part.take_over {
        o.bool("take_over", true);
    }
    o.str("text", &part.text);
}

/// Cuts a configuration into parts that fit a line each.
pub fn parts(revision: &Revision, take_over: bool, text: &str) -> Vec<ConfigPart> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > PART_BYTES {
        let end = (0..=PART_BYTES).rev().find(|at| rest.is_char_boundary(*at));
        let (piece, tail) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    let of = pieces.len() as u64;
    let numbered = pieces.into_iter().zip(1..);
    numbered
        .map(|(piece, part)| ConfigPart {
            revision: revision.clone(),
            take_over,
            part,
            of,
            text: piece.to_string(),
        })
        .collect()
}

/// The content hash of a configuration's text.
pub fn content_hash(text: &str) -> ContentHash {
    let digest = crate::crypto::sha256(text.as_bytes());
    ContentHash(
        digest[..8]
            .iter()
            .fold(0, |sum, b| sum << 8 | u64::from(*b)),
    )
}

/// Puts parts together again.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: u64,
    text: String,
    hash: Option<ContentHash>,
}

impl Assembly {
    /// Takes the next part; gives the whole text once it is complete and its hash
    /// is right. The first part of another configuration starts anew.
    pub fn add(&mut self, part: &ConfigPart) -> Result<Option<String>, String> {
        if part.part == 1 {
            *self = Assembly {
                hash: Some(part.revision.hash),
                ..Assembly::default()
            };
        }
        if self.hash != Some(part.revision.hash)
            || part.part != self.parts + 1
            || part.of < part.part
        {
            return Err(format!(
                "configuration part {} of {} out of turn",
                part.part, part.of
            ));
        }
        if self.text.len() + part.text.len() > CONFIG_BYTES_MAX {
            *self = Assembly::default();
            return Err(format!(
                "configuration larger than {CONFIG_BYTES_MAX} bytes"
            ));
        }
        self.parts = part.part;
        self.text.push_str(&part.text);
        if part.part < part.of {
            return Ok(None);
        }
        let text = std::mem::take(self).text;
        match content_hash(&text) == part.revision.hash {
            true => Ok(Some(text)),
            false => Err("configuration does not match its hash".to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn revision() -> Revision {
        Revision {
            owner: Id(1),
            owner_name: "main".parse().unwrap(),
            counter: 7,
            hash: ContentHash(0xabc),
        }
    }

    fn every_message() -> Vec<Message> {
        let hello = |role| {
            Message::Hello(Hello {
                version: VERSION,
                role,
                side: Side::Dialler,
                id: Id(1),
                name: "attic".parse().unwrap(),
                instance: Id(2),
                at: Wall(3),
                expects: None,
                auth: None,
            })
        };
        let status = Status {
            epochs: vec![EpochRange {
                epoch: Epoch(5),
                first: 1,
                last: 9,
            }],
            revision: Some(revision()),
            trouble: Some("write /x: no space left on device".into()),
            dropped: 3,
        };
        let target = |failure: Option<(Why, String)>| TargetNow {
            target: "web".parse().unwrap(),
            each: failure.is_none().then(|| "192.0.2.7".parse().unwrap()),
            ok: failure.is_none(),
            at: Wall(10),
            us: 20,
            since: Wall(5),
            failure,
        };
        vec![
            hello(Role::Agent),
            hello(Role::Manager),
            Message::Beat {
                at: Wall(1),
                status: None,
            },
            Message::Beat {
                at: Wall(1),
                status: Some(Status::default()),
            },
            Message::Beat {
                at: Wall(1),
                status: Some(status),
            },
            Message::Resume(vec![(Epoch(5), 9), (Epoch(6), 0)]),
            Message::Ack {
                epoch: Epoch(5),
                seq: u64::MAX,
            },
            Message::Epoch(Epoch(5)),
            Message::Now {
                epoch: Epoch(5),
                seq: 8,
                targets: vec![target(None), target(Some((Why::Dns, "no\nsuch".into())))],
            },
            Message::Config(ConfigPart {
                revision: revision(),
                take_over: true,
                part: 1,
                of: 2,
                text: "{\"targets\":[".into(),
            }),
            Message::Taken {
                hash: content_hash(""),
                part: 3,
            },
            Message::Applied(revision()),
            Message::Rejected {
                hash: ContentHash(4),
                problems: vec!["targets[0]: no".into()],
                current: Some(revision()),
            },
            Message::Bye {
                text: "enough".into(),
            },
        ]
    }

    #[test]
    fn every_message_reads_back_as_written() {
        for message in every_message() {
            let line = message.line();
            assert_eq!(
                Message::parse(line.trim_end().as_bytes()),
                Ok(message),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_not_a_message_says_why() {
        for (line, text) in [
            ("", "not JSON: unexpected end"),
            ("[]", "not a message"),
            ("{\"msg\":\"party\"}", "unknown message \"party\""),
            (
                "{\"msg\":\"ack\",\"seq\":1}",
                "ack: epoch is missing or wrong",
            ),
            (
                "{\"msg\":\"ack\",\"epoch\":\"0000000000000001\",\"seq\":-1}",
                "ack: seq is missing or wrong",
            ),
            (
                "{\"msg\":\"hello\",\"version\":1,\"role\":\"cat\"}",
                "hello: role is missing or wrong",
            ),
        ] {
            assert_eq!(
                Message::parse(line.as_bytes()),
                Err(text.to_string()),
                "{line}"
            );
        }
    }

    #[test]
    fn the_largest_lists_fit_a_line() {
        let epochs = (0..EPOCHS_MAX as u64).map(|n| EpochRange {
            epoch: Epoch(n),
            first: u64::MAX,
            last: u64::MAX,
        });
        let status = Status {
            epochs: epochs.collect(),
            revision: Some(revision()),
            trouble: Some("x".repeat(1000)),
            dropped: u64::MAX,
        };
        let beat = Message::Beat {
            at: Wall(u64::MAX),
            status: Some(status),
        };
        assert!(beat.line().len() <= LINE_BYTES_MAX);
        let target = TargetNow {
            target: "x".repeat(128).parse().unwrap(),
            each: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
            ok: false,
            at: Wall(u64::MAX),
            us: u64::MAX,
            since: Wall(u64::MAX),
            failure: Some((Why::Unreachable, "\"".repeat(crate::model::TEXT_LEN_MAX))),
        };
        let now = Message::Now {
            epoch: Epoch(1),
            seq: u64::MAX,
            targets: vec![target; NOW_TARGETS_MAX],
        };
        assert!(now.line().len() <= LINE_BYTES_MAX, "{}", now.line().len());
        let text = "\"".repeat(PART_BYTES);
        for part in parts(&revision(), true, &text) {
            assert!(Message::Config(part).line().len() <= LINE_BYTES_MAX);
        }
    }

    #[test]
    fn a_configuration_arrives_whole_or_not_at_all() {
        let text = "é".repeat(PART_BYTES * 2);
        let revision = Revision {
            hash: content_hash(&text),
            ..revision()
        };
        let parts = parts(&revision, false, &text);
        assert!(parts.len() > 3);
        let mut assembly = Assembly::default();
        let (last, head) = parts.split_last().unwrap();
        assert!(head.iter().all(|p| assembly.add(p) == Ok(None)));
        assert_eq!(assembly.add(last), Ok(Some(text)));
        assert!(assembly.add(last).is_err());
        assert_eq!(assembly.add(&parts[0]), Ok(None));
        assert!(assembly.add(&parts[2]).is_err());
        let mut wrong = parts.clone();
        wrong[1].text.replace_range(0..2, "e");
        let mut assembly = Assembly::default();
        let outcomes: Vec<_> = wrong.iter().map(|p| assembly.add(p)).collect();
        assert!(outcomes.last().unwrap().is_err());
    }
}
