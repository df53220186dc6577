//! JSON as RFC 8259 says it, and nothing beside it: a pull reader for hot paths,
//! a tree for configurations, a compact writer. What a document means is the
//! caller's matter.
//!
//! Always: no input panics, recursion ends at [`DEPTH_MAX`], an error knows its
//! byte offset. What the RFC leaves open is decided here:
//! - a number keeps its source text; beyond `u64` or `f64` the accessors say `None`;
//! - a lone surrogate (`"\ud800"`) is grammatical and becomes U+FFFD;
//! - duplicate keys are kept in order, [`Value::get`] answers with the last;
//! - a byte order mark and invalid UTF-8 are errors.

mod reader;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use reader::Reader;
pub use value::{Kind, Member, Value, parse};
pub use writer::{Array, Object, array, object, string};

/// How many arrays and objects may lie within each other; one more is an error.
pub const DEPTH_MAX: usize = 32;

/// Why a text is not the JSON that was expected, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Byte offset into the text; [`line_column`] turns it into what an editor shows.
    pub at: usize,
    /// What is wrong: lower case, no final dot, no position.
    pub text: Cow<'static, str>,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SyntaxError {}

/// Which bytes stand for themselves within a string (RFC 8259, section 7).
static PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut control = 0;
    while control < 0x20 {
        plain[control] = false;
        control += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

/// Where the first byte stands that does not stand for itself within a string.
fn first_special(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| !PLAIN[usize::from(*byte)])
}

/// Line and column of byte `at`, both from 1. Lines end with a line feed; a column
/// is a character, in invalid UTF-8 a byte that does not continue one. An offset
/// beyond the end means the end.
pub fn line_column(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |i| i + 1);
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    let continues = |b: u8| b & 0b1100_0000 == 0b1000_0000;
    let column = 1 + before[line_start..]
        .iter()
        .filter(|&&b| !continues(b))
        .count();
    (line, column)
}
