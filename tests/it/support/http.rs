//! A client that says what it is told to and hears all of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use super::PATIENCE;

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn status(&self, expected: u16) -> &Answer {
        assert_eq!(self.status, expected, "{}{}", self.head, self.body);
        self
    }

    /// Fails the test unless the body has this in it.
    #[track_caller]
    pub fn has(&self, text: &str) -> &Answer {
        assert!(self.body.contains(text), "no {text:?} in\n{}", self.body);
        self
    }

    /// Fails the test if the body has this in it.
    #[track_caller]
    pub fn lacks(&self, text: &str) -> &Answer {
        assert!(!self.body.contains(text), "{text:?} in\n{}", self.body);
        self
    }
}

/// Asks for a path.
#[track_caller]
pub fn get(addr: SocketAddr, path: &str) -> Answer {
    get_with(addr, path, &[])
}

/// Asks for a path with these headers beside what every request has; a `Host` among them
/// takes the place of the usual one.
#[track_caller]
pub fn get_with(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut text = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all((text + "\r\n").as_bytes()).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap_or((&got, ""));
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0),
        head: head.to_string(),
        body: body.to_string(),
    }
}

/// Events of a stream, as they come.
pub struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Opens a stream.
    pub fn open(addr: SocketAddr, path: &str) -> Stream {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        Stream(BufReader::new(stream))
    }

    /// Waits for an event with this in its data.
    #[track_caller]
    pub fn event(&mut self, part: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let count = self.0.read_line(&mut line).expect("an event in time");
            assert!(count > 0, "the stream ended without {part:?}");
            if line.starts_with("data: ") && line.contains(part) {
                return line;
            }
        }
    }
}

/// A receiver of exports on an address of its own: hands on what it is sent, one text a
/// delivery, for as long as it is there.
pub struct Sink {
    pub addr: SocketAddr,
    pub deliveries: Receiver<String>,
}

impl Sink {
    /// Takes `count` deliveries on `addr` and is gone then. With `answers`, they are HTTP
    /// requests, of which each gets this status line; else whatever is sent to its end.
    pub fn start(addr: SocketAddr, answers: Option<&'static str>, count: usize) -> Sink {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, deliveries) = channel();
        std::thread::spawn(move || {
            for _ in 0..count {
                let (mut stream, _) = listener.accept().unwrap();
                // Whoever hears the answer finds it among the deliveries.
                if sender.send(take(&mut stream, answers.is_some())).is_err() {
                    return;
                }
                if let Some(status) = answers {
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        Sink { addr, deliveries }
    }
}

fn take(stream: &mut TcpStream, is_http: bool) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if !is_http {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        return text;
    }
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}
