//! The rules. Each looks at one file and says where it is broken; below, each is
//! shown a file that breaks it.

use super::source::{Source, uses};

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 100;
const BIN_LINES_MAX: usize = 30;
const DEV_DEPENDENCIES: [&str; 2] = ["assert_cmd", "tempfile"];

/// Words that no code holds.
const BANNED: [&str; 8] = [
    "todo!",
    "unimplemented!",
    "dbg!",
    "#[allow",
    "#![allow",
    "#[expect",
    "#![expect",
    "#[ignore",
];
/// Words that mark unfinished work, in comments too. (Not written out, so that
/// this file does not hold them.)
const UNFINISHED: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];
/// Words that the programs' code does not hold: a broken pipe makes these panic.
const PRINTING: [&str; 4] = ["println!", "eprintln!", "print!", "eprint!"];

/// Words that only some places may hold: what they are about, the words, the places.
const PLACES: [(&str, &[&str], &[&str]); 3] = [
    (
        "the clock",
        &["Instant::now", "SystemTime::now", "thread::sleep"],
        &["src/clock.rs"],
    ),
    (
        "sockets",
        &[
            "TcpStream::",
            "TcpListener::",
            "UdpSocket",
            "UnixStream::",
            "UnixListener::",
            "UnixDatagram",
            "ToSocketAddrs",
            "to_socket_addrs",
        ],
        // Where there are no file locks, a bound socket is the lock.
        &["src/net/", "src/probe/", "src/http/", "src/files/lock.rs"],
    ),
    (
        "files",
        &["std::fs", "fs::", "File::", "OpenOptions"],
        // A Unix socket is a file that its listener makes and guards.
        &["src/files/", "src/net/local.rs"],
    ),
];

/// The rules about a single file.
pub const ALL: [fn(&Source) -> Vec<String>; 8] = [
    opens_with_its_purpose,
    file_length,
    function_length,
    banned_words,
    unfinished_work,
    printing,
    sleeping_tests,
    places,
];

fn opens_with_its_purpose(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    if !source.raw.starts_with("//! ") {
        complaints.push(source.complain(0, "does not open with what it is for (//!)"));
    }
    let crate_root = source.path == "src/lib.rs" || source.path.starts_with("src/bin/");
    if crate_root && !source.code.contains("#![forbid(unsafe_code)]") {
        complaints.push(source.complain(0, "does not forbid unsafe code"));
    }
    complaints
}

fn file_length(source: &Source) -> Vec<String> {
    let max = match source.path.starts_with("src/bin/") {
        true => BIN_LINES_MAX,
        false => FILE_LINES_MAX,
    };
    let lines = source.raw.lines().count();
    match lines > max {
        true => vec![source.complain(0, &format!("{lines} lines, at most {max}"))],
        false => vec![],
    }
}

fn function_length(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for at in uses(&source.code, "fn ") {
        let lines = source.code[at..at + item_len(&source.code[at..])]
            .matches('\n')
            .count()
            + 1;
        if lines > FUNCTION_LINES_MAX {
            let text = format!("a function of {lines} lines, at most {FUNCTION_LINES_MAX}");
            complaints.push(source.complain(at, &text));
        }
    }
    complaints
}

/// The length of the item that `code` starts with: to its closing brace, or to
/// the semicolon or closing bracket that ends it without one.
fn item_len(code: &str) -> usize {
    let (mut braces, mut brackets) = (0, 0);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b'{' => braces += 1,
            b'}' => braces -= 1,
            _ => {}
        }
        let ended = match byte {
            b'}' => braces <= 0,
            b';' => braces == 0 && brackets == 0,
            _ => brackets < 0,
        };
        if ended {
            return at + 1;
        }
    }
    code.len()
}

fn banned_words(source: &Source) -> Vec<String> {
    let found = BANNED.iter().flat_map(|word| {
        uses(&source.code, word).map(move |at| source.complain(at, &format!("{word} is banned")))
    });
    found.collect()
}

fn unfinished_work(source: &Source) -> Vec<String> {
    let found = UNFINISHED.iter().flat_map(|word| {
        uses(&source.raw, word).map(move |at| {
            let line = 1 + source.raw[..at].matches('\n').count();
            format!("{}:{line}: {word} marks unfinished work", source.path)
        })
    });
    found.collect()
}

fn printing(source: &Source) -> Vec<String> {
    let found = PRINTING.iter().flat_map(|word| {
        let say = move |at| source.complain(at, &format!("{word} panics on a broken pipe"));
        uses(source.product(), word).map(say)
    });
    found.collect()
}

