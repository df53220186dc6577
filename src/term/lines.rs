//! Lines from stdin, read by one thread that lasts as long as the process: a read of
//! stdin cannot be given up in std, so whoever wants input, the menu or the live view,
//! asks here in turn and never takes a line meant for the other.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::error::{Context, Result};

/// Longest line taken; what is beyond is dropped, in bytes.
pub const LINE_LEN_MAX: usize = 4096;
/// Lines read ahead.
const AHEAD_MAX: usize = 16;

/// What a person gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// One line, without its end; bytes that are not UTF-8 are replaced.
    Line(String),
    /// There will be no more lines.
    End,
    /// None came in time.
    Nothing,
}

/// The lines of one stream, read ahead by a thread.
#[derive(Debug)]
pub struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    /// Reads stdin. To be called once in a process.
    pub fn stdin() -> Result<Lines> {
        Lines::of(io::stdin())
    }

    /// Reads any stream, such as a script of answers.
    pub fn of(stream: impl Read + Send + 'static) -> Result<Lines> {
        let (to, lines) = sync_channel(AHEAD_MAX);
        // Detached: it ends with its stream or with the process.
        thread::Builder::new()
            .name("stdin".to_string())
            .spawn(move || pump(&mut BufReader::new(stream), &to))
            .context(|| "start a thread for input".to_string())?;
        Ok(Lines { lines })
    }

    /// Waits for a line or the end.
    pub fn recv(&self) -> Input {
        self.lines.recv().map_or(Input::End, Input::Line)
    }

    /// Waits for at most `d`.
    pub fn recv_timeout(&self, d: Duration) -> Input {
        match self.lines.recv_timeout(d) {
            Ok(line) => Input::Line(line),
            Err(RecvTimeoutError::Timeout) => Input::Nothing,
            Err(RecvTimeoutError::Disconnected) => Input::End,
        }
    }
}

/// Hands on lines until the stream ends, fails, or nobody listens.
fn pump(stream: &mut impl BufRead, to: &SyncSender<String>) {
    while let Ok(Some(line)) = read_line(stream) {
        if to.send(line).is_err() {
            return;
        }
    }
}

/// The next line, cut to [`LINE_LEN_MAX`]; `None` at the end.
fn read_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let limit = LINE_LEN_MAX as u64 + 1;
    if stream.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() > LINE_LEN_MAX && line.last() != Some(&b'\n') {
        line.truncate(LINE_LEN_MAX);
        stream.skip_until(b'\n')?;
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Input {
        Input::Line(text.to_string())
    }

    #[test]
    fn lines_come_in_order_and_the_end_stays() {
        let lines = Lines::of(&b"1\n\r\nlast \xff"[..]).unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(lines.recv(), line("1"));
        assert_eq!(lines.recv_timeout(long), line(""));
        assert_eq!(lines.recv(), line("last \u{fffd}"));
        assert_eq!(lines.recv(), Input::End);
        assert_eq!(lines.recv_timeout(long), Input::End);
        assert_eq!(lines.recv(), Input::End);
    }

    #[test]
    fn waiting_ends_without_a_line() {
        let (_typist, lines) = sync_channel(1);
        let lines = Lines { lines };
        assert_eq!(lines.recv_timeout(Duration::ZERO), Input::Nothing);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        for extra in [0, 1, 2, 100_000] {
            let text = "x".repeat(LINE_LEN_MAX + extra) + "\nnext\n";
            let mut stream = text.as_bytes();
            let first = read_line(&mut stream).unwrap().unwrap();
            assert_eq!(first.len(), LINE_LEN_MAX, "{extra}");
            assert_eq!(read_line(&mut stream).unwrap().unwrap(), "next");
            assert_eq!(read_line(&mut stream).unwrap(), None);
        }
    }
}
