//! The repository's own habits, checked like any other behaviour: see
//! `docs/style.md`. `source` reads a file, `rules` judges it, and each rule has
//! a test that shows it a broken file, because a rule that sees nothing passes.

mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::Layers;
use source::Source;

/// What may stand at the top of the repository, beside files whose name starts with a dot.
const TOP: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "Makefile",
    "README.md",
    "docs",
    "src",
    "target",
    "tests",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `src` and `tests`.
fn sources() -> Vec<Source> {
    let mut waiting = vec![root().join("src"), root().join("tests")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        Source::new(&name.replace('\\', "/"), &fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

#[test]
fn every_file_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 20, "the walk found too little");
    let mut complaints = Vec::new();
    for source in &sources {
        for rule in rules::ALL {
            complaints.extend(rule(source));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn modules_use_only_those_above_them() {
    let sources = sources();
    let lib = sources.iter().find(|s| s.path == "src/lib.rs").unwrap();
    let layers = Layers::read(&lib.raw);
    let mut complaints = layers.unlisted(lib);
    complaints.extend(sources.iter().flat_map(|source| layers.check(source)));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn nothing_is_depended_on_but_what_tests_need() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let complaints = rules::dependencies(&manifest);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_top_level_stays_small() {
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.starts_with('.') || TOP.contains(&name.as_str());
        assert!(known, "{name} does not belong at the top level");
    }
}
