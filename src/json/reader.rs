//! The pull reader: the caller asks for the value it expects and gets it, or an
//! error with its offset. Strings without escapes are borrowed from the text.
//!
//! UTF-8 is checked once, over the whole text, when the reader is made; the reader
//! then sees only the valid part, and an error where that ends too early. `pos`
//! always stands on a token or at the end, never on white space.

use std::borrow::Cow;

use super::value::{Kind, Member, Value};
use super::{DEPTH_MAX, SyntaxError, first_special};

type Result<T> = std::result::Result<T, SyntaxError>;

/// Reads one JSON text from front to back. After an error it is spent.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The text, or what precedes its first byte that is not UTF-8.
    text: &'a str,
    /// Whether bytes that are not UTF-8 follow `text`.
    broken: bool,
    pos: usize,
    depth: usize,
}

/// A string's place in the text, without its quotes.
struct Span {
    start: usize,
    end: usize,
    escaped: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub fn new(text: &'a [u8]) -> Reader<'a> {
        let (valid, broken) = match std::str::from_utf8(text) {
            Ok(valid) => (valid, false),
            Err(error) => {
                let valid = &text[..error.valid_up_to()];
                (std::str::from_utf8(valid).unwrap_or_default(), true)
            }
        };
        let mut reader = Reader {
            text: valid,
            broken,
            pos: 0,
            depth: 0,
        };
        reader.skip_space();
        reader
    }

    /// The byte offset of the next token, or the text's length when none follows.
    pub fn at(&self) -> usize {
        self.pos
    }

    /// An error at the next token.
    pub fn error(&self, text: impl Into<Cow<'static, str>>) -> SyntaxError {
        self.error_at(self.pos, text)
    }

    /// Reads an object; `each` gets every key in order and must consume its value
    /// whole. Errors: the text's, and those of `each`.
    pub fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>,
    ) -> Result<()> {
        self.members(|reader, span, _| {
            let key = reader.decode(&span);
            each(reader, key)
        })
    }

    /// Reads an array; `each` is called before every item and must consume it whole.
    /// Errors: the text's, and those of `each`.
    pub fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open(b'[', "expected a list")?;
        if !self.take(b']') {
            loop {
                each(self)?;
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.expected("expected ',' or ']'"));
                }
                if self.peek() == Some(b']') {
                    return Err(self.error("trailing comma"));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string; it is borrowed from the text unless it has escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        let span = self.span("expected a string")?;
        Ok(self.decode(&span))
    }

