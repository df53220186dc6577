//! A TCP proxy in the test: a link that can be slow, late, silent, shut or cut at any byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::Way;

/// What is read at once, and how many such pieces are under way at most.
const PIECE_BYTES: usize = 16 * 1024;
const PIECES_MAX: usize = 64;

/// How bytes pass, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// How long each byte is under way.
    pub delay: Duration,
    /// Bytes a second, each way.
    pub rate: Option<u64>,
    /// Nothing passes any more, nor that either side is gone.
    pub stalled: bool,
    /// New connections are closed at once.
    pub refusing: bool,
}

/// A listener that passes its connections on; its threads end with their connections.
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    link: Link,
    /// The connection is cut when this many more bytes have gone up or down.
    cuts: [Option<u64>; 2],
    /// Bytes that have gone up and down, since the last connection.
    passed: [u64; 2],
    /// How many connections there have been.
    connections: u64,
}

impl Proxy {
    /// Listens on a free port and passes on to `to`.
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            streams: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.join(client);
            }
        });
        Proxy { addr, shared }
    }

    /// Cuts every connection at once, wherever in a line it is.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Cuts after exactly `bytes` more have gone that way: up is from who dialled.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.state().cuts[way as usize] = Some(bytes);
    }

    /// What it is like from now on; when it refuses, connections are cut as well.
    pub fn set(&self, link: Link) {
        self.shared.state().link = link;
        self.shared.changed.notify_all();
        if link.refusing {
            self.cut();
        }
    }

    /// How many connections there have been, and how many bytes of the last have gone up
    /// and down.
    pub fn passed(&self) -> (u64, [u64; 2]) {
        let state = self.shared.state();
        (state.connections, state.passed)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn join(self: &Arc<Shared>, client: TcpStream) {
        if self.state().link.refusing {
            return;
        }
        let Ok(server) = TcpStream::connect(self.to) else {
            return;
        };
        let (client, server) = (Arc::new(client), Arc::new(server));
        let mut streams = self.streams.lock().unwrap();
        streams.retain(|stream| stream.strong_count() > 0);
        streams.extend([&client, &server].map(Arc::downgrade));
        drop(streams);
        let mut state = self.state();
        state.passed = [0; 2];
        state.connections += 1;
        drop(state);
        for (way, from, to) in [(Way::Up, &client, &server), (Way::Down, &server, &client)] {
            let (pieces, under_way) = sync_channel(PIECES_MAX);
            let (shared, from, to) = (Arc::clone(self), Arc::clone(from), Arc::clone(to));
            let (source, reading) = (Arc::clone(&from), Arc::clone(self));
            std::thread::spawn(move || reading.read(&source, &pieces));
            std::thread::spawn(move || {
                shared.pass(way, &under_way, &to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            });
        }
    }

    fn read(&self, mut from: &TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>) {
        loop {
            // A slow link takes small pieces, so that what is under way stays little.
            let rate = self.state().link.rate;
            let size = rate.map_or(PIECE_BYTES, |rate| (rate as usize / 20).max(1));
            let mut piece = vec![0; size];
            let Ok(len @ 1..) = from.read(&mut piece) else {
                return;
            };
            piece.truncate(len);
            if pieces.send((Instant::now(), piece)).is_err() {
                return;
            }
        }
    }

    /// Passes pieces on until their source ends, the other side is gone or it is cut here.
    fn pass(&self, way: Way, under_way: &Receiver<(Instant, Vec<u8>)>, mut to: &TcpStream) {
        let mut free_at = Instant::now();
        while let Ok((came, piece)) = under_way.recv() {
            let link = self.state().link;
            if let Some(rate) = link.rate {
                let takes = Duration::from_secs(1) * piece.len() as u32 / rate as u32;
                free_at = free_at.max(came) + takes;
            }
            self.wait(free_at.max(came + link.delay));
            let allowed = self.spend(way, piece.len());
            if to.write_all(&piece[..allowed]).is_err() || allowed < piece.len() {
                return;
            }
        }
        self.wait(Instant::now());
    }

    /// Waits until then, and as long as nothing passes.
    fn wait(&self, until: Instant) {
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            state = match (state.link.stalled, left.is_zero()) {
                (true, _) => self.changed.wait(state).unwrap(),
                (false, true) => return,
                (false, false) => self.changed.wait_timeout(state, left).unwrap().0,
            };
        }
    }

    /// How many of `n` bytes may still pass.
    fn spend(&self, way: Way, n: usize) -> usize {
        let mut state = self.state();
        let cut = &mut state.cuts[way as usize];
        let allowed = cut.map_or(n, |left| n.min(left as usize));
        *cut = match *cut {
            Some(left) if allowed == n => Some(left - n as u64),
            _ => None,
        };
        state.passed[way as usize] += allowed as u64;
        allowed
    }
}
