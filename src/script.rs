//! What is said and expected once a connection stands, for any line or binary protocol:
//! the steps, and the text they are written in. How what arrives is judged is in `talk`.

pub mod preset;

use std::time::Duration;

/// Most steps of a script.
pub const STEPS_MAX: usize = 32;
/// Most patterns of one step, and most that it rejects.
pub const PATTERNS_MAX: usize = 16;
/// Longest text of one pattern or of what is sent, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Most bytes kept of what has arrived while a script is played.
pub const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Steps, in order; none means that a connection is all that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    pub steps: Vec<Step>,
}

impl Script {
    /// How long nothing is to arrive, over all steps.
    pub fn silence(&self) -> Duration {
        let long = |step: &Step| match step {
            Step::Silence(long) => *long,
            _ => Duration::ZERO,
        };
        self.steps.iter().map(long).sum()
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes go out as they are.
    Send(Vec<u8>),
    /// Something is to arrive.
    Expect(Expect),
    /// Nothing is to arrive for so long.
    Silence(Duration),
}

/// What is to arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    pub patterns: Vec<Pattern>,
    pub need: Need,
    /// What ends the probe at once, at the beginning of what arrived or of a line in it.
    pub reject: Vec<Vec<u8>>,
    /// Time for this step; `None` for what is left of the probe's own.
    pub within: Option<Duration>,
    /// Nothing at all within that time is as good.
    pub silent_ok: bool,
}

/// How many of the patterns are to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Any,
    All,
}

/// Bytes to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub bytes: Vec<u8>,
    pub place: Place,
}

/// Where a pattern is to stand in what arrived since the step before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Anywhere,
    Start,
}

/// The bytes that a text stands for: itself, with `\r`, `\n`, `\t`, `\\` and `\xHH`.
/// Nothing is added. Errors: what was expected.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let expected = || "expected \\r, \\n, \\t, \\\\ or \\xHH after a backslash".to_string();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let mut digit = || rest.next().and_then(hex_digit).ok_or_else(expected);
                digit()? << 4 | digit()?
            }
            _ => return Err(expected()),
        });
    }
    Ok(bytes)
}

/// A text that [`unescape`] reads as these bytes, printable but for `\r`, `\n` and `\t`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\r' | '\n' | '\t' => text.push(c),
                c if c.is_control() => {
                    let mut utf8 = [0; 4];
                    push_hex(&mut text, c.encode_utf8(&mut utf8).as_bytes());
                }
                c => text.push(c),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// The bytes that hex digits stand for; spaces between bytes are passed over.
pub fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let expected = || "expected pairs of hex digits such as \"16 03 01\"".to_string();
    let digits: Option<Vec<u8>> = text.bytes().filter(|b| *b != b' ').map(hex_digit).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0).ok_or_else(expected)?;
    Ok(digits.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_bytes_and_back() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("EHLO x\r\n", b"EHLO x\r\n"),
            (r"EHLO x\r\n", b"EHLO x\r\n"),
            (r"\x00\xfF\t\\", b"\x00\xff\t\\"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(unescape(text).unwrap(), bytes, "{text:?}");
            assert_eq!(unescape(&escape(bytes)).unwrap(), bytes, "{text:?}");
        }
        for bad in ["\\", "\\x", "\\x1", "\\xg0", "\\q", "a\\"] {
            assert!(unescape(bad).is_err(), "{bad:?}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)).unwrap(), all);
        assert!(!escape(&all).contains('\u{1b}'));
    }

    #[test]
    fn hex_is_read_in_pairs() {
        assert_eq!(unhex("16 03 01").unwrap(), [0x16, 3, 1]);
        assert_eq!(unhex("00fF").unwrap(), [0, 0xff]);
        assert_eq!(unhex("").unwrap(), []);
        for bad in ["1", "0x16", "gg", "16,03", "é"] {
            assert!(unhex(bad).is_err(), "{bad}");
        }
    }
}
