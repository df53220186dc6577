//! A man in the middle: passes lines both ways, keeps what he has seen, and on each
//! connection plays at most one trick on one line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use super::until;

/// Lines kept of each direction of a connection.
const KEPT_MAX: usize = 200;

/// Which way a line goes: up is from who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// What is done to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// One bit of it is changed.
    Flip,
    Drop,
    Repeat,
    /// It comes after the next one.
    Swap,
    /// It is cut in half, and the connection ends there.
    Truncate,
    /// A line of an earlier connection comes instead, or the one before it.
    Replay,
}

/// A trick on the `line`th line, from 1, that goes `way`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub way: Way,
    pub line: usize,
    pub trick: Trick,
}

/// A listener whose connections are meddled with, one step each, until no step is left.
pub struct Meddler {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    steps: Mutex<VecDeque<Step>>,
    seen: Mutex<Vec<Seen>>,
}

/// What passed on one connection, as it came.
#[derive(Default)]
struct Seen {
    /// The port that the connection comes from on the far side.
    port: u16,
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
    /// Directions that have ended.
    ended: usize,
}

impl Seen {
    fn lines(&mut self, way: Way) -> &mut Vec<Vec<u8>> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Meddler {
    /// Listens on a free port and passes on to `to`.
    pub fn start(to: SocketAddr, steps: Vec<Step>) -> Meddler {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            steps: Mutex::new(steps.into()),
            seen: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // The other side may be away for a while.
                if let Ok(server) = TcpStream::connect(accepting.to) {
                    accepting.join(client, server);
                }
            }
        });
        Meddler { addr, shared }
    }

    /// Waits until the `n`th connection, from 0, is over; the port it came from.
    pub fn over(&self, n: usize) -> u16 {
        until(&format!("the end of connection {n}"), || {
            let seen = self.shared.seen();
            let seen = seen.get(n)?;
            (seen.ended == 2).then_some(seen.port)
        })
    }

    /// Waits until so many lines have come that way on the `n`th connection; all of them.
    pub fn lines(&self, n: usize, way: Way, count: usize) -> Vec<Vec<u8>> {
        until(&format!("{count} lines on connection {n}"), || {
            let mut seen = self.shared.seen();
            let lines = seen.get_mut(n)?.lines(way);
            (lines.len() >= count).then(|| lines.clone())
        })
    }

    /// All that has passed, as text.
    pub fn text(&self) -> String {
        let seen = self.shared.seen();
        let lines = seen.iter().flat_map(|s| s.up.iter().chain(&s.down));
        lines.map(|line| String::from_utf8_lossy(line)).collect()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }

    fn join(self: &Arc<Shared>, client: TcpStream, server: TcpStream) {
        let step = self.steps.lock().unwrap().pop_front();
        let mut seen = self.seen();
        let n = seen.len();
        seen.push(Seen {
            port: server.local_addr().unwrap().port(),
            ..Seen::default()
        });
        drop(seen);
        let ends = [&client, &server].map(|s| s.try_clone().unwrap());
        let [back, forth] = ends;
        for (way, from, to) in [(Way::Up, client, forth), (Way::Down, server, back)] {
            let shared = Arc::clone(self);
            let trick = step.filter(|s| s.way == way).map(|s| (s.line, s.trick));
            std::thread::spawn(move || {
                shared.pass(n, way, trick, from, &to);
                // What was sent before still arrives; the other direction ends with it.
                let _ = to.shutdown(Shutdown::Write);
                shared.seen()[n].ended += 1;
            });
        }
    }

    /// Passes lines on until one side ends, or the trick ends it.
    fn pass(
        &self,
        n: usize,
        way: Way,
        trick: Option<(usize, Trick)>,
        from: TcpStream,
        mut to: &TcpStream,
    ) {
        let mut from = BufReader::new(from);
        let mut held: Option<Vec<u8>> = None;
        for number in 1.. {
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                return;
            }
            let before = self.keep(n, way, number, &line);
            let trick = trick
                .filter(|(at, _)| *at == number)
                .map(|(_, trick)| trick);
            let mut out = match trick {
                None => line,
                Some(Trick::Flip) => flipped(line),
                Some(Trick::Drop) => Vec::new(),
                Some(Trick::Repeat) => line.repeat(2),
                Some(Trick::Swap) => {
                    held = Some(line);
                    continue;
                }
                Some(Trick::Truncate) => line[..line.len() / 2].to_vec(),
                Some(Trick::Replay) => before,
            };
            out.extend(held.take().unwrap_or_default());
            if to.write_all(&out).is_err() || trick == Some(Trick::Truncate) {
                return;
            }
        }
    }

    /// Keeps a line; gives back one to replay in its place.
    fn keep(&self, n: usize, way: Way, number: usize, line: &[u8]) -> Vec<u8> {
        let mut seen = self.seen();
        let earlier = seen[..n].iter_mut().rev().find_map(|seen| {
            let lines = seen.lines(way);
            lines.get(number - 1).cloned()
        });
        let lines = seen[n].lines(way);
        let before = earlier.or_else(|| lines.last().cloned());
        if lines.len() < KEPT_MAX {
            lines.push(line.to_vec());
        }
        before.unwrap_or_default()
    }
}

/// The line with one bit changed: of the clock in a hello, so that it stays a hello; else
/// in the middle.
fn flipped(mut line: Vec<u8>) -> Vec<u8> {
    const CLOCK: &[u8] = b"\"at\":";
    let clock = line.windows(CLOCK.len()).position(|w| w == CLOCK);
    let at = clock.map_or(line.len() / 2, |at| at + CLOCK.len() + 8);
    line[at] ^= 1;
    line
}
