//! Keys that do not fit, come, go and change: who gets a session, who learns why not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{INTERVAL, LISTEN, dialled, dials_in, times, welcome_a_guest};
use crate::support::{Meddler, Peer, Proxy, Running, Site, Way, program, run};

/// A removed key's session is over within this time: both sides look every five seconds.
const REMOVED_WITHIN: Duration = Duration::from_secs(8);

/// One way in which two sides do not fit: the agent's name, its key file, the manager's,
/// and why not, as the agent's log has it when the manager has dialled.
type Misfit = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
);

const MISFITS: [Misfit; 3] = [
    (
        "other",
        Some("stray.key"),
        Some("master.key"),
        "which is not known here",
    ),
    (
        "bare",
        None,
        Some("master.key"),
        "has a key, and there is none here",
    ),
    (
        "keyed",
        Some("keyed.key"),
        None,
        "talks without a key, and this side has one",
    ),
];

fn misfit_site() -> Site {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--out", "others.key"]);
    let stray = ["--agent", "other", "--master", "others.key"];
    site.keygen(&[&stray[..], &["--out", "stray.key"]].concat());
    site.keygen(&["--agent", "keyed"]);
    site
}

/// Starts an agent with this key file, if any.
fn agent(site: &Site, name: &str, key_file: Option<&str>, args: &[&str]) -> Running {
    let mut args = args.to_vec();
    args.extend(["--name", name]);
    args.extend(key_file.iter().flat_map(|file| ["--key-file", file]));
    site.agent_with(name, &args)
}

