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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessors_answer_only_for_their_kind() {
        let text = br#"{"n":7,"s":"x","b":true,"l":[1,2],"o":{"k":null},"n":8}"#;
        let value = parse(text).unwrap();
        let get = |key| value.get(key).unwrap();
        assert_eq!(get("n").u64(), Some(8), "the last of duplicates");
        assert_eq!(value.object().unwrap()[0].value.u64(), Some(7));
        assert_eq!(
            (get("s").str(), get("s").u64(), get("s").f64()),
            (Some("x"), None, None)
        );
        assert_eq!((get("b").bool(), get("n").bool()), (Some(true), None));
        assert_eq!(get("l").array().unwrap()[1].u64(), Some(2));
        assert_eq!((get("n").str(), get("o").array().is_none()), (None, true));
        assert_eq!(get("o").get("k").unwrap().kind, Kind::Null);
        assert_eq!((value.get("none"), get("l").get("k")), (None, None));
    }

    #[test]
    fn numbers_are_exact_or_none() {
        for (text, whole, float) in [
            ("7", Some(7), Some(7.0)),
            ("0", Some(0), Some(0.0)),
            (
                "18446744073709551615",
                Some(u64::MAX),
                Some(18446744073709551615.0),
            ),
            ("18446744073709551616", None, Some(18446744073709551616.0)),
            ("-1", None, Some(-1.0)),
            ("-0", None, Some(-0.0)),
            ("7.0", None, Some(7.0)),
            ("1e3", None, Some(1000.0)),
            ("1e308", None, Some(1e308)),
            ("1e309", None, None),
            ("-1e309", None, None),
            ("5e-324", None, Some(5e-324)),
        ] {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!((value.u64(), value.f64()), (whole, float), "{text}");
        }
    }

    #[test]
    fn values_and_keys_know_where_they_stand() {
        let value = parse(b" {\"a\": [10,  null], \"b\": \"x\"}").unwrap();
        let members = value.object().unwrap();
        let items = members[0].value.array().unwrap();
        assert_eq!((value.at, members[0].at, members[0].value.at), (1, 2, 7));
        assert_eq!((items[0].at, items[1].at), (8, 13));
        assert_eq!((members[1].at, members[1].value.at), (20, 25));
    }

    #[test]
    fn brief_names_what_was_found() {
        let x = |n: usize| "x".repeat(n);
        for (text, expected) in [
            ("10", "10".to_string()),
            ("-1.5e3", "-1.5e3".to_string()),
            ("true", "true".to_string()),
            ("null", "null".to_string()),
            ("[1]", "a list".to_string()),
            ("{}", "an object".to_string()),
            ("\"abc\"", "\"abc\"".to_string()),
            (r#""a\"b\\c""#, r#""a\"b\\c""#.to_string()),
            (r#""\u001b[2J\u202e""#, r#""\x1b[2J\u{202e}""#.to_string()),
            (&format!("\"{}\"", x(38)), format!("\"{}\"", x(38))),
            (&format!("\"{}\"", x(39)), format!("\"{}…\"", x(37))),
            (&format!("\"{}\\n\"", x(36)), format!("\"{}…\"", x(36))),
            (
                &format!("\"{}\"", "水".repeat(99)),
                format!("\"{}…\"", "水".repeat(37)),
            ),
            (&"1".repeat(40), "1".repeat(40)),
            (&"1".repeat(41), format!("{}…", "1".repeat(39))),
        ] {
            let brief = parse(text.as_bytes()).unwrap().brief();
            assert_eq!(brief, expected, "{text}");
            assert!(brief.chars().count() <= BRIEF_LEN_MAX);
        }
    }
}
