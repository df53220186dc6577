//! Handshakes and the lines after them, with somebody in the middle.

use std::collections::VecDeque;

use super::*;
use crate::key::Rights;
use crate::model::{Id, Name, Wall};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn master(byte: u8) -> Key {
    Key::master([byte; 32], Rights::Own)
}

fn key() -> Key {
    master(7).of_agent(&name("attic"))
}

fn manager(side: Side) -> Hello {
    Hello {
        version: VERSION,
        role: Role::Manager,
        side,
        id: Id(0x3f62_a1b0_9c4d_5e77),
        name: name("main"),
        instance: Id(0x9b1c_2d3e_4f50_6172),
        at: Wall(1_763_820_000_000),
        expects: Some(name("attic")),
        auth: None,
    }
}

fn agent(side: Side) -> Hello {
    Hello {
        version: VERSION,
        role: Role::Agent,
        side,
        id: Id(0x695b_e0d2_9652_cf01),
        name: name("attic"),
        instance: Id(0x4b38_5eb6_af2e_f68c),
        at: Wall(1_763_820_000_012),
        expects: Some(name("main")),
        auth: None,
    }
}

/// Messages 0 to 3 are hello, hello, proof, proof, the dialler's first; 4 to 7 are sealed
/// lines, two each way.
const MESSAGES: usize = 8;
const SAID: [&str; 4] = [
    "{\"msg\":\"beat\",\"at\":1}",
    "{}",
    "{\"seq\":1}",
    "{\"seq\":2}",
];

/// What somebody in the middle makes of message `at`.
type Tamper<'t> = &'t dyn Fn(usize, &[u8]) -> Vec<Vec<u8>>;

struct Wire<'t> {
    tamper: Tamper<'t>,
    recorded: Vec<Vec<u8>>,
    to_dialled: VecDeque<Vec<u8>>,
    to_dialler: VecDeque<Vec<u8>>,
}

impl Wire<'_> {
    fn post(&mut self, line: &[u8]) {
        let at = self.recorded.len();
        let line = line.trim_ascii_end();
        self.recorded.push(line.to_vec());
        let queue = match at {
            0 | 2 | 4 | 5 => &mut self.to_dialled,
            _ => &mut self.to_dialler,
        };
        queue.extend((self.tamper)(at, line));
    }
}

fn next(queue: &mut VecDeque<Vec<u8>>) -> Result<Vec<u8>, String> {
    queue.pop_front().ok_or("nothing came".to_string())
}

fn text(refusal: Refusal) -> String {
    refusal.text
}

/// Both sides and all they say; an error as soon as one of them refuses a line or waits
/// in vain. `dialler` and `dialled` are hellos with the keys that each side has.
fn session(
    dialler: (Hello, Option<Key>),
    dialled: (Hello, Option<Vec<Key>>),
    wire: &mut Wire<'_>,
    nonces: [u8; 2],
) -> Result<(), String> {
    let one = Opening::new(dialler.0, dialler.1, [nonces[0]; 32]);
    wire.post(one.line().as_bytes());
    let line = next(&mut wire.to_dialled)?;
    let hello = read_hello(&line).map_err(text)?;
    let picked = pick(dialled.1.as_deref(), &hello).map_err(text)?;
    let two = Opening::new(dialled.0, picked, [nonces[1]; 32]);
    let proving_two = two.agree(&hello, &line).map_err(text)?;
    wire.post(two.line().as_bytes());
    let line = next(&mut wire.to_dialler)?;
    let hello = read_hello(&line).map_err(text)?;
    let proving_one = one.agree(&hello, &line).map_err(text)?;
    let (Some(proving_one), Some(proving_two)) = (proving_one, proving_two) else {
        return Ok(());
    };
    wire.post(proving_one.line().as_bytes());
    let proof_two = proving_two.line();
    let line = next(&mut wire.to_dialled)?;
    let mut seals_two = proving_two.confirm(&line).map_err(text)?;
    wire.post(proof_two.as_bytes());
    let line = next(&mut wire.to_dialler)?;
    let mut seals_one = proving_one.confirm(&line).map_err(text)?;
    for (at, said) in SAID.iter().enumerate() {
        let mut sealed = Vec::new();
        match at < 2 {
            true => seals_one.sealer.seal(said.as_bytes(), &mut sealed),
            false => seals_two.sealer.seal(said.as_bytes(), &mut sealed),
        }
        wire.post(&sealed);
    }
    let mut plain = Vec::new();
    for (at, said) in SAID.iter().enumerate() {
        match at < 2 {
            true => seals_two
                .opener
                .open(&next(&mut wire.to_dialled)?, &mut plain)?,
            false => seals_one
                .opener
                .open(&next(&mut wire.to_dialler)?, &mut plain)?,
        }
        assert_eq!(plain, said.as_bytes(), "something else opened");
    }
    for line in &wire.to_dialled {
        seals_two.opener.open(line, &mut plain)?;
    }
    for line in &wire.to_dialler {
        seals_one.opener.open(line, &mut plain)?;
    }
    Ok(())
}

