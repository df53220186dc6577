//! The module as a whole: golden files, mutations, and what is written read back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

/// Enough golden files to be sure that the walk found them.
const GOLDEN_COUNT_MIN: usize = 200;
const MUTATIONS: usize = 20_000;

/// The golden files by name.
fn golden() -> BTreeMap<String, Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/json");
    let entries = std::fs::read_dir(&dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = paths.map(|p| (p.file_name().unwrap().to_str().unwrap().to_string(), p));
    named
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

fn skips(text: &[u8]) -> bool {
    let mut reader = Reader::new(text);
    reader.skip().and_then(|()| reader.end()).is_ok()
}

/// What a text means to us, in words that the `i_*.txt` files hold.
fn describe(text: &[u8]) -> String {
    match parse(text) {
        Ok(value) => describe_value(&value),
        Err(error) => format!("error at {}: {error}", error.at),
    }
}

fn describe_value(value: &Value<'_>) -> String {
    match &value.kind {
        Kind::Number(n) => format!("number {n}, u64 {:?}, f64 {:?}", value.u64(), value.f64()),
        Kind::String(s) => format!("string \"{}\"", s.escape_default()),
        Kind::Object(members) => {
            let first = members[0].key.as_ref();
            let got = value.get(first).unwrap();
            let at = members.iter().position(|m| std::ptr::eq(&m.value, got));
            let text = |m: &Member<'_>| {
                format!(
                    "\"{}\": {}",
                    m.key.escape_default(),
                    describe_value(&m.value)
                )
            };
            let all: Vec<String> = members.iter().map(text).collect();
            let first = first.escape_default();
            let at = at.unwrap();
            format!(
                "object {{{}}}, get(\"{first}\") is member {at}",
                all.join("; ")
            )
        }
        _ => value.brief(),
    }
}

#[test]
fn golden_files_parse_or_fail_as_named() {
    let files = golden();
    assert!(files.len() >= GOLDEN_COUNT_MIN, "{} files", files.len());
    for (name, text) in &files {
        let (stem, extension) = name.split_once('.').unwrap();
        match (&stem[..2], extension) {
            ("y_", "json") => assert!(parse(text).is_ok(), "{name}: {}", describe(text)),
            ("n_", "json") => assert!(parse(text).is_err(), "{name}: parsed"),
            ("i_", "json") => {
                let expected = &files[&format!("{stem}.txt")];
                let expected = std::str::from_utf8(expected).unwrap().trim_end();
                assert_eq!(describe(text), expected, "{name}");
            }
            ("i_", "txt") => assert!(files.contains_key(&format!("{stem}.json")), "{name}"),
            _ => panic!("{name}: neither y_, n_ nor i_"),
        }
        assert_eq!(parse(text).is_ok(), skips(text), "{name}: skip");
    }
}

/// Marsaglia's xorshift: the same cases in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    const TOKENS: &[u8] = b"{}[]:,\"\\/u0123456789.eE+-tfn \n\t\x00\x1f\x7f\x80\xc3\xed\xff";
    let at = random.below(text.len() + 1);
    let token = TOKENS[random.below(TOKENS.len())];
    match random.below(5) {
        0 => text.insert(at, token),
        1 => text.truncate(at),
        2 if at < text.len() => text[at] = token,
        3 if at < text.len() => text[at] ^= 1 << random.below(8),
        _ => {
            let end = at + random.below((text.len() - at).min(8) + 1);
            let piece: Vec<u8> = text.drain(at..end).collect();
            let to = random.below(text.len() + 1);
            text.splice(to..to, piece);
        }
    }
}

#[test]
fn mutations_never_panic_and_skip_agrees_with_parse() {
    let seeds: Vec<Vec<u8>> = golden().into_values().filter(|t| t.len() < 400).collect();
    let mut random = Random(0x7c9_b3a5);
    let mut accepted = 0;
    for case in 0..MUTATIONS {
        let mut text = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut text, &mut random);
        }
        let shown = || format!("case {case}: {}", text.escape_ascii());
        let parsed = parse(&text);
        assert_eq!(parsed.is_ok(), skips(&text), "{}", shown());
        match parsed {
            Ok(value) => {
                accepted += 1;
                let once = written(&value);
                assert_eq!(
                    written(&parse(once.as_bytes()).unwrap()),
                    once,
                    "{}",
                    shown()
                );
                assert!(value.brief().chars().count() <= 40, "{}", shown());
            }
            Err(error) => {
                assert!(error.at <= text.len(), "{}", shown());
                assert_ne!(line_column(&text, error.at), (0, 0));
            }
        }
    }
    assert!((1_000..19_000).contains(&accepted), "{accepted} accepted");
}