    /// Reads a whole number from 0 to 2^64 - 1, written in digits alone.
    pub fn u64(&mut self) -> Result<u64> {
        let at = self.pos;
        if let Some((value, len)) = short_u64(&self.text.as_bytes()[at..]) {
            self.advance(len);
            return Ok(value);
        }
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.expected("expected a number"));
        }
        let number = self.number()?;
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.error_at(at, "expected a whole number"));
        }
        match number.parse() {
            Ok(value) => Ok(value),
            Err(_) => Err(self.error_at(at, "number too large")),
        }
    }

    /// Reads `true` or `false`.
    pub fn bool(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(self.expected("expected true or false")),
        }
    }

    /// Passes over one value of any kind, checking it as [`Reader::value`] would.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'{') => self.members(|reader, _, _| reader.skip()),
            Some(b'[') => self.array(Reader::skip),
            Some(b'"') => self.span("").map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => self.word().map(drop),
        }
    }

    /// Reads one value of any kind.
    pub fn value(&mut self) -> Result<Value<'a>> {
        let at = self.pos;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object(self.object_members()?),
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(|reader| {
                    items.push(reader.value()?);
                    Ok(())
                })?;
                Kind::Array(items)
            }
            Some(b'"') => Kind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(Value { at, kind })
    }

    /// Makes sure that nothing but white space follows.
    pub fn end(&self) -> Result<()> {
        if self.pos < self.text.len() {
            return Err(self.error("text after the value"));
        }
        if self.broken {
            return Err(self.error("invalid utf-8"));
        }
        Ok(())
    }

    fn object_members(&mut self) -> Result<Vec<Member<'a>>> {
        let mut members = Vec::new();
        self.members(|reader, span, at| {
            let key = reader.decode(&span);
            let value = reader.value()?;
            members.push(Member { at, key, value });
            Ok(())
        })?;
        Ok(members)
    }

    /// Reads an object; `each` gets a key's place and its token's offset.
    fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Span, usize) -> Result<()>,
    ) -> Result<()> {
        self.open(b'{', "expected an object")?;
        if !self.take(b'}') {
            loop {
                let at = self.pos;
                let key = self.span("expected a key in quotes")?;
                if !self.take(b':') {
                    return Err(self.expected("expected ':'"));
                }
                each(self, key, at)?;
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.expected("expected ',' or '}'"));
                }
                if self.peek() == Some(b'}') {
                    return Err(self.error("trailing comma"));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn open(&mut self, bracket: u8, expected: &'static str) -> Result<()> {
        if self.peek() != Some(bracket) {
            return Err(self.expected(expected));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        self.advance(1);
        Ok(())
    }

    /// Scans a string token, checking all of it; decoding is a second step, so that
    /// passing over a string costs no memory.
    fn span(&mut self, expected: &'static str) -> Result<Span> {
        let open = self.pos;
        if self.peek() != Some(b'"') {
            return Err(self.expected(expected));
        }
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut pos = open + 1;
        loop {
            pos += first_special(&bytes[pos..]).unwrap_or(bytes.len() - pos);
            match bytes.get(pos) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    pos += self.escape_len(pos)?;
                }
                Some(_) => return Err(self.error_at(pos, "control character in string")),
                None if self.broken => return Err(self.error_at(pos, "invalid utf-8")),
                None => return Err(self.error_at(open, "unterminated string")),
            }
        }
        self.advance(pos + 1 - open);
        Ok(Span {
            start: open + 1,
            end: pos,
            escaped,
        })
    }

    /// How many bytes the escape at `pos` has.
    fn escape_len(&self, pos: usize) -> Result<usize> {
        let rest = &self.text.as_bytes()[pos + 1..];
        match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => Ok(6),
            Some(b'u') => Err(self.error_at(pos, "expected four hex digits after \\u")),
            Some(_) => Err(self.error_at(pos, "unknown escape in string")),
            None if self.broken => Err(self.error_at(pos + 1, "invalid utf-8")),
            None => Err(self.error_at(pos, "unterminated string")),
        }
    }

    fn decode(&self, span: &Span) -> Cow<'a, str> {
        let source = &self.text[span.start..span.end];
        if span.escaped {
            Cow::Owned(unescape(source))
        } else {
            Cow::Borrowed(source)
        }
    }

    /// Scans a number token (RFC 8259, section 6).
    fn number(&mut self) -> Result<&'a str> {
        let start = self.pos;
        let bytes = self.text.as_bytes();
        let mut pos = start + usize::from(bytes[start] == b'-');
        let whole = digits(bytes, pos);
        if whole == 0 {
            return Err(self.error_at(pos, "expected a digit after '-'"));
        }
        if whole > 1 && bytes[pos] == b'0' {
            return Err(self.error_at(start, "number with a leading zero"));
        }
        pos += whole;
        if bytes.get(pos) == Some(&b'.') {
            let fraction = digits(bytes, pos + 1);
            if fraction == 0 {
                return Err(self.error_at(pos + 1, "expected a digit after '.'"));
            }
            pos += 1 + fraction;
        }
        if matches!(bytes.get(pos), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(pos + 1), Some(b'+' | b'-')));
            let exponent = digits(bytes, pos + 1 + sign);
            if exponent == 0 {
                return Err(self.error_at(pos + 1 + sign, "expected a digit in the exponent"));
            }
            pos += 1 + sign + exponent;
        }
        self.advance(pos - start);
        Ok(&self.text[start..pos])
    }

    /// Reads `true`, `false` or `null`; anything else is no value.
    fn word(&mut self) -> Result<Kind<'a>> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| Kind::Bool(true)),
            Some(b'f') => self.literal("false").map(|()| Kind::Bool(false)),
            Some(b'n') => self.literal("null").map(|()| Kind::Null),
            Some(0xef) if self.text[self.pos..].starts_with('\u{feff}') => {
                Err(self.error("byte order mark"))
            }
            _ => Err(self.expected("expected a value")),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        if !self.text[self.pos..].starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.advance(word.len());
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    /// Passes over `token` if it comes next.
    fn take(&mut self, token: u8) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.advance(1);
        }
        found
    }

    /// Goes past a token of `len` bytes and the white space behind it.
    fn advance(&mut self, len: usize) {
        self.pos += len;
        self.skip_space();
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.pos += 1;
        }
    }

    /// An error at the next token that says what should be there, or that nothing is.
    fn expected(&self, text: &'static str) -> SyntaxError {
        match self.peek() {
            Some(_) => self.error(text),
            None if self.broken => self.error("invalid utf-8"),
            None => self.error("unexpected end"),
        }
    }

    fn error_at(&self, at: usize, text: impl Into<Cow<'static, str>>) -> SyntaxError {
        SyntaxError {
            at,
            text: text.into(),
        }
    }
}