fn wire(tamper: Tamper<'_>) -> Wire<'_> {
    Wire {
        tamper,
        recorded: Vec::new(),
        to_dialled: VecDeque::new(),
        to_dialler: VecDeque::new(),
    }
}

fn untouched(_: usize, line: &[u8]) -> Vec<Vec<u8>> {
    vec![line.to_vec()]
}

/// A session under one key, the manager dialling, with this in the middle.
fn with(tamper: Tamper<'_>) -> Result<(), String> {
    let (one, two) = (manager(Side::Dialler), agent(Side::Dialled));
    let keys = Some(vec![key()]);
    session((one, Some(key())), (two, keys), &mut wire(tamper), [1, 2])
}

/// What a session with other nonces said.
fn another_session() -> Vec<Vec<u8>> {
    let mut wire = wire(&untouched);
    let (one, two) = (manager(Side::Dialler), agent(Side::Dialled));
    let done = session(
        (one, Some(key())),
        (two, Some(vec![key()])),
        &mut wire,
        [3, 4],
    );
    assert_eq!(done, Ok(()));
    assert_eq!(wire.recorded.len(), MESSAGES);
    wire.recorded
}

#[test]
fn untouched_a_session_comes_about_whoever_dialled() {
    assert_eq!(with(&untouched), Ok(()));
    let (one, two) = (agent(Side::Dialler), manager(Side::Dialled));
    for expects in [None, Some(name("main"))] {
        let one = Hello {
            expects,
            ..one.clone()
        };
        let keys = Some(vec![master(9).of_agent(&name("attic")), key()]);
        let mut wire = wire(&untouched);
        let done = session((one, Some(key())), (two.clone(), keys), &mut wire, [1, 2]);
        assert_eq!(done, Ok(()));
        assert_eq!(wire.recorded.len(), MESSAGES);
    }
    let mut wire = wire(&untouched);
    let (one, two) = (manager(Side::Dialler), agent(Side::Dialled));
    assert_eq!(session((one, None), (two, None), &mut wire, [1, 2]), Ok(()));
    assert_eq!(wire.recorded.len(), 2);
}

#[test]
fn a_message_changed_anywhere_ends_it() {
    let lens: Vec<usize> = another_session().iter().map(Vec::len).collect();
    for (target, len) in lens.into_iter().enumerate() {
        for at in 0..len {
            for mask in [0x01, 0x20, 0x80] {
                let flip = |message: usize, line: &[u8]| {
                    let mut line = line.to_vec();
                    if message == target {
                        line[at] ^= mask;
                    }
                    vec![line]
                };
                assert!(with(&flip).is_err(), "message {target} byte {at} {mask:#x}");
            }
            let cut = |message: usize, line: &[u8]| match message == target {
                true => vec![line[..at].to_vec()],
                false => vec![line.to_vec()],
            };
            assert!(with(&cut).is_err(), "message {target} cut at {at}");
        }
    }
}

#[test]
fn a_message_dropped_repeated_swapped_or_replayed_ends_it() {
    let before = another_session();
    for target in 0..MESSAGES {
        let drop = |message: usize, line: &[u8]| match message == target {
            true => vec![],
            false => vec![line.to_vec()],
        };
        let repeat = |message: usize, line: &[u8]| match message == target {
            true => vec![line.to_vec(), line.to_vec()],
            false => vec![line.to_vec()],
        };
        assert!(with(&drop).is_err(), "message {target} dropped");
        assert!(with(&repeat).is_err(), "message {target} repeated");
        for (other, replayed) in before.iter().enumerate() {
            let replay = |message: usize, line: &[u8]| match message == target {
                true => vec![replayed.clone()],
                false => vec![line.to_vec()],
            };
            let done = with(&replay);
            assert!(
                done.is_err(),
                "message {target} replaced by the old {other}"
            );
        }
        // The second of two that go the same way comes first.
        let swap = |message: usize, line: &[u8]| match (target, message) {
            (4, 4) | (6, 6) => vec![],
            (4, 5) | (6, 7) => vec![line.to_vec(), before[message - 1].clone()],
            _ => vec![line.to_vec()],
        };
        if target == 4 || target == 6 {
            assert!(
                with(&swap).is_err(),
                "messages {target} and the next swapped"
            );
        }
    }
}

#[test]
fn a_whole_session_played_again_opens_nothing() {
    let before = another_session();
    let replay = |message: usize, line: &[u8]| match message {
        // Everything the dialler said, to the dialled side.
        0 | 2 | 4 | 5 => vec![before[message].clone()],
        _ => vec![line.to_vec()],
    };
    let error = with(&replay).unwrap_err();
    assert!(error.starts_with("its proof is wrong"), "{error}");
    let replay = |message: usize, line: &[u8]| match message {
        1 | 3 | 6 | 7 => vec![before[message].clone()],
        _ => vec![line.to_vec()],
    };
    let error = with(&replay).unwrap_err();
    assert!(error.starts_with("its proof is wrong"), "{error}");
}

#[test]
fn ones_own_hello_or_proof_coming_back_is_refused() {
    for hello in [manager(Side::Dialler), agent(Side::Dialler)] {
        let opening = Opening::new(hello, Some(key()), [1; 32]);
        let line = opening.line().trim_end().as_bytes();
        let reflected = read_hello(line).unwrap();
        assert!(opening.agree(&reflected, line).is_err());
    }
    // As if it came from the other role, with this side's nonce or side.
    let ours = Opening::new(manager(Side::Dialler), Some(key()), [1; 32]);
    for (side, nonce, expected) in [
        (Side::Dialled, [1; 32], "sent this side's own nonce back"),
        (Side::Dialler, [2; 32], "calls itself the dialler side"),
    ] {
        let theirs = Opening::new(agent(side), Some(key()), nonce);
        let refusal = ours.agree(&theirs.hello, theirs.line.trim_end().as_bytes());
        let refusal = refusal.err().unwrap();
        assert!(refusal.text.starts_with(expected), "{refusal:?}");
    }
    let theirs = Opening::new(agent(Side::Dialled), Some(key()), [2; 32]);
    let agreed = ours.agree(&theirs.hello, theirs.line.trim_end().as_bytes());
    let proving = agreed.unwrap().unwrap();
    let own_proof = proving.line();
    let refusal = proving
        .confirm(own_proof.trim_end().as_bytes())
        .err()
        .unwrap();
    assert_eq!(refusal.told.as_deref(), Some(UNAUTHENTIC));
}

/// Keys that do not fit each other: what this side's log says, and that the peer is told
/// nothing but that it failed.
#[test]
fn keys_that_do_not_fit_are_refused_and_nothing_is_talked_plain() {
    let of = |byte, agent: &str| master(byte).of_agent(&name(agent));
    let read = Key::master([7; 32], Rights::Read).of_agent(&name("attic"));
    let nobody = "which is not known here";
    for (dialler, dialled, expected) in [
        (Some(key()), Some(vec![of(8, "attic")]), nobody),
        (Some(of(7, "cellar")), Some(vec![key()]), nobody),
        (Some(read), Some(vec![key()]), nobody),
        (Some(key()), Some(vec![]), nobody),
        (Some(master(7)), Some(vec![key()]), nobody),
        (None, Some(vec![key()]), "talks without a key"),
        (None, Some(vec![]), "talks without a key"),
        (Some(key()), None, "has a key, and there is none here"),
        (
            Some(of(7, "cellar")),
            Some(vec![of(7, "cellar")]),
            "the key is not that of an agent named attic",
        ),
    ] {
        let (one, two) = (manager(Side::Dialler), agent(Side::Dialled));
        let mut wire = wire(&untouched);
        let error = session((one, dialler), (two, dialled), &mut wire, [1, 2]).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(wire.recorded.len() <= 2, "more than hellos were said");
    }
    // The dialler has a key, and the other side answers without.
    let ours = Opening::new(manager(Side::Dialler), Some(key()), [1; 32]);
    let theirs = Opening::new(agent(Side::Dialled), None, [0; 32]);
    let line = theirs.line().trim_end();
    let refusal = ours.agree(&read_hello(line.as_bytes()).unwrap(), line.as_bytes());
    let refusal = refusal.err().unwrap();
    assert_eq!(refusal.told.as_deref(), Some(UNAUTHENTIC));
    assert_eq!(refusal.text, "talks without a key, and this side has one");
}

#[test]
fn each_is_who_the_other_expects() {
    type Change = fn(&mut Hello, &mut Hello);
    let cases: [(Change, bool); 5] = [
        (|_, _| {}, true),
        (|_, agent| agent.name = name("cellar"), false),
        (|manager, _| manager.expects = Some(name("cellar")), false),
        (|_, agent| agent.expects = Some(name("other")), false),
        (|manager, _| manager.name = name("other"), false),
    ];
    for (change, fine) in cases {
        let (mut one, mut two) = (manager(Side::Dialler), agent(Side::Dialled));
        change(&mut one, &mut two);
        let mut wire = wire(&untouched);
        let done = session(
            (one, Some(key())),
            (two, Some(vec![key()])),
            &mut wire,
            [1, 2],
        );
        assert_eq!(done.is_ok(), fine, "{done:?}");
    }
}

#[test]
fn a_hello_of_another_version_is_told_so_whatever_else_it_says() {
    let told = |line: &str| read_hello(line.as_bytes()).unwrap_err().told;
    for line in [
        "{\"msg\":\"hello\",\"version\":2}",
        "{\"version\":2,\"name\":[],\"msg\":\"hello\"}",
    ] {
        let text = "protocol version 2 is not spoken here, only 1";
        assert_eq!(told(line).as_deref(), Some(text));
    }
    for line in ["{\"msg\":\"hello\",\"version\":1}", "{}", "GET / HTTP/1.1"] {
        assert_eq!(told(line), None);
    }
    let refusal = read_hello(b"{\"msg\":\"bye\",\"text\":\"no\"}").unwrap_err();
    assert_eq!((refusal.text.as_str(), refusal.told), ("refused: no", None));
}

/// The worked example in the manual, with nonces of one byte repeated.
fn example() -> String {
    let beat = "{\"msg\":\"beat\",\"at\":1763820010000}";
    let one = Opening::new(manager(Side::Dialler), Some(key()), [1; 32]);
    let two = Opening::new(agent(Side::Dialled), Some(key()), [2; 32]);
    let (line_one, line_two) = (one.line().trim_end(), two.line().trim_end());
    let proving_one = one.agree(&two.hello, line_two.as_bytes()).unwrap().unwrap();
    let proving_two = two.agree(&one.hello, line_one.as_bytes()).unwrap().unwrap();
    let (proof_one, proof_two) = (proving_one.line(), proving_two.line());
    let mut seals_one = proving_one
        .confirm(proof_two.trim_end().as_bytes())
        .unwrap();
    let mut sealed = Vec::new();
    for _ in 0..2 {
        seals_one.sealer.seal(beat.as_bytes(), &mut sealed);
    }
    let sealed = String::from_utf8(sealed).unwrap();
    let (first, second) = sealed.trim_end().split_once('\n').unwrap();
    format!(
        "master key  {}agent's key {}M: {line_one}\nA: {line_two}\nM: {proof_one}A: {proof_two}M: {first}\nM: {second}\n",
        master(7).line(),
        key().line(),
    )
}

#[test]
fn the_manual_shows_a_handshake_as_it_is() {
    let manual = include_str!("../../../docs/protocol.md");
    let block = manual.split("```handshake\n").nth(1).unwrap_or_default();
    let shown = block.split("```").next().unwrap_or_default();
    assert_eq!(shown, example());
}
