//! Links without keys, and what is shown of what strangers say: what is asked for is
//! allowed and warned of, and no text of theirs reaches a terminal as it came.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tcpmon::model::{Id, Wall};
use tcpmon::proto::{self, Hello, Message, Role, Side};

use super::{INTERVAL, LISTEN, dialled, dials_in, times};
use crate::support::{PATIENCE, Peer, Running, Site, program, run, until};

/// Clears the screen, turns the reading direction, and starts a line of its own.
const HOSTILE: &str = "\u{1b}[2J\u{202e}olleh\r\nforged";
const ESCAPED: &str = r"\x1b[2J\u{202e}olleh\x0d\x0aforged";

#[test]
fn without_a_key_only_loopback_or_by_asking_for_it_aloud() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    let both = ["--insecure", "--key-file", "attic.key"];
    site.agent_with("attic", &both)
        .finish()
        .code(2)
        .stderr_has("--insecure and --key-file: a side that has a key never talks without");
    let far = ["--manager", "192.0.2.7:1"];
    site.agent_with("attic", &far)
        .finish()
        .code(2)
        .stderr_has("--manager 192.0.2.7:1: beyond loopback a link needs a key");

    site.fleet_of(&[dials_in("attic", None)], INTERVAL, 1);
    let anywhere = ["serve", "--listen", "0.0.0.0:0"];
    run(&mut site.manager(&anywhere))
        .code(2)
        .stderr_has("--listen 0.0.0.0:0: beyond loopback links need keys");
    let mut warned = site.serve(&["--listen", "0.0.0.0:0", "--insecure"]);
    warned.stderr.line("--insecure: links have no keys");
    warned.listening();
    drop(warned);

    let attic = [dials_in("attic", Some("master.key"))];
    site.fleet_of(&attic, INTERVAL, 1);
    run(&mut site.manager(&["serve", "--insecure"]))
        .code(1)
        .stderr_has("a side that has a key never talks without, and --insecure is given");
    let mut keyed = site.serve(&["--listen", "0.0.0.0:0"]);
    keyed.listening();
    assert_eq!(times(&mut keyed, "insecure"), 0);
    let fleet = r#"{"agents":[{"name":"a","address":"192.0.2.7:1"}]}"#;
    std::fs::write(site.path("far.json"), fleet).unwrap();
    run(program("tcpmon-manager")
        .arg("validate")
        .arg(site.path("far.json")))
    .code(1)
    .stderr_has("192.0.2.7 is not a loopback address, so the link needs a key");
}

/// Nothing of [`HOSTILE`] is in what a program said, but in its escaped form.
fn shown_escaped(program: &mut Running, at_least: usize) {
    let log = program.stderr.seen();
    assert!(!log.contains(['\u{1b}', '\u{202e}', '\r']), "{log:?}");
    assert!(!log.lines().any(|line| line.starts_with("forged")), "{log}");
    assert!(log.matches(ESCAPED).count() >= at_least, "{log}");
}

/// Someone who is dialled, played by the test.
struct Dialled {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Dialled {
    fn new() -> Dialled {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        Dialled { listener, addr }
    }

    /// Takes the next connection; its first line.
    fn hello(&self) -> (BufReader<TcpStream>, String) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (reader, line)
    }

    /// Answers the next connection's hello; all that comes after it.
    fn answer(&self, with: impl FnOnce(&str) -> String) -> String {
        let (mut reader, hello) = self.hello();
        let answer = with(&hello);
        // The other side may have closed already.
        let _ = reader.get_mut().write_all(answer.as_bytes());
        let mut said = String::new();
        while reader.read_line(&mut said).unwrap_or(0) > 0 {}
        said
    }
}

fn agent_hello(side: Side) -> String {
    let hello = Hello {
        version: proto::VERSION,
        role: Role::Agent,
        side,
        id: Id(7),
        name: "attic".parse().unwrap(),
        instance: Id(1),
        at: Wall(0),
        expects: None,
        auth: None,
    };
    Message::Hello(hello).line()
}

fn bye() -> String {
    let text = HOSTILE.to_string();
    Message::Bye { text }.line()
}