/// The whole number that the bytes begin with, and its length, where it is one that can't
/// be too large and nothing about it is unusual: most are such.
fn short_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    /// Digits that any `u64` may have.
    const DIGITS_MAX: usize = 19;
    let mut value = 0;
    for (len, byte) in bytes.iter().enumerate().take(DIGITS_MAX + 1) {
        match byte {
            b'0'..=b'9' if len < DIGITS_MAX => value = value * 10 + u64::from(byte - b'0'),
            b'0'..=b'9' | b'.' | b'e' | b'E' => return None,
            _ if len == 0 || (bytes[0] == b'0' && len > 1) => return None,
            _ => return Some((value, len)),
        }
    }
    None
}

fn digits(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Decodes a string's inside, whose escapes [`Reader::span`] has checked.
fn unescape(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(backslash) = rest.find('\\') {
        out.push_str(&rest[..backslash]);
        let escape = &rest[backslash..];
        let (char, len) = match escape.as_bytes().get(1) {
            Some(b'u') => unescape_unicode(escape),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(&same) => (char::from(same), 2),
            None => break,
        };
        out.push(char);
        rest = &escape[len..];
    }
    out.push_str(rest);
    out
}

/// The character that `\uXXXX`, or a surrogate pair of two such, stands for, and
/// the bytes used. A surrogate without its other half becomes U+FFFD.
fn unescape_unicode(escape: &str) -> (char, usize) {
    let high = hex_unit(escape).unwrap_or_default();
    if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (high, hex_unit(&escape[6..])) {
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
            12,
        );
    }
    (
        char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
        6,
    )
}

