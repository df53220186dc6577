//! Command lines: one table of options per program drives parsing, help and the
//! errors, so that they cannot disagree. Values are text here; their meaning is
//! the caller's, given to [`Args::parsed`]. Where it ends: files and environment.
//!
//! Always: a mistake on the command line ends with exit code 2 and a text that
//! names the option, a failure of the work with 1; no output is ever split by a
//! broken pipe into a panic.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::error::Error;
use crate::text;

/// Widest line of a help text, in columns.
const HELP_COLUMNS: usize = 80;
/// Where the text about an option starts, in columns.
const HELP_INDENT: usize = 26;
/// Longest part of a wrong value that an error repeats, in characters.
const FOUND_LEN_MAX: usize = 60;

const HELP: Opt = Opt {
    name: "--help",
    value: "",
    default: "",
    help: "print this text (also -h)",
    repeat: false,
};
const VERSION: Opt = Opt {
    name: "--version",
    value: "",
    default: "",
    help: "print the version (also -V)",
    repeat: false,
};

/// One option of a program.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// With its dashes: `--listen`.
    pub name: &'static str,
    /// What the help calls its value, such as `ADDR`; empty for a flag.
    pub value: &'static str,
    /// Shown in the help; empty when there is none.
    pub default: &'static str,
    pub help: &'static str,
    /// Whether it may be given more than once.
    pub repeat: bool,
}

/// What a program (or one of its subcommands) is called, does and takes.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Starts the help and every line on stderr: `tcpmon-agent`, `tcpmon-manager watch`.
    pub name: &'static str,
    pub about: &'static str,
    /// Whole usage lines, each starting with the name.
    pub usage: &'static [&'static str],
    pub opts: &'static [Opt],
    /// Text after the options; empty when there is none.
    pub more: &'static str,
    /// Most positional arguments.
    pub free_max: usize,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// The work itself.
    Run(Args),
    /// The help or the version: print it and be done.
    Print(String),
}

/// Why a program ends without having done its work.
#[derive(Debug)]
pub enum Fail {
    /// The command line is wrong: exit code 2.
    Usage(String),
    /// The work failed: exit code 1.
    Failed(Error),
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        Fail::Failed(error)
    }
}

/// Texts without a type are about the command line: see [`Args::parsed`].
impl From<String> for Fail {
    fn from(text: String) -> Fail {
        Fail::Usage(text)
    }
}

/// The options and positional arguments given, in order.
#[derive(Debug, Default)]
pub struct Args {
    given: Vec<(&'static str, String)>,
    free: Vec<String>,
}

impl Args {
    /// The option's value; the last one when it may repeat.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given
            .iter()
            .rev()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a repeatable option, in the order given.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the flag was given.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The positional arguments.
    pub fn free(&self) -> &[String] {
        &self.free
    }

