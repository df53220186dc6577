//! Writes JSON into a `String`: compact, one line, keys in the order given. What
//! comes out is valid as long as keys are not repeated and `raw` gets valid JSON.
//!
//! A string is written as it is, save for the quote, the backslash and the control
//! characters below U+0020 (RFC 8259, section 7).

use std::fmt::Write;

/// An object being written.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

/// An array being written.
#[derive(Debug)]
pub struct Array<'a> {
    out: &'a mut String,
    empty: bool,
}

/// Appends an object with what `fill` puts into it.
pub fn object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    fill(&mut Object { out, empty: true });
    out.push('}');
}

/// Appends an array with what `fill` puts into it.
pub fn array(out: &mut String, fill: impl FnOnce(&mut Array<'_>)) {
    out.push('[');
    fill(&mut Array { out, empty: true });
    out.push(']');
}

/// Appends `s` as a JSON string.
pub fn string(out: &mut String, s: &str) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in s.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&s[done..at]);
        push_escape(out, byte);
        done = at + 1;
    }
    out.push_str(&s[done..]);
    out.push('"');
}

fn push_escape(out: &mut String, byte: u8) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        _ => push_fmt(out, format_args!("\\u{byte:04x}")),
    }
}

fn push_u64(out: &mut String, value: u64) {
    push_fmt(out, format_args!("{value}"));
}

/// The shortest text that reads back as the same number, `null` when there is none.
fn push_f64(out: &mut String, value: f64) {
    let plain = value == 0.0 || (1e-5..1e16).contains(&value.abs());
    if !value.is_finite() {
        out.push_str("null");
    } else if plain {
        push_fmt(out, format_args!("{value}"));
    } else {
        push_fmt(out, format_args!("{value:e}"));
    }
}

fn push_fmt(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

impl Object<'_> {
    /// A string.
    pub fn str(&mut self, key: &str, value: &str) -> &mut Self {
        string(self.key(key), value);
        self
    }

    /// A whole number.
    pub fn u64(&mut self, key: &str, value: u64) -> &mut Self {
        push_u64(self.key(key), value);
        self
    }

    /// A number; `null` when it is not finite, for which JSON has no word.
    pub fn f64(&mut self, key: &str, value: f64) -> &mut Self {
        push_f64(self.key(key), value);
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// `null`.
    pub fn null(&mut self, key: &str) -> &mut Self {
        self.raw(key, "null")
    }

    /// An object with what `fill` puts into it.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.key(key), fill);
        self
    }

    /// An array with what `fill` puts into it.
    pub fn array(&mut self, key: &str, fill: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        array(self.key(key), fill);
        self
    }

    /// A value that is JSON already; the caller answers for that.
    pub fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key).push_str(json);
        self
    }

    fn key(&mut self, key: &str) -> &mut String {
        separate(self.out, &mut self.empty);
        string(self.out, key);
        self.out.push(':');
        self.out
    }
}

impl Array<'_> {
    /// A string.
    pub fn str(&mut self, value: &str) -> &mut Self {
        string(self.item(), value);
        self
    }

    /// A whole number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        push_u64(self.item(), value);
        self
    }

    /// A number; `null` when it is not finite, for which JSON has no word.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        push_f64(self.item(), value);
        self
    }

    /// An object with what `fill` puts into it.
    pub fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.item(), fill);
        self
    }

    /// An array with what `fill` puts into it.
    pub fn array(&mut self, fill: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        array(self.item(), fill);
        self
    }

    /// A value that is JSON already; the caller answers for that.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.item().push_str(json);
        self
    }

    fn item(&mut self) -> &mut String {
        separate(self.out, &mut self.empty);
        self.out
    }
}

/// Puts a comma before all but the first.
fn separate(out: &mut String, empty: &mut bool) {
    if !std::mem::take(empty) {
        out.push(',');
    }
}
