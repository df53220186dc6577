//! The command line of `check`, read the way getopt_long(3) reads it for `check_tcp`:
//! short options with their values attached or apart and in clusters, long ones with
//! `=` or apart and cut as short as they stay clear; the last of several counts; options
//! end at the first word that is none. Pure: no name is looked up here.

use crate::cli::{Opt, Program};
use crate::units::Family;

/// Where is probed, and what the timeout is, unless told otherwise.
const HOST_DEFAULT: &str = "127.0.0.1";
const TIMEOUT_DEFAULT_S: u32 = 10;
/// The most of a threshold that is read as a number, in bytes.
const NUMBER_LEN_MAX: usize = 64;

/// `check` as its help shows it; an option's name is its short and its long form.
pub const PROGRAM: Program = Program {
    name: "tcpmon-agent check",
    about: "Probes a TCP port once, now, with the options, the output and the exit codes of monitoring-plugins' check_tcp.",
    usage: &["tcpmon-agent check -H HOST -p PORT [OPTION]..."],
    opts: &OPTS,
    more: MORE,
    free_max: 1,
};

const OPTS: [Opt; 18] = [
    opt("-H, --hostname", "HOST", "name or IP address to connect to"),
    opt("-p, --port", "PORT", "port to connect to"),
    opt("-4, --use-ipv4", "", "connect over IPv4 only"),
    opt("-6, --use-ipv6", "", "connect over IPv6 only"),
    opt(
        "-w, --warning",
        "SECONDS",
        "warning when it took longer, such as 0.2",
    ),
    opt("-c, --critical", "SECONDS", "critical when it took longer"),
    opt(
        "-t, --timeout",
        "SECONDS",
        "critical when it is not over by then; 10 unless given",
    ),
    opt(
        "-E, --escape",
        "",
        r"let \n \r \t \\ stand for bytes in the -s and -q that follow",
    ),
    opt("-s, --send", "TEXT", "send this once connected"),
    opt(
        "-e, --expect",
        "TEXT",
        "wait for an answer with this in it; may be repeated, then any will do",
    ),
    opt("-A, --all", "", "every -e must be in the answer"),
    opt(
        "-q, --quit",
        "TEXT",
        r"send this at the end, without -E with \r\n after it",
    ),
    opt(
        "-d, --delay",
        "SECONDS",
        "wait so long between sending and reading; does not count as response time",
    ),
    opt(
        "-m, --maxbytes",
        "BYTES",
        "read no further once so much has come, whatever it is",
    ),
    opt(
        "-r, --refuse",
        "STATE",
        "ok, warn or crit: what a failed connect is; crit unless given",
    ),
    opt(
        "-M, --mismatch",
        "STATE",
        "ok, warn or crit: what an answer without -e in it is; warn unless given",
    ),
    opt(
        "-j, --jail",
        "",
        "leave what the peer said out of the output",
    ),
    opt("-v, --verbose", "", "tell each step, with its time"),
];

const MORE: &str = "\
exit codes:
  0  ok
  1  warning
  2  critical
  3  wrong command line; also after --help and --version, so that an -h in place of -H never passes for ok

Where it differs from check_tcp: docs/check.md.
";

const fn opt(name: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        value,
        default: "",
        help,
        repeat: false,
    }
}

/// What check_tcp also knows, and whether it takes a value there.
const SILENT: [(&str, Takes); 9] = [
    ("-h, --help", Takes::Nothing),
    ("-V, --version", Takes::Nothing),
    ("-C, --critical-codes", Takes::Value),
    ("-W, --warning-codes", Takes::Value),
    ("--protocol", Takes::Value),
    ("-S, --ssl", Takes::Nothing),
    ("--sni", Takes::Value),
    ("-D, --certificate", Takes::Value),
    ("--extra-opts", Takes::Maybe),
];

/// Spellings of old that stand for others.
const OLD: [(&[u8], &[u8]); 3] = [(b"-to", b"-t"), (b"-wt", b"-w"), (b"-ct", b"-c")];

/// How a check ends, as monitoring systems know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Asked {
    Check(Box<Options>),
    Help,
    Version,
}

/// One check.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub host: String,
    /// Whether -H gave the host: only then the output names it.
    pub host_named: bool,
    /// 0, where nothing listens, when none was given.
    pub port: u16,
    pub family: Family,
    pub warning_s: Option<f64>,
    pub critical_s: Option<f64>,
    pub timeout_s: u32,
    pub send: Option<Vec<u8>>,
    pub expect: Vec<Vec<u8>>,
    pub needed: Needed,
    pub quit: Option<Vec<u8>>,
    pub delay_s: u32,
    pub bytes_max: Option<usize>,
    /// What a failed connect is.
    pub refusal: State,
    pub mismatch: State,
    pub jail: bool,
    pub verbose: bool,
}

