//! Writes JSON into a `String`: compact, one line, keys in the order given. What
//! comes out is valid as long as keys are not repeated and `raw` gets valid JSON.
//!
//! A string is written as it is, save for the quote, the backslash and the control
//! characters below U+0020 (RFC 8259, section 7).

use std::fmt::Write;

use super::first_special;

/// Digits of the largest `u64`.
const U64_DIGITS_MAX: usize = 20;

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
    let mut rest = s;
    while let Some(at) = first_special(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        push_escape(out, rest.as_bytes()[at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
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

/// In a fifth of the time that `Display` takes.
fn push_u64(out: &mut String, mut value: u64) {
    let mut digits = [0; U64_DIGITS_MAX];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_arrays_are_compact_and_in_order() {
        let mut out = "before ".to_string();
        object(&mut out, |o| {
            o.str("s", "x").u64("u", u64::MAX).f64("f", 0.5);
            o.bool("t", true).bool("n", false).null("0");
            o.object("o", |_| {}).array("a", |a| {
                a.str("y").u64(0).f64(-1.0).raw("[1]");
                a.object(|o| {
                    o.raw("r", "{\"k\":1}");
                });
                a.array(|_| {});
            });
        });
        assert_eq!(
            out,
            concat!(
                r#"before {"s":"x","u":18446744073709551615,"f":0.5,"t":true,"n":false,"0":null,"#,
                r#""o":{},"a":["y",0,-1,[1],{"r":{"k":1}},[]]}"#
            )
        );
    }

    #[test]
    fn strings_escape_what_they_must_and_no_more() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("\"", r#""\"""#),
            ("a\\b/c", r#""a\\b/c""#),
            ("\n\r\t", r#""\n\r\t""#),
            (
                "\0\u{8}\u{c}\u{1b}\u{1f} ",
                r#""\u0000\u0008\u000c\u001b\u001f ""#,
            ),
            ("é水😀\u{7f}\u{2028}", "\"é水😀\u{7f}\u{2028}\""),
        ] {
            let mut out = String::new();
            string(&mut out, text);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn keys_are_escaped_too() {
        let mut out = String::new();
        object(&mut out, |o| {
            o.u64("a\"\n", 1);
        });
        assert_eq!(out, r#"{"a\"\n":1}"#);
    }

    #[test]
    fn whole_numbers_have_all_their_digits() {
        for n in [0, 9, 10, 99, 100, 1_763_820_000_123, u64::MAX - 1, u64::MAX] {
            let mut out = String::new();
            push_u64(&mut out, n);
            assert_eq!(out, n.to_string());
        }
    }

    #[test]
    fn floats_read_back_as_the_same_number() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e-5, "0.00001"),
            (1e-6, "1e-6"),
            (1e15, "1000000000000000"),
            (1e16, "1e16"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            let mut out = String::new();
            push_f64(&mut out, value);
            assert_eq!(out, expected);
            let read = super::super::parse(out.as_bytes()).unwrap().f64();
            assert_eq!(
                read.map(f64::to_bits),
                Some(value.to_bits()).filter(|_| value.is_finite())
            );
        }
    }
}
