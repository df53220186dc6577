//! What a peer has said, and whether what was expected is in it. The rules are those of
//! check_tcp: an answer is judged each time something has come, until it fits; it ends at
//! its first NUL byte; at `-m` bytes it is taken as it is.

use super::options::{Needed, Options};
use crate::text;

/// Most of an answer that is kept, in bytes.
pub const ANSWER_LEN_MAX: usize = 256 * 1024;

/// How an answer compares with what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// Nothing was expected, or the answer reached its limit at once.
    #[default]
    Unjudged,
    Met,
    Missed,
}

/// Whether more is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Goes,
    Ends,
}

/// What has come so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    bytes: Vec<u8>,
    pub fit: Fit,
}

impl Answer {
    /// Takes what has come and judges the whole, unless the limit is reached: then the
    /// last judgement stands.
    pub fn take(&mut self, chunk: &[u8], options: &Options) -> Reading {
        self.bytes.extend_from_slice(chunk);
        if options.bytes_max.is_some_and(|max| self.bytes.len() >= max) {
            return Reading::Ends;
        }
        let text = until_nul(&self.bytes);
        let found = |expected: &Vec<u8>| contains(text, expected);
        let met = match options.needed {
            Needed::Any => options.expect.iter().any(found),
            Needed::All => options.expect.iter().all(found),
        };
        self.fit = if met { Fit::Met } else { Fit::Missed };
        match met || self.bytes.len() >= ANSWER_LEN_MAX {
            true => Reading::Ends,
            false => Reading::Goes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What the output shows: without white space at the end, and nothing when no more
    /// than one byte is left.
    pub fn shown(&self) -> Option<String> {
        let mut last = self.bytes.len().saturating_sub(1);
        while last > 0 && is_space(self.bytes[last]) {
            last -= 1;
        }
        (last > 0).then(|| readable(until_nul(&self.bytes[..=last])))
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// As isspace(3) in the C locale.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Bytes from outside as text of several lines: line ends and tabs stay, whatever could
/// disturb a terminal is escaped, and so is what is not UTF-8.
pub fn readable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for line in chunk.valid().split_inclusive(['\n', '\t']) {
            let ends = ["\r\n", "\n", "\t"];
            let end = ends.into_iter().find(|end| line.ends_with(end));
            let end = end.unwrap_or_default();
            out.push_str(&text::escape(&line[..line.len() - end.len()]));
            out.push_str(end);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expecting(words: &[&str]) -> Options {
        Options {
            expect: words.iter().map(|w| w.as_bytes().to_vec()).collect(),
            ..Options::default()
        }
    }

    fn fit(chunks: &[&[u8]], options: &Options) -> (Fit, usize) {
        let mut answer = Answer::default();
        for (taken, chunk) in (1..).zip(chunks) {
            if answer.take(chunk, options) == Reading::Ends {
                return (answer.fit, taken);
            }
        }
        (answer.fit, chunks.len())
    }

    #[test]
    fn any_or_all_anywhere_and_across_reads() {
        for (words, needed, chunks, expected) in [
            (&["220"][..], Needed::Any, &[&b"220 hi"[..]][..], Fit::Met),
            (&["hi"], Needed::Any, &[b"220 hi"], Fit::Met),
            (&["220"], Needed::Any, &[b"22", b"0"], Fit::Met),
            (&["220"], Needed::Any, &[b"22", b"1"], Fit::Missed),
            (&["250", "220"], Needed::Any, &[b"220"], Fit::Met),
            (&["250", "220"], Needed::All, &[b"220"], Fit::Missed),
            (&["250", "220"], Needed::All, &[b"220", b" 250"], Fit::Met),
            (&[""], Needed::Any, &[b"x"], Fit::Met),
            (&["", "y"], Needed::All, &[b"x"], Fit::Missed),
            (&["b"], Needed::Any, &[b"a\0b"], Fit::Missed),
            (&["a"], Needed::Any, &[b"a\0b"], Fit::Met),
            (&["\u{e9}"], Needed::Any, &[b"\xc3", b"\xa9"], Fit::Met),
            (&["a"], Needed::Any, &[b"A"], Fit::Missed),
        ] {
            let options = Options {
                needed,
                ..expecting(words)
            };
            let found = fit(chunks, &options).0;
            assert_eq!(found, expected, "{words:?} {chunks:?}");
        }
    }

    #[test]
    fn reading_ends_when_it_fits_or_is_enough() {
        let options = expecting(&["220"]);
        assert_eq!(fit(&[b"220", b"x"], &options), (Fit::Met, 1));
        assert_eq!(fit(&[b"x", b"y"], &options), (Fit::Missed, 2));
        let much = vec![b'x'; ANSWER_LEN_MAX - 1];
        assert_eq!(fit(&[&much, b"x", b"x"], &options), (Fit::Missed, 2));
    }

    #[test]
    fn at_the_limit_the_last_judgement_stands() {
        for (bytes_max, chunks, expected) in [
            (3, &[&b"220"[..]][..], (Fit::Unjudged, 1)),
            (2, &[b"xyz"], (Fit::Unjudged, 1)),
            (4, &[b"220"], (Fit::Met, 1)),
            (3, &[b"22", b"0"], (Fit::Missed, 2)),
        ] {
            let options = Options {
                bytes_max: Some(bytes_max),
                ..expecting(&["220"])
            };
            assert_eq!(fit(chunks, &options), expected, "{bytes_max} {chunks:?}");
        }
    }

    #[test]
    fn what_is_shown_has_no_end_of_line() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"x", None),
            (b"x\r\n", None),
            (b"\r\n", None),
            (b"xy", Some("xy")),
            (b"220 hi \t\x0b\r\n\n", Some("220 hi")),
            (b"  a b  ", Some("  a b")),
            (b"22\0abc\r\n", Some("22")),
            (b"a\r\nb\r\n", Some("a\r\nb")),
            (b"a\x1b[31m\tq", Some("a\\x1b[31m\tq")),
            (b"a\rb", Some("a\\x0db")),
            (b"\xe9\xff\xc3\xa9", Some("\\xe9\\xff\u{e9}")),
        ] {
            let answer = Answer {
                bytes: bytes.to_vec(),
                fit: Fit::Met,
            };
            assert_eq!(answer.shown().as_deref(), expected, "{bytes:?}");
        }
    }
}
