//! Bounded lines from a byte source: a socket or a segment file.
//!
//! A line is at most `max` bytes, newline included; memory never passes that
//! bound whatever arrives. What came before an error or the end of input stays
//! buffered, so reading can go on after a timeout or when a file has grown.

use std::io::{self, Read};

/// The buffer's first size; it doubles as reads fill it.
const BUFFER_BYTES_MIN: usize = 4 * 1024;

/// Reads lines of at most `max` bytes.
#[derive(Debug)]
pub struct LineReader<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the current line stands.
    line: (usize, usize),
    max: usize,
}

/// Where a step to the next line came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A whole line: [`LineReader::line`] is it.
    Whole,
    /// The input ended after a whole line (for a file: for now).
    End,
    /// The input ended within a line.
    Torn,
}

/// What reading a line came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// One line, without its newline.
    Whole(&'a [u8]),
    /// The input ended after a whole line (for a file: for now).
    End,
    /// The input ended within a line.
    Torn,
}

/// Why there is no line.
#[derive(Debug)]
pub enum LineError {
    /// More than the allowed bytes without a newline.
    TooLong,
    Io(io::Error),
}

impl LineError {
    /// Whether the deadline passed, and nothing else is wrong.
    pub fn is_timeout(&self) -> bool {
        matches!(self, LineError::Io(e) if e.kind() == io::ErrorKind::TimedOut)
    }
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LineError::TooLong => f.write_str("line too long"),
            LineError::Io(error) => f.write_str(&crate::error::plain(&error.to_string())),
        }
    }
}

impl<R: Read> LineReader<R> {
    /// A reader of lines of at most `max` bytes, newline included.
    pub fn new(inner: R, max: usize) -> LineReader<R> {
        LineReader {
            inner,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            line: (0, 0),
            max,
        }
    }

    /// Changes the bound for the lines to come.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// The source, to set its deadline.
    pub fn source(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Whether a whole line is at hand without reading.
    pub fn ready(&self) -> bool {
        self.buffer[self.start..self.end].contains(&b'\n')
    }

    /// The next line. Blocks as long as the source does.
    pub fn next_line(&mut self) -> Result<Line<'_>, LineError> {
        Ok(match self.step()? {
            Step::Whole => Line::Whole(self.line()),
            Step::End => Line::End,
            Step::Torn => Line::Torn,
        })
    }

    /// The line the last [`Step::Whole`] stands for, without its newline.
    pub fn line(&self) -> &[u8] {
        &self.buffer[self.line.0..self.line.1]
    }

    /// Throws away what is buffered: the way on after a line that was too long.
    pub fn skip_buffered(&mut self) {
        self.start = self.end;
    }

    /// Goes to the next line; as [`LineReader::next_line`], for a caller that looks at it later.
    pub fn step(&mut self) -> Result<Step, LineError> {
        let mut seen = 0;
        loop {
            let fresh = &self.buffer[self.start + seen..self.end];
            if let Some(at) = find_newline(fresh) {
                self.line = (self.start, self.start + seen + at);
                self.start = self.line.1 + 1;
                if self.start - self.line.0 > self.max {
                    return Err(LineError::TooLong);
                }
                return Ok(Step::Whole);
            }
            seen = self.end - self.start;
            if seen >= self.max {
                return Err(LineError::TooLong);
            }
            if self.fill()? == 0 {
                return Ok(if seen == 0 { Step::End } else { Step::Torn });
            }
        }
    }

    fn fill(&mut self) -> Result<usize, LineError> {
        if self.start > 0 && (self.start == self.end || self.end == self.buffer.len()) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let len = (self.buffer.len() * 2).clamp(BUFFER_BYTES_MIN.min(self.max), self.max);
            self.buffer.resize(len.max(self.end + 1), 0);
        }
        loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LineError::Io(error)),
            }
        }
    }
}

/// The first newline, eight bytes at a time.
fn find_newline(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const NEWLINES: u64 = u64::from_ne_bytes([b'\n'; 8]);
    let mut chunks = bytes.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().unwrap_or([0; 8])) ^ NEWLINES;
        if word.wrapping_sub(ONES) & !word & HIGHS != 0 {
            break;
        }
        at += 8;
    }
    bytes[at..].iter().position(|b| *b == b'\n').map(|n| at + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces one read at a time; an empty piece is a timeout.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.first_mut() else {
                return Ok(0);
            };
            if piece.is_empty() {
                self.0.remove(0);
                return Err(io::ErrorKind::TimedOut.into());
            }
            let count = piece.len().min(buffer.len());
            buffer[..count].copy_from_slice(&piece[..count]);
            piece.drain(..count);
            if piece.is_empty() {
                self.0.remove(0);
            }
            Ok(count)
        }
    }

    fn lines(pieces: &[&str], max: usize) -> Vec<String> {
        let pieces = pieces.iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut reader = LineReader::new(Pieces(pieces), max);
        let mut out = Vec::new();
        loop {
            match reader.next_line() {
                Ok(Line::Whole(line)) => out.push(String::from_utf8_lossy(line).into_owned()),
                Ok(Line::End) => return out,
                Ok(Line::Torn) => {
                    out.push("torn".into());
                    return out;
                }
                Err(LineError::TooLong) => {
                    out.push("too long".into());
                    return out;
                }
                Err(error) => out.push(format!("{}", error.is_timeout())),
            }
        }
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        assert_eq!(lines(&["a\nb\n\nc\n"], 10), ["a", "b", "", "c"]);
        assert_eq!(lines(&["a", "bc", "d\ne", "f\n"], 10), ["abcd", "ef"]);
        assert_eq!(lines(&["abc\nde"], 10), ["abc", "torn"]);
        assert_eq!(
            lines(&["ab", "", "c\n", "", ""], 10),
            ["true", "abc", "true", "true"]
        );
        assert_eq!(
            lines(&["012345678\n", "0123456789\n"], 10),
            ["012345678", "too long"]
        );
        assert_eq!(lines(&["0123456789", "0123456789"], 10), ["too long"]);
        let long = "x".repeat(100_000);
        assert_eq!(lines(&[&long, "\n"], 100_001), [long.as_str()]);
        assert_eq!(lines(&[&long, "\n"], 100_000), ["too long"]);
    }

    #[test]
    fn every_cut_gives_the_same_lines() {
        let text = "one\ntwo two\n\nthree\n";
        for at in 0..=text.len() {
            let pieces: Vec<&str> = [&text[..at], &text[at..]]
                .into_iter()
                .filter(|p| !p.is_empty())
                .collect();
            assert_eq!(
                lines(&pieces, 9),
                ["one", "two two", "", "three"],
                "cut at {at}"
            );
        }
    }

    #[test]
    fn newlines_are_found_wherever_they_stand() {
        for len in 0..40 {
            for at in 0..len {
                let mut bytes = vec![0x8a; len];
                bytes[at] = b'\n';
                assert_eq!(find_newline(&bytes), Some(at));
            }
            assert_eq!(find_newline(&vec![0x0b; len]), None);
        }
    }
}
