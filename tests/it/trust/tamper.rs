//! A man in the middle of sealed links between a real manager and real agents. Whatever
//! he does to a line, it is noticed and logged, the link comes back, and in the end
//! nothing is missing.

use std::sync::Mutex;

use super::{INTERVAL, LISTEN, dialled};
use crate::support::{Meddler, Running, Site, Step, Trick, Way, until};

/// Links that the steps are dealt to.
const AGENTS: usize = 14;
const TRICKS: [Trick; 6] = [
    Trick::Flip,
    Trick::Drop,
    Trick::Repeat,
    Trick::Swap,
    Trick::Truncate,
    Trick::Replay,
];
/// Lines each way that are meddled with. The manager's come slower: its last ones are
/// acknowledgements, two a second.
const UP_LINES: usize = 8;
const DOWN_LINES: usize = 10;

/// The agent's first beat, after which it waits for an answer: what comes next and tells
/// that it was left out is another beat, ten seconds later.
const SLOW: [Step; 1] = [Step {
    way: Way::Down,
    line: 3,
    trick: Trick::Drop,
}];

fn steps(way: Way, lines: impl Iterator<Item = usize>) -> Vec<Step> {
    let of_line = |line| TRICKS.map(|trick| Step { way, line, trick });
    let steps = lines.flat_map(of_line);
    // Where a side waits for an answer nothing follows that could come first.
    let last = |s: &Step| match s.way {
        Way::Up => s.line < 3,
        Way::Down => s.line == 1 || s.line == 3,
    };
    steps
        .filter(|s| s.trick != Trick::Swap || !last(s))
        .filter(|s| !SLOW.contains(s))
        .collect()
}

/// What each agent's link is put through: steps within a session, and between them such
/// as keep one from coming about. So every refusal is followed by a session.
fn plans() -> Vec<Vec<Step>> {
    // The agents have no configuration yet: the fourth line up is a part of one.
    let mut within = steps(Way::Up, 4..5);
    within.extend(steps(Way::Up, (3..=UP_LINES).filter(|line| *line != 4)));
    within.extend(steps(Way::Down, 4..=DOWN_LINES));
    let mut before = steps(Way::Up, 1..3);
    before.extend(steps(Way::Down, 1..4));
    let mut plans = vec![Vec::new(); AGENTS];
    for (at, plan) in plans.iter_mut().enumerate() {
        let mut others = before.iter().skip(at).step_by(AGENTS);
        for step in within.iter().skip(at).step_by(AGENTS) {
            plan.push(*step);
            plan.extend(others.next());
        }
        assert!(others.next().is_none(), "not all are dealt");
    }
    let session = within[0];
    plans.extend(SLOW.map(|slow| vec![session, slow]));
    plans
}

/// Which side notices, and what it says of it.
fn notice(step: Step) -> (Way, &'static [&'static str]) {
    use Trick::*;
    let told: &[&str] = match (step.line, step.way, step.trick) {
        // The dialler proves first: a changed hello of either side is noticed by its proof.
        (1, _, Flip | Replay) => return (Way::Up, &["its proof is wrong"]),
        (1, _, Drop) => &["no hello within 5 s", "closed before its hello"],
        (1, _, Repeat) => &["expected a proof, another message came"],
        (1, _, _) => &["closed before its hello"],
        (2, Way::Up, Drop) => &["no proof within 5 s", "closed before its proof"],
        (2, _, Drop | Swap) => &["expected a proof: not JSON"],
        (2, _, Flip) => &["its proof is wrong", "expected a proof: "],
        (2, _, Replay) => &["its proof is wrong"],
        (2, _, Repeat) => &["line 1 is not sealed"],
        (2, _, Truncate) => &["closed before its proof"],
        (_, _, Flip | Replay) => &["does not open", "is not sealed"],
        (_, Way::Up, Truncate) => &["closed by the manager within a line"],
        (_, Way::Down, Truncate) => &["closed by the agent within a line"],
        (..) => &["does not open"],
    };
    (step.way, told)
}

/// Follows one link through its plan: each connection ends, and the side that can tell
/// says why.
fn follow(
    name: &str,
    link: &Meddler,
    plan: &[Step],
    agent: &mut Running,
    manager: &Mutex<Running>,
) {
    let mut told = 0;
    for (n, step) in plan.iter().enumerate() {
        let port = link.over(n);
        let (side, texts) = notice(*step);
        let fits = |line: &str| texts.iter().any(|text| line.contains(text));
        let what = format!("{step:?} on {name}, connection {n}: {texts:?}");
        match side {
            Way::Up => {
                let from = format!("from 127.0.0.1:{port}: ");
                // Sessions end on threads of their own, so a later one may be told first.
                let ended = until(&what, || {
                    let log = agent.stderr.seen();
                    let mut whole = log.split_inclusive('\n').filter(|l| l.ends_with('\n'));
                    whole.find(|line| line.contains(&from)).map(str::to_string)
                });
                assert!(fits(&ended), "{what}: {ended}");
            }
            Way::Down => until(&what, || {
                let log = manager.lock().unwrap().stderr.seen();
                let of_agent = |line: &&str| line.contains(&format!("agent {name}"));
                let mut mine = log.lines().filter(of_agent).skip(told);
                told += 1 + mine.position(fits)?;
                Some(())
            }),
        }
    }
    link.lines(plan.len(), Way::Down, DOWN_LINES);
    assert!(agent.alive());
}

#[test]
fn whatever_a_man_in_the_middle_does_is_noticed_and_nothing_is_lost() {
    let site = Site::new(1);
    site.keygen(&[]);
    let plans = plans();
    let mut agents = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let name = format!("a{n:02}");
        site.keygen(&["--agent", &name]);
        let key_file = format!("{name}.key");
        let args = [&LISTEN[..], &["--key-file", &key_file]].concat();
        let mut agent = site.agent_with(&name, &args);
        let link = Meddler::start(agent.listening(), plan.clone());
        agents.push((name, link, agent));
    }
    let entry = |(name, link, _): &(String, Meddler, Running)| dialled(name, link.addr, None);
    let entries: Vec<String> = agents.iter().map(entry).collect();
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    site.fleet_of(&entries, &defaults, 2);
    let manager = Mutex::new(site.serve(&[]));
    std::thread::scope(|scope| {
        for ((name, link, agent), plan) in agents.iter_mut().zip(&plans) {
            let manager = &manager;
            scope.spawn(move || follow(name, link, plan, agent, manager));
        }
    });
    for (name, ..) in &agents {
        site.grows(name, 1);
    }
    site.audited_clean();
    let mut programs: Vec<&mut Running> = agents.iter_mut().map(|(.., agent)| agent).collect();
    let mut manager = manager.into_inner().unwrap();
    assert!(manager.alive());
    programs.push(&mut manager);
    site.keeps_secrets(&mut programs);
}
