//! Name resolution that ends in time, although `to_socket_addrs` can't.
//!
//! Names are looked up on threads of their own, one flight per name however many
//! wait for it. Addresses stay good for [`FRESH_FOR`]; while a name server is
//! dead the last good ones are served, marked stale. Literal addresses never
//! come here. A thread stuck in the system's resolver is left to it and counted
//! against [`THREADS_MAX`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock;
use crate::error::plain;
use crate::model::Mono;
use crate::threads;
use crate::units::{Host, HostPort, duration_text};

/// How long addresses are used before the name is looked up again.
pub const FRESH_FOR: Duration = Duration::from_secs(30);
/// Most lookups under way at once.
pub const THREADS_MAX: usize = 16;
/// A lookup thread with nothing to do for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Most names remembered; beyond it those not in flight are forgotten.
const NAMES_MAX: usize = 100_000;
/// Enough for the system's resolver, which keeps its buffers on the stack.
const STACK_BYTES: usize = 256 * 1024;

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The addresses of a host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub addrs: Vec<SocketAddr>,
    /// The last good ones, because the name can't be resolved now.
    pub stale: bool,
}

/// Looks names up, with a cache; cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    state: Mutex<State>,
    /// A lookup ended, or there is one to make.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    names: HashMap<Box<str>, Entry>,
    queue: VecDeque<Box<str>>,
    threads: usize,
    idle: usize,
}

#[derive(Default)]
struct Entry {
    addrs: Vec<IpAddr>,
    fresh_until: Mono,
    in_flight: bool,
    /// Lookups ended so far: a waiter knows its flight by it.
    landed: u64,
    error: Option<String>,
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver::with(|host| Ok((host, 0).to_socket_addrs()?.map(|a| a.ip()).collect()))
    }
}

impl Resolver {
    /// A resolver that asks `lookup` instead of the system.
    pub fn with(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Resolver(Arc::new(Shared {
            lookup: Box::new(lookup),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// The addresses of `address`, before `deadline`; an error is ready to print
    /// after `resolve NAME: `. With old addresses at hand it waits half the time, then serves those.
    pub fn resolve(&self, address: &HostPort, deadline: Mono) -> Result<Resolved, String> {
        let host = match &address.host {
            Host::Ip(ip) => {
                return Ok(Resolved {
                    addrs: vec![SocketAddr::new(*ip, address.port)],
                    stale: false,
                });
            }
            Host::Name(host) => host,
        };
        let started = clock::mono();
        let mut state = self.lock();
        let entry = state.names.entry(host.clone()).or_default();
        if started < entry.fresh_until {
            return Ok(entry.resolved(address.port, false));
        }
        let landed = entry.landed;
        let budget = deadline.since(started);
        let patience = if entry.addrs.is_empty() {
            budget
        } else {
            budget / 2
        };
        self.take_off(&mut state, host);
        let until = started.after(patience);
        loop {
            let entry = state.names.entry(host.clone()).or_default();
            if entry.landed != landed {
                return entry.verdict(address.port);
            }
            let left = until.since(clock::mono());
            if left.is_zero() {
                return match entry.addrs.is_empty() {
                    true => Err(format!("timed out after {}", duration_text(patience))),
                    false => Ok(entry.resolved(address.port, true)),
                };
            }
            state = wait(&self.0.changed, state, left);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("resolver state")
    }

    fn take_off(&self, state: &mut State, host: &str) {
        let entry = state.names.entry(host.into()).or_default();
        if std::mem::replace(&mut entry.in_flight, true) {
            return;
        }
        state.queue.push_back(host.into());
        if state.idle >= state.queue.len() || state.threads >= THREADS_MAX {
            self.0.changed.notify_all();
            return;
        }
        let resolver = self.clone();
        let spawned = threads::start("resolve", STACK_BYTES, move || resolver.serve());
        // Without a thread the queue waits for one of the others; with none at all the
        // waiters time out, which is what they can tell.
        if spawned.is_ok() {
            state.threads += 1;
        }
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(host) = state.queue.pop_front() {
                drop(state);
                let found = (self.0.lookup)(&host);
                state = self.lock();
                state.land(&host, found);
                self.0.changed.notify_all();
                continue;
            }
            let until = clock::mono().after(IDLE_MAX);
            while state.queue.is_empty() {
                let left = until.since(clock::mono());
                if left.is_zero() {
                    state.threads -= 1;
                    return;
                }
                state.idle += 1;
                state = wait(&self.0.changed, state, left);
                state.idle -= 1;
            }
        }
    }
}

fn wait<'a>(
    changed: &Condvar,
    state: MutexGuard<'a, State>,
    left: Duration,
) -> MutexGuard<'a, State> {
    changed.wait_timeout(state, left).expect("resolver state").0
}

impl State {
    fn land(&mut self, host: &str, found: io::Result<Vec<IpAddr>>) {
        if self.names.len() > NAMES_MAX {
            self.names.retain(|_, entry| entry.in_flight);
        }
        let entry = self.names.entry(host.into()).or_default();
        entry.in_flight = false;
        entry.landed += 1;
        match found {
            Ok(mut addrs) if !addrs.is_empty() => {
                let mut seen = Vec::new();
                addrs.retain(|a| {
                    !seen.contains(a) && {
                        seen.push(*a);
                        true
                    }
                });
                entry.addrs = addrs;
                entry.error = None;
                entry.fresh_until = clock::mono().after(FRESH_FOR);
            }
            Ok(_) => entry.error = Some("no address".into()),
            Err(error) => entry.error = Some(cause(&error)),
        }
    }
}

/// The system's own words without std's frame around them.
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    plain(text)
}

impl Entry {
    fn verdict(&self, port: u16) -> Result<Resolved, String> {
        match &self.error {
            Some(error) if self.addrs.is_empty() => Err(error.clone()),
            error => Ok(self.resolved(port, error.is_some())),
        }
    }

