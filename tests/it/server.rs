//! `tcpmon-server` as a peer sees it: each mode, each fault, each limit.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Running, program, run, until};

/// A moment in which something that must not happen would have happened.
const MOMENT: Duration = Duration::from_millis(100);

/// A loopback address of this process's own where there is one, for tests that
/// need ports which nobody else may take: Linux has all of 127.0.0.0/8.
fn own_ip(test: u8) -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    match cfg!(target_os = "linux") {
        true => format!("127.{test}.{high}.{low}"),
        false => "127.0.0.1".to_string(),
    }
}

fn server(args: &[&str]) -> (Running, SocketAddr) {
    server_at("127.0.0.1", args)
}

fn server_at(ip: &str, args: &[&str]) -> (Running, SocketAddr) {
    let mut command = program("tcpmon-server");
    command.arg(format!("--listen={ip}:0"));
    let mut running = Running::start(command.args(args));
    let addr = running.listening();
    (running, addr)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Whether the server closed the connection, by end of stream or reset.
fn closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Whether the server says nothing for a moment.
fn mute(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(MOMENT)).unwrap();
    let outcome = stream.read(&mut [0; 16]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    outcome.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Whether a byte sent comes back.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && matches!(stream.read(&mut byte), Ok(1)) && byte == *b"x"
}

#[test]
fn echo_sends_back_and_reports_who_came() {
    let (mut server, addr) = server(&[]);
    let mut stream = connect(addr);
    let peer = stream.local_addr().unwrap();
    for word in [&b"ping"[..], b"\0\xff"] {
        stream.write_all(word).unwrap();
        assert_eq!(read(&mut stream, word.len()), word);
    }
    drop(stream);
    let line = server.stderr.line("closed by the peer");
    let about = format!(" {peer} on port {}: ", addr.port());
    assert!(line.contains(&about), "{line}");
    assert!(line.ends_with(", 6 bytes in, 6 out"), "{line}");
}

#[test]
fn banner_speaks_first_and_then_listens() {
    let (_default, addr) = server(&["--mode", "banner"]);
    assert_eq!(read(&mut connect(addr), 21), b"tcpmon-server ready\r\n");
    let (_own, addr) = server(&["--mode=banner", r"--banner=220 \x41\n"]);
    let mut stream = connect(addr);
    assert_eq!(read(&mut stream, 6), b"220 A\n");
    stream.write_all(b"more").unwrap();
    assert!(mute(&mut stream));
}

#[test]
fn discard_and_silent_answer_nothing_and_notice_the_end() {
    for mode in ["discard", "silent"] {
        let (mut server, addr) = server(&["--mode", mode]);
        let mut stream = connect(addr);
        stream.write_all(b"hello").unwrap();
        assert!(mute(&mut stream), "{mode}");
        drop(stream);
        let line = server.stderr.line("closed by the peer");
        assert!(line.ends_with(", 5 bytes in, 0 out"), "{mode}: {line}");
    }
}

#[test]
fn discard_reads_on_where_silent_stops() {
    const MUCH: u64 = 32 << 20;
    for (mode, idle, ends) in [
        ("discard", "60s", "33,554,432 bytes in, 0 out"),
        ("silent", "300ms", "idle for 300ms"),
    ] {
        let (mut server, addr) = server(&["--mode", mode, "--idle-timeout", idle]);
        let mut stream = connect(addr);
        let sent = std::io::copy(&mut std::io::repeat(b'x').take(MUCH), &mut stream);
        assert_eq!(sent.is_ok(), mode == "discard", "{mode}: {sent:?}");
        drop(stream);
        server.stderr.line(ends);
    }
}

#[test]
fn close_and_garbage_do_what_they_say() {
    let (mut closing, addr) = server(&["--mode", "close"]);
    assert!(closed(&mut connect(addr)));
    closing.stderr.line(": closed, after");
    let (_garbage, addr) = server(&["--mode", "garbage"]);
    let mut stream = connect(addr);
    let first = read(&mut stream, 256);
    assert!(mute(&mut stream));
    stream.write_all(b"?").unwrap();
    assert_ne!(read(&mut stream, 256), first);
}

#[test]
fn delay_comes_before_each_answer() {
    let delay = Duration::from_millis(200);
    for mode in ["echo", "banner", "close", "garbage"] {
        let (_server, addr) = server(&["--mode", mode, "--delay", "200ms"]);
        let began = Instant::now();
        let mut stream = connect(addr);
        if mode == "echo" {
            stream.write_all(b"x").unwrap();
        }
        let answered = stream.read(&mut [0; 16]).is_ok_and(|len| len > 0);
        assert_eq!(answered, mode != "close", "{mode}");
        assert!(began.elapsed() >= delay, "{mode}: {:?}", began.elapsed());
    }
}

#[test]
fn a_peer_that_leaves_during_the_delay_is_noticed() {
    let (mut server, addr) = server(&["--mode=banner", "--delay=30d"]);
    drop(connect(addr));
    server.stderr.line("closed by the peer");
}

#[test]
fn every_nth_connection_is_dropped() {
    let (mut server, addr) = server(&["--fail-every", "3"]);
    let outcomes: Vec<bool> = (0..7).map(|_| echoes(&mut connect(addr))).collect();
    assert_eq!(outcomes, [true, true, false, true, true, false, true]);
    server.stderr.line("dropped by --fail-every");
    server.stderr.line("dropped by --fail-every");
}

#[test]
fn flapping_refuses_and_serves_in_turn() {
    let (mut server, addr) = server_at(&own_ip(78), &["--flap", "1s,1s"]);
    let mut before = connect(addr);
    assert!(echoes(&mut before));
    for _ in 0..2 {
        server.stderr.line(" closed for 1s");
        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        server.stderr.line(" open for 1s");
        assert!(echoes(&mut connect(addr)));
    }
    assert!(echoes(&mut before), "an open connection goes on");
}

#[cfg(target_os = "linux")]
#[test]
fn a_range_is_served_and_counted_by_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let stats = dir.path().join("stats.json");
    let listen = format!("{}:9000-9099", own_ip(77));
    let mut command = program("tcpmon-server");
    command.args(["--quiet", "--mode=close", "--listen", &listen]);
    let mut server = Running::start(
        command
            .args(["--listen=127.0.0.1:0", "--stats"])
            .arg(&stats),
    );
    assert_eq!(server.stdout.line(""), format!("listening on {listen}"));
    let last = server.listening();
    let (first, _) = listen.rsplit_once('-').unwrap();
    let mut addr: SocketAddr = first.parse().unwrap();
    let mut expected = String::new();
    for port in 9000..9100 {
        addr.set_port(port);
        for _ in 0..port % 3 {
            assert!(closed(&mut connect(addr)), "{addr}");
        }
        expected.push_str(&format!("\"{addr}\":{},", port % 3));
    }
    let expected = format!("{{{expected}\"{last}\":0}}\n");
    until("the stats to be right", || {
        (std::fs::read_to_string(&stats).unwrap() == expected).then_some(())
    });
}

