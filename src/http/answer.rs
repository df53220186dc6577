//! What a server answers: the status, where it points to, and the first line of what it
//! says, for an error's text. Read from any source of bytes; when reading is to end is the
//! source's matter.
//!
//! A body is looked at only where the status is no success, and only until its first line
//! is there.

use std::io::{self, BufRead, Read};

use crate::error::plain;
use crate::text;

/// Most bytes of status lines and headers, those of interim answers too.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Longest part of an answer that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// The head of a final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// As the server words it; may be empty.
    pub reason: String,
    pub location: Option<String>,
    body: Body,
}

/// How long the body is (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    ToTheEnd,
}

impl Head {
    /// Whether the request was accepted: 2xx.
    pub fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// `500 Internal Server Error`.
    pub fn status_line(&self) -> String {
        let line = format!("{} {}", self.status, self.reason);
        shown(&line)
    }
}

/// Reads up to the end of the headers, past interim answers (1xx). Errors: why there is no
/// answer, for people.
pub fn head(source: &mut impl BufRead) -> Result<Head, Bad> {
    let mut room = HEAD_BYTES_MAX;
    loop {
        let first = line(source, &mut room)?;
        let (status, reason) = status_line(&first)
            .ok_or_else(|| Bad::Text(format!("expected HTTP, found \"{}\"", shown(&first))))?;
        let mut head = Head {
            status,
            reason,
            location: None,
            body: Body::ToTheEnd,
        };
        loop {
            let line = line(source, &mut room)?;
            if line.is_empty() {
                break;
            }
            // What is no header says nothing that is needed here.
            if let Some((name, value)) = line.split_once(':') {
                header(&mut head, name, value.trim());
            }
        }
        // 101 ends HTTP on the connection; nobody asked for that.
        if head.status / 100 != 1 || head.status == 101 {
            return Ok(head);
        }
    }
}

/// Why there is no head.
#[derive(Debug)]
pub enum Bad {
    Io(io::Error),
    /// For people.
    Text(String),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Bad {
        Bad::Io(error)
    }
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::Io(error) => f.write_str(&plain(&error.to_string())),
            Bad::Text(text) => f.write_str(text),
        }
    }
}