    /// The option's value as `how` understands it, `None` when it was not given.
    ///
    /// # Errors
    /// `--spool-limit: expected a size such as "64MiB", found "x"`, where the
    /// middle is what `how` said.
    pub fn parsed<T>(
        &self,
        name: &str,
        how: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        how(value)
            .map(Some)
            .map_err(|expected| wrong(name, &expected, value))
    }
}

/// The text for a value that is not what the option takes.
pub fn wrong(name: &str, expected: &str, found: &str) -> String {
    let mut shown: String = found.chars().take(FOUND_LEN_MAX).collect();
    if shown.len() < found.len() {
        shown.push('…');
    }
    format!("{name}: {expected}, found \"{shown}\"")
}

/// A whole number from 1 to `max`: for counts given on the command line.
pub fn count(value: &str, max: usize) -> Result<usize, String> {
    match value.parse() {
        Ok(n) if (1..=max).contains(&n) && !value.starts_with('+') => Ok(n),
        _ => Err(format!("expected a whole number from 1 to {max}")),
    }
}

/// Sorts `args` (without the program's own name) into options and the rest.
///
/// # Errors
/// What is wrong with the first argument that is, ready for stderr.
pub fn parse(program: &Program, args: Vec<OsString>) -> Result<Parsed, String> {
    let mut parsed = Args::default();
    let mut args = args.into_iter();
    let mut only_free = false;
    while let Some(arg) = args.next() {
        let arg = utf8(arg)?;
        if only_free || arg == "-" || !arg.starts_with('-') {
            parsed.free.push(arg);
            if parsed.free.len() > program.free_max {
                return Err(too_many(program, &parsed.free));
            }
            continue;
        }
        match arg.as_str() {
            "--" => only_free = true,
            "--help" | "-h" => return Ok(Parsed::Print(help(program))),
            "--version" | "-V" => return Ok(Parsed::Print(version(program))),
            _ => option(program, &arg, &mut args, &mut parsed)?,
        }
    }
    Ok(Parsed::Run(parsed))
}

/// Takes one option, with its value from the same or the next argument.
fn option(
    program: &Program,
    arg: &str,
    rest: &mut impl Iterator<Item = OsString>,
    parsed: &mut Args,
) -> Result<(), String> {
    let (name, inline) = match arg.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (arg, None),
    };
    let Some(opt) = program.opts.iter().find(|o| o.name == name) else {
        return Err(unknown(program, name));
    };
    if !opt.repeat && parsed.flag(opt.name) {
        return Err(format!("{name} is given twice"));
    }
    let value = match (opt.value.is_empty(), inline) {
        (true, Some(_)) => return Err(format!("{name} takes no value")),
        (true, None) => String::new(),
        (false, Some(value)) => value.to_string(),
        (false, None) => next_value(opt, rest)?,
    };
    parsed.given.push((opt.name, value));
    Ok(())
}

/// The next argument as a value. One that looks like an option is more likely a
/// forgotten value, so such values need the `--option=value` form.
fn next_value(opt: &Opt, rest: &mut impl Iterator<Item = OsString>) -> Result<String, String> {
    let missing = || format!("{0} needs a value: {0} {1}", opt.name, opt.value);
    let value = utf8(rest.next().ok_or_else(missing)?)?;
    if value.starts_with("--") {
        return Err(missing());
    }
    Ok(value)
}

fn utf8(arg: OsString) -> Result<String, String> {
    arg.into_string()
        .map_err(|raw| format!("argument \"{}\" is not valid UTF-8", raw.to_string_lossy()))
}

fn too_many(program: &Program, free: &[String]) -> String {
    let last = free.last().map_or("", String::as_str);
    match program.free_max {
        0 => format!("unexpected argument \"{last}\""),
        1 => format!("unexpected argument \"{last}\": only one is taken"),
        n => format!("unexpected argument \"{last}\": only {n} are taken"),
    }
}

fn unknown(program: &Program, name: &str) -> String {
    let known = program.opts.iter().map(|o| o.name);
    match text::nearest(name, known.chain([HELP.name, VERSION.name])) {
        Some(option) => format!("unknown option {name}: did you mean {option}?"),
        None => format!("unknown option {name}"),
    }
}

fn version(program: &Program) -> String {
    let binary = program.name.split(' ').next().unwrap_or_default();
    format!("{binary} {}\n", env!("CARGO_PKG_VERSION"))
}

/// The help text: usage, each option with its default, and `more`, in lines of
/// at most 80 columns.
pub fn help(program: &Program) -> String {
    let mut out = format!("{}: {}", program.name, program.about);
    out = wrap(&out, 0, 0);
    out.push('\n');
    for (i, usage) in program.usage.iter().enumerate() {
        let label = if i == 0 { "usage: " } else { "       " };
        out.push_str(&wrap(&format!("{label}{usage}"), 0, 11));
    }
    out.push_str("\noptions:\n");
    for opt in program.opts.iter().chain([&HELP, &VERSION]) {
        out.push_str(&option_help(opt));
    }
    if !program.more.is_empty() {
        out.push('\n');
        for line in program.more.lines() {
            let indent = line.len() - line.trim_start().len();
            out.push_str(&wrap(line, 0, indent));
        }
    }
    out
}

