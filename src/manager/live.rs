//! The live view: the board as frames that redraw in place, or, where stdout is no
//! terminal, as one table and then a line for each event. It ends with a line of input;
//! what it shows goes on in the background with or without it.
//!
//! Input comes through a channel and news through a bell, and std cannot wait for both.
//! So it waits for input in short steps and looks at the bell between them: twenty cheap
//! looks a second, no thread of its own, and a frame is never later than the gap between
//! two frames. Ctrl-C is safe at any time: see [`crate::term::Screen`].

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use super::board::Board;
use super::view;
use crate::bell::Bell;
use crate::clock;
use crate::model::Mono;
use crate::term::{self, Colour, Input, Lines, Screen, Size, SizeCache};
use crate::text;
use crate::units::timestamp;

/// Between the starts of two frames at least: ten a second.
const FRAME_GAP: Duration = Duration::from_millis(100);
/// Between two frames at most, for the clock and the ages.
const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for input before looking for news again.
const STEP: Duration = Duration::from_millis(50);

/// How the view ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The person wants something else.
    Back,
    /// There will be no more input, or nobody sees the output.
    End,
}

/// Shows the board on stdout until a person goes back or the input ends. An output that
/// cannot be written ends it, too, quietly: there is nobody left to tell.
pub fn run(board: &Mutex<Board>, bell: &Bell, lines: &Lines) -> Leave {
    let out = io::stdout();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let done = if out.is_terminal() && !dumb {
        let mut sizes = SizeCache::default();
        frames(board, bell, lines, out, |now| sizes.get(now))
    } else {
        events(board, lines, &mut out.lock())
    };
    done.unwrap_or(Leave::End)
}

/// What a line of input asks of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Next,
    Previous,
    Back,
    /// Nothing it knows; what was typed is to be cleared from the screen.
    Redraw,
}

fn key(line: &str) -> Key {
    match line.trim() {
        "" | "q" | "Q" => Key::Back,
        "n" | "N" => Key::Next,
        "p" | "P" => Key::Previous,
        _ => Key::Redraw,
    }
}

/// The page that a key leads to from `page`; `None` when it leads out of the view.
fn turned(key: Key, page: usize) -> Option<usize> {
    match key {
        Key::Next => Some(page + 1),
        Key::Previous => Some(page.saturating_sub(1)),
        Key::Redraw => Some(page),
        Key::Back => None,
    }
}

/// What the last frame knew, and when it was begun.
#[derive(Debug)]
struct Drawn {
    /// Rings heard before it; `None` when it is to be drawn again in any case.
    heard: Option<u64>,
    at: Mono,
}

impl Drawn {
    /// How long until the next frame is due, when there were `heard` rings so far.
    fn left(&self, heard: u64, now: Mono) -> Duration {
        let due = match self.heard == Some(heard) {
            true => CLOCK_EVERY,
            false => FRAME_GAP,
        };
        due.saturating_sub(now.since(self.at))
    }
}

fn frames(
    board: &Mutex<Board>,
    bell: &Bell,
    lines: &Lines,
    out: impl Write,
    mut size: impl FnMut(Mono) -> Size,
) -> io::Result<Leave> {
    let colour = term::colour();
    let mut page = 0;
    let mut drawn: Option<Drawn> = None;
    let mut screen = Screen::enter(out, size(clock::mono()).rows)?;
    loop {
        let (heard, now) = (bell.heard(), clock::mono());
        let left = drawn
            .as_ref()
            .map_or(Duration::ZERO, |d| d.left(heard, now));
        if left.is_zero() {
            screen.draw(&frame(board, size(now), &mut page, colour))?;
            let heard = Some(heard);
            drawn = Some(Drawn { heard, at: now });
            continue;
        }
        let line = match lines.recv_timeout(left.min(STEP)) {
            Input::Nothing => continue,
            Input::End => return screen.leave().map(|()| Leave::End),
            Input::Line(line) => line,
        };
        let Some(turned) = turned(key(&line), page) else {
            return screen.leave().map(|()| Leave::Back);
        };
        page = turned;
        if let Some(drawn) = &mut drawn {
            drawn.heard = None;
        }
    }
}

/// The frame now; a page beyond the last becomes the last.
fn frame(board: &Mutex<Board>, size: Size, page: &mut usize, colour: Colour) -> String {
    let board = board.lock().expect("board");
    *page = (*page).min(view::pages(board.row_count(), size) - 1);
    view::draw(&board, clock::wall(), size, *page, colour)
}

