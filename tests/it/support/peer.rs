//! A manager played by the test: lines over a plain TCP connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use tcpmon::model::{ContentHash, Id, Revision, Wall};
use tcpmon::proto::{self, Hello, Message, Role, Side};

use super::PATIENCE;

/// One connection to an agent.
pub struct Peer {
    reader: BufReader<TcpStream>,
}

impl Peer {
    /// Connects and says nothing yet.
    pub fn connect(addr: SocketAddr) -> Peer {
        let stream = TcpStream::connect(addr).expect("connect to the agent");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer {
            reader: BufReader::new(stream),
        }
    }

    /// Connects, says hello as manager `id`, process `instance`, and resumes from nothing.
    pub fn greet(addr: SocketAddr, id: u64, instance: u64) -> Peer {
        let mut peer = Peer::connect(addr);
        peer.say(&hello(id, instance));
        peer.hear(|m| matches!(m, Message::Hello(_)));
        peer.say(&Message::Resume(Vec::new()));
        peer
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Message) {
        self.send(message.line().as_bytes());
    }

    /// Sends bytes as they are; whether the other side still takes them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// The next line without its newline; `None` once the agent has closed.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("read from the agent: {error}"),
        }
    }

    /// The next message that fits; records and other messages are passed over.
    #[track_caller]
    pub fn hear(&mut self, fits: impl Fn(&Message) -> bool) -> Message {
        loop {
            let line = self.line().expect("the agent closed the connection");
            if line.starts_with("{\"seq\":") {
                continue;
            }
            let message = Message::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
            if fits(&message) {
                return message;
            }
        }
    }

    /// The next record line.
    #[track_caller]
    pub fn record(&mut self) -> String {
        loop {
            let line = self.line().expect("the agent closed the connection");
            if line.starts_with("{\"seq\":") {
                return line;
            }
        }
    }

    /// Offers a configuration as manager `owner`; the agent's answer.
    #[track_caller]
    pub fn configure(&mut self, owner: u64, counter: u64, take_over: bool, text: &str) -> Message {
        let revision = Revision {
            owner: Id(owner),
            owner_name: format!("m{owner}").parse().unwrap(),
            counter,
            hash: proto::content_hash(text),
        };
        for part in proto::parts(&revision, take_over, text) {
            self.say(&Message::Config(part));
        }
        self.hear(|m| matches!(m, Message::Applied(_) | Message::Rejected { .. }))
    }

    /// Whether the agent closes the connection, whatever it says before.
    pub fn closed(&mut self) -> bool {
        while self.line().is_some() {}
        true
    }
}

/// A manager's hello.
pub fn hello(id: u64, instance: u64) -> Message {
    Message::Hello(Hello {
        version: proto::VERSION,
        role: Role::Manager,
        side: Side::Dialler,
        id: Id(id),
        name: format!("m{id}").parse().unwrap(),
        instance: Id(instance),
        at: Wall(0),
        expects: None,
        auth: None,
    })
}

/// The content hash of an answer to a configuration, and the problems when it was refused.
pub fn verdict(answer: &Message) -> Result<ContentHash, String> {
    match answer {
        Message::Applied(revision) => Ok(revision.hash),
        Message::Rejected { problems, .. } => Err(problems.join("; ")),
        other => panic!("not an answer: {other:?}"),
    }
}
