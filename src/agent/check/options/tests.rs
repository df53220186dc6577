//! Command lines and what they mean. What check_tcp 2.3.3 makes of each was tried.

use super::*;

fn asked(line: &[&str]) -> Result<Asked, String> {
    read(line.iter().map(|word| word.as_bytes().to_vec()).collect())
}

fn options(line: &[&str]) -> Options {
    match asked(line) {
        Ok(Asked::Check(options)) => *options,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn the_host_and_the_port_in_every_spelling() {
    let (named, unnamed) = (true, false);
    let table: &[(&[&str], &str, bool, u16)] = &[
        (&["-H", "a", "-p", "1"], "a", named, 1),
        (&["-Ha", "-p1"], "a", named, 1),
        (&["--hostname=a", "--port=1"], "a", named, 1),
        (&["--host", "a", "--po", "1"], "a", named, 1),
        (&["-vE4Ha", "-vp1"], "a", named, 1),
        (&["-4p", "1", "-vH", "a"], "a", named, 1),
        (&["-H", "-p", "-p", "1"], "-p", named, 1),
        (&["-H=a", "-p", "1"], "=a", named, 1),
        (&["-H", "a", "-p", "1", "-p", "2"], "a", named, 2),
        (&["-H", "", "-p", " 1"], "", named, 1),
        (&["-p", "1 2"], "127.0.0.1", unnamed, 1),
        (&["-p", "65535"], "127.0.0.1", unnamed, 65535),
        (&["a", "-p", "1"], "a", unnamed, 1),
        (&["-p", "1", "a"], "a", unnamed, 1),
        (&["-p", "1", "a", "-p", "2"], "a", unnamed, 1),
        (&["-p", "1", "--", "-a"], "-a", unnamed, 1),
        (&["-p", "1", "-", "-p", "2"], "-", unnamed, 1),
        (&["a", "-p", "1", "b"], "b", unnamed, 1),
        (&["a", "b", "-p", "1"], "b", unnamed, 0),
        (&["---", "-p", "1"], "---", unnamed, 1),
        (&["-p", "1", "-H", "a", "b"], "a", named, 1),
        (&["a", "-H", "b"], "b", named, 0),
    ];
    for (line, host, host_named, port) in table {
        let found = options(line);
        let found = (found.host.as_str(), found.host_named, found.port);
        assert_eq!(found, (*host, *host_named, *port), "{line:?}");
    }
}

#[test]
fn every_option_sets_what_it_says() {
    type Change = fn(&mut Options);
    let table: &[(&[&str], Change)] = &[
        (&["-4"], |o| o.family = Family::V4),
        (&["-4", "--use-ipv6"], |o| o.family = Family::V6),
        (&["-w", "1.5"], |o| o.warning_s = Some(1.5)),
        (&["-wt", ".5"], |o| o.warning_s = Some(0.5)),
        (&["-c2"], |o| o.critical_s = Some(2.0)),
        (&["-ct", "2"], |o| o.critical_s = Some(2.0)),
        (&["-t", "3"], |o| o.timeout_s = 3),
        (&["-to", "3"], |o| o.timeout_s = 3),
        (&["-t", "2147483647"], |o| o.timeout_s = i32::MAX as u32),
        (&["-s", r"a\n"], |o| o.send = Some(br"a\n".to_vec())),
        (&["-E", "-s", r"a\n"], |o| o.send = Some(b"a\n".to_vec())),
        (&["-s", r"a\n", "-E"], |o| o.send = Some(br"a\n".to_vec())),
        (&["-q", "a"], |o| o.quit = Some(b"a\r\n".to_vec())),
        (&["-Eq", r"a\r"], |o| o.quit = Some(b"a\r".to_vec())),
        (&["-q", "a", "-E"], |o| o.quit = Some(b"a\r\n".to_vec())),
        (&["-e", "a", "--expect=b", "-E", "-e", r"\n"], |o| {
            o.expect = [&b"a"[..], b"b", br"\n"].map(<[u8]>::to_vec).into();
        }),
        (&["-e="], |o| o.expect = vec![b"=".to_vec()]),
        (&["--expect="], |o| o.expect = vec![vec![]]),
        (&["-A"], |o| o.needed = Needed::All),
        (&["-d", "2"], |o| o.delay_s = 2),
        (&["-m", "2"], |o| o.bytes_max = Some(2)),
        (&["-r", "ok"], |o| o.refusal = State::Ok),
        (&["-r", "warning"], |o| o.refusal = State::Warning),
        (&["--refuse=critical"], |o| o.refusal = State::Critical),
        (&["-M", "okay"], |o| o.mismatch = State::Ok),
        (&["-M", "crit"], |o| o.mismatch = State::Critical),
        (&["-j"], |o| o.jail = true),
        (&["-v"], |o| o.verbose = true),
        (
            &["-C", "200", "--warning-codes=5", "--protocol", "x"],
            |_| (),
        ),
    ];
    for (line, change) in table {
        let mut expected = Options::default();
        change(&mut expected);
        assert_eq!(options(line), expected, "{line:?}");
    }
}

#[test]
fn mistakes_are_named() {
    let long = "9".repeat(30);
    let table: &[(&[&str], &str)] = &[
        (&[], "nothing to do"),
        (&["-x"], "unknown option -x"),
        (&["-vx"], "unknown option -x"),
        (&["--bogus"], "unknown option --bogus"),
        (&["--bogus=1"], "unknown option --bogus"),
        (&["--us"], "--us may be any of --use-ipv4, --use-ipv6"),
        (
            &["--crit", "1"],
            "--crit may be any of --critical, --critical-codes",
        ),
        (&["-p"], "-p needs a value"),
        (&["-vp"], "-p needs a value"),
        (&["--port"], "--port needs a value"),
        (&["--all=1"], "--all takes no value"),
        (&["-p", "x"], "--port: expected a whole number above 0"),
        (&["-p", "0"], "--port: expected a whole number above 0"),
        (&["-p", "-5"], "--port: expected a whole number above 0"),
        (&["-p", "+5"], "--port: expected a whole number above 0"),
        (&["-p", ""], "--port: expected a whole number above 0"),
        (&["-p", "65536"], "--port: expected at most 65535"),
        (&["-t", "1.5"], "--timeout: expected a whole"),
        (&["-t", &long], "--timeout: expected a whole"),
        (&["-t", "2147483648"], "--timeout: expected a whole"),
        (&["-d", "0"], "--delay: expected a whole"),
        (&["-m", "1k"], "--maxbytes: expected a whole"),
        (&["-r", "o"], "--refuse: expected ok, warn or crit"),
        (&["-M", "unknown"], "--mismatch: expected ok, warn or crit"),
        (&["-S"], "--ssl: TLS is not supported"),
        (&["-D", "30,14"], "--certificate: TLS is not supported"),
        (&["--sni", "a"], "--sni: TLS is not supported"),
        (&["--extra-opts"], "--extra-opts is not supported"),
        (&["--extra-opts=a@b"], "--extra-opts is not supported"),
        (&["-H", "/run/x"], "/run/x: Unix sockets are not supported"),
        // In the order given.
        (&["-p", "x", "-h"], "--port: expected"),
    ];
    for (line, expected) in table {
        let error = asked(line).unwrap_err();
        assert!(error.starts_with(expected), "{line:?}: {error}");
    }
}

#[test]
fn help_and_version_come_before_what_follows() {
    for (line, expected) in [
        (&["-h", "-p", "x"][..], Asked::Help),
        (&["--help"], Asked::Help),
        (&["--he"], Asked::Help),
        (&["-vV"], Asked::Version),
        (&["--vers"], Asked::Version),
    ] {
        assert_eq!(asked(line), Ok(expected), "{line:?}");
    }
}

#[test]
fn thresholds_are_read_as_far_as_they_are_numbers() {
    for (text, expected) in [
        ("1", 1.0),
        ("0.25", 0.25),
        (".5", 0.5),
        ("5.", 5.0),
        ("+5", 5.0),
        ("-1", -1.0),
        (" 2", 2.0),
        ("1.5s", 1.5),
        ("1:2", 1.0),
        ("0,5", 0.0),
        ("2e-3x", 0.002),
        ("2ex", 2.0),
        ("", 0.0),
        ("abc", 0.0),
        ("inf", f64::INFINITY),
    ] {
        assert_eq!(number(text.as_bytes()), expected, "{text:?}");
    }
    assert!(number(b"nan").is_nan());
    assert_eq!(number(b"\xff1"), 0.0);
    assert_eq!(number(&[b'7'; 100_000]), number(&[b'7'; NUMBER_LEN_MAX]));
}

#[test]
fn backslashes_stand_for_bytes() {
    for (text, bytes) in [
        ("", &b""[..]),
        (r"a\nb\r\t\\n", b"a\nb\r\t\\n"),
        (r"\q\0\x41", b"q0x41"),
        ("a\\", b"a"),
        ("é", "é".as_bytes()),
    ] {
        assert_eq!(unescape(text.as_bytes()), bytes, "{text}");
    }
}

#[test]
fn the_help_tells_the_defaults() {
    let help_of = |long: &str| {
        let opt = OPTS.iter().find(|opt| opt.name.ends_with(long));
        opt.map_or("", |opt| opt.help)
    };
    assert!(help_of("--timeout").contains(&format!("; {TIMEOUT_DEFAULT_S} unless")));
}
