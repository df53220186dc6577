//! Trust, end to end: who gets in under which key, what is noticed on the way, what a
//! key file must be, and what is shown of what strangers say. Real programs throughout;
//! where one side must misbehave, the test plays it.

mod dial_in;
#[cfg(unix)]
mod files;
mod keys;
mod rights;
mod strangers;
mod tamper;

use std::net::SocketAddr;

use super::support::{Running, Site};

/// An agent of a fleet file that is dialled under this key file, if any.
fn dialled(name: &str, addr: SocketAddr, key_file: Option<&str>) -> String {
    agent(name, &format!(r#""address":"{addr}""#), key_file)
}

/// An agent of a fleet file that dials in.
fn dials_in(name: &str, key_file: Option<&str>) -> String {
    agent(name, r#""dials_in":true"#, key_file)
}

fn agent(name: &str, reach: &str, key_file: Option<&str>) -> String {
    let key_file = key_file.map(|file| format!(r#","key_file":"{file}""#));
    let key_file = key_file.unwrap_or_default();
    format!(r#"{{"name":"{name}",{reach}{key_file}}}"#)
}

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];
const INTERVAL: &str = r#""interval":"200ms""#;

/// How often a program has said this on stderr so far.
fn times(program: &mut Running, text: &str) -> usize {
    program.stderr.seen().matches(text).count()
}

/// The agent called guest, which belongs, dials in and leaves again: the addresses of
/// those that do not start anew with what they may do wrong.
fn welcome_a_guest(site: &Site, manager: &mut Running, at: SocketAddr) {
    let at = at.to_string();
    let mut guest = site.agent_with("guest", &["--key-file", "guest.key", "--manager", &at]);
    manager.stderr.line("agent guest connected");
    guest.kill();
    manager.stderr.line("agent guest away");
}