fn sleeping_tests(source: &Source) -> Vec<String> {
    uses(source.tests(), "thread::sleep")
        .map(|at| source.complain_in_tests(at, "a test that sleeps"))
        .collect()
}

fn places(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (what, words, allowed) in PLACES {
        if allowed.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for word in words {
            for at in uses(source.product(), word) {
                let text = format!("{word}: {what} only in {}", allowed.join(", "));
                complaints.push(source.complain(at, &text));
            }
        }
    }
    complaints
}

/// What `Cargo.toml` must not depend on.
pub fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut complaints = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        }
        if line.is_empty() || line.starts_with('#') || !section.contains("dependencies") {
            continue;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        let fine = match section {
            "dependencies" => line.starts_with('['),
            "dev-dependencies" => line.starts_with('[') || DEV_DEPENDENCIES.contains(&name),
            _ => false,
        };
        if !fine {
            complaints.push(format!("Cargo.toml: [{section}] {line}"));
        }
    }
    complaints
}

/// The order of the modules, as the map in `src/lib.rs` gives it.
pub struct Layers {
    /// Module names, those of the first layer first, with their layer's number.
    order: Vec<(String, usize)>,
    last_layer: usize,
}

impl Layers {
    /// Reads the map: lines of a layer's name and its modules, in a `text` block.
    pub fn read(lib: &str) -> Layers {
        let map = lib
            .lines()
            .map(|line| line.trim_start_matches("//!").trim());
        let map = map.skip_while(|line| *line != "```text").skip(1);
        let mut order = Vec::new();
        let mut last_layer = 0;
        for (layer, line) in map.take_while(|line| *line != "```").enumerate() {
            let modules = line.split_whitespace().skip(1);
            order.extend(modules.map(|module| (module.to_string(), layer)));
            last_layer = layer;
        }
        Layers { order, last_layer }
    }

    /// Modules of the crate that are not on the map.
    pub fn unlisted(&self, lib: &Source) -> Vec<String> {
        let listed = |name: &str| self.order.iter().any(|(module, _)| module == name);
        let code = lib.product();
        uses(code, "mod ")
            .map(|at| (at, name(&code[at + 4..])))
            .filter(|(_, name)| !listed(name))
            .map(|(at, name)| lib.complain(at, &format!("{name} is not on the map")))
            .collect()
    }

    /// Uses of modules that do not stand before the file's own on the map.
    pub fn check(&self, source: &Source) -> Vec<String> {
        let Some(own) = module(&source.path) else {
            return vec![];
        };
        let code = source.product();
        let used = uses(code, "crate::").flat_map(|at| {
            let after = &code[at + "crate::".len()..];
            modules_in(after).into_iter().map(move |used| (at, used))
        });
        used.filter(|(_, used)| *used != own && !self.may_use(own, used))
            .map(|(at, used)| {
                source.complain(
                    at,
                    &format!("{own} must not use {used}, see the map in src/lib.rs"),
                )
            })
            .collect()
    }

    fn may_use(&self, own: &str, used: &str) -> bool {
        let place = |name: &str| self.order.iter().position(|(module, _)| module == name);
        match (place(own), place(used)) {
            // Programs do not use each other.
            (Some(_), Some(used)) if self.order[used].1 == self.last_layer => false,
            (Some(own), Some(used)) => used < own,
            _ => false,
        }
    }
}

