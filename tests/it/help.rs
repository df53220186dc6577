//! Golden help texts: `tests/data/help/PROGRAM[-SUBCOMMAND].txt` is what
//! `PROGRAM [SUBCOMMAND] --help` prints. A file that exists (be it empty) is
//! checked; `TCPMON_BLESS=1 cargo test --test it help` writes them anew.

use std::fs;
use std::path::Path;

use crate::support::{program, run};

const PROGRAMS: [&str; 3] = ["tcpmon-server", "tcpmon-agent", "tcpmon-manager"];

#[test]
fn help_texts_are_the_golden_ones() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/help");
    let bless = std::env::var_os("TCPMON_BLESS").is_some();
    let mut checked = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
        let (name, subcommand) = split(&stem);
        let done = run(program(name).args(subcommand).arg("--help"));
        // A plugin's help is no success: -h is easily typed for -H.
        let code = if stem == "tcpmon-agent-check" { 3 } else { 0 };
        let wide = done
            .code(code)
            .stdout
            .lines()
            .find(|l| l.chars().count() > 80);
        assert_eq!(wide, None, "{stem}: wider than 80 columns");
        if bless {
            fs::write(&path, &done.stdout).unwrap();
        }
        assert_eq!(done.stdout, fs::read_to_string(&path).unwrap(), "{stem}");
        checked.push(stem);
    }
    assert!(checked.iter().any(|stem| stem == "tcpmon-server"));
}

/// `tcpmon-manager-watch` is `tcpmon-manager watch`.
fn split(stem: &str) -> (&str, Option<&str>) {
    for name in PROGRAMS {
        match stem.strip_prefix(name) {
            Some("") => return (name, None),
            Some(rest) => return (name, rest.strip_prefix('-')),
            None => {}
        }
    }
    panic!("tests/data/help/{stem}.txt names no program")
}

#[test]
fn versions_are_those_of_the_package() {
    let done = run(program("tcpmon-server").arg("--version"));
    let expected = format!("tcpmon-server {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(done.code(0).stdout, expected);
}