/// How many of the expected texts must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    Any,
    All,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            host: HOST_DEFAULT.to_string(),
            host_named: false,
            port: 0,
            family: Family::Any,
            warning_s: None,
            critical_s: None,
            timeout_s: TIMEOUT_DEFAULT_S,
            send: None,
            expect: Vec::new(),
            needed: Needed::Any,
            quit: None,
            delay_s: 0,
            bytes_max: None,
            refusal: State::Critical,
            mismatch: State::Warning,
            jail: false,
            verbose: false,
        }
    }
}

/// Reads the arguments that follow `check`, each as the bytes it came as.
///
/// # Errors
/// What is wrong with the first that is.
pub fn read(mut args: Vec<Vec<u8>>) -> Result<Asked, String> {
    if args.is_empty() {
        return Err("nothing to do: -H HOST -p PORT".into());
    }
    for arg in &mut args {
        if let Some((_, now)) = OLD.iter().find(|(old, _)| arg == old) {
            *arg = now.to_vec();
        }
    }
    let mut reader = Reader::default();
    let mut args = args.into_iter().peekable();
    if let Some(host) = args.next_if(|first| !matches!(dashes(first), 1 | 2)) {
        reader.options.host = lossy(&host);
    }
    while let Some(word) = args.next_if(|word| word.len() > 1 && word[0] == b'-') {
        if word == b"--" {
            break;
        }
        let asked = match word.strip_prefix(b"--") {
            Some(long) => reader.long(long, &mut args)?,
            None => reader.cluster(&word[1..], &mut args)?,
        };
        if let Some(asked) = asked {
            return Ok(asked);
        }
    }
    if let Some(free) = args.next().filter(|_| !reader.options.host_named) {
        reader.options.host = lossy(&free);
    }
    match reader.options.host.starts_with('/') {
        true => Err(format!(
            "{}: Unix sockets are not supported",
            reader.options.host
        )),
        false => Ok(Asked::Check(Box::new(reader.options))),
    }
}

fn dashes(word: &[u8]) -> usize {
    word.iter().take_while(|b| **b == b'-').count()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// Only one attached with `=`.
    Maybe,
}

/// One option as it may be spelt.
struct Known {
    short: Option<u8>,
    long: &'static str,
    takes: Takes,
}

fn known() -> impl Iterator<Item = Known> {
    let shown = OPTS.iter().map(|opt| match opt.value.is_empty() {
        true => (opt.name, Takes::Nothing),
        false => (opt.name, Takes::Value),
    });
    shown.chain(SILENT).map(|(name, takes)| {
        let (short, long) = name.split_once(", ").unwrap_or(("", name));
        Known {
            short: short.as_bytes().get(1).copied(),
            long: long.trim_start_matches('-'),
            takes,
        }
    })
}

