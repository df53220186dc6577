//! What a client asks (RFC 9112, sections 2 to 6): the head of a request, read within
//! limits and taken apart. GET and HEAD alone; a request that brings a body is refused.
//!
//! Always: nothing is guessed. What two programs might read in two ways (a folded header, a
//! space before a colon, two hosts, a control character) is refused, and the connection with it.

use std::io::{self, BufRead, Read};

/// Most bytes of a request's line, and of all its headers together.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers.
pub const HEADERS_MAX: usize = 64;
/// Methods that are known (RFC 9110, section 9; RFC 5789) and that nothing here takes.
const METHODS_OTHER: [&str; 7] = [
    "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
}

/// A request whose form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Without the query, percent signs decoded.
    pub path: String,
    /// Names and values in their order, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// Whom the client means, with or without a port; empty where it does not say (HTTP/1.0).
    pub host: String,
    /// Whether the connection may serve another one.
    pub keeps_alive: bool,
}

/// Why a request is not answered as asked. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// For people.
    pub text: String,
}

fn refusal(status: u16, text: impl Into<String>) -> Refusal {
    Refusal {
        status,
        text: text.into(),
    }
}

/// How reading a head ended without one.
#[derive(Debug)]
pub enum NoHead {
    /// The client is gone, or was silent for too long.
    Gone(io::Error),
    Refused(Refusal),
}

