//! Scripts against real listeners, by a real agent: what is said, what is made of the
//! answers, and where a record says the time went.

use std::net::SocketAddr;
use std::time::Duration;

use tcpmon::config::agent_config_json;
use tcpmon::model::{Sample, Target, Terms, Want, Why};
use tcpmon::record::{Body, Record};
use tcpmon::script::{Expect, Need, Pattern, Place, Script, Step, preset};

use super::support::{Peer, Running, own_loopback, program, verdict};

/// A test server in this mode, and where it listens.
fn server(args: &[&str]) -> (Running, SocketAddr) {
    let mut command = program("tcpmon-server");
    command
        .args(["--quiet", "--listen", &format!("{}:0", own_loopback())])
        .args(args);
    let mut server = Running::start(&mut command);
    let addr = server.listening();
    (server, addr)
}

fn target(name: &str, addr: SocketAddr, want: Want, steps: Vec<Step>) -> Target {
    Target::new(
        name.parse().unwrap(),
        addr.to_string().parse().unwrap(),
        Terms {
            want,
            script: Script { steps },
            ..Terms::every(Duration::from_secs(1), Duration::from_millis(500))
        },
    )
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn expect(text: &str) -> Step {
    Step::Expect(Expect {
        patterns: vec![Pattern {
            bytes: text.as_bytes().to_vec(),
            place: Place::Anywhere,
        }],
        need: Need::Any,
        reject: Vec::new(),
        within: None,
        silent_ok: false,
    })
}

/// The first result of each of these targets.
fn results(targets: &[Target]) -> Vec<Sample> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program("tcpmon-agent");
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(dir.path());
    let mut agent = Running::start(&mut command);
    let mut peer = Peer::greet(agent.listening(), 1, 1);
    let answer = peer.configure(1, 1, false, &agent_config_json(targets));
    assert!(verdict(&answer).is_ok(), "{answer:?}");
    let mut found: Vec<Option<Sample>> = vec![None; targets.len()];
    while found.iter().any(Option::is_none) {
        let record = Record::parse(peer.record().as_bytes()).unwrap();
        if let Body::Result(sample) = record.body {
            let at = targets.iter().position(|t| t.name == sample.target);
            found[at.unwrap()].get_or_insert(sample);
        }
    }
    found.into_iter().flatten().collect()
}

#[test]
fn a_target_is_up_when_it_says_what_it_is_to_say() {
    let (_banner, banner) = server(&["--mode", "banner", "--banner", "220 mx1 ready"]);
    let (_echo, echo) = server(&["--mode", "echo"]);
    let (_silent, silent) = server(&["--mode", "silent"]);
    let (_close, close) = server(&["--mode", "close"]);
    let (mut gone, refused) = server(&[]);
    gone.kill();
    let quiet = |ms| Step::Silence(Duration::from_millis(ms));
    let cases = [
        ("greets", banner, Want::Open, vec![expect("220 ")], "ok"),
        (
            "echoes",
            echo,
            Want::Open,
            vec![send("a\r\nb"), expect("\nb")],
            "ok",
        ),
        ("quiet", silent, Want::Open, vec![quiet(100)], "ok"),
        ("shut", refused, Want::Refused, vec![], "ok"),
        ("closed", refused, Want::Closed, vec![], "ok"),
        (
            "other",
            banner,
            Want::Open,
            vec![expect("250 ")],
            "mismatch: talk to ADDR: expected \"250 \", got \"220 mx1 ready",
        ),
        (
            "mute",
            silent,
            Want::Open,
            vec![expect("220 ")],
            "timeout: talk to ADDR: expected \"220 \", got nothing within",
        ),
        (
            "leaves",
            close,
            Want::Open,
            vec![expect("220 ")],
            "closed: talk to ADDR: expected \"220 \", the other side closed",
        ),
        (
            "noisy",
            banner,
            Want::Open,
            vec![quiet(200)],
            "mismatch: talk to ADDR: expected silence, got \"220 mx1 ready",
        ),
        (
            "open",
            echo,
            Want::Refused,
            vec![],
            "mismatch: connect to ADDR: open, and it is to be refused",
        ),
        (
            "gone",
            refused,
            Want::Open,
            vec![],
            "refused: connect to ADDR: refused",
        ),
    ];
    let targets: Vec<Target> = cases
        .iter()
        .map(|(name, addr, want, steps, _)| target(name, *addr, *want, steps.clone()))
        .collect();
    for ((name, addr, _, _, expected), sample) in cases.iter().zip(results(&targets)) {
        let found = match &sample.failure {
            None => "ok".to_string(),
            Some(failure) => format!("{}: {}", failure.why.as_str(), failure.text),
        };
        let expected = expected.replace("ADDR", &addr.to_string());
        assert!(found.starts_with(&expected), "{name}: {found}");
    }
}

#[test]
fn a_record_says_where_the_time_went() {
    let (_banner, banner) = server(&["--mode", "banner", "--delay", "50ms"]);
    let (_plain, plain) = server(&[]);
    let (mut gone, refused) = server(&[]);
    gone.kill();
    let localhost = Target {
        address: format!("localhost:{}", plain.port()).parse().unwrap(),
        ..target("named", plain, Want::Open, vec![])
    };
    let all = results(&[
        target("script", banner, Want::Open, vec![expect("\n")]),
        target("plain", plain, Want::Open, vec![]),
        target("refused", refused, Want::Open, vec![]),
        localhost,
    ]);
    let [script, plain, refused, named] = &all[..] else {
        panic!("{all:?}");
    };
    let phases = script.phases;
    assert!(script.ok(), "{script:?}");
    let (first, matched) = (phases.first_byte.unwrap(), phases.matched.unwrap());
    assert!(first >= 50_000 && matched >= first, "{phases:?}");
    assert!(script.us >= phases.connect.unwrap() + matched, "{script:?}");
    assert!(phases.close.is_some() && phases.dns.is_none());
    let phases = plain.phases;
    assert!(phases.connect.is_some() && phases.close.is_some());
    assert_eq!(
        (phases.dns, phases.first_byte, phases.matched),
        (None, None, None)
    );
    assert_eq!(refused.failure.as_ref().map(|f| f.why), Some(Why::Refused));
    assert_eq!(refused.phases, Default::default());
    assert!(
        named.phases.dns.is_some() && named.addr.is_some(),
        "{named:?}"
    );
}

#[test]
fn a_preset_says_what_the_manual_says() {
    let (_banner, banner) = server(&["--mode", "banner", "--banner", "SSH-2.0-Other"]);
    let (_echo, echo) = server(&["--mode", "echo"]);
    let of = |name: &str, addr| {
        let script = preset::script(name).unwrap();
        target(name, addr, Want::Open, script.steps)
    };
    let all = results(&[of("ssh", banner), of("imap", banner), of("redis", echo)]);
    assert!(all[0].ok(), "{:?}", all[0]);
    let texts: Vec<&str> = all[1..]
        .iter()
        .map(|s| s.failure.as_ref().map_or("", |f| f.text.as_str()))
        .collect();
    assert!(texts[0].contains("got \"SSH-2.0-Other"), "{texts:?}");
    assert!(texts[1].contains("got \"PING\\r\\n\""), "{texts:?}");
}
