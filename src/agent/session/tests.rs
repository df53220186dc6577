//! A session over a link whose acknowledgements come late, played against what the
//! protocol says a manager makes of it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::agent::simulated::{Keeping, SimAgent, SimSession};
use crate::clock::simulated::{self as time, Dice};
use crate::config::agent_config_json;
use crate::files::simulated as disk;
use crate::journal::SyncMode;
use crate::model::{Epoch, Id, Mono, Name, Revision, Target, Terms, Wall};
use crate::proto::{self, Hello, Message, Role, Side};
use crate::record::{Body, Record};
use std::time::Duration;

const MS: u64 = 1000;

/// What a manager knows by `now` messages and by the records after them.
#[derive(Default)]
struct Known {
    up: BTreeMap<Name, bool>,
    /// The state follows records after this one.
    mark: u64,
    epoch: Option<Epoch>,
    /// The last record that came.
    last: u64,
}

impl Known {
    fn take(&mut self, line: &[u8]) {
        if let Ok(record) = Record::parse(line) {
            assert_eq!(record.seq, self.last + 1, "a hole");
            self.last = record.seq;
            if let (Body::Result(sample), true) = (record.body, record.seq > self.mark) {
                self.up.insert(sample.target, sample.failure.is_none());
            }
            return;
        }
        match Message::parse(line).unwrap() {
            Message::Now { seq, targets, .. } => {
                assert!(seq >= self.mark);
                self.mark = seq;
                let states = targets.into_iter().map(|now| (now.target, now.ok));
                self.up.extend(states);
            }
            Message::Epoch(epoch) => self.epoch = Some(epoch),
            _ => {}
        }
    }
}

fn hello() -> Hello {
    Hello {
        version: proto::VERSION,
        role: Role::Manager,
        side: Side::Dialler,
        id: Id(1),
        name: "main".parse().unwrap(),
        instance: Id(2),
        at: Wall(0),
        expects: None,
        auth: None,
    }
}

fn configure(session: &mut SimSession, targets: usize) {
    let targets: Vec<Target> = (0..targets)
        .map(|n| {
            let terms = Terms::every(Duration::from_secs(5), Duration::from_secs(1));
            Target::new(
                format!("t{n}").parse().unwrap(),
                "192.0.2.1:80".parse().unwrap(),
                terms,
            )
        })
        .collect();
    let text = agent_config_json(&targets);
    let revision = Revision {
        owner: Id(1),
        owner_name: "main".parse().unwrap(),
        counter: 1,
        hash: proto::content_hash(&text),
    };
    for part in proto::parts(&revision, false, &text) {
        session
            .hear(Message::Config(part).line().as_bytes().trim_ascii_end())
            .unwrap();
    }
}

/// Half a minute of an agent without a manager, then two with one whose acknowledgements
/// come up to `late` ms late. Whenever all is said, the manager knows what is so.
fn play(seed: u64, targets: usize, late: u64) -> (u32, usize) {
    let _time = time::start(seed);
    let _disk = disk::start();
    let mut dice = Dice::new(seed);
    let keeping = Keeping {
        limit: 64 << 20,
        sync: SyncMode::Never,
    };
    let mut agent = SimAgent::start(Path::new("/a"), &"a".parse().unwrap(), keeping).unwrap();
    let (_, mut session) = agent.greet(&hello()).unwrap();
    configure(&mut session, targets);
    let mut down: BTreeMap<Name, bool> = BTreeMap::new();
    let mut known = Known::default();
    let mut acks: Vec<(u64, u64)> = Vec::new();
    let mut looked = 0;
    for ms in (0..150_000).step_by(10) {
        time::set_mono(Mono(ms * MS));
        if dice.once_in(20) {
            let name: Name = format!("t{}", dice.below(targets as u64)).parse().unwrap();
            let is_down = down.entry(name).or_default();
            *is_down = !*is_down;
        }
        agent.turn(|target| {
            let is_down = down.get(&target.name).copied().unwrap_or(false);
            (Duration::from_millis(1), !is_down)
        });
        if ms == 30_000 {
            let resume = Message::Resume(Vec::new()).line();
            session.hear(resume.as_bytes().trim_ascii_end()).unwrap();
        }
        if ms < 30_000 {
            continue;
        }
        let before = known.last;
        // The link takes so much at a time.
        let mut quiet = false;
        for _ in 0..=dice.below(4) {
            let out = session.say();
            quiet = out.is_empty();
            for line in out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                known.take(line);
            }
        }
        if known.last > before {
            acks.push((ms + dice.below(late), known.last));
        }
        let due = acks.iter().filter(|(at, _)| *at <= ms);
        if let (Some(seq), Some(epoch)) = (due.map(|ack| ack.1).max(), known.epoch) {
            acks.retain(|(_, last)| *last > seq);
            let ack = Message::Ack { epoch, seq }.line();
            session.hear(ack.as_bytes().trim_ascii_end()).unwrap();
        }
        let all_said = quiet && agent.last() == known.last;
        if all_said {
            looked += 1;
            for (name, up) in agent.states() {
                assert_eq!(
                    known.up.get(&name),
                    Some(&up),
                    "{name} at {ms} ms, seed {seed}"
                );
            }
        }
    }
    (looked, known.up.len())
}

#[test]
fn whoever_has_heard_all_knows_what_is_so() {
    for seed in 1..=3 {
        for (targets, late) in [(50, 600), (200, 600), (400, 3_000), (400, 8_000)] {
            let (looked, known) = play(seed, targets, late);
            assert_eq!(known, targets);
            assert!(
                looked > 100 || late > 600,
                "{looked} times with {targets} and {late} ms"
            );
        }
    }
}
