//! A greeted connection between a manager and an agent: who the other side is, and
//! lines in both directions, sealed when the link has a key. Either side may have
//! dialled; after the greeting nothing differs.
//!
//! Until a peer has greeted, and with a key proved who it is, it may send
//! [`HELLO_BYTES_MAX`] bytes within [`HELLO_WITHIN_S`] seconds, and no more.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock;
use crate::error::{Context, Error};
use crate::files;
use crate::key::Key;
use crate::model::{TEXT_LEN_MAX, Wall};
use crate::net::line::{LineError, LineReader, Step};
use crate::net::stream::{TimedStream, write_all};
use crate::net::{self, resolve::Resolver};
use crate::proto::handshake::{Opening, Proving, Refusal, Seals, read_hello};
use crate::proto::seal::{Opener, Sealer, sealed_len};
use crate::proto::{HELLO_BYTES_MAX, HELLO_WITHIN_S, Hello, LINE_BYTES_MAX, Message};
use crate::text::cut;
use crate::units::{Family, HostPort, Reach};

/// Longest wait for a connection that this side dials.
const DIAL_WITHIN: Duration = Duration::from_secs(5);

/// A connection whose two sides have greeted each other.
pub struct Channel {
    /// What the other side said of itself; proved when there is a key.
    pub peer: Hello,
    /// The key of the link.
    pub key: Option<Key>,
    /// When the peer was asked for its hello, and when that had come: its clock was
    /// read in between.
    pub asked: Wall,
    pub heard: Wall,
    pub reader: Reader,
    pub writer: Writer,
}

impl Channel {
    /// Ends it with a goodbye that says why.
    pub fn refuse(&mut self, text: &str) {
        let bye = Message::Bye { text: text.into() };
        // The peer may be gone already; whoever refuses tells of it here, too.
        let _ = self.writer.write(bye.line().as_bytes());
        self.writer.close();
    }
}

/// Reads the peer's lines.
pub struct Reader {
    lines: LineReader<TimedStream>,
    opener: Option<Opener>,
    plain: Vec<u8>,
}

impl Reader {
    /// Goes to the next line, as [`LineReader::step`]. A sealed line that does not open is
    /// an error, after which nothing more is to be read.
    pub fn step(&mut self) -> Result<Step, LineError> {
        let step = self.lines.step()?;
        if let (Step::Whole, Some(opener)) = (step, &mut self.opener) {
            let opened = opener.open(self.lines.line(), &mut self.plain);
            opened
                .map_err(|text| LineError::Io(io::Error::new(io::ErrorKind::InvalidData, text)))?;
        }
        Ok(step)
    }

    /// The line the last [`Step::Whole`] stands for, without its newline.
    pub fn line(&self) -> &[u8] {
        match self.opener {
            Some(_) => &self.plain,
            None => self.lines.line(),
        }
    }

    /// Whether a whole line is at hand without reading.
    pub fn ready(&self) -> bool {
        self.lines.ready()
    }

    /// The connection, to set its deadline and to ask when it was last heard.
    pub fn stream(&mut self) -> &mut TimedStream {
        self.lines.source()
    }
}

/// Writes lines to the peer.
pub struct Writer {
    stream: TcpStream,
    sealer: Option<Sealer>,
    sealed: Vec<u8>,
}

