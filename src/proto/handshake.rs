//! Who speaks: a hello each way, and with a pre-shared key a proof each way, after
//! which every line is sealed. Pure: lines in, lines out; nonces are arguments.
//!
//! Proofs and session keys come by HKDF-SHA-256 (RFC 5869) from the key and the hash of
//! both hellos as they were on the wire, with a label of their own for each role and
//! side. So whoever changed a byte of a hello has no proof; one side's proof is not the
//! other's; and a recorded proof fits no other pair of nonces. The dialled side proves
//! only after the dialler has: a stranger gets nothing to compare a guess with.
//!
//! Always: a side that has a key never talks without, and the peer learns no more than
//! "authentication failed".

use super::seal::{Opener, Sealer};
use super::{Auth, Hello, Message, Role, Side, VERSION};
use crate::crypto::{hkdf_expand, hkdf_extract, same, sha256};
use crate::json::{self, Value};
use crate::key::Key;

/// All that a peer is told when keys do not fit.
pub const UNAUTHENTIC: &str = "authentication failed";

/// Why there is no session: the text for one's own log, and what the peer is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub text: String,
    pub told: Option<String>,
}

impl Refusal {
    /// A refusal that the peer is told as it is.
    pub fn open(text: String) -> Refusal {
        Refusal {
            told: Some(text.clone()),
            text,
        }
    }

    /// A refusal whose reason stays here.
    pub fn unauthentic(text: impl Into<String>) -> Refusal {
        Refusal {
            text: text.into(),
            told: Some(UNAUTHENTIC.to_string()),
        }
    }

    /// A refusal that the peer is told nothing of.
    pub fn silent(text: impl Into<String>) -> Refusal {
        Refusal {
            text: text.into(),
            told: None,
        }
    }
}

/// The sealing of a session, from one side's point of view.
pub struct Seals {
    pub sealer: Sealer,
    pub opener: Opener,
}

/// A side that has exchanged hellos under a key and is about to prove itself.
pub struct Proving {
    mine: [u8; 32],
    theirs: [u8; 32],
    seals: Seals,
}

impl Proving {
    /// The line that proves this side. The dialled side sends it only after
    /// [`Proving::confirm`].
    pub fn line(&self) -> String {
        Message::Proof(self.mine).line()
    }

    /// Checks the peer's proof; with it the session's lines can be sealed.
    pub fn confirm(self, line: &[u8]) -> Result<Seals, Refusal> {
        match Message::parse(line) {
            Ok(Message::Proof(proof)) if same(&proof, &self.theirs) => Ok(self.seals),
            Ok(Message::Proof(_)) => Err(Refusal::unauthentic(
                "its proof is wrong: it has another key, or its hello was changed on the way",
            )),
            Ok(Message::Bye { text }) => Err(Refusal::silent(format!("refused: {text}"))),
            Ok(_) => Err(Refusal::silent("expected a proof, another message came")),
            Err(text) => Err(Refusal::silent(format!("expected a proof: {text}"))),
        }
    }
}

/// The hello of this side as it goes out, and its line.
#[derive(Clone)]
pub struct Opening {
    hello: Hello,
    key: Option<Key>,
    line: String,
}

impl Opening {
    /// Fills in what the hello says of the key.
    pub fn new(hello: Hello, key: Option<Key>, nonce: [u8; 32]) -> Opening {
        let auth = key.as_ref().map(|key| Auth {
            key: key.id(),
            nonce,
        });
        let hello = Hello { auth, ..hello };
        Opening {
            line: Message::Hello(hello.clone()).line(),
            hello,
            key,
        }
    }

    /// The line to send.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Whether the hellos fit each other; `their_line` is the peer's hello as it came,
    /// without its newline. With a key the proofs are next.
    pub fn agree(&self, theirs: &Hello, their_line: &[u8]) -> Result<Option<Proving>, Refusal> {
        let ours = &self.hello;
        check_ends(ours, theirs)?;
        let Some(key) = &self.key else {
            return match theirs.auth {
                None => Ok(None),
                Some(_) => Err(Refusal::unauthentic("has a key, and there is none here")),
            };
        };
        check_auth(ours, theirs, key)?;
        let our_line = self.line.trim_end().as_bytes();
        let transcript = match ours.side {
            Side::Dialler => [our_line, b"\n", their_line, b"\n"].concat(),
            Side::Dialled => [their_line, b"\n", our_line, b"\n"].concat(),
        };
        let secret = hkdf_extract(&sha256(&transcript), key.secret());
        let derive = |what: &str, hello: &Hello| {
            let (role, side) = (hello.role.as_str(), hello.side.as_str());
            let mut out = [0; 32];
            let label = format!("tcpmon {VERSION} {what} {role} {side}");
            hkdf_expand(&secret, label.as_bytes(), &mut out);
            out
        };
        Ok(Some(Proving {
            mine: derive("proof", ours),
            theirs: derive("proof", theirs),
            seals: Seals {
                sealer: Sealer::new(derive("lines", ours)),
                opener: Opener::new(derive("lines", theirs)),
            },
        }))
    }
}

