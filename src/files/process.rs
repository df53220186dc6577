//! What this process takes of its host, as far as the host tells in files (proc(5)): the
//! usual metrics of a process. Elsewhere than on Linux there is none of it.

use std::path::Path;

use super::{names_in, read_bounded};
use crate::metrics::{Exposition, Kind};
use crate::model::Wall;

/// More than any of these files needs.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// What the kernel counts CPU time in for programs, a second (proc(5): USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// Tells them; `started` is when the process began.
pub fn write_process(out: &mut Exposition, started: Wall) {
    let text = |name: &str| {
        let path = Path::new("/proc/self").join(name);
        let bytes = read_bounded(&path, FILE_BYTES_MAX).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut put = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            out.single(name, kind, help, value);
        }
    };
    let (stat, status, limits) = (text("stat"), text("status"), text("limits"));
    put(
        "process_cpu_seconds",
        Kind::Counter,
        "User and system CPU time spent.",
        cpu_s(&stat),
    );
    put(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory in RAM.",
        kib(&status, "VmRSS:").map(|kib| kib * 1024.0),
    );
    put(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "Memory in addresses.",
        kib(&status, "VmSize:").map(|kib| kib * 1024.0),
    );
    put(
        "process_threads",
        Kind::Gauge,
        "Threads there are.",
        kib(&status, "Threads:"),
    );
    let open = names_in(Path::new("/proc/self/fd"))
        .ok()
        .filter(|names| !names.is_empty());
    put(
        "process_open_fds",
        Kind::Gauge,
        "Open file descriptors.",
        open.map(|names| names.len() as f64),
    );
    put(
        "process_max_fds",
        Kind::Gauge,
        "Most file descriptors that may be open.",
        fds_max(&limits),
    );
    put(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process began, in Unix time.",
        Some(started.0 as f64 / 1e3),
    );
}

/// Fields 14 and 15; the second field may hold anything but ends with the last parenthesis.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse().ok()?;
    let more: u64 = fields.next()?.parse().ok()?;
    Some((ticks + more) as f64 / TICKS_PER_S)
}

/// The number on the line that begins with `key`.
fn kib(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn fds_max(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 4 0 100 200 300";
        assert_eq!(cpu_s(stat), Some(1.75));
        assert_eq!(cpu_s(""), None);
        let status = "Name:\tx\nVmSize:\t    2000 kB\nVmRSS:\t     512 kB\nThreads:\t4\n";
        assert_eq!(kib(status, "VmRSS:"), Some(512.0));
        assert_eq!(kib(status, "Threads:"), Some(4.0));
        assert_eq!(kib(status, "Nothing:"), None);
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(fds_max(limits), Some(1024.0));
    }
}
