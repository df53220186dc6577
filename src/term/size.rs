//! How large the terminal is: `stty size` says it of the terminal that stdout, stdin or
//! stderr is; else `COLUMNS` and `LINES`; else 80×24.

use std::time::Duration;

use crate::model::Mono;

/// How long an answer is good for.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Larger answers are cut to this, in columns and in rows.
const SIDE_MAX: usize = 1000;

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

impl Size {
    /// What a terminal is taken for when nobody knows better.
    pub const DEFAULT: Size = Size {
        columns: 80,
        rows: 24,
    };
}

/// The size, asked again every few seconds, since asking costs a process.
#[derive(Debug, Default)]
pub struct SizeCache {
    asked: Option<(Mono, Size)>,
}

impl SizeCache {
    /// The size as of a short while ago at most.
    pub fn get(&mut self, now: Mono) -> Size {
        self.get_from(now, size)
    }

    fn get_from(&mut self, now: Mono, ask: impl FnOnce() -> Size) -> Size {
        match self.asked {
            Some((at, size)) if now.since(at) < ASK_EVERY => size,
            _ => {
                let size = ask();
                self.asked = Some((now, size));
                size
            }
        }
    }
}

/// The terminal's size, asked now.
pub fn size() -> Size {
    let var = |name| std::env::var(name).unwrap_or_default();
    ask_stty().unwrap_or_else(|| from_words(&var("LINES"), &var("COLUMNS")))
}

#[cfg(unix)]
fn ask_stty() -> Option<Size> {
    use std::process::{Command, Stdio};
    let output = Command::new("stty")
        .arg("size")
        .stdin(terminal()?)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (rows, columns) = text.trim().split_once(' ')?;
    Some(Size {
        columns: side(columns)?,
        rows: side(rows)?,
    })
}

/// The terminal among our streams, for a child to have as its stdin.
#[cfg(unix)]
fn terminal() -> Option<std::process::Stdio> {
    use std::io::IsTerminal;
    use std::os::fd::AsFd;
    let (out, input, err) = (std::io::stdout(), std::io::stdin(), std::io::stderr());
    let fd = if out.is_terminal() {
        out.as_fd()
    } else if input.is_terminal() {
        input.as_fd()
    } else if err.is_terminal() {
        err.as_fd()
    } else {
        return None;
    };
    fd.try_clone_to_owned().ok().map(Into::into)
}

#[cfg(not(unix))]
fn ask_stty() -> Option<Size> {
    None
}

fn from_words(rows: &str, columns: &str) -> Size {
    Size {
        columns: side(columns).unwrap_or(Size::DEFAULT.columns),
        rows: side(rows).unwrap_or(Size::DEFAULT.rows),
    }
}

/// A serial console says 0, which means that it does not know.
fn side(word: &str) -> Option<usize> {
    let side: usize = word.parse().ok()?;
    (side > 0).then_some(side.min(SIDE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_stands_in_for_the_terminal() {
        for (rows, columns, expected) in [
            ("40", "120", (120, 40)),
            ("", "", (80, 24)),
            ("0", "132", (132, 24)),
            ("-3", "x", (80, 24)),
            ("99999", "99999", (1000, 1000)),
        ] {
            let size = from_words(rows, columns);
            assert_eq!((size.columns, size.rows), expected, "{rows} {columns}");
        }
    }

    #[test]
    fn the_size_is_asked_again_after_a_while() {
        let mut cache = SizeCache::default();
        let size = |columns| Size { columns, rows: 24 };
        for (ms, asked, expected) in [(0, 80, 80), (1_999, 90, 80), (2_000, 100, 100)] {
            let got = cache.get_from(Mono(ms * 1000), || size(asked));
            assert_eq!(got.columns, expected, "at {ms} ms");
        }
    }
}
