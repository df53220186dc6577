//! The board as text: the live view's frames and the tables of `status`.
//!
//! Pure: a snapshot and a size go in, text comes out. Always: a frame has at most
//! `rows - 1` lines, none wider than the terminal, and all text from outside is escaped.
//! How the height is shared depends on the size alone, so that pages stay put.

mod line;
mod notes;
mod plain;
mod table;

use crate::manager::board::{Board, Snapshot};
use crate::model::Wall;
use crate::term::{Colour, Size};
use crate::units::{clock_text, count_text, timestamp};

use line::{Line, Style};
pub use plain::{exports_table, plain_table, receivers_table};
use table::Table;

/// Most lines set aside for notes and events.
const BOTTOM_MAX: usize = 10;
/// Below this many columns, words are left out of the header and the footer.
const TIGHT_MAX: usize = 72;
/// From this many columns on, the header shows the date.
const DATED_MIN: usize = 100;
/// From this many lines on, blank lines set the parts of a frame apart.
const AIRY_MIN: usize = 16;

/// How the lines of a frame are shared out.
#[derive(Debug, Clone, Copy)]
struct Layout {
    lines: usize,
    table: usize,
    /// Blank lines between parts: 1 or, on small terminals, 0.
    air: usize,
}

impl Layout {
    fn of(size: Size) -> Layout {
        let lines = size.rows.saturating_sub(1).max(1);
        let air = usize::from(lines >= AIRY_MIN);
        let bottom = (lines / 4).min(BOTTOM_MAX);
        // Header, column titles and footer; air below the header, the table and the bottom.
        let table = lines.saturating_sub(3 + 3 * air + bottom).max(1);
        Layout { lines, table, air }
    }
}

/// How many rows of the table one page shows.
pub fn page_rows(size: Size) -> usize {
    Layout::of(size).table
}

/// How many pages `row_total` rows take: at least 1.
pub fn pages(row_total: usize, size: Size) -> usize {
    row_total.div_ceil(page_rows(size)).max(1)
}

/// The frame of the board's page `page` (from 0; the last one when there are fewer),
/// working out no more rows than it shows.
pub fn draw(board: &Board, now: Wall, size: Size, page: usize, colour: Colour) -> String {
    let page = page.min(pages(board.row_count(), size) - 1);
    let rows = page_rows(size);
    let snapshot = board.snapshot_page(now, page * rows, rows);
    frame(&snapshot, size, page, colour)
}

/// A whole frame that redraws in place: from the home position, each line cleared behind
/// its text, the rest of the screen cleared at the end. `snapshot` holds all rows, or at
/// least those of page `page` (from 0; the last one when there are fewer).
pub fn frame(snapshot: &Snapshot, size: Size, page: usize, colour: Colour) -> String {
    let layout = Layout::of(size);
    let last = pages(snapshot.row_total, size) - 1;
    let page = page.min(last);
    let mut lines = vec![header(snapshot, size.columns, colour)];
    lines.extend((0..layout.air).map(|_| Line::new(0, Colour::Off)));
    lines.extend(body(snapshot, size, page * layout.table, colour));
    let footer_at = layout.lines - 1;
    let room = footer_at.saturating_sub(lines.len() + 2 * layout.air);
    let bottom = notes::bottom(snapshot, room, size.columns, colour);
    let bottom_at = footer_at.saturating_sub(layout.air + bottom.len());
    while lines.len() < bottom_at {
        lines.push(Line::new(0, Colour::Off));
    }
    lines.extend(bottom);
    while lines.len() < footer_at {
        lines.push(Line::new(0, Colour::Off));
    }
    lines.truncate(footer_at);
    lines.push(footer(page, last, size.columns, colour));
    whole(&lines, size.columns)
}

fn whole(lines: &[Line], columns: usize) -> String {
    let mut out = String::from("\x1b[H");
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out += line.text();
        // Behind a full line the cursor stands on its last column: clearing would take that.
        if line.width() < columns {
            out += "\x1b[K";
        }
    }
    out + "\x1b[J"
}

fn header(s: &Snapshot, columns: usize, colour: Colour) -> Line {
    let mut line = Line::new(columns, colour);
    let time = clock_text(s.now);
    let (start, connected_word, targets_word) = match columns {
        ..TIGHT_MAX => (time, "  ", ""),
        TIGHT_MAX..DATED_MIN => (
            format!("tcpmon  {time} UTC  "),
            " connected    ",
            "targets ",
        ),
        _ => {
            let date = &timestamp(s.now)[..10];
            let start = format!("tcpmon  {date} {time} UTC  ");
            (start, " connected    ", "targets ")
        }
    };
    line.put(&start, Style::Bold);
    let (connected, agents) = (s.connected(), s.agents.len());
    line.put("  agents ", Style::Plain);
    let missing = connected < agents;
    let style = if missing { Style::Yellow } else { Style::Plain };
    line.put(&format!("{connected}/{agents}"), style);
    line.put(connected_word, Style::Plain);
    let count = |n: usize| count_text(n as u64);
    let up = format!("{targets_word}{} up  ", count(s.up));
    line.put(&up, Style::Plain);
    if s.slow > 0 {
        line.put(&format!("{} slow  ", count(s.slow)), Style::Yellow);
    }
    let style = if s.down > 0 { Style::Red } else { Style::Plain };
    line.put(&format!("{} down", count(s.down)), style);
    // Where it is narrow, the slow ones take its place.
    if s.slow == 0 || columns >= DATED_MIN {
        line.put(&format!("  of {}", count(s.total)), Style::Plain);
    }
    line
}

/// The titles of the columns and the page's rows, or what to do when there are none.
fn body(s: &Snapshot, size: Size, first: usize, colour: Colour) -> Vec<Line> {
    if s.row_total == 0 {
        let mut line = Line::new(size.columns, colour);
        line.put(
            "Nothing to watch yet: the fleet has no targets.",
            Style::Plain,
        );
        return vec![line];
    }
    let table = Table::of(s.widest, size.columns);
    let skip = first.saturating_sub(s.first);
    let rows = s.rows.iter().skip(skip).take(page_rows(size));
    let lines = rows.map(|row| table.row(row, s.now, colour));
    std::iter::once(table.titles(colour)).chain(lines).collect()
}

fn footer(page: usize, last: usize, columns: usize, colour: Colour) -> Line {
    // One column less: the screen is cleared behind it.
    let mut line = Line::new(columns.saturating_sub(1), colour);
    if last > 0 {
        line.put(&format!("page {}/{}  ", page + 1, last + 1), Style::Plain);
        let previous = if columns < TIGHT_MAX {
            "prev"
        } else {
            "previous"
        };
        line.put(&format!("n next  p {previous}  "), Style::Dim);
    }
    line.put("Enter back", Style::Dim);
    line
}

#[cfg(test)]
mod tests;