/// The long option that `name` spells, be it by a beginning that fits no other.
fn by_long(name: &str) -> Result<Known, String> {
    let mut fitting: Vec<Known> = known().filter(|k| k.long.starts_with(name)).collect();
    if let Some(exact) = fitting.iter().position(|k| k.long == name) {
        return Ok(fitting.swap_remove(exact));
    }
    match fitting.len() {
        0 => Err(format!("unknown option --{name}")),
        1 => Ok(fitting.remove(0)),
        _ => {
            let names: Vec<_> = fitting.iter().map(|k| format!("--{}", k.long)).collect();
            Err(format!("--{name} may be any of {}", names.join(", ")))
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    options: Options,
    /// Whether -E came before.
    escape: bool,
}

impl Reader {
    fn long(
        &mut self,
        word: &[u8],
        rest: &mut impl Iterator<Item = Vec<u8>>,
    ) -> Result<Option<Asked>, String> {
        let equals = word.iter().position(|b| *b == b'=');
        let (name, attached) = match equals {
            Some(at) => (&word[..at], Some(word[at + 1..].to_vec())),
            None => (word, None),
        };
        let option = by_long(&lossy(name))?;
        let long = option.long;
        let value = match (option.takes, attached) {
            (Takes::Nothing, Some(_)) => return Err(format!("--{long} takes no value")),
            (Takes::Value, None) => rest
                .next()
                .ok_or_else(|| format!("--{long} needs a value"))?,
            (_, attached) => attached.unwrap_or_default(),
        };
        self.set(long, &value)
    }

    /// Short options in one word; the first that takes a value takes the rest of it.
    fn cluster(
        &mut self,
        letters: &[u8],
        rest: &mut impl Iterator<Item = Vec<u8>>,
    ) -> Result<Option<Asked>, String> {
        for (at, letter) in letters.iter().enumerate() {
            let shown = || lossy(&[*letter]);
            let Some(option) = known().find(|k| k.short == Some(*letter)) else {
                return Err(format!("unknown option -{}", shown()));
            };
            if option.takes == Takes::Nothing {
                if let Some(asked) = self.set(option.long, b"")? {
                    return Ok(Some(asked));
                }
                continue;
            }
            let value = match &letters[at + 1..] {
                b"" => rest
                    .next()
                    .ok_or_else(|| format!("-{} needs a value", shown()))?,
                attached => attached.to_vec(),
            };
            return self.set(option.long, &value);
        }
        Ok(None)
    }

    fn set(&mut self, long: &str, value: &[u8]) -> Result<Option<Asked>, String> {
        let options = &mut self.options;
        match long {
            "help" => return Ok(Some(Asked::Help)),
            "version" => return Ok(Some(Asked::Version)),
            "hostname" => (options.host, options.host_named) = (lossy(value), true),
            "port" => options.port = port(value)?,
            "use-ipv4" => options.family = Family::V4,
            "use-ipv6" => options.family = Family::V6,
            "warning" => options.warning_s = Some(number(value)),
            "critical" => options.critical_s = Some(number(value)),
            "timeout" => options.timeout_s = whole(long, value)?,
            "escape" => self.escape = true,
            "send" if self.escape => options.send = Some(unescape(value)),
            "send" => options.send = Some(value.to_vec()),
            "expect" => options.expect.push(value.to_vec()),
            "all" => options.needed = Needed::All,
            "quit" if self.escape => options.quit = Some(unescape(value)),
            "quit" => options.quit = Some([value, b"\r\n"].concat()),
            "delay" => options.delay_s = whole(long, value)?,
            "maxbytes" => options.bytes_max = Some(whole(long, value)? as usize),
            "refuse" => options.refusal = state(long, value)?,
            "mismatch" => options.mismatch = state(long, value)?,
            "jail" => options.jail = true,
            "verbose" => options.verbose = true,
            "ssl" | "sni" | "certificate" => {
                return Err(format!("--{long}: TLS is not supported"));
            }
            "extra-opts" => return Err("--extra-opts is not supported".into()),
            // The HTTP codes and the protocol: check_tcp takes and ignores them.
            _ => {}
        }
        Ok(None)
    }
}

/// A whole number above 0 at the beginning of `value`, which holds digits, blanks and
/// minus signs only.
fn whole(long: &str, value: &[u8]) -> Result<u32, String> {
    let expected = || {
        format!(
            "--{long}: expected a whole number above 0, found \"{}\"",
            lossy(value)
        )
    };
    let fine = |b: &u8| b.is_ascii_digit() || matches!(b, b' ' | b'-');
    if !value.iter().all(fine) {
        return Err(expected());
    }
    let text = lossy(value);
    let text = text.trim_start();
    let digits = text.find([' ', '-']).unwrap_or(text.len());
    match text[..digits].parse::<i32>() {
        Ok(n) if n > 0 => Ok(n.unsigned_abs()),
        _ => Err(expected()),
    }
}

fn port(value: &[u8]) -> Result<u16, String> {
    let port = whole("port", value)?;
    u16::try_from(port).map_err(|_| format!("--port: expected at most 65535, found \"{port}\""))
}

/// The number at the beginning of `value`, as strtod(3) finds it; 0 when there is none.
fn number(value: &[u8]) -> f64 {
    let head = lossy(&value[..value.len().min(NUMBER_LEN_MAX)]);
    let head = head.trim_start();
    (0..=head.len())
        .rev()
        .find_map(|len| head.get(..len)?.parse().ok())
        .unwrap_or(0.0)
}

fn state(long: &str, value: &[u8]) -> Result<State, String> {
    match value {
        [b'o', b'k', ..] => Ok(State::Ok),
        [b'w', b'a', b'r', b'n', ..] => Ok(State::Warning),
        [b'c', b'r', b'i', b't', ..] => Ok(State::Critical),
        _ => Err(format!(
            "--{long}: expected ok, warn or crit, found \"{}\"",
            lossy(value)
        )),
    }
}

/// The bytes a text with backslashes stands for; before any other letter a backslash
/// stands for nothing.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => bytes.extend(rest.next().map(|after| match after {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => *other,
            })),
            _ => bytes.push(*byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
