//! The `tcpmon-server` program: a TCP server to monitor, with fault modes for
//! rehearsing failures. What it was told is in `options`, how it treats one
//! connection in `talk`, what it counted in `stats`; here are its listeners.
//!
//! Always: either every address is listened on, or the program ends with code 1
//! before it says that it listens. It has no state that a kill could damage.

mod options;
mod stats;
mod talk;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::cli::{self, Fail};
use crate::clock;
use crate::error::{Context, Result};
use crate::log;
use crate::net::listen::{self, Gate, Stop};
use crate::units::duration_text;
use options::{Flap, Settings};
use stats::Port;
use talk::Plan;

/// The program, for manuals and completions.
pub const PROGRAMS: &[&crate::cli::Program] = &[&options::PROGRAM];

/// Runs the program with its arguments (without its own name).
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&options::PROGRAM, args, |args| run(options::read(&args)?))
}

/// Stack of a thread that only accepts; a range makes a thousand of them.
const LISTENER_STACK_BYTES: usize = 64 * 1024;

/// What all listeners share.
struct Server {
    plan: Plan,
    gate: Gate,
}

/// A listener at work.
struct Open {
    stop: Stop,
    thread: JoinHandle<()>,
}

fn run(settings: Settings) -> std::result::Result<ExitCode, Fail> {
    let mut listening = String::new();
    let mut bound = Vec::new();
    for range in &settings.listen {
        let first = bound.len();
        for addr in range.addresses() {
            let listener = listen::bind(addr)?;
            let port = Arc::new(Port::new(listen::local_addr(&listener)?));
            bound.push((listener, port));
        }
        let _ = writeln!(
            listening,
            "listening on {}",
            range.shown(bound[first].1.addr)
        );
    }
    let ports: Vec<_> = bound.iter().map(|(_, port)| Arc::clone(port)).collect();
    if let Some(path) = settings.stats {
        stats::start(path, ports.clone())?;
    }
    let server = Arc::new(Server {
        plan: settings.plan,
        gate: Gate::new(settings.connections_max),
    });
    let open = open(&server, bound)?;
    cli::print(&listening);
    match settings.flap {
        Some(times) => flap(&server, &ports, open, times)?,
        None => open.into_iter().for_each(join),
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a thread for each listener.
fn open(server: &Arc<Server>, bound: Vec<(TcpListener, Arc<Port>)>) -> Result<Vec<Open>> {
    let start = |(listener, port): (TcpListener, Arc<Port>)| {
        let stop = Stop::new(&listener, &server.gate)?;
        let (server, on) = (Arc::clone(server), stop.clone());
        let work = move || {
            let gate = server.gate.clone();
            let handler = move |stream, peer| talk::serve(stream, peer, &port, &server.plan);
            listen::serve(listener, &gate, "connection", handler, &on);
        };
        let builder = thread::Builder::new().name("listener".to_string());
        let thread = builder
            .stack_size(LISTENER_STACK_BYTES)
            .spawn(work)
            .context(|| "start a listener's thread".to_string())?;
        Ok(Open { stop, thread })
    };
    bound.into_iter().map(start).collect()
}

fn join(open: Open) {
    // A listener's thread ends only when told to; a panic in it was reported by std.
    let _ = open.thread.join();
}

/// Closes all listeners and opens them again, for ever. Connections go on.
fn flap(server: &Arc<Server>, ports: &[Arc<Port>], mut now: Vec<Open>, times: Flap) -> Result<()> {
    loop {
        clock::sleep(times.up);
        now.iter().for_each(|open| open.stop.stop());
        now.into_iter().for_each(join);
        say(server, &format!("closed for {}", duration_text(times.down)));
        clock::sleep(times.down);
        now = open(server, ports.iter().filter_map(reopen).collect())?;
        say(server, &format!("open for {}", duration_text(times.up)));
    }
}

/// Someone may have taken the port meanwhile: then it stays closed this time.
fn reopen(port: &Arc<Port>) -> Option<(TcpListener, Arc<Port>)> {
    match listen::bind(port.addr) {
        Ok(listener) => Some((listener, Arc::clone(port))),
        Err(error) => {
            log::line(format!("{error}; stays closed until the next turn"));
            None
        }
    }
}

fn say(server: &Server, text: &str) {
    if server.plan.verbose {
        log::line(text);
    }
}

impl options::Range {
    /// The range as `listening on` shows it, given what its first address became.
    fn shown(&self, first: SocketAddr) -> String {
        if self.last == self.first.port() {
            first.to_string()
        } else {
            format!("{first}-{}", self.last)
        }
    }
}