/// The next line without its end (CR LF; a bare LF is taken, too).
fn line(source: &mut impl BufRead, room: &mut usize) -> Result<String, Bad> {
    let mut bytes = Vec::new();
    source.take(*room as u64).read_until(b'\n', &mut bytes)?;
    let fresh = *room == HEAD_BYTES_MAX;
    *room -= bytes.len();
    let Some(bytes) = bytes.strip_suffix(b"\n") else {
        let text = match (*room, bytes.is_empty() && fresh) {
            (0, _) => format!("more than {HEAD_BYTES_MAX} bytes of headers"),
            (_, true) => "closed without an answer".to_string(),
            _ => "closed within the answer's headers".to_string(),
        };
        return Err(Bad::Text(text));
    };
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// `HTTP/1.1 200 OK` (RFC 9112, section 4).
fn status_line(line: &str) -> Option<(u16, String)> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let rest = rest.strip_prefix(|c: char| c.is_ascii_digit())?;
    let rest = rest.strip_prefix(' ')?;
    let (digits, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let three = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    let status = digits
        .parse()
        .ok()
        .filter(|status| three && *status >= 100)?;
    Some((status, reason.trim().to_string()))
}

fn header(head: &mut Head, name: &str, value: &str) {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("location") {
        head.location = Some(value.to_string());
    } else if is("transfer-encoding") {
        let last = value.rsplit(',').next().unwrap_or_default().trim();
        if last.eq_ignore_ascii_case("chunked") {
            head.body = Body::Chunked;
        }
    } else if is("content-length") && head.body != Body::Chunked {
        head.body = value.parse().map_or(Body::ToTheEnd, Body::Length);
    }
}

/// The first line of the body that says anything, fit to be shown; empty when there is
/// none. What comes of a body that breaks off counts.
pub fn first_line(head: &Head, source: &mut impl BufRead) -> String {
    let mut bytes = Vec::new();
    match head.body {
        Body::Length(length) => piece(source, length, &mut bytes),
        Body::Chunked => while chunk(source, &mut bytes) == Some(More::Yes) {},
        Body::ToTheEnd => piece(source, u64::MAX, &mut bytes),
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    shown(line.unwrap_or_default())
}

/// Whether more of a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// Reads up to `length` bytes, until a first line is there, the end, or an error.
fn piece(source: &mut impl BufRead, length: u64, bytes: &mut Vec<u8>) {
    let room = (BODY_BYTES_MAX - bytes.len()) as u64;
    let mut source = source.take(length.min(room));
    while !has_line(bytes) && matches!(source.read_until(b'\n', bytes), Ok(count) if count > 0) {}
}

fn has_line(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace());
    start.is_some_and(|start| bytes[start..].contains(&b'\n'))
}

/// Reads one chunk (RFC 9112, section 7.1); `None` when it is none.
fn chunk(source: &mut impl BufRead, bytes: &mut Vec<u8>) -> Option<More> {
    // A size with its extensions.
    let size = line(source, &mut BODY_BYTES_MAX.clone()).ok()?;
    let digits = size.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(digits, 16)
        .ok()
        .filter(|size| *size > 0)?;
    let before = bytes.len();
    piece(source, size, bytes);
    let whole = (bytes.len() - before) as u64 == size;
    if !whole || has_line(bytes) || bytes.len() >= BODY_BYTES_MAX {
        return Some(More::No);
    }
    line(source, &mut "\r\n".len()).ok()?;
    Some(More::Yes)
}

/// Text from the server as it may stand in an error: escaped and cut.
pub fn shown(line: &str) -> String {
    let line = text::escape(line.trim());
    match line.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one at a time, then fails: who reads too far is told.
    struct Trap<'a>(&'a [u8]);

    impl Read for Trap<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let [first, rest @ ..] = self.0 else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn both<'a>(answer: &'a [u8]) -> [Box<dyn BufRead + 'a>; 2] {
        [Box::new(answer), Box::new(io::BufReader::new(Trap(answer)))]
    }

    #[test]
    fn answers_are_read_to_their_first_line() {
        let long = "x".repeat(300);
        let long_shown = format!("404 Not Found | {}…", "x".repeat(200));
        let large = format!("HTTP/1.1 404 Not Found\r\n\r\n{}", "x".repeat(5000));
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "200 OK | "),
            ("HTTP/1.1 204\r\n\r\n", "204 | "),
            ("HTTP/1.0 200 OK\n\n", "200 OK | "),
            (
                "HTTP/1.1 500 \r\nContent-Length: 4\r\n\r\noopsmore",
                "500 | oops",
            ),
            (
                "HTTP/1.1 500 Internal Server Error\r\ncontent-length:4\r\n\r\noops",
                "500 Internal Server Error | oops",
            ),
            (
                "HTTP/1.1 400 Bad Request\r\n\r\n\r\n \n first \nsecond",
                "400 Bad Request | first",
            ),
            (
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\nx\n",
                "400 Bad Request | ",
            ),
            (
                "HTTP/1.1 400 Bad Request\r\nContent-Length: many\r\n\r\nx\n",
                "400 Bad Request | x",
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
                "202 Accepted | ",
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                "101 Switching Protocols | ",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
                "502 Bad Gateway | abc",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nline\nmore \r\n",
                "502 Bad Gateway | line",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabx\r\n1\r\nc\r\n",
                "502 Bad Gateway | ab",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\nzebra\r\n",
                "502 Bad Gateway | ",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab\n",
                "502 Bad Gateway | ab",
            ),
            (
                "HTTP/1.1 500 \u{1b}[31mred\r\nno header\r\n\r\n\u{202e}a\u{7}\n",
                "500 \\x1b[31mred | \\u{202e}a\\x07",
            ),
            (
                &format!("HTTP/1.1 404 Not Found\r\n\r\n{long}\n"),
                &long_shown,
            ),
            (&large, &long_shown),
        ] {
            for mut source in both(answer.as_bytes()) {
                let head = head(&mut source).expect(answer);
                let line = first_line(&head, &mut source);
                let got = format!("{} | {line}", head.status_line());
                assert_eq!(got, expected, "{answer:?}");
                let success = expected.starts_with('2');
                assert_eq!(head.is_success(), success, "{answer:?}");
            }
        }
    }

    #[test]
    fn where_it_points_to_is_kept() {
        let mut answer: &[u8] = b"HTTP/1.1 302 Found\r\nLOCATION:  https://a/b?c \r\n\r\n";
        let head = head(&mut answer).unwrap();
        assert_eq!(head.location.as_deref(), Some("https://a/b?c"));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(400);
        let wide = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        let most = format!(
            "HTTP/1.1 200 OK\r\nA: {}\r\n",
            "x".repeat(HEAD_BYTES_MAX - 24)
        );
        let too_many = "more than 8192 bytes of headers";
        for (answer, expected) in [
            ("", "closed without an answer"),
            ("HTTP/1.1 200", "closed within the answer's headers"),
            ("HTTP/1.1 200 OK\r\n", "closed within the answer's headers"),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n",
                "closed within the answer's headers",
            ),
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                "expected HTTP, found \"SSH-2.0-OpenSSH_9.2\"",
            ),
            ("\u{1b}c\n", "expected HTTP, found \"\\x1bc\""),
            (
                "HTTP/2 200 OK\r\n\r\n",
                "expected HTTP, found \"HTTP/2 200 OK\"",
            ),
            (
                "HTTP/1.1 20 OK\r\n\r\n",
                "expected HTTP, found \"HTTP/1.1 20 OK\"",
            ),
            (
                "HTTP/1.1 2000\r\n\r\n",
                "expected HTTP, found \"HTTP/1.1 2000\"",
            ),
            (
                "HTTP/1.1 +20\r\n\r\n",
                "expected HTTP, found \"HTTP/1.1 +20\"",
            ),
            (
                "HTTP/1.1 099 X\r\n\r\n",
                "expected HTTP, found \"HTTP/1.1 099 X\"",
            ),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", "expected HTTP, found \"\""),
            (&endless, too_many),
            (&wide, too_many),
            (&format!("{most}A:\r\n\r\n"), too_many),
        ] {
            let got = head(&mut answer.as_bytes()).unwrap_err().to_string();
            assert_eq!(got, expected, "{answer:?}");
        }
        assert!(head(&mut format!("{most}\r\n").as_bytes()).is_ok());
    }
}
