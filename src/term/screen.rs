//! Whole frames on the terminal, each in one write. Entering scrolls what the person had
//! on the screen out of the way, where scrolling back finds it; leaving goes on below the
//! last frame.
//!
//! The terminal's other screen is deliberately not used, and the cursor is hidden only
//! within a frame's one write: there are no signal handlers, so Ctrl-C ends the program
//! between two frames without a word, and must find a terminal that is fit for the shell.

use std::io::{self, Write};

/// Before and after a frame: no cursor racing over it, and two columns between it and
/// what is typed.
const HIDE: &str = "\x1b[?25l";
const SHOW: &str = "\x1b[2C\x1b[?25h";
/// The bottom line, wherever that is, and nothing on it.
const LEAVE: &str = "\x1b[999;1H\x1b[K";

/// A screen with frames, left when this is dropped.
///
/// Errors are plain `io::Error`s, so that a reader who is gone (`BrokenPipe`) can be told
/// from a failure; after one, nothing more is written.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    open: bool,
}

impl<W: Write> Screen<W> {
    /// Makes room on a terminal of `rows` lines.
    pub fn enter(out: W, rows: usize) -> io::Result<Screen<W>> {
        let mut screen = Screen { out, open: true };
        screen.write(&"\n".repeat(rows))?;
        Ok(screen)
    }

    /// Shows a frame. Line ends become `ESC [ E` (ECMA-48, CNL: start of the next line),
    /// which never scrolls; and std's stdout, which passes on what ends in a line end by
    /// itself, so gives the terminal a frame in one piece.
    pub fn draw(&mut self, frame: &str) -> io::Result<()> {
        let frame = frame.replace('\n', "\x1b[E");
        self.write(&format!("{HIDE}{frame}{SHOW}"))
    }

    /// Lets what comes next stand below the last frame.
    pub fn leave(mut self) -> io::Result<()> {
        self.close()
    }

    fn close(&mut self) -> io::Result<()> {
        match self.open {
            true => {
                let done = self.write(LEAVE);
                self.open = false;
                done
            }
            false => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        self.open &= written.is_ok();
        written
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes away after so many writes.
    struct Reader {
        takes: usize,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
            self.takes = self.takes.checked_sub(1).ok_or_else(gone)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_screen_is_entered_drawn_and_left_once() {
        let mut out = Vec::new();
        let mut screen = Screen::enter(&mut out, 3).unwrap();
        screen.draw("\x1b[Hone\ntwo").unwrap();
        screen.leave().unwrap();
        let expected = format!("\n\n\n{HIDE}\x1b[Hone\x1b[Etwo{SHOW}{LEAVE}");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_program_killed_between_frames_leaves_a_sane_terminal() {
        let mut out = Vec::new();
        let mut screen = Screen::enter(&mut out, 3).unwrap();
        screen.draw("\x1b[Hone").unwrap();
        // As if killed here: nothing more is written.
        std::mem::forget(screen);
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with("\x1b[?25h"), "{out:?}");
        assert!(!out.contains("\x1b[?1049h"), "{out:?}");
    }

    #[test]
    fn a_reader_who_is_gone_is_an_error_value() {
        let mut screen = Screen::enter(Reader { takes: 1 }, 24).unwrap();
        let error = screen.draw("frame").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(screen.leave().is_ok());
    }
}
