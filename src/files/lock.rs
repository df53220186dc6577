//! The data directory's lock: one process for each directory. The kernel holds
//! it and lets go when its holder dies in whatever way, so there is no stale lock
//! to clean up and no moment in which two starters both win.
//!
//! - Linux: an abstract Unix socket (unix(7)) named after the directory's device
//!   and inode, so that every path to it means the same lock. Such names belong to a
//!   **network namespace**: two containers that share the directory but not the
//!   network do not see each other's lock.
//! - macOS and the BSDs: the file `lock` in the directory, opened with `O_EXLOCK`
//!   (open(2)): opened and locked in one step.
//! - Windows: the file `lock`, opened with no sharing.

use std::fmt;
use std::io;
use std::path::Path;

use crate::error::{Context, Error, Result};

/// A directory held by this process until this value is dropped.
pub struct DirLock {
    /// The open socket or file is the lock.
    _held: system::Held,
}

impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirLock")
    }
}

/// Takes the lock of an existing directory, or fails at once when another process has it.
pub fn lock(dir: &Path) -> Result<DirLock> {
    match try_lock(dir)? {
        Some(lock) => Ok(lock),
        None => Err(Error::new(format!(
            "data directory {} is in use by another {}",
            dir.display(),
            program()
        ))),
    }
}

/// Takes the lock of an existing directory, or returns `None` when another process has it.
pub fn try_lock(dir: &Path) -> Result<Option<DirLock>> {
    match system::hold(dir) {
        Ok(held) => Ok(Some(DirLock { _held: held })),
        Err(cause) if system::is_taken(&cause) => Ok(None),
        Err(cause) => Err(cause).context(|| format!("lock data directory {}", dir.display())),
    }
}

/// This program's name as it was started.
fn program() -> String {
    let started = std::env::args_os().next().unwrap_or_default();
    match Path::new(&started).file_stem() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => "process".to_string(),
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Path, io};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    pub type Held = UnixListener;

    pub fn hold(dir: &Path) -> io::Result<Held> {
        let found = std::fs::metadata(dir)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let name = format!("tcpmon-lock-{:x}-{:x}", found.dev(), found.ino());
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
    }

    pub fn is_taken(cause: &io::Error) -> bool {
        cause.kind() == io::ErrorKind::AddrInUse
    }
}

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
mod system {
    use super::{Path, io};
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt;

    /// `O_NONBLOCK` and `O_EXLOCK` of these systems' `<fcntl.h>`.
    const NOW_OR_NEVER: i32 = 0x4 | 0x20;

    pub type Held = File;

    pub fn hold(dir: &Path) -> io::Result<Held> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NOW_OR_NEVER)
            .open(dir.join("lock"))
    }

    pub fn is_taken(cause: &io::Error) -> bool {
        cause.kind() == io::ErrorKind::WouldBlock
    }
}

#[cfg(windows)]
mod system {
    use super::{Path, io};
    use std::fs::{File, OpenOptions};
    use std::os::windows::fs::OpenOptionsExt;

    /// `ERROR_SHARING_VIOLATION` of `<winerror.h>`.
    const SHARING_VIOLATION: i32 = 32;

    pub type Held = File;

    pub fn hold(dir: &Path) -> io::Result<Held> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .share_mode(0)
            .open(dir.join("lock"))
    }

    pub fn is_taken(cause: &io::Error) -> bool {
        cause.raw_os_error() == Some(SHARING_VIOLATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn a_directory_has_one_holder_until_it_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err().to_string();
        let start = format!(
            "data directory {} is in use by another ",
            dir.path().display()
        );
        assert!(error.starts_with(&start), "{error}");
        assert!(try_lock(dir.path()).unwrap().is_none());
        assert!(try_lock(other.path()).unwrap().is_some());
        drop(held);
        assert!(try_lock(dir.path()).unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn every_path_to_a_directory_means_the_same_lock() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let _held = lock(&real).unwrap();
        assert!(try_lock(&link).unwrap().is_none());
    }

    #[test]
    fn what_is_no_directory_cannot_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = lock(&missing).unwrap_err().to_string();
        let start = format!("lock data directory {}: ", missing.display());
        assert!(error.starts_with(&start), "{error}");
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(lock(&file).is_err());
    }

    #[test]
    fn of_two_racing_starters_exactly_one_wins() {
        const ROUNDS: usize = 200;
        let dir = tempfile::tempdir().unwrap();
        for round in 0..ROUNDS {
            std::fs::create_dir(dir.path().join(round.to_string())).unwrap();
        }
        let start = Barrier::new(2);
        let finish = Barrier::new(2);
        // The winner holds on until both have tried.
        let race = || {
            let mut wins = Vec::new();
            for round in 0..ROUNDS {
                let dir = dir.path().join(round.to_string());
                start.wait();
                let lock = try_lock(&dir).unwrap();
                finish.wait();
                wins.push(lock.is_some());
            }
            wins
        };
        let (one, two) = std::thread::scope(|scope| {
            let other = scope.spawn(race);
            (race(), other.join().unwrap())
        });
        for (round, (one, two)) in one.iter().zip(&two).enumerate() {
            assert!(one != two, "round {round}: {one} and {two}");
        }
    }
}
