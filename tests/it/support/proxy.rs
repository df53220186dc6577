//! A TCP proxy in the test: passes bytes on, and cuts or refuses when told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes pass both ways until [`Proxy::cut`]; its threads end with their connections.
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    streams: Mutex<Vec<TcpStream>>,
    refusing: AtomicBool,
    /// The connection is cut when this many more bytes have come back from `to`.
    budget: AtomicU64,
}

impl Proxy {
    /// Listens on a free port and passes on to `to`.
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            streams: Mutex::default(),
            refusing: AtomicBool::new(false),
            budget: AtomicU64::new(u64::MAX),
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
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Cuts after exactly `bytes` more have come back.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.budget.store(bytes, Ordering::SeqCst);
    }

    /// Whether new connections are closed at once from now on.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
        if refusing {
            self.cut();
        }
    }
}

impl Shared {
    fn join(self: &Arc<Shared>, client: TcpStream) {
        if self.refusing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(self.to) else {
            return;
        };
        let halves = [&client, &server].map(|s| s.try_clone().unwrap());
        self.streams.lock().unwrap().extend(halves);
        let (from_client, to_client) = (client.try_clone().unwrap(), client);
        let (from_server, to_server) = (server.try_clone().unwrap(), server);
        std::thread::spawn(move || pass(from_client, to_server, |n| n));
        let shared = Arc::clone(self);
        std::thread::spawn(move || pass(from_server, to_client, |n| shared.spend(n)));
    }

    /// How many of `n` bytes may still pass.
    fn spend(&self, n: usize) -> usize {
        let n = n as u64;
        let left = self.budget.load(Ordering::SeqCst);
        if left == u64::MAX {
            return n as usize;
        }
        let allowed = left.min(n);
        let rest = if allowed < n {
            u64::MAX
        } else {
            left - allowed
        };
        self.budget.store(rest, Ordering::SeqCst);
        allowed as usize
    }
}

/// Passes bytes on until either side ends or fewer are allowed than came.
fn pass(mut from: TcpStream, mut to: TcpStream, allowed: impl Fn(usize) -> usize) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let allowed = allowed(len);
        if to.write_all(&buffer[..allowed]).is_err() || allowed < len {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
