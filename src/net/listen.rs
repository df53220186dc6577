//! Accepting connections: a bound listener, a cap on how many connections are
//! served at once, and a loop that hands each one to a thread. What a connection
//! says is the handler's business.
//!
//! Always: no more than the cap are served at a time, and while it is reached
//! nothing is accepted (peers wait in the kernel's backlog; of several listeners
//! that share a gate, each may hold one accepted connection that waits its turn).
//! No error of one connection ends the loop. Threads that finished a connection
//! are parked for a while and used again: waking one costs far less than a spawn.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock;
use crate::error::{Context, Result};
use crate::log;
use crate::threads;

/// Stack of a thread that serves a connection. Only what is touched costs memory.
/// JSON nested as deep as the reader allows takes over 64 KiB without optimisation.
pub const STACK_BYTES: usize = 256 * 1024;
/// How long a thread without work is kept.
const PARKED_MAX: Duration = Duration::from_secs(10);
/// Pause after the first failed accept in a row; doubles with each further one.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
/// Longest pause between failed accepts.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the connection that wakes an accept.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a listening address on a command line means.
///
/// # Errors
/// What was expected instead. Names are not accepted: a program should listen
/// where it was told, not where a resolver says.
pub fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected IP:PORT such as \"127.0.0.1:65432\"".to_string())
}

/// Listens on `addr`; port 0 picks a free one.
///
/// # Errors
/// `listen on 127.0.0.1:80: permission denied`.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).context(|| format!("listen on {addr}"))
}

/// The address a listener is bound to.
///
/// # Errors
/// The system's, should it not know.
pub fn local_addr(listener: &TcpListener) -> Result<SocketAddr> {
    listener
        .local_addr()
        .context(|| "ask for the bound address".to_string())
}

type Job = Box<dyn FnOnce() + Send>;

/// At most so many connections at once, and the threads that serve them. Clones
/// are handles to the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    max: usize,
    state: Mutex<State>,
    /// Someone left, or a stop was asked for.
    room: Condvar,
    /// A job waits for a parked thread.
    work: Condvar,
}

/// Always: `jobs.len() <= parked`, so that no job waits for a thread to finish.
#[derive(Default)]
struct State {
    open: usize,
    parked: usize,
    jobs: VecDeque<Job>,
    lost: u64,
}

/// One connection's place; given back when dropped, also by a handler that panics.
struct Permit(Gate);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let was_full = state.open == self.0.0.max;
        state.open -= 1;
        drop(state);
        if was_full {
            self.0.0.room.notify_all();
        }
    }
}

impl Gate {
    /// A gate that lets `max` connections in at a time.
    pub fn new(max: usize) -> Gate {
        Gate(Arc::new(Shared {
            max: max.max(1),
            state: Mutex::default(),
            room: Condvar::new(),
            work: Condvar::new(),
        }))
    }

    /// Connections being served now.
    pub fn count(&self) -> usize {
        self.state().open
    }

    /// Connections dropped so far because no thread could be started for them.
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of the gate panics")
    }

    /// Blocks while the gate is full; `None` when the loop is to end.
    fn wait_for_room(&self, stop: &Stop) -> Option<MutexGuard<'_, State>> {
        let full = |s: &mut State| s.open >= self.0.max && !stop.stopped();
        let state = self.0.room.wait_while(self.state(), full);
        let state = state.expect("no holder of the gate panics");
        (!stop.stopped()).then_some(state)
    }

    fn enter(&self, stop: &Stop) -> Option<Permit> {
        self.wait_for_room(stop)?.open += 1;
        Some(Permit(self.clone()))
    }

    /// Gives the job to a parked thread, or to a new one.
    fn dispatch(&self, thread_name: &str, job: Job) -> io::Result<()> {
        let mut state = self.state();
        if state.parked > state.jobs.len() {
            state.jobs.push_back(job);
            drop(state);
            self.0.work.notify_one();
            return Ok(());
        }
        drop(state);
        let gate = self.clone();
        let work = move || {
            job();
            while let Some(next) = gate.next_job() {
                next();
            }
        };
        let spawned = threads::start(thread_name, STACK_BYTES, work);
        if spawned.is_err() {
            self.state().lost += 1;
        }
        spawned.map(drop)
    }

    /// Parks this thread until there is work; `None` when none came for a while.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.state();
        state.parked += 1;
        let idle = |s: &mut State| s.jobs.is_empty();
        let waited = self.0.work.wait_timeout_while(state, PARKED_MAX, idle);
        let (mut state, _) = waited.expect("no holder of the gate panics");
        state.parked -= 1;
        state.jobs.pop_front()
    }
}