/// The module of the crate that a file belongs to.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    (first != "lib" && first != "bin").then_some(first)
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The modules named after `crate::`: one, or those at the outer level of `{a::{b}, c}`.
fn modules_in(after: &str) -> Vec<&str> {
    let Some(group) = after.strip_prefix('{') else {
        return vec![name(after)];
    };
    let mut depth = 1;
    let mut names = vec![name(group.trim_start())];
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 1 => names.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn each_rule_sees_what_breaks_it() {
    let long_file = format!("//! x\n{}", "//\n".repeat(700));
    let long_bin = format!("//! x\n#![forbid(unsafe_code)]\n{}", "//\n".repeat(29));
    let long_fn = format!("//! x\nfn f(a: [u8; 2]) {{\n{}}}\n", "g();\n".repeat(99));
    let fine_fn = format!("//! x\nfn f() {{\n{}}}\n", "g();\n".repeat(98)).repeat(3);
    let unfinished = format!("//! x\n// {}: later", UNFINISHED[0]);
    for (path, text, line) in [
        ("src/a.rs", "fn f() {}", 1),
        ("src/lib.rs", "//! x\n", 1),
        ("src/bin/a.rs", "//! x\n// #![forbid(unsafe_code)]", 1),
        ("src/a.rs", &long_file, 1),
        ("src/bin/a.rs", &long_bin, 1),
        ("src/a.rs", &long_fn, 2),
        ("src/a.rs", &unfinished, 2),
        ("src/a.rs", "//! x\n#[cfg(test)]\nmod tests {\ntodo!()}", 4),
        ("src/a.rs", "//! x\n#[allow(dead_code)]", 2),
        ("tests/it/a.rs", "//! x\n#[ignore]", 2),
        ("tests/it/a.rs", "//! x\n\nthread::sleep(d)", 3),
        (
            "src/clock.rs",
            "//! x\n#[cfg(test)]\nmod tests {\nthread::sleep(d)}",
            4,
        ),
        ("src/a.rs", "//! x\nfn f() { println!(); }", 2),
        ("src/a.rs", "//! x\nfn f() { std::eprint!(); }", 2),
        ("src/net/a.rs", "//! x\nlet t = Instant::now();", 2),
        ("src/agent/a.rs", "//! x\nTcpStream::connect(a)", 2),
        ("src/net/a.rs", "//! x\nuse std::fs;", 2),
        ("src/net/a.rs", "//! x\nlet f = File::open(p);", 2),
    ] {
        let source = Source::new(path, text);
        let complaints: Vec<_> = ALL.iter().flat_map(|rule| rule(&source)).collect();
        let [complaint] = &complaints[..] else {
            panic!("{path} {text}: {complaints:?}");
        };
        assert!(
            complaint.starts_with(&format!("{path}:{line}: ")),
            "{complaint}"
        );
    }
    for (path, text) in [
        ("src/a.rs", fine_fn.as_str()),
        (
            "src/a.rs",
            "//! x todo! dbg!\nlet a = \"println!\"; // fs::read",
        ),
        (
            "src/a.rs",
            "//! x\n#[cfg(test)]\nmod tests { use std::fs; fn f() { println!() } }",
        ),
        ("src/a/tests.rs", "//! x\nuse std::fs; println!();"),
        ("src/clock.rs", "//! x\nthread::sleep(d); Instant::now();"),
        (
            "src/net/a.rs",
            "//! x\nTcpListener::bind(a); MyFile::x(); offs::y();",
        ),
    ] {
        let source = Source::new(path, text);
        let complaints: Vec<_> = ALL.iter().flat_map(|rule| rule(&source)).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn the_layer_rule_sees_what_breaks_it() {
    let lib = "//! x\n//! ```text\n//! ground a b\n//! edges c d\n//! programs p q\n//! ```\n";
    let layers = Layers::read(lib);
    for (path, text, allowed) in [
        ("src/b.rs", "use crate::a;", true),
        ("src/c/x.rs", "use crate::c::y; use crate::a::Z;", true),
        ("src/p/x.rs", "use crate::{a::{q, c}, d};", true),
        ("src/lib.rs", "use crate::q;", true),
        (
            "src/a.rs",
            "#[cfg(test)]\nmod tests { use crate::p; }",
            true,
        ),
        ("src/a.rs", "use crate::b;", false),
        ("src/b.rs", "fn f() { crate::c::g() }", false),
        ("src/c/x.rs", "use crate::{a, d};", false),
        ("src/q/x.rs", "use crate::p;", false),
        ("src/q.rs", "use crate::unknown;", false),
    ] {
        let complaints = layers.check(&Source::new(path, text));
        assert_eq!(
            complaints.is_empty(),
            allowed,
            "{path} {text}: {complaints:?}"
        );
    }
    let with = |modules: &str| layers.unlisted(&Source::new("src/lib.rs", modules)).len();
    assert_eq!((with("pub mod a;"), with("pub mod a;\npub mod z;")), (0, 1));
}

#[test]
fn the_dependency_rule_sees_what_breaks_it() {
    for (manifest, allowed) in [
        (
            "[dependencies]\n\n# none\n[dev-dependencies]\ntempfile = \"3\"\n",
            true,
        ),
        ("[dependencies]\nserde = \"1\"\n", false),
        ("[dev-dependencies]\nrand = \"1\"\n", false),
        ("[dependencies.serde]\nversion = \"1\"\n", false),
        ("[build-dependencies]\ncc = \"1\"\n", false),
        ("[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n", false),
    ] {
        assert_eq!(dependencies(manifest).is_empty(), allowed, "{manifest}");
    }
}
