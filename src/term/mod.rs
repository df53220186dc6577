//! The terminal without raw mode: how large it is, whether it shows colours, lines
//! typed by a person, and whole frames.
//!
//! Nothing here needs unsafe code or a signal: the size is asked of `stty`, input is
//! read by one detached thread, and a frame is one buffer handed over in one write.

mod lines;
mod screen;
mod size;

use std::ffi::OsStr;
use std::io::IsTerminal;

pub use lines::{Input, LINE_LEN_MAX, Lines};
pub use screen::Screen;
pub use size::{Size, SizeCache, size};

/// Whether text may carry colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    On,
    Off,
}

/// Colours are for a terminal, unless `NO_COLOR` is set to anything (no-color.org)
/// or the terminal is dumb.
pub fn colour() -> Colour {
    let terminal = std::io::stdout().is_terminal();
    let var = |name| std::env::var_os(name);
    decide(terminal, var("NO_COLOR").as_deref(), var("TERM").as_deref())
}

fn decide(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Colour {
    let refused = no_color.is_some_and(|v| !v.is_empty());
    let dumb = term.is_some_and(|t| t == "dumb");
    match terminal && !refused && !dumb {
        true => Colour::On,
        false => Colour::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_willing_terminal() {
        for (terminal, no_color, term, expected) in [
            (true, None, Some("xterm"), Colour::On),
            (true, None, None, Colour::On),
            (true, Some(""), Some("xterm"), Colour::On),
            (true, Some("1"), Some("xterm"), Colour::Off),
            (true, None, Some("dumb"), Colour::Off),
            (false, None, Some("xterm"), Colour::Off),
        ] {
            let got = decide(terminal, no_color.map(OsStr::new), term.map(OsStr::new));
            assert_eq!(got, expected, "{terminal} {no_color:?} {term:?}");
        }
    }
}
