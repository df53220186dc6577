//! Pre-shared keys: 32 secret bytes, what they may do, and the line of text that
//! holds them. A manager's master key never leaves it; the key of each agent
//! follows from it and the agent's name, so an agent's key speaks for that agent
//! alone. What a key may do is part of how it is derived: a changed word on the
//! line makes another key.
//!
//! No error and no `Debug` form tells a secret.

use std::fmt;
use std::str::FromStr;

use crate::crypto::{base64_decode, base64_encode, hkdf_expand, hkdf_extract};
use crate::model::{KeyId, Name};

/// Bytes of a secret.
pub const SECRET_LEN: usize = 32;
/// Most keys in a file: the one in use, and the one that comes or goes.
pub const KEYS_MAX: usize = 2;
/// More than a file of so many keys needs, in bytes.
pub const FILE_BYTES_MAX: usize = 4096;

/// Sets these derivations apart from any other use of the same secret.
const SALT: &[u8] = b"tcpmon key 1";
const WORD: &str = "tcpmon-key";

/// What the manager that holds a key may do with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Receive results.
    Read,
    /// Give it its configuration, too.
    Own,
}

impl Rights {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Rights::Read => "read",
            Rights::Own => "own",
        }
    }
}

impl FromStr for Rights {
    type Err = String;

    fn from_str(text: &str) -> Result<Rights, String> {
        match text {
            "read" => Ok(Rights::Read),
            "own" => Ok(Rights::Own),
            _ => Err("expected own or read".to_string()),
        }
    }
}

/// A key; see the module text.
#[derive(Clone)]
pub struct Key {
    secret: [u8; SECRET_LEN],
    rights: Rights,
    /// Whose key it is; a master key is nobody's.
    agent: Option<Name>,
}

impl Key {
    /// A manager's master key.
    pub fn master(secret: [u8; SECRET_LEN], rights: Rights) -> Key {
        Key {
            secret,
            rights,
            agent: None,
        }
    }

    /// The key of the agent with this name that follows from a master key; an agent's
    /// own key as it is.
    pub fn of_agent(&self, name: &Name) -> Key {
        if self.agent.is_some() {
            return self.clone();
        }
        let info = format!("agent {} {name}", self.rights.as_str());
        Key {
            secret: self.derive(&info),
            rights: self.rights,
            agent: Some(name.clone()),
        }
    }

    /// Names the key without telling it.
    pub fn id(&self) -> KeyId {
        let digest = self.derive("id");
        KeyId(digest[..8].iter().fold(0, |id, b| id << 8 | u64::from(*b)))
    }

    /// What it may do.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Whose it is; `None` for a master key.
    pub fn agent(&self) -> Option<&Name> {
        self.agent.as_ref()
    }

    /// The secret itself, for deriving a session's keys.
    pub fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }

    /// The line of a key file, newline included.
    pub fn line(&self) -> String {
        let kind = match &self.agent {
            Some(name) => format!("agent {name}"),
            None => "master".to_string(),
        };
        let mut secret = Vec::new();
        base64_encode(&self.secret, &mut secret);
        let secret = String::from_utf8_lossy(&secret);
        format!("{WORD} {kind} {} {secret}\n", self.rights.as_str())
    }

    fn derive(&self, info: &str) -> [u8; 32] {
        let mut out = [0; 32];
        hkdf_expand(&hkdf_extract(SALT, &self.secret), info.as_bytes(), &mut out);
        out
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.id())
    }
}

impl FromStr for Key {
    /// What is wrong, without a word of what stood there.
    type Err = String;

    fn from_str(line: &str) -> Result<Key, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let (agent, rights, secret) = match words[..] {
            [WORD, "master", rights, secret] => (None, rights, secret),
            [WORD, "agent", name, rights, secret] => (Some(name), rights, secret),
            _ => {
                return Err(
                    "not a key as tcpmon-manager keygen writes them: \"tcpmon-key master own SECRET\" or \"tcpmon-key agent NAME own SECRET\"".to_string(),
                );
            }
        };
        let mut bytes = Vec::new();
        let decoded = base64_decode(secret.as_bytes(), &mut bytes);
        let secret = match bytes.try_into() {
            Ok(secret) if decoded => secret,
            _ => return Err(format!("its secret is not {SECRET_LEN} bytes in base64")),
        };
        Ok(Key {
            secret,
            rights: rights.parse()?,
            agent: agent.map(str::parse).transpose()?,
        })
    }
}

