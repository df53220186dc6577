//! Scripts for well-known services, by name: the least that shows that the service
//! itself speaks, and the goodbye its protocol has, where it has one. Nothing is said
//! before a greeting has come to the end of its line: its rest would be no answer.

use super::{Expect, Need, Pattern, Place, Script, Step};
use crate::units::HostPort;

/// Names that stand for a script.
pub const NAMES: [&str; 10] = [
    "http", "smtp", "ssh", "imap", "pop3", "ftp", "redis", "mysql", "postgres", "tls",
];

/// What an HTTP answer is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Http {
    /// The path asked for; `None` for `/`.
    pub path: Option<String>,
    /// The status; `None` for any 2xx or 3xx.
    pub status: Option<u16>,
    /// A text somewhere after the headers.
    pub body: Option<String>,
}

/// The script of a name other than `http`, which [`http`] makes; `None` for no such name.
pub fn script(name: &str) -> Option<Script> {
    let steps = match name {
        "smtp" => vec![
            line("220 ", &["4", "5"]),
            line("\n", &[]),
            send(b"EHLO tcpmon.invalid\r\n"),
            line("250 ", &["4", "5"]),
            send(b"QUIT\r\n"),
            line("221", &[]),
        ],
        "ssh" => vec![opens_with(&[b"SSH-2.0-", b"SSH-1.99-"])],
        "imap" => vec![
            opens_with(&[b"* OK", b"* PREAUTH"]),
            line("\n", &[]),
            send(b"a LOGOUT\r\n"),
            line("a OK", &["a NO", "a BAD"]),
        ],
        "pop3" => vec![
            opens_with(&[b"+OK"]),
            line("\n", &[]),
            send(b"QUIT\r\n"),
            opens_with(&[b"+OK"]),
        ],
        "ftp" => vec![
            line("220 ", &["4", "5"]),
            line("\n", &[]),
            send(b"QUIT\r\n"),
            line("221", &[]),
        ],
        // One that wants a password is there, too.
        "redis" => vec![
            send(b"PING\r\n"),
            opens_with(&[b"+PONG", b"-NOAUTH"]),
            send(b"QUIT\r\n"),
            line("+OK", &[]),
        ],
        // A greeting of protocol 10, then a login that is refused: who leaves before that is
        // counted against the host, which the server blocks in the end ("max_connect_errors").
        "mysql" => vec![
            expect(&[b"\x00\x0a"], Place::Anywhere, &[]),
            send(&mysql_login()),
            // An error, a question for another proof, or success, as packet 2.
            expect(
                &[b"\x02\xff", b"\x02\xfe", b"\x02\x00"],
                Place::Anywhere,
                &[],
            ),
            // No proof, as packet 3; after an error nobody reads it.
            send(&[0, 0, 0, 3]),
        ],
        // SSLRequest (PostgreSQL protocol 3.0, "Message Formats"): S or N, one byte.
        "postgres" => vec![
            send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]),
            opens_with(&[b"S", b"N"]),
        ],
        "tls" => vec![
            send(&client_hello()),
            // A handshake record or an alert, of whatever version.
            opens_with(&[b"\x16\x03", b"\x15\x03"]),
        ],
        _ => return None,
    };
    Some(Script { steps })
}

