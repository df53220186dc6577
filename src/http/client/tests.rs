//! The client against listeners that follow a script.

use super::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Serves one connection on a port of its own: `act` gets it after the whole request, which
/// the thread gives back.
fn serve(act: impl FnOnce(&mut TcpStream) + Send + 'static) -> (HttpUrl, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = request(&mut stream);
        act(&mut stream);
        request
    });
    (url.parse().unwrap(), server)
}

/// Reads a request to the end of the body that it announces.
fn request(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        got.push(byte[0]);
    }
    let head = String::from_utf8(got).unwrap();
    let (_, length) = head.split_once("Content-Length: ").unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn posted(url: &HttpUrl, body: &[u8], timeout: Duration) -> std::result::Result<(), String> {
    let resolver = Resolver::with(|_| Ok(vec!["127.0.0.1".parse().unwrap()]));
    let headers = [("Content-Type", "application/json")];
    let posted = post(&resolver, url, &headers, body, timeout);
    posted.map_err(|error| {
        let start = format!("post to {}: ", url.origin());
        let error = error.to_string();
        error.strip_prefix(&start).expect(&error).to_string()
    })
}

#[test]
fn the_request_is_whole() {
    let (url, server) = serve(|s| s.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap());
    assert_eq!(posted(&url, "{\"é\":1}".as_bytes(), LONG), Ok(()));
    let expected = format!(
        "POST /hook?a=b HTTP/1.1\r\nHost: {}\r\nUser-Agent: tcpmon/{}\r\nConnection: close\r\nContent-Length: 8\r\nContent-Type: application/json\r\n\r\n{{\"é\":1}}",
        url.address,
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn the_port_is_named_where_it_is_another() {
    for (url, host) in [
        ("http://a.example/x", "a.example"),
        ("http://a.example:80/x", "a.example"),
        ("http://a.example:8080/x", "a.example:8080"),
        ("http://[::1]/x", "[::1]"),
        ("http://[::1]:443/x", "[::1]:443"),
    ] {
        let head = head(&url.parse().unwrap(), &[], 0);
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
    }
}

#[test]
fn answers_are_judged() {
    let redirect = "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://b.example/\u{7}\r\n\r\n";
    let moved =
        "answered 307 Temporary Redirect: moved to https://b.example/\\x07, which is not followed";
    let chunked =
        "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n5\r\noops\n\r\n";
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(9000));
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Ok(())),
        // A body that does not come is not waited for.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Ok(())),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            Ok(()),
        ),
        (redirect, Err(moved)),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
            Err("answered 304 Not Modified"),
        ),
        (chunked, Err("answered 500 Internal Server Error: oops")),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\nno such hook\nmore",
            Err("answered 404 Not Found: no such hook"),
        ),
        (&huge, Err("more than 8192 bytes of headers")),
        (
            "220 mail.example ESMTP\r\n",
            Err("expected HTTP, found \"220 mail.example ESMTP\""),
        ),
    ] {
        let bytes = answer.to_string();
        // The connection stays open until the client closes it: nothing waits for its end.
        let (url, server) = serve(move |s| {
            // A client that has read enough may be gone by now.
            let _ = s.write_all(bytes.as_bytes());
            let _ = s.read(&mut [0]);
        });
        let got = posted(&url, b"{}", LONG);
        assert_eq!(got, expected.map_err(str::to_string), "{answer:?}");
        server.join().unwrap();
    }
}

#[test]
fn who_breaks_off_is_told_apart() {
    let (url, server) = serve(|_| {});
    let closed = Err("closed without an answer".to_string());
    assert_eq!(posted(&url, b"{}", LONG), closed);
    server.join().unwrap();

    let (url, server) = serve(|s| s.write_all(b"HTTP/1.1 200 OK\r\nA: b").unwrap());
    let cut = Err("closed within the answer's headers".to_string());
    assert_eq!(posted(&url, b"{}", LONG), cut);
    server.join().unwrap();
}

#[test]
fn an_answer_before_the_whole_request_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Takes the rest, so that no reset overtakes the answer.
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let got = posted(&url.parse().unwrap(), &vec![b'x'; 4 << 20], LONG);
    assert_eq!(got, Err("answered 413 Content Too Large".to_string()));
    server.join().unwrap();
}

#[test]
fn one_deadline_covers_everything() {
    let began = clock::mono();
    // Silent; a byte at a time; nobody who reads.
    let (url, server) = serve(|s| drop(s.read(&mut [0])));
    let late = Err("read the answer: timed out after 100ms".to_string());
    assert_eq!(posted(&url, b"{}", SHORT), late);
    server.join().unwrap();

    let (url, server) = serve(|s| {
        s.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        while s.write_all(b"H").is_ok() && s.read(&mut [0]).is_err() {}
    });
    assert_eq!(posted(&url, b"{}", SHORT), late);
    server.join().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let got = posted(&url.parse().unwrap(), &vec![b'x'; 32 << 20], SHORT);
    assert_eq!(got, Err("send: timed out after 100ms".to_string()));
    assert!(clock::mono().since(began) < LONG / 4);
}

#[test]
fn who_cannot_be_reached_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/x").parse().unwrap();
    let refused = Err(format!("connect to {address}: refused"));
    assert_eq!(posted(&url, b"{}", LONG), refused);
    let nowhere = Resolver::with(|_| Err(io::Error::other("no such host")));
    let url: HttpUrl = "http://nowhere.example/x".parse().unwrap();
    let error = post(&nowhere, &url, &[], b"", LONG)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "post to http://nowhere.example: resolve nowhere.example: no such host"
    );
}