/// One is an agent and one a manager; one dialled and one was.
fn check_ends(ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
    match (ours.role, theirs.role) {
        (Role::Agent, Role::Agent) => {
            let text = "this is an agent: only managers talk to it, and an agent came";
            return Err(Refusal::open(text.to_string()));
        }
        (Role::Manager, Role::Manager) => {
            let text = "this is a manager: only agents talk to it, and a manager came";
            return Err(Refusal::open(text.to_string()));
        }
        _ => {}
    }
    if ours.side == theirs.side {
        let side = theirs.side.as_str();
        return Err(Refusal::open(format!(
            "calls itself the {side} side, which this side is"
        )));
    }
    Ok(())
}

/// The hellos name the same key, and each other as the key does.
fn check_auth(ours: &Hello, theirs: &Hello, key: &Key) -> Result<(), Refusal> {
    let Some(auth) = &theirs.auth else {
        let text = "talks without a key, and this side has one";
        return Err(Refusal::unauthentic(text));
    };
    if auth.key != key.id() {
        let (theirs, ours) = (auth.key, key.id());
        return Err(Refusal::unauthentic(format!(
            "names the key {theirs}, not {ours}"
        )));
    }
    if ours.auth.is_some_and(|a| a.nonce == auth.nonce) {
        return Err(Refusal::unauthentic("sent this side's own nonce back"));
    }
    let (agent, manager) = match ours.role {
        Role::Agent => (ours, theirs),
        Role::Manager => (theirs, ours),
    };
    if key.agent() != Some(&agent.name) {
        let name = &agent.name;
        return Err(Refusal::unauthentic(format!(
            "the key is not that of an agent named {name}"
        )));
    }
    let misses = |expects: &Option<_>, name| expects.as_ref().is_some_and(|e| e != name);
    if misses(&manager.expects, &agent.name) || misses(&agent.expects, &manager.name) {
        return Err(Refusal::unauthentic("expects someone else here"));
    }
    Ok(())
}

/// The hello on the first line of a peer, which a bye may stand for.
pub fn read_hello(line: &[u8]) -> Result<Hello, Refusal> {
    if let Some(theirs) = other_version(line) {
        return Err(Refusal::open(format!(
            "protocol version {theirs} is not spoken here, only {VERSION}"
        )));
    }
    match Message::parse(line) {
        Ok(Message::Hello(hello)) => Ok(hello),
        Ok(Message::Bye { text }) => Err(Refusal::silent(format!("refused: {text}"))),
        Ok(_) => Err(Refusal::silent("expected a hello, another message came")),
        Err(text) => Err(Refusal::silent(format!("expected a hello: {text}"))),
    }
}

/// The version of a hello that is not ours, whatever else it says.
fn other_version(line: &[u8]) -> Option<u64> {
    let value = json::parse(line).ok()?;
    value
        .get("msg")
        .and_then(Value::str)
        .filter(|m| *m == "hello")?;
    value.get("version")?.u64().filter(|v| *v != VERSION)
}

/// Of the keys here, the one that a peer's hello means. `None` for `keys` says that this
/// side has no key; an empty list, that none is accepted any more.
pub fn pick(keys: Option<&[Key]>, theirs: &Hello) -> Result<Option<Key>, Refusal> {
    match (keys, &theirs.auth) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Refusal::unauthentic("has a key, and there is none here")),
        (Some(_), None) => {
            let text = "talks without a key, and this side has one";
            Err(Refusal::unauthentic(text))
        }
        (Some(keys), Some(auth)) => {
            let found = keys.iter().find(|key| key.id() == auth.key);
            let unknown = || {
                let id = auth.key;
                Refusal::unauthentic(format!("names the key {id}, which is not known here"))
            };
            found.cloned().map(Some).ok_or_else(unknown)
        }
    }
}

#[cfg(test)]
mod tests;
