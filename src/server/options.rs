//! What `tcpmon-server` can be told: its options and what their values mean.
//! Nothing is opened or started here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::talk::{Mode, Plan};
use crate::cli::{self, Args, Opt, Program};
use crate::units;

/// Most listening addresses, over all ranges.
const LISTENERS_MAX: usize = 10_000;
/// Most connections that may be allowed at once.
const CONNECTIONS_MAX: usize = 100_000;
/// Longest banner, in bytes.
const BANNER_LEN_MAX: usize = 4096;

const LISTEN_DEFAULT: &str = "127.0.0.1:65433";
const BANNER_DEFAULT: &str = r"tcpmon-server ready\r\n";
const CONNECTIONS_DEFAULT: &str = "1024";
const IDLE_DEFAULT: &str = "60s";

/// The program as its help shows it.
pub const PROGRAM: Program = Program {
    name: "tcpmon-server",
    about: "A TCP server to monitor, with fault modes for rehearsing failures.",
    usage: &["tcpmon-server [OPTION]..."],
    opts: &[
        Opt {
            name: "--listen",
            value: "ADDR[-LASTPORT]",
            default: LISTEN_DEFAULT,
            help: "where to listen: IP:PORT, or a range such as 127.0.0.1:9000-9099; \
                   port 0 picks a free one",
            repeat: true,
        },
        Opt {
            name: "--mode",
            value: "MODE",
            default: "echo",
            help: "what to do with a connection, see below",
            repeat: false,
        },
        Opt {
            name: "--banner",
            value: "TEXT",
            default: BANNER_DEFAULT,
            help: r"what mode banner says; \r \n \t \\ and \xHH stand for bytes",
            repeat: false,
        },
        Opt {
            name: "--delay",
            value: "D",
            default: "0s",
            help: "wait before each answer (mode close: before closing)",
            repeat: false,
        },
        Opt {
            name: "--fail-every",
            value: "N",
            default: "",
            help: "drop every Nth connection of each address, see below",
            repeat: false,
        },
        Opt {
            name: "--flap",
            value: "UP,DOWN",
            default: "",
            help: "listen for UP, refuse connections for DOWN, and so on, such as 30s,5s",
            repeat: false,
        },
        Opt {
            name: "--max-connections",
            value: "N",
            default: CONNECTIONS_DEFAULT,
            help: "connections served at once; more wait unanswered",
            repeat: false,
        },
        Opt {
            name: "--idle-timeout",
            value: "D",
            default: IDLE_DEFAULT,
            help: "close a connection on which nothing moved for so long",
            repeat: false,
        },
        Opt {
            name: "--stats",
            value: "FILE",
            default: "",
            help: "keep the number of connections of each address in FILE, as one line \
                   of JSON, replaced at most once a second",
            repeat: false,
        },
        Opt {
            name: "--quiet",
            value: "",
            default: "",
            help: "do not report connections on stderr",
            repeat: false,
        },
    ],
    more: MORE,
    free_max: 0,
};

const MORE: &str = "\
modes:
  echo     send back what comes
  banner   send a line at once, then read and ignore what comes
  discard  read and ignore what comes
  silent   say nothing; stop reading after 64 KiB
  close    close at once
  garbage  send 256 random bytes at once, and again whenever something comes

--fail-every: the system completes a connect before a program sees it, so the \
peer's connect succeeds. The connection is then closed unread: a peer that has \
already sent something gets a reset, any other an end of stream. To refuse \
connects, use --flap, which really closes the listeners; open connections go on.

The addresses listened on are the first lines on stdout, in the order given. \
Each connection that ends is a line on stderr.
";

/// Addresses of one `--listen`: the first, and the same with each port up to `last`.
#[derive(Debug, PartialEq, Eq)]
pub struct Range {
    pub first: SocketAddr,
    pub last: u16,
}

impl Range {
    /// Each address, in the order of its port.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        (self.first.port()..=self.last).map(|port| {
            let mut addr = self.first;
            addr.set_port(port);
            addr
        })
    }
}

