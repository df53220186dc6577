//! An agent without threads and sockets: the real schedule, recorder, spool, managers
//! and sessions, taken a step at a time by whoever simulates a fleet.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::session::{self, Seat, Sender, Session};
use super::{Agent, Keys, Options, spool, start};
use crate::clock;
use crate::error::Result;
use crate::journal::SyncMode;
use crate::key::Rights;
use crate::model::{Failure, Mono, Name, Phases, Sample, Target, Why, micros};
use crate::net::resolve::Resolver;
use crate::proto::{Assembly, EpochRange, Hello, Side};
use crate::record::SkipWhy;
use crate::schedule::Job;
use crate::units::Reach;

pub use super::check::is_taken as check_takes;

/// A running agent.
pub struct SimAgent {
    agent: Arc<Agent>,
    /// Probes under way, and when each ends, with what.
    probes: Vec<(Mono, Job, Sample)>,
}

/// How an agent keeps its records.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    pub limit: u64,
    pub sync: SyncMode,
}

/// How a probe goes: how long it takes, and whether it is answered.
pub type Finding = (Duration, bool);

impl SimAgent {
    /// Starts an agent on what is in `dir`.
    pub fn start(dir: &Path, name: &Name, keeping: Keeping) -> Result<SimAgent> {
        crate::files::ensure_dir(dir)?;
        let options = Options {
            listen: None,
            managers: Vec::new(),
            keys: Keys::open(Vec::new())?,
            name: name.clone(),
            spool_limit: keeping.limit,
            sync: keeping.sync,
            flush: spool::FLUSH_DEFAULT,
            workers_max: 64,
            reach: Reach::default(),
            web: None,
        };
        let agent = start(dir, options, Resolver::default())?;
        let probes = Vec::new();
        Ok(SimAgent { agent, probes })
    }

    /// What it holds, the current epoch last.
    pub fn ranges(&self) -> Vec<EpochRange> {
        self.agent.recorder.spool.ranges()
    }

    /// The number of its last record, written or not.
    pub fn last(&self) -> u64 {
        self.agent.recorder.spool.last()
    }

    /// The bytes it holds on its disk.
    pub fn bytes(&self) -> u64 {
        self.agent.recorder.spool.bytes()
    }

    /// The content of the configuration in force, if there is one.
    pub fn config(&self) -> Option<crate::model::ContentHash> {
        self.agent.settings().revision().map(|r| r.hash)
    }

    /// How many targets are probed.
    pub fn rows(&self) -> usize {
        self.agent.prober.load().rows
    }

    /// The latest state of each target: whether it answers, and since which result.
    pub fn states(&self) -> Vec<(Name, bool)> {
        let recorder = &self.agent.recorder;
        let states = recorder.states(&recorder.places(), u64::MAX).1;
        states
            .into_iter()
            .map(|state| (state.target, state.ok))
            .collect()
    }

    /// When something is next to be done.
    pub fn next_at(&self) -> Option<Mono> {
        let ends = self.probes.iter().map(|probe| probe.0).min();
        let due = self.agent.prober.next_at();
        let spool = self.agent.recorder.spool.due();
        [ends, due, spool].into_iter().flatten().min()
    }

    /// Does what is due; `probe` says how one goes.
    pub fn turn(&mut self, mut probe: impl FnMut(&Target) -> Finding) {
        let now = clock::mono();
        self.probes.sort_by_key(|probe| probe.0);
        while self.probes.first().is_some_and(|probe| probe.0 <= now) {
            let (_, job, sample) = self.probes.remove(0);
            self.agent.prober.end(job, sample);
        }
        while self.agent.prober.next_at().is_some_and(|at| at <= now) {
            let Some(mut job) = self.agent.prober.take(SkipWhy::Workers) else {
                break;
            };
            job.started = now;
            let (takes, answered) = probe(&job.target);
            let sample = sample(&job, takes, answered);
            self.probes.push((now.after(takes), job, sample));
        }
        let spool = &self.agent.recorder.spool;
        while spool.due().is_some_and(|at| at <= now) {
            spool.turn();
        }
    }

    /// Greets a manager that has said `hello`; else why it is refused.
    pub fn greet(&self, hello: &Hello) -> std::result::Result<(Hello, SimSession), String> {
        let ours = self
            .agent
            .hello(Side::Dialled, None, Some(hello.name.clone()));
        let seat = session::admit(&self.agent, hello, None).map_err(|refusal| refusal.text)?;
        let session = Session::new(&seat, hello.name.clone(), Rights::Own);
        let sender = Sender::new(Arc::clone(&session));
        let session = SimSession {
            _seat: seat,
            session,
            sender,
            assembly: Assembly::default(),
            bell: 0,
        };
        Ok((ours, session))
    }
}

fn sample(job: &Job, takes: Duration, answered: bool) -> Sample {
    Sample {
        target: job.target.name.clone(),
        at: clock::wall(),
        us: micros(takes),
        phases: Phases::default(),
        failure: (!answered).then(|| Failure {
            why: Why::Refused,
            text: "connect: refused".into(),
        }),
        tries: 1,
        late_us: micros(job.started.since(job.due)),
        addr: None,
        dns_stale: false,
        retransmit: false,
        each: None,
    }
}

/// The agent's side of a session.
pub struct SimSession {
    _seat: Seat,
    session: Arc<Session>,
    sender: Sender,
    assembly: Assembly,
    /// Rings heard when it last had nothing more to say.
    bell: u64,
}

impl SimSession {
    /// Takes a line of the manager's; else why the session is over.
    pub fn hear(&mut self, line: &[u8]) -> std::result::Result<(), String> {
        self.session.line(line, &mut self.assembly)
    }

    /// Whether it was ended from inside the agent.
    pub fn is_over(&self) -> bool {
        self.session.over()
    }

    /// Whether there may be something to say, or when there is.
    pub fn next_at(&self) -> Mono {
        match self.session.agent.bell.heard() == self.bell {
            true => self.sender.wake_at(),
            false => clock::mono(),
        }
    }

    /// What is to be said next; nothing when all is said for now.
    pub fn say(&mut self) -> Vec<u8> {
        let heard = self.session.agent.bell.heard();
        let mut out = Vec::new();
        self.sender.fill(&mut out);
        if out.is_empty() {
            self.bell = heard;
        }
        out
    }
}