/// `value` as the writer puts it.
fn written(value: &Value<'_>) -> String {
    let mut out = String::new();
    array(&mut out, |list| write_item(list, value));
    out[1..out.len() - 1].to_string()
}

fn write_item(list: &mut Array<'_>, value: &Value<'_>) {
    match &value.kind {
        Kind::String(s) => list.str(s),
        Kind::Array(items) => list.array(|inner| {
            items.iter().for_each(|item| write_item(inner, item));
        }),
        Kind::Object(members) => list.object(|inner| {
            members.iter().for_each(|m| write_member(inner, m));
        }),
        Kind::Number(text) => list.raw(text),
        Kind::Bool(_) | Kind::Null => list.raw(&value.brief()),
    };
}

fn write_member(object: &mut Object<'_>, member: &Member<'_>) {
    let key = &member.key;
    match &member.value.kind {
        Kind::Null => object.null(key),
        Kind::Bool(value) => object.bool(key, *value),
        Kind::String(s) => object.str(key, s),
        Kind::Array(items) => object.array(key, |inner| {
            items.iter().for_each(|item| write_item(inner, item));
        }),
        Kind::Object(members) => object.object(key, |inner| {
            members.iter().for_each(|m| write_member(inner, m));
        }),
        Kind::Number(text) => match member.value.u64() {
            Some(n) => object.u64(key, n),
            None => object.raw(key, text),
        },
    };
}

#[test]
fn compact_texts_are_written_back_byte_for_byte() {
    for text in [
        r#"{"seq":7,"at":1763820000123,"target":"web","ok":true,"us":12345,"c":"9a0c44e1"}"#,
        r#"[[],{},[{"a":[null,false,-1.5e+3],"":{}}],"\"\\/\u0008\n\u001f","水"]"#,
    ] {
        assert_eq!(written(&parse(text.as_bytes()).unwrap()), text);
    }
}

#[test]
fn every_character_survives_writing_and_reading() {
    let all: String = ('\0'..=char::MAX).collect();
    let mut out = String::new();
    object(&mut out, |o| {
        o.str("all", &all).str(&all, "key");
    });
    assert!(!out.bytes().any(|b| b < b' '));
    let value = parse(out.as_bytes()).unwrap();
    assert_eq!(value.get("all").unwrap().str(), Some(all.as_str()));
    assert_eq!(value.get(&all).unwrap().str(), Some("key"));
}

#[test]
fn every_prefix_of_a_record_is_an_error() {
    let record = r#"{"seq":7,"ok":true,"us":1.5e3,"n":null,"l":[1,"é"],"c":"\u00e9\\"}"#;
    for end in 0..record.len() {
        let text = &record.as_bytes()[..end];
        assert!(parse(text).is_err() && !skips(text), "{end}");
    }
    assert!(parse(record.as_bytes()).is_ok());
}

#[test]
fn positions_count_lines_and_characters_from_one() {
    let text = "ab\né水x\r\n\n".as_bytes();
    for (at, expected) in [
        (0, (1, 1)),
        (2, (1, 3)),
        (3, (2, 1)),
        (5, (2, 2)),
        (8, (2, 3)),
        (9, (2, 4)),
        (11, (3, 1)),
        (12, (4, 1)),
        (99, (4, 1)),
    ] {
        assert_eq!(line_column(text, at), expected, "{at}");
    }
    assert_eq!(line_column(b"", 0), (1, 1));
    let error = parse(b"{\n  \"a\": 1,\n  \"b\": 01\n}").unwrap_err();
    assert_eq!(error.to_string(), "number with a leading zero");
    assert_eq!(
        line_column(b"{\n  \"a\": 1,\n  \"b\": 01\n}", error.at),
        (3, 8)
    );
}