/// How long listeners are open and closed in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flap {
    pub up: Duration,
    pub down: Duration,
}

/// Everything the command line decides.
#[derive(Debug)]
pub struct Settings {
    pub listen: Vec<Range>,
    pub plan: Plan,
    pub connections_max: usize,
    pub flap: Option<Flap>,
    pub stats: Option<PathBuf>,
}

/// Gives the options their meaning.
///
/// # Errors
/// What is wrong with the first option that is.
pub fn read(args: &Args) -> Result<Settings, String> {
    let idle = args.parsed("--idle-timeout", positive)?;
    let connections = args.parsed("--max-connections", |v| cli::count(v, CONNECTIONS_MAX))?;
    let fail_every = args.parsed("--fail-every", |v| cli::count(v, u32::MAX as usize))?;
    let delay = args.parsed("--delay", units::parse_duration)?;
    Ok(Settings {
        listen: ranges(args)?,
        plan: Plan {
            mode: args.parsed("--mode", mode)?.unwrap_or(Mode::Echo),
            banner: banner(args)?,
            delay: delay.unwrap_or_default(),
            fail_every: fail_every.map(|n| n as u64),
            idle: idle.map_or_else(|| positive(IDLE_DEFAULT), Ok)?,
            verbose: !args.flag("--quiet"),
        },
        connections_max: connections
            .map_or_else(|| cli::count(CONNECTIONS_DEFAULT, CONNECTIONS_MAX), Ok)?,
        flap: args.parsed("--flap", flap)?,
        stats: args.get("--stats").map(PathBuf::from),
    })
}

fn ranges(args: &Args) -> Result<Vec<Range>, String> {
    let mut ranges = Vec::new();
    let mut count = 0;
    for text in args.all("--listen") {
        let found = range(text).map_err(|expected| cli::wrong("--listen", &expected, text))?;
        count += usize::from(found.last - found.first.port()) + 1;
        ranges.push(found);
    }
    if count > LISTENERS_MAX {
        return Err(format!(
            "--listen: {count} addresses, at most {LISTENERS_MAX} are possible"
        ));
    }
    if ranges.is_empty() {
        ranges.push(range(LISTEN_DEFAULT)?);
    }
    Ok(ranges)
}

fn range(text: &str) -> Result<Range, String> {
    let expected =
        || "expected IP:PORT or IP:PORT-LASTPORT such as \"127.0.0.1:9000-9099\"".to_string();
    let (first, last) = match text.rsplit_once('-') {
        Some((first, last)) => (first, Some(last.parse::<u16>().map_err(|_| expected())?)),
        None => (text, None),
    };
    let first: SocketAddr = first.parse().map_err(|_| expected())?;
    match last {
        Some(last) if first.port() == 0 || last < first.port() => Err(expected()),
        Some(last) => Ok(Range { first, last }),
        None => Ok(Range {
            first,
            last: first.port(),
        }),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    Mode::ALL
        .into_iter()
        .find(|(word, _)| *word == text)
        .map(|(_, mode)| mode)
        .ok_or_else(|| {
            let words: Vec<_> = Mode::ALL.iter().map(|(word, _)| *word).collect();
            format!("expected one of {}", words.join(", "))
        })
}

fn banner(args: &Args) -> Result<Vec<u8>, String> {
    let given = args.parsed("--banner", unescape)?;
    if given.is_some() && args.get("--mode") != Some("banner") {
        return Err("--banner needs --mode banner".to_string());
    }
    given.map_or_else(|| unescape(BANNER_DEFAULT), Ok)
}

/// The bytes a text with backslashes stands for.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let expected =
        || format!(r"expected at most {BANNER_LEN_MAX} bytes, with r n t \ or xHH after each \");
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, after) = escaped(&rest[at + 1..]).ok_or_else(expected)?;
        bytes.push(byte);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    if bytes.len() > BANNER_LEN_MAX {
        return Err(expected());
    }
    Ok(bytes)
}

