//! Outcomes and the lines they make. Each line was printed by check_tcp 2.3.3 first,
//! with other times.

use super::*;
use crate::agent::check::answer::Reading;

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options {
        host: "127.0.0.1".into(),
        host_named: true,
        port: 25,
        ..Options::default()
    };
    change(&mut options);
    options
}

/// An answer to an expectation of `220`.
fn done(ms: u64, bytes: &[u8]) -> Outcome {
    let mut answer = Answer::default();
    let wanted = options(|o| o.expect = vec![b"220".to_vec()]);
    if !bytes.is_empty() {
        let reading = answer.take(bytes, &wanted);
        assert_eq!(reading == Reading::Ends, bytes.starts_with(b"220"));
    }
    Outcome::Done {
        took: Duration::from_millis(ms),
        answer,
    }
}

#[test]
fn thresholds_and_answers() {
    type Change = fn(&mut Options);
    let table: &[(Change, Outcome, State, &str)] = &[
        (
            |_| (),
            done(12, b""),
            State::Ok,
            "TCP OK - 0.012 second response time on 127.0.0.1 port 25|time=0.012000s;;;0.000000;10.000000",
        ),
        (
            |o| (o.host_named, o.timeout_s) = (false, 1),
            done(12, b""),
            State::Ok,
            "TCP OK - 0.012 second response time on port 25|time=0.012000s;;;0.000000;1.000000",
        ),
        (
            |o| (o.warning_s, o.critical_s) = (Some(0.012), Some(2.0)),
            done(12, b""),
            State::Ok,
            "TCP OK - 0.012 second response time on 127.0.0.1 port 25|time=0.012000s;0.012000;2.000000;0.000000;10.000000",
        ),
        (
            |o| (o.warning_s, o.critical_s) = (Some(0.0119999), Some(2.0)),
            done(12, b""),
            State::Warning,
            "TCP WARNING - 0.012 second response time on 127.0.0.1 port 25|time=0.012000s;0.012000;2.000000;0.000000;10.000000",
        ),
        (
            |o| (o.warning_s, o.critical_s) = (Some(5.0), Some(0.0)),
            done(12, b""),
            State::Critical,
            "TCP CRITICAL - 0.012 second response time on 127.0.0.1 port 25|time=0.012000s;5.000000;0.000000;0.000000;10.000000",
        ),
        (
            |o| o.warning_s = Some(-1.0),
            done(12, b""),
            State::Warning,
            "TCP WARNING - 0.012 second response time on 127.0.0.1 port 25|time=0.012000s;-1.000000;;0.000000;10.000000",
        ),
        (
            |o| (o.warning_s, o.critical_s) = (Some(f64::NAN), Some(f64::INFINITY)),
            done(12, b""),
            State::Ok,
            "TCP OK - 0.012 second response time on 127.0.0.1 port 25|time=0.012000s;nan;inf;0.000000;10.000000",
        ),
        (
            |_| (),
            done(1001, b"220 hi\r\n"),
            State::Ok,
            "TCP OK - 1.001 second response time on 127.0.0.1 port 25 [220 hi]|time=1.001000s;;;0.000000;10.000000",
        ),
        (
            |o| o.jail = true,
            done(1001, b"220 hi\r\n"),
            State::Ok,
            "TCP OK - 1.001 second response time on 127.0.0.1 port 25|time=1.001000s;;;0.000000;10.000000",
        ),
        (
            |_| (),
            done(2003, b"500 no\r\n"),
            State::Warning,
            "TCP WARNING - Unexpected response from host/socket: 500 no|time=2.003000s;;;0.000000;10.000000",
        ),
        (
            |o| (o.warning_s, o.critical_s) = (Some(1.0), Some(3.0)),
            done(2003, b"500 no\r\n"),
            State::Warning,
            "TCP WARNING - Unexpected response from host/socket: 500 no|time=2.003000s;0.000000;0.000000;0.000000;10.000000",
        ),
        (
            // A wrong answer that is fine is fine though it was slow.
            |o| (o.mismatch, o.warning_s) = (State::Ok, Some(1.0)),
            done(2003, b"500 no\r\n"),
            State::Ok,
            "TCP OK - Unexpected response from host/socket: 500 no|time=2.003000s;0.000000;;0.000000;10.000000",
        ),
        (
            |o| (o.mismatch, o.critical_s) = (State::Ok, Some(1.0)),
            done(2003, b"500 no\r\n"),
            State::Critical,
            "TCP CRITICAL - Unexpected response from host/socket: 500 no|time=2.003000s;;0.000000;0.000000;10.000000",
        ),
        (
            |o| (o.mismatch, o.jail) = (State::Critical, true),
            done(2003, b"500 no\r\n"),
            State::Critical,
            "TCP CRITICAL - Unexpected response from host/socket on 127.0.0.1 port 25|time=2.003000s;;;0.000000;10.000000",
        ),
        (
            |_| (),
            done(2003, b"\r\n"),
            State::Warning,
            "TCP WARNING - Unexpected response from host/socket on 127.0.0.1 port 25|time=2.003000s;;;0.000000;10.000000",
        ),
    ];
    for (change, outcome, state, line) in table {
        let found = report(&options(*change), outcome);
        assert_eq!(found, (line.to_string(), *state));
    }
}

