//! What a program says while it runs: one line on stderr for each thing that
//! happened, `2026-11-24T20:01:02.345Z text`. Every line is one write, so lines
//! of several threads do not mix; text from outside cannot forge a second line;
//! and a stderr that is gone stops nothing.

use std::fmt::Display;
use std::io::Write;

use crate::clock;
use crate::text;
use crate::units;

/// Writes one line with the time before it.
pub fn line(text: impl Display) {
    let text = text.to_string();
    #[cfg(test)]
    if clock::simulated::log(&text) {
        return;
    }
    let line = format!(
        "{} {}\n",
        units::timestamp(clock::wall()),
        text::escape(&text)
    );
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
