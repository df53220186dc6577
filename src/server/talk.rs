//! How the server treats one connection, from accept to close: what each mode
//! reads, sends and waits for, and the line that reports it.
//!
//! Always: a connection on which nothing moves ends after the idle timeout, also
//! when the peer does not read, and a peer that leaves during a wait ends it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::stats::Port;
use crate::clock;
use crate::error::plain;
use crate::log;
use crate::units::{count_text, duration_text, latency_text};

/// Bytes read at a time.
const READ_LEN: usize = 4096;
/// What mode silent reads before it stops, so that it still notices a peer that
/// says little and leaves.
const SILENT_READ_MAX: u64 = 64 * 1024;
/// Bytes that mode garbage sends at a time.
const GARBAGE_LEN: usize = 256;

/// What the server does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Echo,
    Banner,
    Discard,
    Silent,
    Close,
    Garbage,
}

impl Mode {
    /// Each mode with its word on the command line.
    pub const ALL: [(&'static str, Mode); 6] = [
        ("echo", Mode::Echo),
        ("banner", Mode::Banner),
        ("discard", Mode::Discard),
        ("silent", Mode::Silent),
        ("close", Mode::Close),
        ("garbage", Mode::Garbage),
    ];
}

/// How every connection is treated.
#[derive(Debug)]
pub struct Plan {
    pub mode: Mode,
    pub banner: Vec<u8>,
    /// Waited before each answer.
    pub delay: Duration,
    /// Drop each connection of a port whose number is a multiple of this.
    pub fail_every: Option<u64>,
    /// Longest time without a byte moved; above zero.
    pub idle: Duration,
    /// Whether what happens is reported on stderr.
    pub verbose: bool,
}

/// Why a connection ended.
enum End {
    PeerClosed,
    PeerReset,
    Idle,
    /// Closed by the server, as its mode asks.
    Closed,
    /// One of those that `--fail-every` drops.
    Dropped,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Idle,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::PeerReset,
            _ => End::Failed(error),
        }
    }
}

/// A connection and what went over it.
struct Conn<'a> {
    stream: TcpStream,
    plan: &'a Plan,
    read: u64,
    written: u64,
}

/// Serves one accepted connection until it ends, and reports it.
pub fn serve(stream: TcpStream, peer: SocketAddr, port: &Port, plan: &Plan) {
    let began = clock::mono();
    let nth = port.accepted.fetch_add(1, Ordering::Relaxed) + 1;
    let mut conn = Conn {
        stream,
        plan,
        read: 0,
        written: 0,
    };
    let end = match plan.fail_every {
        Some(every) if nth % every == 0 => End::Dropped,
        _ => conn.hold().err().unwrap_or(End::Closed),
    };
    let Conn { read, written, .. } = conn;
    if plan.verbose {
        log::line(Report {
            peer,
            port: port.addr.port(),
            end,
            idle: plan.idle,
            us: clock::mono().0.saturating_sub(began.0),
            read,
            written,
        });
    }
}

impl Conn<'_> {
    /// Does what the mode says. `Ok` when it is done, `Err` when something ended it.
    fn hold(&mut self) -> Result<(), End> {
        let idle = Some(self.plan.idle);
        self.stream.set_read_timeout(idle)?;
        self.stream.set_write_timeout(idle)?;
        // Only makes small answers faster.
        let _ = self.stream.set_nodelay(true);
        match self.plan.mode {
            Mode::Echo => self.echo(),
            Mode::Banner => {
                self.wait()?;
                self.send(&self.plan.banner)?;
                self.discard(u64::MAX)
            }
            Mode::Discard => self.discard(u64::MAX),
            Mode::Silent => {
                self.discard(SILENT_READ_MAX)?;
                clock::sleep(self.plan.idle);
                Err(End::Idle)
            }
            Mode::Close => self.wait(),
            Mode::Garbage => self.garbage(),
        }
    }

    fn echo(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ_LEN];
        loop {
            let len = self.receive(&mut buffer)?;
            if !self.plan.delay.is_zero() {
                clock::sleep(self.plan.delay);
            }
            self.send(&buffer[..len])?;
        }
    }

    fn garbage(&mut self) -> Result<(), End> {
        loop {
            self.wait()?;
            let words = (0..GARBAGE_LEN / 8).flat_map(|_| clock::random().to_ne_bytes());
            self.send(&words.collect::<Vec<u8>>())?;
            self.receive(&mut [0; READ_LEN])?;
        }
    }

    /// Reads and ignores what comes, until more than `max` bytes came in all.
    fn discard(&mut self, max: u64) -> Result<(), End> {
        let mut buffer = [0; READ_LEN];
        while self.read <= max {
            self.receive(&mut buffer)?;
        }
        Ok(())
    }

    /// Lets the delay pass while reading what comes, so that a peer that leaves
    /// does not hold a place until then.
    fn wait(&mut self) -> Result<(), End> {
        if self.plan.delay.is_zero() {
            return Ok(());
        }
        let until = clock::mono().after(self.plan.delay);
        let mut buffer = [0; READ_LEN];
        loop {
            let left = until.since(clock::mono());
            if left.is_zero() {
                self.stream.set_read_timeout(Some(self.plan.idle))?;
                return Ok(());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.receive(&mut buffer) {
                Ok(_) | Err(End::Idle) => {}
                Err(end) => return Err(end),
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        match self.stream.read(buffer) {
            Ok(0) => Err(End::PeerClosed),
            Ok(len) => {
                self.read += len as u64;
                Ok(len)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(buffer),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(len) => {
                    self.written += len as u64;
                    bytes = &bytes[len..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// What is said about a connection that ended.
struct Report {
    peer: SocketAddr,
    port: u16,
    end: End,
    idle: Duration,
    us: u64,
    read: u64,
    written: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on port {}: ", self.peer, self.port)?;
        match &self.end {
            End::PeerClosed => f.write_str("closed by the peer"),
            End::PeerReset => f.write_str("reset by the peer"),
            End::Idle => write!(f, "idle for {}", duration_text(self.idle)),
            End::Closed => f.write_str("closed"),
            End::Dropped => f.write_str("dropped by --fail-every"),
            End::Failed(error) => f.write_str(&plain(&error.to_string())),
        }?;
        let (read, written) = (count_text(self.read), count_text(self.written));
        let lasted = latency_text(self.us);
        write!(f, ", after {lasted}, {read} bytes in, {written} out")
    }
}