/// Ends one accept loop from another thread. Clones are handles to the same stop.
#[derive(Clone)]
pub struct Stop(Arc<StopShared>);

struct StopShared {
    asked: AtomicBool,
    wake_at: SocketAddr,
    gate: Gate,
}

impl Stop {
    /// A stop for the loop that serves `listener` through `gate`.
    ///
    /// # Errors
    /// When the system does not say where the listener is bound.
    pub fn new(listener: &TcpListener, gate: &Gate) -> Result<Stop> {
        Ok(Stop(Arc::new(StopShared {
            asked: AtomicBool::new(false),
            wake_at: reachable(local_addr(listener)?),
            gate: gate.clone(),
        })))
    }

    /// Whether the loop was asked to end.
    pub fn stopped(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Asks the loop to end and wakes it. It closes its listener as it returns;
    /// connections being served go on.
    pub fn stop(&self) {
        let held = self.0.gate.state();
        self.0.asked.store(true, Ordering::SeqCst);
        drop(held);
        self.0.gate.0.room.notify_all();
        // Fails only when the listener is gone or its backlog is full; neither blocks accept.
        let _ = TcpStream::connect_timeout(&self.0.wake_at, WAKE_TIMEOUT);
    }
}

/// An address that reaches a listener bound to `bound`, which may be a wildcard.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let mut reachable = bound;
    reachable.set_ip(ip);
    reachable
}

/// Accepts on the calling thread until `stop`, giving each connection to
/// `handler` on a thread called `thread_name`. The listener is closed on return.
pub fn serve<H>(listener: TcpListener, gate: &Gate, thread_name: &str, handler: H, stop: &Stop)
where
    H: Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    let mut errors = 0;
    while gate.wait_for_room(stop).is_some() {
        let outcome = listener.accept().and_then(|(stream, peer)| {
            let Some(permit) = gate.enter(stop) else {
                return Ok(());
            };
            let handler = Arc::clone(&handler);
            let job = move || {
                let _permit = permit;
                handler(stream, peer);
            };
            gate.dispatch(thread_name, Box::new(job))
        });
        errors = after_accept(&outcome, errors, stop.0.wake_at);
        if errors > 0 {
            clock::sleep(back_off(errors));
        }
    }
}

/// How many accepts have failed in a row now; logs the first and the end of a row.
fn after_accept(outcome: &io::Result<()>, errors: u32, at: SocketAddr) -> u32 {
    match outcome {
        // The peer left while it waited in the backlog: its business, not ours.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => errors,
        Err(error) => {
            if errors == 0 {
                let cause = crate::error::plain(&error.to_string());
                log::line(format!("accept on {at}: {cause}; trying again"));
            }
            errors.saturating_add(1)
        }
        Ok(()) => {
            if errors > 0 {
                log::line(format!("accept on {at}: works again after {errors} errors"));
            }
            0
        }
    }
}

