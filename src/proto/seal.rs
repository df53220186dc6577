//! Sealed lines: after a handshake with a key, each line is encrypted and
//! authenticated by itself (ChaCha20-Poly1305, RFC 8439) and written in base64, so one
//! line stays one line. The nonce is the line's number in its direction: a line that
//! was changed, repeated, left out or moved does not open, nor does any after it.

use crate::crypto::{base64_decode, base64_encode, open, seal};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Length of a sealed line around `len` bytes, newline included.
pub const fn sealed_len(len: usize) -> usize {
    (len + TAG_LEN).div_ceil(3) * 4 + 1
}

/// One direction's key and how many lines it has sealed or opened.
#[derive(Clone)]
struct Direction {
    key: [u8; KEY_LEN],
    lines: u64,
}

impl Direction {
    /// The nonce of the next line: its number, from 0, little-endian, behind 4 zero
    /// bytes. 2^64 lines are never reached.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.lines.to_le_bytes());
        nonce
    }
}

/// Seals the lines of one direction.
#[derive(Clone)]
pub struct Sealer {
    direction: Direction,
    scratch: Vec<u8>,
}

impl Sealer {
    /// A sealer under a session's key, before its first line.
    pub fn new(key: [u8; KEY_LEN]) -> Sealer {
        Sealer {
            direction: Direction { key, lines: 0 },
            scratch: Vec::new(),
        }
    }

    /// Appends the sealed form of a line without its newline; that has one.
    pub fn seal(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let nonce = self.direction.nonce();
        self.scratch.clear();
        self.scratch.extend_from_slice(line);
        let tag = seal(&self.direction.key, &nonce, b"", &mut self.scratch);
        self.scratch.extend_from_slice(&tag);
        base64_encode(&self.scratch, out);
        out.push(b'\n');
        self.direction.lines += 1;
    }
}

/// Opens the lines of one direction.
#[derive(Clone)]
pub struct Opener {
    direction: Direction,
}

impl Opener {
    /// An opener under a session's key, before its first line.
    pub fn new(key: [u8; KEY_LEN]) -> Opener {
        Opener {
            direction: Direction { key, lines: 0 },
        }
    }

    /// Opens the next line, without its newline, into `plain`. What `plain` holds after
    /// an error means nothing, and the session is over.
    pub fn open(&mut self, line: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let number = self.direction.lines + 1;
        plain.clear();
        if !base64_decode(line, plain) || plain.len() < TAG_LEN {
            return Err(format!("line {number} is not sealed"));
        }
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&plain[plain.len() - TAG_LEN..]);
        plain.truncate(plain.len() - TAG_LEN);
        if !open(
            &self.direction.key,
            &self.direction.nonce(),
            b"",
            plain,
            &tag,
        ) {
            return Err(format!(
                "line {number} does not open: changed, repeated, left out or moved on its way"
            ));
        }
        if plain.contains(&b'\n') {
            return Err(format!("line {number} holds more than one line"));
        }
        self.direction.lines = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(lines: &[&str]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new([3; 32]);
        let seal = |line: &&str| {
            let mut out = Vec::new();
            sealer.seal(line.as_bytes(), &mut out);
            assert_eq!(out.len(), sealed_len(line.len()));
            assert_eq!(out.pop(), Some(b'\n'));
            out
        };
        lines.iter().map(seal).collect()
    }

    /// What opens of these lines, until one does not.
    fn opened<L: AsRef<[u8]>>(lines: &[L]) -> Vec<String> {
        let (mut opener, mut plain) = (Opener::new([3; 32]), Vec::new());
        let mut out = Vec::new();
        for line in lines {
            if opener.open(line.as_ref(), &mut plain).is_err() {
                break;
            }
            out.push(String::from_utf8(plain.clone()).unwrap());
        }
        out
    }

    #[test]
    fn lines_open_as_they_were_sealed() {
        let long = "x".repeat(crate::proto::LINE_BYTES_MAX - 1);
        let lines = ["{}", "", "{\"seq\":1}", "{\"seq\":1}", &long];
        let sealed = sealed(&lines);
        assert_eq!(opened(&sealed), lines);
        assert_ne!(sealed[2], sealed[3]);
        assert!(sealed.iter().all(|line| line.is_ascii()));
    }

    #[test]
    fn a_line_changed_in_any_bit_does_not_open() {
        let lines = sealed(&["{\"msg\":\"beat\",\"at\":1}"]);
        for at in 0..lines[0].len() {
            for bit in 0..8 {
                let mut line = lines[0].clone();
                line[at] ^= 1 << bit;
                assert!(opened(&[line]).is_empty(), "byte {at} bit {bit}");
            }
        }
        for len in 0..lines[0].len() {
            assert!(opened(&[&lines[0][..len]]).is_empty(), "cut at {len}");
        }
    }

    #[test]
    fn lines_repeated_left_out_or_moved_do_not_open() {
        let all = sealed(&["a", "b", "c"]);
        let (a, b, c) = (&all[0], &all[1], &all[2]);
        for (lines, opens) in [
            (vec![a, b, c], 3),
            (vec![a, a, b, c], 1),
            (vec![b, c], 0),
            (vec![a, c], 1),
            (vec![b, a, c], 0),
            (vec![a, b, a], 2),
        ] {
            assert_eq!(opened(&lines).len(), opens);
        }
        let other = &mut Opener::new([4; 32]);
        assert!(other.open(a, &mut Vec::new()).is_err());
    }

    #[test]
    fn no_sealed_line_is_more_than_one() {
        let lines = sealed(&["a\nb"]);
        assert!(opened(&lines).is_empty());
    }
}