/// The byte that follows a backslash, and what comes after it.
fn escaped(text: &str) -> Option<(u8, &str)> {
    let byte = match text.as_bytes().first()? {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'\\' => b'\\',
        b'x' => {
            let digits = text.get(1..3)?;
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| hex)?;
            return Some((byte, &text[3..]));
        }
        _ => return None,
    };
    Some((byte, &text[1..]))
}

fn flap(text: &str) -> Result<Flap, String> {
    let expected = |_| "expected two durations such as \"30s,5s\"".to_string();
    let (up, down) = text
        .split_once(',')
        .ok_or(())
        .map_err(|()| expected(String::new()))?;
    Ok(Flap {
        up: positive(up).map_err(expected)?,
        down: positive(down).map_err(expected)?,
    })
}

fn positive(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text)? {
        Duration::ZERO => Err("expected a duration above 0s".to_string()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Parsed;

    fn settings(words: &[&str]) -> Result<Settings, String> {
        match cli::parse(&PROGRAM, words.iter().map(Into::into).collect())? {
            Parsed::Run(args) => read(&args),
            Parsed::Print(text) => Err(text),
        }
    }

    #[test]
    fn nothing_given_means_the_defaults_that_the_help_shows() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.listen, [range("127.0.0.1:65433").unwrap()]);
        assert_eq!(settings.plan.mode, Mode::Echo);
        assert_eq!(settings.plan.banner, b"tcpmon-server ready\r\n");
        assert_eq!(settings.plan.delay, Duration::ZERO);
        assert_eq!(settings.plan.idle, Duration::from_secs(60));
        assert_eq!(settings.connections_max, 1024);
        assert!(settings.plan.verbose && settings.flap.is_none() && settings.stats.is_none());
    }

    #[test]
    fn ranges_are_inclusive() {
        let ports = |text| {
            let range = range(text).unwrap();
            range.addresses().map(|a| a.port()).collect::<Vec<_>>()
        };
        assert_eq!(ports("127.0.0.1:9000-9002"), [9000, 9001, 9002]);
        assert_eq!(ports("[::1]:65535-65535"), [65535]);
        assert_eq!(ports("0.0.0.0:0"), [0]);
    }

    #[test]
    fn wrong_values_are_errors() {
        for (words, expected) in [
            (["--listen", "localhost:1"], "--listen: expected IP:PORT or"),
            (["--listen", "127.0.0.1"], "--listen: expected IP:PORT or"),
            (
                ["--listen", "127.0.0.1:9-8"],
                "--listen: expected IP:PORT or",
            ),
            (
                ["--listen", "127.0.0.1:0-8"],
                "--listen: expected IP:PORT or",
            ),
            (
                ["--listen", "127.0.0.1:1-65536"],
                "--listen: expected IP:PORT or",
            ),
            (
                ["--listen", "127.0.0.1:1-10001"],
                "--listen: 10001 addresses, at most",
            ),
            (
                ["--mode", "ech"],
                "--mode: expected one of echo, banner, discard,",
            ),
            (["--banner", "x"], "--banner needs --mode banner"),
            (["--delay", "5"], "--delay: expected a duration"),
            (
                ["--fail-every", "0"],
                "--fail-every: expected a whole number",
            ),
            (["--flap", "1s"], "--flap: expected two durations"),
            (["--flap", "1s,0s"], "--flap: expected two durations"),
            (
                ["--max-connections", "0"],
                "--max-connections: expected a whole",
            ),
            (
                ["--idle-timeout", "0s"],
                "--idle-timeout: expected a duration above 0s",
            ),
        ] {
            let error = settings(&words).unwrap_err();
            assert!(error.starts_with(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn banners_may_hold_any_byte() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("é", "é".as_bytes()),
            (r"a\r\n\t\\b", b"a\r\n\t\\b"),
            (r"\x00\xfF1", b"\x00\xff1"),
        ] {
            assert_eq!(unescape(text).unwrap(), bytes, "{text}");
        }
        let long = "x".repeat(BANNER_LEN_MAX + 1);
        for bad in [r"\", r"\q", r"\x", r"\x1", r"\xg1", r"\x+1", r"\xé", &long] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }
}