/// The pause after so many failed accepts in a row.
fn back_off(errors: u32) -> Duration {
    let doublings = errors.saturating_sub(1).min(16);
    (BACK_OFF_MIN * (1 << doublings)).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::mpsc;

    use super::*;
    use std::thread;

    /// A served listener whose handler reports the peer, then echoes one byte.
    struct Served {
        addr: SocketAddr,
        gate: Gate,
        stop: Stop,
        peers: mpsc::Receiver<SocketAddr>,
        ended: mpsc::Receiver<()>,
    }

    /// How long a test waits before it fails.
    const PATIENCE: Duration = Duration::from_secs(10);

    impl Served {
        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.addr).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        }

        fn stop(&self) {
            self.stop.stop();
            self.ended.recv_timeout(PATIENCE).expect("the loop ends");
        }
    }

    fn echo_one(mut stream: TcpStream) {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 1 {
            assert_ne!(byte, *b"!", "asked to panic");
            let _ = stream.write_all(&byte);
        }
    }

    fn served(max: usize) -> Served {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = local_addr(&listener).unwrap();
        let gate = Gate::new(max);
        let stop = Stop::new(&listener, &gate).unwrap();
        let (tell, peers) = mpsc::channel();
        let (g, s) = (gate.clone(), stop.clone());
        let (end, ended) = mpsc::channel();
        thread::spawn(move || {
            let handler = move |stream, peer| {
                let _ = tell.send(peer);
                echo_one(stream);
            };
            serve(listener, &g, "test", handler, &s);
            let _ = end.send(());
        });
        Served {
            addr,
            gate,
            stop,
            peers,
            ended,
        }
    }

    fn echoed(stream: &mut TcpStream, byte: u8) -> Vec<u8> {
        let _ = stream.write_all(&[byte]);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    #[test]
    fn the_cap_holds_back_until_a_place_is_free() {
        let served = served(2);
        let mut streams: Vec<_> = (0..4).map(|_| served.connect()).collect();
        for _ in 0..2 {
            served.peers.recv_timeout(PATIENCE).unwrap();
        }
        assert_eq!(served.gate.count(), 2);
        // The third is not served while two are: nobody reports it within a moment.
        let early = served.peers.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "a third connection got in");
        for stream in &mut streams {
            assert_eq!(echoed(stream, b'x'), b"x");
        }
        served.stop();
    }

    #[test]
    fn a_handler_that_panics_gives_its_place_back() {
        let served = served(1);
        for byte in *b"!a!b" {
            let mut stream = served.connect();
            let expected = if byte == b'!' { vec![] } else { vec![byte] };
            assert_eq!(echoed(&mut stream, byte), expected);
        }
        served.stop();
    }

    #[test]
    fn a_stop_closes_the_listener_also_when_the_gate_is_full() {
        for held in [0, 1] {
            let served = served(1);
            let mut streams: Vec<_> = (0..held).map(|_| served.connect()).collect();
            for _ in 0..held {
                served.peers.recv_timeout(PATIENCE).unwrap();
            }
            served.stop();
            let refused = TcpStream::connect(served.addr).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            // What was being served goes on.
            for stream in &mut streams {
                assert_eq!(echoed(stream, b'x'), b"x");
            }
        }
    }

    #[test]
    fn finished_threads_are_used_again() {
        let gate = Gate::new(10);
        let (tell, told) = mpsc::channel();
        let run_one = || {
            let tell = tell.clone();
            let job = move || tell.send(thread::current().id()).unwrap();
            gate.dispatch("test", Box::new(job)).unwrap();
            let id = told.recv().unwrap();
            while gate.state().parked == 0 {
                thread::yield_now();
            }
            id
        };
        let first = run_one();
        assert_eq!([run_one(), run_one()], [first; 2]);
    }

    #[test]
    fn a_handler_has_room_for_the_deepest_json() {
        let half = crate::json::DEPTH_MAX / 2 - 1;
        let (open, close) = ("[{\"a\":".repeat(half), "}]".repeat(half));
        let line = format!("{{\"type\":\"hello\",\"x\":{open}1{close}}}");
        let (tell, told) = mpsc::channel();
        let job = move || {
            let parsed = crate::json::parse(line.as_bytes()).is_ok();
            let message = crate::proto::Message::parse(line.as_bytes()).is_ok();
            let config =
                crate::config::parse_agent_config(line.as_bytes(), &Default::default()).is_ok();
            tell.send((parsed, message, config)).unwrap();
        };
        Gate::new(1).dispatch("test", Box::new(job)).unwrap();
        assert_eq!(told.recv().unwrap(), (true, false, false));
    }

    #[test]
    fn pauses_double_up_to_a_second() {
        let table = [
            (1, 10),
            (2, 20),
            (3, 40),
            (7, 640),
            (8, 1000),
            (u32::MAX, 1000),
        ];
        for (errors, ms) in table {
            assert_eq!(back_off(errors), Duration::from_millis(ms), "{errors}");
        }
    }

    #[test]
    fn rows_of_errors_are_counted() {
        let at = "127.0.0.1:1".parse().unwrap();
        let full = || Err(io::Error::from_raw_os_error(24));
        let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
        let mut errors = 0;
        for (outcome, expected) in [
            (full(), 1),
            (full(), 2),
            (aborted(), 2),
            (Ok(()), 0),
            (aborted(), 0),
            (full(), 1),
        ] {
            errors = after_accept(&outcome, errors, at);
            assert_eq!(errors, expected);
        }
    }

    #[test]
    fn addresses_and_failures_are_clear() {
        assert!(address("[::1]:0").is_ok());
        for bad in ["", "localhost:1", "127.0.0.1", ":1", "127.0.0.1:65536"] {
            assert!(address(bad).unwrap_err().starts_with("expected IP:PORT"));
        }
        let held = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = local_addr(&held).unwrap();
        let error = bind(addr).unwrap_err().to_string();
        assert!(error.starts_with(&format!("listen on {addr}: ")), "{error}");
        for (bound, at) in [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7")] {
            assert_eq!(reachable(bound.parse().unwrap()), at.parse().unwrap());
        }
    }
}
