//! Whole frames on the terminal's other screen, each in one write. Entering hides the
//! cursor and keeps what the person had on the screen; leaving brings both back.

use std::io::{self, Write};

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
/// Home and cleared first: left with a full screen, tmux 3.3 keeps rows of the
/// frame when the terminal has grown meanwhile.
const LEAVE: &str = "\x1b[H\x1b[J\x1b[?25h\x1b[?1049l";

/// The other screen, left when this is dropped.
///
/// Errors are plain `io::Error`s, so that a reader who is gone (`BrokenPipe`) can be told
/// from a failure; after one, nothing more is written.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    open: bool,
}

impl Screen<io::Stdout> {
    /// Opens the other screen on stdout.
    pub fn stdout() -> io::Result<Screen<io::Stdout>> {
        Screen::enter(io::stdout())
    }
}

impl<W: Write> Screen<W> {
    fn enter(out: W) -> io::Result<Screen<W>> {
        let mut screen = Screen { out, open: true };
        screen.write(ENTER)?;
        Ok(screen)
    }

    /// Shows a frame. Line ends become `ESC [ E` (ECMA-48, CNL: start of the next line),
    /// which never scrolls; and std's stdout, which passes on what ends in a line end by
    /// itself, so gives the terminal a frame in one piece.
    pub fn draw(&mut self, frame: &str) -> io::Result<()> {
        self.write(&frame.replace('\n', "\x1b[E"))
    }

    /// Goes back to the person's own screen.
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
        let mut screen = Screen::enter(&mut out).unwrap();
        screen.draw("\x1b[Hone\ntwo").unwrap();
        screen.leave().unwrap();
        let expected = format!("{ENTER}\x1b[Hone\x1b[Etwo{LEAVE}");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_reader_who_is_gone_is_an_error_value() {
        let mut screen = Screen::enter(Reader { takes: 1 }).unwrap();
        let error = screen.draw("frame").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(screen.leave().is_ok());
    }
}