fn option_help(opt: &Opt) -> String {
    let mut head = format!("  {} {}", opt.name, opt.value);
    let mut about = opt.help.to_string();
    if opt.repeat {
        about.push_str("; may be repeated");
    }
    if !opt.default.is_empty() {
        let _ = write!(about, " (default: {})", opt.default);
    }
    if head.trim_end().len() + 2 > HELP_INDENT {
        return format!(
            "{}\n{}",
            head.trim_end(),
            wrap(&about, HELP_INDENT, HELP_INDENT)
        );
    }
    while head.len() < HELP_INDENT {
        head.push(' ');
    }
    head + wrap(&about, HELP_INDENT, HELP_INDENT).trim_start()
}

/// Breaks `line` at spaces into lines of at most 80 columns, the first indented
/// by `first` more columns, the others by `rest`. Short lines stay as they are.
fn wrap(line: &str, first: usize, rest: usize) -> String {
    let mut out = String::new();
    let mut current = format!("{}{line}", " ".repeat(first));
    while text::width(&current) > HELP_COLUMNS {
        // The end, in bytes, of the part that fits.
        let fits = current
            .char_indices()
            .nth(HELP_COLUMNS + 1)
            .map_or(current.len(), |(at, _)| at);
        let indent = current.len() - current.trim_start().len();
        let Some(space) = current[..fits].rfind(' ').filter(|at| *at > indent) else {
            break;
        };
        out.push_str(current[..space].trim_end());
        out.push('\n');
        current = format!("{}{}", " ".repeat(rest), current[space..].trim_start());
    }
    out + current.trim_end() + "\n"
}

