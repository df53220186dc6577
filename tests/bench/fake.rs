//! Agents that only play at it: they greet a real manager and send it records that were
//! made up, as fast or as slowly as is wanted. All of them live in this process.

use std::net::{SocketAddr, TcpListener};

use tcpmon::channel::{self, Channel, Writer};
use tcpmon::clock;
use tcpmon::model::{Epoch, Failure, Id, Name, Phases, Sample, Wall, Why};
use tcpmon::net::line::Step;
use tcpmon::proto::{self, EpochRange, Hello, Message, Role, Side, Status};
use tcpmon::record::{self, Body, Span};

use crate::support::name;

/// One that a manager has dialled, after its greeting.
pub struct Fake {
    epoch: Epoch,
    /// The last number sent.
    pub seq: u64,
    writer: Writer,
    lines: String,
}

/// A place where a manager may dial one.
pub struct Waiting {
    name: Name,
    id: Id,
    listener: TcpListener,
}

impl Waiting {
    pub fn new(number: usize) -> Waiting {
        Waiting {
            name: name(&format!("agent-{number:03}")),
            id: Id(1 + number as u64),
            listener: TcpListener::bind("127.0.0.1:0").expect("listen"),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }

    pub fn entry(&self) -> String {
        let (name, addr) = (&self.name, self.addr());
        format!(r#"{{"name":"{name}","address":"{addr}"}}"#)
    }

    /// Waits for the manager, says that there are `backlog` records, and hears where it
    /// wants to go on; from then on whatever it says is read and left at that.
    pub fn greet(&self, backlog: u64) -> Fake {
        let (stream, _) = self.listener.accept().expect("a connection");
        let introduce = |theirs: &Hello| Ok((self.hello(theirs), None));
        let answered = channel::answer(stream, introduce, |_, _| Ok(()));
        let (channel, ()) = answered.unwrap_or_else(|_| panic!("{}: no greeting", self.name));
        let Channel {
            mut reader,
            mut writer,
            ..
        } = channel;
        let epoch = Epoch(self.id.0);
        let beat = beat(epoch, backlog);
        writer.write(beat.line().as_bytes()).expect("a beat");
        reader.stream().deadline = clock::mono().after(super::manager::PATIENCE);
        loop {
            assert_eq!(reader.step().expect("a line"), Step::Whole);
            if let Ok(Message::Resume(_)) = Message::parse(reader.line()) {
                break;
            }
        }
        std::thread::spawn(move || {
            reader.stream().deadline = tcpmon::model::Mono(u64::MAX);
            while matches!(reader.step(), Ok(Step::Whole)) {}
        });
        let line = Message::Epoch(epoch).line();
        writer.write(line.as_bytes()).expect("its epoch");
        Fake {
            epoch,
            seq: 0,
            writer,
            lines: String::new(),
        }
    }

    fn hello(&self, theirs: &Hello) -> Hello {
        Hello {
            version: proto::VERSION,
            role: Role::Agent,
            side: Side::Dialled,
            id: self.id,
            name: self.name.clone(),
            instance: self.id,
            at: clock::wall(),
            expects: Some(theirs.name.clone()),
            auth: None,
        }
    }
}

fn beat(epoch: Epoch, last: u64) -> Message {
    let first = 1;
    let epochs = vec![EpochRange { epoch, first, last }];
    let status = Some(Status {
        epochs,
        ..Status::default()
    });
    let at = clock::wall();
    Message::Beat { at, status }
}

impl Fake {
    /// Adds a result of the target to what is sent next.
    pub fn result(&mut self, target: &Name, at: Wall) {
        self.seq += 1;
        write_at(&mut self.lines, target, at, self.seq);
    }

    /// How many bytes wait to be sent.
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// Sends what waits.
    pub fn send(&mut self) {
        self.writer
            .write(self.lines.as_bytes())
            .expect("send records");
        self.lines.clear();
    }

    pub fn beat(&mut self) {
        let beat = beat(self.epoch, self.seq);
        self.writer.write(beat.line().as_bytes()).expect("a beat");
    }

    /// Says that every state known is told up to its last number, so that what follows is live.
    pub fn now(&mut self) {
        let now = Message::Now {
            epoch: self.epoch,
            seq: self.seq,
            targets: Vec::new(),
        };
        self.writer.write(now.line().as_bytes()).expect("a state");
    }
}

/// Writes a result with this number, one of a target's every ten seconds.
pub fn write(out: &mut String, target: &Name, seq: u64) {
    write_at(out, target, Wall(1_763_820_000_000 + seq * 10_000), seq);
}

fn write_at(out: &mut String, target: &Name, at: Wall, seq: u64) {
    let body = Body::Result(sample(target, at, seq));
    record::write_line(out, Span { first: seq, seq }, at, &body);
}

/// A result of a target that answers.
pub fn answer(target: &Name) -> Body {
    Body::Result(sample(target, Wall(1_763_820_000_000), 1))
}

/// What a real agent would find: mostly answers of varying speed, now and then a refusal.
fn sample(target: &Name, at: Wall, seq: u64) -> Sample {
    let noise = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let us = 800 + noise % 400 + (noise % 17) * (noise % 13) * 10;
    let failure = (noise % 200 == 0).then(|| Failure {
        why: Why::Refused,
        text: "connect to 10.0.0.7:5432: refused".to_string(),
    });
    Sample {
        target: target.clone(),
        at,
        us,
        phases: Phases {
            connect: failure.is_none().then_some(us - 20),
            close: failure.is_none().then_some(90),
            ..Phases::default()
        },
        failure,
        tries: 1,
        late_us: 0,
        addr: None,
        dns_stale: false,
        retransmit: false,
        each: None,
    }
}
