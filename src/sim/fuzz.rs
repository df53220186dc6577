//! Inputs that nobody would write: golden ones with bytes changed, cut, doubled and moved.
//! Whatever comes, a reader answers; it never panics, never reads more than it may, and
//! what it takes it writes again so that it reads the same.

use std::io::{Cursor, Write};
use std::path::Path;

use super::setting;
use crate::agent::simulated::check_takes;
use crate::clock::simulated::Dice;
use crate::config::{KeyRule, parse_agent_config, parse_fleet, parse_modules};
use crate::files::{self, disk, simulated};
use crate::http::reply::Reply;
use crate::http::request::{HEAD_BYTES_MAX, LINE_BYTES_MAX, Request, read_head};
use crate::journal::{Depth, Index, list_segments, walk};
use crate::json;
use crate::manager::import;
use crate::model::Wall;
use crate::net::line::{LineReader, Step};
use crate::proto::handshake::read_hello;
use crate::proto::seal::{Opener, Sealer};
use crate::proto::{Assembly, Message};
use crate::record::{self, Record};
use crate::units::Reach;

/// Cases of each kind, unless the environment says otherwise.
const CASES: u64 = 100_000;

fn data(dir: &str, ends: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let entries = std::fs::read_dir(root.join(dir)).expect(dir);
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ends));
    paths.sort();
    let read = |path: &std::path::PathBuf| std::fs::read(path).unwrap();
    paths.iter().map(read).collect()
}

/// The lines of fenced blocks in the protocol's document.
fn protocol_lines() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let bare = |line: &str| {
        line.trim_start_matches(|c: char| "MA: ".contains(c))
            .to_string()
    };
    let lines = text.lines().map(bare).filter(|line| line.starts_with('{'));
    lines.map(String::into_bytes).collect()
}

/// Another input, out of golden ones.
fn mutated(dice: &mut Dice, golden: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.one_of(golden).clone();
    for _ in 0..1 + dice.below(4) {
        let len = bytes.len() as u64;
        let at = dice.below(len + 1) as usize;
        let within = at.min(bytes.len().saturating_sub(1));
        match dice.below(8) {
            0 if len > 0 => bytes[within] ^= 1 << dice.below(8),
            1 if len > 0 => bytes[within] = dice.throw() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(
                at,
                *dice.one_of(b"\"\\{}[]:,0123456789-.eE\n\r\t \x00\x1b\xff\xc3"),
            ),
            4 => {
                let end = (at + dice.below(20) as usize).min(bytes.len());
                let part = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, part);
            }
            5 => {
                let end = (at + dice.below(20) as usize).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            6 => {
                let other = dice.one_of(golden);
                let from = dice.below(other.len() as u64 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let digits = [
                    "0",
                    "18446744073709551615",
                    "18446744073709551616",
                    "-1",
                    "1e999",
                ];
                let digits = dice.one_of(&digits).as_bytes();
                bytes.splice(at..at, digits.iter().copied());
            }
        }
    }
    bytes.truncate(200_000);
    bytes
}

/// Tries so many inputs made of `golden`; the seed of the first is told when one fails.
fn fuzz(what: &str, golden: &[Vec<u8>], mut check: impl FnMut(&[u8])) {
    assert!(!golden.is_empty(), "{what}: nothing to begin with");
    let seed = setting("TCPMON_SEED", 1);
    let cases = setting("TCPMON_CASES", CASES);
    let mut dice = Dice::new(seed);
    for case in 0..cases {
        let input = mutated(&mut dice, golden);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&input)));
        if done.is_err() {
            let shown = String::from_utf8_lossy(&input).into_owned();
            panic!("{what}, seed {seed}, case {case}: {shown:?}");
        }
    }
}

#[test]
fn json_is_read_or_refused() {
    let mut golden = data("json", ".json");
    golden.extend(protocol_lines());
    fuzz("json", &golden, |input| {
        let _ = json::parse(input);
    });
}

#[test]
fn records_and_messages_read_as_they_are_written() {
    fuzz("records", &protocol_lines(), |input| {
        // With a check that fits, so that what is inside is looked at.
        let end = input.iter().rposition(|b| *b == b',').unwrap_or(0);
        let mut sealed = String::from_utf8_lossy(&input[..end]).replace('\n', " ") + "}";
        record::seal(&mut sealed, 0);
        if let Ok(record) = Record::parse(sealed.as_bytes()) {
            let mut line = String::new();
            record.write(&mut line);
            let again = Record::parse(line.as_bytes()).expect(&line);
            let mut twice = String::new();
            again.write(&mut twice);
            assert_eq!(twice, line);
            assert_eq!(record::span(line.as_bytes()), Ok(record.span()), "{line}");
        }
        if let Ok(message) = Message::parse(input) {
            let line = message.line();
            assert_eq!(
                Message::parse(line.trim_end().as_bytes()),
                Ok(message),
                "{line}"
            );
        }
        let _ = read_hello(input);
        if let Ok(Message::Config(part)) = Message::parse(input) {
            let _ = Assembly::default().add(&part);
        }
    });
}

#[test]
fn lines_are_bounded_and_none_is_lost() {
    const MAX: usize = 64;
    let golden = protocol_lines();
    fuzz("lines", &golden, |input| {
        let mut reader = LineReader::new(Cursor::new(input), MAX);
        let mut read = Vec::new();
        while let Ok(Step::Whole) = reader.step() {
            assert!(reader.line().len() < MAX);
            read.extend_from_slice(reader.line());
            read.push(b'\n');
        }
        assert!(input.starts_with(&read));
        // It goes on to the end, or to a line that is too long.
        let rest = &input[read.len()..];
        let newline = rest
            .iter()
            .position(|b| *b == b'\n')
            .map_or(rest.len(), |at| at + 1);
        assert!(newline > MAX || !rest[..newline].ends_with(b"\n"));
    });
}