/// Writes to stdout and flushes. A reader that went away is no failure: there
/// is nobody left to tell.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The life of a program: arguments, `body`, exit code. Help and version go to
/// stdout; what went wrong to stderr, each line starting with the program's name.
pub fn run(
    program: &Program,
    args: Vec<OsString>,
    body: impl FnOnce(Args) -> Result<ExitCode, Fail>,
) -> ExitCode {
    let outcome = match parse(program, args) {
        Ok(Parsed::Print(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Run(args)) => body(args),
        Err(text) => Err(Fail::Usage(text)),
    };
    let (text, code) = match outcome {
        Ok(code) => return code,
        Err(Fail::Usage(text)) => (format!("{text}\nsee {} --help", program.name), 2),
        Err(Fail::Failed(error)) => (error.to_string(), 1),
    };
    complain(program, &text);
    ExitCode::from(code)
}

fn complain(program: &Program, text: &str) {
    let mut out = String::new();
    for line in text.lines() {
        let _ = writeln!(out, "{}: {}", program.name, text::escape(line));
    }
    let _ = std::io::stderr().lock().write_all(out.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        name: "tcpmon-test sub",
        about: "does nothing, so that this text can be checked",
        usage: &[
            "tcpmon-test sub [--listen ADDR]... [--quiet]",
            "tcpmon-test sub FILE",
        ],
        opts: &[
            Opt {
                name: "--listen",
                value: "ADDR",
                default: "127.0.0.1:1",
                help: "where to listen, told at such length that the line has to be broken",
                repeat: true,
            },
            Opt {
                name: "--quiet",
                value: "",
                default: "",
                help: "say nothing",
                repeat: false,
            },
            Opt {
                name: "--a-rather-long-option",
                value: "PLACEHOLDER",
                default: "",
                help: "below",
                repeat: false,
            },
        ],
        more: "short\n  indented words that go on for long enough to be wrapped, and then keep their indentation",
        free_max: 1,
    };

    fn parse_words(words: &[&str]) -> Result<Parsed, String> {
        parse(&PROGRAM, words.iter().map(OsString::from).collect())
    }

    fn args(words: &[&str]) -> Args {
        match parse_words(words) {
            Ok(Parsed::Run(args)) => args,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn both_forms_repeats_flags_and_free_arguments() {
        let given = args(&["--listen", "a", "x", "--listen=b=c", "--quiet"]);
        assert_eq!(given.all("--listen").collect::<Vec<_>>(), ["a", "b=c"]);
        assert_eq!(given.get("--listen"), Some("b=c"));
        assert_eq!(given.free(), ["x"]);
        assert!(given.flag("--quiet") && !given.flag("--a-rather-long-option"));
        assert_eq!(args(&["--", "--quiet"]).free(), ["--quiet"]);
        assert_eq!(args(&["-"]).free(), ["-"]);
        assert_eq!(args(&["--listen", "-5"]).get("--listen"), Some("-5"));
        assert_eq!(args(&["--listen="]).get("--listen"), Some(""));
        assert_eq!(args(&["--listen=--x"]).get("--listen"), Some("--x"));
    }

    #[test]
    fn mistakes_are_named() {
        let table: &[(&[&str], &str)] = &[
            (
                &["--lisen", "a"],
                "unknown option --lisen: did you mean --listen?",
            ),
            (
                &["--lisen=a"],
                "unknown option --lisen: did you mean --listen?",
            ),
            (&["-quiet"], "unknown option -quiet: did you mean --quiet?"),
            (&["--hepl"], "unknown option --hepl: did you mean --help?"),
            (&["--frobnicate"], "unknown option --frobnicate"),
            (&["-x"], "unknown option -x"),
            (&["--quiet", "--quiet"], "--quiet is given twice"),
            (&["--quiet=1"], "--quiet takes no value"),
            (&["--listen"], "--listen needs a value: --listen ADDR"),
            (
                &["--listen", "--quiet"],
                "--listen needs a value: --listen ADDR",
            ),
            (&["a", "b"], "unexpected argument \"b\": only one is taken"),
        ];
        for (words, expected) in table {
            assert_eq!(parse_words(words).unwrap_err(), *expected, "{words:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn arguments_that_are_not_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let raw = OsString::from_vec(b"a\xff".to_vec());
        let error = parse(&PROGRAM, vec![raw]).unwrap_err();
        assert_eq!(error, "argument \"a\u{fffd}\" is not valid UTF-8");
    }

    #[test]
    fn values_are_understood_or_quoted() {
        let given = args(&["--listen", "7"]);
        let how = |text: &str| {
            text.parse::<u8>()
                .map_err(|_| "expected a byte".to_string())
        };
        assert_eq!(given.parsed("--listen", how), Ok(Some(7)));
        assert_eq!(given.parsed("--quiet", how), Ok(None));
        assert_eq!(
            args(&["--listen=x"]).parsed("--listen", how),
            Err("--listen: expected a byte, found \"x\"".to_string())
        );
        let long = wrong("--x", "expected y", &"é".repeat(100));
        assert!(long.ends_with("é…\""), "{long}");
        for bad in ["", "0", "-1", "+1", "11", "1.0", "99999999999999999999999"] {
            assert!(count(bad, 10).is_err(), "{bad}");
        }
        assert_eq!(count("10", 10), Ok(10));
    }

    #[test]
    fn help_is_laid_out_in_eighty_columns() {
        let expected = "\
tcpmon-test sub: does nothing, so that this text can be checked

usage: tcpmon-test sub [--listen ADDR]... [--quiet]
       tcpmon-test sub FILE

options:
  --listen ADDR           where to listen, told at such length that the line has
                          to be broken; may be repeated (default: 127.0.0.1:1)
  --quiet                 say nothing
  --a-rather-long-option PLACEHOLDER
                          below
  --help                  print this text (also -h)
  --version               print the version (also -V)

short
  indented words that go on for long enough to be wrapped, and then keep their
  indentation
";
        for words in [&["--help"][..], &["-h"], &["x", "--quiet", "--help"]] {
            match parse_words(words) {
                Ok(Parsed::Print(text)) => assert_eq!(text, expected),
                other => panic!("{other:?}"),
            }
        }
        let Ok(Parsed::Print(version)) = parse_words(&["-V"]) else {
            panic!("no version");
        };
        assert!(version.starts_with("tcpmon-test 0."), "{version}");
    }

    #[test]
    fn exit_codes_tell_usage_from_failure() {
        let code = |words: &[&str], body: fn(Args) -> Result<ExitCode, Fail>| {
            let words = words.iter().map(OsString::from).collect();
            format!("{:?}", run(&PROGRAM, words, body))
        };
        let shown = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(&[], |_| Ok(ExitCode::SUCCESS)), shown(0));
        assert_eq!(code(&[], |_| Err(Error::new("no").into())), shown(1));
        assert_eq!(code(&[], |_| Err("no".to_string().into())), shown(2));
        assert_eq!(code(&["--no"], |_| Ok(ExitCode::SUCCESS)), shown(2));
    }
}