#[test]
fn what_never_got_so_far() {
    let refused = Outcome::NotConnected("Connection refused".into());
    let refusal = "connect to address 127.0.0.1 and port 25: Connection refused";
    for (outcome, on_refusal, state, line) in [
        (&refused, State::Critical, State::Critical, refusal),
        (&refused, State::Warning, State::Warning, refusal),
        (&refused, State::Ok, State::Ok, refusal),
        (
            &Outcome::TimedOut,
            State::Ok,
            State::Critical,
            "CRITICAL - Socket timeout after 10 seconds",
        ),
        (
            &Outcome::NoAnswer,
            State::Ok,
            State::Critical,
            "No data received from host",
        ),
        (
            &Outcome::NoAddress,
            State::Ok,
            State::Critical,
            "TCP CRITICAL - Invalid hostname, address or socket: 127.0.0.1",
        ),
    ] {
        let options = options(|o| (o.refusal, o.mismatch) = (on_refusal, State::Ok));
        assert_eq!(report(&options, outcome), (line.to_string(), state));
    }
}

#[test]
fn a_host_cannot_forge_a_line() {
    let options = options(|o| o.host = "a\nTCP OK\u{1b}".into());
    for outcome in [
        Outcome::NoAddress,
        Outcome::NotConnected("x".into()),
        done(1, b""),
    ] {
        let line = report(&options, &outcome).0;
        assert!(line.contains(r"a\x0aTCP OK\x1b"), "{line}");
    }
}

#[test]
fn exit_codes_are_those_of_plugins() {
    let states = [State::Ok, State::Warning, State::Critical, State::Unknown];
    assert_eq!(states.map(State::code), [0, 1, 2, 3]);
}

#[test]
fn the_transcript_is_one_line_a_step() {
    let at = Duration::from_micros(12_345);
    assert_eq!(
        stamped(at, "connected to [::1]:25"),
        "+12.3 ms connected to [::1]:25\n"
    );
    assert_eq!(stamped(at, "x\ny\u{1b}"), "+12.3 ms x\\x0ay\\x1b\n");
    for (bytes, expected) in [
        (&b""[..], r#""""#),
        (b"QUIT\r\n", r#""QUIT\r\n""#),
        (b"\t\"\\\xff\xc3\xa9", "\"\\t\\\"\\\\\\xff\u{e9}\""),
    ] {
        assert_eq!(quoted(bytes), expected);
    }
}

#[test]
fn failures_are_told_in_the_systems_words() {
    for (failure, expected) in [
        ("connect to [::1]:25: refused", "Connection refused"),
        (
            "connect to a:25 (10.0.0.7): no route to host",
            "No route to host",
        ),
        (
            "connect to 10.0.0.7:25: network is unreachable",
            "Network is unreachable",
        ),
        ("", ""),
    ] {
        assert_eq!(system_words(failure), expected, "{failure}");
    }
}
