//! What the server saw: how many connections each address accepted, kept in a
//! file for whoever wants to compare it with what an agent recorded.
//!
//! Always: the file holds one whole line of JSON, `{"127.0.0.1:9000":12,...}`,
//! in the order of the command line; it is at most a second behind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::error::{Context, Result};
use crate::files;
use crate::json;
use crate::log;

/// How often the file is brought up to date.
const EVERY: Duration = Duration::from_secs(1);

/// One listening address and the connections it accepted.
pub struct Port {
    pub addr: SocketAddr,
    pub accepted: AtomicU64,
}

impl Port {
    /// An address that has accepted nothing yet.
    pub fn new(addr: SocketAddr) -> Port {
        Port {
            addr,
            accepted: AtomicU64::new(0),
        }
    }
}

/// Writes the file, then keeps it up to date from a thread of its own, which
/// lives as long as the program.
///
/// # Errors
/// When the file cannot be written at the start. Later failures are logged.
pub fn start(path: PathBuf, ports: Vec<Arc<Port>>) -> Result<()> {
    let mut written = text(&ports);
    files::replace(&path, written.as_bytes())?;
    let work = move || {
        loop {
            clock::sleep(EVERY);
            let now = text(&ports);
            if now == written {
                continue;
            }
            match files::replace(&path, now.as_bytes()) {
                Ok(()) => written = now,
                Err(error) => log::line(error),
            }
        }
    };
    let builder = thread::Builder::new().name("stats".to_string());
    builder
        .spawn(work)
        .map(drop)
        .context(|| "start the thread of --stats".to_string())
}

fn text(ports: &[Arc<Port>]) -> String {
    let mut out = String::new();
    json::object(&mut out, |object| {
        for port in ports {
            let accepted = port.accepted.load(Ordering::Relaxed);
            object.u64(&port.addr.to_string(), accepted);
        }
    });
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_each_address_in_order() {
        let port = |text: &str| Arc::new(Port::new(text.parse().unwrap()));
        let ports = [port("127.0.0.1:9000"), port("[::1]:80")];
        ports[1].accepted.store(7, Ordering::Relaxed);
        assert_eq!(text(&ports), "{\"127.0.0.1:9000\":0,\"[::1]:80\":7}\n");
    }
}
