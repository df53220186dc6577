//! A Rust file as the rules see it: with comments and the inside of literals
//! blanked, so that a word in a text is no use of it, and with the line where
//! its tests begin. Lines and columns stay where they were.

/// A file of the repository.
pub struct Source {
    /// From the top of the repository, with `/`.
    pub path: String,
    pub raw: String,
    /// `raw` with comments and the inside of literals blanked.
    pub code: String,
    /// Where in `code` the tests begin: its end when there are none.
    tests_at: usize,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Source {
        let code = blanked(raw);
        // A module of tests may be a file of its own; so are simulated edges.
        let starts = |place: &&str| path.starts_with(*place);
        let ends = |name: &&str| path.ends_with(*name);
        let only_tests = ["tests/", "src/sim/"].iter().any(starts)
            || ["/tests.rs", "/simulated.rs"].iter().any(ends);
        let tests_at = if only_tests { 0 } else { tests_at(&code) };
        Source {
            path: path.to_string(),
            raw: raw.to_string(),
            code,
            tests_at,
        }
    }

    /// The code that goes into the programs.
    pub fn product(&self) -> &str {
        &self.code[..self.tests_at]
    }

    /// The code of tests; starts at `tests_at`, so find it with `complain_at`.
    pub fn tests(&self) -> &str {
        &self.code[self.tests_at..]
    }

    /// A complaint about the place `at` of the whole file.
    pub fn complain(&self, at: usize, text: &str) -> String {
        let line = 1 + self.code[..at].matches('\n').count();
        format!("{}:{line}: {text}", self.path)
    }

    /// A complaint about the place `at` of [`Source::tests`].
    pub fn complain_in_tests(&self, at: usize, text: &str) -> String {
        self.complain(self.tests_at + at, text)
    }
}

/// The module of tests closes a file.
fn tests_at(code: &str) -> usize {
    code.match_indices("#[cfg(test)]")
        .map(|(at, mark)| (at, code[at + mark.len()..].trim_start()))
        .find(|(_, after)| after.starts_with("mod "))
        .map_or(code.len(), |(at, _)| at)
}

/// Every place of `word` in `code` that does not continue a longer word.
pub fn uses<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let found = code.match_indices(word).map(|(at, _)| at);
    let in_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    found.filter(move |at| {
        *at == 0 || !in_word(code.as_bytes()[*at - 1]) || !in_word(word.as_bytes()[0])
    })
}

/// The file with comments and the inside of literals turned into spaces.
fn blanked(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let len = comment(rest).or_else(|| literal(rest, before));
        let taken = &rest[..len.unwrap_or(first.len_utf8())];
        match len {
            Some(_) => blank(taken, &mut out),
            None => out.push(first),
        }
        before = first;
        rest = &rest[taken.len()..];
    }
    out
}

fn blank(text: &str, out: &mut String) {
    for byte in text.bytes() {
        out.push(if byte == b'\n' { '\n' } else { ' ' });
    }
}

/// The length of the comment that `text` starts with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0;
    for at in 0..text.len() - 1 {
        match &text.as_bytes()[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 2);
        }
    }
    Some(text.len())
}

/// The length of the text or character literal that `text` starts with.
fn literal(text: &str, before: char) -> Option<usize> {
    if let Some(inside) = text.strip_prefix('"') {
        return Some(1 + quoted(inside, '"'));
    }
    let starts_word = !before.is_alphanumeric() && before != '_';
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    if let Some(raw) = raw.filter(|_| starts_word) {
        let hashes = raw.bytes().take_while(|b| *b == b'#').count();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = text.len() - raw.len() + hashes + 1;
            let inside = text[start..].find(&end).map(|at| at + end.len());
            return Some(start + inside.unwrap_or(text.len() - start));
        }
    }
    let inside = text.strip_prefix('\'')?;
    let mut chars = inside.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', _) => Some(1 + quoted(inside, '\'')),
        (one, '\'') => Some(one.len_utf8() + 2),
        _ => None, // A lifetime.
    }
}

/// Bytes up to and with the closing quote.
fn quoted(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

#[test]
fn comments_and_literals_are_blanked() {
    for (raw, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* /* b */ */ c", "a               c"),
        (r#"f("a\"b") g"#, "f(      ) g"),
        ("f(r\"a\\\") g", "f(     ) g"),
        ("r#\"a\"b\"# g", "         g"),
        ("('\"', 'x', '\\'', b'\\n') g", "(   ,    ,     , b    ) g"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("var\"x\"", "var   "),
        ("\"é\n\" g", "   \n  g"),
    ] {
        assert_eq!(blanked(raw), code, "{raw}");
    }
}
