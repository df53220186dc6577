//! A JSON text as a tree, for configurations: every value and key knows where it
//! stood, so that an error about its meaning can point at it. Borrows from the text.

use std::borrow::Cow;

use super::{Reader, SyntaxError};
use crate::text;

/// Longest text that [`Value::brief`] gives, in characters.
const BRIEF_LEN_MAX: usize = 40;

/// One value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Value<'a> {
    /// Byte offset of its first character.
    pub at: usize,
    pub kind: Kind<'a>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    Null,
    Bool(bool),
    /// As written: no range or precision is lost.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// In the text's order, duplicates kept.
    Object(Vec<Member<'a>>),
}

/// One key of an object with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member<'a> {
    /// Byte offset of the key's opening quote.
    pub at: usize,
    pub key: Cow<'a, str>,
    pub value: Value<'a>,
}

/// Reads a text that is one JSON value. Errors: see [`SyntaxError`].
pub fn parse(text: &[u8]) -> Result<Value<'_>, SyntaxError> {
    let mut reader = Reader::new(text);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

impl<'a> Value<'a> {
    /// The value of `key`, of the last one when it occurs more than once; `None`
    /// when it is absent or this is no object.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let found = self.object()?.iter().rev().find(|m| m.key == key)?;
        Some(&found.value)
    }

    /// The text of a string.
    pub fn str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number from 0 to 2^64 - 1, written in digits alone: `7` is one, `7.0`,
    /// `1e3`, `-1` and 2^64 are not.
    pub fn u64(&self) -> Option<u64> {
        match self.kind {
            // The grammar has no '+', the only other character that parse would take.
            Kind::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The nearest `f64` to a number; `None` when that is not finite, as for `1e999`.
    pub fn f64(&self) -> Option<f64> {
        match self.kind {
            Kind::Number(text) => text.parse().ok().filter(|x: &f64| x.is_finite()),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        match self.kind {
            Kind::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn array(&self) -> Option<&[Value<'a>]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn object(&self) -> Option<&[Member<'a>]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    /// How an error names what was found: `10`, `"abc"`, `true`, `null`, `a list`,
    /// `an object`. Safe to print, at most 40 characters.
    pub fn brief(&self) -> String {
        match &self.kind {
            Kind::Null => "null".to_string(),
            Kind::Bool(value) => value.to_string(),
            Kind::Number(text) => brief_text(text, ""),
            Kind::String(text) => brief_text(text, "\""),
            Kind::Array(_) => "a list".to_string(),
            Kind::Object(_) => "an object".to_string(),
        }
    }
}

/// `text`, escaped and between two `quote`s; what is too long ends with an ellipsis.
fn brief_text(text: &str, quote: &str) -> String {
    let len_max = BRIEF_LEN_MAX - 2 * quote.len();
    let mut out = quote.to_string();
    let mut len = 0;
    // Where to cut if the text turns out too long: the last point with room for the ellipsis.
    let mut cut = out.len();
    for char in text.chars() {
        let piece = brief_char(char);
        len += piece.chars().count();
        if len > len_max {
            out.truncate(cut);
            out.push('…');
            break;
        }
        out.push_str(&piece);
        if len < len_max {
            cut = out.len();
        }
    }
    out + quote
}

fn brief_char(char: char) -> String {
    match char {
        '"' | '\\' => format!("\\{char}"),
        _ => text::escape(char.encode_utf8(&mut [0; 4])).into_owned(),
    }
}