    fn resolved(&self, port: u16, stale: bool) -> Resolved {
        let addrs = self.addrs.iter().map(|ip| SocketAddr::new(*ip, port));
        Resolved {
            addrs: addrs.collect(),
            stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn address() -> HostPort {
        "web.example:80".parse().unwrap()
    }

    fn within(ms: u64) -> Mono {
        clock::mono().after(Duration::from_millis(ms))
    }

    #[test]
    fn a_literal_address_is_never_looked_up() {
        let resolver = Resolver::with(|_| panic!("looked up"));
        let literal: HostPort = "[::1]:80".parse().unwrap();
        let resolved = resolver.resolve(&literal, within(0)).unwrap();
        assert_eq!(resolved.addrs, ["[::1]:80".parse().unwrap()]);
    }

    #[test]
    fn many_waiters_share_one_flight_and_its_result_is_kept() {
        let calls = Arc::new(AtomicUsize::new(0));
        let (open, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let counted = Arc::clone(&calls);
        let resolver = Resolver::with(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            gate.lock().unwrap().recv().unwrap();
            Ok(vec![
                "127.0.0.1".parse().unwrap(),
                "127.0.0.1".parse().unwrap(),
            ])
        });
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| resolver.resolve(&address(), within(10_000))))
                .collect();
            open.send(()).unwrap();
            for waiter in waiters {
                let resolved = waiter.join().unwrap().unwrap();
                assert_eq!(resolved.addrs, ["127.0.0.1:80".parse().unwrap()]);
                assert!(!resolved.stale);
            }
        });
        assert!(resolver.resolve(&address(), within(0)).is_ok());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_lookup_that_hangs_is_a_timeout() {
        let (_open, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let resolver = Resolver::with(move |_| {
            let _ = gate.lock().unwrap().recv();
            Ok(vec![])
        });
        let error = resolver.resolve(&address(), within(20)).unwrap_err();
        assert!(error.starts_with("timed out after"), "{error}");
    }

    #[test]
    fn the_last_good_addresses_are_served_while_lookups_fail() {
        let calls = AtomicUsize::new(0);
        let resolver = Resolver::with(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec!["127.0.0.1".parse().unwrap()]),
            _ => Err(io::Error::other("server failure")),
        });
        assert!(!resolver.resolve(&address(), within(10_000)).unwrap().stale);
        let mut state = resolver.lock();
        state.names.get_mut("web.example").unwrap().fresh_until = Mono(0);
        drop(state);
        let resolved = resolver.resolve(&address(), within(10_000)).unwrap();
        assert!(resolved.stale);
        assert_eq!(resolved.addrs.len(), 1);
    }
}
