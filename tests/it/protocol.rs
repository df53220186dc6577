//! `docs/protocol.md` holds: its transcripts are played against a real agent, its
//! example lines are read and written back byte for byte.
//!
//! In a transcript `M:` lines are sent, `A:` lines are awaited, `<end>` is the end of the
//! connection, and another `M:` after the manager's own end connects anew. What is
//! written `<word>` differs from run to run: see [`shape`]. Records are compared with
//! records and messages with messages, each in order; how the two mix is not promised.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tcpmon::proto::{Message, content_hash};
use tcpmon::record::Record;

use crate::support::{PATIENCE, Running, program};

const MESSAGES: [&str; 10] = [
    "hello", "bye", "beat", "resume", "now", "epoch", "ack", "config", "applied", "rejected",
];
const EVENTS: [&str; 8] = [
    "start", "clock", "began", "ended", "skip", "gap", "summary", "lost",
];

fn document(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of each fenced block of this language, with the line number where it starts.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<(usize, Vec<&'t str>)> {
    let opening = format!("```{language}");
    let mut lines = text.lines().zip(1..);
    let mut found = Vec::new();
    while let Some((_, at)) = lines.find(|(line, _)| *line == opening) {
        let block = lines.by_ref().map(|(line, _)| line);
        found.push((at, block.take_while(|line| *line != "```").collect()));
    }
    found
}

#[test]
fn every_example_is_what_the_programs_write() {
    let text = document("docs/protocol.md");
    let mut seen = String::new();
    for (at, lines) in blocks(&text, "json") {
        for line in lines {
            assert_eq!(rewritten(line), format!("{line}\n"), "block at line {at}");
            seen += line;
        }
    }
    for name in MESSAGES {
        assert!(seen.contains(&format!("{{\"msg\":\"{name}\"")), "{name}");
    }
    for name in EVENTS {
        assert!(seen.contains(&format!("\"event\":\"{name}\"")), "{name}");
    }
}

/// A line, read and written again.
fn rewritten(line: &str) -> String {
    if line.starts_with("{\"seq\":") {
        let record = Record::parse(line.as_bytes());
        let record = record.unwrap_or_else(|damage| panic!("{line}: {damage}"));
        let mut out = String::new();
        record.write(&mut out);
        return out;
    }
    let message = Message::parse(line.as_bytes());
    let message = message.unwrap_or_else(|text| panic!("{line}: {text}"));
    if let Message::Config(part) = &message {
        assert_eq!(part.revision.hash, content_hash(&part.text), "{line}");
    }
    message.line()
}

#[test]
fn records_shown_in_other_documents_are_whole() {
    for name in ["README.md", "docs/architecture.md", "docs/operations.md"] {
        for line in document(name).lines() {
            if line.starts_with("{\"seq\":") {
                assert_eq!(rewritten(line), format!("{line}\n"), "{name}");
            }
        }
    }
}

#[test]
fn an_agent_plays_every_transcript() {
    let text = document("docs/protocol.md");
    let transcripts = blocks(&text, "transcript");
    assert!(transcripts.len() >= 8, "too few transcripts were found");
    for (at, lines) in transcripts {
        let dir = tempfile::tempdir().unwrap();
        let mut command = program("tcpmon-agent");
        command.args(["--listen", "127.0.0.1:0", "--name", "attic", "--data"]);
        let mut agent = Running::start(command.arg(dir.path()));
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = target.local_addr().unwrap().port().to_string();
        let mut play = Play {
            agent: agent.listening(),
            at,
            bound: HashMap::from([("port".to_string(), port)]),
            connection: None,
        };
        lines.into_iter().for_each(|line| play.line(line));
    }
}

/// One transcript under way.
struct Play {
    agent: SocketAddr,
    /// The document's line, to tell a failure by.
    at: usize,
    /// What placeholders that stay the same stand for.
    bound: HashMap<String, String>,
    connection: Option<Connection>,
}

struct Connection {
    reader: BufReader<TcpStream>,
    /// Came while the other kind was awaited.
    records: VecDeque<String>,
    messages: VecDeque<String>,
}

impl Play {
    fn line(&mut self, line: &str) {
        self.at += 1;
        match (line.split_at_checked(3), line) {
            (_, "M: <end>") => drop(self.connection.take()),
            (_, "A: <end>") => self.await_end(),
            (Some(("M: ", text)), _) => self.send(text),
            (Some(("A: ", text)), _) => self.expect(text),
            _ => panic!("line {}: neither M: nor A:", self.at),
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.get_or_insert_with(|| {
            let stream = TcpStream::connect(self.agent).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Connection {
                reader: BufReader::new(stream),
                records: VecDeque::new(),
                messages: VecDeque::new(),
            }
        })
    }

    /// Sends a manager's line with its placeholders filled in; `<N bytes>` is so many without a newline.
    fn send(&mut self, text: &str) {
        let count = text
            .strip_prefix('<')
            .and_then(|t| t.strip_suffix(" bytes>"));
        let bytes = match count {
            Some(count) => vec![b'x'; count.parse().unwrap()],
            None => format!("{}\n", self.filled(text)).into_bytes(),
        };
        let stream = self.connection().reader.get_mut();
        stream.write_all(&bytes).unwrap();
        if count.is_some() {
            // The agent may have ended it already: that is what such a line is for.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn filled(&mut self, text: &str) -> String {
        let mut text = text.to_string();
        for (word, value) in &self.bound {
            text = text.replace(&format!("<{word}>"), value);
        }
        // A hash that is not bound yet is that of the configuration in this line.
        if let (Some((_, rest)), Some((_, config))) = (
            text.split_once("\"hash\":\"<"),
            text.split_once("\"text\":\""),
        ) {
            let word = rest.split('>').next().unwrap_or_default().to_string();
            let config = config.trim_end_matches("\"}").replace("\\\"", "\"");
            let hash = content_hash(&config).to_string();
            text = text.replace(&format!("<{word}>"), &hash);
            self.bound.insert(word, hash);
        }
        assert!(!text.contains('<'), "line {}: not filled: {text}", self.at);
        text
    }

    fn expect(&mut self, pattern: &str) {
        let at = self.at;
        let wants_record = pattern.starts_with("{\"seq\":");
        let wants_beat = pattern.starts_with("{\"msg\":\"beat\"");
        let line = loop {
            let line = self.connection().next(wants_record);
            let line = line.unwrap_or_else(|| panic!("line {at}: ended before {pattern}"));
            if wants_beat || !line.starts_with("{\"msg\":\"beat\"") {
                break line;
            }
        };
        if let Err(why) = fits(pattern, &line, &mut self.bound) {
            panic!("docs/protocol.md:{at}: {why}\nshown: {pattern}\ncame:  {line}");
        }
        if wants_record {
            Record::parse(line.as_bytes()).unwrap_or_else(|damage| panic!("{line}: {damage}"));
        }
    }

    fn await_end(&mut self) {
        let at = self.at;
        let rest = self.connection().next(false);
        assert_eq!(rest, None, "docs/protocol.md:{at}: expected the end");
        self.connection = None;
    }
}

impl Connection {
    /// The next record or the next message; `None` at the end of the connection.
    fn next(&mut self, record: bool) -> Option<String> {
        loop {
            let waiting = match record {
                true => &mut self.records,
                false => &mut self.messages,
            };
            if let Some(line) = waiting.pop_front() {
                return Some(line);
            }
            let line = self.read()?;
            match line.starts_with("{\"seq\":") {
                true => self.records.push_back(line),
                false => self.messages.push_back(line),
            }
        }
    }

    fn read(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_string()),
            // A connection closed with bytes unread ends by a reset.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("waited in vain for the agent: {error}"),
        }
    }
}

/// What a placeholder may stand for.
struct Shape {
    allowed: fn(char) -> bool,
    /// Characters, when their number is fixed.
    len: Option<usize>,
    /// Whether it stands for the same throughout a transcript.
    bound: bool,
}

fn shape(word: &str) -> Option<Shape> {
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let (allowed, len, bound): (fn(char) -> bool, _, _) = match word {
        "agent" | "epoch" | "instance" | "hash" | "hash2" => (hex, Some(16), true),
        "crc" => (hex, Some(8), false),
        "port" => (|c| c.is_ascii_digit(), None, true),
        "ms" | "us" | "n" => (|c| c.is_ascii_digit(), None, false),
        "version" | "boot" => (|c| c != '"', None, false),
        _ => return None,
    };
    Some(Shape {
        allowed,
        len,
        bound,
    })
}

/// Whether `line` is what `pattern` shows; learns what bound placeholders stand for.
fn fits(pattern: &str, line: &str, bound: &mut HashMap<String, String>) -> Result<(), String> {
    let (mut pattern, mut line) = (pattern, line);
    while let Some((literal, rest)) = pattern.split_once('<') {
        let (word, after) = rest
            .split_once('>')
            .ok_or("a placeholder without its end")?;
        let shape = shape(word).ok_or(format!("unknown placeholder <{word}>"))?;
        line = line
            .strip_prefix(literal)
            .ok_or(format!("not as before <{word}>"))?;
        let end = line.find(|c| !(shape.allowed)(c)).unwrap_or(line.len());
        let (value, tail) = line.split_at(end);
        if shape.len.is_some_and(|len| len != value.len()) {
            return Err(format!("{value:?} is no <{word}>"));
        }
        if shape.bound {
            let known = bound.entry(word.to_string()).or_insert(value.to_string());
            if known != value {
                return Err(format!("<{word}> was {known}, now {value}"));
            }
        }
        (pattern, line) = (after, tail);
    }
    match pattern == line {
        true => Ok(()),
        false => Err(format!("expected {pattern:?}, found {line:?}")),
    }
}

#[test]
fn a_line_that_differs_from_what_is_shown_is_seen() {
    let mut bound = HashMap::new();
    let mut judge = |pattern, line| fits(pattern, line, &mut bound).is_ok();
    assert!(judge("a <epoch> b <ms>", "a 0123456789abcdef b 17"));
    assert!(judge("<epoch>", "0123456789abcdef"));
    for (pattern, line) in [
        ("<epoch>", "0123456789abcdee"),
        ("<crc>", "0123456"),
        ("a", "b"),
        ("a", "ab"),
        ("a <ms>!", "b 1!"),
        ("a <ms>!", "a 1"),
        ("<nothing>", "x"),
    ] {
        assert!(!judge(pattern, line), "{pattern} {line}");
    }
}