impl Writer {
    /// Writes whole lines, each with its newline.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(sealer) = &mut self.sealer else {
            return write_all(&mut self.stream, lines);
        };
        self.sealed.clear();
        for line in lines.split_inclusive(|b| *b == b'\n') {
            sealer.seal(line.strip_suffix(b"\n").unwrap_or(line), &mut self.sealed);
        }
        write_all(&mut self.stream, &self.sealed)
    }

    /// Another handle to the connection, to cut it with.
    pub fn cutter(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Ends the connection for both directions and both sides.
    pub fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Why a connection did not become a channel.
#[derive(Debug)]
pub enum NoChannel {
    /// It was closed before a byte came: a port scan, or someone's probe.
    Left,
    Failed(Error),
    /// The peer is who it says, and is not to come in all the same.
    Refused(Error),
}

impl From<Error> for NoChannel {
    fn from(error: Error) -> NoChannel {
        NoChannel::Failed(error)
    }
}

/// Dials the peer at `address` and greets it. Of several keys, of which the peer may not
/// know each, `turn` says which one's turn it is; it moves on when the greeting fails. A
/// name that stands for this host's own loopback is not talked to without a key where it
/// resolves to something else.
pub fn dial(
    resolver: &Resolver,
    address: &HostPort,
    keys: Option<Vec<Key>>,
    turn: &mut usize,
    hello: impl FnOnce(Option<&Key>) -> Hello,
) -> Result<Channel, Error> {
    let key = match keys {
        None => None,
        Some(keys) if keys.is_empty() => return Err(Error::new("no key to greet it with")),
        Some(keys) => Some(keys[*turn % keys.len()].clone()),
    };
    let deadline = clock::mono().after(DIAL_WITHIN);
    let dialled = net::dial::dial(
        resolver,
        &Reach::default(),
        (address, Family::Any),
        deadline,
        0,
    );
    let stream = dialled.outcome.map_err(|f| Error::new(f.text))?;
    let strays = |addr: SocketAddr| !addr.ip().to_canonical().is_loopback();
    if key.is_none() && address.is_loopback() && dialled.addr.is_some_and(strays) {
        return Err(Error::new(format!(
            "{address} is not a loopback address here, and the link has no key"
        )));
    }
    let hello = hello(key.as_ref());
    greet(stream, hello, key)
        .inspect_err(|_| *turn = turn.wrapping_add(1))
        .context(|| format!("greet {address}"))
}

/// Greets a peer that this side has dialled.
fn greet(stream: TcpStream, hello: Hello, key: Option<Key>) -> Result<Channel, Error> {
    let mut greeting = Greeting::new(stream)?;
    greeting.dialled_here = true;
    let opening = Opening::new(hello, key.clone(), nonce(&key)?);
    greeting.send(opening.line())?;
    let line = greeting.next("hello")?;
    greeting.heard = clock::wall();
    let agreed = read_hello(&line).and_then(|peer| Ok((opening.agree(&peer, &line)?, peer)));
    let (proving, peer) = greeting.told(agreed)?;
    let seals = match proving {
        Some(proving) => {
            greeting.send(&proving.line())?;
            Some(greeting.confirm(proving)?)
        }
        None => None,
    };
    greeting.done(peer, key, seals)
}

/// Greets a peer that has dialled this side. `introduce` says, by the peer's hello, with
/// which hello and under which key; `admit` has the last word once the peer has proved
/// who it is, before it learns that it has come through.
pub fn answer<T>(
    stream: TcpStream,
    introduce: impl FnOnce(&Hello) -> Result<(Hello, Option<Key>), Refusal>,
    admit: impl FnOnce(&Hello, Option<&Key>) -> Result<T, Refusal>,
) -> Result<(Channel, T), NoChannel> {
    let mut greeting = Greeting::new(stream)?;
    let Some(line) = greeting.first()? else {
        return Err(NoChannel::Left);
    };
    greeting.heard = clock::wall();
    let heard = read_hello(&line).and_then(|peer| Ok((introduce(&peer)?, peer)));
    let ((hello, key), peer) = greeting.told(heard)?;
    let opening = Opening::new(hello, key.clone(), nonce(&key)?);
    let agreed = opening.agree(&peer, &line);
    let (last, seals) = match greeting.told(agreed)? {
        Some(proving) => {
            greeting.send(opening.line())?;
            let proof = proving.line();
            (proof, Some(greeting.confirm(proving)?))
        }
        None => (opening.line().to_string(), None),
    };
    let admitted = greeting
        .told(admit(&peer, key.as_ref()))
        .map_err(NoChannel::Refused)?;
    greeting.send(&last)?;
    Ok((greeting.done(peer, key, seals)?, admitted))
}

fn nonce(key: &Option<Key>) -> Result<[u8; 32], Error> {
    match key {
        Some(_) => files::secret(),
        None => Ok([0; 32]),
    }
}

/// A connection on its way to being a channel.
struct Greeting {
    lines: LineReader<TimedStream>,
    stream: TcpStream,
    /// Bytes the peer may still send.
    left: usize,
    dialled_here: bool,
    asked: Wall,
    heard: Wall,
}

impl Greeting {
    fn new(stream: TcpStream) -> Result<Greeting, Error> {
        let doing = || "set up the connection".to_string();
        let deadline = clock::mono().after(Duration::from_secs(HELLO_WITHIN_S));
        let source = TimedStream::new(stream, deadline).context(doing)?;
        let stream = source.writer().context(doing)?;
        Ok(Greeting {
            lines: LineReader::new(source, HELLO_BYTES_MAX),
            stream,
            left: HELLO_BYTES_MAX,
            dialled_here: false,
            asked: clock::wall(),
            heard: clock::wall(),
        })
    }

    fn send(&mut self, line: &str) -> Result<(), Error> {
        write_all(&mut self.stream, line.as_bytes()).context(|| "send the greeting".to_string())
    }

    /// The peer's first line, if it says anything at all.
    fn first(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.lines.step() {
            Ok(Step::End) => Ok(None),
            Err(LineError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            step => self.took(step, "hello").map(Some),
        }
    }

    /// The peer's next line, called `what` in errors.
    fn next(&mut self, what: &str) -> Result<Vec<u8>, Error> {
        let step = self.lines.step();
        self.took(step, what)
    }

    fn took(&mut self, step: Result<Step, LineError>, what: &str) -> Result<Vec<u8>, Error> {
        match step {
            Ok(Step::Whole) => {
                let line = self.lines.line().to_vec();
                self.left = self.left.saturating_sub(line.len() + 1);
                self.lines.set_max(self.left.max(1));
                Ok(line)
            }
            Ok(Step::End | Step::Torn) => Err(Error::new(match self.dialled_here {
                true => format!("closed before its {what}: it may be turning this address away"),
                false => format!("closed before its {what}"),
            })),
            Err(error) if error.is_timeout() => {
                Err(Error::new(format!("no {what} within {HELLO_WITHIN_S} s")))
            }
            Err(error) => Err(Error::new(format!("{what}: {error}"))),
        }
    }

    /// Tells the peer of a refusal, as far as it is to know.
    fn told<T>(&mut self, outcome: Result<T, Refusal>) -> Result<T, Error> {
        outcome.map_err(|refusal| {
            if let Some(text) = refusal.told {
                // It may be gone already; what matters is the reason here.
                let _ = self.send(&Message::Bye { text }.line());
            }
            Error::new(cut(&refusal.text, TEXT_LEN_MAX))
        })
    }

    fn confirm(&mut self, proving: Proving) -> Result<Seals, Error> {
        let line = self.next("proof")?;
        self.told(proving.confirm(&line))
    }

    fn done(
        mut self,
        peer: Hello,
        key: Option<Key>,
        seals: Option<Seals>,
    ) -> Result<Channel, Error> {
        let (sealer, opener, max) = match seals {
            Some(Seals { sealer, opener }) => {
                (Some(sealer), Some(opener), sealed_len(LINE_BYTES_MAX - 1))
            }
            None => (None, None, LINE_BYTES_MAX),
        };
        self.lines.set_max(max);
        Ok(Channel {
            peer,
            key,
            asked: self.asked,
            heard: self.heard,
            reader: Reader {
                lines: self.lines,
                opener,
                plain: Vec::new(),
            },
            writer: Writer {
                stream: self.stream,
                sealer,
                sealed: Vec::new(),
            },
        })
    }
}
