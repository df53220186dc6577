//! Records read back as written, lines that are damaged or make no sense, the shape of a result.

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn sample(failure: Option<Failure>) -> Sample {
    Sample {
        target: name("web"),
        at: Wall(1_763_820_000_123),
        us: 12_345,
        failure,
        tries: 1,
        late_us: 0,
        addr: None,
        dns_stale: false,
        phases: Phases::default(),
        retransmit: false,
        each: None,
    }
}

fn sums(target: &str, each: Option<&str>) -> Sums {
    Sums {
        target: name(target),
        each: each.map(|ip| ip.parse().unwrap()),
        count: 3,
        from: Wall(1),
        to: Wall(9),
        min_us: 10,
        mean_us: 20,
        max_us: 40,
        p95_us: 30,
    }
}

fn every_body() -> Vec<Body> {
    let failed = Sample {
        tries: 2,
        late_us: 150_000,
        addr: Some(Box::new("[::1]:5432".parse().unwrap())),
        dns_stale: true,
        phases: Phases {
            dns: Some(1),
            connect: Some(2),
            first_byte: Some(3),
            matched: Some(4),
            close: Some(5),
        },
        retransmit: true,
        each: Some("::1".parse().unwrap()),
        ..sample(Some(Failure {
            why: Why::Timeout,
            text: "connect to \"x\": timed out\u{1b}".into(),
        }))
    };
    let mut bodies = vec![
        Body::Result(sample(None)),
        Body::Result(failed),
        Body::Start {
            alive: None,
            version: "0.1.0".into(),
        },
        Body::Start {
            alive: Some(Wall(5)),
            version: "0.1.0".into(),
        },
        Body::Clock {
            boot: "b-1".into(),
            up_ms: 7,
        },
        Body::Began {
            target: name("web"),
            each: None,
            address: "[::1]:80".parse().unwrap(),
            interval: Duration::from_millis(1500),
        },
        Body::Ended {
            target: name("web"),
            each: Some("192.0.2.7".parse().unwrap()),
        },
        Body::Lost {
            epoch: Epoch(9),
            first: 1,
            last: 70,
        },
        Body::Summary {
            first: 7,
            of: vec![sums("web", None), sums("db", Some("::1"))],
        },
    ];
    for why in [SkipWhy::Busy, SkipWhy::Workers, SkipWhy::Stall] {
        bodies.push(Body::Skip {
            target: name("web"),
            each: Some("2001:db8::7".parse().unwrap()),
            count: 3,
            why,
        });
    }
    for why in [
        GapWhy::SpoolLimit,
        GapWhy::Deleted,
        GapWhy::Damaged,
        GapWhy::Disk,
        GapWhy::Summarised,
        GapWhy::Vanished,
    ] {
        bodies.push(Body::Gap { first: 2, why });
    }
    bodies
}

#[test]
fn a_summary_that_tells_nothing_is_short() {
    let (first, of) = (20, Vec::new());
    let record = Record {
        seq: 118,
        at: Wall(0),
        body: Body::Summary { first, of },
    };
    let mut line = String::new();
    record.write(&mut line);
    let start = "{\"seq\":118,\"first\":20,\"c\":\"";
    assert!(line.starts_with(start), "{line}");
    assert_eq!(Record::parse(line.as_bytes()), Ok(record));
}

#[test]
fn sums_of_nothing_are_no_sums() {
    for (was, is) in [
        ("\"count\":3", "\"count\":0"),
        ("\"to\":9", "\"to\":0"),
        ("\"target\":\"web\",", ""),
        ("\"web\"", "\"w b\""),
    ] {
        let mut line = String::new();
        let of = vec![sums("web", None)];
        let body = Body::Summary { first: 7, of };
        write_line(&mut line, Span { first: 7, seq: 9 }, Wall(1), &body);
        let end = line.len() - SEAL_LEN - 2;
        let mut bad = line[..end].replace(was, is) + "}";
        seal(&mut bad, 0);
        assert!(Record::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn every_record_reads_back_as_written() {
    for body in every_body() {
        let record = Record {
            seq: 7,
            at: Wall(1_763_820_000_123),
            body,
        };
        let mut line = String::new();
        record.write(&mut line);
        assert!(line.ends_with("\"}\n"), "{line}");
        assert_eq!(span(line.as_bytes()), Ok(record.span()), "{line}");
        assert_eq!(Record::parse(line.as_bytes()), Ok(record), "{line}");
    }
}

#[test]
fn a_result_has_the_documented_shape() {
    let mut line = String::new();
    let body = Body::Result(sample(None));
    write_line(
        &mut line,
        Span { first: 7, seq: 7 },
        Wall(1_763_820_000_123),
        &body,
    );
    let sum = crc32(br#"{"seq":7,"at":1763820000123,"target":"web","ok":true,"us":12345,"#);
    let expected = format!(
        "{{\"seq\":7,\"at\":1763820000123,\"target\":\"web\",\"ok\":true,\"us\":12345,\"c\":\"{sum:08x}\"}}\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn any_flipped_bit_is_noticed() {
    for body in every_body() {
        let record = Record {
            seq: 7,
            at: Wall(1),
            body,
        };
        let mut line = String::new();
        record.write(&mut line);
        let good = line.into_bytes();
        for at in 0..good.len() - 1 {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(span(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
        for len in 0..good.len() - 1 {
            assert!(span(&good[..len]).is_err(), "cut at {len}");
        }
    }
}

#[test]
fn a_sealed_line_without_sense_is_refused() {
    for body in [
        r#"{"seq":0}"#,
        r#"{"seq":3,"first":4}"#,
        r#"{"seq":3,"first":0}"#,
        r#"{"seq":18446744073709551616}"#,
        r#"{"at":3}"#,
        r#"{"seq":3,"at":1,"target":"web","ok":false,"us":1}"#,
        r#"{"seq":3,"at":1,"target":"a b","ok":true,"us":1}"#,
        r#"{"seq":3,"at":1,"event":"party"}"#,
        r#"{"seq":3,"at":-1,"target":"web","ok":true,"us":1}"#,
        r#"{"seq":3,"at":1,"target":"web","each":"web","ok":true,"us":1}"#,
    ] {
        let mut line = body.to_string();
        seal(&mut line, 0);
        assert!(Record::parse(line.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn unknown_keys_are_passed_over() {
    let mut line = r#"{"seq":3,"at":1,"target":"web","ok":true,"us":1,"new":[{}]}"#.to_string();
    seal(&mut line, 0);
    assert!(Record::parse(line.as_bytes()).is_ok());
}
