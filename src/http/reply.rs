//! What is answered: status, headers, body, and their bytes (RFC 9110, RFC 9112).
//!
//! Always: a reply tells its length, that its type is as told, and what a page may load,
//! which unless it says so itself is nothing. One that has a tag is not sent to who has it.

use super::request::{Method, Refusal, Request};
use crate::crypto::sha256;
use crate::model::Wall;
use crate::units::http_date;

/// What a page may load, be loaded into and send to: nothing.
const POLICY_NONE: &str = "default-src 'none'; frame-ancestors 'none'";

pub const TEXT: &str = "text/plain; charset=utf-8";
pub const HTML: &str = "text/html; charset=utf-8";
pub const JSON: &str = "application/json";
pub const SVG: &str = "image/svg+xml";
pub const EVENTS: &str = "text/event-stream";

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    kind: &'static str,
    pub body: Vec<u8>,
    /// Whether the client may ask whether its copy is still good.
    is_tagged: bool,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// 200, of a media type; never kept by the client.
    pub fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status: 200,
            kind,
            body: body.into(),
            is_tagged: false,
            headers: Vec::new(),
        }
    }

    /// A line of text with another status.
    pub fn text(status: u16, text: &str) -> Reply {
        Reply {
            status,
            ..Reply::new(TEXT, format!("{text}\n"))
        }
    }

    /// The reply to what is refused.
    pub fn refused(refusal: &Refusal) -> Reply {
        let reply = Reply::text(refusal.status, &refusal.text);
        match refusal.status {
            405 | 501 => reply.with("Allow", "GET, HEAD"),
            _ => reply,
        }
    }

    /// The same with a tag of its content, so that who has it is told so in few bytes.
    pub fn tagged(self) -> Reply {
        Reply {
            is_tagged: true,
            ..self
        }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes to send to who asked `request`; `closes` when the connection ends with it.
    /// Gives back the status, which is 304 where the client has it.
    pub fn bytes(&self, request: Option<&Request>, closes: bool, now: Wall) -> (u16, Vec<u8>) {
        let tag = self.is_tagged.then(|| tag(&self.body));
        let known = request.and_then(|request| request.header("if-none-match"));
        let is_known = |tag: &String| known.is_some_and(|known| matches(&known, tag));
        let status = match self.status == 200 && tag.as_ref().is_some_and(is_known) {
            true => 304,
            false => self.status,
        };
        let mut head = format!(
            "HTTP/1.1 {status} {}\r\nDate: {}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n",
            reason(status),
            http_date(now),
        );
        let mut put = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        if status != 304 {
            put("Content-Type", self.kind);
            if self.kind != EVENTS {
                put("Content-Length", &self.body.len().to_string());
            }
        }
        match &tag {
            Some(tag) => {
                put("ETag", tag);
                put("Cache-Control", "no-cache");
            }
            None => put("Cache-Control", "no-store"),
        }
        let has = |name: &str| self.headers.iter().any(|(known, _)| *known == name);
        if !has("Content-Security-Policy") {
            put("Content-Security-Policy", POLICY_NONE);
        }
        if !has("Cross-Origin-Resource-Policy") {
            put("Cross-Origin-Resource-Policy", "same-origin");
        }
        for (name, value) in &self.headers {
            put(name, value);
        }
        if closes {
            put("Connection", "close");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        let is_head = request.is_some_and(|request| request.method == Method::Head);
        if !is_head && status != 304 {
            bytes.extend_from_slice(&self.body);
        }
        (status, bytes)
    }
}

/// A content's tag.
fn tag(body: &[u8]) -> String {
    let hash = sha256(body);
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Whether a list of tags has this one; weak ones count (RFC 9110, section 13.1.2).
fn matches(list: &str, tag: &str) -> bool {
    let mut tags = list.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Request {
        Request::parse(format!("{head} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap()
    }

    fn sent(reply: &Reply, request: Option<&Request>, closes: bool) -> String {
        String::from_utf8(reply.bytes(request, closes, Wall(1_763_820_000_123)).1).unwrap()
    }

    #[test]
    fn a_reply_tells_what_it_is() {
        let text = "HTTP/1.1 200 OK\r\nDate: Sat, 22 Nov 2025 14:00:00 GMT\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Type: application/json\r\nContent-Length: 2\r\nCache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nCross-Origin-Resource-Policy: same-origin\r\n\r\n";
        let reply = Reply::new(JSON, "{}");
        assert_eq!(
            sent(&reply, Some(&request("GET /")), false),
            format!("{text}{{}}")
        );
        assert_eq!(sent(&reply, Some(&request("HEAD /")), false), text);
        let own = reply.with("Content-Security-Policy", "own").with("X", "y");
        let own = sent(&own, None, true);
        assert!(
            own.contains("\r\nContent-Security-Policy: own\r\nX: y\r\nConnection: close\r\n\r\n{}")
        );
        assert_eq!(own.matches("Content-Security-Policy").count(), 1);
        let refused = Reply::refused(&Refusal {
            status: 405,
            text: "no".into(),
        });
        assert!(sent(&refused, None, true).contains("\r\nAllow: GET, HEAD\r\n"));
        let events = sent(&Reply::new(EVENTS, ""), None, true);
        assert!(!events.contains("Content-Length"), "{events}");
    }

    #[test]
    fn who_has_it_is_told_so() {
        let reply = Reply::new(TEXT, "body").tagged();
        let whole = sent(&reply, Some(&request("GET /")), false);
        assert!(whole.ends_with("body") && whole.contains("\r\nCache-Control: no-cache\r\n"));
        let tag = tag(b"body");
        for (known, status) in [
            (tag.clone(), 304),
            (format!("\"x\", W/{tag}"), 304),
            ("*".to_string(), 304),
            ("\"x\"".to_string(), 200),
            (String::new(), 200),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {known}\r\n\r\n");
            let request = Request::parse(head.as_bytes()).unwrap();
            let (got, bytes) = reply.bytes(Some(&request), false, Wall(0));
            assert_eq!(got, status, "{known}");
            assert_eq!(bytes.ends_with(b"body"), status == 200, "{known}");
            assert!(String::from_utf8_lossy(&bytes).contains(&format!("ETag: {tag}\r\n")));
        }
        // What failed is never as it was.
        let failed = Reply {
            status: 503,
            ..reply
        };
        let head = "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n";
        let request = Request::parse(head.as_bytes()).unwrap();
        assert_eq!(failed.bytes(Some(&request), false, Wall(0)).0, 503);
    }
}
