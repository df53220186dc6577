//! The server against clients that follow a script.

use super::*;
use crate::http::reply::TEXT;
use std::io::{Read, Write};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that tells the path back; `/events` is a stream of two events.
fn server() -> (SocketAddr, Arc<Served>) {
    let served = Arc::new(Served::default());
    let addr = "127.0.0.1:0".parse().unwrap();
    let bound = start(addr, Arc::clone(&served), |request| {
        if request.path == "/events" {
            return Answer::Events(Box::new(|events| {
                events.send("first", "a\nb")?;
                events.send("second", "")
            }));
        }
        Reply::new(TEXT, request.path.clone()).tagged().into()
    });
    (bound.unwrap(), served)
}

/// Sends a text and reads to the end.
fn exchange(addr: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    got
}

#[test]
fn requests_of_one_connection_are_answered_in_turn() {
    let (addr, served) = server();
    let got = exchange(
        addr,
        "GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /d HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let answers: Vec<&str> = got.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
    assert_eq!(answers.len(), 3, "{got}");
    assert!(
        answers[0].ends_with("\r\n\r\n/a") && answers[1].ends_with("\r\n\r\n"),
        "{got}"
    );
    assert!(
        answers[2].contains("Connection: close\r\n") && answers[2].ends_with("/c"),
        "{got}"
    );
    assert_eq!(served.by_status().get(&200), Some(&3));
}

#[test]
fn what_is_no_request_is_told_and_ends_the_connection() {
    let (addr, served) = server();
    for (text, status) in [
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
            "405",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
        ("\x16\x03\x01\x02\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            "413",
        ),
    ] {
        let got = exchange(addr, text);
        assert!(
            got.starts_with(&format!("HTTP/1.1 {status} ")),
            "{text:?}: {got}"
        );
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    }
    assert_eq!(served.by_status().get(&400), Some(&3));
}

#[test]
fn events_come_one_after_the_other() {
    let (addr, served) = server();
    let got = exchange(addr, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, events) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Type: text/event-stream"), "{head}");
    assert_eq!(
        events,
        "event: first\ndata: a\ndata: b\n\nevent: second\ndata: \n\n"
    );
    assert_eq!(served.streams(), 0);
}

#[test]
fn streams_have_a_place_only_while_they_last() {
    let served = Served::default();
    let places: Vec<_> = (0..STREAMS_MAX)
        .map(|_| StreamPlace::take(&served))
        .collect();
    assert!(places.iter().all(Option::is_some));
    assert!(StreamPlace::take(&served).is_none());
    assert_eq!(served.streams(), STREAMS_MAX);
    drop(places);
    assert!(StreamPlace::take(&served).is_some());
}