fn events(board: &Mutex<Board>, lines: &Lines, out: &mut impl Write) -> io::Result<Leave> {
    let snapshot = board.lock().expect("board").snapshot(clock::wall());
    out.write_all(view::plain_table(&snapshot).as_bytes())?;
    let mut told = snapshot.events.last().map_or(0, |e| e.no);
    loop {
        let news = board.lock().expect("board").drain_events(told);
        for event in news {
            told = event.no;
            writeln!(out, "{} {}", timestamp(event.at), text::escape(&event.text))?;
        }
        out.flush()?;
        match lines.recv_timeout(STEP) {
            Input::End => return Ok(Leave::End),
            Input::Line(line) if key(&line) == Key::Back => return Ok(Leave::Back),
            Input::Line(_) | Input::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::board::Link;
    use crate::model::{Name, Target, Terms, Wall};

    fn script(text: &'static str) -> Lines {
        Lines::of(text.as_bytes()).unwrap()
    }

    fn board(rows: usize) -> Mutex<Board> {
        let target = |i| {
            Target::new(
                format!("t{i}").parse().unwrap(),
                "127.0.0.1:1".parse().unwrap(),
                Terms {
                    retries: 1,
                    ..Terms::every(Duration::from_secs(10), Duration::from_secs(3))
                },
            )
        };
        let agent: Name = "attic".parse().unwrap();
        let mut board = Board::new();
        board.set_fleet(&[(agent.clone(), (0..rows).map(|i| target(i).into()).collect())]);
        let connected = true;
        let link = Link {
            connected,
            ..Link::default()
        };
        board.set_link(&agent, link, Wall(0));
        Mutex::new(board)
    }

    #[test]
    fn frames_wait_for_news_the_clock_and_the_gap() {
        let drawn = |heard| Drawn {
            heard,
            at: Mono(1_000_000),
        };
        // (heard by the frame, heard by now, age of the frame and time left, in ms)
        for (frame, heard, age, left) in [
            (Some(7), 7, 0, 1000),
            (Some(7), 7, 990, 10),
            (Some(7), 7, 1500, 0),
            (Some(7), 8, 0, 100),
            (Some(7), 8, 60, 40),
            (Some(7), 8, 100, 0),
            (None, 7, 60, 40),
        ] {
            let now = Mono(1_000_000 + age * 1000);
            let got = drawn(frame).left(heard, now);
            assert_eq!(got.as_millis(), left, "{frame:?} {heard} {age}");
        }
    }

    #[test]
    fn lines_turn_pages() {
        for (line, page, expected) in [
            ("n", 0, Some(1)),
            (" N ", 1, Some(2)),
            ("p", 1, Some(0)),
            ("p", 0, Some(0)),
            ("nonsense", 3, Some(3)),
            ("", 3, None),
            ("q", 3, None),
        ] {
            assert_eq!(turned(key(line), page), expected, "{line:?} on {page}");
        }
    }

    #[test]
    fn lines_end_the_view() {
        let size = |_| Size::DEFAULT;
        for (text, leave) in [
            ("\n", Leave::Back),
            (" q \n", Leave::Back),
            ("nonsense\nn\np\nn\n\n", Leave::Back),
            ("", Leave::End),
            ("n\n", Leave::End),
        ] {
            let mut out = Vec::new();
            let (board, bell) = (board(40), Bell::default());
            let got = frames(&board, &bell, &script(text), &mut out, size);
            assert_eq!(got.unwrap(), leave, "{text:?}");
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("page 1/"), "{out:?}");
        }
    }

    #[test]
    fn a_page_beyond_the_last_is_the_last() {
        let mut page = 99;
        let text = frame(&board(40), Size::DEFAULT, &mut page, Colour::Off);
        let last = view::pages(40, Size::DEFAULT) - 1;
        assert!(last > 0);
        assert_eq!(page, last);
        assert!(text.contains(&format!("page {0}/{0}", last + 1)), "{text}");
    }

    #[test]
    fn without_a_terminal_there_is_a_table_and_then_events() {
        /// Tells of an event as soon as the table was written.
        struct Tells<'a> {
            board: &'a Mutex<Board>,
            out: Vec<u8>,
        }
        impl Write for Tells<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.out.is_empty() {
                    let text = "gone\x1b[2J".to_string();
                    let (agent, link) = ("attic".parse().unwrap(), Link::default());
                    let link = Link { text, ..link };
                    self.board.lock().unwrap().set_link(&agent, link, Wall(0));
                }
                self.out.write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let board = board(2);
        let out = Vec::new();
        let mut out = Tells { board: &board, out };
        let leave = events(&board, &script("n\n\n4\n"), &mut out).unwrap();
        assert_eq!(leave, Leave::Back);
        let out = String::from_utf8(out.out).unwrap();
        assert!(out.starts_with("TARGET  ADDRESS"), "{out}");
        let event = "\n1970-01-01T00:00:00.000Z agent attic away: gone\\x1b[2J\n";
        assert!(out.ends_with(event), "{out}");
        // What was known before is in the table, not told again.
        assert_eq!(out.matches("connected").count(), 1, "{out}");
    }
}