/// Nothing passed but hellos and goodbyes that tell nothing.
fn nothing_told(link: &Meddler) {
    for line in link.text().lines() {
        let fine = line.starts_with(r#"{"msg":"hello""#)
            || line == r#"{"msg":"bye","text":"authentication failed"}"#;
        assert!(fine, "{line}");
    }
}

#[test]
fn a_manager_whose_key_does_not_fit_gets_nothing_from_an_agent() {
    let site = misfit_site();
    let mut agents = Vec::new();
    let mut entries = Vec::new();
    for (name, own, theirs, _) in MISFITS {
        let mut agent = agent(&site, name, own, &LISTEN);
        let link = Meddler::start(agent.listening(), Vec::new());
        entries.push(dialled(name, link.addr, theirs));
        agents.push((agent, link));
    }
    site.fleet_of(&entries, INTERVAL, 1);
    let mut manager = site.serve(&[]);
    for ((name, _, _, why), (agent, link)) in MISFITS.iter().zip(&mut agents) {
        let port = link.over(2);
        let line = agent.stderr.line(&format!("from 127.0.0.1:{port}: "));
        assert!(line.contains(why), "{name}: {line}");
        nothing_told(link);
        assert_eq!(times(agent, "connected"), 0);
        assert_eq!(times(agent, "configuration"), 0);
    }
    let log = manager.stderr.seen();
    for (name, ..) in MISFITS {
        let of_agent = |line: &&str| line.contains(&format!("agent {name} "));
        let told: Vec<&str> = log.lines().filter(of_agent).collect();
        assert_eq!(told.len(), 1, "{log}");
        assert!(told[0].ends_with("refused: authentication failed"), "{log}");
        assert_eq!(site.results(name), 0);
    }
    let mut programs: Vec<&mut Running> = agents.iter_mut().map(|(agent, _)| agent).collect();
    programs.push(&mut manager);
    site.keeps_secrets(&mut programs);
}

#[test]
fn an_agent_whose_key_does_not_fit_gets_nothing_from_a_manager() {
    let site = misfit_site();
    site.keygen(&["--agent", "guest"]);
    let entry = |(name, _, theirs, _): Misfit| dials_in(name, theirs);
    let mut entries = MISFITS.map(entry).to_vec();
    entries.push(dials_in("guest", Some("master.key")));
    site.fleet_of(&entries, INTERVAL, 1);
    let mut manager = site.serve(&LISTEN);
    let at = manager.listening();
    // The sides are the other way round: what the agent would say, the manager says.
    let whys = [MISFITS[0].3, MISFITS[2].3, MISFITS[1].3];
    for ((name, own, ..), why) in MISFITS.into_iter().zip(whys) {
        let link = Meddler::start(at, Vec::new());
        let mut agent = agent(&site, name, own, &["--manager", &link.addr.to_string()]);
        let line = agent.stderr.line("manager at ");
        assert!(line.ends_with("refused: authentication failed"), "{line}");
        link.over(2);
        nothing_told(&link);
        assert_eq!(times(&mut agent, "\n"), 1, "{}", agent.stderr.seen());
        let knock = format!("an agent named {name} is knocking, ");
        let line = manager.stderr.line(&knock);
        // Who knocks chooses the id of the key, so the manager does not tell it.
        let why = why.replace("which is", "with a key that is");
        assert!(line.contains(&why), "{line}");
        assert_eq!(times(&mut manager, &knock), 1);
        assert_eq!(site.results(name), 0);
        assert_eq!(times(&mut manager, &format!("agent {name} connected")), 0);
        agent.kill();
        welcome_a_guest(&site, &mut manager, at);
    }
}

/// How long it takes until a program says this.
fn within(program: &mut Running, text: &str, what: impl FnOnce()) {
    let start = Instant::now();
    what();
    program.stderr.line(text);
    let took = start.elapsed();
    assert!(took < REMOVED_WITHIN, "{text}: took {took:?}");
}

fn keyed(site: &Site, name: &str) -> (Running, SocketAddr) {
    let key_file = format!("{name}.key");
    let mut agent = agent(site, name, Some(&key_file), &LISTEN);
    let addr = agent.listening();
    (agent, addr)
}

/// The steps of the manual, one after another: the agent learns the new key, then the
/// manager uses it, then the agent forgets the old one. Another agent is left behind.
#[test]
fn keys_rotate_without_a_gap_and_the_old_one_opens_nothing_afterwards() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--out", "new.key"]);
    site.keygen(&["--out", "old.key"]);
    site.rekey("old.key", &["master.key"]);
    site.keygen(&["--agent", "attic"]);
    site.keygen(&["--agent", "cellar"]);
    let (mut attic, attic_at) = keyed(&site, "attic");
    let (mut cellar, cellar_at) = keyed(&site, "cellar");
    let attic_link = Proxy::start(attic_at);
    let link = Proxy::start(cellar_at);
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    let agents = [
        dialled("attic", attic_link.addr, None),
        dialled("cellar", link.addr, None),
    ];
    site.fleet_of(&agents, &defaults, 2);
    let mut manager = site.serve(&[]);
    site.grows("attic", 5);
    site.grows("cellar", 5);

    // Both keys for the attic, as a master's file that holds both gives them.
    site.rekey("master.key", &["old.key", "new.key"]);
    site.keygen(&["--agent", "attic", "--out", "attic-both.key"]);
    let new_only = ["--agent", "attic", "--out", "attic-new.key"];
    site.keygen(&[&new_only[..], &["--master", "new.key"]].concat());
    site.rekey("attic.key", &["attic-both.key"]);
    site.rekey("master.key", &["new.key", "old.key"]);
    // The cellar knows the old key alone: the new one is tried, then the old one.
    link.cut();
    let line = cellar.stderr.line("connection from");
    assert!(line.contains("which is not known here"), "{line}");
    cellar.stderr.line("manager main connected");
    site.grows("cellar", 5);

    within(&mut attic, "its key was removed", || {
        site.rekey("attic.key", &["attic-new.key"]);
    });
    attic.stderr.line("manager main connected");
    site.grows("attic", 5);
    within(
        &mut manager,
        "agent cellar away: its key was removed",
        || {
            site.rekey("master.key", &["new.key"]);
        },
    );
    let refused = cellar.stderr.line("connection from");
    assert!(refused.contains("which is not known here"), "{refused}");
    manager.stderr.line("agent cellar: greet 127.0.0.1:");
    // The old master key, in a manager's hand again, opens the attic no more.
    site.rekey("master.key", &["old.key"]);
    let refused = attic.stderr.line("connection from");
    assert!(refused.contains("which is not known here"), "{refused}");
    site.rekey("master.key", &["new.key", "old.key"]);
    manager.stderr.line("agent cellar connected");
    manager.stderr.line("agent attic connected");
    site.audited_clean();
    for lines in site.stored().values() {
        assert!(!lines.iter().any(|line| line.contains(r#""event":"gap""#)));
    }
    assert_eq!(times(&mut attic, "authentication failed"), 0);
    site.keeps_secrets(&mut [&mut attic, &mut cellar, &mut manager]);
}

#[test]
fn a_key_file_that_is_emptied_opens_nothing() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    let (mut attic, at) = keyed(&site, "attic");
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    site.fleet_of(&[dialled("attic", at, None)], &defaults, 1);
    let _manager = site.serve(&[]);
    site.grows("attic", 2);
    within(&mut attic, "its key was removed", || {
        site.rekey("attic.key", &[]);
    });
    let line = attic.stderr.line("connection from");
    assert!(line.contains("which is not known here"), "{line}");
    attic.kill();
    let mut command = program("tcpmon-agent");
    let command = command.args(["--key-file", "attic.key", "--data", "attic"]);
    let again = run(command.current_dir(site.path("")));
    again.code(1).stderr_has("key file attic.key: empty");
}

#[test]
fn a_key_speaks_for_its_agent_whatever_id_comes_with_it() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    site.keygen(&["--agent", "cellar"]);
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    let agents = [dials_in("attic", None), dials_in("cellar", None)];
    site.fleet_of(&agents, &defaults, 1);
    let mut manager = site.serve(&LISTEN);
    let at = manager.listening().to_string();
    let dial = |data: &str, key_file: &str| {
        site.agent_with(data, &["--key-file", key_file, "--manager", &at])
    };
    let mut cellar = dial("house", "cellar.key");
    site.grows("cellar", 2);
    cellar.kill();
    manager.stderr.line("agent cellar away");
    let before = site.results("cellar");
    // The cellar's directory under the attic's key.
    let mut attic = dial("house", "attic.key");
    let line = attic.stderr.line("said goodbye: ");
    assert!(
        line.contains("of agent cellar: if that was renamed"),
        "{line}"
    );
    manager
        .stderr
        .line("of agent cellar: if that was renamed, write attic into");
    attic.kill();
    assert_eq!((site.results("attic"), site.results("cellar")), (0, before));
}

/// Sends again all that came from the dialler on a recorded connection.
fn replayed(link: &Meddler, to: SocketAddr) -> String {
    let mut peer = Peer::connect(to);
    let lines = link.lines(0, Way::Up, 4);
    peer.send(&lines.concat());
    let mut answer = String::new();
    while let Some(line) = peer.line() {
        answer += &(line + "\n");
    }
    answer
}

#[test]
fn a_recorded_session_opens_nothing_a_second_time() {
    let site = Site::new(1);
    site.keygen(&[]);
    site.keygen(&["--agent", "attic"]);
    site.keygen(&["--agent", "cellar"]);
    let (mut attic, attic_at) = keyed(&site, "attic");
    let link = Meddler::start(attic_at, Vec::new());
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    let agents = [dialled("attic", link.addr, None), dials_in("cellar", None)];
    site.fleet_of(&agents, &defaults, 1);
    let mut manager = site.serve(&LISTEN);
    let at = manager.listening();
    let inward = Meddler::start(at, Vec::new());
    let to = inward.addr.to_string();
    let mut cellar = agent(&site, "cellar", Some("cellar.key"), &["--manager", &to]);
    site.grows("attic", 2);
    site.grows("cellar", 2);
    let refused = "{\"msg\":\"bye\",\"text\":\"authentication failed\"}\n";
    let answer = replayed(&link, attic_at);
    assert!(answer.ends_with(refused), "{answer}");
    assert_eq!(answer.lines().count(), 2, "{answer}");
    let line = attic.stderr.line("connection from");
    assert!(line.contains("its proof is wrong"), "{line}");
    // Neither does it end the session that is, nor open one once that is over.
    cellar.kill();
    manager.stderr.line("agent cellar away");
    let answer = replayed(&inward, at);
    assert!(answer.ends_with(refused), "{answer}");
    assert_eq!(answer.lines().count(), 2, "{answer}");
    let line = manager.stderr.line("an agent named cellar is knocking");
    assert!(line.contains("its proof is wrong"), "{line}");
    assert_eq!(times(&mut attic, "connected from"), 1);
    assert_eq!(times(&mut manager, "agent cellar connected"), 1);
}