#[test]
fn what_strangers_say_to_a_manager_is_shown_only_escaped() {
    let site = Site::new(1);
    let stranger = Dialled::new();
    let agents = [
        dialled("attic", stranger.addr, None),
        dials_in("porch", None),
    ];
    site.fleet_of(&agents, INTERVAL, 1);
    let mut manager = site.serve(&LISTEN);
    let at = manager.listening();
    stranger.answer(|_| bye());
    manager.stderr.line("agent attic away: greet 127.0.0.1:");
    stranger.answer(|_| format!("{HOSTILE}\n"));
    manager.stderr.line("expected a hello: not JSON");
    stranger.answer(|_| agent_hello(Side::Dialled) + &bye());
    manager.stderr.line("agent attic: the agent said goodbye: ");
    shown_escaped(&mut manager, 2);
    for line in [
        bye(),
        format!("{HOSTILE}\n"),
        "\u{1b}]0;x\u{7}\n".to_string(),
    ] {
        let mut peer = Peer::connect(at);
        peer.send(line.as_bytes());
        assert!(peer.closed());
    }
    manager.stderr.line("a knock from 127.0.0.1: refused: ");
    manager
        .stderr
        .line("a knock from 127.0.0.1: expected a hello");
    shown_escaped(&mut manager, 3);
    assert!(!manager.stderr.seen().contains('\u{7}'));
    assert!(manager.alive());
}

#[test]
fn what_strangers_say_to_an_agent_is_shown_only_escaped() {
    let site = Site::new(1);
    let stranger = Dialled::new();
    let to = stranger.addr.to_string();
    let mut agent = site.agent_with("attic", &[&LISTEN[..], &["--manager", &to]].concat());
    let at = agent.listening();
    stranger.answer(|_| bye());
    agent.stderr.line("refused: ");
    let mut peer = Peer::connect(at);
    peer.send(bye().as_bytes());
    assert!(peer.closed());
    agent.stderr.line("refused: ");
    let mut peer = Peer::greet(at, 1, 1);
    peer.send(bye().as_bytes());
    assert!(peer.closed());
    agent.stderr.line("said goodbye: ");
    let mut peer = Peer::connect(at);
    peer.send(format!("{HOSTILE}\n").as_bytes());
    assert!(peer.closed());
    agent.stderr.line("expected a hello: not JSON");
    shown_escaped(&mut agent, 3);
}

/// The hello as the other program could have said it, with this side's nonce.
fn turned(line: &str) -> String {
    let turned = match line.contains(r#""role":"manager""#) {
        true => line.replace(r#""role":"manager""#, r#""role":"agent""#),
        false => line.replace(r#""role":"agent""#, r#""role":"manager""#),
    };
    turned.replace(r#""side":"dialler""#, r#""side":"dialled""#)
}

#[test]
fn ones_own_hello_coming_back_is_refused() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    let (mirror, other) = (Dialled::new(), Dialled::new());
    let to = other.addr.to_string();
    let args = ["--key-file", "attic.key", "--manager", &to];
    let mut agent = site.agent_with("attic", &args);
    let attic = [dialled("attic", mirror.addr, Some("master.key"))];
    site.fleet_of(&attic, INTERVAL, 1);
    let mut manager = site.serve(&[]);
    let told = r#"{"msg":"bye","text":"authentication failed"}"#;
    mirror.answer(str::to_string);
    manager
        .stderr
        .line("only agents talk to it, and a manager came");
    let said = mirror.answer(turned);
    assert_eq!(said.trim_end(), told);
    manager.stderr.line("sent this side's own nonce back");
    other.answer(str::to_string);
    agent
        .stderr
        .line("only managers talk to it, and an agent came");
    let said = other.answer(turned);
    assert_eq!(said.trim_end(), told);
    agent.stderr.line("sent this side's own nonce back");
    // A fresh nonce, and the right names, do not help who has no key.
    let said = mirror.answer(|line| {
        let fresh = turned(line).replace(&nonce_of(line), &base64(&[9; 32]));
        let named = fresh.replace(r#""name":"main""#, r#""name":"attic""#);
        named.replace(r#""expects":"attic""#, r#""expects":"main""#) + &proof()
    });
    let (proof, bye) = said.split_once('\n').unwrap();
    assert!(proof.starts_with(r#"{"msg":"proof""#), "{said}");
    assert_eq!(bye.trim_end(), told);
    manager.stderr.line("its proof is wrong");
    assert_eq!(
        times(&mut manager, " connected") + times(&mut agent, " connected"),
        0
    );
    until("both to live on", || {
        (manager.alive() && agent.alive()).then_some(())
    });
}

fn nonce_of(line: &str) -> String {
    let Ok(Message::Hello(hello)) = Message::parse(line.trim_end().as_bytes()) else {
        panic!("{line}");
    };
    base64(&hello.auth.unwrap().nonce)
}

fn proof() -> String {
    Message::Proof([9; 32]).line()
}

fn base64(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    tcpmon::crypto::base64_encode(bytes, &mut text);
    String::from_utf8(text).unwrap()
}