#[test]
fn an_address_in_use_is_named_and_nothing_is_served() {
    let (_first, taken) = server(&[]);
    let mut command = program("tcpmon-server");
    command.args(["--listen=127.0.0.1:0", "--listen", &taken.to_string()]);
    let done = run(&mut command);
    let error = format!("tcpmon-server: listen on {taken}: ");
    assert!(done.code(1).stderr.starts_with(&error), "{done}");
    assert_eq!(done.stdout, "");
}

#[test]
fn connections_beyond_the_cap_wait() {
    let (_server, addr) = server(&["--max-connections", "1"]);
    let mut first = connect(addr);
    assert!(echoes(&mut first));
    let mut second = connect(addr);
    second.write_all(b"x").unwrap();
    assert!(mute(&mut second), "served beyond the cap");
    drop(first);
    assert_eq!(read(&mut second, 1), b"x");
}

#[test]
fn idle_connections_are_closed() {
    let (mut server, addr) = server(&["--idle-timeout", "200ms"]);
    let mut stream = connect(addr);
    assert!(closed(&mut stream));
    server.stderr.line("idle for 200ms");
}

#[test]
fn quiet_says_nothing_about_connections() {
    let (mut server, addr) = server(&["--quiet", "--max-connections=1"]);
    assert!(echoes(&mut connect(addr)));
    // The second is served only after the first was reported, if it was.
    assert!(echoes(&mut connect(addr)));
    server.kill();
    assert_eq!(server.stderr.rest(), "");
}

#[test]
fn mistakes_end_with_code_two() {
    for (args, expected) in [
        (
            &["--lisen", "x"][..],
            "unknown option --lisen: did you mean --listen?",
        ),
        (
            &["--listen", "x"],
            "--listen: expected IP:PORT or IP:PORT-LASTPORT",
        ),
        (
            &["--mode", "\u{1b}"],
            "--mode: expected one of echo, banner",
        ),
        (&["x"], "unexpected argument \"x\""),
    ] {
        let done = run(program("tcpmon-server").args(args));
        done.code(2)
            .stderr_has(&format!("tcpmon-server: {expected}"));
        assert_eq!(done.stdout, "");
        assert!(!done.stderr.contains('\u{1b}'), "{done}");
        let prefixed = done
            .stderr
            .lines()
            .all(|l| l.starts_with("tcpmon-server: "));
        assert!(prefixed, "{done}");
    }
}

#[test]
fn statistics_that_cannot_be_written_are_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none/stats.json");
    let done = run(program("tcpmon-server")
        .args(["--listen=127.0.0.1:0", "--stats"])
        .arg(&file));
    done.code(1).stderr_has("stats.json: no such file");
    assert_eq!(done.stdout, "");
}