/// Reads up to the empty line that ends a head; empty lines before it are passed over
/// (RFC 9112, section 2.2). `Ok(None)` when the client left between two requests.
pub fn read_head(source: &mut impl BufRead) -> Result<Option<Vec<u8>>, NoHead> {
    let mut head = Vec::new();
    let (mut first, mut line_len) = (true, 0);
    loop {
        let before = head.len();
        let room = match first {
            true => LINE_BYTES_MAX,
            false => HEAD_BYTES_MAX + line_len - before,
        };
        let count = source
            .take(room as u64)
            .read_until(b'\n', &mut head)
            .map_err(NoHead::Gone)?;
        let line = &head[before..];
        match (line.ends_with(b"\n"), first) {
            (true, true) if line == b"\r\n" || line == b"\n" => head.clear(),
            (true, true) => (first, line_len) = (false, count),
            (true, false) if line == b"\r\n" || line == b"\n" => return Ok(Some(head)),
            (true, false) => {}
            (false, true) if count == 0 => return Ok(None),
            (false, true) if count == room => {
                let text = format!("a request line has at most {LINE_BYTES_MAX} bytes");
                return Err(NoHead::Refused(refusal(414, text)));
            }
            (false, false) if count == room => {
                let text = format!("headers have at most {HEAD_BYTES_MAX} bytes");
                return Err(NoHead::Refused(refusal(431, text)));
            }
            (false, _) => {
                return Err(NoHead::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl Request {
    /// Takes a head apart.
    pub fn parse(head: &[u8]) -> Result<Request, Refusal> {
        let text = std::str::from_utf8(head)
            .map_err(|_| refusal(400, "a request is text, and this one is not"))?;
        let mut lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        let first = lines.next().unwrap_or_default();
        let disturbs = |c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
        if text.contains(disturbs) || text.replace("\r\n", "\n").contains('\r') {
            return Err(refusal(400, "a control character within the request"));
        }
        let (method, target, version) = request_line(first)?;
        let headers = headers(lines.take_while(|line| !line.is_empty()))?;
        let value = |name: &str| {
            let mut all = headers.iter().filter(|(known, _)| known == name);
            let first = all.next().map(|(_, value)| value.as_str());
            (first, all.next().is_some())
        };
        let host = match (value("host"), version) {
            ((_, true), _) => return Err(refusal(400, "more than one Host")),
            ((None, _), Version::V11) => return Err(refusal(400, "no Host")),
            ((host, false), _) => host.unwrap_or_default(),
        };
        let (host, target) = match without_origin(target) {
            // The target's own host is the one that counts (RFC 9112, section 3.2.2).
            Some((own, rest)) => (own, rest),
            None => (host, target),
        };
        let has_body = value("transfer-encoding").0.is_some()
            || value("content-length").0.is_some_and(|n| n != "0");
        if has_body {
            return Err(refusal(413, "requests with a body are not taken"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !path.starts_with('/') {
            return Err(refusal(400, "expected a path that starts with /"));
        }
        let closes = value("connection").0.is_some_and(|text| {
            text.split(',')
                .any(|t| t.trim().eq_ignore_ascii_case("close"))
        });
        Ok(Request {
            method,
            path: decoded(path, Plus::Stays)?,
            query: query_pairs(query)?,
            host: host.to_string(),
            keeps_alive: version == Version::V11 && !closes,
            headers,
        })
    }

    /// The value of a header, whose name is given in lower case; several of one name are
    /// joined (RFC 9110, section 5.2).
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers.iter().filter(|(known, _)| known == name);
        let all: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The first value that the query has for a name.
    pub fn query(&self, name: &str) -> Option<&str> {
        let mut all = self.query.iter().filter(|(known, _)| known == name);
        all.next().map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V10,
    V11,
}

fn request_line(line: &str) -> Result<(Method, &str, Version), Refusal> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(refusal(400, "expected METHOD TARGET HTTP/1.1"));
    };
    let version = match version {
        "HTTP/1.1" => Version::V11,
        "HTTP/1.0" => Version::V10,
        other if other.starts_with("HTTP/") => {
            return Err(refusal(505, "HTTP/1.1 is spoken here"));
        }
        _ => return Err(refusal(400, "expected METHOD TARGET HTTP/1.1")),
    };
    match method {
        "GET" => Ok((Method::Get, target, version)),
        "HEAD" => Ok((Method::Head, target, version)),
        other if METHODS_OTHER.contains(&other) => {
            Err(refusal(405, "only GET and HEAD are answered"))
        }
        _ => Err(refusal(501, "only GET and HEAD are answered")),
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>, Refusal> {
    let mut headers = Vec::new();
    for line in lines {
        if headers.len() == HEADERS_MAX {
            return Err(refusal(
                431,
                format!("at most {HEADERS_MAX} headers are taken"),
            ));
        }
        let (name, value) = line
            .split_once(':')
            .filter(|(name, _)| is_token(name))
            .ok_or_else(|| refusal(400, "expected headers of the form Name: value"))?;
        let value = value.trim_matches([' ', '\t']);
        headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
    Ok(headers)
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

/// The host of a target in absolute form, and the rest.
fn without_origin(target: &str) -> Option<(&str, &str)> {
    let scheme = target.get(..7)?;
    let rest = &target[7..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let path = if rest[end..].starts_with('/') {
        &rest[end..]
    } else {
        "/"
    };
    scheme
        .eq_ignore_ascii_case("http://")
        .then_some((&rest[..end], path))
}

/// What a plus sign stands for: in a query, a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plus {
    Stays,
    IsSpace,
}

fn query_pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Ok((
            decoded(name, Plus::IsSpace)?,
            decoded(value, Plus::IsSpace)?,
        ))
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(pair).collect()
}

fn decoded(text: &str, plus: Plus) -> Result<String, Refusal> {
    let bad = || {
        refusal(
            400,
            "a percent sign stands for a byte, such as %2f, and the bytes for text",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
                (high * 16 + low) as u8
            }
            b'+' if plus == Plus::IsSpace => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// A text as part of a query or a path.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request, Refusal> {
        match read_head(&mut head.as_bytes()) {
            Ok(Some(bytes)) => Request::parse(&bytes),
            Ok(None) => Err(refusal(0, "left")),
            Err(NoHead::Gone(error)) => Err(refusal(0, error.kind().to_string())),
            Err(NoHead::Refused(refused)) => Err(refused),
        }
    }

    #[test]
    fn a_request_is_taken_apart() {
        for (head, path, query, host, keeps) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", "a", true),
            (
                "\r\n\nGET /x?y HTTP/1.1\nhost:a:80 \n\n",
                "/x",
                "y=;",
                "a:80",
                true,
            ),
            (
                "HEAD /a%2fb%20c?q=%C3%A9+x&&n=1=2&q=z HTTP/1.1\r\nHoSt: [::1]:1\r\nConnection: x, Close\r\n\r\n",
                "/a/b c",
                "q=é x;n=1=2;q=z;",
                "[::1]:1",
                false,
            ),
            ("GET /+ HTTP/1.0\r\n\r\n", "/+", "", "", false),
            (
                "GET HTTP://b:9?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                "/",
                "",
                "b:9",
                true,
            ),
            (
                "GET http://b/p?x HTTP/1.1\r\nHost: a\r\n\r\n",
                "/p",
                "x=;",
                "b",
                true,
            ),
        ] {
            let got = parse(head).expect(head);
            let pairs: String = got.query.iter().map(|(n, v)| format!("{n}={v};")).collect();
            let seen = (&*got.path, &*pairs, &*got.host, got.keeps_alive);
            assert_eq!(seen, (path, query, host, keeps), "{head:?}");
        }
        let got = parse("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a:\t2 \r\n\r\n").unwrap();
        assert_eq!(got.header("x-a").as_deref(), Some("1, 2"));
        assert_eq!((got.header("x-b"), got.query("q")), (None, None));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_status() {
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(LINE_BYTES_MAX));
        let wide = format!(
            "GET / HTTP/1.1\r\nA: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        );
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "a: b\r\n".repeat(HEADERS_MAX + 1)
        );
        for (head, status) in [
            ("", 0),
            ("\r\n", 0),
            ("GET / HT", 0),
            ("GET / HTTP/1.1\r\nHost: a\r\n", 0),
            ("GET /\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{1b}[2J HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / SPDY/1\r\nHost: a\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                413,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                413,
            ),
            (&long, 414),
            (&wide, 431),
            (&many, 431),
        ] {
            let got = parse(head).unwrap_err();
            assert_eq!(got.status, status, "{:?}: {}", head.get(..60), got.text);
        }
        assert!(matches!(
            Request::parse(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
            Err(Refusal { status: 400, .. })
        ));
    }

    #[test]
    fn texts_go_into_queries_and_come_back() {
        for text in ["", "a b&c=d", "é/%?#+", "plain-._~"] {
            let head = format!("GET /?q={} HTTP/1.1\r\nHost: a\r\n\r\n", encoded(text));
            assert_eq!(parse(&head).unwrap().query("q"), Some(text));
        }
    }
}