/// The keys of a file, the one to use first; an empty file has none. They are of one
/// kind: all master keys, or all of the same agent.
pub fn parse_file(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_string())?;
    let mut keys: Vec<Key> = Vec::new();
    for (at, line) in text.lines().map(str::trim_end).enumerate() {
        if line.is_empty() {
            continue;
        }
        let key: Key = line
            .parse()
            .map_err(|text: String| format!("line {}: {text}", at + 1))?;
        if keys.iter().any(|k| k.id() == key.id()) {
            return Err(format!("line {}: the same key again", at + 1));
        }
        keys.push(key);
    }
    if keys.len() > KEYS_MAX {
        return Err(format!(
            "{} keys, at most {KEYS_MAX} are allowed",
            keys.len()
        ));
    }
    if keys.windows(2).any(|pair| pair[0].agent != pair[1].agent) {
        return Err("its keys are for different names".to_string());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> Key {
        Key::master([7; 32], Rights::Own)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for key in [
            master(),
            Key::master([0xff; 32], Rights::Read),
            master().of_agent(&name("attic")),
        ] {
            let line = key.line();
            let again: Key = line.trim_end().parse().unwrap();
            assert_eq!(again.line(), line);
            assert_eq!(
                (again.id(), again.rights(), again.agent()),
                (key.id(), key.rights(), key.agent())
            );
        }
        let line = "tcpmon-key master own BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
        assert_eq!(master().line(), line);
    }

    #[test]
    fn every_name_and_right_has_a_key_of_its_own() {
        let reader = Key::master([7; 32], Rights::Read);
        let keys = [
            master(),
            master().of_agent(&name("attic")),
            master().of_agent(&name("cellar")),
            reader.of_agent(&name("attic")),
            Key::master([8; 32], Rights::Own).of_agent(&name("attic")),
        ];
        for (at, key) in keys.iter().enumerate() {
            for other in &keys[at + 1..] {
                assert_ne!(key.id(), other.id());
                assert_ne!(key.secret(), other.secret());
            }
        }
        let attic = &keys[1];
        assert_eq!(attic.of_agent(&name("cellar")).line(), attic.line());
        assert_eq!(format!("{attic:?}"), format!("key {}", attic.id()));
    }

    #[test]
    fn what_is_no_key_file_is_refused_without_telling_it() {
        let good = master().line();
        let attic = master().of_agent(&name("attic")).line();
        let cellar = master().of_agent(&name("cellar")).line();
        let other = Key::master([8; 32], Rights::Own).line();
        let third = Key::master([9; 32], Rights::Own).line();
        for (text, expected) in [
            ("secret".into(), "line 1: not a key"),
            (format!("{good}hunter2"), "line 2: not a key"),
            (good.replace("own", "root"), "line 1: expected own or read"),
            (attic.replace("attic", "a/b"), "line 1: expected a name"),
            (
                good.replace("wc=", "w=="),
                "line 1: its secret is not 32 bytes",
            ),
            (
                good.replace("BwcH", ""),
                "line 1: its secret is not 32 bytes",
            ),
            (good.replace("BwcH", "Bw H"), "line 1: not a key"),
            (format!("{good}{good}"), "line 2: the same key again"),
            (
                format!("{good}{other}{third}"),
                "3 keys, at most 2 are allowed",
            ),
            (
                format!("{attic}{cellar}"),
                "its keys are for different names",
            ),
            (format!("{attic}{good}"), "its keys are for different names"),
        ] {
            let error = parse_file(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(
                !error.contains("hunter2") && !error.contains("BwcH"),
                "{error}"
            );
        }
        assert_eq!(parse_file(b"\xff").unwrap_err(), "not text");
        assert!(parse_file(b"\n\n").unwrap().is_empty());
        let two = parse_file(format!("{good}\r\n\n{other}").as_bytes()).unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(two[0].line(), good);
    }
}