#[test]
fn sealed_lines_open_only_as_they_were_sealed() {
    let mut sealer = Sealer::new([7; 32]);
    let mut sealed = Vec::new();
    sealer.seal(b"{\"msg\":\"beat\",\"at\":1763820000000}", &mut sealed);
    sealed.pop();
    fuzz("seals", &[sealed.clone()], |input| {
        let mut plain = Vec::new();
        let opened = Opener::new([7; 32]).open(input, &mut plain);
        assert_eq!(opened.is_ok(), input == sealed);
    });
}

#[test]
fn fleet_files_are_taken_whole_or_every_problem_is_told() {
    let mut golden = data("fleet/ok", ".json");
    golden.extend(data("fleet/err", ".json"));
    golden.retain(|text| text.len() < 20_000);
    fuzz("fleet files", &golden, |input| {
        match parse_fleet(input, KeyRule::Waived) {
            Ok(fleet) => {
                let text = fleet.to_json();
                let again = parse_fleet(text.as_bytes(), KeyRule::Waived);
                assert_eq!(again.as_ref().map(|fleet| fleet.to_json()), Ok(text));
            }
            Err(problems) => assert!(!problems.is_empty()),
        }
        let _ = parse_agent_config(input, &Reach::default());
    });
}

#[test]
fn a_journal_of_anything_is_read_and_accounted_for() {
    let mut segment = String::new();
    let base = "{\"base\":\"000000000000000e\",\"agent\":\"0000000000000001\",\"order\":1,\"last\":0,\"stored\":0,\"summarised\":0,\"dropped\":0}";
    segment.push_str(base);
    record::seal(&mut segment, 0);
    for seq in 1..=12 {
        let at = segment.len();
        segment.push_str(&format!(
            "{{\"seq\":{seq},\"at\":1,\"event\":\"ended\",\"target\":\"web\"}}"
        ));
        record::seal(&mut segment, at);
    }
    let golden = [segment.into_bytes()];
    let _disk = simulated::start();
    let dir = Path::new("/journal");
    files::ensure_dir(dir).unwrap();
    let path = dir.join("00000001-000000000000000e-00000000000000000001.jsonl");
    fuzz("journals", &golden, |input| {
        disk::create(&path).unwrap().write_all(input).unwrap();
        let (index, _) = Index::open(dir, Depth::Everything).unwrap();
        let names = list_segments(dir).unwrap();
        let mut numbers = 0;
        let walked = walk(dir, &names, |found| {
            use crate::journal::Found::{Hole, Line};
            if let Line(span, _) | Hole(span, _) = found {
                numbers += u128::from(span.count());
            }
        });
        let walked = walked.unwrap();
        assert_eq!(numbers, u128::from(walked.next - 1));
        if let Some(epoch) = index.epochs().first() {
            assert_eq!(epoch.last(), walked.next - 1);
        }
    });
}

#[test]
fn requests_are_taken_whole_or_refused() {
    let golden: Vec<Vec<u8>> = [
        "GET /?q=a%20b&state=down&by=day HTTP/1.1\r\nHost: localhost:80\r\nAccept: */*\r\n\r\n",
        "HEAD http://h/probe?target=[::1]:22&module=ssh HTTP/1.1\r\nHost: h\r\nConnection: close\r\nIf-None-Match: \"x\"\r\n\r\n",
        "GET /target/web HTTP/1.0\nAuthorization: Basic YTpi\n\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    fuzz("requests", &golden, |input| {
        let mut source = input;
        while let Ok(Some(head)) = read_head(&mut source) {
            assert!(head.len() <= HEAD_BYTES_MAX + LINE_BYTES_MAX);
            if let Ok(request) = Request::parse(&head) {
                assert!(request.path.starts_with('/'));
                let reply = Reply::text(200, &request.path).tagged();
                let (status, bytes) = reply.bytes(Some(&request), false, Wall(0));
                let text = String::from_utf8_lossy(&bytes);
                let (head, _) = text.split_once("\r\n\r\n").expect("a head");
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")));
            }
        }
    });
}

#[test]
fn lists_of_targets_and_modules_are_taken_or_refused() {
    let golden: Vec<Vec<u8>> = [
        r#"[{"targets":["10.0.0.7:5432","[::1]:22"],"labels":{"job":"db","tags":",a,b,","dc":"x"}}]"#,
        "web w.example:80 # http\n\ndb 10.0.0.7:5432\n",
        r#"{"modules":[{"name":"ssh","script":"ssh","timeout":"5s","family":"4"},{"name":"shut","want":"closed"}]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    fuzz("lists", &golden, |input| {
        if let Ok(text) = import::tried(input) {
            assert!(
                parse_fleet(text.as_bytes(), KeyRule::Waived).is_ok(),
                "{text}"
            );
        }
        if let Err(problems) = parse_modules(input) {
            assert!(!problems.is_empty());
        }
    });
}

#[test]
fn arguments_of_a_check_are_taken_or_refused() {
    let golden: Vec<Vec<u8>> = [
        "-H 127.0.0.1 -p 80 -w 1 -c 2 -t 3",
        "-H ::1 -p 22 -e SSH -q QUIT -m 10 -d 1 -r crit -M warn",
        "--hostname=h --port=1 --expect=a --expect=b -A -E -s \\r\\n -j",
        "-4 -H h -p 443 -v -v -S -D 30,14 --refuse ok --mismatch=ok --jail",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    fuzz("arguments", &golden, |input| {
        let words = input.split(|byte| *byte == b' ').map(<[u8]>::to_vec);
        let _ = check_takes(words.collect());
    });
}
