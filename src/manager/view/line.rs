//! One line of a frame, that never grows wider than it may.

use crate::term::Colour;
use crate::text;

/// How a piece of text is meant, and so how it looks in colour (ECMA-48, SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Style::Plain => None,
            Style::Bold => Some("\x1b[1m"),
            Style::Dim => Some("\x1b[2m"),
            Style::Red => Some("\x1b[1;31m"),
            Style::Green => Some("\x1b[32m"),
            Style::Yellow => Some("\x1b[33m"),
        }
    }
}

/// Pieces of text in a row, at most `columns` wide.
#[derive(Debug)]
pub(super) struct Line {
    out: String,
    width: usize,
    columns: usize,
    colour: Colour,
}

impl Line {
    pub fn new(columns: usize, colour: Colour) -> Line {
        Line {
            out: String::new(),
            width: 0,
            columns,
            colour,
        }
    }

    /// Adds `piece`, escaped, cut with an ellipsis where the line ends.
    pub fn put(&mut self, piece: &str, style: Style) {
        let piece = text::escape(piece);
        let room = self.columns - self.width;
        let width = text::width(&piece);
        if room == 0 || width == 0 {
            return;
        }
        let piece = match width > room {
            true => text::fit(&piece, room).into(),
            false => piece,
        };
        self.width += width.min(room);
        match style.code().filter(|_| self.colour == Colour::On) {
            Some(code) => self.out += &format!("{code}{piece}\x1b[0m"),
            None => self.out += &piece,
        }
    }

    /// Adds spaces up to column `column`.
    pub fn pad_to(&mut self, column: usize) {
        let column = column.min(self.columns);
        let spaces = column.saturating_sub(self.width);
        self.out += &" ".repeat(spaces);
        self.width += spaces;
    }

    pub fn text(&self) -> &str {
        &self.out
    }

    pub fn width(&self) -> usize {
        self.width
    }
}
