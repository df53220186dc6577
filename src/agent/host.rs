//! What the agent can tell of its host without asking the kernel directly:
//! Linux says it in files, elsewhere there is less to tell.

use std::path::Path;

use crate::clock;
use crate::files;

fn line_of(path: &str) -> Option<String> {
    let bytes = files::read_bounded(Path::new(path), 4096).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.lines().next().map(str::to_string)
}

/// The kernel's id of this boot (proc(5)); empty where there is none.
pub fn boot_id() -> String {
    line_of("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Milliseconds since boot (proc(5)), else since this process started.
pub fn up_ms() -> u64 {
    let text = line_of("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|s| s.parse::<f64>().ok());
    match seconds {
        Some(seconds) => (seconds * 1000.0) as u64,
        None => clock::mono().0 / 1000,
    }
}