/// The number in a leading `\uXXXX`, if `text` starts with one.
fn hex_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &[u8]) -> (usize, String) {
        let mut reader = Reader::new(text);
        let error = reader.skip().and_then(|()| reader.end()).unwrap_err();
        (error.at, error.to_string())
    }

    #[test]
    fn errors_say_what_and_where() {
        for (text, at, expected) in [
            ("", 0, "unexpected end"),
            ("  ", 2, "unexpected end"),
            ("?", 0, "expected a value"),
            ("[1,2", 4, "unexpected end"),
            ("[1 2]", 3, "expected ',' or ']'"),
            ("[1, ]", 4, "trailing comma"),
            ("[,1]", 1, "expected a value"),
            ("{\"a\" 1}", 5, "expected ':'"),
            ("{\"a\":1 \"b\":2}", 7, "expected ',' or '}'"),
            ("{\"a\":1,}", 7, "trailing comma"),
            ("{a:1}", 1, "expected a key in quotes"),
            ("{\"a\":}", 5, "expected a value"),
            ("[tru]", 1, "expected a value"),
            ("NaN", 0, "expected a value"),
            (" 1 x", 3, "text after the value"),
            ("[01]", 1, "number with a leading zero"),
            ("[-01]", 1, "number with a leading zero"),
            ("[-]", 2, "expected a digit after '-'"),
            ("[1.]", 3, "expected a digit after '.'"),
            ("[1e+]", 4, "expected a digit in the exponent"),
            ("[\"ab", 1, "unterminated string"),
            ("[\"ab\\", 4, "unterminated string"),
            ("\"a\tb\"", 2, "control character in string"),
            ("\"a\\x\"", 2, "unknown escape in string"),
            ("\"a\\u12g4\"", 2, "expected four hex digits after \\u"),
            ("\u{feff}1", 0, "byte order mark"),
        ] {
            assert_eq!(
                error_of(text.as_bytes()),
                (at, expected.to_string()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_where_they_stand() {
        for (text, at) in [
            (&b"\xff"[..], 0),
            (b"1 \xff", 2),
            (b"[1\xff]", 2),
            (b"\"ab\xed\xa0\x80\"", 3),
            (b"\"ab\\\xff\"", 4),
            (b"{\"\xc3\":1}", 2),
        ] {
            assert_eq!(
                error_of(text),
                (at, "invalid utf-8".to_string()),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn wrong_types_are_named() {
        type Ask = fn(&mut Reader<'_>) -> Result<()>;
        let string: Ask = |r| r.string().map(drop);
        let number: Ask = |r| r.u64().map(drop);
        let bool: Ask = |r| r.bool().map(drop);
        let list: Ask = |r| r.array(Reader::skip);
        let object: Ask = |r| r.object(|r, _| r.skip());
        for (ask, text, expected) in [
            (string, "7", "expected a string"),
            (string, "", "unexpected end"),
            (number, "\"7\"", "expected a number"),
            (number, "7.0", "expected a whole number"),
            (number, "-7", "expected a whole number"),
            (number, "7e0", "expected a whole number"),
            (number, "18446744073709551616", "number too large"),
            (number, "00", "number with a leading zero"),
            (number, "00,", "number with a leading zero"),
            (number, "12345678901234567890123,", "number too large"),
            (number, "1.5,", "expected a whole number"),
            (number, "1e5]", "expected a whole number"),
            (bool, "1", "expected true or false"),
            (bool, "folse", "expected a value"),
            (list, "{}", "expected a list"),
            (object, "[]", "expected an object"),
        ] {
            let error = ask(&mut Reader::new(text.as_bytes())).unwrap_err();
            assert_eq!(
                (error.at, error.to_string()),
                (0, expected.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn an_object_is_read_key_by_key() {
        let text =
            br#" { "seq" : 18446744073709551615, "ok":true, "more":[1,{"x":null}], "t":"a\tb" } "#;
        let mut reader = Reader::new(text);
        assert_eq!(reader.at(), 1);
        let (mut seq, mut ok, mut t, mut other) = (0, false, Cow::Borrowed(""), Vec::new());
        let read = reader.object(|r, key| {
            match key.as_ref() {
                "seq" => seq = r.u64()?,
                "ok" => ok = r.bool()?,
                "t" => t = r.string()?,
                _ => {
                    other.push((r.at(), key));
                    r.skip()?;
                }
            }
            Ok(())
        });
        assert_eq!(read, Ok(()));
        assert_eq!(reader.end(), Ok(()));
        assert_eq!((seq, ok, t.as_ref()), (u64::MAX, true, "a\tb"));
        assert_eq!(other, [(51, Cow::Borrowed("more"))]);
    }

    #[test]
    fn numbers_are_read_to_their_last_digit() {
        for (text, expected) in [
            ("0,", 0),
            ("0", 0),
            ("7}", 7),
            ("1763820000123 ,", 1_763_820_000_123),
            ("9999999999999999999]", 9_999_999_999_999_999_999),
            ("18446744073709551615,", u64::MAX),
        ] {
            let mut reader = Reader::new(text.as_bytes());
            assert_eq!(reader.u64(), Ok(expected), "{text}");
            let rest = &text[reader.at()..];
            assert!(
                !rest.starts_with(|c: char| c.is_ascii_digit() || c == ' '),
                "{text}"
            );
        }
    }

    #[test]
    fn a_callers_error_stops_the_reading() {
        let mut seen = 0;
        let mut reader = Reader::new(b"[1, 2, 3]");
        let error = reader.array(|r| {
            seen += 1;
            if seen == 2 {
                Err(r.error("no twos"))
            } else {
                r.skip()
            }
        });
        let error = error.unwrap_err();
        assert_eq!((error.at, error.text.as_ref(), seen), (4, "no twos", 2));
    }

    #[test]
    fn only_strings_with_escapes_are_copied() {
        let strings = |text: &'static str| Reader::new(text.as_bytes()).string().unwrap();
        assert!(matches!(strings("\"水 plain\""), Cow::Borrowed("水 plain")));
        let escaped = strings(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000.""#);
        assert!(matches!(escaped, Cow::Owned(_)));
        assert_eq!(escaped, "\"\\/\u{8}\u{c}\n\r\té😀\0.");
    }

    #[test]
    fn surrogates_pair_up_to_the_edges_of_their_ranges() {
        for (text, expected) in [
            (r#""\ud800\udc00""#, "\u{10000}"),
            (r#""\ud800\udfff""#, "\u{103ff}"),
            (r#""\udbff\udc00""#, "\u{10fc00}"),
            (r#""\udbff\udfff""#, "\u{10ffff}"),
            (r#""\ud7ff\ue000""#, "\u{d7ff}\u{e000}"),
            (r#""\udbff\udbff""#, "\u{fffd}\u{fffd}"),
            (r#""\udbff\ue000""#, "\u{fffd}\u{e000}"),
            (r#""\udc00\udc00""#, "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(Reader::new(text.as_bytes()).string().unwrap(), expected);
        }
    }

    #[test]
    fn depth_ends_at_its_limit_and_counts_only_what_is_open() {
        let nested = |n: usize| format!("[{}{}, {{}}, [[]]]", "[".repeat(n - 1), "]".repeat(n - 1));
        let ok = nested(DEPTH_MAX);
        assert!(Reader::new(ok.as_bytes()).value().is_ok());
        assert_eq!(
            error_of(nested(DEPTH_MAX + 1).as_bytes()),
            (DEPTH_MAX, "nested deeper than 32".to_string())
        );
    }
}