/// A GET (RFC 9112) whose answer is to be as `http` says.
pub fn http(http: &Http, target: &HostPort) -> Script {
    let path = http.path.as_deref().unwrap_or("/");
    let host = match target.port {
        80 => target.to_string().trim_end_matches(":80").to_string(),
        _ => target.to_string(),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tcpmon\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let statuses: Vec<String> = match http.status {
        Some(status) => vec![format!("{status} ")],
        None => vec!["2".to_string(), "3".to_string()],
    };
    let lines = ["HTTP/1.1 ", "HTTP/1.0 "].iter();
    let lines: Vec<String> = lines
        .flat_map(|version| statuses.iter().map(move |s| format!("{version}{s}")))
        .collect();
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let mut steps = vec![send(request.as_bytes()), opens_with(&lines)];
    if let Some(body) = &http.body {
        steps.push(line("\r\n\r\n", &[]));
        steps.push(line(body, &[]));
    }
    Script { steps }
}

fn send(bytes: &[u8]) -> Step {
    Step::Send(bytes.to_vec())
}

fn opens_with(any: &[&[u8]]) -> Step {
    expect(any, Place::Start, &[])
}

fn line(text: &str, reject: &[&str]) -> Step {
    expect(&[text.as_bytes()], Place::Anywhere, reject)
}

fn expect(any: &[&[u8]], place: Place, reject: &[&str]) -> Step {
    let pattern = |bytes: &&[u8]| Pattern {
        bytes: bytes.to_vec(),
        place,
    };
    Step::Expect(Expect {
        patterns: any.iter().map(pattern).collect(),
        need: Need::Any,
        reject: reject.iter().map(|r| r.as_bytes().to_vec()).collect(),
        within: None,
        silent_ok: false,
    })
}

/// HandshakeResponse41 (MySQL client/server protocol, "Connection Phase Packets"): user
/// `tcpmon`, no password, as packet 1.
fn mysql_login() -> Vec<u8> {
    // LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION.
    let mut payload = 0x8201u32.to_le_bytes().to_vec();
    payload.extend((1u32 << 24).to_le_bytes());
    // utf8, and 23 bytes that are reserved.
    payload.push(33);
    payload.extend([0; 23]);
    payload.extend_from_slice(b"tcpmon\0\0");
    let mut packet = vec![payload.len() as u8, 0, 0, 1];
    packet.extend(payload);
    packet
}

/// A ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2), which every server answers with
/// its own or with an alert. Nothing is negotiated: there is no cryptography behind it.
fn client_hello() -> Vec<u8> {
    // ECDHE and RSA suites in common use; supported groups, point formats, signatures.
    let suites: [u16; 8] = [
        0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x009c, 0x002f,
    ];
    let extensions: [(u16, &[u8]); 3] = [
        (10, &[0, 6, 0, 29, 0, 23, 0, 24]),
        (11, &[1, 0]),
        (13, &[0, 12, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1]),
    ];
    let mut body = vec![3, 3];
    body.extend_from_slice(b"tcpmon asks whether TLS is here.");
    body.push(0);
    sized(&mut body, |out| {
        suites.iter().for_each(|s| out.extend(s.to_be_bytes()));
    });
    body.extend([1, 0]);
    sized(&mut body, |out| {
        for (kind, data) in extensions {
            out.extend(kind.to_be_bytes());
            sized(out, |out| out.extend_from_slice(data));
        }
    });
    let mut record = vec![0x16, 3, 1];
    sized(&mut record, |out| {
        out.extend([1, 0]);
        sized(out, |out| out.extend_from_slice(&body));
    });
    record
}

/// Appends what `fill` appends, with its length in two bytes before it.
fn sized(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0, 0]);
    fill(out);
    let len = (out.len() - at - 2) as u16;
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_script() {
        for name in NAMES.iter().filter(|n| **n != "http") {
            let script = script(name).unwrap();
            assert!(!script.steps.is_empty() && script.steps.len() <= super::super::STEPS_MAX);
        }
        assert_eq!(script("gopher"), None);
    }

    #[test]
    fn an_http_request_names_the_host_it_is_for() {
        let first =
            |address: &str, want: &Http| match &http(want, &address.parse().unwrap()).steps[0] {
                Step::Send(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                step => panic!("{step:?}"),
            };
        let plain = first("www.example.org:80", &Http::default());
        assert!(plain.starts_with("GET / HTTP/1.1\r\nHost: www.example.org\r\n"));
        assert!(plain.ends_with("\r\n\r\n"));
        let want = Http {
            path: Some("/health".into()),
            ..Http::default()
        };
        let other = first("[::1]:8080", &want);
        assert!(other.starts_with("GET /health HTTP/1.1\r\nHost: [::1]:8080\r\n"));
    }

    #[test]
    fn a_body_is_looked_for_behind_the_headers() {
        let want = Http {
            body: Some("OK".into()),
            ..Http::default()
        };
        let steps = http(&want, &"h:80".parse().unwrap()).steps;
        let texts = steps[2..].iter().map(|step| match step {
            Step::Expect(expect) => &expect.patterns[0].bytes[..],
            step => panic!("{step:?}"),
        });
        assert_eq!(texts.collect::<Vec<_>>(), [&b"\r\n\r\n"[..], b"OK"]);
    }

    #[test]
    fn nothing_is_said_within_a_greeting() {
        for name in ["smtp", "imap", "pop3", "ftp"] {
            let steps = script(name).unwrap().steps;
            let says = steps.iter().position(|s| matches!(s, Step::Send(_)));
            let before = &steps[says.unwrap() - 1];
            assert_eq!(*before, line("\n", &[]), "{name}");
        }
    }

    #[test]
    fn a_client_hello_is_one_record_with_right_lengths() {
        let hello = client_hello();
        let long = |at: usize| usize::from(hello[at]) << 8 | usize::from(hello[at + 1]);
        assert_eq!(long(3), hello.len() - 5);
        assert_eq!((hello[5], hello[6], long(7)), (1, 0, hello.len() - 9));
    }
}
